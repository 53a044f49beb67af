//! How every example prints and ends.
#![allow(dead_code)] // some examples print by themselves

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// One line on standard output. `println!` would panic where nobody reads it or the disk is full.
pub fn print(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
}

/// Success; or one line on standard error and exit code 1. That nobody reads the output any more (`| head`) is no failure.
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

/// An error and its causes. Errors of this workspace tell their cause in their own sentence, and it is not told twice.
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
