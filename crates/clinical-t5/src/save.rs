//! Writing a model where `transformers` finds it.

use std::path::Path;

use clinical_weights::{SaveOptions, replace_directory, save_model_files};
use serde_json::json;

use crate::{ClinicalT5, Error, T5Config};

impl T5Config {
    /// The published form, which [`from_json`](Self::from_json) and `transformers` read.
    ///
    /// # Errors
    ///
    /// None in practice: every field has a form in JSON.
    pub fn to_json(&self) -> Result<String, Error> {
        let mut json = serde_json::to_value(self)?;
        if let Some(json) = json.as_object_mut() {
            let class = match self.model_type.as_str() {
                "mt5" => "MT5ForConditionalGeneration",
                _ => "T5ForConditionalGeneration",
            };
            json.insert("architectures".to_owned(), json!([class]));
            json.insert("is_encoder_decoder".to_owned(), json!(true));
        }
        Ok(serde_json::to_string_pretty(&json)?)
    }
}

impl ClinicalT5 {
    /// Writes the model as a Hugging Face directory that this crate and Python's `transformers` open: `config.json`,
    /// weights in the type that they have in memory, tokenizer files. An error leaves what was there before; see
    /// [`clinical_weights::save_pretrained`].
    ///
    /// # Errors
    ///
    /// [`Error::Weights`], [`Error::Tokenizer`].
    pub fn save(&self, dir: impl AsRef<Path>, options: &SaveOptions) -> Result<(), Error> {
        let config = self.config.to_json()?;
        replace_directory(dir, |part| {
            save_model_files(&self.model, &config, part, options)?;
            Ok(self.tokenizer.save(part)?)
        })
    }
}
