//! Safetensors: eight bytes of length, a JSON header, the values. <https://github.com/huggingface/safetensors>

use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;
use safetensors::SafeTensorError;
use safetensors::tensor::{Metadata, SafeTensors};

use crate::file::OpenFile;
use crate::limits::{MAX_SAFETENSORS_HEADER, MAX_TENSORS};
use crate::table::{Entry, Place, Source, TensorInfo};
use crate::{Dtype, Error};
use clinical_files::shown;

/// Maps a file and reads its header.
pub(crate) fn open(file: &OpenFile, index: usize) -> Result<(Vec<Entry>, Source), Error> {
    // SAFETY: the map is read-only and private. Its bytes change only if another program writes to the model file while
    // it is in use, which `Checkpoint` documents as forbidden, as every reader that maps files does.
    let map =
        unsafe { Mmap::map(&file.file) }.map_err(|source| Error::unreadable(&file.path, source))?;
    let bytes = Bytes::from_owner(map);
    let entries = entries(&file.path, &bytes, index)?;
    Ok((entries, Source::Plain { bytes, file: None }))
}

/// The tensors of a file whose bytes are given.
pub(crate) fn entries(path: &Path, bytes: &[u8], file: usize) -> Result<Vec<Entry>, Error> {
    let found = bytes.len() as u64;
    let truncated = |expected| Error::Truncated {
        path: path.to_owned(),
        expected,
        found,
    };
    let Some(length) = bytes.first_chunk().map(|chunk| u64::from_le_bytes(*chunk)) else {
        return Err(truncated(8));
    };
    if length > MAX_SAFETENSORS_HEADER {
        return Err(Error::HeaderTooLarge {
            path: path.to_owned(),
            bytes: length,
            limit: MAX_SAFETENSORS_HEADER,
        });
    }
    if found < 8 + length {
        return Err(truncated(8 + length));
    }
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| match error {
        SafeTensorError::MetadataIncompleteBuffer => incomplete(path, bytes, length),
        error => refuse(path, error),
    })?;
    let start = 8 + header;
    let tensors = metadata.tensors();
    if tensors.len() > MAX_TENSORS {
        return Err(Error::TooMany {
            path: path.to_owned(),
            what: "tensors",
            limit: MAX_TENSORS,
        });
    }
    // `read_metadata` has checked every range against its shape, its neighbours and the end of the file.
    Ok(tensors
        .into_iter()
        .map(|(name, info)| Entry {
            place: Place::Range {
                start: start + info.data_offsets.0,
                end: start + info.data_offsets.1,
            },
            info: TensorInfo {
                name,
                dtype: Dtype::from_safetensors(info.dtype),
                shape: info.shape.clone(),
                bytes: (info.data_offsets.1 - info.data_offsets.0) as u64,
                file,
            },
            turned: false,
        })
        .collect())
}

/// The values do not end where the file ends: tells which of them is longer.
fn incomplete(path: &Path, bytes: &[u8], header: u64) -> Error {
    let values = bytes
        .get(8..8 + header as usize)
        .and_then(|header| serde_json::from_slice::<Metadata>(header).ok())
        .map_or(0, |metadata| metadata.data_len() as u64);
    let found = bytes.len() as u64;
    let expected = (8 + header).saturating_add(values);
    if found < expected {
        Error::Truncated {
            path: path.to_owned(),
            expected,
            found,
        }
    } else {
        Error::TrailingBytes {
            path: path.to_owned(),
            extra: found - expected,
        }
    }
}

fn refuse(path: &Path, error: SafeTensorError) -> Error {
    let path = path.to_owned();
    match error {
        SafeTensorError::InvalidOffset(name) => Error::TensorOffsets {
            path,
            name: shown(&name),
        },
        SafeTensorError::TensorInvalidInfo | SafeTensorError::MisalignedSlice => {
            Error::TensorBytes { path }
        }
        SafeTensorError::ValidationOverflow => Error::SizeOverflow {
            what: path.display().to_string(),
        },
        error => Error::Header {
            path,
            detail: shown(&error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, values: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + values, 0);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Entry>, Error> {
        entries(Path::new("model.safetensors"), bytes, 0)
    }

    fn tensor(dtype: &str, shape: &str, from: u64, to: u64) -> String {
        format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    }

    #[test]
    fn a_good_file_is_read() {
        let header = format!(
            r#"{{"__metadata__":{{"format":"pt"}},"a":{},"b":{}}}"#,
            tensor("F32", "[2,3]", 0, 24),
            tensor("BF16", "[]", 24, 26)
        );
        let mut entries = read(&file(&header, 26)).unwrap();
        entries.sort_by(|a, b| a.info.name.cmp(&b.info.name));
        assert_eq!(entries[0].info.shape, [2, 3]);
        assert_eq!(
            (entries[1].info.dtype, entries[1].info.bytes),
            (Dtype::BF16, 2)
        );
    }

    #[test]
    fn each_rule_has_its_error() {
        let one = |dtype, shape, from, to| format!(r#"{{"a":{}}}"#, tensor(dtype, shape, from, to));
        let good = file(&one("F32", "[2]", 0, 8), 8);

        assert!(matches!(
            read(&good[..7]),
            Err(Error::Truncated { expected: 8, .. })
        ));
        assert!(matches!(read(&good[..30]), Err(Error::Truncated { .. })));
        assert!(matches!(
            read(&good[..good.len() - 1]),
            Err(Error::Truncated { .. })
        ));
        assert!(matches!(
            read(&file(&one("F32", "[2]", 0, 8), 9)),
            Err(Error::TrailingBytes { extra: 1, .. })
        ));

        let mut huge = good.clone();
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(read(&huge), Err(Error::HeaderTooLarge { .. })));

        assert!(matches!(
            read(&file("{\"a\":", 0)),
            Err(Error::Header { .. })
        ));
        let mut latin = good.clone();
        latin[10] = 0xff;
        assert!(matches!(read(&latin), Err(Error::Header { .. })));
        assert!(matches!(
            read(&file(&one("Q7", "[2]", 0, 8), 8)),
            Err(Error::Header { .. })
        ));
        assert!(matches!(
            read(&file(&one("F32", "[-2]", 0, 8), 8)),
            Err(Error::Header { .. })
        ));

        // Overlap, gap, backwards.
        let two = |b: String| format!(r#"{{"a":{},"b":{b}}}"#, tensor("F32", "[2]", 0, 8));
        for b in [
            tensor("F32", "[2]", 4, 12),
            tensor("F32", "[2]", 12, 20),
            tensor("F32", "[2]", 8, 4),
        ] {
            assert!(matches!(
                read(&file(&two(b), 16)),
                Err(Error::TensorOffsets { .. })
            ));
        }
        assert!(matches!(
            read(&file(&one("F32", "[3]", 0, 8), 8)),
            Err(Error::TensorBytes { .. })
        ));
        assert!(matches!(
            read(&file(&one("F32", "[4294967296,4294967296]", 0, 8), 8)),
            Err(Error::SizeOverflow { .. })
        ));
    }
}
