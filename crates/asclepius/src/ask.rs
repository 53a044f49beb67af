//! Asking a question: one prompt, or one for each window of a long note.

use std::ops::ControlFlow;

use clinical_generate::{Cancel, Generated, Step, generate_many};

use crate::answer::{Answer, Usage, Window};
use crate::combine::{best, first_found};
use crate::options::{AnswerOptions, Combine, LongNote};
use crate::plan::Part;
use crate::prompt::Prompter;
use crate::text::Trim;
use crate::{Asclepius, Error, Result};

/// Gets each token as it is chosen.
pub(crate) type OnToken<'f> = dyn FnMut(Step<'_>) -> ControlFlow<Cancel> + 'f;

/// Continues prompts: from their first token, or behind what was read before.
pub(crate) trait Reader {
    /// The best sequence of each prompt, and how many of its tokens were not read again.
    fn read(
        &mut self,
        parts: &[&Part],
        options: &AnswerOptions,
        on_token: &mut OnToken<'_>,
    ) -> Result<Vec<(Generated, usize)>>;
}

impl Reader for &Asclepius {
    fn read(
        &mut self,
        parts: &[&Part],
        options: &AnswerOptions,
        on_token: &mut OnToken<'_>,
    ) -> Result<Vec<(Generated, usize)>> {
        let prompts: Vec<&[u32]> = parts.iter().map(|part| part.ids.as_slice()).collect();
        let text = self.text();
        let (end, places) = (self.end_tokens(&text), options.places());
        let (model, generation) = (self.model(), &options.generation);
        let head = self.head(&self.prompter(options)?, parts)?;
        let reused = head.as_ref().map_or(0, |head| head.ids().len());
        let results = match head {
            Some(head) => {
                let rest: Vec<&[u32]> = prompts.iter().map(|ids| &ids[reused..]).collect();
                head.generate_many(model, &rest, &end, generation, places, on_token)?
            }
            None => generate_many(model, &prompts, &end, generation, places, on_token)?,
        };
        let best = results.into_iter().filter(|result| result.sequence == 0);
        Ok(best.map(|result| (result, reused)).collect())
    }
}

impl Asclepius {
    /// Answers a question about a note with the default [`AnswerOptions`].
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error): an empty question, a note that is too long, a prompt marker inside a text, a model whose
    /// numbers are not finite.
    pub fn answer(&self, note: &str, question: &str) -> Result<Answer> {
        self.answer_with(note, question, &AnswerOptions::default(), |_| {
            ControlFlow::Continue(())
        })
    }

    /// As [`answer`](Self::answer), with options and with the text as it is written.
    ///
    /// `on_piece` gets whole characters; the pieces make up [`Answer::text`]. It stops the answer by returning
    /// [`ControlFlow::Break`]. Where a long note is read in windows the answer is known only at the end, and comes in
    /// one piece.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn answer_with(
        &self,
        note: &str,
        question: &str,
        options: &AnswerOptions,
        on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let prompter = self.prompter(options)?;
        let parts = self.plan(&prompter, note, question, options)?;
        let mut reader = self;
        self.ask(&mut reader, &prompter, &parts, question, options, on_piece)
    }

    /// Answers many questions, several at a time: when an answer ends, the next question takes its place. Each answer is
    /// what [`answer_with`](Self::answer_with) gives alone, up to the rounding of the logits.
    ///
    /// What all prompts begin with is read once: the head of the prompt, and the note where all questions are about one. A
    /// [`session`](Self::session) keeps a note for questions that come later.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer), for the first question that fails; nothing is answered before all prompts are built.
    pub fn answer_batch(
        &self,
        questions: &[(&str, &str)],
        options: &AnswerOptions,
    ) -> Result<Vec<Answer>> {
        let prompter = self.prompter(options)?;
        let plans = questions
            .iter()
            .map(|(note, question)| self.plan(&prompter, note, question, options))
            .collect::<Result<Vec<_>>>()?;
        let questions: Vec<&str> = questions.iter().map(|(_, question)| *question).collect();
        let mut reader = self;
        self.ask_all(&mut reader, &prompter, &plans, &questions, options)
    }

    /// The answer for each plan: prompts that need no windows side by side, then one long note after another.
    pub(crate) fn ask_all(
        &self,
        reader: &mut impl Reader,
        prompter: &Prompter<'_>,
        plans: &[Vec<Part>],
        questions: &[&str],
        options: &AnswerOptions,
    ) -> Result<Vec<Answer>> {
        let single = plans.iter().filter(|parts| parts.len() == 1);
        let parts: Vec<&Part> = single.map(|parts| &parts[0]).collect();
        let mut results = Vec::new();
        if !parts.is_empty() {
            results = reader.read(&parts, options, &mut |_| ControlFlow::Continue(()))?;
        }
        let mut results = results.iter();
        let mut answers = Vec::with_capacity(plans.len());
        for (parts, question) in plans.iter().zip(questions) {
            answers.push(match &parts[..] {
                [part] => results.next().map(|result| whole(part, result)),
                _ => Some(self.combine(reader, prompter, parts, question, options)?),
            });
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// The answer from all parts; see [`Self::answer_with`].
    pub(crate) fn ask(
        &self,
        reader: &mut impl Reader,
        prompter: &Prompter<'_>,
        parts: &[Part],
        question: &str,
        options: &AnswerOptions,
        mut on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let [part] = parts else {
            let answer = self.combine(reader, prompter, parts, question, options)?;
            let _ = on_piece(&answer.text);
            return Ok(answer);
        };
        let mut trim = Trim::default();
        let result = reader.read(&[part], options, &mut |step| {
            if step.sequence > 0 {
                return ControlFlow::Continue(());
            }
            match trim.push(step.text) {
                Some(piece) if on_piece(&piece).is_break() => ControlFlow::Break(Cancel::All),
                _ => ControlFlow::Continue(()),
            }
        })?;
        let answer = whole(part, &result[0]);
        // What the decoder held back comes with the last token of all.
        if let Some(rest) = answer.text.strip_prefix(trim.written.as_str())
            && !rest.is_empty()
        {
            let _ = on_piece(rest);
        }
        Ok(answer)
    }

    /// Asks the question of every window, and makes one answer of theirs.
    fn combine(
        &self,
        reader: &mut impl Reader,
        prompter: &Prompter<'_>,
        parts: &[Part],
        question: &str,
        options: &AnswerOptions,
    ) -> Result<Answer> {
        let combine = match options.long_note {
            LongNote::Windows { combine, .. } => combine,
            _ => Combine::default(),
        };
        // The first that finds something ends the reading; the others need all windows.
        let at_once = match combine {
            Combine::FirstFound => 1,
            Combine::BestScore | Combine::AskAgain => parts.len(),
        };
        let mut answers = Vec::with_capacity(parts.len());
        for parts in parts.chunks(at_once) {
            let parts: Vec<&Part> = parts.iter().collect();
            let results = reader.read(&parts, options, &mut |_| ControlFlow::Continue(()))?;
            answers.extend(
                parts
                    .iter()
                    .zip(&results)
                    .map(|(part, result)| whole(part, result)),
            );
            let found = |answer: &Answer| !options.is_no_answer(&answer.text);
            if combine == Combine::FirstFound && answers.last().is_some_and(found) {
                break;
            }
        }
        let chosen = match combine {
            Combine::FirstFound => first_found(&answers, options),
            Combine::BestScore | Combine::AskAgain => best(&answers, options),
        };
        let mut usage = Usage::default();
        for answer in &answers {
            usage += answer.usage;
        }
        let mut windows: Vec<Window> = parts
            .iter()
            .map(|part| Window {
                range: part.range.clone(),
                answer: None,
            })
            .collect();
        for (window, answer) in windows.iter_mut().zip(&answers) {
            window.answer = Some(answer.text.clone());
        }
        let mut answer = answers.swap_remove(chosen);
        answer.window = Some(chosen);
        if combine == Combine::AskAgain
            && let Some(again) = self.ask_again(prompter, &windows, question, options)?
        {
            usage += again.usage;
            answer = again;
            answer.window = None;
        }
        answer.usage = usage;
        answer.windows = windows;
        Ok(answer)
    }

    /// The question over the answers of the windows; `None` where they do not fit, or only one of them found anything.
    fn ask_again(
        &self,
        prompter: &Prompter<'_>,
        windows: &[Window],
        question: &str,
        options: &AnswerOptions,
    ) -> Result<Option<Answer>> {
        let found: Vec<&str> = windows
            .iter()
            .filter_map(|window| window.answer.as_deref())
            .filter(|answer| !options.is_no_answer(answer))
            .collect();
        if found.len() < 2 {
            return Ok(None);
        }
        let note = found.join("\n");
        let once = options.clone().with_long_note(LongNote::Error);
        let parts = match self.plan(prompter, &note, question, &once) {
            Err(Error::NoteTooLong { .. }) => return Ok(None),
            parts => parts?,
        };
        let mut reader = self;
        let result = reader.read(&[&parts[0]], options, &mut |_| ControlFlow::Continue(()))?;
        Ok(Some(whole(&parts[0], &result[0])))
    }
}

/// The answer from one part alone; `reused` of its tokens were not read again.
fn whole(part: &Part, (result, reused): &(Generated, usize)) -> Answer {
    Answer {
        text: result.text.as_deref().unwrap_or_default().trim().to_owned(),
        stop: result.stop,
        usage: Usage {
            prompt_tokens: part.ids.len(),
            reused_tokens: *reused,
            new_tokens: result.ids.len(),
        },
        log_prob: result.log_prob().unwrap_or(0.0),
        windows: vec![Window {
            range: part.range.clone(),
            answer: None,
        }],
        window: Some(0),
    }
}
