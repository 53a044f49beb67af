//! GGUF, the files of llama.cpp: metadata, a table of tensors, their values; all of a model in one file.
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3.

mod block;
mod kind;
mod llama3;
mod names;
mod parts;
mod reader;
mod settings;
mod table;
mod vocabulary;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use block::BlockType;
pub(crate) use block::LARGEST;
use bytes::Bytes;
use clinical_tokenizer::Vocabulary;
pub(crate) use parts::{Part, PartName};

use crate::table::{Entry, Place, TensorInfo};
use crate::{Dtype, Error};
use clinical_files::shown;
use names::Architecture;
use reader::Value;
use table::Tensor;

/// An open GGUF file, or all parts of one that was split: its metadata and its table of tensors, checked against the
/// file. Values stay in the file, which is memory-mapped and must not be changed while it is in use.
///
/// Facades take from it what other models keep in `config.json` and in tokenizer files: [`Self::config`] and
/// [`Self::vocabulary`]. The weights come through [`CheckpointDir::weights`](crate::CheckpointDir::weights), under the
/// names and in the order of rows of the published checkpoint that the file was converted from.
#[derive(Clone)]
pub struct Gguf {
    path: PathBuf,
    /// The first part, which holds the metadata.
    bytes: Bytes,
    values: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Tensor>,
    parts: Vec<Part>,
}

impl Gguf {
    /// Where the file lies, the first part of several.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The architecture, in llama.cpp's names: `llama`, `bert`, `gpt2`, ...
    ///
    /// # Errors
    ///
    /// [`Error::GgufMetadata`] if the file does not say.
    pub fn architecture(&self) -> Result<&str, Error> {
        self.need("general.architecture", "a text", Self::text)
    }

    /// A text of the metadata.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key)? {
            // Checked when it was read.
            Value::Text(range) => std::str::from_utf8(self.bytes.get(range.clone())?).ok(),
            _ => None,
        }
    }

    /// A whole number of the metadata that is not negative.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.values.get(key)? {
            Value::Uint(value) => Some(*value),
            Value::Int(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A float of the metadata. One that is kept as f32 is the shortest decimal number that rounds to it: `1e-5`, and
    /// not `9.999999747378752e-6`.
    #[must_use]
    pub fn float(&self, key: &str) -> Option<f64> {
        match self.values.get(key)? {
            Value::F32(value) => value.to_string().parse().ok(),
            Value::F64(value) => Some(*value),
            _ => None,
        }
    }

    /// A truth value of the metadata.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.values.get(key)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// All keys of the metadata, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A key that must be there and have a type.
    fn need<'a, T>(
        &'a self,
        key: &str,
        what: &str,
        read: impl FnOnce(&'a Self, &str) -> Option<T>,
    ) -> Result<T, Error> {
        read(self, key).ok_or_else(|| Error::GgufMetadata {
            key: shown(key),
            problem: match self.values.contains_key(key) {
                true => format!("is not {what}"),
                false => "is missing".to_owned(),
            },
        })
    }

    /// The `config.json` that the file was converted from, as far as the model depends on it.
    ///
    /// # Errors
    ///
    /// [`Error::Adapter`] and [`Error::GgufNoModel`] for a file that holds no model, [`Error::GgufArchitecture`] for
    /// anything but LLaMA, BERT and GPT-2, [`Error::GgufMetadata`] for a number that is missing or has the wrong type,
    /// [`Error::GgufSetting`] for one that changes how the model computes and is not read.
    pub fn config(&self) -> Result<serde_json::Value, Error> {
        Architecture::of(self)?.config(self)
    }

    /// Keys about the model itself that this library does not know: they may change what it computes.
    ///
    /// # Errors
    ///
    /// Those of [`Self::config`] about what the file holds.
    pub fn unknown_settings(&self) -> Result<Vec<String>, Error> {
        let architecture = Architecture::of(self)?;
        let keys = settings::unknown(self, architecture.prefix());
        Ok(keys.map(shown).collect())
    }

    /// The ids that the metadata gives for the end of a text, a turn or a message, each once.
    #[must_use]
    pub fn end_ids(&self) -> Vec<u32> {
        vocabulary::ends(self)
    }

    /// The parts of the tokenizer, for [`Tokenizer::from_vocabulary`](clinical_tokenizer::Tokenizer::from_vocabulary).
    ///
    /// # Errors
    ///
    /// [`Error::GgufMetadata`] for a part that is missing or has the wrong type or length.
    pub fn vocabulary(&self) -> Result<Vocabulary, Error> {
        vocabulary::read(self)
    }

    /// The tensors under their published names; their files are the numbers of [`Self::parts`].
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, Error> {
        let architecture = Architecture::of(self)?;
        let mut entries = Vec::with_capacity(self.tensors.len());
        for (name, tensor) in &self.tensors {
            let Some(published) = architecture.published(name) else {
                continue;
            };
            let place = match architecture.permuted_heads(self, &published)? {
                None => Place::Range {
                    start: tensor.start,
                    end: tensor.end,
                },
                Some(heads) => self.turn_back(name, tensor, heads)?,
            };
            let (turned, mut shape) = (architecture.is_turned(&published), tensor.shape.clone());
            if turned {
                shape.reverse();
            }
            entries.push(Entry {
                info: TensorInfo {
                    name: published,
                    dtype: tensor.dtype,
                    shape,
                    bytes: (tensor.end - tensor.start) as u64,
                    file: tensor.part,
                },
                place,
                turned,
            });
        }
        Ok(entries)
    }

    /// llama.cpp turns neighbouring rows of a head, Hugging Face the rows of its halves, so the converter puts row
    /// `half * d/2 + i` of each head at `2 i + half`. This is where each published row is.
    fn turn_back(&self, name: &str, tensor: &Tensor, heads: usize) -> Result<Place, Error> {
        let rows = tensor.shape.first().copied().unwrap_or(0);
        if heads == 0 || rows == 0 || !rows.is_multiple_of(2 * heads) {
            return Err(Error::TensorBytesOf {
                path: self.path.clone(),
                name: shown(name),
                detail: format!("{rows} rows cannot be split into {heads} heads"),
            });
        }
        let row = (tensor.end - tensor.start) / rows;
        let half = rows / heads / 2;
        let starts = (0..rows).map(|published| {
            let (head, place) = (published / (2 * half), published % (2 * half));
            tensor.start + (head * 2 * half + 2 * (place % half) + place / half) * row
        });
        Ok(Place::Pieces {
            starts: starts.collect(),
            length: row,
            total: tensor.end - tensor.start,
        })
    }

    /// A small f32 tensor, under its name in the file.
    fn small_f32(&self, name: &str) -> Option<Vec<f32>> {
        let tensor = self.tensors.get(name).filter(|t| t.dtype == Dtype::F32)?;
        let bytes = self
            .parts
            .get(tensor.part)?
            .bytes
            .get(tensor.start..tensor.end)?;
        Some(
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect(),
        )
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The rows of a matrix, under its name in the file.
    fn rows(&self, name: &str) -> Result<usize, Error> {
        let tensor = self.tensors.get(name).filter(|t| t.shape.len() == 2);
        tensor
            .map(|tensor| tensor.shape[0])
            .ok_or_else(|| Error::Gguf {
                path: self.path.clone(),
                detail: format!("it has no matrix {name}"),
            })
    }
}

impl fmt::Debug for Gguf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("path", &self.path)
            .field("keys", &self.values.len())
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}
