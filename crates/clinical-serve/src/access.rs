//! The log: one line a request, without text.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use http_body_util::BodyExt;
use serde::Serialize;

use crate::app::App;

/// One request, when its answer was sent or given up.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Access {
    /// When it ended, in milliseconds since 1970.
    pub time: u64,
    /// Its id, as in the header `x-request-id` of the answer.
    pub id: String,
    /// The path; `other` for one that there is not.
    pub route: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the body.
    pub bytes_in: u64,
    /// Bytes of the answer that were handed to the connection.
    pub bytes_out: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Of these, not read again.
    pub reused_tokens: u64,
    /// Tokens written.
    pub new_tokens: u64,
    /// From the request's head to the end of the answer.
    pub seconds: f64,
}

/// What is counted while a request runs.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) reused_tokens: AtomicU64,
    pub(crate) new_tokens: AtomicU64,
}

impl Counts {
    pub(crate) fn add(&self, usage: asclepius::Usage) {
        let add = |count: &AtomicU64, tokens: usize| {
            count.fetch_add(tokens as u64, Ordering::Relaxed);
        };
        add(&self.prompt_tokens, usage.prompt_tokens);
        add(&self.reused_tokens, usage.reused_tokens);
        add(&self.new_tokens, usage.new_tokens);
    }
}

/// Tells of a request when it is dropped: its answer was sent, or the client has gone.
pub(crate) struct Line {
    pub(crate) app: Arc<App>,
    pub(crate) id: String,
    pub(crate) route: &'static str,
    pub(crate) status: u16,
    pub(crate) counts: Arc<Counts>,
    pub(crate) began: Instant,
}

impl Line {
    /// The body, which tells when it has gone.
    pub(crate) fn follow(self, body: Body) -> Body {
        Body::new(body.map_frame(move |frame| {
            let bytes = frame.data_ref().map_or(0, bytes::Bytes::len);
            self.counts
                .bytes_out
                .fetch_add(bytes as u64, Ordering::Relaxed);
            frame
        }))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let access = Access {
            time: now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX)),
            id: std::mem::take(&mut self.id),
            route: self.route,
            status: self.status,
            bytes_in: read(&self.counts.bytes_in),
            bytes_out: read(&self.counts.bytes_out),
            prompt_tokens: read(&self.counts.prompt_tokens),
            reused_tokens: read(&self.counts.reused_tokens),
            new_tokens: read(&self.counts.new_tokens),
            seconds: self.began.elapsed().as_secs_f64(),
        };
        self.app.metrics.request(&access);
        if let Some(on_access) = &self.app.options.on_access {
            on_access(&access);
        }
    }
}
