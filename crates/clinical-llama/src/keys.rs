//! Names in published checkpoints.

use std::path::Path;

use clinical_weights::{
    CheckpointDir, Facade, FromCheckpoint, KeyMap, LoadOptions, LoadReport, PackingPolicy,
};

use crate::{Error, Llama, LlamaConfig};

/// In models that are narrower, few values average the error of rounding out. There `v_proj`, to which a quarter of the
/// error of 8 bits is due, keeps 16; matrices of 8 bits meet activations of 16; and at
/// [`Precision::Int4`](clinical_weights::Precision::Int4) those that 4 bits would cost the most keep 8
/// (`docs/performance.md`).
const SMALL: usize = 1024;

impl FromCheckpoint for Llama {
    /// Field names are those of `LlamaForCausalLM`. Checkpoints of the decoder alone lack the prefix `model.`; old ones
    /// hold the rotary frequencies, which are computed here; with tied weights the projection, the table or both may be
    /// there.
    fn key_map(&self) -> KeyMap {
        let keys = KeyMap::new()
            .accept("embed_tokens.**", "model.embed_tokens.**")
            .accept("layers.**", "model.layers.**")
            .accept("norm.**", "model.norm.**")
            .ignore("**.rotary_emb.inv_freq");
        let packing = PackingPolicy::new().eight_bits("lm_head.weight");
        let keys = keys.with_packing(match self.config().hidden_size < SMALL {
            true => packing
                .sensitive("**.weight")
                .half_precision("**.v_proj.weight")
                .eight_bits("**.up_proj.weight")
                .eight_bits("**.down_proj.weight"),
            false => packing,
        });
        if self.lm_head.is_none() {
            keys.tied(&["model.embed_tokens.weight", "lm_head.weight"])
        } else {
            keys
        }
    }
}

impl Llama {
    /// Opens a Hugging Face directory: `config.json` and the weights beside it.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] for files that are missing or wrong, and everything that
    /// [`LlamaConfig::from_value`] refuses.
    pub fn load(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<(Self, LoadReport), Error> {
        let dir = CheckpointDir::open_with(dir.as_ref(), options.allow_links)?;
        let config = dir.config()?;
        Facade::Asclepius.expect(&config)?;
        let config = LlamaConfig::from_value(config)?;
        let weights = dir.weights()?;
        weights.check_size(config.parameters()?, options)?;
        let mut model = config.init(&options.device)?;
        let keys = model.key_map();
        let report = clinical_weights::load_from(&mut model, &keys, &weights, options)?;
        Ok((model, report))
    }
}
