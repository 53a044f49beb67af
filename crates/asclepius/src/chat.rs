//! A conversation through the chat template of the files.

use std::ops::ControlFlow;

use clinical_facade::TextTooLong;

use crate::answer::Answer;
use crate::ask::Asked;
use crate::options::AnswerOptions;
use crate::plan::Part;
use crate::prompt::Prompter;
use crate::run::Reader;
use crate::{Asclepius, Error, Result, Style};

impl Asclepius {
    /// Goes on with a conversation: `messages` are roles (`system`, `user`, `assistant`, as the chat template knows
    /// them) and contents, which reach the template as they are. [`Answer::windows`] is empty.
    ///
    /// Of the options the prompt style does not count, nor what is to happen to long notes: a conversation that leaves
    /// fewer positions than [`with_reserve`](AnswerOptions::with_reserve) is an error.
    ///
    /// # Errors
    ///
    /// As [`answer_with`](Self::answer_with), and [`Error::NoChatTemplate`].
    pub fn chat(&self, messages: &[(&str, &str)], options: &AnswerOptions) -> Result<Answer> {
        self.chat_streaming(messages, options, |_| ControlFlow::Continue(()))
    }

    /// As [`chat`](Self::chat), with the text as it is written; see [`answer_streaming`](Self::answer_streaming).
    ///
    /// # Errors
    ///
    /// As [`chat`](Self::chat).
    pub fn chat_streaming(
        &self,
        messages: &[(&str, &str)],
        options: &AnswerOptions,
        on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let mut reader = self;
        answer(self, messages, options, &mut reader, on_piece)
    }

    /// The prompt that questions are asked with unless the caller chooses another
    /// ([`PromptStyle::Auto`](crate::PromptStyle::Auto)).
    #[must_use]
    pub fn style(&self) -> Style {
        self.styles.style(&crate::PromptStyle::Auto)
    }
}

/// The answer to a conversation.
pub(crate) fn answer(
    model: &Asclepius,
    messages: &[(&str, &str)],
    options: &AnswerOptions,
    reader: &mut impl Reader,
    on_piece: impl FnMut(&str) -> ControlFlow<()>,
) -> Result<Answer> {
    let prompter = Prompter::with_style(model, options, Style::Chat)?;
    if options.call.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let ids = prompter.chat_ids(messages)?;
    let (reserve, room) = prompter.reserve_and_room();
    if ids.len() > room {
        let too_long = TextTooLong::new("conversation", ids.len(), room);
        return Err(too_long.with_reserved(reserve).into());
    }
    let asked = Asked::of_parts(prompter, vec![Part { ids, range: 0..0 }]);
    let mut answer = asked.answer(reader, on_piece)?;
    answer.windows.clear();
    answer.window = None;
    Ok(answer)
}
