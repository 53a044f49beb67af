//! Answers questions over HTTP: OpenAI's calls, our own, and a page.
//!
//! `cargo run --release --features serve --example serve`, then open the address that it prints.

mod common;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use asclepius::{
    Asclepius, Calibration, LoadOptions, Precision, device, embedded_checksum, model_checksum,
};
use clap::Parser;
use clinical_bert::ClinicalBert;
use clinical_serve::{EngineOptions, Limits, Models, ServeOptions, Server};

/// Answer questions about clinical notes over HTTP.
#[derive(Parser)]
struct Arguments {
    /// A model directory or GGUF file; without it the one named by ASCLEPIUS_MODEL, else the demonstration model
    #[arg(long)]
    model: Option<PathBuf>,
    /// A BERT with a token classification head, for /v1/tag; without it and without --model, the demonstration BERT
    #[arg(long)]
    tagger: Option<PathBuf>,
    /// A BERT for /v1/embeddings; without it and without --model, the demonstration BERT
    #[arg(long)]
    embed: Option<PathBuf>,
    /// Where to listen; other than a loopback address only with --key-file
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A name by which browsers may call this server, such as that of the proxy before it; may be repeated
    #[arg(long)]
    host: Vec<String>,
    /// A file with one key a line, of which every request must bring one
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// A PEM file with the server's certificate, for HTTPS alone; needs the feature `tls`
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// A PEM file with the certificate's private key, which no other user of the machine can read
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A file that gets a line of JSON, with note, question and answer, for each judgement of a reader
    #[arg(long)]
    feedback: Option<PathBuf>,
    /// A file that `calibrate` wrote for this model: answers that are not sure enough are not shown
    #[arg(long)]
    calibration: Option<PathBuf>,
    /// How many answers are written at a time
    #[arg(long, default_value_t = 16)]
    slots: usize,
    /// MiB of keys and values that are kept of notes for further questions
    #[arg(long, default_value_t = 256)]
    kept_notes: u64,
    /// The most seconds that an answer may take
    #[arg(long, default_value_t = 600)]
    answer_time: u64,
    /// The weights in memory: f32, int8, int4, stored-f16 or stored-bf16; on a GPU also f16 or bf16
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Where to run: cpu, ndarray, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Print no line for each request
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    common::exit(run(Arguments::parse()))
}

fn run(arguments: Arguments) -> Result<()> {
    device::keep_freed_memory();
    let limits = Limits {
        kept_notes: arguments.kept_notes << 20,
        answer_time: std::time::Duration::from_secs(arguments.answer_time),
        ..Limits::default()
    };
    let mut options = ServeOptions::new()
        .with_address(arguments.listen)
        .with_engine(EngineOptions::new().with_slots(arguments.slots))
        .with_limits(limits);
    for name in &arguments.host {
        options = options.with_host(name);
    }
    if let Some(path) = &arguments.key_file {
        options = options.with_key_file(path);
    }
    if let (Some(certificates), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) {
        options = options.with_tls(certificates, key);
    }
    if let Some(path) = &arguments.feedback {
        options = options.with_feedback(path);
    }
    if !arguments.quiet {
        options = options.with_on_access(|access| {
            let line = serde_json::to_string(access).unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "{line}");
        });
    }
    let server = Server::bind(options)?;
    common::print(server.url())?;
    Ok(server.run(move || models(&arguments))?)
}

fn models(arguments: &Arguments) -> Result<Models> {
    let load = LoadOptions::new()
        .with_device(device::parse(&arguments.device)?)
        .with_precision(arguments.precision);
    let name = |path: &Path| match path.file_stem() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => "model".to_owned(),
    };
    let bert = |path: &Path| Ok::<_, anyhow::Error>(Arc::new(ClinicalBert::load(path, &load)?));
    let model = arguments.model.clone().or_else(asclepius::model_dir);
    let mut models = match &model {
        Some(path) => Models::new(name(path), Arc::new(Asclepius::load(path, &load)?)),
        None => {
            let bert = Arc::new(ClinicalBert::embedded_with(&load)?);
            Models::new("demonstration", Arc::new(Asclepius::embedded_with(&load)?))
                .with_tagger(Arc::clone(&bert))
                .with_embedder("demonstration-bert", bert)
        }
    };
    if let Some(file) = &arguments.calibration {
        let checksum = match &model {
            Some(path) => model_checksum(path)?,
            None => embedded_checksum(),
        };
        models = models.with_calibration(Calibration::load(file, &checksum)?);
    }
    if let Some(path) = &arguments.tagger {
        models = models.with_tagger(bert(path)?);
    }
    if let Some(path) = &arguments.embed {
        models = models.with_embedder(name(path), bert(path)?);
    }
    Ok(models)
}
