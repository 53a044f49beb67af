//! Flax's `flax_model.msgpack`: maps of maps whose leaves are arrays, as `flax.serialization.to_bytes` writes them.
//! <https://flax.readthedocs.io/en/latest/api_reference/flax.serialization.html>,
//! <https://github.com/msgpack/msgpack/blob/master/spec.md>.
//!
//! MessagePack is read here and not by the crate `rmp`: values stay in the map, so what is needed of each is its range
//! in the file, checked against the end of the file or of the array it is in. Beside `rmp` the same match over all
//! markers would remain, and its bounds would have to be found again from a cursor.
//!
//! A leaf is MessagePack's extension type 1, which holds `(shape, name of the type, bytes)`; one of more than 1 GiB is
//! a map with the mark `__msgpack_chunked_array__`, a `shape` and `chunks` that are leaves of one dimension.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use crate::file::OpenFile;
use crate::limits::{MAX_FLAX_DEPTH, MAX_NAME_BYTES, MAX_TENSORS};
use crate::table::{Entry, Place, TensorInfo};
use crate::{Dtype, Error};
use clinical_files::shown;

/// The extension type of an array.
const ARRAY: i8 = 1;

/// Marks a map as an array in chunks.
const CHUNKED: &str = "__msgpack_chunked_array__";

/// Most dimensions of an array; no parameter has more than four.
const MAX_DIMENSIONS: u64 = 8;

/// All names together may be this many times as long as the file: a tensor has more bytes than its name.
const MAX_NAMES_PER_FILE: usize = 4;

/// Maps a file and reads its structure.
pub(crate) fn open(file: &OpenFile, index: usize) -> Result<(Vec<Entry>, Bytes), Error> {
    // SAFETY: as for safetensors: the map is read-only, and `Checkpoint` documents that its file must not be changed.
    let map =
        unsafe { Mmap::map(&file.file) }.map_err(|source| Error::unreadable(&file.path, source))?;
    let bytes = Bytes::from_owner(map);
    let entries = entries(&file.path, &bytes, index)?;
    Ok((entries, bytes))
}

fn entries(path: &Path, bytes: &[u8], file: usize) -> Result<Vec<Entry>, Error> {
    let mut reader = Reader { path, bytes, at: 0 };
    let mut found = BTreeMap::new();
    reader.tree(&mut found)?;
    if reader.at != bytes.len() {
        return Err(Error::TrailingBytes {
            path: path.to_owned(),
            extra: (bytes.len() - reader.at) as u64,
        });
    }
    let mut arrays: BTreeMap<String, Array> = BTreeMap::new();
    let mut chunked: BTreeMap<String, Chunked> = BTreeMap::new();
    for (name, leaf) in found {
        match (name.split_once(&format!("/{CHUNKED}")), leaf) {
            (Some((name, _)), Leaf::Mark) => {
                chunked.entry(name.to_owned()).or_default();
            }
            (_, Leaf::Array(array)) => {
                arrays.insert(name, array);
            }
            (_, Leaf::Number(number)) => {
                arrays.insert(
                    name,
                    Array {
                        number: Some(number),
                        ..Array::default()
                    },
                );
            }
            (None, Leaf::Mark) => {}
        }
    }
    for (name, parts) in &mut chunked {
        let own = |part: &str| format!("{name}/{part}/");
        let (shape, chunks) = (own("shape"), own("chunks"));
        for key in below(&arrays, &shape)
            .chain(below(&arrays, &chunks))
            .collect::<Vec<_>>()
        {
            let Some(array) = arrays.remove(&key) else {
                continue;
            };
            let (list, place) = match key.strip_prefix(&shape) {
                Some(place) => (&mut parts.shape, place),
                None => (&mut parts.chunks, &key[chunks.len()..]),
            };
            let place: usize = place
                .parse()
                .map_err(|_| reader.invalid("a chunk has no number"))?;
            list.insert(place, array);
        }
    }
    let mut out = Vec::with_capacity(arrays.len() + chunked.len());
    for (name, array) in arrays {
        if array.number.is_some() {
            continue;
        }
        let place = Place::Range {
            start: array.start,
            end: array.end,
        };
        out.push(entry(
            &reader,
            &name,
            array.shape,
            array.dtype,
            place,
            file,
        )?);
    }
    for (name, parts) in chunked {
        let (shape, dtype, place) = parts.join(&reader)?;
        out.push(entry(&reader, &name, shape, dtype, place, file)?);
    }
    Ok(out)
}

/// The names that begin with `prefix`.
fn below<'a>(
    arrays: &'a BTreeMap<String, Array>,
    prefix: &'a str,
) -> impl Iterator<Item = String> + 'a {
    arrays
        .range(prefix.to_owned()..)
        .map(|(key, _)| key)
        .take_while(move |key| key.starts_with(prefix))
        .cloned()
}

/// A tensor under PyTorch's name: `encoder/block/0/layer/0/SelfAttention/q/kernel` is
/// `encoder.block.0.layer.0.SelfAttention.q.weight`, and a `kernel` of two dimensions is its transpose.
fn entry(
    reader: &Reader<'_>,
    name: &str,
    mut shape: Vec<usize>,
    dtype: Dtype,
    place: Place,
    file: usize,
) -> Result<Entry, Error> {
    let bytes = match &place {
        Place::Range { start, end } => end - start,
        Place::Pieces { total, .. } => *total,
        Place::Torch(_) => 0,
    };
    let expected = shape
        .iter()
        .try_fold(dtype.size(), |product, extent| product.checked_mul(*extent));
    if expected != Some(bytes) {
        return Err(Error::TensorBytesOf {
            path: reader.path.to_owned(),
            name: shown(name),
            detail: format!("{bytes} bytes are not those of {shape:?} values of {dtype}"),
        });
    }
    let (before, last) = name.rsplit_once('/').unwrap_or(("", name));
    let turned = last == "kernel" && shape.len() == 2;
    if turned {
        shape.reverse();
    }
    let last = match last {
        "kernel" | "embedding" | "scale" => "weight",
        other => other,
    };
    let name = match before {
        "" => last.to_owned(),
        before => format!("{}.{last}", before.replace('/', ".")),
    };
    Ok(Entry {
        info: TensorInfo {
            name,
            dtype,
            shape,
            bytes: bytes as u64,
            file,
        },
        place,
        turned,
    })
}

enum Leaf {
    Array(Array),
    Number(u64),
    Mark,
}

#[derive(Debug, Default)]
struct Array {
    shape: Vec<usize>,
    dtype: Dtype,
    start: usize,
    end: usize,
    /// A plain number of the file, as in the shape of an array in chunks.
    number: Option<u64>,
}

#[derive(Default)]
struct Chunked {
    shape: BTreeMap<usize, Array>,
    chunks: BTreeMap<usize, Array>,
}

impl Chunked {
    fn join(self, reader: &Reader<'_>) -> Result<(Vec<usize>, Dtype, Place), Error> {
        let counts = |list: &BTreeMap<usize, Array>| list.keys().copied().eq(0..list.len());
        if !counts(&self.shape) || !counts(&self.chunks) || self.chunks.is_empty() {
            return Err(reader.invalid("an array in chunks lacks one"));
        }
        let shape = self
            .shape
            .into_values()
            .map(|array| usize::try_from(array.number?).ok())
            .collect::<Option<Vec<usize>>>()
            .ok_or_else(|| reader.invalid("an array in chunks has no shape"))?;
        let chunks: Vec<Array> = self.chunks.into_values().collect();
        let (dtype, length) = (chunks[0].dtype, chunks[0].end - chunks[0].start);
        let last = chunks.len() - 1;
        let even = chunks.iter().enumerate().all(|(i, chunk)| {
            let own = chunk.end - chunk.start;
            let fits = if i == last {
                own <= length
            } else {
                own == length
            };
            chunk.dtype == dtype && chunk.shape.len() == 1 && fits && own > 0
        });
        if !even {
            return Err(reader.invalid("the chunks of an array do not fit together"));
        }
        let place = Place::Pieces {
            total: chunks.iter().map(|chunk| chunk.end - chunk.start).sum(),
            starts: chunks.iter().map(|chunk| chunk.start).collect(),
            length,
        };
        Ok((shape, dtype, place))
    }
}

/// What a MessagePack value is, by its first byte.
enum Token {
    Map(u64),
    Array(u64),
    Text(usize, usize),
    Bytes(usize, usize),
    Extension(i8, usize, usize),
    Uint(u64),
    Bool,
    Other,
}

struct Reader<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn invalid(&self, detail: &str) -> Error {
        Error::Flax {
            path: self.path.to_owned(),
            detail: detail.to_owned(),
        }
    }

    fn take(&mut self, count: usize) -> Result<(usize, usize), Error> {
        let start = self.at;
        match start
            .checked_add(count)
            .filter(|end| *end <= self.bytes.len())
        {
            Some(end) => {
                self.at = end;
                Ok((start, end))
            }
            None => Err(Error::Truncated {
                path: self.path.to_owned(),
                expected: (start as u64).saturating_add(count as u64),
                found: self.bytes.len() as u64,
            }),
        }
    }

    /// A big-endian number of `count` bytes.
    fn number(&mut self, count: usize) -> Result<u64, Error> {
        let (start, end) = self.take(count)?;
        let bytes = &self.bytes[start..end];
        Ok(bytes
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn length(&mut self, count: usize) -> Result<usize, Error> {
        // At most 32 bits.
        Ok(self.number(count)? as usize)
    }

    fn token(&mut self) -> Result<Token, Error> {
        let first = self.number(1)? as u8;
        let text = |(start, end)| Token::Text(start, end);
        Ok(match first {
            0x00..=0x7f => Token::Uint(first.into()),
            0x80..=0x8f => Token::Map(u64::from(first & 15)),
            0x90..=0x9f => Token::Array(u64::from(first & 15)),
            0xa0..=0xbf => text(self.take(usize::from(first & 31))?),
            0xc0 => Token::Other,
            0xc2 | 0xc3 => Token::Bool,
            0xc4..=0xc6 => {
                let length = self.length(1 << (first - 0xc4))?;
                let (start, end) = self.take(length)?;
                Token::Bytes(start, end)
            }
            0xc7..=0xc9 => {
                let length = self.length(1 << (first - 0xc7))?;
                self.extension(length)?
            }
            0xca => self.skip(4)?,
            0xcb => self.skip(8)?,
            0xcc..=0xcf => Token::Uint(self.number(1 << (first - 0xcc))?),
            0xd0..=0xd3 => self.skip(1 << (first - 0xd0))?,
            0xd4..=0xd8 => self.extension(1 << (first - 0xd4))?,
            0xd9..=0xdb => {
                let length = self.length(1 << (first - 0xd9))?;
                text(self.take(length)?)
            }
            0xdc | 0xdd => Token::Array(self.number(2 << (first - 0xdc))?),
            0xde | 0xdf => Token::Map(self.number(2 << (first - 0xde))?),
            0xe0..=0xff => Token::Other,
            0xc1 => return Err(self.invalid("it has a byte that no MessagePack file has")),
        })
    }

    fn skip(&mut self, count: usize) -> Result<Token, Error> {
        self.take(count)?;
        Ok(Token::Other)
    }

    fn extension(&mut self, length: usize) -> Result<Token, Error> {
        let kind = self.number(1)? as u8 as i8;
        let (start, end) = self.take(length)?;
        Ok(Token::Extension(kind, start, end))
    }

    fn text(&self, start: usize, end: usize) -> Result<&'a str, Error> {
        std::str::from_utf8(&self.bytes[start..end])
            .map_err(|_| self.invalid("a name is not UTF-8"))
    }

    /// Reads the maps without recursion; leaves are named by the way to them, with slashes.
    fn tree(&mut self, found: &mut BTreeMap<String, Leaf>) -> Result<(), Error> {
        let Token::Map(count) = self.token()? else {
            return Err(self.invalid("it does not begin with a map"));
        };
        // The entries that each open map still has, and how long the name was before it.
        let mut open = vec![(count, 0usize)];
        let mut name = String::new();
        // A long name above many small leaves could take a thousand times the memory of the file.
        let mut names = 0;
        while let Some((left, before)) = open.last_mut() {
            name.truncate(*before);
            if *left == 0 {
                open.pop();
                continue;
            }
            *left -= 1;
            let Token::Text(start, end) = self.token()? else {
                return Err(self.invalid("a key is no text"));
            };
            let key = self.text(start, end)?;
            if name.len() + key.len() > MAX_NAME_BYTES {
                return Err(Error::TooMany {
                    path: self.path.to_owned(),
                    what: "bytes in the name of a tensor",
                    limit: MAX_NAME_BYTES,
                });
            }
            if !name.is_empty() {
                name.push('/');
            }
            name.push_str(key);
            let leaf = match self.token()? {
                Token::Map(count) => {
                    if open.len() == MAX_FLAX_DEPTH {
                        return Err(self.invalid("its maps are nested too deeply"));
                    }
                    open.push((count, name.len()));
                    continue;
                }
                Token::Extension(ARRAY, start, end) => Leaf::Array(self.array(start, end)?),
                // The shape of an array in chunks; a counter elsewhere is no parameter.
                Token::Uint(number) if name[..name.len() - key.len()].ends_with("/shape/") => {
                    Leaf::Number(number)
                }
                Token::Bool if key == CHUNKED => Leaf::Mark,
                Token::Bool | Token::Uint(_) | Token::Other | Token::Extension(..) => continue,
                Token::Array(_) | Token::Text(..) | Token::Bytes(..) => {
                    return Err(self.invalid("a leaf is no array"));
                }
            };
            names += name.len();
            if names > MAX_NAMES_PER_FILE * self.bytes.len() + MAX_NAME_BYTES {
                return Err(self.invalid("its names are longer than all that they name"));
            }
            if found.len() == MAX_TENSORS {
                return Err(Error::TooMany {
                    path: self.path.to_owned(),
                    what: "tensors",
                    limit: MAX_TENSORS,
                });
            }
            if found.insert(name.clone(), leaf).is_some() {
                return Err(Error::IndexDuplicate {
                    path: self.path.to_owned(),
                    name: shown(&name),
                });
            }
        }
        Ok(())
    }

    /// `(shape, name of the type, bytes)` between two offsets.
    fn array(&self, start: usize, end: usize) -> Result<Array, Error> {
        let mut inner = Reader {
            path: self.path,
            bytes: &self.bytes[..end],
            at: start,
        };
        let broken = || self.invalid("an array is not (shape, type, bytes)");
        let Token::Array(3) = inner.token()? else {
            return Err(broken());
        };
        let Token::Array(dimensions @ 0..=MAX_DIMENSIONS) = inner.token()? else {
            return Err(broken());
        };
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let Token::Uint(extent) = inner.token()? else {
                return Err(broken());
            };
            shape.push(usize::try_from(extent).map_err(|_| broken())?);
        }
        let dtype = match inner.token()? {
            // Python 2 wrote names as bytes.
            Token::Text(start, end) | Token::Bytes(start, end) => {
                let name = self.text(start, end)?;
                dtype(name).ok_or_else(|| {
                    self.invalid(&format!("an array has the type {}", shown(name)))
                })?
            }
            _ => return Err(broken()),
        };
        let Token::Bytes(start, end) = inner.token()? else {
            return Err(broken());
        };
        if inner.at != inner.bytes.len() {
            return Err(broken());
        }
        Ok(Array {
            shape,
            dtype,
            start,
            end,
            number: None,
        })
    }
}

/// NumPy's names.
fn dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "float64" => Dtype::F64,
        "float32" => Dtype::F32,
        "float16" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "int64" => Dtype::I64,
        "int32" => Dtype::I32,
        "int16" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint64" => Dtype::U64,
        "uint32" => Dtype::U32,
        "uint16" => Dtype::U16,
        "uint8" => Dtype::U8,
        "bool" => Dtype::Bool,
        _ => return None,
    })
}
