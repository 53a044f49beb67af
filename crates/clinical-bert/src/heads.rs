//! The heads: masked language model and next sentence, sequences, tokens, spans.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Tensor};
use clinical_nn::{LayerNorm, Linear, Loss, LossError, ModelError};

use crate::config::{BertConfig, Family};
use crate::dropout::Place;
use crate::layers::STD;
use crate::model::{Bert, first};
use crate::{Result, Row};

/// The pretraining heads. Masked tokens: `norm(act(W h)) E^T + bias` with the token table `E`; next sentence: two
/// classes (index 0: the second text follows) from the pooled state.
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
    ///
    /// # Errors
    ///
    /// Those of [`BertConfig::validate`].
    pub fn new(config: &BertConfig, next_sentence: bool, device: &Device) -> Result<Self> {
        let bert = Bert::new(config, next_sentence, device)?;
        Ok(Self::on(bert, config, next_sentence))
    }

    /// New heads with random weights on an encoder, which needs a pooler for `next_sentence`.
    #[must_use]
    pub fn on(bert: Bert, config: &BertConfig, next_sentence: bool) -> Self {
        let (width, device) = (bert.width(), bert.device());
        Self {
            transform: Linear::new(width, width, true, STD, &device),
            norm: LayerNorm::new(width, config.layer_norm_eps, &device),
            bias: Initializer::Zeros.init([bert.vocabulary()], &device),
            next_sentence: next_sentence.then(|| Linear::new(width, 2, true, STD, &device)),
            bert,
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
        let table = &self.bert.embeddings.word_embeddings;
        table.project(self.transformed(states)) + self.bias.val().unsqueeze()
    }

    /// The mean cross entropy of [`predict`](Self::predict), without holding its logits.
    pub(crate) fn predicted(
        &self,
        states: Tensor<3>,
        labels: &[i64],
    ) -> core::result::Result<Loss, LossError> {
        let table = &self.bert.embeddings.word_embeddings;
        table.cross_entropy(self.transformed(states), Some(self.bias.val()), labels)
    }

    /// What the table is multiplied with.
    fn transformed(&self, states: Tensor<3>) -> Tensor<3> {
        let h = self.transform.forward_with(states, self.bert.activation);
        self.norm.forward(h)
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
    ///
    /// # Errors
    ///
    /// Those of [`BertConfig::validate`].
    pub fn new(config: &BertConfig, labels: usize, device: &Device) -> Result<Self> {
        let pooler = config.family != Family::Roberta;
        Ok(Self::on(Bert::new(config, pooler, device)?, labels))
    }

    /// A new head with random weights on an encoder. BERT's own head reads the pooler, if there is one.
    #[must_use]
    pub fn on(bert: Bert, labels: usize) -> Self {
        let (width, device) = (bert.width(), bert.device());
        let roberta = bert.family == Family::Roberta;
        Self {
            dense: roberta.then(|| Linear::new(width, width, true, STD, &device)),
            classifier: Linear::new(width, labels, true, STD, &device),
            bert,
        }
    }

    /// Logits `[batch, labels]`.
    ///
    /// # Errors
    ///
    /// As [`Bert::forward`].
    pub fn forward(&self, rows: &[Row<'_>]) -> Result<Tensor<2>, ModelError> {
        let states = self.bert.forward(rows)?;
        let drop = |place, x: Tensor<2>| self.bert.dropout.apply(place, x);
        let pooled = match &self.dense {
            Some(dense) => {
                let x = drop(Place::Classifier, first(states));
                drop(Place::Projection, tanh(dense.forward(x)))
            }
            None => {
                let pooled = self.bert.pool(states.clone());
                drop(Place::Classifier, pooled.unwrap_or_else(|| first(states)))
            }
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
    ///
    /// # Errors
    ///
    /// Those of [`BertConfig::validate`].
    pub fn new(config: &BertConfig, labels: usize, device: &Device) -> Result<Self> {
        Ok(Self::on(Bert::new(config, false, device)?, labels))
    }

    /// A new head with random weights on an encoder, whose pooler goes.
    #[must_use]
    pub fn on(mut bert: Bert, labels: usize) -> Self {
        bert.pooler = None;
        Self {
            classifier: Linear::new(bert.width(), labels, true, STD, &bert.device()),
            bert,
        }
    }

    /// Logits `[batch, longest row, labels]`.
    ///
    /// # Errors
    ///
    /// As [`Bert::forward`].
    pub fn forward(&self, rows: &[Row<'_>]) -> Result<Tensor<3>, ModelError> {
        let states = self.bert.forward(rows)?;
        let states = self.bert.dropout.apply(Place::Classifier, states);
        Ok(self.classifier.forward(states))
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
    ///
    /// # Errors
    ///
    /// Those of [`BertConfig::validate`].
    pub fn new(config: &BertConfig, device: &Device) -> Result<Self> {
        Ok(Self::on(Bert::new(config, false, device)?))
    }

    /// A new head with random weights on an encoder, whose pooler goes.
    #[must_use]
    pub fn on(mut bert: Bert) -> Self {
        bert.pooler = None;
        Self {
            outputs: Linear::new(bert.width(), 2, true, STD, &bert.device()),
            bert,
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
