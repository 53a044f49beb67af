//! `docs/generation.md` shows what the options do now.

#[path = "../examples/options/table.rs"]
mod table;
#[path = "../examples/options/words.rs"]
mod words;

#[test]
fn the_tables_in_the_document_are_what_the_options_give() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/generation.md");
    let document = std::fs::read_to_string(path).unwrap();
    let tables = table::table().unwrap();
    assert!(
        document.contains(&tables),
        "run: cargo run --release -p clinical-generate --example options -- --write"
    );
}
