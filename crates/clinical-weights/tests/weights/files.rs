//! Files made by hand: safetensors, PyTorch zip archives, and directories around them.

use std::io::{Cursor, Write};
use std::path::Path;

use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A directory with the given files.
pub fn directory(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

/// The files of one of the fixtures, in a directory that may be spoiled.
pub fn copy_of(fixture: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

/// A safetensors file with this header and this many bytes of values.
pub fn safetensors(header: &str, values: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + values, 0);
    bytes
}

/// A zip archive as `torch.save` writes it, with this pickle and these storages.
pub fn torch_zip(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut add = |name: &str, content: &[u8]| {
        zip.start_file(name, stored).unwrap();
        zip.write_all(content).unwrap();
    };
    add("archive/data.pkl", pickle);
    add("archive/byteorder", b"little");
    for (key, content) in storages {
        add(&format!("archive/data/{key}"), content);
    }
    add("archive/version", b"3\n");
    zip.finish().unwrap().into_inner()
}

/// `{"w": tensor}` with one float storage of `numel` elements under key 0, and whatever offset, size and stride.
pub fn tensor_pickle(numel: u32, offset: i32, size: i32, stride: i32) -> Vec<u8> {
    let int = |value: i32| [&b"J"[..], &value.to_le_bytes()].concat();
    [
        &b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu"[..],
        &int(numel as i32),
        b"tQ",
        &int(offset),
        &int(size),
        b"\x85",
        &int(stride),
        b"\x85\x89ccollections\nOrderedDict\n)RtRs.",
    ]
    .concat()
}
