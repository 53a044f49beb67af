//! Names in published checkpoints.

use std::path::Path;

use clinical_weights::{
    CheckpointDir, Facade, FromCheckpoint, KeyMap, LoadOptions, LoadReport, PackingPolicy,
};

use crate::{Gpt2, Gpt2Config, Result};

/// In models that are narrower, few values average the error of rounding out, so matrices of 8 bits meet activations of
/// 16 (`clinical-llama` has measured it for its own).
const SMALL: usize = 1024;

impl FromCheckpoint for Gpt2 {
    /// Field names are those of `GPT2LMHeadModel`, whose dense layers are `Conv1D`: input-major. Checkpoints of the
    /// decoder alone (`gpt2` itself) lack the prefix `transformer.`; old ones hold the causal mask of each layer
    /// (`attn.bias`) and a constant (`attn.masked_bias`), which are no parameters; with tied weights the projection, the
    /// table or both may be there. The study's span head is called as that of `transformers`.
    fn key_map(&self) -> KeyMap {
        let keys = KeyMap::new()
            .accept("wte.**", "transformer.wte.**")
            .accept("wpe.**", "transformer.wpe.**")
            .accept("h.**", "transformer.h.**")
            .accept("ln_f.**", "transformer.ln_f.**")
            .input_major("**.c_attn.weight")
            .input_major("**.c_proj.weight")
            .input_major("**.c_fc.weight")
            .ignore("**.attn.bias")
            .ignore("**.attn.masked_bias");
        let packing = PackingPolicy::new()
            .full_precision("transformer.wpe.weight")
            .eight_bits("lm_head.weight");
        let keys = keys.with_packing(match self.config().n_embd < SMALL {
            true => packing.sensitive("**.weight"),
            false => packing,
        });
        match (&self.lm_head, self.config().is_tied()) {
            (None, true) => keys.tied(&["transformer.wte.weight", "lm_head.weight"]),
            (None, false) => keys.ignore("lm_head.weight"),
            _ => keys,
        }
    }
}

impl Gpt2 {
    /// Opens a Hugging Face directory: `config.json` and the weights beside it. The head is the one that the weights
    /// have.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`](crate::Error::Weights) for files that are missing or wrong, and everything that
    /// [`Gpt2Config::from_value`] refuses.
    pub fn load(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<(Self, LoadReport)> {
        let dir = CheckpointDir::open_with(dir.as_ref(), options.allow_links)?;
        let config = dir.config()?;
        Facade::ClinicalGpt2.expect(&config)?;
        let mut config = Gpt2Config::from_value(config)?;
        Self::filled(&mut config, &dir.weights()?, options)
    }

    /// A model of this shape with the weights of a checkpoint, which decides about the head.
    pub(crate) fn filled(
        config: &mut Gpt2Config,
        weights: &clinical_weights::Checkpoint,
        options: &LoadOptions,
    ) -> Result<(Self, LoadReport)> {
        config.fit(weights);
        weights.check_size(config.parameters()?, options)?;
        let mut model = config.init(&options.device)?;
        let keys = model.key_map();
        let report = clinical_weights::load_from(&mut model, &keys, weights, options)?;
        Ok((model, report))
    }
}
