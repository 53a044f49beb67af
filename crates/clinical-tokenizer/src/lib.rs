#![doc = include_str!("../README.md")]

mod added;
mod align;
mod backend;
mod chars;
mod config;
mod decode;
mod encoding;
mod engine;
mod error;
mod files;
pub mod limits;
mod open;
mod options;
mod resolution;
mod save;
mod sentencepiece;
mod tokenizer;
mod trie;
mod vocabulary;
mod wordpiece;

pub use added::AddedToken;
pub use decode::DecodeStream;
pub use encoding::Encoding;
pub use error::{Error, Result};
pub use open::FILES;
pub use options::{LowerCase, OpenOptions, Prefer};
pub use resolution::{Resolution, TokenizerKind, TokenizerRemark};
pub use sentencepiece::{
    Family, Piece, PieceKind, SentencePieceKind, SentencePieceModel, SentencePieceOptions,
};
pub use tokenizer::{SpecialIds, Tokenizer};
pub use vocabulary::Vocabulary;
