//! Whether files are those that a study began with. No protection against intent.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

/// FNV-1a of 64 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checksum(u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Checksum {
    /// Adds bytes and their number, so that two texts are not one longer text.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.bytes(bytes);
        self.bytes(&(bytes.len() as u64).to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(crate) fn value(self) -> String {
        format!("{:016x}", self.0)
    }
}

/// The checksum of the files of a model, by name and content; folders in its directory do not count.
pub(crate) fn of_model(path: &Path) -> Result<String> {
    let mut files = Vec::new();
    match path.is_dir() {
        false => files.push(path.to_owned()),
        true => {
            for entry in fs::read_dir(path).map_err(Error::read(path))? {
                let entry = entry.map_err(Error::read(path))?.path();
                if entry.is_file() {
                    files.push(entry);
                }
            }
        }
    }
    files.sort();
    let mut sum = Checksum::default();
    let mut buffer = vec![0; 1 << 20];
    for path in files {
        let name = path.file_name().unwrap_or_default();
        sum.add(name.as_encoded_bytes());
        let mut file = File::open(&path).map_err(Error::read(&path))?;
        loop {
            let count = file.read(&mut buffer).map_err(Error::read(&path))?;
            if count == 0 {
                break;
            }
            sum.bytes(&buffer[..count]);
        }
    }
    Ok(sum.value())
}
