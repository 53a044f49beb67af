//! Prints how well the sentence splitter agrees with sentences marked by hand, and, with
//! `--differences`, where it does not.
#![allow(clippy::print_stdout, reason = "an example reports to the terminal")]

#[path = "../tests/agreement/mod.rs"]
mod agreement;

use std::ops::Range;

use agreement::{Agreement, HELD_OUT, TUNING, read};
use clinical_notes::sentences::sentences;

fn main() {
    for (name, file) in [("tuning", TUNING), ("held-out", HELD_OUT)] {
        println!(
            "{name:8} these rules     {}",
            Agreement::of(file, sentences)
        );
        println!(
            "{name:8} stop and space  {}",
            Agreement::of(file, stop_and_space)
        );
        println!(
            "{name:8} lines and stops {}",
            Agreement::of(file, lines_and_stops)
        );
    }
    if std::env::args().any(|argument| argument == "--differences") {
        [TUNING, HELD_OUT].into_iter().for_each(print_differences);
    }
}

/// A sentence ends at `.`, `!` or `?` before white space.
fn stop_and_space(text: &str) -> Vec<Range<usize>> {
    cut(text, |c, next| {
        matches!(c, '.' | '!' | '?') && next.is_whitespace()
    })
}

/// As [`stop_and_space`], and at every line break.
fn lines_and_stops(text: &str) -> Vec<Range<usize>> {
    cut(text, |c, next| {
        next == '\n' || matches!(c, '.' | '!' | '?') && next.is_whitespace()
    })
}

/// The pieces between the places where a rule about two characters holds, without white space.
fn cut(text: &str, ends: impl Fn(char, char) -> bool) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    let nexts = text.chars().skip(1).chain([' ']);
    for ((at, c), next) in text.char_indices().zip(nexts) {
        let end = at + c.len_utf8();
        if ends(c, next) || end == text.len() {
            let piece = &text[start..end];
            let from = start + piece.len() - piece.trim_start().len();
            if !piece.trim().is_empty() {
                ranges.push(from..from + piece.trim().len());
            }
            start = end;
        }
    }
    ranges
}

fn print_differences(file: &str) {
    for note in file.split("\n####\n") {
        let (text, marked) = read(note);
        let found = sentences(&text);
        for range in &found {
            if !marked.contains(range) {
                println!("found  {:?}", &text[range.clone()]);
            }
        }
        let mut missed: Vec<_> = marked
            .into_iter()
            .filter(|range| !found.contains(range))
            .collect();
        missed.sort_by_key(|range| range.start);
        for range in missed {
            println!("marked {:?}", &text[range]);
        }
    }
}
