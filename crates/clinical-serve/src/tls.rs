//! Encrypted connections (feature `tls`): TLS 1.2 and 1.3 by `rustls`, its cryptography by `ring`.

#[cfg(not(feature = "tls"))]
pub(crate) use without::Acceptor;

#[cfg(feature = "tls")]
pub(crate) use with::Acceptor;

/// A program without TLS: there is no acceptor.
#[cfg(not(feature = "tls"))]
mod without {
    use std::io;
    use std::path::Path;

    use crate::{Error, Result};

    pub(crate) enum Acceptor {}

    impl Acceptor {
        pub(crate) fn new(_certificates: &Path, _key: &Path) -> Result<Self> {
            Err(Error::NoTls)
        }

        pub(crate) async fn accept<S>(&self, _stream: S) -> io::Result<S> {
            match *self {}
        }
    }
}

#[cfg(feature = "tls")]
mod with {
    use std::io;
    use std::path::Path;
    use std::sync::Arc;

    use tokio::io::{AsyncRead, AsyncWrite};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::crypto::ring::default_provider;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::{Error as TlsError, ServerConfig};
    use tokio_rustls::server::TlsStream;

    use crate::{Error, Result};

    /// The most bytes of a file of certificates, or of a key.
    const MOST: u64 = 1 << 20;

    /// Makes encrypted connections of connections.
    pub(crate) struct Acceptor(TlsAcceptor);

    impl Acceptor {
        /// Reads the server's certificate, with those between it and the authority, and its key.
        pub(crate) fn new(certificates: &Path, key: &Path) -> Result<Self> {
            let wrong_certificate = |reason: String| Error::Certificate {
                path: certificates.to_owned(),
                reason,
            };
            let wrong_key = |reason: String| Error::PrivateKey {
                path: key.to_owned(),
                reason,
            };
            let chain = read(certificates).map_err(wrong_certificate)?;
            let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
            let chain = chain.map_err(|_| wrong_certificate("it is not PEM".to_owned()))?;
            if chain.is_empty() {
                let reason = "it has no certificate (`-----BEGIN CERTIFICATE-----`)";
                return Err(wrong_certificate(reason.to_owned()));
            }
            check_readers(key).map_err(wrong_key)?;
            let secret = read(key).map_err(wrong_key)?;
            let secret = PrivateKeyDer::from_pem_slice(&secret).map_err(|_| {
                let reason = "it has no private key in PEM (`-----BEGIN PRIVATE KEY-----`); one with a password cannot \
                              be used";
                wrong_key(reason.to_owned())
            })?;
            let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
                // 1.2 and 1.3.
                .with_safe_default_protocol_versions()
                .map_err(|error| wrong_key(error.to_string()))?
                .with_no_client_auth();
            let mut config =
                builder
                    .with_single_cert(chain, secret)
                    .map_err(|error| match error {
                        TlsError::InconsistentKeys(_) => Error::KeyMismatch {
                            certificates: certificates.to_owned(),
                            key: key.to_owned(),
                        },
                        TlsError::InvalidCertificate(_) => wrong_certificate(error.to_string()),
                        _ => wrong_key(error.to_string()),
                    })?;
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Self(TlsAcceptor::from(Arc::new(config))))
        }

        /// The connection, once both sides have agreed. Whoever calls it bounds the time.
        pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
        where
            S: AsyncRead + AsyncWrite + Unpin,
        {
            self.0.accept(stream).await
        }
    }

    fn read(path: &Path) -> Result<Vec<u8>, String> {
        let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
        if !size.is_file() || size.len() > MOST {
            return Err(format!("it is no file of at most {MOST} bytes"));
        }
        std::fs::read(path).map_err(|error| error.to_string())
    }

    /// Refuses a key that every user of the machine can read.
    #[cfg(unix)]
    fn check_readers(path: &Path) -> Result<(), String> {
        use std::os::unix::fs::PermissionsExt;

        let file = std::fs::metadata(path).map_err(|error| error.to_string())?;
        match file.permissions().mode() & 0o007 {
            0 => Ok(()),
            _ => Err(
                "other users of this machine can read or change it: chmod 600, or 640".to_owned(),
            ),
        }
    }

    #[cfg(not(unix))]
    fn check_readers(_path: &Path) -> Result<(), String> {
        Ok(())
    }
}
