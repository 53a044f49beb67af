//! Measures encoding and decoding of a one-megabyte note for each kind of tokenizer, and how long it takes to have its
//! first 2,048 tokens.
//!
//! ```text
//! cargo run --release -p clinical-bench --bin tokenizer_speed [-- --write-note FILE]
//! ```
//!
//! The real tokenizers are those that `scripts/get_assets` fetches; without them the small ones of the tests are
//! measured.
#![allow(clippy::print_stdout)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clinical_tokenizer::{OpenOptions, Prefer, Tokenizer};

/// One megabyte of invented note, a little different in every line.
fn note() -> String {
    let mut text = String::with_capacity(1 << 20);
    let mut n = 0u64;
    while text.len() < 1 << 20 {
        n += 1;
        let (systolic, dose, day) = (90 + n * 7 % 90, 5 * (1 + n * 13 % 16), 1 + n * 11 % 28);
        writeln!(
            text,
            "Hospital day {day}: The patient was seen by Dr. [Name] at [Company]. BP {systolic}/{}, HR {}, O2 sat {}% on 2L NC.  \
             Continued metoprolol {dose} mg PO BID; lactate {}.{} mmol/L, WBC 12.{}*. Plan: follow-up in {} weeks ----",
            50 + n * 3 % 45,
            55 + n * 5 % 70,
            88 + n % 12,
            1 + n % 4,
            n % 10,
            n * 3 % 10,
            1 + n % 12,
        )
        .expect("writing to a string");
    }
    text
}

/// Seconds of one thread: on Linux the time it really ran, so that a busy machine does not matter much.
fn seconds(start: Instant) -> f64 {
    let ran = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = ran.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |n| n as f64 / 1e9)
}

fn best_of(runs: usize, mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    let times = (0..runs).map(|_| {
        let before = seconds(start);
        run();
        seconds(start) - before
    });
    times.fold(f64::MAX, f64::min).max(1e-6)
}

/// Starts that are timed together: one may be too short for the clock.
const STARTS: u32 = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = note();
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, file] = arguments.as_slice()
        && flag == "--write-note"
    {
        std::fs::write(file, &text)?;
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clinical-tokenizer");
    let assets = std::env::var_os("CLINICAL_LM_CACHE")
        .map_or_else(|| here.join("../../.cache/assets"), PathBuf::from);
    let models = here.join("tests/data/models");
    let kinds = [
        (
            "SentencePiece BPE, 32,000 pieces",
            assets.join("mistral-common/tokenizer.model.v1"),
            models.join("llama.model"),
            Prefer::Slow,
        ),
        (
            "SentencePiece unigram, 1,000 pieces",
            assets.join("seqio/sentencepiece.model"),
            models.join("t5.model"),
            Prefer::Slow,
        ),
        (
            "WordPiece, 30,522 pieces",
            assets.join("all-minilm-l6-v2"),
            models.join("fast_bert"),
            Prefer::Slow,
        ),
        (
            "tokenizer.json, WordPiece, 30,522",
            assets.join("all-minilm-l6-v2"),
            models.join("fast_bert"),
            Prefer::Fast,
        ),
        (
            "tokenizer.json, unigram, 1,000",
            models.join("fast_t5"),
            models.join("fast_t5"),
            Prefer::Fast,
        ),
        (
            "tokenizer.json, LLaMA BPE, 800",
            models.join("fast_llama"),
            models.join("fast_llama"),
            Prefer::Fast,
        ),
        (
            "tokenizer.json, byte-level BPE, 49,152",
            assets.join("smollm2-135m-instruct"),
            models.join("fast_bpe"),
            Prefer::Fast,
        ),
    ];
    println!(
        "{:<40} {:>9} {:>11} {:>13} {:>13} {:>13} {:>9}",
        "kind", "tokens", "open ms", "encode MB/s", "decode MB/s", "2,048 ms", "real"
    );
    for (name, real, small, prefer) in kinds {
        let path = if real.exists() { &real } else { &small };
        let open = || match path.is_dir() {
            true => Tokenizer::from_dir_with(path, &OpenOptions::new().with_prefer(prefer)),
            false => Tokenizer::from_file(path),
        };
        let tokenizer = open()?;
        let start = Instant::now();
        drop(open());
        let opening = start.elapsed().as_secs_f64();
        let megabytes = text.len() as f64 / 1e6;
        let ids = tokenizer.encode(&text, true)?.into_ids();
        let encoding = best_of(5, || drop(tokenizer.encode(&text, true)));
        let start = best_of(5, || {
            (0..STARTS).for_each(|_| drop(tokenizer.encode_start(&text, true, 2048)));
        }) / f64::from(STARTS);
        let decoding = best_of(5, || drop(tokenizer.decode(&ids, true)));
        println!(
            "{name:<40} {:>9} {:>11.1} {:>13.1} {:>13.1} {:>13.1} {:>9}",
            ids.len(),
            opening * 1e3,
            megabytes / encoding,
            megabytes / decoding,
            start * 1e3,
            path == &real
        );
    }
    Ok(())
}
