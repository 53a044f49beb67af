//! Adapters (LoRA) of a model.

use std::path::Path;

use clinical_weights::LoadOptions;

use super::ClinicalGpt2;
use crate::Result;

impl ClinicalGpt2 {
    /// The model with the LoRA adapter of a directory (`adapter_config.json` and `adapter_model.safetensors` of
    /// Python's `peft`) beside its weights, at whatever precision these are. A load applies an adapter that lies beside
    /// the weights by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`](crate::Error::Weights): an adapter of another kind or another base model.
    pub fn with_adapter(mut self, dir: impl AsRef<Path>) -> Result<Self> {
        let options = LoadOptions::default();
        let remark = clinical_facade::add_adapter(&mut self.model, dir, &options)?;
        self.report.notes.push(remark.to_string());
        self.remarks.push(remark);
        Ok(self)
    }

    /// Makes the adapter a part of the weights, and says how many layers it had.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`](crate::Error::Weights) for packed weights, and where there is no adapter; the model is then
    /// unchanged.
    pub fn merge_adapter(&mut self) -> Result<usize> {
        Ok(clinical_facade::merge_adapter(&mut self.model)?)
    }

    /// Writes the adapter alone, as `peft` does.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`](crate::Error::Weights).
    pub fn save_adapter(&self, dir: impl AsRef<Path>) -> Result<()> {
        Ok(clinical_facade::save_adapter(&self.model, dir)?)
    }
}
