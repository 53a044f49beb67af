//! A stream of notes cut into rows of one length.

use crate::DataError;

/// The tokens of all notes, joined and cut into rows of `length`; what is left at the end is dropped.
///
/// Holds one note and one row, however large the corpus is. An error of the notes is passed on and takes nothing else
/// with it: the next call goes on with the next note.
///
/// ```
/// use std::convert::Infallible;
/// use clinical_train::objective::Pieces;
///
/// let notes = [vec![5, 6, 1], vec![7, 1], vec![8, 9, 1]].map(Ok::<_, Infallible>);
/// let mut pieces = Pieces::new(notes, 3)?;
/// let rows: Vec<Vec<u32>> = pieces.by_ref().collect::<Result<_, _>>()?;
/// assert_eq!(rows, [[5, 6, 1], [7, 1, 8]]);
/// assert_eq!((pieces.notes(), pieces.dropped_tokens()), (3, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pieces<I> {
    source: I,
    length: usize,
    group: usize,
    /// Tokens that were read; those before `start` are given out.
    buffer: Vec<u32>,
    start: usize,
    notes: u64,
    in_group: usize,
    dropped: u64,
}

impl<I, E> Pieces<I>
where
    I: Iterator<Item = Result<Vec<u32>, E>>,
{
    /// Rows of `length` tokens from `notes`, each with the special tokens that it shall have.
    ///
    /// # Errors
    ///
    /// [`DataError::TooFewTokens`] for rows of fewer than 2 tokens.
    pub fn new(
        notes: impl IntoIterator<IntoIter = I, Item = Result<Vec<u32>, E>>,
        length: usize,
    ) -> Result<Self, DataError> {
        if length < 2 {
            return Err(DataError::TooFewTokens {
                setting: "the length of a row",
                tokens: length,
            });
        }
        Ok(Self {
            source: notes.into_iter(),
            length,
            group: usize::MAX,
            buffer: Vec::new(),
            start: 0,
            notes: 0,
            in_group: 0,
            dropped: 0,
        })
    }

    /// Drops what is left after every `notes` notes, not only at the end of the corpus. The published pretraining of
    /// Clinical-T5 does so after 1000. Default: never.
    ///
    /// # Errors
    ///
    /// [`DataError::Zero`].
    pub fn with_group(mut self, notes: usize) -> Result<Self, DataError> {
        if notes == 0 {
            return Err(DataError::Zero {
                setting: "the number of notes of a group",
            });
        }
        self.group = notes;
        Ok(self)
    }

    /// The notes that were read so far.
    #[must_use]
    pub fn notes(&self) -> u64 {
        self.notes
    }

    /// The tokens that were dropped so far because they did not fill a row.
    #[must_use]
    pub fn dropped_tokens(&self) -> u64 {
        self.dropped
    }

    /// Begins the stream with a token.
    pub(super) fn push(&mut self, token: u32) {
        self.buffer.push(token);
    }

    /// The next row; `append` puts a note into the stream.
    pub(super) fn next_with(
        &mut self,
        mut append: impl FnMut(&mut Vec<u32>, Vec<u32>),
    ) -> Option<Result<Vec<u32>, E>> {
        loop {
            if let Some(row) = self.buffer.get(self.start..self.start + self.length) {
                self.start += self.length;
                return Some(Ok(row.to_vec()));
            }
            if self.in_group == self.group {
                self.drop_rest();
            }
            match self.source.next() {
                Some(Ok(note)) => {
                    self.buffer.drain(..self.start);
                    self.start = 0;
                    append(&mut self.buffer, note);
                    self.notes += 1;
                    self.in_group += 1;
                }
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    self.drop_rest();
                    return None;
                }
            }
        }
    }

    fn drop_rest(&mut self) {
        self.dropped += (self.buffer.len() - self.start) as u64;
        self.buffer.clear();
        self.start = 0;
        self.in_group = 0;
    }
}

impl<I, E> Iterator for Pieces<I>
where
    I: Iterator<Item = Result<Vec<u32>, E>>,
{
    type Item = Result<Vec<u32>, E>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_with(|stream, note| stream.extend(note))
    }
}
