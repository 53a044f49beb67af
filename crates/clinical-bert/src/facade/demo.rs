//! The demonstration model: a real Hugging Face directory, compiled in.

use clinical_facade::Parts;
use clinical_tokenizer::Tokenizer;
use clinical_weights::{Checkpoint, FromCheckpoint, LoadOptions};

use super::ClinicalBert;
use crate::{BertConfig, BertForTokenClassification, BertModel, Error, Result};

const CONFIG: &str = include_str!("../../demo/config.json");
const WEIGHTS: &[u8] = include_bytes!("../../demo/model.safetensors");
const VOCABULARY: &[u8] = include_bytes!("../../demo/vocab.txt");
const TOKENIZER_CONFIG: &[u8] = include_bytes!("../../demo/tokenizer_config.json");

impl ClinicalBert {
    /// The demonstration model inside this crate: a toy trained on invented notes (`docs/demo-models.md`). It tags drugs,
    /// doses, frequencies, conditions, tests, procedures, dates and persons.
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
        let config = serde_json::from_str(CONFIG).map_err(Error::ConfigJson)?;
        let config = BertConfig::from_value(config)?;
        let classes = config.labels.len();
        let mut model = BertForTokenClassification::new(&config, classes, &options.device)?;
        let (keys, weights) = (model.key_map(), Checkpoint::from_bytes(WEIGHTS)?);
        let report = clinical_weights::load_from(&mut model, &keys, &weights, options)?;
        let tokenizer = Tokenizer::from_vocab_txt(VOCABULARY, Some(TOKENIZER_CONFIG))?;
        let mut parts = Parts::new(config, BertModel::Token(model), tokenizer);
        parts.report = report;
        Self::from_parts(parts)
    }
}
