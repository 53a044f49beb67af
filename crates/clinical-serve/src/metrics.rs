//! Numbers for Prometheus: fixed buckets, and labels of a fixed number of values.

use metrics::{counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::access::Access;
use crate::app::App;

/// Seconds of requests, and until the first token.
const SECONDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0,
];

/// The numbers of one server.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        // Only an empty list is an error.
        let builder = builder
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        Self { recorder, handle }
    }

    fn with(&self, record: impl FnOnce()) {
        with_local_recorder(&self.recorder, record);
    }

    /// A request is over.
    pub(crate) fn request(&self, access: &Access) {
        let class = match access.status {
            200..300 => "2xx",
            300..400 => "3xx",
            429 => "429",
            400..500 => "4xx",
            503 => "503",
            _ => "5xx",
        };
        self.with(|| {
            counter!("clinical_serve_requests_total", "route" => access.route, "status" => class)
                .increment(1);
            histogram!("clinical_serve_request_seconds", "route" => access.route)
                .record(access.seconds);
            for (kind, tokens) in [
                ("prompt", access.prompt_tokens),
                ("reused", access.reused_tokens),
                ("new", access.new_tokens),
            ] {
                counter!("clinical_serve_tokens_total", "kind" => kind).increment(tokens);
            }
        });
    }

    /// The first token of an answer came so many seconds after its request.
    pub(crate) fn first_token(&self, seconds: f64) {
        self.with(|| histogram!("clinical_serve_first_token_seconds").record(seconds));
    }

    /// Moves what was recorded into the buckets, so that nothing grows while nobody asks.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// All numbers, in Prometheus' text format.
    pub(crate) fn render(&self, app: &App) -> String {
        let connections = app.connections();
        self.with(|| {
            gauge!("clinical_serve_connections").set(connections as f64);
            let Ok(loaded) = app.loaded() else {
                return;
            };
            let (waiting, running) = app.work.load();
            let load = loaded.engine.load();
            let (notes, bytes) = loaded.engine.kept();
            gauge!("clinical_serve_queue_requests").set(waiting as f64);
            gauge!("clinical_serve_running_requests").set(running as f64);
            gauge!("clinical_serve_engine_waiting").set(load.waiting as f64);
            gauge!("clinical_serve_engine_running").set(load.running as f64);
            gauge!("clinical_serve_engine_cache_bytes").set(load.bytes as f64);
            gauge!("clinical_serve_kept_notes").set(notes as f64);
            gauge!("clinical_serve_kept_bytes").set(bytes as f64);
        });
        self.handle.render()
    }
}
