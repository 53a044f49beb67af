//! A model in one GGUF file or in several, as `llama-gguf-split` makes them: `name-00001-of-00003.gguf`, ...
//!
//! The first part holds the metadata, each part a table of its own tensors. `split.no` counts from zero, `split.count`
//! are the parts, `split.tensors.count` the tensors of all.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;

use super::Gguf;
use super::reader::Value;
use super::table::{Parsed, Tensor};
use crate::Error;
use crate::file::OpenFile;
use crate::limits::MAX_TENSORS;
use clinical_files::shown;

/// One open file.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Bytes,
    pub(crate) file: Arc<File>,
}

impl Part {
    pub(crate) fn open(file: OpenFile) -> Result<Self, Error> {
        // SAFETY: the map is read-only and private, and its file must not change while it is in use, as documented on
        // `Gguf` and on `Checkpoint`.
        let map = unsafe { Mmap::map(&file.file) }
            .map_err(|source| Error::unreadable(&file.path, source))?;
        Ok(Self {
            path: file.path,
            bytes: Bytes::from_owner(map),
            file: Arc::new(file.file),
        })
    }

    /// Its name in the directory.
    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

impl Gguf {
    /// Puts the parts together; there is one at least.
    pub(crate) fn open(parts: Vec<Part>) -> Result<Self, Error> {
        let mut metadata = BTreeMap::new();
        let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
        let mut promised = None;
        for (number, part) in parts.iter().enumerate() {
            let parsed = Parsed::of(&part.path, &part.bytes, number)?;
            part.check(&parsed.values, number, parts.len())?;
            promised = promised.max(split(&parsed.values, "tensors.count"));
            if number == 0 {
                metadata = parsed.values;
            }
            if tensors.len() + parsed.tensors.len() > MAX_TENSORS {
                return Err(Error::TooMany {
                    path: part.path.clone(),
                    what: "tensors",
                    limit: MAX_TENSORS,
                });
            }
            for (name, tensor) in parsed.tensors {
                if let Some(first) = tensors.get(&name) {
                    return Err(Error::TensorTwice {
                        name: shown(&name),
                        first: shown(&parts[first.part].name()),
                        second: shown(&part.name()),
                    });
                }
                tensors.insert(name, tensor);
            }
        }
        let Some(first) = parts.first() else {
            return Err(Error::Gguf {
                path: PathBuf::new(),
                detail: "there is none".to_owned(),
            });
        };
        if promised.is_some_and(|count| count != tensors.len() as u64) {
            return Err(first.wrong(format!(
                "the parts hold {} tensors of {}",
                tensors.len(),
                promised.unwrap_or(0)
            )));
        }
        Ok(Self {
            path: first.path.clone(),
            bytes: first.bytes.clone(),
            values: metadata,
            tensors,
            parts,
        })
    }

    /// The files, in the order in which tensors count them.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl Part {
    /// Whether the file says of itself what its name says.
    fn check(
        &self,
        values: &BTreeMap<String, Value>,
        number: usize,
        count: usize,
    ) -> Result<(), Error> {
        match split(values, "count") {
            None | Some(0 | 1) if count == 1 => Ok(()),
            Some(parts) if parts != count as u64 && count == 1 => Err(self.wrong(format!(
                "it is one of {parts}, and its name does not say which"
            ))),
            Some(parts) if parts == count as u64 => match split(values, "no") {
                Some(no) if no == number as u64 => Ok(()),
                Some(no) => Err(self.wrong(format!(
                    "it says that it is number {}",
                    no.saturating_add(1)
                ))),
                None => Err(self.wrong("it does not say which part it is".to_owned())),
            },
            Some(parts) => Err(self.wrong(format!("it says that there are {parts} parts"))),
            None => Err(self.wrong("it does not say that it is a part".to_owned())),
        }
    }

    fn wrong(&self, problem: String) -> Error {
        Error::GgufPart {
            path: self.path.clone(),
            problem,
        }
    }
}

/// A number of the split; one that is negative counts as too large.
fn split(values: &BTreeMap<String, Value>, key: &str) -> Option<u64> {
    match values.get(&format!("split.{key}"))? {
        Value::Uint(value) => Some(*value),
        Value::Int(value) => Some(u64::try_from(*value).unwrap_or(u64::MAX)),
        _ => Some(u64::MAX),
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// What the name of one of several parts says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartName<'a> {
    prefix: &'a str,
    /// The number of parts, in digits.
    count: &'a str,
    pub(crate) parts: usize,
}

impl<'a> PartName<'a> {
    /// `prefix-00002-of-00003.gguf`; one part of one is a whole model.
    pub(crate) fn of(name: &'a str) -> Option<Self> {
        let (left, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (prefix, number) = left.rsplit_once('-')?;
        let digits = |text: &str| -> Option<usize> {
            let plain = text.len() == count.len() && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse().ok())?
        };
        let (number, parts) = (digits(number)?, digits(count)?);
        (parts > 1 && (1..=parts).contains(&number)).then_some(Self {
            prefix,
            count,
            parts,
        })
    }

    /// What to call the parts together.
    pub(crate) fn together(self) -> String {
        format!("{}-*-of-{}.gguf", self.prefix, self.count)
    }

    /// The names of all parts, in their order.
    pub(crate) fn all(self) -> impl Iterator<Item = String> {
        let Self { prefix, count, .. } = self;
        let width = count.len();
        (1..=self.parts).map(move |number| format!("{prefix}-{number:0width$}-of-{count}.gguf"))
    }
}

#[cfg(test)]
mod tests {
    use super::PartName;

    #[test]
    fn parts_by_their_names() {
        let name = PartName::of("a-7b-q8-00002-of-00003.gguf").unwrap();
        assert_eq!(
            name.all().collect::<Vec<_>>(),
            [
                "a-7b-q8-00001-of-00003.gguf",
                "a-7b-q8-00002-of-00003.gguf",
                "a-7b-q8-00003-of-00003.gguf"
            ]
        );
        assert_eq!(name.together(), "a-7b-q8-*-of-00003.gguf");
        for other in [
            "a.gguf",
            "a-00001-of-00001.gguf",
            "a-00000-of-00002.gguf",
            "a-00003-of-00002.gguf",
            "a-1-of-00002.gguf",
            "a-+0001-of-00002.gguf",
            "00001-of-00002.gguf",
            "a-99999999999999999999-of-99999999999999999999.gguf",
        ] {
            assert_eq!(PartName::of(other), None, "{other}");
        }
    }
}
