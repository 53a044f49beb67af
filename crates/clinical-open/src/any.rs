//! A model of whatever kind.

use std::path::{Path, PathBuf};

use clinical_facade::{ARCHITECTURES, Facade, LoadReport, ModelDir, Remark};
use clinical_tokenizer::{AddedToken, Tokenizer};
use clinical_weights::{LoadOptions, SaveOptions};
use serde_json::Value;

use crate::fit::{self, Fit};

/// What this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What all facades do in the same way, whatever their types are called.
trait Model {
    fn facade(&self) -> Facade;
    fn config(&self) -> Value;
    fn tokenizer(&self) -> &Tokenizer;
    fn report(&self) -> &LoadReport;
    fn remarks(&self) -> &[Remark];
    fn max_tokens(&self) -> usize;
    fn device(&self) -> burn::tensor::Device;
    fn resize_embeddings(&mut self, rows: usize) -> Result<()>;
    fn add_tokens(&mut self, tokens: &[AddedToken]) -> Result<usize>;
    fn save(&self, dir: &Path, options: &SaveOptions) -> Result<()>;
}

/// All that depends on which facades there are, from a row for each: its variant, its type (named as in [`Facade`]) and
/// the crate of that, and how a directory is compared with its model.
macro_rules! facades {
    ($($(#[$doc:meta])+ $variant:ident($type:ident of $crate_name:ident), $fit:path;)+) => {
        $(pub use $crate_name::$type;)+

        /// A model of one of the kinds that this library has, with what all kinds can do. What only one can do is done by
        /// a `match`.
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
            $($(#[$doc])+ $variant($type),)+
        }

        impl AnyModel {
            fn inner(&self) -> &dyn Model {
                match self {
                    $(Self::$variant(model) => model,)+
                }
            }

            fn inner_mut(&mut self) -> &mut dyn Model {
                match self {
                    $(Self::$variant(model) => model,)+
                }
            }
        }

        $(impl Model for $type {
            fn facade(&self) -> Facade {
                Facade::$type
            }

            fn config(&self) -> Value {
                self.config().to_value()
            }

            fn tokenizer(&self) -> &Tokenizer {
                self.tokenizer()
            }

            fn report(&self) -> &LoadReport {
                self.report()
            }

            fn remarks(&self) -> &[Remark] {
                self.remarks()
            }

            fn max_tokens(&self) -> usize {
                self.max_tokens()
            }

            fn device(&self) -> burn::tensor::Device {
                self.device()
            }

            fn resize_embeddings(&mut self, rows: usize) -> Result<()> {
                Ok(self.resize_embeddings(rows)?)
            }

            fn add_tokens(&mut self, tokens: &[AddedToken]) -> Result<usize> {
                Ok(self.add_tokens(tokens)?)
            }

            fn save(&self, dir: &Path, options: &SaveOptions) -> Result<()> {
                Ok(self.save(dir, options)?)
            }
        })+

        /// Why a directory could not be opened, looked at or written.
        #[derive(Debug, thiserror::Error)]
        #[non_exhaustive]
        pub enum Error {
            /// The directory, its configuration or its weights.
            #[error(transparent)]
            Weights(#[from] clinical_weights::Error),
            $(
                #[doc = concat!("What [`", stringify!($type), "`](crate::", stringify!($type), ") says.")]
                #[error(transparent)]
                $variant(#[from] $crate_name::Error),
            )+
            /// No facade opens a model of this kind.
            #[error(
                "{} holds {found}, and this library opens {known}: check that it is the directory of such a model",
                path.display()
            )]
            UnknownKind {
                /// The directory.
                path: PathBuf,
                /// What its configuration says.
                found: String,
                /// The architectures that are opened.
                known: String,
            },
        }

        /// Opens a Hugging Face directory as it was published, or a GGUF file, by what it says that it holds.
        ///
        /// # Errors
        ///
        /// [`Error::Weights`] for a directory that no facade could open, [`Error::UnknownKind`] for a kind of model that
        /// this library does not have, and the errors of the facade that opens it.
        pub fn open(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<AnyModel> {
            let dir = ModelDir::open(dir, options)?;
            match dir.architecture().map(|one| one.facade) {
                $(Some(Facade::$type) => Ok(AnyModel::$variant($type::load_dir(dir, options)?)),)+
                _ => Err(unknown(&dir)),
            }
        }

        /// How a directory fits the model that it describes. `path` is what was asked for, `dir` what was opened. `None`
        /// for a kind of model that this library does not have.
        pub(crate) fn fit_of(path: &Path, dir: &ModelDir, options: &LoadOptions) -> Result<Option<Fit>> {
            let options = options.clone().with_strict(false);
            match dir.architecture().map(|one| one.facade) {
                $(Some(Facade::$type) => $fit(path, dir, &options).map(Some),)+
                _ => Ok(None),
            }
        }
    };
}

facades! {
    /// A decoder that answers: LLaMA, Mistral.
    Asclepius(Asclepius of asclepius), fit::llama;
    /// An encoder with a decoder: T5.
    T5(ClinicalT5 of clinical_t5), fit::t5;
    /// An encoder: BERT, RoBERTa, Megatron-BERT.
    Bert(ClinicalBert of clinical_bert), fit::bert;
    /// A decoder that continues, classifies or marks a span: GPT-2 (PubMedGPT).
    Gpt2(ClinicalGpt2 of clinical_gpt2), fit::gpt2;
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

impl AnyModel {
    /// Which kind it is.
    #[must_use]
    pub fn facade(&self) -> Facade {
        self.inner().facade()
    }

    /// Its configuration in the published form.
    #[must_use]
    pub fn config(&self) -> Value {
        self.inner().config()
    }

    /// Its tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        self.inner().tokenizer()
    }

    /// What was loaded, and how.
    #[must_use]
    pub fn report(&self) -> &LoadReport {
        self.inner().report()
    }

    /// What the files say wrongly or leave open, and what is used instead.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        self.inner().remarks()
    }

    /// The most tokens of a text; with its answer together where the model writes one.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.inner().max_tokens()
    }

    /// Where it runs.
    #[must_use]
    pub fn device(&self) -> burn::tensor::Device {
        self.inner().device()
    }

    /// Gives the embeddings another number of rows; new ones are the mean of the old ones.
    ///
    /// # Errors
    ///
    /// Those of the facade, for a number that no vocabulary has; the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<()> {
        self.inner_mut().resize_embeddings(rows)
    }

    /// Adds tokens to the tokenizer, and rows for them; the number of those that were new.
    ///
    /// # Errors
    ///
    /// Those of the facade.
    pub fn add_tokens(&mut self, tokens: &[AddedToken]) -> Result<usize> {
        self.inner_mut().add_tokens(tokens)
    }

    /// Writes it as a Hugging Face directory that `open` and Python's `transformers` open.
    ///
    /// # Errors
    ///
    /// Those of the facade; what was there before is untouched.
    pub fn save(&self, dir: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
        self.inner().save(dir.as_ref(), options)
    }
}
