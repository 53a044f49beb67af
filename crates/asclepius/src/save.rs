//! Writing a model where `transformers` finds it, and another vocabulary for one that is there.

use std::path::Path;

use clinical_facade::SavedParts;
use clinical_tokenizer::AddedToken;
use clinical_weights::SaveOptions;

use crate::{Asclepius, Result};

impl Asclepius {
    /// Writes the model as a Hugging Face directory that this crate and Python's `transformers` open: `config.json`,
    /// weights in the type that they have in memory, tokenizer files. The ids of special tokens in `config.json` are
    /// the tokenizer's, which Asclepius-7B's are not; `generation_config.json` is written as it was found. An error
    /// leaves what was there before; see [`clinical_weights::save_pretrained`].
    ///
    /// # Errors
    ///
    /// [`Error::Weights`](crate::Error::Weights), [`Error::Tokenizer`](crate::Error::Tokenizer),
    /// [`Error::Files`](crate::Error::Files).
    pub fn save(&self, dir: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
        let mut config = self.config().clone();
        let special = self.tokenizer.special();
        // A token that has lost its row is none of the model's any more.
        let rows = config.vocab_size;
        let id = |id: Option<u32>| id.filter(|&id| (id as usize) < rows).map(i64::from);
        config.bos_token_id = id(special.bos);
        config.pad_token_id = id(special.pad);
        config.eos_token_id = special
            .eos
            .iter()
            .filter_map(|&end| id(Some(end)))
            .collect();
        let config = config.to_value();
        let parts = SavedParts::new(&config, &self.tokenizer, self.generation_config.as_ref());
        clinical_facade::save(&self.model, parts, dir, options)
    }

    /// Adds tokens to the tokenizer and, where they need rows, to the model
    /// ([`resize_embeddings`](Self::resize_embeddings)). Returns how many got new ids.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`](crate::Error::Tokenizer), [`Error::Config`](crate::Error::Config); nothing is changed then.
    pub fn add_tokens(&mut self, tokens: &[AddedToken]) -> Result<usize> {
        let mut tokenizer = self.tokenizer.clone();
        let new = tokenizer.add_tokens(tokens)?;
        let rows = tokenizer.vocab_size();
        if rows > self.config().vocab_size {
            self.model.resize_embeddings(rows)?;
        }
        self.tokenizer = tokenizer;
        self.read_tokenizer();
        Ok(new)
    }

    /// Gives the embedding table and the output projection `rows` rows: [`clinical_llama::Llama::resize_embeddings`].
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config) for a number that no vocabulary has; the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<()> {
        self.model.resize_embeddings(rows)?;
        self.read_tokenizer();
        Ok(())
    }
}
