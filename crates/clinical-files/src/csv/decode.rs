//! The bytes of a file as UTF-8.

use std::io::{self, ErrorKind, Read};

use encoding_rs::{Decoder, DecoderResult, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, mem};

use super::Encoding;

/// Bytes that are read at a time.
const INPUT_BYTES: usize = 64 << 10;

/// A byte that no UTF-8 has: it marks the position of a broken character, so that its row is refused and not the file.
const BROKEN: u8 = 0xff;

/// A reader of UTF-8 over one of any encoding.
pub(super) enum Utf8<R> {
    /// Unchanged, right or wrong.
    AsItIs(R),
    Decoded(Box<Decoded<R>>),
}

impl<R> Utf8<R> {
    pub(super) fn new(source: R, encoding: Encoding) -> Self {
        let method = match encoding {
            Encoding::Utf8 => return Self::AsItIs(source),
            Encoding::Latin1 => Method::Latin1,
            Encoding::Utf8Lossy => Method::Replaced(UTF_8.new_decoder_without_bom_handling()),
            Encoding::Windows1252 => {
                Method::Replaced(WINDOWS_1252.new_decoder_without_bom_handling())
            }
            Encoding::Utf16Le => Method::Marked(UTF_16LE.new_decoder_without_bom_handling()),
            Encoding::Utf16Be => Method::Marked(UTF_16BE.new_decoder_without_bom_handling()),
        };
        Self::Decoded(Box::new(Decoded {
            source,
            method,
            input: vec![0; INPUT_BYTES],
            output: Vec::new(),
            given: 0,
            read: 0,
            ended: false,
        }))
    }

    /// Bytes of the source that were read, where they differ from those that are given.
    pub(super) fn source_bytes(&self) -> Option<u64> {
        match self {
            Self::AsItIs(_) => None,
            Self::Decoded(decoded) => Some(decoded.read),
        }
    }
}

impl<R: Read> Read for Utf8<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::AsItIs(source) => source.read(buffer),
            Self::Decoded(decoded) => decoded.read(buffer),
        }
    }
}

enum Method {
    Latin1,
    /// What is broken becomes `U+FFFD`.
    Replaced(Decoder),
    /// What is broken becomes [`BROKEN`].
    Marked(Decoder),
}

pub(super) struct Decoded<R> {
    source: R,
    method: Method,
    input: Vec<u8>,
    output: Vec<u8>,
    /// How much of `output` the caller has.
    given: usize,
    read: u64,
    ended: bool,
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.output.len() && !self.ended {
            let read = match self.source.read(&mut self.input) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read?,
            };
            self.read += read as u64;
            self.ended = read == 0;
            self.given = 0;
            self.output.clear();
            self.method
                .decode(&self.input[..read], self.ended, &mut self.output);
        }
        let left = &self.output[self.given..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.given += count;
        Ok(count)
    }
}

impl Method {
    fn decode(&mut self, input: &[u8], last: bool, output: &mut Vec<u8>) {
        match self {
            Self::Latin1 => {
                output.resize(input.len() * 2, 0);
                let written = mem::convert_latin1_to_utf8(input, output);
                output.truncate(written);
            }
            Self::Replaced(decoder) => {
                let most = decoder.max_utf8_buffer_length(input.len());
                output.resize(most.unwrap_or(input.len() * 3 + 16), 0);
                let (_, _, written, _) = decoder.decode_to_utf8(input, output, last);
                output.truncate(written);
            }
            Self::Marked(decoder) => marked(decoder, input, last, output),
        }
    }
}

fn marked(decoder: &mut Decoder, mut input: &[u8], last: bool, output: &mut Vec<u8>) {
    loop {
        let start = output.len();
        let most = decoder.max_utf8_buffer_length_without_replacement(input.len());
        output.resize(start + most.unwrap_or(input.len() * 3 + 16), 0);
        let (result, read, written) =
            decoder.decode_to_utf8_without_replacement(input, &mut output[start..], last);
        output.truncate(start + written);
        input = &input[read..];
        match result {
            DecoderResult::InputEmpty => return,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => output.push(BROKEN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads few bytes at a time, so that characters are cut.
    struct Slow<'b>(&'b [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(buffer.len());
            self.0.read(&mut buffer[..most])
        }
    }

    fn decoded(bytes: &[u8], encoding: Encoding) -> Vec<u8> {
        let results = [1, 2, 3, 7, 1 << 20].map(|step| {
            let mut out = Vec::new();
            let mut reader = Utf8::new(Slow(bytes, step), encoding);
            reader.read_to_end(&mut out).unwrap();
            if encoding != Encoding::Utf8 {
                assert_eq!(reader.source_bytes(), Some(bytes.len() as u64));
            }
            out
        });
        assert!(results.iter().all(|result| *result == results[0]));
        results[0].clone()
    }

    #[test]
    fn every_encoding_becomes_utf8() {
        let text = "é“€”\u{1f600}";
        let utf16 =
            |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
        assert_eq!(decoded(text.as_bytes(), Encoding::Utf8), text.as_bytes());
        assert_eq!(
            decoded(&utf16(u16::to_le_bytes), Encoding::Utf16Le),
            text.as_bytes()
        );
        assert_eq!(
            decoded(&utf16(u16::to_be_bytes), Encoding::Utf16Be),
            text.as_bytes()
        );
        let bytes = b"\xe9 \x93\x80\x94";
        assert_eq!(decoded(bytes, Encoding::Windows1252), "é “€”".as_bytes());
        assert_eq!(
            decoded(bytes, Encoding::Latin1),
            "é \u{93}\u{80}\u{94}".as_bytes()
        );
        assert_eq!(decoded(bytes, Encoding::Utf8), bytes);
    }

    #[test]
    fn broken_characters_are_marked_or_replaced() {
        assert_eq!(
            decoded(b"a\x80\xc3\xa9\xc3", Encoding::Utf8Lossy),
            "a\u{fffd}é\u{fffd}".as_bytes()
        );
        // Half a pair, and half a unit at the end.
        assert_eq!(decoded(b"\x00\xd8a\x00b", Encoding::Utf16Le), b"\xffa\xff");
    }
}
