//! Connections, and the way of a request to its call.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Response, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};

use crate::access::{Counts, Line};
use crate::app::{App, Context, Loaded, Models};
use crate::guard::check_page;
use crate::options::ServeOptions;
use crate::reply::ApiError;
use crate::slow::Timed;
use crate::tls::Acceptor;
use crate::{Error, Result, ask, openai, own, page, texts};

/// Threads that serve connections; models have others.
const THREADS: usize = 2;

/// The most headers of a request.
const HEADERS: usize = 64;

/// How often the numbers are tidied.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long a connection has to notice that its answer was ended.
const LAST: Duration = Duration::from_secs(2);

/// Paths, as the log and the numbers name them.
const ROUTES: [&str; 14] = [
    "/",
    "/health",
    "/metrics",
    "/openapi.json",
    "/v1/ask",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/deid",
    "/v1/embeddings",
    "/v1/extract",
    "/v1/feedback",
    "/v1/info",
    "/v1/models",
    "/v1/tag",
];

/// Paths that need no key: they tell nothing.
const OPEN: [&str; 2] = ["/", "/health"];

/// A server that listens. [`run`](Self::run) makes it answer.
pub struct Server {
    app: Arc<App>,
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Acceptor>,
    stop: watch::Sender<bool>,
}

/// Stops a [`Server`] from another thread.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Takes no request any more; running answers have [`Limits::grace`](crate::Limits::grace).
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Checks the options and listens.
    ///
    /// # Errors
    ///
    /// [`Error`] with one sentence that says what to do.
    pub fn bind(options: ServeOptions) -> Result<Self> {
        let address = options.address;
        let tls = options.tls.as_ref();
        let tls = tls.map(|(certificates, key)| Acceptor::new(certificates, key));
        let tls = tls.transpose()?;
        let app = Arc::new(App::new(options)?);
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("clinical-serve connections")
            .enable_all()
            .build()
            .map_err(Error::Start)?;
        let listen = |source| Error::Listen { address, source };
        let listener = runtime
            .block_on(TcpListener::bind(address))
            .map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self {
            app,
            runtime,
            listener,
            address,
            tls,
            stop: watch::Sender::new(false),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page's address: `http://127.0.0.1:8080/`, or with `https`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/", self.address)
    }

    /// What stops it.
    #[must_use]
    pub fn stopper(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Loads the models on another thread and answers until [`Stop::stop`], Ctrl-C or SIGTERM. Until they are loaded
    /// every call but the page is answered with 503.
    ///
    /// # Errors
    ///
    /// [`Error::Models`] if `load` fails or panics.
    pub fn run<E: fmt::Display>(
        self,
        load: impl FnOnce() -> Result<Models, E> + Send + 'static,
    ) -> Result<()> {
        let Self {
            app,
            runtime,
            listener,
            tls,
            stop,
            ..
        } = self;
        let (tell, told) = channel();
        let (loader, of_loader) = (Arc::clone(&app), stop.clone());
        let thread = thread::Builder::new().name("clinical-serve load".to_owned());
        let load = move || {
            let mut failed = Failed {
                reason: Some("loading them ended by a panic".to_owned()),
                tell,
                stop: of_loader,
            };
            let loaded = load().map_err(|error| error.to_string());
            let loaded = loaded.and_then(|models| {
                Loaded::new(models, &loader.options).map_err(|error| error.to_string())
            });
            failed.reason = loaded.map(|loaded| loader.set_loaded(loaded)).err();
        };
        let thread = thread.spawn(load).map_err(Error::Start)?;
        runtime.block_on(serve(Arc::clone(&app), listener, tls, stop));
        app.cancel();
        // What still runs sees that its client has gone, and ends.
        runtime.shutdown_timeout(LAST);
        if thread.is_finished() {
            let _ = thread.join();
        }
        match told.try_recv() {
            Ok(reason) => Err(Error::Models { reason }),
            Err(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Ends the server when it is dropped with a reason, after a panic too.
struct Failed {
    reason: Option<String>,
    tell: Sender<String>,
    stop: watch::Sender<bool>,
}

impl Drop for Failed {
    fn drop(&mut self) {
        if let Some(reason) = self.reason.take() {
            let _ = self.tell.send(reason);
            self.stop.send_replace(true);
        }
    }
}

/// Answers until the end, and some time longer.
async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    tls: Option<Acceptor>,
    stop: watch::Sender<bool>,
) {
    let router = router(&app);
    let tls = tls.map(Arc::new);
    let limits = &app.options.limits;
    let permits = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut stopped = stop.subscribe();
    let signals = stop.clone();
    tokio::spawn(async move {
        signal().await;
        signals.send_replace(true);
    });
    let tidied = Arc::downgrade(&app);
    tokio::spawn(async move {
        while let Some(app) = tidied.upgrade() {
            app.metrics.upkeep();
            drop(app);
            tokio::time::sleep(UPKEEP).await;
        }
    });
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        };
        let Ok((stream, _)) = accepted else {
            // Too many open files, for example: some will be closed.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let stream = Timed::new(stream, limits.write_time);
        let (router, watcher, counted) = (router.clone(), graceful.watcher(), app.connection());
        let (header_time, tls, mut stopped) = (limits.header_time, tls.clone(), stopped.clone());
        tokio::spawn(async move {
            match tls {
                None => converse(stream, router, header_time, watcher).await,
                Some(tls) => {
                    // One that connects and says nothing has no more time than one that sends no head.
                    let agreed = tokio::select! {
                        agreed = tokio::time::timeout(header_time, tls.accept(stream)) => agreed,
                        _ = stopped.wait_for(|stopped| *stopped) => return,
                    };
                    if let Ok(Ok(stream)) = agreed {
                        converse(stream, router, header_time, watcher).await;
                    }
                }
            }
            drop((permit, counted));
        });
    }
    drop(listener);
    app.stop();
    let mut end = std::pin::pin!(graceful.shutdown());
    if tokio::time::timeout(limits.grace, &mut end).await.is_err() {
        app.cancel();
        let _ = tokio::time::timeout(LAST, end).await;
    }
}

/// Answers the requests of one connection.
async fn converse<S>(stream: S, router: Router, header_time: Duration, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_time)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let _ = watcher.watch(connection).await;
}

/// Waits for the system to say that it is over.
async fn signal() {
    let interrupted = async {
        // Without a handler there is no such signal.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
    }
}

fn router(app: &Arc<App>) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/health", get(own::health))
        .route("/metrics", get(own::metrics))
        .route("/openapi.json", get(own::openapi))
        .route("/v1/ask", post(ask::ask))
        .route("/v1/chat/completions", post(openai::chat))
        .route("/v1/completions", post(openai::complete))
        .route("/v1/deid", post(texts::deid))
        .route("/v1/embeddings", post(texts::embed))
        .route("/v1/extract", post(ask::extract))
        .route("/v1/feedback", post(own::feedback))
        .route("/v1/info", get(own::info))
        .route("/v1/models", get(openai::models))
        .route("/v1/tag", post(texts::tag))
        .fallback(async || {
            ApiError::not_found("no_such_path", "there is no such path: see /openapi.json")
        })
        .method_not_allowed_fallback(async || ApiError::method())
        .layer(from_fn_with_state(Arc::clone(app), around))
        .with_state(Arc::clone(app))
}

/// What happens to every request.
async fn around(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response<Body> {
    let began = Instant::now();
    let path = request.uri().path();
    let route = ROUTES.into_iter().find(|route| *route == path);
    let context = Context {
        id: app.request_id(),
        began,
        counts: Arc::new(Counts::default()),
    };
    // Dropped with the request where the client goes before there is an answer.
    let mut line = Line {
        app: Arc::clone(&app),
        id: context.id.clone(),
        route: route.unwrap_or("other"),
        status: 499,
        counts: Arc::clone(&context.counts),
        began,
    };
    let id = HeaderValue::from_str(&context.id);
    let allowed = check(&app, route, request.method(), &request);
    request.extensions_mut().insert(context);
    let mut response = match allowed {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    if let Ok(id) = id {
        headers.insert("x-request-id", id);
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    line.status = response.status().as_u16();
    response.map(|body| line.follow(body))
}

fn check(
    app: &App,
    route: Option<&str>,
    method: &Method,
    request: &Request,
) -> Result<(), ApiError> {
    check_page(method, request.headers(), &app.options.hosts)?;
    match &app.keys {
        Some(keys) if !route.is_some_and(|route| OPEN.contains(&route)) => {
            keys.check(request.headers())
        }
        _ => Ok(()),
    }
}

/// The body of a request, as JSON that is yet to be read, within the limits.
pub(crate) async fn body(app: &App, request: Request) -> Result<(Context, Bytes), ApiError> {
    let limits = &app.options.limits;
    let (parts, body) = request.into_parts();
    let Some(context) = parts.extensions.get::<Context>().cloned() else {
        return Err(crate::app::lost());
    };
    // A form of a foreign page can send other types without asking.
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::media_type());
    }
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limits.body as u64) {
        return Err(ApiError::body_too_large(limits.body));
    }
    let read = Limited::new(body, limits.body).collect();
    let read = tokio::time::timeout(limits.body_time, read).await;
    let read = read.map_err(|_| ApiError::too_slow(limits.body_time.as_secs()))?;
    let bytes = match read {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(ApiError::body_too_large(limits.body));
        }
        Err(_) => return Err(ApiError::bad("broken_body", "the body could not be read")),
    };
    let count = &context.counts.bytes_in;
    count.store(bytes.len() as u64, std::sync::atomic::Ordering::Relaxed);
    Ok((context, bytes))
}
