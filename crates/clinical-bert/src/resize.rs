//! Another number of rows for the table of tokens.

use clinical_nn::resize_param;
use clinical_weights::limits::MAX_VOCABULARY;

use crate::config::within;
use crate::heads::BertForPretraining;
use crate::model::Bert;
use crate::{BertModel, Result};

impl Bert {
    /// Gives the token table `rows` rows. New rows are the mean of the old ones ([`resize_param`]); rows beyond `rows`
    /// go. An id without a row is refused wherever ids come in
    /// ([`ModelError::TokenOutOfRange`](clinical_nn::ModelError::TokenOutOfRange)). A masked-language-model head has
    /// a bias of its own: [`BertForPretraining::resize_embeddings`].
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) for a number that no vocabulary has; the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<()> {
        within("vocab_size", rows, MAX_VOCABULARY)?;
        let table = &mut self.embeddings.word_embeddings.weight;
        *table = resize_param(table.clone(), 0, rows);
        Ok(())
    }
}

impl BertForPretraining {
    /// [`Bert::resize_embeddings`] with the bias of the masked-language-model head.
    ///
    /// # Errors
    ///
    /// Those of [`Bert::resize_embeddings`].
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<()> {
        self.bert.resize_embeddings(rows)?;
        self.bias = resize_param(self.bias.clone(), 0, rows);
        Ok(())
    }
}

impl BertModel {
    /// [`Bert::resize_embeddings`] with what the head has for each token.
    ///
    /// # Errors
    ///
    /// Those of [`Bert::resize_embeddings`].
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<()> {
        match self {
            Self::Encoder(model) => model.resize_embeddings(rows),
            Self::MaskedLanguage(model) => model.resize_embeddings(rows),
            Self::Sequence(model) => model.bert.resize_embeddings(rows),
            Self::Token(model) => model.bert.resize_embeddings(rows),
            Self::Span(model) => model.bert.resize_embeddings(rows),
        }
    }
}
