//! Another vocabulary for a model that is there.

use clinical_nn::resize_param;

use crate::{Error, Llama, LlamaConfig};

impl Llama {
    /// Gives the embedding table and the output projection `rows` rows. New rows are the mean of the old ones
    /// ([`resize_param`]); rows beyond `rows` go. An id without a row is refused wherever ids come in
    /// ([`ModelError::TokenOutOfRange`](clinical_generate::ModelError::TokenOutOfRange)).
    ///
    /// # Errors
    ///
    /// [`Error::Zero`], [`Error::TooBig`]; the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<(), Error> {
        let config = LlamaConfig {
            vocab_size: rows,
            ..self.config().clone()
        };
        config.validate()?;
        let table = &mut self.model.embed_tokens.weight;
        *table = resize_param(table.clone(), 0, rows);
        if let Some(head) = &mut self.lm_head {
            head.weight = resize_param(head.weight.clone(), 1, rows);
        }
        self.set_config(config);
        Ok(())
    }
}
