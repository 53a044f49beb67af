//! How every example reads a text, prints and ends.
#![allow(dead_code, clippy::print_stderr)] // some programs print by themselves; these are command lines

use std::fmt::Display;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};

/// The longest text that is read, 64 MiB: a file that never ends must not fill the memory.
const MOST: u64 = 64 << 20;

/// A text in UTF-8 from a file or, without one, from standard input.
pub fn text(path: Option<&Path>) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let (read, name) = match path {
        Some(path) => (
            File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes)),
            path.display().to_string(),
        ),
        None => (
            io::stdin().lock().take(MOST + 1).read_to_end(&mut bytes),
            "standard input".to_owned(),
        ),
    };
    read.with_context(|| format!("cannot read {name}"))?;
    ensure!(
        bytes.len() as u64 <= MOST,
        "{name} has more than {MOST} bytes: it is no note"
    );
    String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8 text"))
}

/// One line on standard output. `println!` would panic where nobody reads it or the disk is full.
pub fn print(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
}

/// Success; or one line on standard error and exit code 1. That nobody reads the output any more (`| head`) is no
/// failure.
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    // What was written without a line end.
    let result = result.and_then(|()| Ok(io::stdout().flush()?));
    match result {
        Err(error) if !is_unread(&error) => {
            eprintln!("error: {}", line(&error));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn is_unread(error: &anyhow::Error) -> bool {
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// An error and its causes. Errors of this workspace say their cause in their own sentence, and it is not printed
/// twice.
fn line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    line
}
