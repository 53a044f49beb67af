//! SentencePiece models: reading, encoding and decoding, equal to the SentencePiece library 0.2.3.

mod bpe;
mod charsmap;
mod decode;
mod model;
mod normalizer;
mod proto;
pub(crate) mod slow;
mod unigram;
mod write;

pub(crate) use decode::PieceDecoder;
pub(crate) fn check_charsmap(blob: &[u8]) -> Result<()> {
    charsmap::Charsmap::from_bytes(blob).map(|_| ())
}

pub use model::{Piece, PieceKind, SentencePieceKind, SentencePieceModel};
pub use slow::{Family, SentencePieceOptions};

use crate::error::Result;
use bpe::Bpe;
use normalizer::{Matcher, Normalized, normalize};
use unigram::Unigram;

/// One token of a text: its id and the bytes of the text that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) id: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

#[derive(Debug, Clone)]
enum Search {
    Unigram(Unigram),
    Bpe(Bpe),
}

/// A model with its search structures.
#[derive(Debug, Clone)]
pub(crate) struct Processor {
    pub(crate) model: SentencePieceModel,
    matcher: Matcher,
    search: Search,
    byte_ids: Option<Box<[u32; 256]>>,
}

/// A piece of a text as SentencePiece names it: the normalized text for an unknown stretch, else the piece itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'t> {
    pub(crate) id: u32,
    /// The surface, which the slow tokenizers look up again by name.
    pub(crate) surface: &'t str,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// Memory that is used again from one stretch of text to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    normalized: Normalized,
    pieces: Vec<(u32, u32)>,
}

impl Processor {
    pub(crate) fn new(model: SentencePieceModel) -> Self {
        let search = match model.kind {
            SentencePieceKind::Unigram => Search::Unigram(Unigram::new(&model)),
            SentencePieceKind::Bpe => Search::Bpe(Bpe::new(&model)),
        };
        let byte_ids = model.byte_fallback.then(|| {
            let mut ids = Box::new([model.unk; 256]);
            for (byte, id) in ids.iter_mut().enumerate() {
                *id = model.id(&format!("<0x{byte:02X}>")).unwrap_or(model.unk);
            }
            ids
        });
        Self {
            matcher: Matcher::new(&model),
            search,
            model,
            byte_ids,
        }
    }

    /// Encodes one text and hands over its pieces in order.
    pub(crate) fn encode(
        &self,
        text: &str,
        add_dummy_prefix: bool,
        scratch: &mut Scratch,
        mut each: impl FnMut(Found<'_>),
    ) -> Result<()> {
        normalize(
            &self.model,
            &self.matcher,
            text,
            add_dummy_prefix,
            &mut scratch.normalized,
        )?;
        let normalized = &scratch.normalized;
        let text = normalized.text.as_str();
        scratch.pieces.clear();
        match &self.search {
            Search::Unigram(unigram) => unigram.encode(text, &mut scratch.pieces),
            Search::Bpe(bpe) => bpe.encode(&self.matcher, text, &mut scratch.pieces),
        }
        let mut from = 0;
        let mut pieces = scratch.pieces.iter().peekable();
        while let Some(&(id, mut end)) = pieces.next() {
            let unknown = id == self.model.unk;
            if unknown && let Some(ids) = &self.byte_ids {
                // Every byte token stands for the whole character.
                let (start, end_of) = normalized.original(from, end as usize);
                for byte in text[from..end as usize].bytes() {
                    let surface = &self.model.pieces[ids[usize::from(byte)] as usize].text;
                    each(Found {
                        id: ids[usize::from(byte)],
                        surface,
                        start,
                        end: end_of,
                    });
                }
            } else {
                // Neighbouring unknown characters are one unknown piece.
                while unknown
                    && let Some(&&(_, next)) = pieces.peek().filter(|(id, _)| *id == self.model.unk)
                {
                    end = next;
                    pieces.next();
                }
                let (start, end_of) = normalized.original(from, end as usize);
                each(Found {
                    id,
                    surface: &text[from..end as usize],
                    start,
                    end: end_of,
                });
            }
            from = end as usize;
        }
        Ok(())
    }
}
