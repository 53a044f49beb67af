//! Several questions about one note, which is read once.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use clinical_generate::{Prefix, Score};
use clinical_llama::LlamaCache;

use crate::answer::Answer;
use crate::ask::Asked;
use crate::batch::Batch;
use crate::options::AnswerOptions;
use crate::plan::{Part, plan};
use crate::prefix::{PROBES, goes_on};
use crate::prompt::Prompter;
use crate::run::{Call, OnToken, Read, Reader};
use crate::support::{scores, whole_notes};
use crate::{Asclepius, Error, Result};

/// Questions about one note, which the model reads once; made by [`Asclepius::session`].
///
/// In every published prompt the note stands before the question. What the model has read of it (keys and values: a few
/// megabytes for a small model, 2 GiB for 2,048 tokens of a 7B model in f32) is kept here, and freed with the session.
/// Of a note that is read in windows each window is kept as long as questions ask for the same windows, which they do
/// unless their lengths differ much.
///
/// A session shares its model, so it may live as long as needed, on any thread. Every user has their own.
///
/// An answer is that of [`Asclepius::answer_with`] up to the rounding of the logits (about 1e-5): sums are taken over
/// other pieces of the prompt, so two tokens that are all but equally likely may be swapped.
#[derive(Debug)]
pub struct Session {
    model: Arc<Asclepius>,
    note: String,
    options: AnswerOptions,
    kept: Kept,
}

impl Asclepius {
    /// Reads a note for several questions, with options that hold for all of them.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use asclepius::{AnswerOptions, Asclepius};
    ///
    /// let model = Arc::new(Asclepius::embedded()?);
    /// let note = "Service: MEDICINE\nPertinent Results: K 4.1; Cr 1.2\nDischarge Diagnosis: pneumonia";
    /// let mut session = model.session(note, &AnswerOptions::default())?;
    /// for question in ["What is the discharge diagnosis?", "What was the potassium?"] {
    ///     let answer = session.ask(question)?;
    ///     assert_eq!(answer.text, model.answer(note, question)?.text);
    ///     assert!(answer.usage.reused_tokens > answer.usage.prompt_tokens / 2);
    /// }
    /// # Ok::<(), asclepius::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`answer_with`](Self::answer_with), for the note.
    pub fn session(self: &Arc<Self>, note: &str, options: &AnswerOptions) -> Result<Session> {
        let mut session = Session {
            model: Arc::clone(self),
            note: note.to_owned(),
            options: options.clone(),
            kept: Kept::default(),
        };
        let (prompter, mut reader) = session.open()?;
        let parts = plan(&prompter, reader.note, PROBES[0])?;
        reader.keep(&prompter, &parts[0].range)?;
        Ok(session)
    }
}

impl Session {
    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<Asclepius> {
        &self.model
    }

    /// The note.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The tokens that are kept and need not be read again.
    #[must_use]
    pub fn kept_tokens(&self) -> usize {
        let kept = self.kept.0.iter();
        kept.map(|(_, prefix)| prefix.ids().len()).sum()
    }

    /// Answers a question about the note.
    ///
    /// # Errors
    ///
    /// As [`Asclepius::answer_with`].
    pub fn ask(&mut self, question: &str) -> Result<Answer> {
        self.ask_streaming(question, |_| ControlFlow::Continue(()))
    }

    /// As [`ask`](Self::ask), with the text as it is written; see [`Asclepius::answer_streaming`].
    ///
    /// # Errors
    ///
    /// As [`Asclepius::answer_with`].
    pub fn ask_streaming(
        &mut self,
        question: &str,
        on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let asked = Asked::new(&self.model, &self.note, question, &self.options)?;
        self.kept.forget_all_but(&asked.parts);
        let mut reader = self.kept.of(&self.note);
        asked.answer(&mut reader, on_piece)
    }

    /// Answers several questions in a batch, after the one note. There is one result for each; see
    /// [`Asclepius::answer_batch`].
    pub fn ask_batch(&mut self, questions: &[&str]) -> Vec<Result<Answer>> {
        let asked: Vec<Result<Asked<'_>>> = questions
            .iter()
            .map(|question| Asked::new(&self.model, &self.note, question, &self.options))
            .collect();
        let parts = asked.iter().flatten().flat_map(|asked| &asked.parts);
        self.kept.forget_all_but(parts);
        let mut reader = self.kept.of(&self.note);
        Batch::new(asked, &self.options).answers(&mut reader)
    }

    /// How likely the model finds each of some answers to a question, the end of the answer included. The note and the
    /// question are read once, and so is what answers start with alike.
    ///
    /// # Errors
    ///
    /// As [`Asclepius::answer_with`]; a note that fits only in windows is [`Error::TooLong`] here.
    pub fn score(&mut self, question: &str, answers: &[&str]) -> Result<Vec<Score>> {
        let options = whole_notes(&self.options);
        let prompter = Prompter::new(&self.model, &options)?;
        let part = plan(&prompter, &self.note, question)?.swap_remove(0);
        let text = &self.note[part.range.clone()];
        let mut reader = self.kept.of(&self.note);
        scores(&prompter, &mut reader, (&part, text), question, answers)
    }

    fn open(&mut self) -> Result<(Prompter<'_>, KeptNote<'_>)> {
        if self.options.call.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let prompter = Prompter::new(&self.model, &self.options)?;
        Ok((prompter, self.kept.of(&self.note)))
    }
}

/// The prompt up to the question, for each range of the note that was asked about.
#[derive(Debug, Default)]
struct Kept(Vec<(Range<usize>, Prefix<LlamaCache>)>);

impl Kept {
    fn of<'a>(&'a mut self, note: &'a str) -> KeptNote<'a> {
        KeptNote { note, kept: self }
    }

    fn forget_all_but<'p>(&mut self, parts: impl IntoIterator<Item = &'p Part>) {
        let ranges: Vec<&Range<usize>> = parts.into_iter().map(|part| &part.range).collect();
        self.0.retain(|(range, _)| ranges.contains(&range));
    }
}

/// A note and what is kept of it.
struct KeptNote<'a> {
    note: &'a str,
    kept: &'a mut Kept,
}

impl KeptNote<'_> {
    /// Reads the prompt up to the question for a range of the note, unless it is kept.
    fn keep(
        &mut self,
        prompter: &Prompter<'_>,
        range: &Range<usize>,
    ) -> Result<&Prefix<LlamaCache>> {
        let kept = &mut self.kept.0;
        let at = match kept.iter().position(|(kept, _)| kept == range) {
            Some(at) => at,
            None => {
                let note = &self.note[range.clone()];
                kept.push((range.clone(), read(prompter, note)?));
                kept.len() - 1
            }
        };
        Ok(&kept[at].1)
    }
}

/// Reads what all prompts about a note start with.
fn read(prompter: &Prompter<'_>, note: &str) -> Result<Prefix<LlamaCache>> {
    let shared = prompter.note_ids(note)?;
    let shared = shared.as_slice();
    let model = prompter.model;
    let prefix = model.prompt_prefix(prompter, &[shared])?;
    Ok(
        match prefix.filter(|prefix| goes_on(shared, prefix.ids())) {
            Some(prefix) => prefix.extended(model.model(), &shared[prefix.ids().len()..])?,
            None => Prefix::read(model.model(), shared)?,
        },
    )
}

impl Reader for KeptNote<'_> {
    fn read(
        &mut self,
        prompter: &Prompter<'_>,
        part: &Part,
        on_token: &mut OnToken<'_>,
    ) -> Result<Read> {
        let kept = self.keep(prompter, &part.range)?;
        Call::new(prompter).one(Some(kept), &part.ids, on_token)
    }

    fn read_all(
        &mut self,
        prompter: &Prompter<'_>,
        parts: &[&Part],
        on_done: &mut dyn FnMut(),
    ) -> Vec<Result<Read>> {
        let call = Call::new(prompter);
        let mut results: Vec<Option<Result<Read>>> = parts.iter().map(|_| None).collect();
        for first in 0..parts.len() {
            if results[first].is_some() {
                continue;
            }
            let range = &parts[first].range;
            let rows: Vec<usize> = (first..parts.len())
                .filter(|&at| parts[at].range == *range)
                .collect();
            let prompts: Vec<&[u32]> = rows.iter().map(|&at| &parts[at].ids[..]).collect();
            // What is wrong with the note is wrong with each prompt, which tells of it.
            let kept = self.keep(prompter, range).ok();
            let found = call.all(kept, &prompts, on_done);
            for (at, result) in rows.into_iter().zip(found) {
                results[at] = Some(result);
            }
        }
        results.into_iter().flatten().collect()
    }

    fn after_prefix<T>(
        &mut self,
        prompter: &Prompter<'_>,
        part: &Part,
        run: impl FnOnce(Option<&Prefix<LlamaCache>>) -> Result<T>,
    ) -> Result<T> {
        run(Some(self.keep(prompter, &part.range)?))
    }
}
