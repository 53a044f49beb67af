//! From pieces back to text, piece by piece (`SentencePieceProcessor::Decode` of SentencePiece 0.2.3).

use super::model::{PieceKind, SentencePieceModel, byte_of};

/// Decodes the pieces of one stretch of text as they come.
#[derive(Debug, Clone)]
pub(crate) struct PieceDecoder {
    /// Byte pieces that are not a whole character yet: at most four.
    pending: Vec<u8>,
    /// A blank at the start is still to be removed.
    at_begin: bool,
    begin_seen: bool,
    wrote: bool,
    strip_begin: bool,
}

impl PieceDecoder {
    /// `add_dummy_prefix` says whether encoding puts a blank in front, which is removed here.
    pub(crate) fn new(model: &SentencePieceModel, add_dummy_prefix: bool) -> Self {
        let strip_begin = add_dummy_prefix || model.remove_extra_whitespaces;
        Self {
            pending: Vec::new(),
            at_begin: true,
            begin_seen: false,
            wrote: false,
            strip_begin,
        }
    }

    /// Adds a piece and writes the text that is certain now.
    pub(crate) fn push(&mut self, model: &SentencePieceModel, piece: &str, out: &mut String) {
        let before = out.len();
        let id = model.id(piece).unwrap_or(model.unk);
        let kind = model.pieces[id as usize].kind;
        if kind == PieceKind::Byte
            && let Some(byte) = byte_of(piece)
        {
            self.pending.push(byte);
            self.write_characters(false, out);
            self.wrote |= out.len() > before;
            return;
        }
        self.write_characters(true, out);
        self.wrote |= out.len() > before;
        if self.begin_seen || self.wrote {
            self.at_begin = false;
        }
        self.begin_seen = false;
        match kind {
            PieceKind::Control => {}
            PieceKind::Unknown if model.pieces[id as usize].text == piece => {
                out.push_str(&model.unk_surface)
            }
            PieceKind::Unknown => out.push_str(piece),
            _ => {
                let mut rest = piece;
                if self.at_begin
                    && self.strip_begin
                    && let Some(stripped) = piece.strip_prefix('▁')
                {
                    rest = stripped;
                    // Where extra blanks are removed, all blanks at the start go.
                    self.begin_seen = !model.remove_extra_whitespaces;
                }
                out.extend(rest.chars().map(|c| if c == '▁' { ' ' } else { c }));
            }
        }
        self.wrote |= out.len() > before;
    }

    /// Ends the stretch: bytes that did not become a character are written as U+FFFD.
    pub(crate) fn finish(&mut self, out: &mut String) {
        self.write_characters(true, out);
    }

    /// Writes the whole characters among the pending bytes; each byte that cannot be part of one becomes U+FFFD.
    fn write_characters(&mut self, at_end: bool, out: &mut String) {
        while !self.pending.is_empty() {
            match std::str::from_utf8(&self.pending) {
                Ok(text) => {
                    out.push_str(text);
                    self.pending.clear();
                }
                Err(error) if error.valid_up_to() > 0 => {
                    let whole = error.valid_up_to();
                    out.push_str(std::str::from_utf8(&self.pending[..whole]).unwrap_or_default());
                    self.pending.drain(..whole);
                }
                // The start of a character: wait for the rest.
                Err(error) if error.error_len().is_none() && !at_end => return,
                Err(_) => {
                    out.push(char::REPLACEMENT_CHARACTER);
                    self.pending.remove(0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentencepiece::{Piece, SentencePieceKind};

    fn model() -> SentencePieceModel {
        let piece = |text: &str, kind| Piece {
            text: text.into(),
            score: 0.0,
            kind,
        };
        let mut pieces = vec![
            piece("<unk>", PieceKind::Unknown),
            piece("<s>", PieceKind::Control),
            piece("▁a", PieceKind::Normal),
        ];
        pieces.extend((0..256).map(|b| piece(&format!("<0x{b:02X}>"), PieceKind::Byte)));
        SentencePieceModel::from_pieces(SentencePieceKind::Bpe, pieces, true).unwrap()
    }

    fn decode(pieces: &[&str]) -> String {
        let model = model();
        let mut decoder = PieceDecoder::new(&model, true);
        let mut out = String::new();
        for piece in pieces {
            decoder.push(&model, piece, &mut out);
        }
        decoder.finish(&mut out);
        out
    }

    #[test]
    fn invalid_bytes_are_replaced_one_by_one() {
        assert_eq!(decode(&["<0xE4>", "<0xBD>", "<0xA0>"]), "你");
        assert_eq!(decode(&["<0xE4>", "<0xBD>", "▁a"]), "\u{fffd}\u{fffd} a");
        assert_eq!(decode(&["<0xE4>", "<0x41>", "<0xBD>"]), "\u{fffd}A\u{fffd}");
        assert_eq!(
            decode(&["<0xF0>", "<0x9F>", "<0x98>"]),
            "\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(decode(&["<0xC0>", "<0x80>"]), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn the_blank_in_front_is_removed_once() {
        assert_eq!(decode(&["▁a", "▁a"]), "a a");
        assert_eq!(decode(&["<s>", "▁a", "▁a"]), "a a");
        assert_eq!(decode(&["<unk>", "▁a"]), " \u{2047}  a");
    }
}
