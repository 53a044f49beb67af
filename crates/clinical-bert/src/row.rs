//! What a model reads.

/// One row of input: token ids, and for pairs the type of each.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Token ids with the special tokens.
    pub ids: &'a [u32],
    /// 0 for the first text, 1 for the second; empty means all 0.
    pub types: &'a [u32],
}

impl<'a> From<&'a [u32]> for Row<'a> {
    fn from(ids: &'a [u32]) -> Self {
        Self { ids, types: &[] }
    }
}

/// A [`Row`] that owns its ids, as [`ClinicalBert::encode`](crate::ClinicalBert::encode) makes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenRow {
    /// Token ids with the special tokens.
    pub ids: Vec<u32>,
    /// 0 for the first text, 1 for the second; empty means all 0.
    pub types: Vec<u32>,
}

impl TokenRow {
    /// The row as the model takes it.
    #[must_use]
    pub fn row(&self) -> Row<'_> {
        Row {
            ids: &self.ids,
            types: &self.types,
        }
    }
}

impl<'a> From<&'a TokenRow> for Row<'a> {
    fn from(row: &'a TokenRow) -> Self {
        row.row()
    }
}
