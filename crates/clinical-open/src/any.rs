//! A model of whatever kind.

use std::path::Path;

use asclepius::Asclepius;
use clinical_bert::ClinicalBert;
use clinical_facade::{ARCHITECTURES, Facade, LoadReport, ModelDir, Remark};
use clinical_t5::ClinicalT5;
use clinical_tokenizer::{AddedToken, Tokenizer};
use clinical_weights::{LoadOptions, SaveOptions};
use serde_json::Value;

use crate::{Error, Result};

/// A model of one of the kinds that this library has, with what all kinds can do. What only one can do is done by a
/// `match`.
///
/// ```
/// use clinical_open::{AnyModel, LoadOptions, open};
///
/// # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../asclepius/demo");
/// let model = open(dir, &LoadOptions::default())?;
/// println!("{}: at most {:?} tokens", model.facade(), model.max_tokens());
/// match model {
///     AnyModel::Asclepius(model) => println!("{}", model.answer("He has fever.", "Has he fever?").unwrap().text),
///     AnyModel::T5(model) => println!("{:?}", model.config()),
///     AnyModel::Bert(model) => println!("{:?}", model.config()),
///     _ => {}
/// }
/// # Ok::<(), clinical_open::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // a model is made once
pub enum AnyModel {
    /// A decoder that answers: LLaMA, Mistral.
    Asclepius(Asclepius),
    /// An encoder with a decoder: T5.
    T5(ClinicalT5),
    /// An encoder: BERT, RoBERTa, Megatron-BERT.
    Bert(ClinicalBert),
}

/// Opens a Hugging Face directory as it was published, or a GGUF file, by what it says that it holds.
///
/// # Errors
///
/// [`Error::Weights`] for a directory that no facade could open, [`Error::UnknownKind`] for a kind of model that this
/// library does not have, and the errors of the facade that opens it.
pub fn open(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<AnyModel> {
    let dir = ModelDir::open(dir, options)?;
    match dir.architecture().map(|one| one.facade) {
        Some(Facade::Asclepius) => Ok(AnyModel::Asclepius(Asclepius::load_dir(dir, options)?)),
        Some(Facade::ClinicalT5) => Ok(AnyModel::T5(ClinicalT5::load_dir(dir, options)?)),
        Some(Facade::ClinicalBert) => Ok(AnyModel::Bert(ClinicalBert::load_dir(dir, options)?)),
        _ => Err(unknown(&dir)),
    }
}

fn unknown(dir: &ModelDir) -> Error {
    let known: Vec<&str> = ARCHITECTURES.iter().map(|one| one.model_type).collect();
    let name = dir.config().get("model_type").and_then(Value::as_str);
    Error::UnknownKind {
        path: dir.path().to_owned(),
        found: match name {
            Some(name) => {
                format!("a model of the type `{}`", clinical_files::shown(name))
            }
            None => "a config.json without `model_type`".to_owned(),
        },
        known: known.join(", "),
    }
}

/// The same expression for each kind.
macro_rules! each {
    ($model:expr, $inner:ident => $do:expr) => {
        match $model {
            AnyModel::Asclepius($inner) => $do,
            AnyModel::T5($inner) => $do,
            AnyModel::Bert($inner) => $do,
        }
    };
}

impl AnyModel {
    /// Which kind it is.
    #[must_use]
    pub fn facade(&self) -> Facade {
        match self {
            Self::Asclepius(_) => Facade::Asclepius,
            Self::T5(_) => Facade::ClinicalT5,
            Self::Bert(_) => Facade::ClinicalBert,
        }
    }

    /// Its configuration in the published form.
    #[must_use]
    pub fn config(&self) -> Value {
        each!(self, model => model.config().to_value())
    }

    /// Its tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        each!(self, model => model.tokenizer())
    }

    /// What was loaded, and how.
    #[must_use]
    pub fn report(&self) -> &LoadReport {
        each!(self, model => model.report())
    }

    /// What the files say wrongly or leave open, and what is used instead.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        each!(self, model => model.remarks())
    }

    /// The most tokens of a text; with its answer together where the model writes one.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        each!(self, model => model.max_tokens())
    }

    /// Where it runs.
    #[must_use]
    pub fn device(&self) -> burn::tensor::Device {
        each!(self, model => model.device())
    }

    /// Gives the embeddings another number of rows; new ones are the mean of the old ones.
    ///
    /// # Errors
    ///
    /// Those of the facade, for a number that no vocabulary has; the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<()> {
        each!(self, model => Ok(model.resize_embeddings(rows)?))
    }

    /// Adds tokens to the tokenizer, and rows for them; the number of those that were new.
    ///
    /// # Errors
    ///
    /// Those of the facade.
    pub fn add_tokens(&mut self, tokens: &[AddedToken]) -> Result<usize> {
        each!(self, model => Ok(model.add_tokens(tokens)?))
    }

    /// Writes it as a Hugging Face directory that `open` and Python's `transformers` open.
    ///
    /// # Errors
    ///
    /// Those of the facade; what was there before is untouched.
    pub fn save(&self, dir: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
        each!(self, model => Ok(model.save(dir, options)?))
    }
}
