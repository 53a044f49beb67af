//! What a batch is trained on.

use crate::{Error, Result, TaskHead};

/// What each row of a batch should give, in the order of the rows. The head decides which kind fits.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Targets<'a> {
    /// Sequence head: the class of each row; a negative one ([`IGNORED`](crate::IGNORED)) takes no part.
    Classes(&'a [i64]),
    /// Sequence head: for each row a number for each class, 1 where it holds and 0 where it does not.
    ClassSets(&'a [Vec<f32>]),
    /// Sequence head (`problem_type` regression): for each row the value of each output.
    Values(&'a [Vec<f32>]),
    /// Token head: for each row the class of each token. Masked-language-model head: the original token. Special tokens
    /// have a label too; negative ones take no part.
    Tokens(&'a [Vec<i64>]),
    /// Masked-language-model head with next sentence: [`Self::Tokens`], and for each pair whether its second text comes
    /// from elsewhere.
    Pretraining {
        /// For each row the original token at predicted positions, negative elsewhere.
        tokens: &'a [Vec<i64>],
        /// For each row whether the second text does not follow the first.
        is_random_next: &'a [bool],
    },
    /// Span head: the first and the last token of the answer in each row, `(0, 0)` for "no answer" in models that know
    /// it; `None` takes no part.
    Spans(&'a [Option<(usize, usize)>]),
}

impl Targets<'_> {
    /// How many rows there are targets for.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Classes(targets) => targets.len(),
            Self::ClassSets(targets) | Self::Values(targets) => targets.len(),
            Self::Tokens(targets)
            | Self::Pretraining {
                tokens: targets, ..
            } => targets.len(),
            Self::Spans(targets) => targets.len(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Classes(_) => "Targets::Classes",
            Self::ClassSets(_) => "Targets::ClassSets",
            Self::Values(_) => "Targets::Values",
            Self::Tokens(_) => "Targets::Tokens",
            Self::Pretraining { .. } => "Targets::Pretraining",
            Self::Spans(_) => "Targets::Spans",
        }
    }

    /// That these targets belong to another head.
    pub(crate) fn refused(&self, head: TaskHead) -> Error {
        Error::TargetKind {
            head,
            found: self.kind(),
        }
    }

    /// One target for each row.
    pub(crate) fn check_rows(&self, rows: usize) -> Result<()> {
        let mut counts = vec![self.rows()];
        if let Self::Pretraining { is_random_next, .. } = self {
            counts.push(is_random_next.len());
        }
        match counts.into_iter().find(|&targets| targets != rows) {
            Some(targets) => Err(Error::TargetCount { targets, rows }),
            None => Ok(()),
        }
    }
}
