//! Answers that are no answer: errors as OpenAI's clients expect them.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use clinical_generate::Error as GenerateError;
use serde::Serialize;
use serde_json::json;

/// What a sender is told: `{"error": {"message", "type", "param", "code"}}`.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    param: Option<String>,
    message: String,
    retry_after: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let kind = match status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        Self {
            status,
            kind,
            code,
            param: None,
            message: message.into(),
            retry_after: None,
        }
    }

    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A parameter that cannot be used.
    pub(crate) fn param(name: &str, message: impl Into<String>) -> Self {
        Self::bad("invalid_parameter", message).of(name)
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "this server wants a key: send the header `Authorization: Bearer KEY`";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn method() -> Self {
        let message = "this path has another method: see /openapi.json";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        )
    }

    pub(crate) fn media_type() -> Self {
        let message = "send the header `Content-Type: application/json`";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            message,
        )
    }

    pub(crate) fn body_too_large(limit: usize) -> Self {
        let message = format!("the body has more than {limit} bytes, the server's limit `body`");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    pub(crate) fn too_slow(seconds: u64) -> Self {
        let message = format!(
            "the body did not arrive within {seconds} seconds, the server's limit `body_time`"
        );
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", message)
    }

    pub(crate) fn busy(seconds: u64, limit: &'static str) -> Self {
        let message = format!(
            "so many requests wait that the server takes no more (its limit `{limit}`): try again in {seconds} seconds"
        );
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", message);
        error.retry_after = Some(seconds);
        error
    }

    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        error.retry_after = Some(5);
        error
    }

    pub(crate) fn deadline(seconds: u64) -> Self {
        let message = format!(
            "nothing was answered within {seconds} seconds, the server's limit `answer_time`: ask for fewer tokens, or \
             later"
        );
        Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    pub(crate) fn of(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        json!({"error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }})
    }
}

impl From<asclepius::Error> for ApiError {
    fn from(error: asclepius::Error) -> Self {
        use asclepius::Error as E;
        let message = error.to_string();
        match &error {
            E::TooLong(_) | E::QuestionTooLong { .. } => {
                Self::bad("context_length_exceeded", message)
            }
            E::NothingLeft => Self::bad("empty_note", message),
            E::SpecialToken { .. } | E::Prompt(_) => Self::bad("refused_text", message),
            E::NoChatTemplate | E::ChatTemplate(_) => Self::bad("no_chat_template", message),
            E::Tokenizer(_) | E::Windows(_) => Self::bad("unreadable_text", message),
            E::Cancelled => Self::unavailable("cancelled", "the request was given up"),
            E::Generate(error) => match error {
                GenerateError::QueueFull { .. } => Self::busy(1, "queue"),
                GenerateError::EngineStopped => Self::unavailable("stopping", message),
                GenerateError::NonFinite { .. }
                | GenerateError::Pass { .. }
                | GenerateError::Panicked
                | GenerateError::LogitShape { .. }
                | GenerateError::Thread(_)
                | GenerateError::Device(_) => Self::internal(message),
                _ => Self::bad("refused_options", message),
            },
            _ => Self::internal(message),
        }
    }
}

impl From<clinical_bert::Error> for ApiError {
    fn from(error: clinical_bert::Error) -> Self {
        use clinical_bert::Error as E;
        let message = error.to_string();
        match error {
            E::TooLong(_) => Self::bad("context_length_exceeded", message),
            E::Cancelled => Self::unavailable("cancelled", "the request was given up"),
            E::NotFinite | E::Model(_) => Self::internal(message),
            E::Head { .. } | E::NoHead { .. } => Self::not_found("wrong_model", message),
            _ => Self::bad("refused_text", message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let mut response = json_response(&self.to_json());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// A value as JSON.
pub(crate) fn json_response(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut response = Response::new(Body::from(bytes));
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(_) => {
            let mut response = Response::new(Body::from("{}"));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}
