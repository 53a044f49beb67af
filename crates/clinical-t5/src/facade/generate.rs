//! Texts for texts.

use std::ops::{ControlFlow, Range};

use clinical_facade::TokenText;
use clinical_generate::{
    Cancel, EndTokens, Generated, Generation, Step, StopReason, generate, generate_each,
};

use super::reading::Part;
use super::{ClinicalT5, Output, T5Options};
use crate::{Error, Result};

impl ClinicalT5 {
    /// Generates a text; with several sequences asked for, the best, and the others in [`Output::alternatives`].
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::Model`], [`Error::Generate`], [`Error::Tokenizer`].
    pub fn generate(&self, text: &str, generation: &Generation) -> Result<Output> {
        self.generate_with(text, &T5Options::new().with_generation(generation.clone()))
    }

    /// [`Self::generate`] with options.
    ///
    /// With [`LongText::Windows`](clinical_facade::LongText::Windows) a text that is too long is read in windows, each
    /// of which gives a text, and the one with the highest mean log-probability per token is the output;
    /// [`Output::windows`] has all of them.
    ///
    /// # Errors
    ///
    /// Those of [`Self::generate`], and [`Error::NothingLeft`], [`Error::Windows`], [`Error::Deid`],
    /// [`Error::Cancelled`] where the options lead there. A flag that is set while the text is written ends it with
    /// [`StopReason::Cancelled`].
    pub fn generate_with(&self, text: &str, options: &T5Options) -> Result<Output> {
        self.generate_streaming(text, options, |_| ControlFlow::Continue(()))
    }

    /// [`Self::generate_with`] with the text as it is written: `on_piece` gets whole characters, and the pieces make up
    /// [`Output::text`]. It ends the generation by returning [`ControlFlow::Break`]. With beams or several windows the
    /// text is known at the end only, which is when the pieces come.
    ///
    /// # Errors
    ///
    /// Those of [`Self::generate_with`].
    pub fn generate_streaming(
        &self,
        text: &str,
        options: &T5Options,
        mut on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Output> {
        let parts = self.parts_to_answer(text, options)?;
        let [part] = parts.as_slice() else {
            let mut outputs = self.outputs(vec![Ok(parts)], options);
            let output = outputs.pop().unwrap_or(Err(Error::NothingLeft))?;
            // All is written already: whether the caller goes on changes nothing.
            let _ = on_piece(&output.text);
            return Ok(output);
        };
        let found = self.run(&part.ids, &options.generation(None), |step| {
            if step.sequence > 0 || step.text.is_empty() {
                return ControlFlow::Continue(());
            }
            match on_piece(step.text) {
                ControlFlow::Continue(()) => ControlFlow::Continue(()),
                ControlFlow::Break(()) => ControlFlow::Break(Cancel::All),
            }
        })?;
        Output::best(vec![(part.range.clone(), found)]).ok_or(Error::NothingLeft)
    }

    /// Generates a text for each input, [`with_batch`](T5Options::with_batch) inputs at once (8, unless the options say
    /// otherwise): when one is done the next takes its slot. There is one result for each input, in their order; an
    /// input that cannot be read or answered costs the others nothing.
    ///
    /// # Errors
    ///
    /// For each input those of [`Self::generate_with`]; [`Error::Cancelled`] for those that were not begun when the
    /// flag was set.
    pub fn generate_batch<S: AsRef<str>>(
        &self,
        texts: &[S],
        options: &T5Options,
    ) -> Vec<Result<Output>> {
        let parts = texts
            .iter()
            .map(|text| self.parts_to_answer(text.as_ref(), options));
        self.outputs(parts.collect(), options)
    }

    /// The parts of a text, if a text can be written for them.
    fn parts_to_answer(&self, text: &str, options: &T5Options) -> Result<Vec<Part>> {
        self.model.decoder()?;
        if options.call.is_cancelled() {
            return Err(Error::Cancelled);
        }
        self.parts(text, options)
    }

    /// The output of each input, from its parts.
    fn outputs(&self, items: Vec<Result<Vec<Part>>>, options: &T5Options) -> Vec<Result<Output>> {
        let total = items.len();
        let mut generation = options.generation(None);
        let windows = |item: &Result<Vec<Part>>| item.as_ref().map_or(0, Vec::len);
        if items.iter().any(|item| windows(item) > 1) {
            generation.log_probs = true;
        }
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
        let text = TokenText::new(&self.tokenizer);
        let end = EndTokens::new(self.end.iter().copied()).with_text(&text);
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
                together(parts, rows)
            })
            .collect()
    }

    /// The sequences for one row, the best first.
    pub(super) fn run(
        &self,
        row: &[u32],
        generation: &Generation,
        on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    ) -> Result<Vec<Generated>> {
        let text = TokenText::new(&self.tokenizer);
        let end = EndTokens::new(self.end.iter().copied()).with_text(&text);
        Ok(generate(&self.model, &[row], &end, generation, on_token)?)
    }
}

/// The output for an input, from what each of its parts gave.
fn together(parts: Vec<Part>, rows: Vec<clinical_generate::Each>) -> Result<Output> {
    let mut found: Vec<(Range<usize>, Vec<Generated>)> = Vec::with_capacity(parts.len());
    for (part, row) in parts.into_iter().zip(rows) {
        let row = row?;
        let begun = |one: &Generated| !(one.ids.is_empty() && one.stop == StopReason::Cancelled);
        if !row.iter().all(begun) {
            return Err(Error::Cancelled);
        }
        found.push((part.range, row));
    }
    Output::best(found).ok_or(Error::NothingLeft)
}
