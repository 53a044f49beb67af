//! Texts for texts, and how likely a text is.

use std::fmt;
use std::ops::{ControlFlow, Range};

use clinical_facade::TokenText;
use clinical_generate::{
    Cancel, EndTokens, Generated, Generation, Score, StopReason, generate, generate_each,
    score_candidates,
};
use serde::Serialize;

use super::options::Part;
use super::{ClinicalGpt2, Gpt2Options};
use crate::{Error, Gpt2, Result};

/// A generated text, without the prompt. `Display` is the text alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Output {
    /// The text, without the end token and other special tokens.
    pub text: String,
    /// The new tokens, the end token included.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub stop: StopReason,
    /// The log-probability of each of [`Self::ids`], if `Generation::log_probs` asked for it or windows were compared by
    /// it; else empty.
    pub log_probs: Vec<f32>,
    /// What beam search ranked it by; `None` without beams.
    pub score: Option<f32>,
    /// The other sequences, the best first, where `Generation::num_return_sequences` asks for several.
    pub alternatives: Vec<Output>,
    /// The bytes of the text that it goes on from: all of it, but where it was cut or read in windows.
    pub range: Range<usize>,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Generated> for Output {
    fn from(generated: Generated) -> Self {
        Self {
            text: generated.text.unwrap_or_default(),
            ids: generated.ids,
            stop: generated.stop,
            log_probs: generated.log_probs,
            score: generated.score,
            alternatives: Vec::new(),
            range: 0..0,
        }
    }
}

impl Output {
    /// The best sequence of the window with the highest mean log-probability per token, the earlier of two equals. Each
    /// has its range and its sequences, the best first. There is none that counts where the call was cancelled before the
    /// first token.
    fn best(found: Vec<(Range<usize>, Vec<Generated>)>) -> Result<Self> {
        let begun = |one: &Generated| !(one.ids.is_empty() && one.stop == StopReason::Cancelled);
        let mean = |sequences: &[Generated]| {
            let first = sequences.first();
            let total = first.and_then(Generated::log_prob);
            let tokens = first.map_or(1, |one| one.log_probs.len().max(1));
            total.unwrap_or(f64::NEG_INFINITY) / tokens as f64
        };
        let mut best: Option<(Range<usize>, Vec<Generated>)> = None;
        for (range, sequences) in found {
            if !sequences.iter().all(begun) {
                return Err(Error::Cancelled);
            }
            if best
                .as_ref()
                .is_none_or(|(_, best)| mean(&sequences) > mean(best))
            {
                best = Some((range, sequences));
            }
        }
        let (range, sequences) = best.ok_or(Error::NothingLeft)?;
        let mut all = sequences.into_iter().map(|one| Self {
            range: range.clone(),
            ..Self::from(one)
        });
        let first = all.next().ok_or(Error::Cancelled)?;
        Ok(Self {
            alternatives: all.collect(),
            ..first
        })
    }
}

impl ClinicalGpt2 {
    /// Continues a text.
    ///
    /// # Errors
    ///
    /// [`Error::Head`] for a model with another head, [`Error::TooLong`], [`Error::NoText`], [`Error::Model`],
    /// [`Error::Generate`], [`Error::Tokenizer`].
    pub fn generate(&self, text: &str, generation: &Generation) -> Result<Output> {
        let options = Gpt2Options::new().with_generation(generation.clone());
        self.generate_with(text, &options)
    }

    /// [`Self::generate`] with options.
    ///
    /// # Errors
    ///
    /// Those of [`Self::generate`], and [`Error::NothingLeft`], [`Error::Windows`], [`Error::Cancelled`] where the options
    /// lead there.
    pub fn generate_with(&self, text: &str, options: &Gpt2Options) -> Result<Output> {
        self.generate_streaming(text, options, |_| ControlFlow::Continue(()))
    }

    /// [`Self::generate_with`] with the text as it is written: `on_piece` gets whole characters, and the pieces make up
    /// [`Output::text`]. It ends the generation by returning [`ControlFlow::Break`]. With beams or several windows the text
    /// is known at the end only, which is when the pieces come.
    ///
    /// # Errors
    ///
    /// Those of [`Self::generate_with`].
    pub fn generate_streaming(
        &self,
        text: &str,
        options: &Gpt2Options,
        mut on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Output> {
        let generation = options.generation();
        let parts = self.parts_to_continue(text, options, &generation)?;
        let [part] = parts.as_slice() else {
            let output = self.outputs(vec![Ok(parts)], options).pop();
            let output = output.unwrap_or(Err(Error::NothingLeft))?;
            // All is written already: whether the caller goes on changes nothing.
            let _ = on_piece(&output.text);
            return Ok(output);
        };
        let texts = TokenText::new(&self.tokenizer);
        let end = EndTokens::new(self.end.iter().copied()).with_text(&texts);
        let found = generate(&self.model, &[&part.ids], &end, &generation, |step| {
            if step.sequence > 0 || step.text.is_empty() {
                return ControlFlow::Continue(());
            }
            match on_piece(step.text) {
                ControlFlow::Continue(()) => ControlFlow::Continue(()),
                ControlFlow::Break(()) => ControlFlow::Break(Cancel::All),
            }
        })?;
        Output::best(vec![(part.range.clone(), found)])
    }

    /// Continues each text, [`with_batch`](Gpt2Options::with_batch) texts at once (8, unless the options say otherwise):
    /// when one is done the next takes its slot. There is one result for each, in their order; one that cannot be read
    /// costs the others nothing.
    ///
    /// # Errors
    ///
    /// For each text those of [`Self::generate_with`].
    pub fn generate_batch<S: AsRef<str>>(
        &self,
        texts: &[S],
        options: &Gpt2Options,
    ) -> Vec<Result<Output>> {
        let generation = options.generation();
        let parts = texts
            .iter()
            .map(|text| self.parts_to_continue(text.as_ref(), options, &generation));
        self.outputs(parts.collect(), options)
    }

    /// The output of each text, from its parts.
    fn outputs(&self, items: Vec<Result<Vec<Part>>>, options: &Gpt2Options) -> Vec<Result<Output>> {
        let total = items.len();
        let mut generation = options.generation();
        let windows = |item: &Result<Vec<Part>>| item.as_ref().map_or(0, Vec::len);
        generation.log_probs |= items.iter().any(|item| windows(item) > 1);
        let rows: Vec<&[u32]> = items
            .iter()
            .flatten()
            .flatten()
            .map(|part| part.ids.as_slice())
            .collect();
        let items_of_rows: Vec<usize> = (items.iter().enumerate())
            .flat_map(|(item, parts)| std::iter::repeat_n(item, windows(parts)))
            .collect();
        let mut left: Vec<usize> = items.iter().map(windows).collect();
        let mut done = left.iter().filter(|&&rows| rows == 0).count();
        if done > 0 {
            options.call.done(done, total);
        }
        let each = generation.beams.max(generation.num_return_sequences).max(1);
        let slots = options.batch().saturating_mul(each);
        let texts = TokenText::new(&self.tokenizer);
        let end = EndTokens::new(self.end.iter().copied()).with_text(&texts);
        let found = generate_each(&self.model, &rows, &end, &generation, slots, |row, _| {
            let item = items_of_rows[row];
            left[item] -= 1;
            if left[item] == 0 {
                done += 1;
                options.call.done(done, total);
            }
        });
        let mut found = found.into_iter();
        items
            .into_iter()
            .map(|parts| {
                let parts = parts?;
                let rows: Vec<_> = found.by_ref().take(parts.len()).collect();
                let rows = parts.into_iter().zip(rows);
                let rows = rows.map(|(part, row)| Ok((part.range, row?)));
                Output::best(rows.collect::<Result<_>>()?)
            })
            .collect()
    }

    /// How likely the model finds each of several continuations of a text: the log-probability of each of its tokens.
    /// The text is read once. A continuation that begins a word begins with its blank: `" yes"`.
    ///
    /// # Errors
    ///
    /// Those of [`Self::generate`].
    pub fn score<S: AsRef<str>>(&self, text: &str, targets: &[S]) -> Result<Vec<Score>> {
        self.score_with(text, targets, &Gpt2Options::new())
    }

    /// [`Self::score`] with options.
    ///
    /// # Errors
    ///
    /// Those of [`Self::generate_with`], and [`Error::NoWindows`].
    pub fn score_with<S: AsRef<str>>(
        &self,
        text: &str,
        targets: &[S],
        options: &Gpt2Options,
    ) -> Result<Vec<Score>> {
        self.model.check_writes()?;
        let targets = targets
            .iter()
            .map(|target| Ok(self.tokenizer.encode(target.as_ref(), false)?.into_ids()))
            .collect::<Result<Vec<Vec<u32>>>>()?;
        let reserved = targets.iter().map(Vec::len).max().unwrap_or(0);
        let row = self.part(text, options, reserved, "score")?.ids;
        let targets: Vec<&[u32]> = targets.iter().map(Vec::as_slice).collect();
        Ok(score_candidates(&self.model, &row, &targets)?)
    }

    /// Mean cross entropy of the tokens of a text after its first one, in nats: what `transformers` returns as the loss.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::Loss`] for a text of one token, [`Error::Model`], [`Error::Tokenizer`].
    pub fn loss(&self, text: &str) -> Result<f32> {
        let row = self.part(text, &Gpt2Options::new(), 0, "loss")?.ids;
        let labels = Gpt2::labels_after(&row, 0);
        let loss = self.model.loss(&[&row], &[&labels])?;
        Ok(loss.mean.into_scalar())
    }

    fn parts_to_continue(
        &self,
        text: &str,
        options: &Gpt2Options,
        generation: &Generation,
    ) -> Result<Vec<Part>> {
        self.model.check_writes()?;
        self.parts(text, options, generation.max_new_tokens)
    }
}
