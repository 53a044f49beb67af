//! The facade: a directory in, answers about texts out.

mod answer;
mod batch;
mod classify;
mod embed;
mod entities;
mod fill_mask;
mod labels;
mod load;
mod preview;
mod save;
mod show;
mod tag;
mod text;

use std::fmt;

use clinical_nn::ModelError;
use clinical_tokenizer::{Tokenizer, TokenizerRemark};
use clinical_weights::LoadReport;

use crate::config::BertConfig;
use crate::heads::{
    BertForPretraining, BertForQuestionAnswering, BertForSequenceClassification,
    BertForTokenClassification,
};
use crate::model::Bert;
use crate::pretraining::Vocabulary;
use crate::{Error, Row};
use text::Text;

pub use answer::{NoAnswer, SpanAnswer, SpanCandidate, SpanOptions};
pub use classify::{Classification, ClassifyOptions, LabelScore, ProblemType};
pub use embed::{EmbedOptions, Pooling};
pub use entities::{Aggregation, Entity};
pub use fill_mask::{Candidate, FilledMask};
pub use labels::{I2B2_2006, I2B2_2010, I2B2_2012, I2B2_2014, LabelSet};
pub use load::BertOptions;
pub use preview::{Case, Preview};
pub use show::{ansi, html};
pub use tag::TagOptions;
pub use text::LongText;

/// What stands on top of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Head {
    /// Nothing: an encoder alone.
    Encoder,
    /// The masked-language-model head, with or without next sentence.
    MaskedLanguage,
    /// One label, or several, for a text or a pair.
    Sequence,
    /// A label for each token.
    Token,
    /// The start and the end of an answer.
    Span,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encoder => "an encoder without a head",
            Self::MaskedLanguage => "a masked-language-model head",
            Self::Sequence => "a sequence classification head",
            Self::Token => "a token classification head",
            Self::Span => "a question answering head",
        })
    }
}

/// The model of a directory, with the head that it has.
#[derive(Debug)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "one value lives for as long as the process uses the model"
)]
pub enum BertModel {
    /// The encoder alone.
    Encoder(Bert),
    /// With the pretraining heads.
    MaskedLanguage(BertForPretraining),
    /// With a sequence classifier.
    Sequence(BertForSequenceClassification),
    /// With a token classifier.
    Token(BertForTokenClassification),
    /// With a span head.
    Span(BertForQuestionAnswering),
}

impl BertModel {
    /// The encoder under the head.
    #[must_use]
    pub fn encoder(&self) -> &Bert {
        match self {
            Self::Encoder(model) => model,
            Self::MaskedLanguage(model) => &model.bert,
            Self::Sequence(model) => &model.bert,
            Self::Token(model) => &model.bert,
            Self::Span(model) => &model.bert,
        }
    }

    /// Which head it is.
    #[must_use]
    pub fn head(&self) -> Head {
        match self {
            Self::Encoder(_) => Head::Encoder,
            Self::MaskedLanguage(_) => Head::MaskedLanguage,
            Self::Sequence(_) => Head::Sequence,
            Self::Token(_) => Head::Token,
            Self::Span(_) => Head::Span,
        }
    }
}

/// A BERT, RoBERTa or Megatron-BERT with its tokenizer: Bio_ClinicalBERT, BioClinRoBERTa, GatorTron and what is
/// fine-tuned from them.
///
/// It is used through `&self`, so threads can share it.
#[derive(Debug)]
pub struct ClinicalBert {
    config: BertConfig,
    model: BertModel,
    text: Text,
    labels: Vec<String>,
    report: LoadReport,
    remarks: Vec<TokenizerRemark>,
    batch_tokens: usize,
}

impl ClinicalBert {
    /// The config of the directory.
    #[must_use]
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// The model, for callers who write their own loops.
    #[must_use]
    pub fn model(&self) -> &BertModel {
        &self.model
    }

    /// The encoder under the head.
    #[must_use]
    pub fn encoder(&self) -> &Bert {
        self.model.encoder()
    }

    /// Which head the directory holds.
    #[must_use]
    pub fn head(&self) -> Head {
        self.model.head()
    }

    /// The tokenizer; its resolution says which file it comes from and whether it lower-cases.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.text.tokenizer
    }

    /// The names of the classes by index; empty for a model that does not classify.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// What was loaded, and how.
    #[must_use]
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// What the files of the directory say wrongly or leave open, and what is used instead. [`Self::report`] has these as
    /// sentences among its notes.
    #[must_use]
    pub fn remarks(&self) -> &[TokenizerRemark] {
        &self.remarks
    }

    /// The most tokens that the model reads at once, special tokens included.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.encoder().max_length
    }

    /// The token ids of a text without special tokens, of any length.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] when the text is larger than the tokenizer's limit.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.text.ids(text)
    }

    /// The ids that pretraining examples are built with ([`Examples`](crate::Examples)).
    ///
    /// # Errors
    ///
    /// [`Error::NoSpecialToken`] without a mask token.
    pub fn vocabulary(&self) -> Result<Vocabulary, Error> {
        Ok(Vocabulary {
            size: self.config.vocab_size.min(self.text.tokenizer.vocab_size()),
            start: self.text.start,
            separator: self.text.separator,
            mask: self
                .text
                .mask
                .ok_or(Error::NoSpecialToken { token: "mask" })?,
        })
    }

    /// How likely `second` follows `first` in a document, by the next-sentence head.
    ///
    /// # Errors
    ///
    /// [`Error::Head`] for a model without that head, [`Error::TooLong`] for a pair that the model cannot read at once.
    pub fn next_sentence(&self, first: &str, second: &str) -> Result<f32, Error> {
        let missing = || self.no_head("next-sentence prediction", Head::MaskedLanguage);
        let BertModel::MaskedLanguage(model) = &self.model else {
            return Err(missing());
        };
        let row = self
            .text
            .pair(&self.text.ids(first)?, &self.text.ids(second)?);
        self.check_length(0, row.ids.len())?;
        let states = model.bert.forward(&[row.row()])?;
        let logits = model.next_sentence(states).ok_or_else(missing)?;
        let logits = finite(logits.into_data())?;
        Ok(softmax(&logits)[0])
    }

    fn no_head(&self, job: &'static str, needed: Head) -> Error {
        Error::Head {
            job,
            needed,
            found: self.head(),
        }
    }

    fn check_length(&self, index: usize, tokens: usize) -> Result<(), Error> {
        let limit = self.max_length();
        if tokens > limit {
            return Err(Error::TooLong {
                index,
                tokens,
                limit,
            });
        }
        Ok(())
    }

    /// One value for each row, made by `forward` in batches of similar length. `done` gets the number of rows of each batch
    /// that is ready.
    fn batches<T>(
        &self,
        rows: &[text::OwnedRow],
        forward: impl Fn(&[usize], &[Row<'_>]) -> Result<Vec<T>, Error>,
        done: impl FnMut(usize),
    ) -> Result<Vec<T>, Error> {
        let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
        let batches = batch::batches(&lengths, self.batch_tokens);
        let run = |batch: &[usize]| {
            let (count, longest) = (batch.len(), lengths[batch[0]]);
            let span = tracing::debug_span!("batch", rows = count, longest);
            let _entered = span.enter();
            let inputs: Vec<Row<'_>> = batch.iter().map(|&row| rows[row].row()).collect();
            forward(batch, &inputs)
        };
        batch::run(&batches, run, done)
    }
}

fn unknown(what: &'static str, name: &str, known: &'static str) -> Error {
    Error::UnknownName {
        what,
        name: name.chars().take(40).collect(),
        known,
    }
}

/// The values of a tensor as f32, none of them infinite or not-a-number.
fn finite(data: burn::tensor::TensorData) -> Result<Vec<f32>, Error> {
    let values: Vec<f32> = data
        .convert::<f32>()
        .try_to_vec()
        .map_err(|_| Error::Model(ModelError::NoRows))?;
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(Error::NotFinite)
    }
}

/// `exp(x - max) / sum`.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut scores: Vec<f32> = logits.iter().map(|logit| (logit - max).exp()).collect();
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
    scores
}

/// The first of the largest values; 0 for no values.
fn best(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}
