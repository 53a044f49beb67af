//! Prompts through the generation engine.

use std::ops::ControlFlow;

use clinical_generate::{
    Cancel, Each, EndTokens, Generated, Generation, Prefix, Step, StopReason, generate,
    generate_each,
};
use clinical_llama::LlamaCache;

use crate::plan::Part;
use crate::prefix::goes_on;
use crate::prompt::Prompter;
use crate::text::Text;
use crate::{Asclepius, Error, Result, Style};

/// The text of a new token.
pub(crate) struct Piece<'a> {
    pub(crate) sequence: usize,
    pub(crate) text: &'a str,
}

/// Gets each token as it is chosen.
pub(crate) type OnToken<'f> = dyn FnMut(Piece<'_>) -> ControlFlow<Cancel> + 'f;

/// The best sequence of a prompt, and how many of the prompt's tokens were not read again.
pub(crate) type Read = (Generated, usize);

/// Continues prompts: from their first token, or after what was read before.
pub(crate) trait Reader {
    /// What comes after one prompt.
    fn read(
        &mut self,
        prompter: &Prompter<'_>,
        part: &Part,
        on_token: &mut OnToken<'_>,
    ) -> Result<Read>;

    /// What comes after each prompt, in order; `on_done` is called for each.
    fn read_all(
        &mut self,
        prompter: &Prompter<'_>,
        parts: &[&Part],
        on_done: &mut dyn FnMut(),
    ) -> Vec<Result<Read>>;

    /// Does something with what of a prompt is read already, if anything is.
    fn after_prefix<T>(
        &mut self,
        prompter: &Prompter<'_>,
        part: &Part,
        run: impl FnOnce(Option<&Prefix<LlamaCache>>) -> Result<T>,
    ) -> Result<T>;
}

impl Reader for &Asclepius {
    fn read(
        &mut self,
        prompter: &Prompter<'_>,
        part: &Part,
        on_token: &mut OnToken<'_>,
    ) -> Result<Read> {
        let prefix = self.prompt_prefix(prompter, &[&part.ids])?;
        Call::new(prompter).one(prefix.as_deref(), &part.ids, on_token)
    }

    fn read_all(
        &mut self,
        prompter: &Prompter<'_>,
        parts: &[&Part],
        on_done: &mut dyn FnMut(),
    ) -> Vec<Result<Read>> {
        let prompts: Vec<&[u32]> = parts.iter().map(|part| part.ids.as_slice()).collect();
        // What is wrong with a prefix is wrong with each prompt, which tells of it.
        let prefix = self.prompt_prefix(prompter, &prompts).unwrap_or_default();
        Call::new(prompter).all(prefix.as_deref(), &prompts, on_done)
    }

    fn after_prefix<T>(
        &mut self,
        prompter: &Prompter<'_>,
        part: &Part,
        run: impl FnOnce(Option<&Prefix<LlamaCache>>) -> Result<T>,
    ) -> Result<T> {
        run(self.prompt_prefix(prompter, &[&part.ids])?.as_deref())
    }
}

/// What holds for all prompts of a call.
pub(crate) struct Call<'a> {
    model: &'a Asclepius,
    generation: Generation,
    slots: usize,
    style: Style,
}

impl<'a> Call<'a> {
    pub(crate) fn new(prompter: &Prompter<'a>) -> Self {
        let generation = prompter.options.generation();
        Self {
            model: prompter.model,
            slots: prompter.options.slots(&generation),
            generation,
            style: prompter.style,
        }
    }

    /// What comes after a prompt, which is read after `prefix` if it goes on there.
    pub(crate) fn one(
        &self,
        prefix: Option<&Prefix<LlamaCache>>,
        prompt: &[u32],
        on_token: &mut OnToken<'_>,
    ) -> Result<Read> {
        let prompts = [prompt];
        let text = self.text(&prompts);
        let (model, end) = (self.model.model(), self.end(&text));
        let generation = &self.generation;
        let prefix = prefix.filter(|prefix| goes_on(prompt, prefix.ids()));
        let on_step = |step: Step<'_>| {
            on_token(Piece {
                sequence: step.sequence,
                text: step.text,
            })
        };
        let found = match prefix {
            None => generate(model, &prompts, &end, generation, on_step)?,
            Some(prefix) => {
                let rest = &prompt[prefix.ids().len()..];
                prefix.generate(model, rest, &end, generation, on_step)?
            }
        };
        let reused = prefix.map_or(0, |prefix| prefix.ids().len());
        best(found, reused)
    }

    /// [`one`](Self::one) for each prompt, in a batch; `on_done` is called for each.
    pub(crate) fn all(
        &self,
        prefix: Option<&Prefix<LlamaCache>>,
        prompts: &[&[u32]],
        on_done: &mut dyn FnMut(),
    ) -> Vec<Result<Read>> {
        let follows =
            |row: &usize| prefix.is_some_and(|prefix| goes_on(prompts[*row], prefix.ids()));
        let (after, alone): (Vec<usize>, Vec<usize>) = (0..prompts.len()).partition(follows);
        let mut results: Vec<Option<Result<Read>>> = prompts.iter().map(|_| None).collect();
        for (rows, prefix) in [(after, prefix), (alone, None)] {
            let prompts: Vec<&[u32]> = rows.iter().map(|&row| prompts[row]).collect();
            let reused = prefix.map_or(0, |prefix| prefix.ids().len());
            let each = self.each(prefix, &prompts, on_done);
            for (row, found) in rows.into_iter().zip(each) {
                results[row] = Some(
                    found
                        .map_err(Error::from)
                        .and_then(|found| best(found, reused)),
                );
            }
        }
        results.into_iter().flatten().collect()
    }

    /// The sequences of prompts that all go on after `prefix`, or are all read from their first token.
    fn each(
        &self,
        prefix: Option<&Prefix<LlamaCache>>,
        prompts: &[&[u32]],
        on_done: &mut dyn FnMut(),
    ) -> Vec<Each> {
        let text = self.text(prompts);
        let (model, end) = (self.model.model(), self.end(&text));
        let (generation, slots) = (&self.generation, self.slots);
        let done = |_: usize, _: &Each| on_done();
        match prefix {
            _ if prompts.is_empty() => Vec::new(),
            None => generate_each(model, prompts, &end, generation, slots, done),
            Some(prefix) => {
                let rest = prompts.iter().map(|ids| &ids[prefix.ids().len()..]);
                let rest: Vec<&[u32]> = rest.collect();
                prefix.generate_each(model, &rest, &end, generation, slots, done)
            }
        }
    }

    fn end<'t>(&self, text: &'t Text<'t>) -> EndTokens<'t> {
        EndTokens::new(self.model.end_ids().iter().copied()).with_text(text)
    }

    /// The decoder of new tokens; a text that is continued has no seam.
    pub(crate) fn text<'t>(&self, prompts: &'t [&'t [u32]]) -> Text<'t> {
        let before = match self.style {
            Style::Text => prompts,
            _ => &[],
        };
        Text::new(self.model.tokenizer(), before)
    }
}

/// The best sequence. There is none that counts where the call was cancelled before the first token.
pub(crate) fn best(found: Vec<Generated>, reused: usize) -> Result<Read> {
    found
        .into_iter()
        .find(|result| result.sequence == 0)
        .filter(|result| !result.ids.is_empty() || result.stop != StopReason::Cancelled)
        .map(|result| (result, reused))
        .ok_or(Error::Cancelled)
}
