//! The model that a directory describes, built without memory and compared with its weights.

use std::path::Path;

use clinical_bert::{BertConfig, ClinicalBert};
use clinical_facade::ModelDir;
use clinical_gpt2::Gpt2Config;
use clinical_llama::LlamaConfig;
use clinical_t5::T5Config;
use clinical_weights::{FromCheckpoint, LoadOptions, LoadReport, plan};
use serde::Serialize;

use crate::Error;

/// How the weights of a directory fit the model that it describes.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Fit {
    /// The number of parameters; of a BERT those of the encoder without pooler and head.
    pub parameters: u64,
    /// Rows of the embedding table.
    pub rows: usize,
    /// The most tokens of a text and its answer together, or of a row.
    pub max_tokens: Option<usize>,
    /// More in words: the head and the classes of a BERT, how capital letters are read.
    pub details: Vec<String>,
    /// What a load would do with each tensor.
    pub report: LoadReport,
}

pub(crate) fn llama(_: &Path, dir: &ModelDir, options: &LoadOptions) -> Result<Fit, Error> {
    let config = LlamaConfig::from_value(dir.config().clone()).map_err(asclepius::Error::from)?;
    let parameters = config.parameters().map_err(asclepius::Error::from)?;
    dir.weights().check_size(parameters, options)?;
    let model = config
        .init(&options.device)
        .map_err(asclepius::Error::from)?;
    Ok(Fit {
        parameters,
        rows: config.vocab_size,
        max_tokens: Some(config.max_positions()),
        details: Vec::new(),
        report: plan(&model, &model.key_map(), dir.weights(), options)?,
    })
}

pub(crate) fn t5(_: &Path, dir: &ModelDir, options: &LoadOptions) -> Result<Fit, Error> {
    let mut config = T5Config::from_value(dir.config().clone())?;
    config.fit(dir.weights());
    let parameters = config.parameters()?;
    dir.weights().check_size(parameters, options)?;
    let model = config.init(&options.device)?;
    Ok(Fit {
        parameters,
        rows: config.vocab_size,
        max_tokens: config.n_positions,
        details: Vec::new(),
        report: plan(&model, &model.key_map(), dir.weights(), options)?,
    })
}

pub(crate) fn gpt2(_: &Path, dir: &ModelDir, options: &LoadOptions) -> Result<Fit, Error> {
    let mut config = Gpt2Config::from_value(dir.config().clone())?;
    config.fit(dir.weights());
    let parameters = config.parameters()?;
    dir.weights().check_size(parameters, options)?;
    let model = config.init(&options.device)?;
    Ok(Fit {
        parameters,
        rows: config.vocab_size,
        max_tokens: Some(config.n_positions),
        details: vec![config.head.to_string()],
        report: plan(&model, &model.key_map(), dir.weights(), options)?,
    })
}

pub(crate) fn bert(path: &Path, dir: &ModelDir, options: &LoadOptions) -> Result<Fit, Error> {
    let config = BertConfig::from_value(dir.config().clone())?;
    let preview = ClinicalBert::preview(path, options)?;
    let mut details = vec![preview.head.to_string()];
    if !preview.labels.is_empty() {
        details.push(format!("classes {}", preview.labels.join(", ")));
    }
    details.extend(preview.case.map(|case| case.to_string()));
    Ok(Fit {
        parameters: config.parameters()?,
        rows: config.vocab_size,
        max_tokens: Some(preview.max_tokens),
        details,
        report: preview.report,
    })
}
