//! The metadata and the table of tensors of one file, checked against its size.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;

use super::BlockType;
use super::block::unread_type;
use super::reader::{Reader, Value};
use crate::limits::{MAX_GGUF_ALIGNMENT, MAX_GGUF_KEYS, MAX_TENSORS};
use crate::{Dtype, Error};
use clinical_files::shown;

/// Dimensions that GGML knows.
const MAX_DIMENSIONS: u32 = 4;

/// Where tensors begin when the metadata does not say: at multiples of this.
const ALIGNMENT: u64 = 32;

/// The least that a tensor's entry in the table takes: two lengths, one extent, type and offset.
const LEAST_ENTRY: u64 = 32;

/// One entry of the table.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub(super) dtype: Dtype,
    /// The outermost extent first, as everywhere but in the file.
    pub(super) shape: Vec<usize>,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Which of the files it is in.
    pub(super) part: usize,
}

/// What one file says.
pub(super) struct Parsed {
    pub(super) values: BTreeMap<String, Value>,
    pub(super) tensors: BTreeMap<String, Tensor>,
}

impl Parsed {
    pub(super) fn of(path: &Path, bytes: &Bytes, part: usize) -> Result<Self, Error> {
        let mut reader = Reader::new(path, bytes, 0);
        let invalid = |detail: &str| Error::Gguf {
            path: path.to_owned(),
            detail: detail.to_owned(),
        };
        if reader.take(4)? != b"GGUF" {
            return Err(invalid("it does not begin with GGUF"));
        }
        let version = reader.u32()?;
        let unsupported = |format| Error::UnsupportedFormat {
            path: path.to_owned(),
            format,
        };
        match version {
            2 | 3 => {}
            1 => return Err(unsupported("GGUF version 1")),
            0x0200_0000 | 0x0300_0000 => return Err(unsupported("big-endian GGUF")),
            _ => return Err(unsupported("GGUF (unknown version)")),
        }
        let (tensors, keys) = (reader.u64()?, reader.u64()?);
        let values = read_values(path, &mut reader, keys)?;
        let alignment = match values.get("general.alignment") {
            None => ALIGNMENT,
            Some(Value::Uint(alignment)) => *alignment,
            Some(_) => 0,
        };
        if !alignment.is_power_of_two() || alignment > MAX_GGUF_ALIGNMENT {
            return Err(Error::GgufMetadata {
                key: "general.alignment".to_owned(),
                problem: format!("must be a power of two up to {MAX_GGUF_ALIGNMENT}"),
            });
        }
        let tensors = read_tensors(path, &mut reader, tensors, alignment, part)?;
        Ok(Self { values, tensors })
    }
}

fn read_values(
    path: &Path,
    reader: &mut Reader<'_>,
    count: u64,
) -> Result<BTreeMap<String, Value>, Error> {
    if count > MAX_GGUF_KEYS as u64 {
        return Err(Error::TooMany {
            path: path.to_owned(),
            what: "keys of metadata",
            limit: MAX_GGUF_KEYS,
        });
    }
    let mut values = BTreeMap::new();
    for _ in 0..count {
        let key = reader.name()?;
        let value = reader.value(key)?;
        if values.insert(key.to_owned(), value).is_some() {
            return Err(Error::GgufMetadata {
                key: shown(key),
                problem: "is there twice".to_owned(),
            });
        }
    }
    Ok(values)
}

fn read_tensors(
    path: &Path,
    reader: &mut Reader<'_>,
    count: u64,
    alignment: u64,
    part: usize,
) -> Result<BTreeMap<String, Tensor>, Error> {
    if count > MAX_TENSORS as u64 {
        return Err(Error::TooMany {
            path: path.to_owned(),
            what: "tensors",
            limit: MAX_TENSORS,
        });
    }
    let least = count * LEAST_ENTRY;
    if least > reader.rest() as u64 {
        return Err(Error::Truncated {
            path: path.to_owned(),
            expected: reader.position() as u64 + least,
            found: (reader.position() + reader.rest()) as u64,
        });
    }
    let mut listed = Vec::new();
    for _ in 0..count {
        let name = reader.name()?;
        listed.push((name, read_tensor(path, reader, name, alignment)?));
    }
    let file = (reader.position() + reader.rest()) as u64;
    let start = (reader.position() as u64).next_multiple_of(alignment);
    // Each value belongs to one tensor: otherwise a small file could ask for any amount of memory.
    listed.sort_by_key(|(_, entry)| entry.offset);
    let mut end = 0;
    let mut tensors = BTreeMap::new();
    for (name, entry) in listed {
        if entry.offset < end {
            return Err(Error::TensorOffsets {
                path: path.to_owned(),
                name: shown(name),
            });
        }
        let overflow = || Error::SizeOverflow {
            what: path.display().to_string(),
        };
        end = entry.offset.checked_add(entry.bytes).ok_or_else(overflow)?;
        let expected = start.checked_add(end).ok_or_else(overflow)?;
        if expected > file {
            return Err(Error::Truncated {
                path: path.to_owned(),
                expected,
                found: file,
            });
        }
        // Both are within the map, so they are addresses.
        let tensor = Tensor {
            dtype: entry.dtype,
            shape: entry.shape,
            start: (start + entry.offset) as usize,
            end: expected as usize,
            part,
        };
        if tensors.insert(name.to_owned(), tensor).is_some() {
            return Err(Error::IndexDuplicate {
                path: path.to_owned(),
                name: shown(name),
            });
        }
    }
    Ok(tensors)
}

struct Listed {
    dtype: Dtype,
    shape: Vec<usize>,
    offset: u64,
    bytes: u64,
}

fn read_tensor(
    path: &Path,
    reader: &mut Reader<'_>,
    name: &str,
    alignment: u64,
) -> Result<Listed, Error> {
    let overflow = || Error::SizeOverflow {
        what: path.display().to_string(),
    };
    let wrong = |detail: String| Error::TensorBytesOf {
        path: path.to_owned(),
        name: shown(name),
        detail,
    };
    let dimensions = reader.u32()?;
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        return Err(wrong(format!("it has {dimensions} dimensions")));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        shape.push(usize::try_from(reader.u64()?).map_err(|_| overflow())?);
    }
    // An empty tensor could claim any number of rows.
    if shape.contains(&0) {
        return Err(wrong("it has no values".to_owned()));
    }
    let kind = reader.u32()?;
    let offset = reader.u64()?;
    if !offset.is_multiple_of(alignment) {
        return Err(wrong(format!("it is not aligned to {alignment} bytes")));
    }
    let (dtype, values, bytes) = dtype(kind).ok_or_else(|| Error::GgufType {
        name: shown(name),
        kind: unread_type(kind),
    })?;
    // The innermost extent comes first.
    if !shape[0].is_multiple_of(values) {
        return Err(wrong(format!(
            "a row of {} values is no whole number of blocks of {values}",
            shape[0]
        )));
    }
    let elements = shape
        .iter()
        .try_fold(1u64, |product, extent| product.checked_mul(*extent as u64))
        .ok_or_else(overflow)?;
    let bytes = (elements / values as u64)
        .checked_mul(bytes as u64)
        .ok_or_else(overflow)?;
    shape.reverse();
    Ok(Listed {
        dtype,
        shape,
        offset,
        bytes,
    })
}

/// A type by its number, with the values and the bytes of a block.
fn dtype(kind: u32) -> Option<(Dtype, usize, usize)> {
    let block = |block: BlockType| Some((Dtype::Block(block), block.values(), block.bytes()));
    let plain = |dtype: Dtype| Some((dtype, 1, dtype.size()));
    match kind {
        0 => plain(Dtype::F32),
        1 => plain(Dtype::F16),
        2 => block(BlockType::Q4_0),
        3 => block(BlockType::Q4_1),
        6 => block(BlockType::Q5_0),
        7 => block(BlockType::Q5_1),
        8 => block(BlockType::Q8_0),
        10 => block(BlockType::Q2K),
        11 => block(BlockType::Q3K),
        12 => block(BlockType::Q4K),
        13 => block(BlockType::Q5K),
        14 => block(BlockType::Q6K),
        24 => plain(Dtype::I8),
        25 => plain(Dtype::I16),
        26 => plain(Dtype::I32),
        27 => plain(Dtype::I64),
        28 => plain(Dtype::F64),
        30 => plain(Dtype::BF16),
        _ => None,
    }
}
