//! The heads: masked language model and next sentence, sequences, tokens, spans.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Tensor};
use clinical_nn::ModelError;
use clinical_nn::{LayerNorm, Linear};

use crate::config::{BertConfig, Family};
use crate::layer::STD;
use crate::model::{Bert, Row, first};

/// The pretraining heads. Masked tokens: `norm(act(W h)) E^T + bias` with the token table `E`; next sentence: two classes
/// (index 0: the second text follows) from the pooled state.
#[derive(Module, Debug)]
pub struct BertForPretraining {
    /// The encoder.
    pub bert: Bert,
    /// `cls.predictions.transform.dense` (RoBERTa: `lm_head.dense`).
    pub transform: Linear,
    /// `cls.predictions.transform.LayerNorm` (RoBERTa: `lm_head.layer_norm`).
    pub norm: LayerNorm,
    /// `[vocabulary]`, `cls.predictions.bias` (RoBERTa: `lm_head.bias`).
    pub bias: Param<Tensor<1>>,
    /// `cls.seq_relationship`; `None` for models that were trained without it.
    pub next_sentence: Option<Linear>,
}

impl BertForPretraining {
    /// A model with random weights. `next_sentence` also asks for the pooler that it reads.
    #[must_use]
    pub fn new(config: &BertConfig, next_sentence: bool, device: &Device) -> Self {
        let width = config.hidden_size;
        Self {
            bert: Bert::new(config, next_sentence, device),
            transform: Linear::new(width, width, true, STD, device),
            norm: LayerNorm::new(width, config.layer_norm_eps, device),
            bias: Initializer::Zeros.init([config.vocab_size], device),
            next_sentence: next_sentence.then(|| Linear::new(width, 2, true, STD, device)),
        }
    }

    /// Logits of every token at every position, `[batch, longest row, vocabulary]`.
    ///
    /// # Errors
    ///
    /// As [`Bert::forward`].
    pub fn forward(&self, rows: &[Row<'_>]) -> Result<Tensor<3>, ModelError> {
        Ok(self.predict(self.bert.forward(rows)?))
    }

    /// Logits from hidden states: `[batch, positions, hidden]` to `[batch, positions, vocabulary]`.
    #[must_use]
    pub fn predict(&self, states: Tensor<3>) -> Tensor<3> {
        let activation = self.bert.activation.function();
        let h = self.transform.forward_with(states, activation);
        let table = &self.bert.embeddings.word_embeddings;
        table.project(self.norm.forward(h)) + self.bias.val().unsqueeze()
    }

    /// Logits of next sentence, `[batch, 2]`; `None` without that head.
    #[must_use]
    pub fn next_sentence(&self, states: Tensor<3>) -> Option<Tensor<2>> {
        let pooled = self.bert.pool(states)?;
        Some(self.next_sentence.as_ref()?.forward(pooled))
    }
}

/// One label, or several, for a whole row.
#[derive(Module, Debug)]
pub struct BertForSequenceClassification {
    /// The encoder, with a pooler except for RoBERTa.
    pub bert: Bert,
    /// `classifier.dense`, in RoBERTa's head alone.
    pub dense: Option<Linear>,
    /// `classifier` (RoBERTa: `classifier.out_proj`), `[hidden, labels]`.
    pub classifier: Linear,
}

impl BertForSequenceClassification {
    /// A model with random weights.
    #[must_use]
    pub fn new(config: &BertConfig, labels: usize, device: &Device) -> Self {
        let width = config.hidden_size;
        let roberta = config.family == Family::Roberta;
        Self {
            bert: Bert::new(config, !roberta, device),
            dense: roberta.then(|| Linear::new(width, width, true, STD, device)),
            classifier: Linear::new(width, labels, true, STD, device),
        }
    }

    /// Logits `[batch, labels]`.
    ///
    /// # Errors
    ///
    /// As [`Bert::forward`].
    pub fn forward(&self, rows: &[Row<'_>]) -> Result<Tensor<2>, ModelError> {
        let states = self.bert.forward(rows)?;
        let pooled = match &self.dense {
            Some(dense) => tanh(dense.forward(first(states))),
            None => self
                .bert
                .pool(states.clone())
                .unwrap_or_else(|| first(states)),
        };
        Ok(self.classifier.forward(pooled))
    }
}

/// One label for each token.
#[derive(Module, Debug)]
pub struct BertForTokenClassification {
    /// The encoder, without a pooler.
    pub bert: Bert,
    /// `[hidden, labels]`.
    pub classifier: Linear,
}

impl BertForTokenClassification {
    /// A model with random weights.
    #[must_use]
    pub fn new(config: &BertConfig, labels: usize, device: &Device) -> Self {
        Self {
            bert: Bert::new(config, false, device),
            classifier: Linear::new(config.hidden_size, labels, true, STD, device),
        }
    }

    /// Logits `[batch, longest row, labels]`.
    ///
    /// # Errors
    ///
    /// As [`Bert::forward`].
    pub fn forward(&self, rows: &[Row<'_>]) -> Result<Tensor<3>, ModelError> {
        Ok(self.classifier.forward(self.bert.forward(rows)?))
    }
}

/// The start and the end of an answer in the row.
#[derive(Module, Debug)]
pub struct BertForQuestionAnswering {
    /// The encoder, without a pooler.
    pub bert: Bert,
    /// `qa_outputs`, `[hidden, 2]`: start, end.
    pub outputs: Linear,
}

impl BertForQuestionAnswering {
    /// A model with random weights.
    #[must_use]
    pub fn new(config: &BertConfig, device: &Device) -> Self {
        Self {
            bert: Bert::new(config, false, device),
            outputs: Linear::new(config.hidden_size, 2, true, STD, device),
        }
    }

    /// Logits `[batch, longest row, 2]`: that a token starts the answer, that it ends it.
    ///
    /// # Errors
    ///
    /// As [`Bert::forward`].
    pub fn forward(&self, rows: &[Row<'_>]) -> Result<Tensor<3>, ModelError> {
        Ok(self.outputs.forward(self.bert.forward(rows)?))
    }
}
