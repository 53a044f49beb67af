//! A loaded model.

use std::path::Path;

use burn::tensor::Device;
use clinical_deid::SPECIAL_TOKENS;
use clinical_facade::{Facade, ModelDir, Parts, Remark, end_ids};
use clinical_generate::{Generated, StopReason};
use clinical_llama::{Llama, LlamaConfig};
use clinical_tokenizer::{OpenOptions, Tokenizer};
use clinical_weights::{FromCheckpoint, LoadOptions, LoadReport};
use serde_json::Value;

use crate::prefix::Prefixes;
use crate::style::{self, Styles};
use crate::{Result, demo};

/// A model that answers questions about clinical notes: Asclepius, or any LLaMA or Mistral of the same layout.
///
/// It is used through `&self`, so threads can share it; each call has its own cache.
#[derive(Debug)]
pub struct Asclepius {
    pub(crate) model: Llama,
    pub(crate) tokenizer: Tokenizer,
    report: LoadReport,
    pub(crate) remarks: Vec<Remark>,
    pub(crate) generation_config: Option<Value>,
    end: Vec<u32>,
    /// Those of them that are words.
    words_at_end: Vec<u32>,
    spellings: Vec<String>,
    pub(crate) styles: Styles,
    pub(crate) prefixes: Prefixes,
}

impl Asclepius {
    /// Opens a Hugging Face directory as it was published, or a GGUF file (the path of the file, or of a directory with
    /// one and no other weights), which brings its own configuration and tokenizer.
    ///
    /// The end tokens are the tokenizer's and those of `generation_config.json` ([`end_ids`]), not `config.json`'s: the
    /// published Asclepius-7B says `eos_token_id` 1 there, which is its start token.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) with one sentence that says what is wrong with the directory and what to do.
    pub fn load(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        Self::load_dir(ModelDir::open_as(dir, Facade::Asclepius, options)?, options)
    }

    /// [`load`](Self::load) of a directory that is open already.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_dir(mut dir: ModelDir, options: &LoadOptions) -> Result<Self> {
        let config = LlamaConfig::from_value(dir.config().clone())?;
        let rows = config.vocab_size;
        dir.weights().check_size(config.parameters()?, options)?;
        let tokenizer = dir.tokenizer(&OpenOptions::default())?;
        let mut model = config.init(&options.device)?;
        let keys = model.key_map();
        let report = clinical_weights::load_from(&mut model, &keys, dir.weights(), options)?;
        dir.apply_adapter(&mut model)?;
        Ok(Self::from_parts(
            dir.into_parts(config, model, tokenizer, rows, report),
        ))
    }

    /// The demonstration model inside this crate: a toy trained on invented notes (`docs/demo-models.md`).
    ///
    /// # Errors
    ///
    /// None in practice; those of [`load`](Self::load).
    pub fn embedded() -> Result<Self> {
        Self::embedded_with(&LoadOptions::default())
    }

    /// The demonstration model, with a device or a precision of the caller's.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn embedded_with(options: &LoadOptions) -> Result<Self> {
        let config = LlamaConfig::from_json(demo::CONFIG)?;
        let tokenizer = demo::tokenizer()?;
        let mut model = config.init(&options.device)?;
        let report = clinical_weights::load_bytes(&mut model, demo::WEIGHTS, options)?;
        let mut parts = Parts::new(config, model, tokenizer);
        parts.report = report;
        parts.generation_config = serde_json::from_str(demo::GENERATION).ok();
        Ok(Self::from_parts(parts))
    }

    /// Puts a model together, after a training for example: [`into_parts`](Self::into_parts) backwards. The
    /// configuration that counts is that of the model itself.
    #[must_use]
    pub fn from_parts(parts: Parts<LlamaConfig, Llama>) -> Self {
        let styles = Styles::of(&parts.tokenizer, None);
        let mut model = Self {
            model: parts.model,
            tokenizer: parts.tokenizer,
            report: parts.report,
            remarks: parts.remarks,
            generation_config: parts.generation_config,
            end: Vec::new(),
            words_at_end: Vec::new(),
            spellings: Vec::new(),
            styles,
            prefixes: Prefixes::default(),
        };
        model.read_tokenizer();
        model
    }

    /// Takes the model apart: its configuration, the module, the tokenizer, and what was remarked about the files.
    #[must_use]
    pub fn into_parts(self) -> Parts<LlamaConfig, Llama> {
        let config = self.model.config().clone();
        let mut parts = Parts::new(config, self.model, self.tokenizer);
        parts.report = self.report;
        parts.remarks = self.remarks;
        parts.generation_config = self.generation_config;
        parts
    }

    /// Finds out once more what follows from the tokenizer and the configuration.
    pub(crate) fn read_tokenizer(&mut self) {
        let config = self.config().to_value();
        self.styles = Styles::of(&self.tokenizer, style::name(&config));
        let rows = self.config().vocab_size;
        self.end = end_ids(&self.tokenizer, self.generation_config.as_ref(), rows);
        let marks: Vec<u32> = self
            .tokenizer
            .added_tokens()
            .iter()
            .map(|(id, _)| *id)
            .collect();
        let is_word = |id: &u32| !marks.contains(id) && !self.tokenizer.is_special(*id);
        self.words_at_end = self.end.iter().copied().filter(is_word).collect();
        self.spellings = spellings(&self.tokenizer);
        self.prefixes = Prefixes::default();
        self.remarks
            .retain(|remark| !style::is_remark(&remark.to_string()));
        self.remarks
            .push(Remark::Model(self.styles.remark().to_owned()));
        let notes = &mut self.report.notes;
        notes.retain(|note| !style::is_remark(note));
        for remark in self.remarks.iter().map(Remark::to_string) {
            if !notes.contains(&remark) {
                notes.push(remark);
            }
        }
    }

    /// The shape of the model.
    #[must_use]
    pub fn config(&self) -> &LlamaConfig {
        self.model.config()
    }

    /// The model, for callers who write their own loops.
    #[must_use]
    pub fn model(&self) -> &Llama {
        &self.model
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What was loaded, and how.
    #[must_use]
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// What the files say wrongly or leave open, and what is used instead; and which prompt questions are asked with
    /// unless the caller chooses one. [`Self::report`] has these as sentences among its notes.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// The most tokens that a prompt and its answer have together.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.config().max_positions()
    }

    /// Where the weights are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.model.device()
    }

    /// The ids that end an answer.
    #[must_use]
    pub fn end_ids(&self) -> &[u32] {
        &self.end
    }

    /// Whether an answer ended with a token that is a word, not a mark: `generation_config.json` can name any token.
    pub(crate) fn ends_in_a_word(&self, result: &Generated) -> bool {
        let last = result.ids.last();
        result.stop == StopReason::EndToken && last.is_some_and(|id| self.words_at_end.contains(id))
    }

    /// What the tokenizer reads as a special token wherever it stands in a text.
    pub(crate) fn spellings(&self) -> &[String] {
        &self.spellings
    }
}

/// Tags of de-identification are text, also where a model has them as special tokens.
fn spellings(tokenizer: &Tokenizer) -> Vec<String> {
    let mut spellings = tokenizer.special_texts();
    spellings.retain(|text| !SPECIAL_TOKENS.contains(&text.as_str()));
    spellings
}
