//! Writing a model where `transformers` finds it.

use std::path::Path;

use clinical_files::replace_directory;
use clinical_weights::{SAVED_MODEL, SaveOptions, save_model_files};

use crate::{ClinicalT5, Error};

impl ClinicalT5 {
    /// Writes the model as a Hugging Face directory that this crate and Python's `transformers` open: `config.json`,
    /// weights in the type that they have in memory, tokenizer files. An error leaves what was there before; see
    /// [`clinical_weights::save_pretrained`].
    ///
    /// # Errors
    ///
    /// [`Error::Weights`], [`Error::Tokenizer`], [`Error::Files`].
    pub fn save(&self, dir: impl AsRef<Path>, options: &SaveOptions) -> Result<(), Error> {
        let config = self.config.to_value().to_string();
        replace_directory(dir, &SAVED_MODEL, |part| {
            save_model_files(&self.model, &config, part, options)?;
            Ok(self.tokenizer.save(part)?)
        })
    }
}
