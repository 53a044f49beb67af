//! An engine that admits requests while it runs, on a thread of its own.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::batch::Each;
use crate::request::{Request, Ticket};
use crate::scheduler::{Job, Scheduler};
use crate::{CancelFlag, Error, StepModel};

/// A caller that waits for room checks this often whether its own flag or deadline ends the waiting.
const PATIENCE: Duration = Duration::from_millis(20);

/// How much an [`Engine`] does at a time.
///
/// ```
/// use clinical_generate::EngineOptions;
///
/// let options = EngineOptions::new().with_slots(8).with_budget(2 << 30);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineOptions {
    /// The most bytes of keys and values ([`StepModel::cache_bytes`]). Default `None`: as many as the slots take.
    pub budget: Option<u64>,
    /// The most sequences that run at a time; a request takes as many as it has beams or sequences. Default 16.
    pub slots: usize,
    /// The most requests that wait. Default 256.
    pub queue: usize,
    /// The most tokens of prompts that are read before running answers get their next token. Default 512. A model that
    /// reads its prompts as a whole (an encoder-decoder) reads a longer one at once.
    pub chunk: usize,
}

impl EngineOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            budget: None,
            slots: 16,
            queue: 256,
            chunk: 512,
        }
    }

    /// Sets [`budget`](Self::budget), in bytes.
    #[must_use]
    pub fn with_budget(mut self, bytes: u64) -> Self {
        self.budget = Some(bytes);
        self
    }

    /// Sets [`slots`](Self::slots). 0 counts as 1.
    #[must_use]
    pub fn with_slots(mut self, slots: usize) -> Self {
        self.slots = slots.max(1);
        self
    }

    /// Sets [`queue`](Self::queue). 0 counts as 1.
    #[must_use]
    pub fn with_queue(mut self, requests: usize) -> Self {
        self.queue = requests.max(1);
        self
    }

    /// Sets [`chunk`](Self::chunk). 0 counts as 1.
    #[must_use]
    pub fn with_chunk(mut self, tokens: usize) -> Self {
        self.chunk = tokens.max(1);
        self
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What an [`Engine`] has to do at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineLoad {
    /// Requests that have not begun; one that has just begun counts among them until the pass in which it did is over.
    pub waiting: usize,
    /// Requests that have begun.
    pub running: usize,
    /// Slots that these take.
    pub slots: usize,
    /// Bytes of keys and values that these may take; a prefix that several share is counted once.
    pub bytes: u64,
}

/// Answers requests of any options at the same time, with one pass of the model for all of them (continuous batching),
/// on a thread of its own.
///
/// A request joins while others run and leaves when it is done. It gets the tokens that it would get alone, up to the
/// rounding of the logits: of two tokens that are all but equally likely another may come first. Requests begin in
/// the order in which they came; one that does not fit now lets none pass, so that a large one is not starved. A
/// request that fails costs only itself: a model's error, logits that are not finite, a closure that panics.
///
/// Where the model cannot [`merge`](StepModel::merge) caches, requests run one after another.
///
/// Dropping the engine ends everything at once: requests that run give what they have, those that wait nothing, both
/// with [`StopReason::Cancelled`](crate::StopReason::Cancelled).
pub struct Engine<M: StepModel> {
    model: Arc<M>,
    options: EngineOptions,
    shared: Arc<Shared<M::Cache>>,
    thread: Option<JoinHandle<()>>,
}

impl<M> Engine<M>
where
    M: StepModel + Send + Sync + 'static,
    M::Cache: Clone + Send + Sync + 'static,
{
    /// Starts the thread of an engine.
    ///
    /// # Errors
    ///
    /// [`Error::Thread`] if the system gives no thread; a model without vocabulary.
    pub fn new(model: Arc<M>, options: EngineOptions) -> Result<Self, Error> {
        crate::validate::check_vocabulary(model.vocabulary())?;
        let shared = Arc::new(Shared::default());
        let (of_thread, its_model) = (Arc::clone(&shared), Arc::clone(&model));
        let limits = EngineOptions {
            slots: options.slots.max(1),
            queue: options.queue.max(1),
            chunk: options.chunk.max(1),
            ..options
        };
        let options = limits.clone();
        let run = move || {
            // Whatever happens, nobody waits for this thread any more once it has ended.
            let _stopped = Stop(&*of_thread);
            serve(&*its_model, limits, &of_thread);
        };
        let thread = thread::Builder::new().name("clinical-generate engine".to_owned());
        Ok(Self {
            model,
            options,
            shared,
            thread: Some(thread.spawn(run).map_err(Error::Thread)?),
        })
    }

    /// Puts a request into the queue, and waits for room there while it is full: the caller is slowed down to what the
    /// engine can do. A flag or deadline of the request ends the waiting. On the engine's own thread (in a closure of a
    /// request) it is [`try_admit`](Self::try_admit).
    ///
    /// # Errors
    ///
    /// What can be known against it before it is read: an option that breaks a rule, a prompt that is empty or too
    /// long, an id outside the vocabulary, a prefix that is not the prompt's or another model's; [`Error::NeverFits`]
    /// if it needs more than the engine has; [`Error::EngineStopped`].
    pub fn admit(&self, request: Request<M::Cache>) -> Result<Ticket, Error> {
        self.enter(request, true)
    }

    /// As [`admit`](Self::admit) without waiting.
    ///
    /// # Errors
    ///
    /// As [`admit`](Self::admit), and [`Error::QueueFull`].
    pub fn try_admit(&self, request: Request<M::Cache>) -> Result<Ticket, Error> {
        self.enter(request, false)
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<M> {
        &self.model
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// What it has to do now.
    #[must_use]
    pub fn load(&self) -> EngineLoad {
        self.shared.lock().load()
    }

    fn enter(&self, request: Request<M::Cache>, patient: bool) -> Result<Ticket, Error> {
        let flag = CancelFlag::new();
        let mut job = Job::new(&*self.model, &self.options, request, flag.clone())?;
        let mut state = self.shared.lock();
        while !state.stopped && state.load().waiting >= self.options.queue && !job.is_over() {
            if !patient || self.is_own_thread() {
                let waiting = state.load().waiting;
                return Err(Error::QueueFull { waiting });
            }
            let waited = self.shared.room.wait_timeout(state, PATIENCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.stopped {
            return Err(Error::EngineStopped);
        }
        job.key = state.next;
        state.next += 1;
        let (reply, result) = sync_channel(1);
        state.arrived.push_back((job, reply));
        self.shared.work.notify_one();
        Ok(Ticket {
            result,
            flag,
            attached: true,
            given: false,
        })
    }
}

impl<M: StepModel> Engine<M> {
    fn is_own_thread(&self) -> bool {
        let thread = self.thread.as_ref().map(|handle| handle.thread().id());
        thread == Some(thread::current().id())
    }
}

impl<M: StepModel> Drop for Engine<M> {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.work.notify_all();
        // The last owner may be a closure of a request, on that thread.
        if !self.is_own_thread()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl<M: StepModel> fmt::Debug for Engine<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("options", &self.options)
            .field("load", &self.shared.lock().load())
            .finish_non_exhaustive()
    }
}

type Arrived<C> = VecDeque<(Job<C>, SyncSender<Each>)>;

/// What callers and the engine's thread both touch.
struct Shared<C> {
    state: Mutex<State<C>>,
    /// The queue may have room.
    room: Condvar,
    /// There may be something to do.
    work: Condvar,
}

struct State<C> {
    /// What the thread has not seen yet.
    arrived: Arrived<C>,
    /// What it said last.
    told: EngineLoad,
    stopped: bool,
    next: u64,
}

impl<C> State<C> {
    fn load(&self) -> EngineLoad {
        EngineLoad {
            waiting: self.told.waiting + self.arrived.len(),
            ..self.told
        }
    }
}

impl<C> Default for Shared<C> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                arrived: VecDeque::new(),
                told: EngineLoad::default(),
                stopped: false,
                next: 0,
            }),
            room: Condvar::new(),
            work: Condvar::new(),
        }
    }
}

impl<C> Shared<C> {
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has arrived, and whether the engine was stopped. Waits for one of both if there is nothing else to do.
    fn arrived(&self, idle: bool, waiting: usize) -> (Arrived<C>, bool) {
        let mut state = self.lock();
        while idle && state.arrived.is_empty() && !state.stopped {
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let arrived = std::mem::take(&mut state.arrived);
        state.told.waiting = waiting + arrived.len();
        (arrived, state.stopped)
    }

    fn tell(&self, load: EngineLoad) {
        self.lock().told = load;
        self.room.notify_all();
    }
}

/// Marks the end of the thread.
struct Stop<'s, C>(&'s Shared<C>);

impl<C> Drop for Stop<'_, C> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.stopped = true;
        state.arrived.clear();
        state.told = EngineLoad::default();
        drop(state);
        self.0.room.notify_all();
    }
}

/// The thread of an engine.
fn serve<M: StepModel>(model: &M, limits: EngineOptions, shared: &Shared<M::Cache>)
where
    M::Cache: Clone,
{
    let mut scheduler = Scheduler::new(model, limits);
    let mut replies: HashMap<u64, SyncSender<Each>> = HashMap::new();
    loop {
        let (arrived, stopped) = shared.arrived(scheduler.is_idle(), scheduler.waiting());
        for (job, reply) in arrived {
            replies.insert(job.key, reply);
            scheduler.push(job);
        }
        let ended = match stopped {
            true => scheduler.cancel(),
            false => scheduler.step(),
        };
        let (slots, bytes) = scheduler.taken();
        shared.tell(EngineLoad {
            waiting: scheduler.waiting(),
            running: scheduler.running(),
            slots,
            bytes,
        });
        for (key, result) in ended {
            if let Some(reply) = replies.remove(&key) {
                // A ticket that was dropped does not want it.
                let _ = reply.send(result);
            }
        }
        if stopped {
            return;
        }
    }
}
