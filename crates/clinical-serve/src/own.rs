//! `/health`, `/metrics`, `/v1/info`, `/v1/feedback`, `/openapi.json`: about the server itself.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, header};
use serde_json::{Value, json};

use crate::app::App;
use crate::fields::Fields;
use crate::reply::{ApiError, json_response};
use crate::server::body;

/// The description of all calls.
const OPENAPI: &str = include_str!("openapi.json");

/// `/health`: 200 once models are loaded, else 503. It asks no model, so it answers while one computes.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Result<Response<Body>, ApiError> {
    app.loaded()?;
    let seconds = app.started.elapsed().as_secs();
    Ok(json_response(&json!({"status": "ok", "seconds": seconds})))
}

/// `/metrics`.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response<Body> {
    let text = app.metrics.render(&app);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// `/openapi.json`.
pub(crate) async fn openapi() -> Response<Body> {
    let kind = HeaderValue::from_static("application/json");
    let mut response = Response::new(Body::from(OPENAPI));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// `/v1/info`: what this server has and takes.
pub(crate) async fn info(State(app): State<Arc<App>>) -> Result<Response<Body>, ApiError> {
    let loaded = app.loaded()?;
    let limits = &app.options.limits;
    let calibration = loaded.calibration.as_ref().map(|found| {
        json!({
            "options": found.options, "answers": found.answers, "threshold": found.threshold,
            "coverage": found.coverage,
        })
    });
    Ok(json_response(&json!({
        "model": loaded.name, "max_tokens": loaded.model().max_tokens(), "prompt": loaded.model().style(),
        "tag": loaded.tagger.is_some(), "embeddings": loaded.embedder.as_ref().map(|(name, _)| name),
        "feedback": app.feedback.is_some(), "schemas": cfg!(feature = "grammar"),
        "calibration": calibration,
        "version": env!("CARGO_PKG_VERSION"),
        "limits": {
            "body": limits.body, "items": limits.items, "new_tokens": limits.new_tokens, "queue": limits.queue,
            "queue_tokens": limits.queue_tokens, "answer_time": limits.answer_time.as_secs(),
            "connections": limits.connections,
        },
    })))
}

/// `/v1/feedback`: a reader's judgement, where the server was given a file for it.
pub(crate) async fn feedback(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    if app.feedback.is_none() {
        let message = "this server records no judgements: it was started without a file for them";
        return Err(ApiError::not_found("no_feedback", message));
    }
    let (context, bytes) = body(&app, request).await?;
    let mut fields = Fields::parse(&bytes)?;
    let what = "`right`, `wrong` or `missing`";
    let verdict: String = fields.need("verdict", what)?;
    if !["right", "wrong", "missing"].contains(&verdict.as_str()) {
        return Err(ApiError::param(
            "verdict",
            format!("`verdict` must be {what}"),
        ));
    }
    let note: String = fields.need("note", "a text")?;
    let question: String = fields.need("question", "a text")?;
    let details: Value = fields.need("answer", "an answer of /v1/ask")?;
    let Some(answer) = details.get("text").and_then(Value::as_str) else {
        return Err(ApiError::param(
            "answer",
            "`answer` must be an answer of /v1/ask",
        ));
    };
    let comment: Option<String> = fields.take("comment", "a text")?;
    fields.finish()?;
    let model = app.loaded()?.name.clone();
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    // `calibrate` reads the note, the question, the text and whether it is right.
    let line = json!({
        "note": note, "question": question, "answer": answer, "right": verdict == "right", "verdict": verdict,
        "comment": comment, "details": details, "model": model, "id": context.id,
        "time": time.map_or(0, |now| now.as_secs()),
    });
    let writer = Arc::clone(&app);
    app.compute(0, move || match &writer.feedback {
        Some(file) => file
            .append(&line)
            .map_err(|error| ApiError::internal(format!("nothing was recorded: {error}"))),
        None => Ok(()),
    })
    .await?;
    Ok(json_response(&json!({"recorded": true})))
}
