//! What a caller may choose.

use clinical_generate::Generation;
use clinical_prompts::MarkerPolicy;
use clinical_prompts::asclepius::Template;

/// How a note and a question become the text that the model reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PromptStyle {
    /// The chat template of the directory if it has one and does not call itself Asclepius, else the published
    /// Asclepius prompt. (Asclepius was trained on its own prompt alone, but some of its directories inherit a chat
    /// template from their base model.)
    #[default]
    Auto,
    /// A published prompt, byte for byte.
    Published(Template),
    /// The directory's chat template; the published Asclepius prompt is the user's message.
    Chat {
        /// A system message before it.
        system: Option<String>,
    },
}

/// What happens to a note that does not fit into the model's positions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LongNote {
    /// [`Error::NoteTooLong`](crate::Error::NoteTooLong). Nothing is cut unless the caller says so.
    #[default]
    Error,
    /// The beginning of the note is left out.
    CutStart,
    /// The end of the note is left out.
    CutEnd,
    /// The note is read in windows that end at sections and sentences, and the question is asked of each.
    Windows {
        /// Tokens of the end of one window that the next one repeats.
        overlap: usize,
        /// How the answers become one.
        combine: Combine,
    },
}

/// How the answers from the windows of a long note become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Combine {
    /// The answer with the highest mean log-probability per token. Answers that say that the note has no answer
    /// ([`AnswerOptions::with_no_answer`]) count only if there is no other.
    #[default]
    BestScore,
    /// The first window, in the order of the note, whose answer does not say that the note has no answer; the first
    /// window's answer if all do. Later windows are not read.
    FirstFound,
    /// The question is asked once more over the answers, one a line in the order of the note, in place of the note.
    /// Falls back to [`Combine::BestScore`] if the answers do not fit either.
    AskAgain,
}

/// How a question is asked. The default answers as the published evaluation would with greedy decoding.
#[derive(Debug, Clone)]
pub struct AnswerOptions {
    pub(crate) generation: Generation,
    pub(crate) long_note: LongNote,
    pub(crate) prompt: PromptStyle,
    pub(crate) markers: MarkerPolicy,
    pub(crate) reserve: usize,
    pub(crate) batch: usize,
    pub(crate) no_answer: Vec<String>,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        Self {
            generation: Generation::greedy()
                .with_max_new_tokens(400)
                .with_log_probs(true),
            long_note: LongNote::default(),
            prompt: PromptStyle::default(),
            markers: MarkerPolicy::Error,
            reserve: 64,
            batch: 8,
            no_answer: [
                "not mentioned",
                "not stated",
                "not documented",
                "no information",
                "n/a",
                "unanswerable",
            ]
            .map(String::from)
            .to_vec(),
        }
    }
}

impl AnswerOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How tokens are chosen. Default: greedy, at most 400 new tokens (the length of the published evaluation).
    #[must_use]
    pub fn with_generation(mut self, generation: Generation) -> Self {
        // Answers of windows are compared by their scores.
        self.generation = generation.with_log_probs(true);
        self
    }

    /// The largest number of new tokens. Default: 400.
    #[must_use]
    pub fn with_max_new_tokens(mut self, count: usize) -> Self {
        self.generation = self.generation.with_max_new_tokens(count);
        self
    }

    /// What happens to a note that is too long. Default: an error.
    #[must_use]
    pub fn with_long_note(mut self, policy: LongNote) -> Self {
        self.long_note = policy;
        self
    }

    /// How the prompt is built. Default: [`PromptStyle::Auto`].
    #[must_use]
    pub fn with_prompt(mut self, style: PromptStyle) -> Self {
        self.prompt = style;
        self
    }

    /// What happens to a prompt marker or a special token inside the note or the question. Default: an error.
    #[must_use]
    pub fn with_markers(mut self, policy: MarkerPolicy) -> Self {
        self.markers = policy;
        self
    }

    /// Positions that must be left for the answer; a note that leaves fewer is too long. Default: 64.
    #[must_use]
    pub fn with_reserve(mut self, positions: usize) -> Self {
        self.reserve = positions;
        self
    }

    /// How many prompts [`Asclepius::answer_batch`](crate::Asclepius::answer_batch) has in flight at once. Default: 8; 0
    /// counts as 1.
    #[must_use]
    pub fn with_batch(mut self, rows: usize) -> Self {
        self.batch = rows.max(1);
        self
    }

    /// Phrases by which an answer says that the note has no answer, compared without case; used when the answers of
    /// windows are combined. Default: `not mentioned` and five more.
    #[must_use]
    pub fn with_no_answer<S: Into<String>>(mut self, phrases: impl IntoIterator<Item = S>) -> Self {
        self.no_answer = phrases.into_iter().map(Into::into).collect();
        self
    }

    /// Sequences in flight.
    pub(crate) fn places(&self) -> usize {
        let generation = &self.generation;
        let each = generation.beams.max(generation.num_return_sequences);
        self.batch.saturating_mul(each)
    }

    /// Whether an answer says that the note has no answer.
    pub(crate) fn is_no_answer(&self, answer: &str) -> bool {
        let answer = answer.to_lowercase();
        answer.trim().is_empty()
            || self
                .no_answer
                .iter()
                .any(|phrase| answer.contains(&phrase.to_lowercase()))
    }
}
