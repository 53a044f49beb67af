//! A SentencePiece model: its pieces and its switches, read from a `.model` file or put together by a caller.

use std::collections::HashMap;

use super::charsmap::Charsmap;
use super::proto::{Message, Value};
use crate::error::{Error, Result};
use crate::limits::{MAX_PIECE_BYTES, MAX_VOCABULARY};

/// How a model cuts text into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SentencePieceKind {
    /// The most probable segmentation (T5).
    Unigram,
    /// Merges in the order of their scores (LLaMA, Mistral v0.1 to v0.3).
    Bpe,
}

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PieceKind {
    /// A piece of text.
    Normal,
    /// Stands for what no other piece covers (`<unk>`).
    Unknown,
    /// Never found in text (`<s>`, `</s>`, `<pad>`).
    Control,
    /// Always one token, wherever it stands in the text.
    UserDefined,
    /// In the vocabulary, but not to be used.
    Unused,
    /// One byte, `<0x00>` to `<0xFF>`.
    Byte,
}

/// One entry of the vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Its text, with `▁` for a blank.
    pub text: String,
    /// Its score: a log probability (unigram) or minus the rank of its merge (BPE).
    pub score: f32,
    /// What it is for.
    pub kind: PieceKind,
}

/// A SentencePiece model. See [`SentencePieceModel::from_bytes`].
#[derive(Debug, Clone)]
pub struct SentencePieceModel {
    pub(crate) kind: SentencePieceKind,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) unk: u32,
    pub(crate) control: [Option<u32>; 3],
    pub(crate) byte_fallback: bool,
    pub(crate) add_dummy_prefix: bool,
    pub(crate) remove_extra_whitespaces: bool,
    pub(crate) escape_whitespaces: bool,
    pub(crate) whitespace_suffix: bool,
    pub(crate) unk_surface: String,
    pub(crate) charsmap: Option<Charsmap>,
    /// Control, unknown and byte pieces of a unigram model are found by name before all others.
    reserved: HashMap<String, u32>,
    normal: HashMap<String, u32>,
}

/// The switches of the trainer and normalizer specification, with the defaults of the format.
struct Spec {
    kind: u64,
    byte_fallback: bool,
    whitespace_suffix: bool,
    ids: [i32; 3],
    unk_surface: Option<String>,
    charsmap: Vec<u8>,
    add_dummy_prefix: bool,
    remove_extra_whitespaces: bool,
    escape_whitespaces: bool,
}

impl SentencePieceModel {
    /// Reads a `.model` file (`tokenizer.model`, `spiece.model`).
    ///
    /// # Errors
    ///
    /// One of the `Model…`, piece and charsmap errors, for each rule of the format and of the SentencePiece library
    /// (0.2.3) that the file breaks.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut spec = Spec {
            kind: 1,
            byte_fallback: false,
            whitespace_suffix: false,
            ids: [1, 2, -1],
            unk_surface: None,
            charsmap: Vec::new(),
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        };
        let (mut pieces, mut trainer, mut normalizer) = (Vec::new(), false, false);
        let mut message = Message::new(bytes);
        while let Some((number, value)) = message.next_field()? {
            match number {
                1 => {
                    if pieces.len() == MAX_VOCABULARY {
                        return Err(Error::VocabularySize {
                            found: MAX_VOCABULARY + 1,
                            limit: MAX_VOCABULARY,
                        });
                    }
                    pieces.push(read_piece(value, pieces.len())?);
                }
                2 => {
                    trainer = true;
                    spec.read_trainer(value.message()?)?;
                }
                3 => {
                    normalizer = true;
                    spec.read_normalizer(value.message()?)?;
                }
                5 => {
                    let mut denormalizer = value.message()?;
                    while let Some((number, value)) = denormalizer.next_field()? {
                        if number == 2 && !value.bytes()?.is_empty() {
                            return Err(Error::Denormalizer);
                        }
                    }
                }
                _ => {}
            }
        }
        if pieces.is_empty() {
            return Err(Error::ModelPart { part: "pieces" });
        }
        // Without these two a file that was cut off between two parts would pass for a whole one.
        if !trainer {
            return Err(Error::ModelPart {
                part: "trainer specification",
            });
        }
        if !normalizer {
            return Err(Error::ModelPart {
                part: "normalizer specification",
            });
        }
        let kind = match spec.kind {
            1 => SentencePieceKind::Unigram,
            2 => SentencePieceKind::Bpe,
            3 => {
                return Err(Error::ModelType {
                    kind: "word".into(),
                });
            }
            4 => {
                return Err(Error::ModelType {
                    kind: "char".into(),
                });
            }
            other => {
                return Err(Error::ModelType {
                    kind: other.to_string(),
                });
            }
        };
        let mut model = Self::from_pieces(kind, pieces, spec.byte_fallback)?;
        model.add_dummy_prefix = spec.add_dummy_prefix;
        model.remove_extra_whitespaces = spec.remove_extra_whitespaces;
        model.escape_whitespaces = spec.escape_whitespaces;
        model.whitespace_suffix = spec.whitespace_suffix;
        model.unk_surface = spec.unk_surface.unwrap_or_else(|| UNK_SURFACE.to_owned());
        if !spec.charsmap.is_empty() {
            model.charsmap = Some(Charsmap::from_bytes(&spec.charsmap)?);
        }
        for (slot, id) in model.control.iter_mut().zip(spec.ids) {
            let piece = usize::try_from(id).ok().and_then(|id| model.pieces.get(id));
            *slot = piece
                .filter(|piece| piece.kind == PieceKind::Control)
                .map(|_| id as u32);
        }
        Ok(model)
    }

    /// Puts a model together from its pieces, for vocabularies that come in another container (GGUF).
    ///
    /// The switches are those of LLaMA: a blank before the text, nothing rewritten, no blanks removed.
    ///
    /// # Errors
    ///
    /// The same piece errors as [`SentencePieceModel::from_bytes`].
    pub fn from_pieces(
        kind: SentencePieceKind,
        mut pieces: Vec<Piece>,
        byte_fallback: bool,
    ) -> Result<Self> {
        if pieces.is_empty() || pieces.len() > MAX_VOCABULARY {
            return Err(Error::VocabularySize {
                found: pieces.len(),
                limit: MAX_VOCABULARY,
            });
        }
        let (mut reserved, mut normal) = (HashMap::new(), HashMap::with_capacity(pieces.len()));
        let (mut unknown, mut bytes_seen) = (Vec::new(), [false; 256]);
        for (index, piece) in pieces.iter_mut().enumerate() {
            if byte_fallback && piece.text == "\0" {
                // Some converters write a raw NUL beside `<0x00>`; SentencePiece ignores it.
                piece.kind = PieceKind::Unused;
                continue;
            }
            check_piece(piece, index)?;
            match piece.kind {
                PieceKind::Unknown => unknown.push(index),
                PieceKind::Byte => {
                    if !byte_fallback {
                        return Err(Error::BytePiece {
                            index,
                            what: "the model has no byte fallback",
                        });
                    }
                    let Some(byte) = byte_of(&piece.text) else {
                        return Err(Error::BytePiece {
                            index,
                            what: "its text is not of the form <0xNN>",
                        });
                    };
                    bytes_seen[usize::from(byte)] = true;
                }
                _ => {}
            }
            let apart = kind == SentencePieceKind::Unigram && is_reserved(piece.kind);
            let names = if apart { &mut reserved } else { &mut normal };
            if let Some(first) = names.insert(piece.text.clone(), index as u32) {
                return Err(Error::DuplicatePiece {
                    first: first as usize,
                    second: index,
                });
            }
        }
        if unknown.len() != 1 {
            return Err(Error::UnknownPieces {
                found: unknown.len(),
            });
        }
        let found = bytes_seen.iter().filter(|&&seen| seen).count();
        if byte_fallback && found != 256 {
            return Err(Error::MissingBytePieces { found });
        }
        if pieces.iter().all(|piece| is_reserved(piece.kind)) {
            return Err(Error::ModelPart {
                part: "pieces of text",
            });
        }
        let mut model = Self {
            kind,
            pieces,
            unk: unknown[0] as u32,
            control: [None; 3],
            byte_fallback,
            add_dummy_prefix: true,
            remove_extra_whitespaces: false,
            escape_whitespaces: true,
            whitespace_suffix: false,
            unk_surface: UNK_SURFACE.to_owned(),
            charsmap: None,
            reserved,
            normal,
        };
        for (slot, name) in ["<s>", "</s>", "<pad>"].iter().enumerate() {
            let id = model
                .id(name)
                .filter(|&id| model.pieces[id as usize].kind == PieceKind::Control);
            model.control[slot] = id;
        }
        Ok(model)
    }

    /// Sets the normalizer: whether a blank is put before the text, whether extra blanks are removed, and the rules
    /// (`precompiled_charsmap`, empty for none).
    ///
    /// # Errors
    ///
    /// [`Error::Charsmap`] for damaged rules.
    pub fn with_normalizer(
        mut self,
        add_dummy_prefix: bool,
        remove_extra_whitespaces: bool,
        charsmap: &[u8],
    ) -> Result<Self> {
        self.add_dummy_prefix = add_dummy_prefix;
        self.remove_extra_whitespaces = remove_extra_whitespaces;
        self.charsmap = if charsmap.is_empty() {
            None
        } else {
            Some(Charsmap::from_bytes(charsmap)?)
        };
        Ok(self)
    }

    /// How the model cuts text.
    pub fn kind(&self) -> SentencePieceKind {
        self.kind
    }

    /// The vocabulary; the index is the id.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Id of the unknown piece.
    pub fn unk(&self) -> u32 {
        self.unk
    }

    /// Id of the control piece that begins a text, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.control[0]
    }

    /// Id of the control piece that ends a text, if the model has one.
    pub fn eos(&self) -> Option<u32> {
        self.control[1]
    }

    /// Id of the control piece for padding, if the model has one.
    pub fn pad(&self) -> Option<u32> {
        self.control[2]
    }

    /// Id of a piece by its text.
    pub fn id(&self, text: &str) -> Option<u32> {
        self.reserved
            .get(text)
            .or_else(|| self.normal.get(text))
            .copied()
    }
}

const UNK_SURFACE: &str = " \u{2047} ";

/// Pieces that are never found in text.
pub(crate) fn is_reserved(kind: PieceKind) -> bool {
    matches!(
        kind,
        PieceKind::Unknown | PieceKind::Control | PieceKind::Byte
    )
}

/// The byte of `<0xNN>`, in the spelling that SentencePiece writes.
pub(crate) fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let upper = |c: char| c.is_ascii_digit() || ('A'..='F').contains(&c);
    (digits.len() == 2 && digits.chars().all(upper)).then(|| u8::from_str_radix(digits, 16).ok())?
}

fn check_piece(piece: &Piece, index: usize) -> Result<()> {
    if piece.text.is_empty() {
        return Err(Error::EmptyPiece { index });
    }
    if piece.text.len() > MAX_PIECE_BYTES {
        return Err(Error::PieceTooLong {
            index,
            bytes: piece.text.len(),
            limit: MAX_PIECE_BYTES,
        });
    }
    if piece.text.contains('\0') {
        return Err(Error::NulInPiece { index });
    }
    if !piece.score.is_finite() {
        return Err(Error::Score { index });
    }
    Ok(())
}

fn read_piece(value: Value<'_>, index: usize) -> Result<Piece> {
    let mut message = value.message()?;
    let (mut text, mut score, mut kind) = (&[][..], 0.0, 1);
    while let Some((number, value)) = message.next_field()? {
        match number {
            1 => text = value.bytes()?,
            2 => score = value.float()?,
            3 => kind = value.number()?,
            _ => {}
        }
    }
    if text.len() > MAX_PIECE_BYTES {
        return Err(Error::PieceTooLong {
            index,
            bytes: text.len(),
            limit: MAX_PIECE_BYTES,
        });
    }
    let text = std::str::from_utf8(text)
        .map_err(|_| Error::PieceUtf8 { index })?
        .to_owned();
    let kind = match kind {
        1 => PieceKind::Normal,
        2 => PieceKind::Unknown,
        3 => PieceKind::Control,
        4 => PieceKind::UserDefined,
        5 => PieceKind::Unused,
        6 => PieceKind::Byte,
        kind => return Err(Error::PieceType { index, kind }),
    };
    Ok(Piece { text, score, kind })
}

impl Spec {
    fn read_trainer(&mut self, mut message: Message<'_>) -> Result<()> {
        while let Some((number, value)) = message.next_field()? {
            match number {
                3 => self.kind = value.number()?,
                24 => self.whitespace_suffix = value.flag()?,
                35 => self.byte_fallback = value.flag()?,
                41 => self.ids[0] = value.int32()?,
                42 => self.ids[1] = value.int32()?,
                43 => self.ids[2] = value.int32()?,
                44 => self.unk_surface = Some(String::from_utf8_lossy(value.bytes()?).into_owned()),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, mut message: Message<'_>) -> Result<()> {
        while let Some((number, value)) = message.next_field()? {
            match number {
                2 => self.charsmap = value.bytes()?.to_vec(),
                3 => self.add_dummy_prefix = value.flag()?,
                4 => self.remove_extra_whitespaces = value.flag()?,
                5 => self.escape_whitespaces = value.flag()?,
                _ => {}
            }
        }
        Ok(())
    }
}
