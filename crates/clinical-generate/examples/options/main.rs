//! Each option of `Generation` on the same input: the tables of `docs/generation.md`.
//!
//!     cargo run --release -p clinical-generate --example options
//!
//! prints them, with `-- --write` puts them into the document. The model learned from a few invented sentences.

#![allow(clippy::print_stdout)]

mod table;
mod words;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/generation.md");
const BEGIN: &str =
    "<!-- made by: cargo run --release -p clinical-generate --example options -- --write -->\n";
const END: &str = "<!-- end of what was made -->\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tables = table::table()?;
    if !std::env::args().any(|argument| argument == "--write") {
        println!("{tables}");
        return Ok(());
    }
    let document = std::fs::read_to_string(DOCUMENT)?;
    let (before, rest) = document
        .split_once(BEGIN)
        .ok_or("the document has lost its first mark")?;
    let (_, after) = rest
        .split_once(END)
        .ok_or("the document has lost its second mark")?;
    std::fs::write(DOCUMENT, format!("{before}{BEGIN}{tables}\n{END}{after}"))?;
    Ok(())
}
