//! Another vocabulary for a model that is there.

use clinical_nn::resize_param;
use clinical_tokenizer::AddedToken;
use clinical_weights::limits::MAX_VOCABULARY;

use crate::{ClinicalT5, Error, T5};

impl T5 {
    /// Gives the embedding table, and the output layer where it has one of its own, `rows` rows. New rows are the mean of
    /// the old ones ([`resize_param`]); rows beyond `rows` go. An id without a row is refused wherever ids come in.
    ///
    /// # Errors
    ///
    /// [`Error::Zero`], [`Error::AboveLimit`]; the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<(), Error> {
        let field = "vocab_size";
        if rows == 0 {
            return Err(Error::Zero { field });
        }
        if rows > MAX_VOCABULARY {
            return Err(Error::AboveLimit {
                field,
                value: rows,
                limit: MAX_VOCABULARY,
            });
        }
        self.shared.weight = resize_param(self.shared.weight.clone(), 0, rows);
        if let Some(head) = &mut self.lm_head {
            head.weight = resize_param(head.weight.clone(), 1, rows);
        }
        Ok(())
    }
}

impl ClinicalT5 {
    /// [`T5::resize_embeddings`], and the config with it.
    ///
    /// # Errors
    ///
    /// Those of [`T5::resize_embeddings`], and [`Error::IdOutsideVocabulary`] where the padding, start or end token would
    /// lose its row; the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<(), Error> {
        let mut config = self.config.clone();
        config.vocab_size = rows;
        config.validate()?;
        self.model.resize_embeddings(rows)?;
        self.end = Self::end_tokens(&config, &self.tokenizer);
        self.config = config;
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
