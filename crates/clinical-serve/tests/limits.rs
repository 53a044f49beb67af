//! Who may ask and how much, and what happens when clients go.

mod common;

use std::io::{BufReader, Read, Write};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use clinical_serve::{EngineOptions, Error, Limits, ServeOptions, Server};
use common::{NOTE, QUESTION, Reply, Running, read_chunk, read_head, request};
use serde_json::{Value, json};

fn limited(limits: Limits) -> Running {
    Running::new(ServeOptions::new().with_limits(limits))
}

/// A question that keeps a slot for long: very many windows.
fn long() -> Value {
    let note = format!("{NOTE}\n").repeat(600);
    json!({"note": note, "question": QUESTION, "long_note": "windows", "stream": true})
}

/// Sends a request and leaves the connection open.
fn begin(server: &Running, body: &Value) -> std::net::TcpStream {
    let mut stream = server.connect();
    let text = request("POST", "/v1/ask", &[], &body.to_string());
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

fn until(holds: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("it never happened");
}

const RUNNING: &str = "clinical_serve_running_requests ";

#[test]
fn health_answers_while_a_model_reads_and_a_client_that_goes_ends_its_question() {
    let server = Running::new(ServeOptions::new());
    let stream = begin(&server, &long());
    until(|| server.metric(RUNNING) == 1.0);
    for _ in 0..5 {
        assert_eq!(server.get("/health").ok()["status"], "ok");
    }
    assert_eq!(
        server.metric(RUNNING),
        1.0,
        "it was over too soon to show anything"
    );
    drop(stream);
    until(|| server.metric(RUNNING) == 0.0);
    server.logged(|access| access.route == "/v1/ask");
    // The slots are free.
    let value = server
        .post("/v1/ask", &json!({"note": NOTE, "question": QUESTION}))
        .ok();
    assert!(value["answers"][0]["answer"]["text"].is_string());
    assert_eq!(server.metric("clinical_serve_engine_running "), 0.0);
}

#[test]
fn a_client_that_goes_in_the_middle_of_a_stream_ends_it() {
    let server = Running::new(ServeOptions::new());
    // Many questions, one after another in one slot.
    let questions = vec![QUESTION; 64];
    let body = json!({"note": NOTE, "questions": questions, "stream": true, "temperature": 1.9, "max_tokens": 1000});
    let mut reader = BufReader::new(begin(&server, &body));
    assert_eq!(read_head(&mut reader).0, 200);
    assert!(read_chunk(&mut reader).is_some());
    drop(reader);
    until(|| {
        server.metric(RUNNING) == 0.0 && server.metric("clinical_serve_queue_requests ") == 0.0
    });
    assert_eq!(server.metric("clinical_serve_engine_running "), 0.0);
}

#[test]
fn a_full_queue_is_429() {
    let limits = Limits {
        queue: 1,
        ..Limits::default()
    };
    let options = ServeOptions::new()
        .with_limits(limits)
        .with_engine(EngineOptions::new().with_slots(1));
    let server = Running::new(options);
    let mut open = Vec::new();
    for running in 1..=3 {
        open.push(begin(&server, &long()));
        until(|| server.metric(RUNNING) == f64::from(running));
    }
    open.push(begin(&server, &long()));
    until(|| server.metric("clinical_serve_queue_requests ") == 1.0);
    let reply = server.post("/v1/ask", &json!({"note": NOTE, "question": QUESTION}));
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    assert!(reply.text.contains("`queue`"));
    assert_eq!(reply.fails(429), "queue_full");
    drop(open);
    until(|| server.metric(RUNNING) == 0.0);
    server
        .post("/v1/ask", &json!({"note": NOTE, "question": QUESTION}))
        .ok();
}

#[test]
fn an_answer_that_takes_too_long_ends() {
    let server = limited(Limits {
        answer_time: Duration::from_millis(1),
        ..Limits::default()
    });
    let reply = server.post("/v1/ask", &json!({"note": NOTE, "question": QUESTION}));
    assert!(reply.text.contains("`answer_time`"));
    assert_eq!(reply.fails(504), "deadline");
}

#[test]
fn bodies_have_a_limit_a_type_and_a_time() {
    let server = limited(Limits {
        body: 1000,
        body_time: Duration::from_millis(100),
        header_time: Duration::from_millis(200),
        ..Limits::default()
    });
    let long = json!({"note": "x".repeat(2000), "question": "x"});
    let reply = server.post("/v1/ask", &long);
    assert!(reply.text.contains("1000") && reply.text.contains("`body`"));
    assert_eq!(reply.fails(413), "body_too_large");
    // Without a length.
    let mut stream = server.connect();
    let head = "POST /v1/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", 2000, "x".repeat(2000));
    stream
        .write_all((head.to_owned() + &chunk).as_bytes())
        .unwrap();
    let reply = Reply::read(&mut BufReader::new(stream));
    assert_eq!(reply.fails(413), "body_too_large");
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let reply = server.send("POST", "/v1/ask", &[("Content-Type", kind)], "{}");
        assert_eq!(reply.fails(415), "unsupported_media_type");
    }
    for body in ["", "{", "[]", "{\"note\": \"\\ud800\"}", "\u{feff}{}"] {
        let reply = server.send("POST", "/v1/ask", &[], body);
        assert_eq!(reply.fails(400), "invalid_json", "{body}");
    }
    let deep = "[".repeat(400);
    assert_eq!(
        server.send("POST", "/v1/ask", &[], &deep).fails(400),
        "invalid_json"
    );
    // A body that does not come.
    let mut stream = server.connect();
    let text = request("POST", "/v1/ask", &[("Content-Length", "50")], "{");
    stream.write_all(text.as_bytes()).unwrap();
    let reply = Reply::read(&mut BufReader::new(stream));
    assert_eq!(reply.fails(408), "body_too_slow");
    // A head that does not come: the connection is closed.
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
    server.get("/health").ok();
}

#[test]
fn more_connections_than_the_limit_wait() {
    let server = limited(Limits {
        connections: 1,
        header_time: Duration::from_secs(100),
        ..Limits::default()
    });
    let mut first = server.connect();
    first
        .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut reader = BufReader::new(first.try_clone().unwrap());
    Reply::read(&mut reader).ok();
    let mut second = server.connect();
    second
        .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    second
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(
        second.read(&mut [0; 1]).is_err(),
        "the second was served beside the first"
    );
    second.set_read_timeout(None).unwrap();
    drop((first, reader));
    Reply::read(&mut BufReader::new(second)).ok();
}

#[test]
fn no_page_of_another_site_gets_through() {
    let server = Running::new(ServeOptions::new().with_host("notes.example"));
    let body = json!({"note": NOTE, "question": QUESTION, "max_tokens": 1}).to_string();
    let post = |headers: &[(&str, &str)]| server.send("POST", "/v1/ask", headers, &body);
    assert_eq!(post(&[("Host", "evil.example")]).fails(403), "wrong_host");
    assert_eq!(
        post(&[("Origin", "http://evil.example")]).fails(403),
        "wrong_origin"
    );
    assert_eq!(post(&[("Origin", "null")]).fails(403), "wrong_origin");
    let foreign = [("Sec-Fetch-Site", "cross-site")];
    assert_eq!(post(&foreign).fails(403), "wrong_origin");
    assert_eq!(
        server.send("GET", "/metrics", &foreign, "").fails(403),
        "wrong_origin"
    );
    assert_eq!(
        server
            .send("GET", "/", &[("Host", "evil.example")], "")
            .fails(403),
        "wrong_host"
    );
    post(&[("Origin", "http://localhost")]).ok();
    post(&[
        ("Host", "notes.example"),
        ("Origin", "https://notes.example"),
    ])
    .ok();
    let host = server.address.to_string();
    post(&[("Host", &host)]).ok();
    let reply = server.get("/");
    assert_eq!(reply.header("access-control-allow-origin"), None);
    assert!(
        reply
            .header("content-security-policy")
            .unwrap()
            .starts_with("default-src 'none'")
    );
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let preflight = [
        ("Origin", "http://evil.example"),
        ("Access-Control-Request-Method", "POST"),
    ];
    assert_eq!(
        server.send("OPTIONS", "/v1/ask", &preflight, "").status,
        403
    );
}

#[test]
fn keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    std::fs::write(&path, "0123456789abcdef0\n0123456789abcdef1\n").unwrap();
    let server = Running::new(ServeOptions::new().with_key_file(&path));
    for path in [
        "/v1/models",
        "/metrics",
        "/v1/info",
        "/nowhere",
        "/openapi.json",
    ] {
        assert_eq!(server.get(path).fails(401), "invalid_api_key");
        let wrong = [("Authorization", "Bearer 0123456789abcdef2")];
        assert_eq!(
            server.send("GET", path, &wrong, "").fails(401),
            "invalid_api_key"
        );
    }
    let right = [("Authorization", "Bearer 0123456789abcdef1")];
    server.send("GET", "/v1/models", &right, "").ok();
    assert_eq!(server.get("/").status, 200);
    server.get("/health").ok();

    let everywhere = ServeOptions::new().with_address(([0, 0, 0, 0], 0).into());
    let error = Server::bind(everywhere.clone()).unwrap_err();
    assert!(matches!(error, Error::NeedsKeys { .. }));
    Server::bind(everywhere.with_key_file(&path)).unwrap();
    let missing = ServeOptions::new().with_key_file(dir.path().join("none"));
    assert!(matches!(Server::bind(missing), Err(Error::Keys { .. })));
    let nothing = Limits {
        connections: 0,
        ..Limits::default()
    };
    let error = Server::bind(ServeOptions::new().with_limits(nothing)).unwrap_err();
    assert!(matches!(
        error,
        Error::Zero {
            limit: "connections"
        }
    ));
}

#[test]
fn a_server_that_loads_says_so_and_one_that_cannot_ends() {
    let (release, wait) = channel::<()>();
    let server = Running::loading(ServeOptions::new(), move || {
        wait.recv().unwrap();
        common::models()
    });
    let reply = server.get("/health");
    assert!(reply.header("retry-after").is_some());
    assert_eq!(reply.fails(503), "loading");
    assert_eq!(server.get("/v1/models").fails(503), "loading");
    assert_eq!(server.get("/").status, 200);
    release.send(()).unwrap();
    until(|| server.get("/health").status == 200);
    drop(server);
    let options = || ServeOptions::new().with_address(([127, 0, 0, 1], 0).into());
    let server = Server::bind(options()).unwrap();
    let error = server
        .run(|| Err::<_, String>("no such model".to_owned()))
        .unwrap_err();
    assert!(error.to_string().contains("no such model"));
    let server = Server::bind(options()).unwrap();
    let error = server.run::<String>(|| panic!("in a test")).unwrap_err();
    assert!(matches!(error, Error::Models { .. }));
}

#[test]
fn a_server_that_is_stopped_ends_what_runs_first() {
    let server = Running::new(ServeOptions::new());
    let body = json!({"note": NOTE, "questions": vec![QUESTION; 8], "stream": true});
    let mut reader = BufReader::new(begin(&server, &body));
    assert_eq!(read_head(&mut reader).0, 200);
    server.stop();
    let mut text = String::new();
    while let Some(chunk) = read_chunk(&mut reader) {
        text += std::str::from_utf8(&chunk).unwrap();
    }
    assert_eq!(text.matches("\"type\":\"answer\"").count(), 8);
    assert!(text.contains("\"type\":\"end\""));
}

#[test]
fn a_server_that_is_stopped_does_not_wait_for_ever() {
    let server = limited(Limits {
        grace: Duration::from_millis(50),
        ..Limits::default()
    });
    let stream = begin(&server, &long());
    until(|| server.metric(RUNNING) == 1.0);
    // Waits for its end.
    drop(server);
    drop(stream);
}

#[test]
fn numbers_are_bounded_and_the_log_has_no_text() {
    let server = Running::new(ServeOptions::new());
    let secret = "zebra-secret";
    let body = json!({"note": format!("{NOTE}\n{secret}"), "question": QUESTION, "max_tokens": 4});
    server.post("/v1/ask", &body).ok();
    let lines = || server.get("/metrics").text.lines().count();
    let ask = |n: u32| {
        for other in 0..n {
            server.get(&format!("/{secret}/{other}"));
            server.post("/v1/ask", &json!({"note": secret, "odd": other}));
            server.send("POST", "/v1/ask", &[("Host", secret)], "");
        }
    };
    ask(3);
    lines();
    let before = lines();
    ask(60);
    assert_eq!(lines(), before, "the numbers grew");
    let text = server.get("/metrics").text;
    assert!(!text.contains(secret));
    assert!(text.contains("clinical_serve_request_seconds_bucket"));
    assert!(text.contains("clinical_serve_first_token_seconds_bucket"));
    let access = server.logged(|access| access.route == "/v1/ask" && access.status == 200);
    assert!(access.prompt_tokens > 100 && access.new_tokens > 0 && access.bytes_out > 100);
    let log = server.log.lock().unwrap();
    assert!(log.len() > 60 && log.iter().any(|access| access.route == "other"));
    for access in log.iter() {
        assert!(!serde_json::to_string(access).unwrap().contains(secret));
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_program_without_tls_says_so() {
    let options = ServeOptions::new()
        .with_address(([127, 0, 0, 1], 0).into())
        .with_tls("certificate.pem", "key.pem");
    assert!(matches!(Server::bind(options), Err(Error::NoTls)));
}
