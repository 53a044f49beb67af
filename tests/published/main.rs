//! The directory of every released model, file by file as it was published (names, shards, formats, what is missing,
//! what is wrong), around small random tensors. Each opens through its facade with the ids and the casing that a
//! careful person would choose, and says what was corrected.
//!
//! `CLINICAL_LAYOUTS=/tmp/layouts cargo test --release --workspace --test published` keeps the directories, for
//! `inspect`.
//!
//! Vocabularies and numbers of layers are the published ones, widths are small. Sources: the file lists and
//! `config.json` of the Hugging Face Hub, PhysioNet's page of Clinical-T5, the training scripts of both.

#[path = "../files/mod.rs"]
mod files;

mod asclepius;
mod bert;
mod t5;
