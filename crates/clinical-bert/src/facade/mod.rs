//! The facade: a directory in, answers about texts out.

mod adapter;
mod answer;
mod batch;
mod classify;
mod demo;
mod embed;
mod encode;
mod entities;
mod fill_mask;
mod load;
mod long;
mod numbers;
mod options;
mod preview;
mod save;
mod tag;
mod text;

use burn::tensor::Device;
use clinical_facade::{CallOptions, Parts, Remark, TextTooLong};
use clinical_tokenizer::Tokenizer;
use clinical_weights::LoadReport;
use serde_json::Value;

use crate::config::BertConfig;
use crate::model::Bert;
use crate::pretraining::Vocabulary;
use crate::{BertModel, Error, Result, TaskHead};
use numbers::{finite, softmax};
use text::Text;

pub use answer::{NoAnswer, SpanAnswer, SpanCandidate, SpanOptions};
pub use classify::{Classification, ClassifyOptions, LabelScore, ProblemType};
pub use embed::EmbedOptions;
pub use encode::QuestionRow;
pub use entities::{Aggregation, Entity};
pub use fill_mask::{Candidate, FillOptions, FilledMask};
pub use load::BertOptions;
pub use preview::{Case, Preview};
pub use tag::TagOptions;

/// A BERT, RoBERTa or Megatron-BERT with its tokenizer: Bio_ClinicalBERT, BioClinRoBERTa, GatorTron and what is
/// fine-tuned from them.
///
/// It is used through `&self`, so threads can share it.
#[derive(Debug)]
pub struct ClinicalBert {
    config: BertConfig,
    model: BertModel,
    text: Text,
    report: LoadReport,
    remarks: Vec<Remark>,
    generation_config: Option<Value>,
}

impl ClinicalBert {
    /// A facade from its parts: those of [`into_parts`](Self::into_parts), or a model that was made or trained
    /// elsewhere. Where a classifier has classes without names in the config, they are called `LABEL_0`, `LABEL_1` and
    /// so on.
    ///
    /// # Errors
    ///
    /// Those of [`BertConfig::validate`], [`Error::Parts`] for a model of another shape than its config,
    /// [`Error::LabelCount`], [`Error::NoRoom`], [`Error::NoSpecialToken`] for a tokenizer that belongs to no BERT.
    pub fn from_parts(parts: Parts<BertConfig, BertModel>) -> Result<Self> {
        let mut config = parts.config;
        config.validate()?;
        check(&config, &parts.model)?;
        if parts.model.head().has_labels() {
            config.name_classes(parts.model.classes())?;
        }
        config.architectures = vec![parts.model.architecture(config.family)];
        let lower_case = config
            .sentence
            .as_ref()
            .is_some_and(|found| found.lower_case);
        let text = Text::new(parts.tokenizer, config.family, lower_case)?;
        let bert = Self {
            config,
            model: parts.model,
            text,
            report: parts.report,
            remarks: parts.remarks,
            generation_config: parts.generation_config,
        };
        bert.room(&CallOptions::default())?;
        Ok(bert)
    }

    /// The parts of the facade, from which [`from_parts`](Self::from_parts) makes it again.
    #[must_use]
    pub fn into_parts(self) -> Parts<BertConfig, BertModel> {
        let mut parts = Parts::new(self.config, self.model, self.text.tokenizer);
        parts.report = self.report;
        parts.remarks = self.remarks;
        parts.generation_config = self.generation_config;
        parts
    }

    /// The config, with the names of the classes.
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

    /// Which head the model has.
    #[must_use]
    pub fn head(&self) -> TaskHead {
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
        match self.head().has_labels() {
            true => &self.config.labels,
            false => &[],
        }
    }

    /// What was loaded, and how.
    #[must_use]
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// What the files of the directory say wrongly or leave open, and what is used instead. [`Self::report`] has these
    /// as sentences among its notes.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// The most tokens that are read at once, special tokens included: the positions of the model, or fewer where the
    /// files of sentence-transformers say so.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        let sentence = self.config.sentence.as_ref();
        let said = sentence.and_then(|sentence| sentence.max_tokens);
        said.map_or(usize::MAX, |tokens| tokens)
            .min(self.encoder().max_tokens)
    }

    /// Where the model runs.
    #[must_use]
    pub fn device(&self) -> Device {
        self.encoder().device()
    }

    /// The token ids of a text without special tokens, of any length.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::encode`].
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.text.ids(text)
    }

    /// The ids that pretraining examples are built with ([`Examples`](crate::pretraining::Examples)).
    ///
    /// # Errors
    ///
    /// [`Error::NoSpecialToken`] without a mask token.
    pub fn vocabulary(&self) -> Result<Vocabulary> {
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
    pub fn next_sentence(&self, first: &str, second: &str) -> Result<f32> {
        let missing = || self.no_head("next-sentence prediction", TaskHead::MaskedLanguage);
        let BertModel::MaskedLanguage(model) = &self.model else {
            return Err(missing());
        };
        let row = self
            .text
            .pair(&self.text.ids(first)?, &self.text.ids(second)?);
        let limit = self.max_tokens();
        if row.ids.len() > limit {
            return Err(TextTooLong::new("pair of texts", row.ids.len(), limit).into());
        }
        let states = model.bert.forward(&[row.row()])?;
        let logits = model.next_sentence(states).ok_or_else(missing)?;
        let logits = finite(logits.into_data())?;
        Ok(softmax(&logits)[0])
    }

    fn no_head(&self, job: &'static str, needed: TaskHead) -> Error {
        Error::Head {
            job,
            needed,
            found: self.head(),
        }
    }
}

/// That a model has the shape that its config says.
fn check(config: &BertConfig, model: &BertModel) -> Result<()> {
    let bert = model.encoder();
    for (what, model, config) in [
        (
            "rows of the token table",
            bert.vocabulary(),
            config.vocab_size,
        ),
        ("values in a hidden state", bert.width(), config.hidden_size),
        ("layers", bert.layers.len(), config.num_hidden_layers),
        ("positions", bert.max_tokens, config.max_tokens()),
    ] {
        if model != config {
            return Err(Error::Parts {
                what,
                model,
                config,
            });
        }
    }
    Ok(())
}
