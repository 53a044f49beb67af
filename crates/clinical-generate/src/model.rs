//! What the generation engine needs to know of a model.

use burn::tensor::Tensor;

use crate::ModelError;

/// A model that reads prompts and then gives the logits of one next token after another.
///
/// One trait serves both families. For a decoder (LLaMA) the prompt is the text to continue; for an encoder-decoder
/// (T5) it is the encoder's input, and [`prefill`](Self::prefill) also feeds the decoder its start token. The model is
/// used through `&self`; everything that changes lives in the cache, which belongs to one call.
pub trait StepModel {
    /// Keys, values and lengths of the running rows.
    type Cache;

    /// The number of logits for each row.
    fn vocabulary(&self) -> usize;

    /// The most positions one row may have, prompt and new tokens together (decoder) or new tokens alone
    /// (encoder-decoder); `None` where the architecture sets no limit.
    fn max_positions(&self) -> Option<usize>;

    /// Whether the prompt counts towards [`max_positions`](Self::max_positions): true for a decoder.
    fn prompt_counts(&self) -> bool;

    /// The token that an encoder-decoder's answer starts from, which repetition penalty and n-gram blocking count as
    /// part of the answer, as in `transformers`. `None` for a decoder.
    fn decoder_start(&self) -> Option<u32> {
        None
    }

    /// Reads one prompt a row. Rows may have different lengths: padding and its mask are the model's job, and a row's
    /// logits do not depend on the other rows.
    ///
    /// `reserve` is the number of new tokens that the cache should have room for.
    ///
    /// Returns the cache and the logits of the first new token, `[rows, vocabulary]`.
    ///
    /// # Errors
    ///
    /// [`ModelError`] for an empty prompt or an id without an embedding row.
    fn prefill(
        &self,
        prompts: &[&[u32]],
        reserve: usize,
    ) -> Result<(Self::Cache, Tensor<2>), ModelError>;

    /// Appends one token to each row of the cache and returns the logits of the next, `[rows, vocabulary]`.
    ///
    /// # Errors
    ///
    /// [`ModelError`] for an id without an embedding row, or a wrong number of ids.
    fn step(&self, ids: &[u32], cache: &mut Self::Cache) -> Result<Tensor<2>, ModelError>;

    /// Keeps the given rows of the cache, in this order. A row may come several times (beams) or not at all (finished
    /// rows stop costing time and memory).
    fn select(&self, cache: &mut Self::Cache, rows: &[usize]);

    /// [`select`](Self::select) for beam search: the number of rows stays, each row takes the slot of one that read the
    /// same prompt, and differs from it in the last `differing` tokens at most. What was read before need not move.
    fn reorder(&self, cache: &mut Self::Cache, rows: &[usize], differing: usize) {
        let _ = differing;
        self.select(cache, rows);
    }

    /// Appends the same number of tokens, at least one, to each row of the cache. Returns the logits after each of
    /// them, `[rows, tokens, vocabulary]`, or with `last_only` after the last, `[rows, 1, vocabulary]`.
    ///
    /// The default takes one [`step`](Self::step) a token; a model that reads all of them at once saves most of the
    /// time when a given text is scored, or a question follows a note that was read before.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step), and [`ModelError::UnevenRows`] if a row has no token or another number of them.
    fn extend(
        &self,
        tokens: &[&[u32]],
        last_only: bool,
        cache: &mut Self::Cache,
    ) -> Result<Tensor<3>, ModelError> {
        let count = ModelError::check_even(tokens)?;
        let mut logits = Vec::with_capacity(count);
        for at in 0..count {
            let ids: Vec<u32> = tokens.iter().map(|row| row[at]).collect();
            let next = self.step(&ids, cache)?;
            if at + 1 == count || !last_only {
                let [rows, vocabulary] = next.dims();
                logits.push(next.reshape([rows, 1, vocabulary]));
            }
        }
        Ok(Tensor::cat(logits, 1))
    }

    /// [`prefill`](Self::prefill) of prompts that all begin with what the one row of `prefix` has read; `prompts` are
    /// what follows it, of any lengths. `prefix` stays as it is.
    ///
    /// # Errors
    ///
    /// As [`prefill`](Self::prefill), and [`ModelError::CannotShare`], which is all that the default does.
    fn prefill_after(
        &self,
        prefix: &Self::Cache,
        prompts: &[&[u32]],
        reserve: usize,
    ) -> Result<(Self::Cache, Tensor<2>), ModelError> {
        let _ = (prefix, prompts, reserve);
        Err(ModelError::CannotShare)
    }

    /// Whether [`prefill_after`](Self::prefill_after) works: then the prefix that all prompts of a call share is read
    /// once. Default false.
    fn can_share(&self) -> bool {
        false
    }

    /// After a logit that is not finite: the first part of the model whose numbers are not finite once the prompt and
    /// the new tokens are read, such as `feed-forward of layer 3`. `None`, which the default gives, if it cannot be
    /// told.
    fn first_non_finite(&self, prompt: &[u32], new: &[u32]) -> Option<String> {
        let _ = (prompt, new);
        None
    }

    /// Whether [`merge`](Self::merge) works. Default false.
    fn can_merge(&self) -> bool {
        false
    }

    /// Appends the rows of `other`, which came from a later [`prefill`](Self::prefill), after those of `cache`, so that
    /// new prompts join the running rows (continuous batching). No row's logits change by it.
    ///
    /// # Errors
    ///
    /// [`ModelError::CannotMerge`], which is all that the default does.
    fn merge(&self, cache: &mut Self::Cache, other: Self::Cache) -> Result<(), ModelError> {
        let _ = (cache, other);
        Err(ModelError::CannotMerge)
    }

    /// Whether [`extend`](Self::extend) reads many tokens of a prompt at once, no slower than
    /// [`prefill`](Self::prefill): then an engine reads long prompts in pieces, and running answers go on in between.
    /// Default false.
    fn can_extend(&self) -> bool {
        false
    }

    /// Checks that a cache was made by a model whose keys and values have the sizes of this one's. The default checks
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`ModelError::OtherModel`].
    fn check_cache(&self, cache: &Self::Cache) -> Result<(), ModelError> {
        let _ = cache;
        Ok(())
    }

    /// The bytes of keys and values of a row that has read so many tokens, prompt and new tokens alike; an engine keeps
    /// them below its budget. 0, which the default gives, if they are not to be counted.
    fn cache_bytes(&self, tokens: usize) -> u64 {
        let _ = tokens;
        0
    }

    /// Whether rows that [`select`](Self::select) copies, and those of [`prefill_after`](Self::prefill_after), share
    /// the memory of what they have read together. Default false.
    fn copies_share(&self) -> bool {
        false
    }
}
