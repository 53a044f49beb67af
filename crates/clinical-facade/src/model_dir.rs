//! A model directory, opened once.

use std::path::Path;

use clinical_tokenizer::{OpenOptions, Tokenizer, Vocabulary};
use clinical_weights::{
    Architecture, Checkpoint, CheckpointDir, Error, Facade, LoadOptions, LoadReport, Quantised,
};
use serde_json::{Value, json};

use crate::{Parts, Remark};

/// A Hugging Face directory as it was published, or a GGUF file (its path, or that of a directory with one and no other
/// weights), which brings its own configuration and tokenizer.
///
/// Everything is opened once, when this is made: configuration, `generation_config.json`, the headers of the weights. A
/// facade then asks for the tokenizer, fills its model and becomes [`Parts`]:
///
/// ```no_run
/// use clinical_facade::{Facade, LoadOptions, ModelDir};
///
/// let dir = ModelDir::open_as("path/to/model", Facade::Asclepius, &LoadOptions::default())?;
/// assert_eq!(dir.config()["model_type"], "llama");
/// println!("{} tensors", dir.weights().tensors().count());
/// # Ok::<(), clinical_weights::Error>(())
/// ```
#[derive(Debug)]
pub struct ModelDir {
    files: CheckpointDir,
    /// Where the model is in a folder of the directory that was asked for: that directory.
    around: Option<CheckpointDir>,
    config: Value,
    generation_config: Option<Value>,
    weights: Checkpoint,
    /// That of a GGUF file; otherwise the tokenizer is in files of its own.
    vocabulary: Option<Vocabulary>,
    remarks: Vec<Remark>,
}

impl ModelDir {
    /// Opens a directory of any kind of model.
    ///
    /// # Errors
    ///
    /// [`Error`] in one sentence: a directory that is not there or has no weights, a damaged file, weights that are an
    /// adapter ([`Error::Adapter`]) or quantised by a scheme that is not read ([`Error::Quantised`]), a tokenizer file
    /// that is a link out of the directory.
    pub fn open(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Self, Error> {
        Self::read(path.as_ref(), None, options)
    }

    /// Opens a directory that must hold what `facade` opens.
    ///
    /// # Errors
    ///
    /// Those of [`Self::open`]; [`Error::ModelType`], which names the facade that opens the directory.
    pub fn open_as(
        path: impl AsRef<Path>,
        facade: Facade,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        Self::read(path.as_ref(), Some(facade), options)
    }

    fn read(path: &Path, facade: Option<Facade>, options: &LoadOptions) -> Result<Self, Error> {
        let files = CheckpointDir::open_with(path, options.allow_links)?;
        let (files, around) = match files.module_folder()? {
            Some(inner) => (inner, Some(files)),
            None => (files, None),
        };
        let gguf = files.gguf()?;
        let mut sentences = Vec::new();
        let config = match &gguf {
            Some(file) => {
                sentences.extend(unknown(&file.unknown_settings()?));
                file.config()?
            }
            None => {
                let (config, remarks) = files.read_config()?;
                sentences.extend(remarks);
                config
            }
        };
        // A wrong kind explains every other oddity, so it is said first.
        if let Some(facade) = facade {
            facade.expect(&config)?;
        }
        files.check_tokenizer_files()?;
        let (weights, vocabulary, generation_config) = match &gguf {
            Some(file) => (
                files.weights_of(file)?,
                Some(file.vocabulary()?),
                ends(&file.end_ids()),
            ),
            None => (files.weights()?, None, generation(&files, &mut sentences)?),
        };
        sentences.extend(Quantised::check(path, &config, &weights)?);
        Ok(Self {
            files,
            around,
            config,
            generation_config,
            weights,
            vocabulary,
            remarks: sentences.into_iter().map(Remark::Model).collect(),
        })
    }

    /// The path of the model: what was asked for, or the folder in it that `modules.json` of sentence-transformers names.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    /// The files of the model.
    #[must_use]
    pub fn files(&self) -> &CheckpointDir {
        &self.files
    }

    /// The files of the directory that was asked for: [`files`](Self::files), unless the model is in a folder of it.
    #[must_use]
    pub fn top(&self) -> &CheckpointDir {
        self.around.as_ref().unwrap_or(&self.files)
    }

    /// `config.json` with every key that it has; for a GGUF file what it was converted from, as far as it can be told.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// `generation_config.json` with every key that it has; for a GGUF file its end tokens in that form.
    #[must_use]
    pub fn generation_config(&self) -> Option<&Value> {
        self.generation_config.as_ref()
    }

    /// The weights, of which headers have been read.
    #[must_use]
    pub fn weights(&self) -> &Checkpoint {
        &self.weights
    }

    /// The architecture, `None` for a kind of model that this library does not have.
    #[must_use]
    pub fn architecture(&self) -> Option<&'static Architecture> {
        Architecture::of(&self.config)
    }

    /// Whether a LoRA adapter lies beside the weights. A GGUF file is a model by itself.
    #[must_use]
    pub fn has_adapter(&self) -> bool {
        self.vocabulary.is_none() && self.files.has("adapter_config.json")
    }

    /// What was noticed about the files.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// Adds what a facade notices.
    pub fn remark(&mut self, remark: impl Into<Remark>) {
        self.remarks.push(remark.into());
    }

    /// Opens the tokenizer: that of the GGUF file (with the `tokenizer.json` beside it for what it does not say), or
    /// that of the directory. Links out of the directory have been refused when
    /// it was opened.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::from_dir`] and [`Tokenizer::from_vocabulary`].
    pub fn tokenizer(&self, options: &OpenOptions) -> Result<Tokenizer, clinical_tokenizer::Error> {
        match &self.vocabulary {
            Some(vocabulary) => {
                Tokenizer::from_vocabulary_in(vocabulary, self.files.directory(), options)
            }
            None => Tokenizer::from_dir_with(self.files.path(), options),
        }
    }

    /// Another JSON file of the directory, or of a folder in it (`1_Pooling/config.json`); `None` if it is not there.
    ///
    /// # Errors
    ///
    /// Those of [`CheckpointDir::read_json`].
    pub fn json(&self, name: &str) -> Result<Option<Value>, Error> {
        let value = match name.split_once('/') {
            None if self.files.has(name) => self.files.read_python_json(name)?,
            Some((folder, name)) if self.files.has(folder) => {
                let folder = self.files.folder(folder)?;
                if !folder.has(name) {
                    return Ok(None);
                }
                folder.read_python_json(name)?
            }
            _ => return Ok(None),
        };
        Ok(Some(value.0))
    }

    /// The ids that end an answer: see [`end_ids`](crate::end_ids).
    #[must_use]
    pub fn end_ids(&self, tokenizer: &Tokenizer, rows: usize) -> Vec<u32> {
        crate::end_ids(tokenizer, self.generation_config(), rows)
    }

    /// The model with what the directory says about it: `rows` are those of its embedding table, up to which the
    /// tokenizer's ids are compared. Remarks about the tokenizer follow those about other files; the report gets all as
    /// sentences.
    #[must_use]
    pub fn into_parts<C, M>(
        self,
        config: C,
        model: M,
        tokenizer: Tokenizer,
        rows: usize,
        mut report: LoadReport,
    ) -> Parts<C, M> {
        let mut remarks = self.remarks;
        remarks.extend(report.prefix.iter().cloned().map(Remark::Model));
        remarks.extend(tokenizer.remarks(rows).into_iter().map(Remark::Tokenizer));
        for remark in remarks.iter().map(Remark::to_string) {
            if !report.notes.contains(&remark) {
                report.notes.push(remark);
            }
        }
        Parts {
            config,
            model,
            tokenizer,
            report,
            remarks,
            generation_config: self.generation_config,
        }
    }
}

fn generation(files: &CheckpointDir, sentences: &mut Vec<String>) -> Result<Option<Value>, Error> {
    const NAME: &str = "generation_config.json";
    if !files.has(NAME) {
        return Ok(None);
    }
    let (value, remarks) = files.read_python_json(NAME)?;
    sentences.extend(remarks);
    Ok(Some(value))
}

/// A sentence about keys of a GGUF file that are not known.
fn unknown(keys: &[String]) -> Option<String> {
    const SHOWN: usize = 6;
    let more = if keys.len() > SHOWN { ", ..." } else { "" };
    let list: Vec<&str> = keys.iter().take(SHOWN).map(String::as_str).collect();
    (!keys.is_empty()).then(|| {
        let list = list.join(", ");
        format!("the GGUF file has settings that this library does not know ({list}{more}): they are not followed")
    })
}

/// End tokens in the form of `generation_config.json`.
fn ends(ids: &[u32]) -> Option<Value> {
    match ids {
        [] => None,
        [id] => Some(json!({ "eos_token_id": id })),
        ids => Some(json!({ "eos_token_id": ids })),
    }
}
