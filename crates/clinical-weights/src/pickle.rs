//! A look through the pickles of a PyTorch file before anything interprets them.
//!
//! A pickle is a program: `GLOBAL` names any Python function and `REDUCE` calls it. Weights need a dozen names. This
//! walks over the opcodes without building anything and refuses a file that names another one. `pytorch-reader`, which
//! interprets the pickle afterwards, runs no code either; this makes the refusal explicit and tells the user.
//! Opcodes: `Lib/pickletools.py` of CPython.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};

use zip::{CompressionMethod, ZipArchive};

use crate::Error;
use crate::file::{Content, OpenFile};
use crate::limits::MAX_PICKLE_BYTES;
use clinical_files::shown;

/// Longest module or function name; the allowed ones are below 40 bytes.
const MAX_GLOBAL: usize = 256;

/// Most memo entries, far above what a state dict of [`MAX_TENSORS`](crate::limits::MAX_TENSORS) needs.
const MAX_MEMO: usize = 10_000_000;

/// Why a pickle was refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It names something that weights do not need.
    Forbidden(String),
    /// It is not a complete pickle.
    Damaged(String),
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("it ends too early".to_owned()),
            io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            _ => Self::Io(error),
        }
    }
}

impl Refusal {
    fn into_error(self, path: std::path::PathBuf) -> Error {
        match self {
            Self::Forbidden(global) => Error::ForbiddenPickle { path, global },
            Self::Damaged(detail) => Error::TorchPickle { path, detail },
            Self::Io(source) => Error::Unreadable { path, source },
        }
    }
}

/// Whether state dicts need this name. The list is that of `torch.load(weights_only=True)`, cut to what tensors need.
fn allowed(module: &str, name: &str) -> bool {
    match module {
        "collections" => name == "OrderedDict",
        "torch" => {
            matches!(name, "Tensor" | "Size" | "device")
                || name.strip_suffix("Storage").is_some_and(|element| {
                    [
                        "Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char",
                        "Byte", "Bool", "UInt64", "UInt32", "UInt16", "Untyped",
                    ]
                    .contains(&element)
                })
                || [
                    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8",
                    "uint8", "bool",
                ]
                .contains(&name)
        }
        "torch._utils" => matches!(
            name,
            "_rebuild_tensor"
                | "_rebuild_tensor_v2"
                | "_rebuild_tensor_v3"
                | "_rebuild_parameter"
                | "_rebuild_parameter_with_state"
        ),
        "torch._tensor" => name == "_rebuild_from_type_v2",
        "torch.nn.parameter" => name == "Parameter",
        "torch.storage" => matches!(name, "UntypedStorage" | "TypedStorage"),
        "torch.serialization" => name == "_get_layout",
        "builtins" | "__builtin__" => matches!(name, "set" | "frozenset"),
        "_codecs" => name == "encode",
        _ => false,
    }
}

/// Walks through every pickle of a torch file of the given kind.
pub(crate) fn check(file: &OpenFile, content: Content) -> Result<(), Error> {
    let result = match content {
        Content::TorchZip => return check_zip(file),
        // Magic number, protocol version, system information, the state dict, the list of storages.
        Content::TorchLegacy => check_stream(file, 5),
        _ => check_stream(file, 1),
    };
    result.map_err(|refusal| refusal.into_error(file.path.clone()))
}

fn check_stream(open: &OpenFile, pickles: usize) -> Result<(), Refusal> {
    let mut file = open.file.try_clone()?;
    io::Seek::rewind(&mut file)?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut left = instructions(open.bytes);
    (0..pickles).try_for_each(|_| check_pickle(&mut reader, &mut left))
}

fn check_zip(file: &OpenFile) -> Result<(), Error> {
    let archive_error = |detail: String| Error::TorchArchive {
        path: file.path.clone(),
        detail,
    };
    let mut handle = file
        .file
        .try_clone()
        .map_err(|source| Error::unreadable(&file.path, source))?;
    io::Seek::rewind(&mut handle).map_err(|source| Error::unreadable(&file.path, source))?;
    let mut archive = ZipArchive::new(BufReader::new(handle))
        .map_err(|error| archive_error(shown(&error.to_string())))?;
    // What is stored as it is cannot be larger than the file; what is compressed could be a thousand times larger.
    for entry in 0..archive.len() {
        let entry = archive
            .by_index_raw(entry)
            .map_err(|error| archive_error(shown(&error.to_string())))?;
        if entry.compression() != CompressionMethod::Stored {
            return Err(archive_error(
                "its entries are compressed, which torch.save never does".to_owned(),
            ));
        }
    }
    // The reader takes one of them; which one must not matter.
    let names: Vec<String> = archive
        .file_names()
        .filter_map(Result::ok)
        .filter(|name| name == "data.pkl" || name.ends_with("/data.pkl"))
        .map(Into::into)
        .collect();
    if names.is_empty() {
        return Err(archive_error("it has no data.pkl".to_owned()));
    }
    let mut left = instructions(file.bytes);
    for name in names {
        let entry = archive
            .by_name(&name)
            .map_err(|error| archive_error(shown(&error.to_string())))?;
        if entry.size() > MAX_PICKLE_BYTES {
            return Err(Error::FileTooLarge {
                path: file.path.clone(),
                bytes: entry.size(),
                limit: MAX_PICKLE_BYTES,
            });
        }
        let mut reader = BufReader::with_capacity(1 << 16, entry.take(MAX_PICKLE_BYTES));
        check_pickle(&mut reader, &mut left)
            .map_err(|refusal| refusal.into_error(file.path.clone()))?;
    }
    Ok(())
}

/// How many instructions the pickles of a file may have.
///
/// One byte of a pickle can make a value of 170 bytes in memory. A tensor takes about 35 instructions; with its name,
/// its numbers and its place in the archive that is one for ten bytes, beside its values.
fn instructions(bytes: u64) -> u64 {
    4096 + bytes / 8
}

/// Walks through one pickle, up to and including its `STOP`; counts its instructions down.
pub(crate) fn check_pickle(reader: &mut impl Read, left: &mut u64) -> Result<(), Refusal> {
    let mut walk = Walk {
        reader,
        top: [None, None],
        memo: HashMap::new(),
    };
    while walk.step()? {
        *left = left.checked_sub(1).ok_or_else(|| {
            Refusal::Damaged(
                "it has far more instructions than tensors of its size need".to_owned(),
            )
        })?;
    }
    Ok(())
}

struct Walk<'a, R> {
    reader: &'a mut R,
    /// The two values on top of the stack, the topmost last, where they are known to be strings. Anything that is
    /// not plainly a string makes both unknown, and an unknown name is refused.
    top: [Option<String>; 2],
    /// The strings of the memo; `None` for other values.
    memo: HashMap<u32, Option<String>>,
}

impl<R: Read> Walk<'_, R> {
    /// One opcode. False after `STOP`.
    fn step(&mut self) -> Result<bool, Refusal> {
        let [opcode] = self.bytes()?;
        match opcode {
            b'.' => return Ok(false),
            // PROTO, FRAME
            0x80 => self.skip(1)?,
            0x95 => self.skip(8)?,
            // Strings: BINUNICODE, SHORT_BINUNICODE, BINUNICODE8, BINSTRING, SHORT_BINSTRING, UNICODE
            b'X' => self.string_of(4)?,
            0x8c => self.string_of(1)?,
            0x8d => self.string_of(8)?,
            b'T' => self.string_of(4)?,
            b'U' => self.string_of(1)?,
            b'V' => {
                let line = self.line()?;
                self.push(line);
            }
            // The memo: PUT, BINPUT, LONG_BINPUT, MEMOIZE
            b'p' => {
                let index = self.number()?;
                self.store(index)?;
            }
            b'q' => {
                let [index] = self.bytes()?;
                self.store(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.bytes()?);
                self.store(index)?;
            }
            0x94 => {
                let index = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
                self.store(index)?;
            }
            // GET, BINGET, LONG_BINGET
            b'g' => {
                let index = self.number()?;
                self.fetch(index);
            }
            b'h' => {
                let [index] = self.bytes()?;
                self.fetch(index.into());
            }
            b'j' => {
                let index = u32::from_le_bytes(self.bytes()?);
                self.fetch(index);
            }
            // GLOBAL and INST name a function in two lines, STACK_GLOBAL takes it from the stack.
            b'c' | b'i' => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(module, name)?;
            }
            0x93 => {
                let [module, name] = std::mem::take(&mut self.top);
                self.global(module, name)?;
            }
            // EXT1, EXT2, EXT4 name a function by a number that only the writing program knows.
            0x82..=0x84 => return Err(Refusal::Forbidden("a registered extension".to_owned())),
            _ => {
                self.top = [None, None];
                match opcode {
                    // INT, LONG, FLOAT, STRING, PERSID: one line
                    b'I' | b'L' | b'F' | b'S' | b'P' => {
                        self.line()?;
                    }
                    // BININT1, BININT2, BININT, BINFLOAT
                    b'K' => self.skip(1)?,
                    b'M' => self.skip(2)?,
                    b'J' => self.skip(4)?,
                    b'G' => self.skip(8)?,
                    // LONG1, LONG4, BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8: a length and that many bytes
                    0x8a | b'C' => self.skip_block(1)?,
                    0x8b | b'B' => self.skip_block(4)?,
                    0x8e | 0x96 => self.skip_block(8)?,
                    // No argument
                    b'('
                    | b'0'
                    | b'1'
                    | b'2'
                    | b'N'
                    | b'R'
                    | b'b'
                    | b'd'
                    | b'l'
                    | b't'
                    | b's'
                    | b'a'
                    | b')'
                    | b']'
                    | b'}'
                    | b'e'
                    | b'u'
                    | b'Q'
                    | 0x81
                    | 0x85..=0x89
                    | 0x8f..=0x92
                    | 0x97
                    | 0x98 => {}
                    _ => {
                        return Err(Refusal::Damaged(format!(
                            "0x{opcode:02x} is no pickle opcode"
                        )));
                    }
                }
            }
        }
        Ok(true)
    }

    fn global(&mut self, module: Option<String>, name: Option<String>) -> Result<(), Refusal> {
        self.top = [None, None];
        match (module, name) {
            (Some(module), Some(name)) if allowed(&module, &name) => Ok(()),
            (Some(module), Some(name)) => {
                Err(Refusal::Forbidden(shown(&format!("{module}.{name}"))))
            }
            _ => Err(Refusal::Forbidden(
                "a function it does not name plainly".to_owned(),
            )),
        }
    }

    fn push(&mut self, value: Option<String>) {
        self.top.swap(0, 1);
        self.top[1] = value;
    }

    fn store(&mut self, index: u32) -> Result<(), Refusal> {
        if self.memo.len() >= MAX_MEMO {
            return Err(Refusal::Damaged(format!(
                "its memo has more than {MAX_MEMO} entries"
            )));
        }
        self.memo.insert(index, self.top[1].clone());
        Ok(())
    }

    fn fetch(&mut self, index: u32) {
        let value = self.memo.get(&index).cloned().flatten();
        self.push(value);
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let mut buffer = [0; N];
        self.reader.read_exact(&mut buffer)?;
        Ok(buffer)
    }

    /// A little-endian length of `width` bytes.
    fn length(&mut self, width: usize) -> Result<u64, Refusal> {
        let mut buffer = [0; 8];
        self.reader.read_exact(&mut buffer[..width])?;
        Ok(u64::from_le_bytes(buffer))
    }

    /// Passes over bytes without taking memory for a length that the file merely declares.
    fn skip(&mut self, count: u64) -> Result<(), Refusal> {
        let skipped = io::copy(&mut self.reader.by_ref().take(count), &mut io::sink())?;
        if skipped < count {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    fn skip_block(&mut self, width: usize) -> Result<(), Refusal> {
        let length = self.length(width)?;
        self.skip(length)
    }

    /// A string with a length prefix; one too long to be a name counts as unknown.
    fn string_of(&mut self, width: usize) -> Result<(), Refusal> {
        let length = self.length(width)?;
        let value = if length <= MAX_GLOBAL as u64 {
            let mut buffer = vec![0; length as usize];
            self.reader.read_exact(&mut buffer)?;
            String::from_utf8(buffer).ok()
        } else {
            self.skip(length)?;
            None
        };
        self.push(value);
        Ok(())
    }

    /// The rest of a line; one too long to be a name counts as unknown.
    fn line(&mut self) -> Result<Option<String>, Refusal> {
        let mut buffer = Vec::new();
        let mut too_long = false;
        loop {
            match self.bytes()? {
                [b'\n'] => break,
                [byte] if buffer.len() < MAX_GLOBAL => buffer.push(byte),
                _ => too_long = true,
            }
        }
        Ok(String::from_utf8(buffer).ok().filter(|_| !too_long))
    }

    fn number(&mut self) -> Result<u32, Refusal> {
        self.line()?
            .and_then(|line| line.trim().parse().ok())
            .ok_or_else(|| Refusal::Damaged("a memo index is no number".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pickle: &[u8]) -> Result<(), Refusal> {
        check_pickle(&mut &pickle[..], &mut 10_000)
    }

    #[test]
    fn a_state_dict_passes() {
        let pickle = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x01\0\0\0wq\x02ctorch._utils\n_rebuild_tensor_v2\nq\x03((X\x07\0\0\0storageq\x04ctorch\nFloatStorage\nq\x05X\x01\0\0\x000q\x06X\x03\0\0\0cpuq\x07K\x04tq\x08QK\0K\x02K\x02\x86q\x09K\x02K\x01\x86q\x0a\x89h\0)Rq\x0btq\x0cRq\x0ds.";
        check(pickle).unwrap();
        // Protocol 4: SHORT_BINUNICODE, MEMOIZE, SHORT_BINUNICODE, MEMOIZE, STACK_GLOBAL
        check(b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94.").unwrap();
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for (pickle, name) in [
            (
                &b"\x80\x02cposix\nsystem\nX\x02\0\0\0id\x85R."[..],
                "posix.system",
            ),
            (b"(ios\nsystem\n.", "os.system"),
            (
                b"\x80\x04\x8c\x08builtins\x94\x8c\x04eval\x94\x93.",
                "builtins.eval",
            ),
            // The names come from the memo.
            (
                b"\x80\x04\x8c\x02os\x940\x8c\x06system\x940h\0h\x01\x93.",
                "os.system",
            ),
            (b"\x80\x02c__main__\nModel\n)\x81.", "__main__.Model"),
            (b"\x80\x02ctorch\nStorage\n.", "torch.Storage"),
            (b"\x80\x02\x82\x01.", "a registered extension"),
        ] {
            match check(pickle) {
                Err(Refusal::Forbidden(found)) => assert_eq!(found, name),
                other => panic!("{pickle:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_disguised_name_is_refused() {
        for pickle in [
            // os, system, then two innocent strings that are popped again.
            &b"\x80\x04\x8c\x02os\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93."[..],
            // A memo entry that holds something else than a string.
            b"\x80\x04K\x01\x94\x8c\x0bcollectionsh\0\x93.",
            b"\x80\x04\x93.",
        ] {
            assert!(
                matches!(check(pickle), Err(Refusal::Forbidden(_))),
                "{pickle:?}"
            );
        }
    }

    #[test]
    fn declared_lengths_take_no_memory_and_truncation_is_noticed() {
        for pickle in [
            &b"\x80\x02X\xff\xff\xff\xff"[..],
            b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\x80\x02cposix",
            b"",
            b"\x80\x02\xff.",
            b"gx\n.",
        ] {
            assert!(
                matches!(check(pickle), Err(Refusal::Damaged(_))),
                "{pickle:?}"
            );
        }
    }
}
