//! Writes a model as a SentencePiece `.model` file, for models that did not come from one.

use super::charsmap::Charsmap;
use super::model::{PieceKind, SentencePieceKind, SentencePieceModel};

/// A protocol buffer under construction.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: i64) {
        self.varint(field << 3);
        self.varint(value as u64); // negative numbers are written in 64 bits
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

impl SentencePieceModel {
    /// The model as the bytes of a `.model` file, which [`SentencePieceModel::from_bytes`] and the SentencePiece
    /// library read. Training details that do not matter for encoding are not part of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        for piece in &self.pieces {
            let mut message = Writer::default();
            message.bytes(1, piece.text.as_bytes());
            message.float(2, piece.score);
            let kind = match piece.kind {
                PieceKind::Normal => 1,
                PieceKind::Unknown => 2,
                PieceKind::Control => 3,
                PieceKind::UserDefined => 4,
                PieceKind::Unused => 5,
                PieceKind::Byte => 6,
            };
            message.number(3, kind);
            out.bytes(1, &message.0);
        }
        let mut trainer = Writer::default();
        trainer.number(
            3,
            if self.kind == SentencePieceKind::Unigram {
                1
            } else {
                2
            },
        );
        trainer.number(4, self.pieces.len() as i64);
        trainer.number(24, self.whitespace_suffix.into());
        trainer.number(35, self.byte_fallback.into());
        trainer.number(40, self.unk.into());
        for (field, id) in (41..).zip(self.control) {
            trainer.number(field, id.map_or(-1, i64::from));
        }
        trainer.bytes(44, self.unk_surface.as_bytes());
        trainer.bytes(45, self.pieces[self.unk as usize].text.as_bytes());
        for (field, id) in (46..).zip(self.control) {
            if let Some(id) = id {
                trainer.bytes(field, self.pieces[id as usize].text.as_bytes());
            }
        }
        out.bytes(2, &trainer.0);
        let mut normalizer = Writer::default();
        if let Some(charsmap) = &self.charsmap {
            normalizer.bytes(2, &charsmap.to_bytes());
        }
        normalizer.number(3, self.add_dummy_prefix.into());
        normalizer.number(4, self.remove_extra_whitespaces.into());
        normalizer.number(5, self.escape_whitespaces.into());
        out.bytes(3, &normalizer.0);
        out.0
    }
}

impl Charsmap {
    fn to_bytes(&self) -> Vec<u8> {
        let (units, text) = self.parts();
        let mut out = ((units.len() * 4) as u32).to_le_bytes().to_vec();
        out.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        out.extend_from_slice(text.as_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_as_it_was() {
        for name in ["t5", "llama", "odd_bpe", "odd_unigram"] {
            let path = format!(
                "{}/tests/data/models/{name}.model",
                env!("CARGO_MANIFEST_DIR")
            );
            let model = SentencePieceModel::from_bytes(&std::fs::read(path).unwrap()).unwrap();
            let again = SentencePieceModel::from_bytes(&model.to_bytes()).unwrap();
            assert_eq!(again.pieces, model.pieces);
            assert_eq!(
                (again.kind, again.unk, again.control),
                (model.kind, model.unk, model.control)
            );
            let switches = |m: &SentencePieceModel| {
                [
                    m.byte_fallback,
                    m.add_dummy_prefix,
                    m.remove_extra_whitespaces,
                    m.escape_whitespaces,
                    m.whitespace_suffix,
                ]
            };
            assert_eq!(
                (switches(&again), &again.unk_surface),
                (switches(&model), &model.unk_surface)
            );
            assert_eq!(
                again.charsmap.as_ref().map(Charsmap::parts),
                model.charsmap.as_ref().map(Charsmap::parts)
            );
            assert_eq!(again.to_bytes(), model.to_bytes());
        }
    }
}
