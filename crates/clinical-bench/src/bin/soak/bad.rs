//! Requests that must be refused, and the status that they must be refused with.

use clinical_bench::http::request;
use serde_json::json;

/// One body for `/v1/ask` or a chat, or a whole request.
pub struct Bad {
    pub status: u16,
    pub request: String,
}

/// All kinds.
pub fn all() -> Vec<Bad> {
    let asks = [
        (400, String::new()),
        (400, "{".to_owned()),
        (400, "[]".to_owned()),
        (400, "\u{0}\u{1}\u{7f}".to_owned()),
        (400, r#"{"note": "\ud800", "question": "x"}"#.to_owned()),
        (400, "[".repeat(100_000)),
        (400, json!({"note": "x"}).to_string()),
        (400, json!({"note": 5, "question": "x"}).to_string()),
        (
            400,
            json!({"note": "x", "question": "x", "odd": 1}).to_string(),
        ),
        (
            400,
            json!({"note": "x", "questions": vec!["x"; 65]}).to_string(),
        ),
        (400, json!({"note": " ", "question": "x"}).to_string()),
        (
            400,
            json!({"note": "word ".repeat(20_000), "question": "x"}).to_string(),
        ),
        (
            400,
            json!({"note": "x", "question": "x", "temperature": "hot"}).to_string(),
        ),
        (
            400,
            json!({"note": "x", "question": "x", "max_tokens": 1_000_000}).to_string(),
        ),
        (
            400,
            json!({"fhir": {"resourceType": "Patient"}, "question": "x"}).to_string(),
        ),
        (
            404,
            json!({"note": "x", "question": "x", "model": "other"}).to_string(),
        ),
    ];
    let chats = [
        (400, json!({"messages": []})),
        (
            400,
            json!({"messages": [{"role": "user", "content": "one"}]}),
        ),
        (
            400,
            json!({"messages": [{"role": "tool", "content": "one"}]}),
        ),
        (400, json!({"messages": "x", "stream": true})),
        (400, json!({"messages": [], "mirostat": 2})),
        (400, json!({"messages": [], "top_logprobs": 3})),
    ];
    let post = |path: &str, body: &str| request("POST", path, &[], body);
    let mut all: Vec<Bad> = Vec::new();
    let mut add = |status: u16, request: String| all.push(Bad { status, request });
    for (status, body) in asks {
        add(status, post("/v1/ask", &body));
    }
    for (status, body) in chats {
        add(status, post("/v1/chat/completions", &body.to_string()));
    }
    let kind = [("Content-Type", "text/plain")];
    add(415, request("POST", "/v1/ask", &kind, "{}"));
    add(
        403,
        request("POST", "/v1/ask", &[("Host", "foreign.example")], "{}"),
    );
    add(
        403,
        request(
            "POST",
            "/v1/ask",
            &[("Origin", "http://foreign.example")],
            "{}",
        ),
    );
    add(404, request("GET", "/no/such/path", &[], ""));
    add(405, request("GET", "/v1/ask", &[], ""));
    add(400, "not HTTP at all\r\n\r\n".to_owned());
    add(
        431,
        format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
            "x".repeat(1 << 20)
        ),
    );
    // Too large: by its length, before a byte of it was sent; and without a length.
    let length = [("Content-Length", "9000000")];
    add(413, request("POST", "/v1/ask", &length, ""));
    let head = "POST /v1/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{}\r\n", 9_000_000, "x".repeat(9_000_000));
    add(413, head.to_owned() + &chunk);
    all
}
