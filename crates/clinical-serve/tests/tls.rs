//! Encrypted connections. The keys are test keys, published in `tests/tls`.

mod common;

use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clinical_serve::{Error, Limits, ServeOptions, Server};
use common::{NOTE, QUESTION, Reply, Running, model, models, request};
use serde_json::json;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

/// A copy of a fixture that only its owner can read.
fn own(directory: &tempfile::TempDir, name: &str) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::copy(fixture(name), &path).unwrap();
    chmod(&path, 0o600);
    path
}

#[cfg(unix)]
fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
fn chmod(_path: &Path, _mode: u32) {}

fn encrypted(limits: Limits) -> (Running, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let key = own(&directory, "key.pem");
    let options = ServeOptions::new()
        .with_limits(limits)
        .with_tls(fixture("certificate.pem"), key);
    let server = Running::loading(options, models);
    while send(&server, &TLS13, "GET", "/health", "").status == 503 {
        thread::sleep(Duration::from_millis(5));
    }
    (server, directory)
}

fn send(
    server: &Running,
    version: &'static SupportedProtocolVersion,
    method: &str,
    path: &str,
    body: &str,
) -> Reply {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(fixture("authority.pem")).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, server.connect());
    let text = request(method, path, &[], body);
    stream.write_all(text.as_bytes()).unwrap();
    Reply::read(&mut BufReader::new(stream))
}

#[test]
fn answers_are_the_same_by_both_versions() {
    let (server, _keys) = encrypted(Limits::default());
    let expected = model().answer(NOTE, QUESTION).unwrap().text;
    for version in [&TLS12, &TLS13] {
        let body = json!({"note": NOTE, "questions": [QUESTION]}).to_string();
        let value = send(&server, version, "POST", "/v1/ask", &body).ok();
        assert_eq!(value["answers"][0]["answer"]["text"], expected.as_str());
        let body = json!({"stream": true, "messages": [
            {"role": "system", "content": NOTE}, {"role": "user", "content": QUESTION},
        ]});
        let path = "/v1/chat/completions";
        let events = send(&server, version, "POST", path, &body.to_string()).events();
        let pieces = events
            .iter()
            .filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
        assert_eq!(pieces.collect::<String>(), expected);
    }
}

/// All that a server answers to bytes that are no agreement; a connection that is reset has no more to say.
fn answered(server: &Running, bytes: &[u8]) -> Vec<u8> {
    let mut stream = server.connect();
    stream.write_all(bytes).unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    all
}

#[test]
fn nothing_is_answered_unencrypted_or_by_older_versions() {
    let (server, _keys) = encrypted(Limits::default());
    let plain = answered(&server, request("GET", "/health", &[], "").as_bytes());
    assert!(!plain.starts_with(b"HTTP"));
    // The greeting of a client of TLS 1.1 with one suite, which every server of its time had.
    let mut hello = vec![0x03, 0x02];
    hello.extend([7; 32]);
    hello.extend([0x00, 0x00, 0x02, 0xc0, 0x13, 0x01, 0x00]);
    let mut handshake = vec![0x01, 0x00, 0x00, hello.len() as u8];
    handshake.extend(hello);
    let mut record = vec![0x16, 0x03, 0x01, 0x00, handshake.len() as u8];
    record.extend(handshake);
    let reply = answered(&server, &record);
    // At most an alert.
    assert!(reply.first().is_none_or(|&kind| kind == 0x15), "{reply:?}");
    assert_eq!(send(&server, &TLS13, "GET", "/health", "").status, 200);
}

#[test]
fn a_client_that_says_nothing_or_half_is_dropped() {
    let (server, _keys) = encrypted(Limits {
        header_time: Duration::from_millis(200),
        connections: 2,
        ..Limits::default()
    });
    // With two connections at most, a silent one that stayed would be seen.
    for bytes in [&b""[..], &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01], b"x"] {
        let began = Instant::now();
        let reply = answered(&server, bytes);
        assert!(reply.first().is_none_or(|&kind| kind == 0x15));
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "far longer than it may take on the slowest machine"
        );
    }
    let silent: Vec<_> = (0..6).map(|_| server.connect()).collect();
    assert_eq!(send(&server, &TLS12, "GET", "/health", "").status, 200);
    drop(silent);
}

#[test]
fn a_server_ends_while_a_client_says_nothing() {
    let (server, _keys) = encrypted(Limits {
        header_time: Duration::from_secs(3600),
        grace: Duration::from_secs(3600),
        ..Limits::default()
    });
    let silent = server.connect();
    // Dropping it waits for its end.
    drop(server);
    drop(silent);
}

fn refused(certificates: &Path, key: &Path) -> Error {
    let options = ServeOptions::new()
        .with_address(([127, 0, 0, 1], 0).into())
        .with_tls(certificates, key);
    Server::bind(options).unwrap_err()
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        own(&directory, "certificate.pem"),
        own(&directory, "key.pem"),
    );
    let other = own(&directory, "other_key.pem");
    let error = refused(&certificate, &other);
    assert!(matches!(&error, Error::KeyMismatch { key, .. } if *key == other));
    assert!(error.to_string().contains("other_key.pem"));

    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        chmod(&path, 0o600);
        path
    };
    let large = "x".repeat((1 << 20) + 1);
    let broken = "-----BEGIN CERTIFICATE-----\nsecret, no base64!\n-----END CERTIFICATE-----\n";
    // Two bytes that are base64, and no certificate.
    let short = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    for (path, reason) in [
        (file("empty.pem", ""), "it has no certificate"),
        (file("text.pem", "secret"), "it has no certificate"),
        (key.clone(), "it has no certificate"),
        (file("broken.pem", broken), "it is not PEM"),
        (file("short.pem", short), ""),
        (file("large.pem", &large), "no file of at most"),
        (directory.path().to_owned(), "no file of at most"),
        (directory.path().join("missing.pem"), ""),
    ] {
        let error = refused(&path, &key);
        let text = error.to_string();
        let Error::Certificate { path: of, .. } = error else {
            panic!("{}: {text}", path.display());
        };
        assert_eq!(of, path);
        assert!(text.contains(reason) && !text.contains("secret"), "{text}");
    }
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let broken = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    for (path, reason) in [
        (certificate.clone(), "it has no private key"),
        (file("locked.pem", locked), "one with a password"),
        (file("broken_key.pem", broken), ""),
        (directory.path().join("missing_key.pem"), ""),
    ] {
        let error = refused(&certificate, &path);
        let text = error.to_string();
        assert!(
            matches!(&error, Error::PrivateKey { path: of, .. } if *of == path),
            "{text}"
        );
        assert!(text.contains(reason), "{text}");
    }
    if cfg!(unix) {
        for mode in [0o644, 0o604, 0o602] {
            chmod(&key, mode);
            let text = refused(&certificate, &key).to_string();
            assert!(text.contains("chmod 600"), "{text}");
        }
        chmod(&key, 0o640);
        let options = ServeOptions::new()
            .with_address(([127, 0, 0, 1], 0).into())
            .with_tls(&certificate, &key);
        let server = Server::bind(options).unwrap();
        assert!(server.url().starts_with("https://127.0.0.1:"));
    }
}
