//! Several questions about one note, which is read once.

use std::ops::{ControlFlow, Range};

use clinical_generate::{Generated, Prefix, Score, score_candidates};
use clinical_llama::LlamaCache;

use crate::answer::Answer;
use crate::ask::{OnToken, Reader};
use crate::head::{PROBES, alike};
use crate::options::{AnswerOptions, LongNote};
use crate::plan::Part;
use crate::{Asclepius, Result};

/// Questions about one note, which the model reads once; made by [`Asclepius::session`].
///
/// In every published prompt the note stands before the question. What the model has read of it (keys and values: a few
/// megabytes for a small model, 2 GiB for 2,048 tokens of a 7B model in f32) is kept here, and freed with the session. Of
/// a note that is read in windows each window is kept as long as questions ask for the same windows, which they do unless
/// their lengths differ much.
///
/// An answer is that of [`Asclepius::answer_with`] up to the rounding of the logits (about 1e-5): sums are taken over
/// other pieces of the prompt, so two tokens that are as good as equally likely may change places.
#[derive(Debug)]
pub struct Session<'m> {
    model: &'m Asclepius,
    note: String,
    options: AnswerOptions,
    /// The beginning of the prompt for each range of the note that was asked about.
    kept: Vec<(Range<usize>, Prefix<LlamaCache>)>,
}

impl Asclepius {
    /// Reads a note for several questions, with the default [`AnswerOptions`].
    ///
    /// ```
    /// let model = asclepius::Asclepius::embedded()?;
    /// let note = "Service: MEDICINE\nPertinent Results: K 4.1; Cr 1.2\nDischarge Diagnosis: pneumonia";
    /// let mut session = model.session(note)?;
    /// for question in ["What is the discharge diagnosis?", "What was the potassium?"] {
    ///     let answer = session.answer(question)?;
    ///     assert_eq!(answer.text, model.answer(note, question)?.text);
    ///     assert!(answer.usage.reused_tokens > answer.usage.prompt_tokens / 2);
    /// }
    /// # Ok::<(), asclepius::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer), for the note.
    pub fn session(&self, note: &str) -> Result<Session<'_>> {
        self.session_with(note, &AnswerOptions::default())
    }

    /// As [`session`](Self::session), with options that hold for every question.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer), for the note.
    pub fn session_with(&self, note: &str, options: &AnswerOptions) -> Result<Session<'_>> {
        let prompter = self.prompter(options)?;
        let parts = self.plan(&prompter, note, PROBES[0], options)?;
        let mut session = Session {
            model: self,
            note: note.to_owned(),
            options: options.clone(),
            kept: Vec::new(),
        };
        session.keep(&parts[0].range)?;
        Ok(session)
    }
}

impl Session<'_> {
    /// The note.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The tokens that are kept and need not be read again.
    #[must_use]
    pub fn kept_tokens(&self) -> usize {
        self.kept.iter().map(|(_, prefix)| prefix.ids().len()).sum()
    }

    /// Answers a question about the note.
    ///
    /// # Errors
    ///
    /// As [`Asclepius::answer`].
    pub fn answer(&mut self, question: &str) -> Result<Answer> {
        self.answer_with(question, |_| ControlFlow::Continue(()))
    }

    /// As [`answer`](Self::answer), with the text as it is written; see [`Asclepius::answer_with`].
    ///
    /// # Errors
    ///
    /// As [`Asclepius::answer`].
    pub fn answer_with(
        &mut self,
        question: &str,
        on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let (model, options) = (self.model, self.options.clone());
        let prompter = model.prompter(&options)?;
        let parts = model.plan(&prompter, &self.note, question, &options)?;
        self.forget_all_but(&parts);
        model.ask(self, &prompter, &parts, question, &options, on_piece)
    }

    /// Answers several questions, read and answered side by side behind the one note.
    ///
    /// # Errors
    ///
    /// As [`Asclepius::answer`], for the first question that fails; nothing is answered before all prompts are built.
    pub fn answer_batch(&mut self, questions: &[&str]) -> Result<Vec<Answer>> {
        let (model, options) = (self.model, self.options.clone());
        let prompter = model.prompter(&options)?;
        let plans = questions
            .iter()
            .map(|question| model.plan(&prompter, &self.note, question, &options))
            .collect::<Result<Vec<_>>>()?;
        self.forget_all_but(plans.iter().flatten());
        model.ask_all(self, &prompter, &plans, questions, &options)
    }

    /// How likely the model finds each of some answers to a question, the end of the answer included. The note and the
    /// question are read once, and so is what answers begin with alike.
    ///
    /// # Errors
    ///
    /// As [`Asclepius::answer`]; a note that fits only in windows is
    /// [`Error::NoteTooLong`](crate::Error::NoteTooLong) here.
    pub fn score(&mut self, question: &str, answers: &[&str]) -> Result<Vec<Score>> {
        let (model, mut options) = (self.model, self.options.clone());
        if let LongNote::Windows { .. } = options.long_note {
            options = options.with_long_note(LongNote::Error);
        }
        let prompter = model.prompter(&options)?;
        let part = model
            .plan(&prompter, &self.note, question, &options)?
            .swap_remove(0);
        let text = &self.note[part.range.clone()];
        let texts = answers
            .iter()
            .map(|answer| {
                let mut ids = prompter.ids_with_answer(text, question, answer)?;
                ids.extend(model.end_ids().first());
                Ok(ids)
            })
            .collect::<Result<Vec<_>>>()?;
        // A tokenizer may join the end of the prompt and the beginning of an answer.
        let shared = texts.iter().map(|ids| alike(&part.ids, ids)).min();
        let (prompt, _) = part.ids.split_at(shared.unwrap_or(0));
        let candidates: Vec<&[u32]> = texts.iter().map(|ids| &ids[prompt.len()..]).collect();
        let model = model.model();
        let kept = self.keep(&part.range)?;
        Ok(match prompt.strip_prefix(kept.ids()) {
            Some(rest) => kept.score_candidates(model, rest, &candidates)?,
            None => score_candidates(model, prompt, &candidates)?,
        })
    }

    /// Reads the beginning of the prompt for a range of the note, unless it is kept.
    fn keep(&mut self, range: &Range<usize>) -> Result<&Prefix<LlamaCache>> {
        let at = match self.kept.iter().position(|(kept, _)| kept == range) {
            Some(at) => at,
            None => {
                let prompter = self.model.prompter(&self.options)?;
                let text = &self.note[range.clone()];
                let (first, second) = (
                    prompter.ids(text, PROBES[0])?,
                    prompter.ids(text, PROBES[1])?,
                );
                let shared = &first[..alike(&first, &second).max(1)];
                let model = self.model.model();
                let part = Part {
                    ids: shared.to_vec(),
                    range: range.clone(),
                };
                let prefix = match self.model.head(&prompter, &[&part])? {
                    Some(head) => head.extended(model, &shared[head.ids().len()..])?,
                    None => Prefix::read(model, shared)?,
                };
                self.kept.push((range.clone(), prefix));
                self.kept.len() - 1
            }
        };
        Ok(&self.kept[at].1)
    }

    fn forget_all_but<'p>(&mut self, parts: impl IntoIterator<Item = &'p Part>) {
        let ranges: Vec<&Range<usize>> = parts.into_iter().map(|part| &part.range).collect();
        self.kept.retain(|(range, _)| ranges.contains(&range));
    }
}

impl Reader for Session<'_> {
    fn read(
        &mut self,
        parts: &[&Part],
        options: &AnswerOptions,
        on_token: &mut OnToken<'_>,
    ) -> Result<Vec<(Generated, usize)>> {
        let model = self.model;
        let mut results: Vec<Option<(Generated, usize)>> = parts.iter().map(|_| None).collect();
        for first in 0..parts.len() {
            if results[first].is_some() {
                continue;
            }
            let kept = self.keep(&parts[first].range)?;
            let follows =
                |part: &Part| part.ids.len() > kept.ids().len() && part.ids.starts_with(kept.ids());
            if !follows(parts[first]) {
                // A question that runs into the text before it.
                let mut reader = model;
                results[first] = reader.read(&[parts[first]], options, on_token)?.pop();
                continue;
            }
            let same: Vec<usize> = (first..parts.len())
                .filter(|&at| parts[at].range == parts[first].range && follows(parts[at]))
                .collect();
            let reused = kept.ids().len();
            let rest: Vec<&[u32]> = same.iter().map(|&at| &parts[at].ids[reused..]).collect();
            let text = model.text();
            let (end, places) = (model.end_tokens(&text), options.places());
            let generation = &options.generation;
            let found = kept.generate_many(
                model.model(),
                &rest,
                &end,
                generation,
                places,
                &mut *on_token,
            )?;
            for result in found.into_iter().filter(|result| result.sequence == 0) {
                let at = same[result.row];
                results[at] = Some((result, reused));
            }
        }
        Ok(results.into_iter().flatten().collect())
    }
}
