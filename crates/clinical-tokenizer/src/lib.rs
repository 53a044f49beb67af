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
mod inner;
pub mod limits;
mod long;
mod open;
mod options;
mod resolution;
mod save;
mod sentencepiece;
mod tokenizer;
mod train;
mod trie;
mod vocabulary;
mod wordpiece;

pub use added::AddedToken;
pub use decode::DecodeStream;
pub use encoding::Encoding;
pub use error::{Error, Result};
pub use inner::SpecialIds;
pub use open::{FILES, files_of};
pub use options::{LowerCase, OpenOptions, Prefer};
pub use resolution::{Resolution, TokenizerKind, TokenizerRemark};
pub use sentencepiece::{
    Family, Piece, PieceKind, SentencePieceKind, SentencePieceModel, SentencePieceOptions,
};
pub use tokenizer::Tokenizer;
pub use train::{UnigramTraining, WordPieceTraining};
pub use vocabulary::Vocabulary;
