//! Another vocabulary, and writing a model where `transformers` finds it.

use std::path::Path;

use clinical_facade::SavedParts;
use clinical_tokenizer::AddedToken;
use clinical_weights::SaveOptions;

use super::ClinicalT5;
use super::reading::Around;
use crate::Result;

impl ClinicalT5 {
    /// Writes the model as a Hugging Face directory that this crate and Python's `transformers` open: `config.json`,
    /// `generation_config.json` if there was one, weights in the type that they have in memory, tokenizer files. An
    /// error leaves what was there before; see [`clinical_weights::save_pretrained`].
    ///
    /// # Errors
    ///
    /// [`Error::Weights`](crate::Error::Weights), [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn save(&self, dir: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
        let config = self.config().to_value();
        let generation_config = self.generation_config.as_ref();
        let parts = SavedParts::new(&config, &self.tokenizer, generation_config);
        clinical_facade::save(&self.model, parts, dir, options)
    }

    /// [`T5::resize_embeddings`](crate::T5::resize_embeddings), and the end tokens with it.
    ///
    /// # Errors
    ///
    /// Those of [`T5::resize_embeddings`](crate::T5::resize_embeddings); the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<()> {
        self.model.resize_embeddings(rows)?;
        self.find_end();
        Ok(())
    }

    /// Adds tokens to the tokenizer (the de-identification tags of Clinical-T5, for example) and, where their ids are
    /// beyond the embedding table, rows to it. Returns how many tokens got new ids.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) for tokens that cannot be added, and those of
    /// [`Self::resize_embeddings`]; nothing is changed then.
    pub fn add_tokens(&mut self, tokens: &[AddedToken]) -> Result<usize> {
        let mut tokenizer = self.tokenizer.clone();
        let new = tokenizer.add_tokens(tokens)?;
        let rows = tokenizer.vocab_size();
        if rows > self.config().vocab_size {
            self.model.resize_embeddings(rows)?;
        }
        self.around = Around::of(&tokenizer);
        self.sentinels = (0..)
            .map_while(|number| tokenizer.sentinel(number))
            .collect();
        self.tokenizer = tokenizer;
        self.find_end();
        Ok(new)
    }
}
