//! What a table of tensors is made of, whatever the format of its files: what is known of each tensor, where its values
//! are, and how they are read.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::file::read_at;
use crate::{Dtype, Error};
use clinical_files::shown;

/// The format of the files that hold the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A JSON header and plain values; memory-mapped.
    Safetensors,
    /// `torch.save` since 1.6: a zip archive with a pickle.
    TorchZip,
    /// `torch.save` before 1.6: several pickles in a row, then the values.
    TorchLegacy,
    /// The files of llama.cpp: metadata, a table of tensors, values or blocks of quantised values; memory-mapped.
    Gguf,
    /// Flax's `flax_model.msgpack`: nested maps of arrays; memory-mapped.
    Flax,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "PyTorch (zip)",
            Self::TorchLegacy => "PyTorch (before 1.6)",
            Self::Gguf => "GGUF",
            Self::Flax => "Flax",
        })
    }
}

impl serde::Serialize for Format {
    /// As people call it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a checkpoint says about one tensor.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TensorInfo {
    /// Its name in the checkpoint.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its extents, the outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The bytes of its values in the file.
    pub bytes: u64,
    /// Which of [`Checkpoint::files`](crate::Checkpoint::files) holds it.
    pub file: usize,
}

impl TensorInfo {
    /// The number of elements.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|extent| *extent as u64).product()
    }
}

/// One file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct WeightFile {
    /// Its name in the directory; empty for weights in memory.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its format, by its content.
    pub format: Format,
}

/// A tensor and where its values are.
pub(crate) struct Entry {
    pub(crate) info: TensorInfo,
    pub(crate) place: Place,
    /// Whether the file holds the transpose of what [`TensorInfo::shape`] says (a matrix of a Flax `Dense`; one of a GPT-2 in GGUF).
    pub(crate) turned: bool,
}

impl Entry {
    /// The error of a tensor whose type a parameter cannot take.
    pub(crate) fn wrong_dtype(&self, wanted: &'static str) -> Error {
        Error::WrongDtype {
            name: shown(&self.info.name),
            dtype: self.info.dtype,
            wanted,
        }
    }
}

pub(crate) enum Place {
    /// A range of the file.
    Range { start: usize, end: usize },
    /// Several ranges of the file, in order, each but the last of `length` bytes: rows that lie in another order, or an
    /// array that was written in chunks.
    Pieces {
        starts: Vec<usize>,
        length: usize,
        total: usize,
    },
    /// A reader that gathers the values.
    Torch(pytorch_reader::Tensor),
}

/// An open file.
pub(crate) enum Source {
    /// A file as a whole, mapped or in memory, and its handle for reads that should not fill the map.
    Plain {
        bytes: Bytes,
        file: Option<Arc<File>>,
    },
    /// The tensors hold their own handles.
    Torch,
}

/// The values of one tensor, little-endian and contiguous.
pub(crate) enum Values<'a> {
    /// A part of a map or of memory, which can be kept without copying.
    Shared {
        bytes: Bytes,
        file: Option<&'a File>,
        offset: u64,
    },
    /// A copy that was made for the caller.
    Owned(Vec<u8>),
    /// Parts of a map that follow each other in the tensor but not in the file.
    Pieces(Pieces<'a>),
}

/// Parts of a file that make up a tensor; each but the last has `length` bytes.
pub(crate) struct Pieces<'a> {
    pub(crate) bytes: Bytes,
    pub(crate) file: Option<&'a File>,
    pub(crate) starts: &'a [usize],
    pub(crate) length: usize,
    pub(crate) total: usize,
}

/// Where the bytes of a tensor come from.
pub(crate) enum Input<'a> {
    Memory(&'a [u8]),
    File { file: &'a File, offset: u64 },
    Pieces(&'a Pieces<'a>),
}

impl<'a> Input<'a> {
    pub(crate) fn of(values: &'a Values<'_>) -> Self {
        match values {
            Values::Shared {
                file: Some(file),
                offset,
                ..
            } => Self::File {
                file,
                offset: *offset,
            },
            Values::Shared { bytes, .. } => Self::Memory(bytes),
            Values::Owned(bytes) => Self::Memory(bytes),
            Values::Pieces(pieces) => Self::Pieces(pieces),
        }
    }

    /// Some of the bytes.
    pub(crate) fn part<'s>(
        &'s self,
        start: usize,
        length: usize,
        buffer: &'s mut Vec<u8>,
    ) -> io::Result<&'s [u8]> {
        match self {
            Self::Memory(bytes) => bytes
                .get(start..start + length)
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
            Self::File { file, offset } => {
                buffer.resize(length, 0);
                read_at(file, buffer, offset + start as u64)?;
                Ok(buffer)
            }
            Self::Pieces(pieces) => {
                buffer.resize(length, 0);
                pieces.read(start, buffer)?;
                Ok(buffer)
            }
        }
    }
}

impl Pieces<'_> {
    /// Fills `out` from the byte `start` of the tensor on.
    fn read(&self, mut start: usize, mut out: &mut [u8]) -> io::Result<()> {
        if start + out.len() > self.total {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !out.is_empty() {
            let (piece, within) = (start / self.length, start % self.length);
            let count = out.len().min(self.length - within);
            let (part, rest) = out.split_at_mut(count);
            let from = self.starts.get(piece).ok_or(io::ErrorKind::UnexpectedEof)? + within;
            match self.file {
                // Pages of the map stay untouched.
                Some(file) => read_at(file, part, from as u64)?,
                None => part.copy_from_slice(
                    self.bytes
                        .get(from..from + count)
                        .ok_or(io::ErrorKind::UnexpectedEof)?,
                ),
            }
            out = rest;
            start += count;
        }
        Ok(())
    }
}

/// The bytes of a safetensors file in memory: static ones are used in place, others are kept.
#[derive(Debug)]
pub struct WeightBytes(pub(crate) Bytes);

impl From<&'static [u8]> for WeightBytes {
    fn from(bytes: &'static [u8]) -> Self {
        Self(Bytes::from_static(bytes))
    }
}

impl<const N: usize> From<&'static [u8; N]> for WeightBytes {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self(Bytes::from_static(bytes))
    }
}

impl From<Vec<u8>> for WeightBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::from(bytes))
    }
}

impl From<std::borrow::Cow<'static, [u8]>> for WeightBytes {
    fn from(bytes: std::borrow::Cow<'static, [u8]>) -> Self {
        match bytes {
            std::borrow::Cow::Borrowed(bytes) => bytes.into(),
            std::borrow::Cow::Owned(bytes) => bytes.into(),
        }
    }
}
