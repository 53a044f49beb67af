//! Where the server listens, and its limits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use asclepius::EngineOptions;

use crate::access::Access;
use crate::{Error, Result};

/// What becomes of the log's lines.
pub(crate) type OnAccess = Arc<dyn Fn(&Access) + Send + Sync>;

/// Where a [`Server`](crate::Server) listens, and its limits. An error that a limit causes names the limit.
#[derive(Clone)]
pub struct ServeOptions {
    pub(crate) address: SocketAddr,
    pub(crate) hosts: Vec<String>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) feedback: Option<PathBuf>,
    pub(crate) limits: Limits,
    pub(crate) engine: EngineOptions,
    pub(crate) on_access: Option<OnAccess>,
}

/// The limits of a server.
///
/// ```
/// let limits = clinical_serve::Limits { body: 1 << 20, ..Default::default() };
/// assert_eq!(limits.connections, 512);
/// ```
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most bytes of a request's body. Default 8 MiB: a note of 2 MB, escaped as JSON or as base64, and its
    /// questions.
    pub body: usize,
    /// The most connections at a time; others wait in the system's queue. Default 512.
    pub connections: usize,
    /// How long a connection may take to send the head of a request, or stay silent between two, or to agree on its
    /// encryption. Default 15 s.
    pub header_time: Duration,
    /// How long a connection may take to send a body. Default 30 s.
    pub body_time: Duration,
    /// How long a client may take none of the bytes that are ready for it. Default 60 s.
    pub write_time: Duration,
    /// How long an answer may take from its request on; then it ends with what there is. Default 10 minutes.
    pub answer_time: Duration,
    /// The most requests that wait for a thread; one more is refused with 429. Default 256.
    pub queue: usize,
    /// The most tokens that those which wait may need together, estimated at four bytes a token and the new tokens that
    /// they ask for; one more is refused with 429. One request alone may need any number. Default 262,144.
    pub queue_tokens: u64,
    /// The most new tokens of an answer. Default 4,096; the model's positions are a limit, too.
    pub new_tokens: usize,
    /// The most questions of a request, choices (`n`), texts to embed, and documents of a bundle. Default 64.
    pub items: usize,
    /// Bytes of keys and values that are kept of notes for further questions. Default 256 MiB.
    pub kept_notes: u64,
    /// How long running answers have after the server is told to stop. Default 30 s.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 8 << 20,
            connections: 512,
            header_time: Duration::from_secs(15),
            body_time: Duration::from_secs(30),
            write_time: Duration::from_secs(60),
            answer_time: Duration::from_secs(600),
            queue: 256,
            queue_tokens: 1 << 18,
            new_tokens: 4096,
            items: 64,
            kept_notes: 256 << 20,
            grace: Duration::from_secs(30),
        }
    }
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            hosts: Vec::new(),
            key_file: None,
            tls: None,
            feedback: None,
            limits: Limits::default(),
            engine: EngineOptions::default(),
            on_access: None,
        }
    }
}

impl ServeOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where to listen; port 0 lets the system choose one. Default: `127.0.0.1:8080`. An address that is not a loopback
    /// address needs [`with_key_file`](Self::with_key_file).
    #[must_use]
    pub fn with_address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// A name by which browsers may call the server, such as that of the proxy in front of it. Without any: `localhost`
    /// and numeric addresses, which no foreign page can make a browser resolve to this machine.
    #[must_use]
    pub fn with_host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into().to_ascii_lowercase());
        self
    }

    /// A file with one key a line (at least 16 characters; empty lines and those with `#` do not count), of which each
    /// request must bring one as `Authorization: Bearer KEY`. It is read once.
    #[must_use]
    pub fn with_key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_file = Some(path.into());
        self
    }

    /// Encrypted connections alone (HTTPS; TLS 1.2 and 1.3), with a certificate and its private key as PEM files: the
    /// server's own certificate first, then those between it and the authority that browsers know. The files are read
    /// once; a key that every user of the machine can read is refused. Needs the feature `tls`, which needs a C compiler
    /// while it is built. Another address than loopback needs keys all the same: encryption does not say who asks.
    #[must_use]
    pub fn with_tls(mut self, certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls = Some((certificates.into(), key.into()));
        self
    }

    /// A file that gets one line of JSON for each judgement of a reader (right, wrong, missing) **with its note,
    /// question and answer**. Default: judgements are neither offered nor taken.
    #[must_use]
    pub fn with_feedback(mut self, path: impl Into<PathBuf>) -> Self {
        self.feedback = Some(path.into());
        self
    }

    /// The limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How much the engine does at a time.
    #[must_use]
    pub fn with_engine(mut self, options: EngineOptions) -> Self {
        self.engine = options;
        self
    }

    /// A closure that gets a line of the log after each request: sizes, times and the request's id, never text.
    #[must_use]
    pub fn with_on_access(mut self, on_access: impl Fn(&Access) + Send + Sync + 'static) -> Self {
        self.on_access = Some(Arc::new(on_access));
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let limits = &self.limits;
        for (limit, is_zero) in [
            ("body", limits.body == 0),
            ("connections", limits.connections == 0),
            ("queue", limits.queue == 0),
            ("queue_tokens", limits.queue_tokens == 0),
            ("new_tokens", limits.new_tokens == 0),
            ("items", limits.items == 0),
            ("header_time", limits.header_time.is_zero()),
            ("body_time", limits.body_time.is_zero()),
            ("write_time", limits.write_time.is_zero()),
            ("answer_time", limits.answer_time.is_zero()),
        ] {
            if is_zero {
                return Err(Error::Zero { limit });
            }
        }
        match self.address.ip().is_loopback() || self.key_file.is_some() {
            true => Ok(()),
            false => Err(Error::NeedsKeys {
                address: self.address,
            }),
        }
    }
}

impl std::fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServeOptions")
            .field("address", &self.address)
            .field("hosts", &self.hosts)
            .field("key_file", &self.key_file)
            .field("tls", &self.tls)
            .field("feedback", &self.feedback)
            .field("limits", &self.limits)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}
