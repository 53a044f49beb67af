//! The model that a directory describes, and whether its weights fit.

use std::path::Path;

use anyhow::Result;
use clinical_bert::{Bert, BertConfig, BertOptions, Case, ClinicalBert};
use clinical_llama::LlamaConfig;
use clinical_t5::T5Config;
use clinical_weights::{CheckpointDir, FromCheckpoint, Inspection, LoadOptions, LoadReport, plan};

/// The model that the directory describes: built without memory, and compared with the checkpoint.
pub struct Model {
    /// Rows of the embedding.
    pub rows: usize,
    pub parameters: u64,
    pub plan: LoadReport,
    /// Where `transformers` would read capital letters otherwise.
    pub case: Option<Case>,
}

impl Model {
    /// `None` for a kind of model that this library does not have.
    pub fn of(dir: &Path, inspection: &Inspection) -> Result<Option<Self>> {
        let options = LoadOptions::new().with_strict(false);
        let Some(json) = inspection.config.clone() else {
            return Ok(None);
        };
        // Opened once in each case: the facade of BERT opens them itself.
        let open = |parameters| {
            let weights = CheckpointDir::open(dir)?.weights()?;
            weights.check_size(parameters, &options)?;
            anyhow::Ok(weights)
        };
        // Old BERT configurations name no type.
        let kind = json
            .get("model_type")
            .map_or("bert", |kind| kind.as_str().unwrap_or(""));
        let mut case = None;
        let (rows, parameters, plan) = match kind {
            "llama" | "mistral" => {
                let config = LlamaConfig::from_value(json)?;
                let weights = open(config.parameters()?)?;
                let model = config.init(&options.device)?;
                (
                    config.vocab_size,
                    config.parameters()?,
                    plan(&model, &model.key_map(), &weights, &options)?,
                )
            }
            "t5" => {
                let config = T5Config::from_value(json)?;
                let weights = open(config.parameters()?)?;
                let model = config.init(&options.device)?;
                (
                    config.vocab_size,
                    config.parameters()?,
                    plan(&model, &model.key_map(), &weights, &options)?,
                )
            }
            "bert" | "roberta" | "megatron-bert" => {
                let config = BertConfig::from_value(json)?;
                let report = match ClinicalBert::preview(dir, &options, &BertOptions::new()) {
                    Ok(preview) => {
                        case = preview.case;
                        preview.report
                    }
                    // The facade needs a tokenizer; the weights can be compared without one.
                    Err(_) => {
                        let weights = open(config.parameters())?;
                        let model = Bert::new(&config, false, &options.device);
                        plan(&model, &model.key_map(), &weights, &options)?
                    }
                };
                (config.vocab_size, config.parameters(), report)
            }
            _ => return Ok(None),
        };
        Ok(Some(Self {
            rows,
            parameters,
            plan,
            case,
        }))
    }
}
