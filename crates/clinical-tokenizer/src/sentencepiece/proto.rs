//! Reads the protocol buffers of a SentencePiece model file, and nothing else of that format.
//!
//! Field numbers are those of `sentencepiece_model.proto`. Every length is checked against the bytes that are there
//! before anything is taken for it; unknown fields are skipped; groups (never written by SentencePiece) are refused.

use crate::error::{Error, Result};

/// A message that is read field by field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    bytes: &'a [u8],
    /// Offset of `bytes` in the file, for error messages.
    base: usize,
    at: usize,
}

/// The value of one field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 5: four bytes.
    Fixed32(u32),
    /// Wire type 2: bytes, text or a message.
    Bytes(&'a [u8], usize),
    /// Wire type 1: eight bytes, which no field of interest uses.
    Fixed64,
}

impl<'a> Message<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            base: 0,
            at: 0,
        }
    }

    fn offset(&self) -> usize {
        self.base + self.at
    }

    fn varint(&mut self) -> Result<u64> {
        let start = self.offset();
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(Error::ModelTruncated { offset: start });
            };
            self.at += 1;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::ModelWire {
            offset: start,
            what: "a number has more than 64 bits",
        })
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let start = self.at;
        let end = usize::try_from(count)
            .ok()
            .and_then(|n| start.checked_add(n))
            .filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            return Err(Error::ModelTruncated {
                offset: self.offset(),
            });
        };
        self.at = end;
        Ok(&self.bytes[start..end])
    }

    /// The next field: its number and value. `None` at the end of the message.
    pub(crate) fn next_field(&mut self) -> Result<Option<(u64, Value<'a>)>> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let start = self.offset();
        let key = self.varint()?;
        let (number, wire) = (key >> 3, key & 7);
        if number == 0 || number > 0x1fff_ffff {
            return Err(Error::ModelWire {
                offset: start,
                what: "a field has no valid number",
            });
        }
        let value = match wire {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = self.varint()?;
                let offset = self.offset();
                Value::Bytes(self.take(length)?, offset)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed32(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            }
            _ => {
                return Err(Error::ModelWire {
                    offset: start,
                    what: "a field has a wire type that is not used",
                });
            }
        };
        Ok(Some((number, value)))
    }
}

impl<'a> Value<'a> {
    fn wrong(what: &'static str) -> Error {
        Error::ModelWire { offset: 0, what }
    }

    pub(crate) fn message(self) -> Result<Message<'a>> {
        match self {
            Self::Bytes(bytes, base) => Ok(Message { bytes, base, at: 0 }),
            _ => Err(Self::wrong("a part that must be a message is a number")),
        }
    }

    pub(crate) fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes, _) => Ok(bytes),
            _ => Err(Self::wrong("a part that must be text is a number")),
        }
    }

    pub(crate) fn flag(self) -> Result<bool> {
        self.number().map(|n| n != 0)
    }

    pub(crate) fn number(self) -> Result<u64> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(Self::wrong("a part that must be a number is not one")),
        }
    }

    /// A signed 32-bit number, which protocol buffers write with sign extension.
    pub(crate) fn int32(self) -> Result<i32> {
        self.number().map(|n| n as u32 as i32)
    }

    pub(crate) fn float(self) -> Result<f32> {
        match self {
            Self::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => Err(Self::wrong("a score is not a 32-bit float")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<usize> {
        let mut message = Message::new(bytes);
        let mut count = 0;
        while message.next_field()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_length_beyond_the_end_takes_no_memory() {
        // Field 1, length-delimited, four gigabytes long.
        assert!(matches!(
            fields(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            Err(Error::ModelTruncated { .. })
        ));
        assert!(matches!(
            fields(&[
                0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01
            ]),
            Err(Error::ModelTruncated { .. })
        ));
    }

    #[test]
    fn a_number_without_end_is_refused() {
        assert!(matches!(
            fields(&[
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01
            ]),
            Err(Error::ModelWire { .. })
        ));
        assert!(matches!(
            fields(&[
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02
            ]),
            Err(Error::ModelWire { .. })
        ));
        assert_eq!(
            fields(&[
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01
            ])
            .unwrap(),
            1
        );
        assert!(matches!(
            fields(&[0x08, 0x80]),
            Err(Error::ModelTruncated { .. })
        ));
    }

    #[test]
    fn groups_and_field_zero_are_refused() {
        assert!(matches!(fields(&[0x0b]), Err(Error::ModelWire { .. })));
        assert!(matches!(
            fields(&[0x00, 0x00]),
            Err(Error::ModelWire { .. })
        ));
    }

    #[test]
    fn every_wire_type_is_skipped() {
        let bytes = [
            0x08, 0x01, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0x1a, 0x02, b'h', b'i', 0x25, 0, 0, 0x80,
            0x3f,
        ];
        assert_eq!(fields(&bytes).unwrap(), 4);
    }
}
