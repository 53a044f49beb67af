//! Another vocabulary or head, and writing a model where `transformers` finds it.

use std::path::Path;

use clinical_facade::SavedParts;
use clinical_tokenizer::AddedToken;
use clinical_weights::SaveOptions;

use super::ClinicalGpt2;
use crate::Result;

impl ClinicalGpt2 {
    /// Writes the model as a Hugging Face directory that this crate and Python's `transformers` open: `config.json`,
    /// `generation_config.json` if there was one, weights in the type and the layout that they were published in,
    /// tokenizer files. An error leaves what was there before; see [`clinical_weights::save_pretrained`].
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

    /// [`Gpt2::resize_embeddings`](crate::Gpt2::resize_embeddings), and the end tokens with it.
    ///
    /// # Errors
    ///
    /// Those of [`Gpt2::resize_embeddings`](crate::Gpt2::resize_embeddings); the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<()> {
        self.model.resize_embeddings(rows)?;
        self.find_end();
        Ok(())
    }

    /// Adds tokens to the tokenizer (`<|CLS|>` and `<|QUESTION|>` of the study, for example) and, where their ids are
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
        self.tokenizer = tokenizer;
        self.find_end();
        Ok(new)
    }

    /// The same decoder and tokenizer with a fresh head of these classes: [`Gpt2::into_classifier`].
    ///
    /// # Errors
    ///
    /// Those of [`Gpt2::into_classifier`].
    ///
    /// [`Gpt2::into_classifier`]: crate::Gpt2::into_classifier
    pub fn into_classifier(self, labels: &[&str]) -> Result<Self> {
        let (model, rest) = self.into_parts().take_model();
        Ok(Self::from_parts(
            rest.with_model(model.into_classifier(labels)?),
        ))
    }

    /// The same decoder and tokenizer with a fresh span head, and the study's marks `<|CLS|>` and `<|QUESTION|>` in the
    /// tokenizer.
    ///
    /// # Errors
    ///
    /// Those of [`Self::add_tokens`].
    pub fn into_span_model(self) -> Result<Self> {
        let (model, rest) = self.into_parts().take_model();
        let mut found = Self::from_parts(rest.with_model(model.into_span_model()?));
        found.add_tokens(&[
            AddedToken::new(super::spans::CLS),
            AddedToken::new(super::spans::QUESTION),
        ])?;
        Ok(found)
    }
}
