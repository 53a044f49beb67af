//! What can go wrong before the server answers.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Result of every fallible public function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A server that does not start. What is wrong with a request goes to its sender, as JSON.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address or port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Other machines could reach the server, and nobody would need a key.
    #[error(
        "{address} can be reached from other machines: give a file with keys, or listen on a loopback address \
         (127.0.0.1)"
    )]
    NeedsKeys {
        /// The address.
        address: SocketAddr,
    },
    /// The file with keys cannot be used.
    #[error("the key file {} cannot be used: {reason}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The certificate for encrypted connections cannot be used.
    #[error("the certificate {} cannot be used: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The private key for encrypted connections cannot be used.
    #[error("the private key {} cannot be used: {reason}", path.display())]
    PrivateKey {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The private key is that of another certificate.
    #[error(
        "the private key {} does not belong to the certificate {}: the server's own certificate must come first in its \
         file",
        key.display(),
        certificates.display()
    )]
    KeyMismatch {
        /// The file with the certificate.
        certificates: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// A certificate was given to a program that was built without TLS.
    #[error(
        "this program was built without TLS: build it with the feature `tls` (which needs a C compiler)"
    )]
    NoTls,
    /// The file for feedback cannot be appended to.
    #[error("{} cannot be appended to: {source}", path.display())]
    Feedback {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no thread, or no sockets.
    #[error("the server cannot start: {0}")]
    Start(io::Error),
    /// The models could not be loaded.
    #[error("the models could not be loaded: {reason}")]
    Models {
        /// Why.
        reason: String,
    },
    /// A limit of 0 would refuse everything.
    #[error("{limit} is 0: give at least 1")]
    Zero {
        /// The limit.
        limit: &'static str,
    },
}
