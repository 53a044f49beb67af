//! Another vocabulary for a model that is there.

use clinical_tokenizer::AddedToken;

use crate::{ClinicalT5, Error};

impl ClinicalT5 {
    /// [`T5::resize_embeddings`](crate::T5::resize_embeddings), and the config with it.
    ///
    /// # Errors
    ///
    /// Those of [`T5::resize_embeddings`](crate::T5::resize_embeddings); the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<(), Error> {
        self.model.resize_embeddings(rows)?;
        self.config = self.model.config().clone();
        self.end = Self::end_tokens(&self.config, &self.tokenizer);
        Ok(())
    }

    /// Adds tokens to the tokenizer (the de-identification tags of Clinical-T5, for example) and, where their ids are
    /// beyond the embedding table, rows to it. Returns how many tokens got new ids.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] for tokens that cannot be added, and those of [`Self::resize_embeddings`].
    pub fn add_tokens(&mut self, tokens: &[AddedToken]) -> Result<usize, Error> {
        let mut tokenizer = self.tokenizer.clone();
        let new = tokenizer.add_tokens(tokens)?;
        let rows = tokenizer.vocab_size();
        if rows > self.config.vocab_size {
            self.resize_embeddings(rows)?;
        }
        self.tokenizer = tokenizer;
        Ok(new)
    }
}
