//! What a model cannot read.

/// An input that a model cannot read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// There is no row at all.
    #[error("there is nothing to read: give at least one prompt")]
    NoRows,
    /// A prompt has no token.
    #[error("prompt {row} is empty: give at least one token")]
    EmptyPrompt {
        /// The row in the batch.
        row: usize,
    },
    /// A token id has no row in the embedding table.
    #[error(
        "token id {id} (row {row}) has no row in the embedding table of {vocabulary}: the tokenizer does not belong to \
         this model, or its embeddings must be resized"
    )]
    TokenOutOfRange {
        /// The id.
        id: u32,
        /// The row in the batch.
        row: usize,
        /// Rows of the embedding table.
        vocabulary: usize,
    },
    /// A row would pass the model's last position.
    #[error("{positions} positions are more than the {limit} that this model has")]
    TooLong {
        /// Positions asked for.
        positions: usize,
        /// Positions the model has.
        limit: usize,
    },
    /// Rows were to be extended by different numbers of tokens, or by none.
    #[error(
        "row {row} has {tokens} tokens and the first row {expected}: extend all rows by the same number, at least one"
    )]
    UnevenRows {
        /// The row in the batch.
        row: usize,
        /// Its tokens.
        tokens: usize,
        /// Tokens of the first row.
        expected: usize,
    },
    /// The model is an encoder alone: it has nothing to write or to score with.
    #[error(
        "this model is an encoder alone: it makes vectors of texts, and cannot generate, fill or score"
    )]
    NoDecoder,
    /// Rows cannot join a running batch.
    #[error("this model cannot take new rows while others are running: wait until they are done")]
    CannotMerge,
    /// Keys and values of another model, or of the same at another precision, were to be continued.
    #[error(
        "this was read by another model, or at another precision: read it with the model that goes on"
    )]
    OtherModel,
    /// Different continuations of one prefix cannot be read at once.
    #[error(
        "this model cannot read several continuations of one prefix at once: give them one after another"
    )]
    CannotShare,
    /// The number of ids is not the number of rows in the cache.
    #[error("{ids} tokens for {rows} rows: give one token for each running row")]
    RowMismatch {
        /// Ids given.
        ids: usize,
        /// Rows in the cache.
        rows: usize,
    },
}

impl ModelError {
    /// Checks that every row has the same number of tokens, at least one, and returns that number.
    ///
    /// # Errors
    ///
    /// [`ModelError::NoRows`], [`ModelError::UnevenRows`].
    pub fn check_even(tokens: &[&[u32]]) -> Result<usize, Self> {
        let expected = tokens.first().ok_or(Self::NoRows)?.len();
        let uneven = tokens
            .iter()
            .position(|row| row.is_empty() || row.len() != expected);
        match uneven {
            Some(row) => Err(Self::UnevenRows {
                row,
                tokens: tokens[row].len(),
                expected,
            }),
            None => Ok(expected),
        }
    }

    /// Checks that every prompt has tokens and that every token has an embedding row.
    ///
    /// # Errors
    ///
    /// [`ModelError::NoRows`], [`ModelError::EmptyPrompt`], [`ModelError::TokenOutOfRange`].
    pub fn check_prompts(prompts: &[&[u32]], vocabulary: usize) -> Result<(), Self> {
        if prompts.is_empty() {
            return Err(Self::NoRows);
        }
        for (row, prompt) in prompts.iter().enumerate() {
            if prompt.is_empty() {
                return Err(Self::EmptyPrompt { row });
            }
            if let Some(&id) = prompt.iter().find(|&&id| id as usize >= vocabulary) {
                return Err(Self::TokenOutOfRange {
                    id,
                    row,
                    vocabulary,
                });
            }
        }
        Ok(())
    }
}
