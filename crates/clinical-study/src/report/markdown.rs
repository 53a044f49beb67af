//! A page as Markdown.

use std::fmt::Write as _;

use super::{Block, Page};

pub(crate) fn markdown(page: &Page) -> String {
    let mut out = format!("# {}\n", escaped(&page.title));
    for block in &page.blocks {
        // Writing to a string cannot fail.
        let _ = match block {
            Block::Heading(text) => writeln!(out, "\n## {}", escaped(text)),
            Block::Text(text) => writeln!(out, "\n{}", wrapped(&escaped(text))),
            Block::Picture(text) => writeln!(out, "\n![{}](curve.svg)", escaped(text)),
            Block::Table { head, rows } => writeln!(out, "\n{}", table(head, rows)),
        };
    }
    out
}

fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
        format!("| {} |", cells.join(" | "))
    };
    let mut lines = vec![line(head), format!("|{}", "---|".repeat(head.len()))];
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}

/// What Markdown would read as more than text is taken as text.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '|' | '#' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

/// Lines of at most 120 columns.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width > 0 {
            let separator = if width + 1 + length > 120 { '\n' } else { ' ' };
            width = if separator == '\n' { 0 } else { width + 1 };
            out.push(separator);
        }
        out.push_str(word);
        width += length;
    }
    out
}
