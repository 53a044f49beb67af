//! What a tokenizer is made of: below opening, saving and decoding, which all work on it.

use std::sync::Arc;

use crate::backend::Backend;
use crate::config::Config;
use crate::resolution::Resolution;

/// What all clones of a tokenizer share.
#[derive(Debug, Clone)]
pub(crate) struct Inner {
    pub(crate) backend: Backend,
    pub(crate) special: SpecialIds,
    /// Names of the special tokens by role, as they are saved.
    pub(crate) role_names: Vec<(&'static str, String)>,
    pub(crate) clean_up: bool,
    pub(crate) max_text_bytes: usize,
    /// Chat templates by name.
    pub(crate) chat_templates: Vec<(String, String)>,
    pub(crate) resolution: Resolution,
    pub(crate) config: Config,
    /// The bytes of a SentencePiece model, for saving.
    pub(crate) model_file: Option<Arc<[u8]>>,
}

/// Ids of the special tokens; `None` (or empty) where the tokenizer has none.
///
/// They come from the tokenizer files and the pieces of the model, never from `config.json`: that of Asclepius-7B gives
/// ids that are wrong. A model that ends its answers with further tokens (`<|eot_id|>`) says so in
/// `generation_config.json`, which is not a matter of the tokenizer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpecialIds {
    /// Begins a text.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Vec<u32>,
    /// Fills up a batch.
    pub pad: Option<u32>,
    /// Stands for what the vocabulary cannot express.
    pub unk: Option<u32>,
    /// Is to be filled in (BERT).
    pub mask: Option<u32>,
    /// Begins a text (BERT).
    pub cls: Option<u32>,
    /// Ends a text (BERT).
    pub sep: Option<u32>,
    /// Other special tokens: sentinels, chat marks.
    pub additional: Vec<u32>,
}

impl SpecialIds {
    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = u32> + '_ {
        let single = [self.bos, self.pad, self.unk, self.mask, self.cls, self.sep];
        single
            .into_iter()
            .flatten()
            .chain(self.eos.iter().copied())
            .chain(self.additional.iter().copied())
    }
}
