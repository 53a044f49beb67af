//! Measures the peak memory of encoding 4 MiB of one repeated text (Linux).
//!
//! ```text
//! cargo run --release -p clinical-bench --bin tokenizer_memory -- tokenizer.json "The patient was well. "
//! ```
#![allow(clippy::print_stdout)]

use clinical_tokenizer::Tokenizer;
use clinical_tokenizer::limits::DEFAULT_MAX_TEXT_BYTES;

/// The highest resident memory of this process so far, in bytes.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kilobytes| kilobytes * 1024)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, text] = arguments.as_slice() else {
        return Err("usage: memory FILE TEXT".into());
    };
    let tokenizer = Tokenizer::from_file(file)?;
    let text = text.repeat(DEFAULT_MAX_TEXT_BYTES / text.len().max(1));
    let before = peak().ok_or("there is no /proc/self/status")?;
    let tokens = tokenizer.count(&text)?;
    let taken = peak().unwrap_or(before) - before;
    println!(
        "{tokens} tokens, {} MB, {:.0} times the text",
        taken / 1_000_000,
        taken as f64 / text.len() as f64
    );
    Ok(())
}
