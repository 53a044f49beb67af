//! Writing a model where `transformers` finds it, and another vocabulary for one that is there.

use std::path::Path;

use clinical_facade::{SavedParts, save_with};
use clinical_tokenizer::AddedToken;
use clinical_weights::{FromCheckpoint, SaveOptions};

use super::ClinicalBert;
use crate::config::BertConfig;
use crate::{BertModel, Error, Result};

impl ClinicalBert {
    /// Gives the token table `rows` rows: [`Bert::resize_embeddings`](crate::Bert::resize_embeddings).
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] for a number that no vocabulary has; the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<()> {
        let config = BertConfig {
            vocab_size: rows,
            ..self.config.clone()
        };
        config.validate()?;
        self.model.resize_embeddings(rows)?;
        self.config = config;
        Ok(())
    }

    /// Adds tokens to the tokenizer and, where their ids are beyond the token table, rows to it. Returns how many
    /// tokens got new ids.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] for tokens that cannot be added, and those of [`Self::resize_embeddings`]. The model is
    /// unchanged then.
    pub fn add_tokens(&mut self, tokens: &[AddedToken]) -> Result<usize> {
        let mut tokenizer = self.text.tokenizer.clone();
        let new = tokenizer.add_tokens(tokens)?;
        let rows = tokenizer.vocab_size();
        let text = self.text.with_tokenizer(tokenizer)?;
        if rows > self.config.vocab_size {
            self.resize_embeddings(rows)?;
        }
        self.text = text;
        Ok(new)
    }

    /// Writes the model as a Hugging Face directory that this crate and Python's `transformers` open: `config.json`
    /// with the class of the head, the names of the labels and every key that it had, weights in the type that they
    /// have in memory, tokenizer files, and where the model came with them, those of sentence-transformers. An error
    /// leaves what was there before; see [`clinical_weights::save_pretrained`].
    ///
    /// # Errors
    ///
    /// [`Error::Weights`], [`Error::Tokenizer`], [`Error::Files`].
    pub fn save(&self, dir: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
        let dir = dir.as_ref();
        match &self.model {
            BertModel::Encoder(model) => self.write(model, dir, options),
            BertModel::MaskedLanguage(model) => self.write(model, dir, options),
            BertModel::Sequence(model) => self.write(model, dir, options),
            BertModel::Token(model) => self.write(model, dir, options),
            BertModel::Span(model) => self.write(model, dir, options),
        }
    }

    fn write<M: FromCheckpoint>(&self, model: &M, dir: &Path, options: &SaveOptions) -> Result<()> {
        let config = self.config.to_value();
        let generation = self.generation_config.as_ref();
        let parts = SavedParts::new(&config, &self.text.tokenizer, generation);
        save_with::<M, Error>(model, parts, dir, options, |part| {
            match &self.config.sentence {
                Some(sentence) => {
                    sentence.write(part, self.config.hidden_size, self.encoder().max_tokens)
                }
                None => Ok(()),
            }
        })
    }
}
