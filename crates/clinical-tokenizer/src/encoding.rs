use std::ops::Range;

/// A text as tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    pub(crate) ids: Vec<u32>,
    pub(crate) type_ids: Vec<u32>,
    pub(crate) offsets: Vec<(usize, usize)>,
    pub(crate) sequences: Vec<Option<u8>>,
    pub(crate) special: Vec<bool>,
}

impl Encoding {
    /// The token ids, `[tokens]`.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The token ids, without a copy.
    pub fn into_ids(self) -> Vec<u32> {
        self.ids
    }

    /// For each token 0 or 1: the first or the second text of a pair, as BERT numbers them (`[CLS] A [SEP]` is 0).
    pub fn type_ids(&self) -> &[u32] {
        &self.type_ids
    }

    /// For each token the bytes of its text that it covers; `0..0` for tokens put around the texts.
    ///
    /// All bytes of a character that fell back to byte tokens belong to each of them. A word piece covers its letters;
    /// a SentencePiece token also covers the blank before its word.
    pub fn offsets(&self) -> &[(usize, usize)] {
        &self.offsets
    }

    /// The bytes of one token as a range.
    pub fn range(&self, token: usize) -> Option<Range<usize>> {
        self.offsets.get(token).map(|&(start, end)| start..end)
    }

    /// For each token the text of a pair that it belongs to (0 or 1); `None` for tokens put around the texts.
    pub fn sequences(&self) -> &[Option<u8>] {
        &self.sequences
    }

    /// For each token whether it was put around the texts (`[CLS]`, `<s>`, `</s>`).
    pub fn special(&self) -> &[bool] {
        &self.special
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Offsets in a part that starts at `bytes` become offsets in the whole text.
    pub(crate) fn move_by(&mut self, bytes: usize) {
        let offsets = self.offsets.iter_mut().zip(&self.special);
        for ((start, end), _) in offsets.filter(|(_, special)| !**special) {
            (*start, *end) = (*start + bytes, *end + bytes);
        }
    }

    /// Adds a token that stands around the texts.
    pub(crate) fn push_special(&mut self, id: u32, type_id: u32) {
        self.ids.push(id);
        self.type_ids.push(type_id);
        self.offsets.push((0, 0));
        self.sequences.push(None);
        self.special.push(true);
    }

    /// Adds the tokens of a text.
    pub(crate) fn push_text(
        &mut self,
        tokens: &[crate::sentencepiece::Token],
        type_id: u32,
        sequence: u8,
    ) {
        self.ids.extend(tokens.iter().map(|token| token.id));
        self.type_ids
            .extend(std::iter::repeat_n(type_id, tokens.len()));
        self.offsets.extend(
            tokens
                .iter()
                .map(|token| (token.start as usize, token.end as usize)),
        );
        self.sequences
            .extend(std::iter::repeat_n(Some(sequence), tokens.len()));
        self.special
            .extend(std::iter::repeat_n(false, tokens.len()));
    }
}
