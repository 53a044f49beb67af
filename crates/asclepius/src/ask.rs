//! Asking a question: one prompt, or one for each window of a long note.

use std::ops::ControlFlow;

use clinical_facade::LongText;
use clinical_generate::Cancel;
use clinical_prompts::MarkerPolicy;

use crate::answer::{Answer, Usage, Window};
use crate::batch::Batch;
use crate::combine::{best, first_found};
use crate::options::{AnswerOptions, Combine};
use crate::plan::{Part, plan};
use crate::prompt::Prompter;
use crate::run::{Call, Read, Reader};
use crate::text::{Trim, tokens};
use crate::{Asclepius, Error, FindEvidence, Result, Style};

impl Asclepius {
    /// Answers a question about a note with the default [`AnswerOptions`].
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error): an empty note or question, a note that is too long, a prompt marker inside a text, a
    /// model whose numbers are not finite.
    pub fn answer(&self, note: &str, question: &str) -> Result<Answer> {
        self.answer_with(note, question, &AnswerOptions::default())
    }

    /// As [`answer`](Self::answer), with options.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer), and [`Error::Cancelled`] where the flag of the options is set before the first
    /// token; an answer that is cancelled later is given as far as it was written.
    pub fn answer_with(
        &self,
        note: &str,
        question: &str,
        options: &AnswerOptions,
    ) -> Result<Answer> {
        self.answer_streaming(note, question, options, |_| ControlFlow::Continue(()))
    }

    /// As [`answer_with`](Self::answer_with), with the text as it is written.
    ///
    /// `on_piece` gets whole characters; the pieces make up [`Answer::text`]. It stops the answer by returning
    /// [`ControlFlow::Break`]. Where a long note is read in windows the answer is known only at the end, and comes in
    /// one piece. With a [calibration](AnswerOptions::with_calibration) the text comes in one piece at the end, if it is
    /// shown; until then the pieces are empty, and only ask whether to go on.
    ///
    /// # Errors
    ///
    /// As [`answer_with`](Self::answer_with).
    pub fn answer_streaming(
        &self,
        note: &str,
        question: &str,
        options: &AnswerOptions,
        on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let mut reader = self;
        Asked::new(self, note, question, options)?.answer(&mut reader, on_piece)
    }

    /// Answers many questions, in a batch of at most [`with_batch`](AnswerOptions::with_batch) prompts: when an answer
    /// ends, the next question takes its slot. There is one result for each question, in order; each answer is what
    /// [`answer_with`](Self::answer_with) gives alone, up to the rounding of the logits, and a question that fails
    /// costs the others nothing. Questions that are cancelled before their first token are [`Error::Cancelled`].
    ///
    /// What all prompts start with is read once: the prompt prefix, and the note where all questions are about one. A
    /// [`session`](Self::session) keeps a note for questions that come later.
    ///
    /// ```
    /// use asclepius::{AnswerOptions, Asclepius, Error};
    ///
    /// let model = Asclepius::embedded()?;
    /// let question = "What is the discharge diagnosis?";
    /// let notes = ["Discharge Diagnosis: pneumonia", " ", "Discharge Diagnosis: sepsis"];
    /// let options = AnswerOptions::new().with_batch(4);
    /// let answers = model.answer_batch(&notes.map(|note| (note, question)), &options);
    /// assert!(answers[0].is_ok() && answers[2].is_ok());
    /// assert!(matches!(answers[1], Err(Error::NothingLeft)));
    /// # Ok::<(), asclepius::Error>(())
    /// ```
    pub fn answer_batch(
        &self,
        questions: &[(&str, &str)],
        options: &AnswerOptions,
    ) -> Vec<Result<Answer>> {
        let asked = questions
            .iter()
            .map(|(note, question)| Asked::new(self, note, question, options));
        let mut reader = self;
        Batch::new(asked.collect(), options).answers(&mut reader)
    }

    /// Goes on with a text, without any prompt: what a plain language model does. [`Answer::text`] is what comes after
    /// the text, with its white space, so that `text + &answer.text` reads on.
    ///
    /// Of the options all but the prompt style count; the text takes the place of the note. Of a text that is too long
    /// [`LongText::CutStart`] keeps the end.
    ///
    /// ```
    /// use asclepius::{AnswerOptions, Asclepius};
    ///
    /// let model = Asclepius::embedded()?;
    /// let text = "Discharge Diagnosis:";
    /// let more = model.complete(text, &AnswerOptions::new().with_max_new_tokens(8))?;
    /// assert_eq!(more.usage.new_tokens, more.tokens.len());
    /// # Ok::<(), asclepius::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`answer_with`](Self::answer_with).
    pub fn complete(&self, text: &str, options: &AnswerOptions) -> Result<Answer> {
        self.complete_streaming(text, options, |_| ControlFlow::Continue(()))
    }

    /// As [`complete`](Self::complete), with the text as it is written; see
    /// [`answer_streaming`](Self::answer_streaming).
    ///
    /// # Errors
    ///
    /// As [`answer_with`](Self::answer_with).
    pub fn complete_streaming(
        &self,
        text: &str,
        options: &AnswerOptions,
        on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let prompter = Prompter::with_style(self, options, Style::Text)?;
        let mut reader = self;
        Asked::with(prompter, text, "")?.answer(&mut reader, on_piece)
    }

    /// How many tokens the prompt of a question has, the whole note included. A prompt fits if as many positions as
    /// [`with_reserve`](AnswerOptions::with_reserve) keeps are left of [`max_tokens`](Self::max_tokens).
    ///
    /// # Errors
    ///
    /// As [`answer_with`](Self::answer_with), but for length.
    pub fn prompt_tokens(
        &self,
        note: &str,
        question: &str,
        options: &AnswerOptions,
    ) -> Result<usize> {
        let prompt = Prompter::new(self, options)?.ids(note, question)?;
        Ok(prompt.len())
    }
}

/// A question about a note with all that its answer needs.
pub(crate) struct Asked<'a> {
    pub(crate) prompter: Prompter<'a>,
    pub(crate) note: &'a str,
    pub(crate) question: &'a str,
    pub(crate) parts: Vec<Part>,
}

impl<'a> Asked<'a> {
    /// Builds the prompts.
    pub(crate) fn new(
        model: &'a Asclepius,
        note: &'a str,
        question: &'a str,
        options: &'a AnswerOptions,
    ) -> Result<Self> {
        Self::with(Prompter::new(model, options)?, note, question)
    }

    /// Prompts that are ready, of no note.
    pub(crate) fn of_parts(prompter: Prompter<'a>, parts: Vec<Part>) -> Self {
        Self {
            prompter,
            note: "",
            question: "",
            parts,
        }
    }

    /// As [`new`](Self::new), with a style that is chosen already.
    pub(crate) fn with(prompter: Prompter<'a>, note: &'a str, question: &'a str) -> Result<Self> {
        if prompter.options.call.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let parts = plan(&prompter, note, question)?;
        Ok(Self {
            prompter,
            note,
            question,
            parts,
        })
    }

    /// The answer; `on_piece` gets its text as it is written.
    pub(crate) fn answer(
        &self,
        reader: &mut impl Reader,
        mut on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let [part] = &self.parts[..] else {
            let answer = self.combined(reader)?;
            let answer = self.checked(answer, reader)?;
            if answer.shown != Some(false) {
                let _ = on_piece(&answer.text);
            }
            return Ok(answer);
        };
        let held = self.holds_back();
        let mut trim = self.trim();
        let read = reader.read(&self.prompter, part, &mut |step| {
            if step.sequence > 0 {
                return ControlFlow::Continue(());
            }
            match trim.push(step.text) {
                Some(_) if held && on_piece("").is_break() => ControlFlow::Break(Cancel::All),
                Some(piece) if !held && on_piece(&piece).is_break() => {
                    ControlFlow::Break(Cancel::All)
                }
                _ => ControlFlow::Continue(()),
            }
        })?;
        let answer = self.whole(part, read);
        // What the decoder held back comes with the last token of all.
        if !held
            && let Some(rest) = answer.text.strip_prefix(trim.written.as_str())
            && !rest.is_empty()
        {
            let _ = on_piece(rest);
        }
        let answer = self.checked(answer, reader)?;
        if held && answer.shown != Some(false) {
            let _ = on_piece(&answer.text);
        }
        Ok(answer)
    }

    /// Adds what the options ask for beside the text: its evidence, and whether it is shown.
    pub(crate) fn checked(&self, answer: Answer, reader: &mut impl Reader) -> Result<Answer> {
        self.with_support(self.with_evidence(answer)?, reader)
    }

    /// Whether an answer is given only when it is known to be shown. A conversation, and a text to go on with, have no
    /// note that could say it.
    pub(crate) fn holds_back(&self) -> bool {
        self.prompter.options.calibration.is_some()
            && self.prompter.style != Style::Text
            && !self.note.is_empty()
    }

    /// An answer has no white space at either end; a text that goes on keeps it.
    fn trim(&self) -> Trim {
        Trim::new(self.prompter.style == Style::Text)
    }

    /// The answer from one part alone; `reused` of its tokens were not read again.
    pub(crate) fn whole(&self, part: &Part, (result, reused): Read) -> Answer {
        let prompt = [part.ids.as_slice()];
        let worded = self.prompter.model.ends_in_a_word(&result);
        let call = Call::new(&self.prompter);
        let texts = call.text(&prompt);
        let pieces = texts.pieces(&result, worded);
        let top = texts.top(&result, self.prompter.model.tokenizer());
        let text = match &result.text {
            Some(text) if !worded => text.clone(),
            _ => pieces.concat(),
        };
        let kept = self.trim().range(&text);
        let tokens = tokens(&result, &pieces, top, kept.clone());
        Answer {
            text: text[kept].to_owned(),
            stop: result.stop,
            usage: Usage {
                prompt_tokens: part.ids.len(),
                reused_tokens: reused,
                new_tokens: result.ids.len(),
                evidence_tokens: 0,
            },
            log_prob: result.log_prob().unwrap_or(0.0),
            tokens,
            style: self.prompter.style,
            windows: vec![Window {
                range: part.range.clone(),
                answer: None,
            }],
            window: Some(0),
            evidence: Vec::new(),
            unsupported: Vec::new(),
            support: None,
            shown: None,
        }
    }

    /// Asks the question of every window, and makes one answer of theirs.
    fn combined(&self, reader: &mut impl Reader) -> Result<Answer> {
        let options = self.prompter.options;
        let mut answers = self.of_windows(reader)?;
        let chosen = match options.combine {
            Combine::FirstFound => first_found(&answers, options),
            Combine::BestScore | Combine::AskAgain => best(&answers, options),
        };
        let mut usage = Usage::default();
        for answer in &answers {
            usage += answer.usage;
        }
        let texts = answers.iter().map(|answer| Some(answer.text.clone()));
        // Windows after the one that was found are not read.
        let texts = texts.chain(std::iter::repeat(None));
        let windows: Vec<Window> = self
            .parts
            .iter()
            .zip(texts)
            .map(|(part, answer)| Window {
                range: part.range.clone(),
                answer,
            })
            .collect();
        let mut answer = answers.swap_remove(chosen);
        answer.window = Some(chosen);
        if options.combine == Combine::AskAgain
            && let Some(again) = self.asked_again(&windows)?
        {
            usage += again.usage;
            answer = again;
            answer.window = None;
        }
        answer.usage = usage;
        answer.windows = windows;
        Ok(answer)
    }

    /// The answers of the windows, in order: all of them, or up to the first that found something where that is enough.
    fn of_windows(&self, reader: &mut impl Reader) -> Result<Vec<Answer>> {
        let options = self.prompter.options;
        let first_found = options.combine == Combine::FirstFound;
        let at_once = if first_found { 1 } else { self.parts.len() };
        let mut answers: Vec<Answer> = Vec::with_capacity(self.parts.len());
        for parts in self.parts.chunks(at_once.max(1)) {
            let parts: Vec<&Part> = parts.iter().collect();
            let results = reader.read_all(&self.prompter, &parts, &mut || {});
            for (part, result) in parts.iter().zip(results) {
                answers.push(self.whole(part, result?));
            }
            // Windows that were cut short make no answer.
            if options.call.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let found = |answer: &Answer| !options.is_no_answer(&answer.text);
            if first_found && answers.last().is_some_and(found) {
                break;
            }
        }
        Ok(answers)
    }

    /// The answer to the question over the answers of the windows; `None` where they do not fit, or only one of them
    /// found anything.
    fn asked_again(&self, windows: &[Window]) -> Result<Option<Answer>> {
        let mut options = self
            .prompter
            .options
            .clone()
            .with_long_text(LongText::Error)
            .with_evidence(FindEvidence::Nothing)
            .with_calibration(None);
        let found: Vec<&str> = windows
            .iter()
            .filter_map(|window| window.answer.as_deref())
            .filter(|answer| !options.is_no_answer(answer))
            .collect();
        if found.len() < 2 {
            return Ok(None);
        }
        let note = found.join("\n");
        // What the model wrote is no fault of the caller's.
        if options.markers == MarkerPolicy::Error {
            options = options.with_markers(MarkerPolicy::Escape);
        }
        let (mut model, style) = (self.prompter.model, self.prompter.style);
        let prompter = Prompter::with_style(model, &options, style)?;
        let asked = match Asked::with(prompter, &note, self.question) {
            Err(Error::TooLong(_)) => return Ok(None),
            asked => asked?,
        };
        asked
            .answer(&mut model, |_| ControlFlow::Continue(()))
            .map(Some)
    }
}
