//! Writing a model where `transformers` finds it, and another vocabulary for one that is there.

use std::path::Path;

use clinical_files::replace_directory;
use clinical_nn::resize_param;
use clinical_tokenizer::AddedToken;
use clinical_weights::{FromCheckpoint, SAVED_MODEL, SaveOptions, save_model_files};

use super::{BertModel, ClinicalBert};
use crate::Error;
use crate::config::{BertConfig, Family};
use crate::heads::BertForPretraining;
use crate::model::Bert;

impl Bert {
    /// Gives the token table `rows` rows. New rows are the mean of the old ones ([`resize_param`]); rows beyond `rows` go.
    /// An id without a row is refused wherever ids come in
    /// ([`ModelError::TokenOutOfRange`](clinical_nn::ModelError::TokenOutOfRange)). A masked-language-model head has
    /// a bias of its own: [`BertForPretraining::resize_embeddings`].
    pub fn resize_embeddings(&mut self, rows: usize) {
        let table = &mut self.embeddings.word_embeddings.weight;
        *table = resize_param(table.clone(), 0, rows);
    }
}

impl BertForPretraining {
    /// [`Bert::resize_embeddings`] with the bias of the masked-language-model head.
    pub fn resize_embeddings(&mut self, rows: usize) {
        self.bert.resize_embeddings(rows);
        self.bias = resize_param(self.bias.clone(), 0, rows);
    }
}

impl ClinicalBert {
    /// Gives the token table `rows` rows: [`Bert::resize_embeddings`].
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a number that no vocabulary has; the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<(), Error> {
        let config = BertConfig {
            vocab_size: rows,
            ..self.config.clone()
        };
        config.validate()?;
        match &mut self.model {
            BertModel::Encoder(model) => model.resize_embeddings(rows),
            BertModel::MaskedLanguage(model) => model.resize_embeddings(rows),
            BertModel::Sequence(model) => model.bert.resize_embeddings(rows),
            BertModel::Token(model) => model.bert.resize_embeddings(rows),
            BertModel::Span(model) => model.bert.resize_embeddings(rows),
        }
        self.config = config;
        Ok(())
    }

    /// Adds tokens to the tokenizer and, where their ids are beyond the token table, rows to it. Returns how many tokens
    /// got new ids.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] for tokens that cannot be added, and those of [`Self::resize_embeddings`].
    pub fn add_tokens(&mut self, tokens: &[AddedToken]) -> Result<usize, Error> {
        let mut tokenizer = self.text.tokenizer.clone();
        let new = tokenizer.add_tokens(tokens)?;
        let rows = tokenizer.vocab_size();
        if rows > self.config.vocab_size {
            self.resize_embeddings(rows)?;
        }
        self.text.tokenizer = tokenizer;
        Ok(new)
    }

    /// Writes the model as a Hugging Face directory that this crate and Python's `transformers` open: `config.json` with
    /// the class of the head and the names of the labels, weights in the type that they have in memory, tokenizer files.
    /// An error leaves what was there before; see [`clinical_weights::save_pretrained`].
    ///
    /// # Errors
    ///
    /// [`Error::Weights`], [`Error::Tokenizer`], [`Error::Files`].
    pub fn save(&self, dir: impl AsRef<Path>, options: &SaveOptions) -> Result<(), Error> {
        let mut config = self.config.clone();
        config.architectures = vec![self.class()];
        if !self.labels.is_empty() {
            let names = self.labels.iter().enumerate();
            config.id2label = Some(
                names
                    .map(|(id, name)| (id.to_string(), name.clone()))
                    .collect(),
            );
        }
        let config = config.to_json()?;
        match &self.model {
            BertModel::Encoder(model) => self.write(model, &config, dir, options),
            BertModel::MaskedLanguage(model) => self.write(model, &config, dir, options),
            BertModel::Sequence(model) => self.write(model, &config, dir, options),
            BertModel::Token(model) => self.write(model, &config, dir, options),
            BertModel::Span(model) => self.write(model, &config, dir, options),
        }
    }

    fn write<M: FromCheckpoint>(
        &self,
        model: &M,
        config: &str,
        dir: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<(), Error> {
        replace_directory(dir, &SAVED_MODEL, |part| {
            save_model_files(model, config, part, options)?;
            Ok(self.text.tokenizer.save(part)?)
        })
    }

    /// The class of `transformers` that has this head.
    fn class(&self) -> String {
        let family = match self.config.family {
            Family::Bert => "Bert",
            Family::Roberta => "Roberta",
            Family::MegatronBert => "MegatronBert",
        };
        let head = match &self.model {
            BertModel::Encoder(_) => "Model",
            BertModel::MaskedLanguage(model) if model.next_sentence.is_some() => "ForPreTraining",
            BertModel::MaskedLanguage(_) => "ForMaskedLM",
            BertModel::Sequence(_) => "ForSequenceClassification",
            BertModel::Token(_) => "ForTokenClassification",
            BertModel::Span(_) => "ForQuestionAnswering",
        };
        format!("{family}{head}")
    }
}
