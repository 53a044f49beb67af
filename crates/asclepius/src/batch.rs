//! Many questions, each with a result of its own.

use std::ops::ControlFlow;

use crate::answer::Answer;
use crate::ask::Asked;
use crate::options::AnswerOptions;
use crate::plan::Part;
use crate::run::Reader;
use crate::{Error, Result};

/// Questions with the same options.
pub(crate) struct Batch<'a> {
    asked: Vec<Result<Asked<'a>>>,
    options: &'a AnswerOptions,
    /// Questions that have their result.
    done: usize,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(asked: Vec<Result<Asked<'a>>>, options: &'a AnswerOptions) -> Self {
        Self {
            asked,
            options,
            done: 0,
        }
    }

    /// A result for each question, in order.
    pub(crate) fn answers(mut self, reader: &mut impl Reader) -> Vec<Result<Answer>> {
        self.finish(self.asked.iter().filter(|asked| asked.is_err()).count());
        let mut answers: Vec<Option<Result<Answer>>> = self.asked.iter().map(|_| None).collect();
        self.at_once(reader, &mut answers);
        self.one_by_one(reader, &mut answers);
        answers
            .into_iter()
            .zip(self.asked)
            .map(|found| match found {
                (_, Err(error)) => Err(error),
                (answer, Ok(_)) => answer.unwrap_or(Err(Error::Cancelled)),
            })
            .collect()
    }

    /// The questions of one prompt each, side by side.
    fn at_once(&mut self, reader: &mut impl Reader, answers: &mut [Option<Result<Answer>>]) {
        let mut rows: Vec<(usize, &Asked<'a>, &Part)> = Vec::new();
        for (at, asked) in self.asked.iter().enumerate() {
            if let Ok(asked) = asked
                && let [part] = &asked.parts[..]
            {
                rows.push((at, asked, part));
            }
        }
        let Some((_, first, _)) = rows.first() else {
            return;
        };
        let parts: Vec<&Part> = rows.iter().map(|(_, _, part)| *part).collect();
        let (mut done, total) = (self.done, self.asked.len());
        let results = reader.read_all(&first.prompter, &parts, &mut || {
            done += 1;
            self.options.call.done(done, total);
        });
        for ((at, asked, part), result) in rows.iter().zip(results) {
            let answer = result.map(|read| asked.whole(part, read));
            answers[*at] = Some(answer.and_then(|answer| asked.checked(answer, reader)));
        }
        self.done = done;
    }

    /// The long notes, one after another.
    fn one_by_one(&mut self, reader: &mut impl Reader, answers: &mut [Option<Result<Answer>>]) {
        for (at, answer) in answers.iter_mut().enumerate() {
            if let (None, Ok(asked)) = (&answer, &self.asked[at])
                && !self.options.call.is_cancelled()
            {
                *answer = Some(asked.answer(reader, |_| ControlFlow::Continue(())));
                self.finish(1);
            }
        }
    }

    /// Tells that so many more questions have their result.
    fn finish(&mut self, more: usize) {
        self.done += more;
        if more > 0 && !self.options.call.is_cancelled() {
            self.options.call.done(self.done, self.asked.len());
        }
    }
}
