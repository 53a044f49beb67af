//! Opened weights: a table of tensors over one or more files, whose values are read when they are asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::file::{Content, OpenFile, Root, head};
use crate::index::Index;
use crate::limits::{MAX_NAME_BYTES, MAX_TENSORS, MAX_VALUES_PER_BYTE};
use crate::table::{
    Entry, Format, Input, Pieces, Place, Source, TensorInfo, Values, WeightBytes, WeightFile,
};
use crate::{Error, Gguf, LoadOptions, Precision, flax, safetensors_file, torch_file};
use clinical_files::shown;

/// Opened weights.
///
/// Headers have been read and checked against the files; values are read tensor by tensor when a model is loaded.
/// Safetensors files are memory-mapped: they must not be changed or cut while the checkpoint, or a model that was
/// loaded from it without a copy, is in use. (Replacing a file by renaming another one over it is safe.)
pub struct Checkpoint {
    pub(crate) tensors: BTreeMap<String, Entry>,
    files: Vec<WeightFile>,
    sources: Vec<Source>,
    chosen: String,
    others: Vec<String>,
    notes: Vec<String>,
}

impl Checkpoint {
    /// Opens weights that are in memory as a safetensors file: an embedded model, for example.
    ///
    /// ```
    /// # fn main() -> Result<(), clinical_weights::Error> {
    /// let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  "#;
    /// let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    /// bytes.extend(header.as_bytes());
    /// bytes.extend([1.0f32, -2.0].into_iter().flat_map(f32::to_le_bytes));
    /// let checkpoint = clinical_weights::Checkpoint::from_bytes(bytes)?;
    /// assert_eq!(checkpoint.tensor("w").unwrap().shape, [2]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Everything that can be wrong with a safetensors file; the path in messages is `embedded weights`.
    pub fn from_bytes(bytes: impl Into<WeightBytes>) -> Result<Self, Error> {
        let WeightBytes(bytes) = bytes.into();
        let path = Path::new("embedded weights");
        if bytes.is_empty() {
            return Err(Error::EmptyFile {
                path: path.to_owned(),
            });
        }
        let entries = safetensors_file::entries(path, &bytes, 0)?;
        let mut checkpoint = Self::new("embedded weights".to_owned(), Vec::new());
        checkpoint.files.push(WeightFile {
            name: String::new(),
            bytes: bytes.len() as u64,
            format: Format::Safetensors,
        });
        checkpoint.sources.push(Source::Plain { bytes, file: None });
        checkpoint.add(entries, None)?;
        Ok(checkpoint)
    }

    pub(crate) fn single(root: &Root, name: &str, others: Vec<String>) -> Result<Self, Error> {
        let mut checkpoint = Self::new(name.to_owned(), others);
        let entries = checkpoint.open(root, name)?;
        checkpoint.add(entries, None)?;
        Ok(checkpoint)
    }

    /// A GGUF file or all parts of one.
    pub(crate) fn gguf(file: &Gguf, chosen: &str, others: Vec<String>) -> Result<Self, Error> {
        let mut checkpoint = Self::new(chosen.to_owned(), others);
        for part in file.parts() {
            checkpoint.files.push(WeightFile {
                name: part.name(),
                bytes: part.bytes.len() as u64,
                format: Format::Gguf,
            });
            checkpoint.sources.push(Source::Plain {
                bytes: part.bytes.clone(),
                file: Some(part.file.clone()),
            });
        }
        checkpoint.add(file.entries()?, None)?;
        Ok(checkpoint)
    }

    pub(crate) fn indexed(root: &Root, name: &str, others: Vec<String>) -> Result<Self, Error> {
        let index = Index::read(root, name)?;
        let mut checkpoint = Self::new(name.to_owned(), others);
        for shard in &index.shards {
            let entries = checkpoint
                .open(root, shard)
                .map_err(|error| missing(error, root, shard))?;
            checkpoint.add(entries, Some(&index))?;
        }
        checkpoint.compare_with(&index)?;
        Ok(checkpoint)
    }

    pub(crate) fn shards(
        root: &Root,
        names: &[String],
        chosen: &str,
        others: Vec<String>,
    ) -> Result<Self, Error> {
        let mut checkpoint = Self::new(chosen.to_owned(), others);
        checkpoint
            .notes
            .push("the shards have no index; they were put together by their names".to_owned());
        for name in names {
            let entries = checkpoint
                .open(root, name)
                .map_err(|error| missing(error, root, name))?;
            checkpoint.add(entries, None)?;
        }
        Ok(checkpoint)
    }

    fn new(chosen: String, others: Vec<String>) -> Self {
        Self {
            tensors: BTreeMap::new(),
            files: Vec::new(),
            sources: Vec::new(),
            chosen,
            others,
            notes: Vec::new(),
        }
    }

    /// Opens one file by what it holds, whatever its name says.
    fn open(&mut self, root: &Root, name: &str) -> Result<Vec<Entry>, Error> {
        let file = root.open_file(name)?;
        let is_safetensors = name.ends_with(".safetensors");
        let expected = if is_safetensors {
            "safetensors weights"
        } else {
            "PyTorch weights"
        };
        let content = Content::of(&head(&file)?);
        let index = self.files.len();
        if name.ends_with(".msgpack") && !matches!(content, Content::Lfs | Content::Page) {
            let (entries, bytes) = flax::open(&file, index)?;
            let source = Source::Plain { bytes, file: None };
            return Ok(self.keep(name, file, entries, source, Format::Flax));
        }
        if let Some(error) = content.refuse(&file.path, expected) {
            return Err(error);
        }
        let (entries, source, format) = match content {
            Content::TorchZip => (
                torch_file::entries(&file, content, index)?,
                Source::Torch,
                Format::TorchZip,
            ),
            Content::TorchLegacy => (
                torch_file::entries(&file, content, index)?,
                Source::Torch,
                Format::TorchLegacy,
            ),
            Content::Pickle if !is_safetensors => (
                torch_file::entries(&file, content, index)?,
                Source::Torch,
                Format::TorchLegacy,
            ),
            Content::Safetensors => {
                let (entries, source) = safetensors_file::open(&file, index)?;
                (entries, source, Format::Safetensors)
            }
            // Too damaged to be recognised: the reader of what the name says tells what is wrong.
            _ if is_safetensors => {
                let (entries, source) = safetensors_file::open(&file, index)?;
                (entries, source, Format::Safetensors)
            }
            _ => {
                return Err(Error::WrongContent {
                    path: file.path,
                    expected,
                    found: "something unknown",
                });
            }
        };
        if is_safetensors != (format == Format::Safetensors) {
            self.notes
                .push(format!("{} holds {format} data", shown(name)));
        }
        Ok(self.keep(name, file, entries, source, format))
    }

    fn keep(
        &mut self,
        name: &str,
        file: OpenFile,
        entries: Vec<Entry>,
        source: Source,
        format: Format,
    ) -> Vec<Entry> {
        self.files.push(WeightFile {
            name: name.to_owned(),
            bytes: file.bytes,
            format,
        });
        self.sources.push(match source {
            Source::Plain { bytes, .. } => Source::Plain {
                bytes,
                file: Some(Arc::new(file.file)),
            },
            Source::Torch => Source::Torch,
        });
        entries
    }

    /// Adds the tensors of one file. Where a name is taken already, the index decides.
    fn add(&mut self, entries: Vec<Entry>, index: Option<&Index>) -> Result<(), Error> {
        if self.tensors.len() + entries.len() > MAX_TENSORS {
            return Err(Error::TooMany {
                path: self.chosen.clone().into(),
                what: "tensors",
                limit: MAX_TENSORS,
            });
        }
        for entry in entries {
            let name = &entry.info.name;
            if name.len() > MAX_NAME_BYTES {
                return Err(Error::TooMany {
                    path: self.chosen.clone().into(),
                    what: "bytes in the name of a tensor",
                    limit: MAX_NAME_BYTES,
                });
            }
            let Some(first) = self.tensors.get(name) else {
                self.tensors.insert(name.clone(), entry);
                continue;
            };
            let (first, second) = (
                &self.files[first.info.file].name,
                &self.files[entry.info.file].name,
            );
            match index.and_then(|index| index.tensors.get(name)) {
                Some(file) if file == first => self.notes.push(format!(
                    "{} is also in {}; the index says {}",
                    shown(name),
                    shown(second),
                    shown(first)
                )),
                Some(file) if file == second => {
                    self.notes.push(format!(
                        "{} is also in {}; the index says {}",
                        shown(name),
                        shown(first),
                        shown(second)
                    ));
                    self.tensors.insert(name.clone(), entry);
                }
                _ => {
                    return Err(Error::TensorTwice {
                        name: shown(name),
                        first: shown(first),
                        second: shown(second),
                    });
                }
            }
        }
        Ok(())
    }

    /// Notes where the index is wrong, and fails if it promises a tensor that no shard holds.
    fn compare_with(&mut self, index: &Index) -> Result<(), Error> {
        let mut moved = 0usize;
        for (name, file) in &index.tensors {
            match self.tensors.get(name) {
                None => {
                    return Err(Error::TensorNotInShards {
                        name: shown(name),
                        file: shown(file),
                    });
                }
                Some(entry) if self.files[entry.info.file].name != *file => moved += 1,
                Some(_) => {}
            }
        }
        let unlisted = self
            .tensors
            .keys()
            .filter(|name| !index.tensors.contains_key(*name))
            .count();
        if moved > 0 {
            self.notes.push(format!(
                "{moved} tensors are in another shard than the index says"
            ));
        }
        if unlisted > 0 {
            self.notes.push(format!(
                "{unlisted} tensors are in the shards but not in the index"
            ));
        }
        Ok(())
    }

    /// All tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.values().map(|entry| &entry.info)
    }

    /// One tensor.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name).map(|entry| &entry.info)
    }

    /// A tensor of this name, whatever prefix it has: `lm_head.weight` also as `state_dict.model.lm_head.weight`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&TensorInfo> {
        self.tensor(name).or_else(|| {
            self.tensors().find(|tensor| {
                let before = tensor.name.strip_suffix(name);
                before.is_some_and(|before| before.ends_with('.'))
            })
        })
    }

    /// The files that hold the weights.
    #[must_use]
    pub fn files(&self) -> &[WeightFile] {
        &self.files
    }

    /// The file name by which these weights were found: a single file, an index, or a pattern of shards.
    #[must_use]
    pub fn chosen(&self) -> &str {
        &self.chosen
    }

    /// What the directory also has and was not used, in the order of preference.
    #[must_use]
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// What was odd about the files and was put right.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The bytes of all files.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Refuses a model that these files cannot fill, or that is larger than the caller allows, before it is built: a
    /// `config.json` of a few hundred bytes can describe a model of terabytes.
    ///
    /// `parameters` is the number of the model's values. [`load_from`](crate::load_from) compares exactly, each tensor
    /// with its parameter; this is the check that needs no model.
    ///
    /// # Errors
    ///
    /// [`Error::LargerThanFiles`] above [`MAX_VALUES_PER_BYTE`] values for each byte of the files, [`Error::TooLarge`]
    /// above [`LoadOptions::max_bytes`].
    pub fn check_size(&self, parameters: u64, options: &LoadOptions) -> Result<(), Error> {
        // The least that a parameter takes; what is kept in full precision counts when every parameter is known.
        let needed = match options.precision {
            Precision::F32 => parameters.saturating_mul(4),
            Precision::F16 | Precision::BF16 | Precision::StoredF16 | Precision::StoredBF16 => {
                parameters.saturating_mul(2)
            }
            Precision::Int8 => parameters,
            Precision::Int4 => parameters / 2,
        };
        let present = self.file_bytes();
        if parameters > present.saturating_mul(MAX_VALUES_PER_BYTE) {
            return Err(Error::LargerThanFiles { needed, present });
        }
        match options.max_bytes {
            Some(limit) if needed > limit => Err(Error::TooLarge { needed, limit }),
            _ => Ok(()),
        }
    }

    /// The values of a tensor of this checkpoint.
    pub(crate) fn values<'a>(&'a self, entry: &'a Entry) -> io::Result<Values<'a>> {
        match (&entry.place, &self.sources[entry.info.file]) {
            (Place::Torch(tensor), _) => Ok(Values::Owned(tensor.read()?)),
            (Place::Range { start, end }, Source::Plain { bytes, file }) => Ok(Values::Shared {
                bytes: bytes.slice(*start..*end),
                file: file.as_deref(),
                offset: *start as u64,
            }),
            (
                Place::Pieces {
                    starts,
                    length,
                    total,
                },
                Source::Plain { bytes, file },
            ) => Ok(Values::Pieces(Pieces {
                bytes: bytes.clone(),
                file: file.as_deref(),
                starts,
                length: *length,
                total: *total,
            })),
            (Place::Range { .. } | Place::Pieces { .. }, Source::Torch) => {
                Err(io::ErrorKind::InvalidInput.into())
            }
        }
    }

    /// The bytes of a tensor as the file has them, in the order that [`Self::tensor`] says: little-endian values, or
    /// [`BlockType`](crate::BlockType)s row by row. Without a copy where the tensor is one part of a mapped file.
    ///
    /// # Errors
    ///
    /// [`Error::TensorNotInShards`] for a name that is not there, [`Error::ReadTensor`]. A matrix that the file holds
    /// transposed (Flax, GPT-2 in GGUF) is [`Error::WrongDtype`]: its values are only to be had through a load.
    pub fn bytes(&self, name: &str) -> Result<Bytes, Error> {
        let entry = self
            .tensors
            .get(name)
            .ok_or_else(|| Error::TensorNotInShards {
                name: shown(name),
                file: shown(&self.chosen),
            })?;
        if entry.turned {
            return Err(Error::WrongDtype {
                name: shown(name),
                dtype: entry.info.dtype,
                wanted: "values in the order of the shape",
            });
        }
        let read = |source| Error::ReadTensor {
            name: shown(name),
            source,
        };
        match self.values(entry).map_err(read)? {
            Values::Shared { bytes, .. } => Ok(bytes),
            values => {
                let mut copy = Vec::new();
                let total = usize::try_from(entry.info.bytes).unwrap_or(usize::MAX);
                let all = Input::of(&values);
                let part = all.part(0, total, &mut copy).map_err(read)?;
                Ok(Bytes::copy_from_slice(part))
            }
        }
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("chosen", &self.chosen)
            .field("files", &self.files)
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}

/// A shard that is not there has its own message.
pub(crate) fn missing(error: Error, root: &Root, shard: &str) -> Error {
    match error {
        Error::FileMissing { .. } => Error::ShardMissing {
            path: root.path.clone(),
            name: shown(shard),
        },
        other => other,
    }
}
