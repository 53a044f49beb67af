//! What all requests share.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use asclepius::{AnswerEngine, Asclepius, Calibration, CancelFlag};
use clinical_bert::ClinicalBert;
use tokio::sync::oneshot;

use crate::access::Counts;
use crate::feedback::Feedback;
use crate::guard::Keys;
use crate::metrics::Metrics;
use crate::options::ServeOptions;
use crate::page::Page;
use crate::reply::ApiError;
use crate::work::Work;

/// The models of a server: one that answers, and if wanted one that tags and one that makes vectors.
#[derive(Debug)]
pub struct Models {
    name: String,
    asclepius: Arc<Asclepius>,
    tagger: Option<Arc<ClinicalBert>>,
    embedder: Option<(String, Arc<ClinicalBert>)>,
    calibration: Option<Arc<Calibration>>,
}

impl Models {
    /// A model that answers, and the name by which clients ask for it.
    #[must_use]
    pub fn new(name: impl Into<String>, asclepius: Arc<Asclepius>) -> Self {
        Self {
            name: name.into(),
            asclepius,
            tagger: None,
            embedder: None,
            calibration: None,
        }
    }

    /// A model with a token classification head, for `/v1/tag`.
    #[must_use]
    pub fn with_tagger(mut self, tagger: Arc<ClinicalBert>) -> Self {
        self.tagger = Some(tagger);
        self
    }

    /// A model for `/v1/embeddings`, and its name.
    #[must_use]
    pub fn with_embedder(mut self, name: impl Into<String>, embedder: Arc<ClinicalBert>) -> Self {
        self.embedder = Some((name.into(), embedder));
        self
    }

    /// The score below which answers of `/v1/ask` are not shown. [`Calibration::load`] refuses one of another model.
    #[must_use]
    pub fn with_calibration(mut self, calibration: Calibration) -> Self {
        self.calibration = Some(Arc::new(calibration));
        self
    }
}

/// The models, ready.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) engine: AnswerEngine,
    pub(crate) tagger: Option<Arc<ClinicalBert>>,
    pub(crate) embedder: Option<(String, Arc<ClinicalBert>)>,
    pub(crate) calibration: Option<Arc<Calibration>>,
    #[cfg(feature = "grammar")]
    pub(crate) tokens: OnceLock<Result<clinical_generate::TokenBytes, String>>,
}

impl Loaded {
    pub(crate) fn new(models: Models, options: &ServeOptions) -> asclepius::Result<Self> {
        let engine = options.engine.clone();
        let kept = options.limits.kept_notes;
        Ok(Self {
            name: models.name,
            engine: AnswerEngine::new(models.asclepius, engine, kept)?,
            tagger: models.tagger,
            embedder: models.embedder,
            calibration: models.calibration,
            #[cfg(feature = "grammar")]
            tokens: OnceLock::new(),
        })
    }

    pub(crate) fn model(&self) -> &Asclepius {
        self.engine.model()
    }
}

/// See the module.
pub(crate) struct App {
    pub(crate) options: ServeOptions,
    pub(crate) keys: Option<Keys>,
    pub(crate) feedback: Option<Feedback>,
    pub(crate) metrics: Metrics,
    pub(crate) page: Page,
    pub(crate) work: Work,
    pub(crate) started: Instant,
    loaded: OnceLock<Arc<Loaded>>,
    stopping: AtomicBool,
    connections: AtomicUsize,
    next: AtomicU64,
    /// Starts the ids of requests, so that those of two runs differ.
    run: u64,
    /// What runs, for the end of the server.
    flags: Mutex<Vec<CancelFlag>>,
}

impl App {
    pub(crate) fn new(options: ServeOptions) -> crate::Result<Self> {
        options.check()?;
        let keys = options.key_file.as_deref().map(Keys::read).transpose()?;
        let feedback = options
            .feedback
            .as_deref()
            .map(Feedback::open)
            .transpose()?;
        let limits = &options.limits;
        // A thread waits while its answer is computed; two more, so that short calls pass.
        let threads = options.engine.slots + 2;
        let work = Work::new(threads, limits.queue, limits.queue_tokens);
        Ok(Self {
            work: work.map_err(crate::Error::Start)?,
            options,
            keys,
            feedback,
            metrics: Metrics::new(),
            page: Page::new(),
            started: Instant::now(),
            loaded: OnceLock::new(),
            stopping: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            next: AtomicU64::new(0),
            run: random(),
            flags: Mutex::new(Vec::new()),
        })
    }

    /// The models, or why there are none.
    pub(crate) fn loaded(&self) -> Result<&Arc<Loaded>, ApiError> {
        if self.stopping.load(Ordering::Relaxed) {
            let message = "the server is being stopped";
            return Err(ApiError::unavailable("stopping", message));
        }
        self.loaded.get().ok_or_else(|| {
            ApiError::unavailable("loading", "the model is being loaded: try again soon")
        })
    }

    pub(crate) fn set_loaded(&self, loaded: Loaded) {
        let _ = self.loaded.set(Arc::new(loaded));
    }

    /// Refuses what comes from now on.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Ends what runs.
    pub(crate) fn cancel(&self) {
        self.stop();
        let flags = std::mem::take(&mut *self.flags());
        flags.iter().for_each(CancelFlag::cancel);
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn connection(self: &Arc<Self>) -> Connection {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connection(Arc::clone(self))
    }

    /// The id of the next request.
    pub(crate) fn request_id(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:08x}-{number:x}", self.run as u32)
    }

    fn flags(&self) -> std::sync::MutexGuard<'_, Vec<CancelFlag>> {
        self.flags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A flag that is set when what is returned is dropped (its client has gone), or the server ends.
    pub(crate) fn guard(self: &Arc<Self>) -> Guard {
        let flag = CancelFlag::new();
        let mut flags = self.flags();
        // Those of requests that are over.
        flags.retain(|flag| !flag.is_cancelled());
        flags.push(flag.clone());
        Guard(flag)
    }

    /// Does something on a thread for models, and waits for it.
    pub(crate) async fn compute<T: Send + 'static>(
        self: &Arc<Self>,
        tokens: u64,
        run: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (send, receive) = oneshot::channel();
        let task = move || {
            if !send.is_closed() {
                let _ = send.send(run());
            }
        };
        self.submit(vec![(tokens, Box::new(task))])?;
        receive.await.unwrap_or_else(|_| Err(lost()))
    }

    pub(crate) fn submit(
        &self,
        tasks: Vec<(u64, Box<dyn FnOnce() + Send>)>,
    ) -> Result<(), ApiError> {
        let submitted = self.work.submit(tasks);
        submitted.map_err(|full| ApiError::busy(full.retry_after, full.limit))
    }
}

/// The thread that was to answer ended without doing so: a panic, or the server's end.
pub(crate) fn lost() -> ApiError {
    ApiError::internal("this request ended by a fault of the server; its log has the id")
}

/// A connection, as long as it is open.
pub(crate) struct Connection(Arc<App>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ends what runs for a client that has gone.
pub(crate) struct Guard(CancelFlag);

impl Guard {
    pub(crate) fn flag(&self) -> CancelFlag {
        self.0.clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// What came with a request, beside its body.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) id: String,
    pub(crate) began: Instant,
    pub(crate) counts: Arc<Counts>,
}

/// A number that differs from call to call.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
