//! What a caller may choose.

use std::sync::Arc;

use clinical_facade::{Calibration, CallOptions, LongText, call_options};
use clinical_generate::Generation;
use clinical_prompts::MarkerPolicy;

use crate::{FindEvidence, PromptStyle};

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

/// The largest number of new tokens unless the caller says another: the length of the published evaluation.
const MAX_NEW_TOKENS: usize = 400;

/// How many prompts are in a batch at once, unless the caller says another number.
const BATCH: usize = 8;

/// How a question is asked. The default answers as the published evaluation would with greedy decoding.
///
/// The order of the builder calls never matters. A note that is too long is an error unless
/// [`with_long_text`](Self::with_long_text) says otherwise; [`with_max_tokens`](Self::with_max_tokens) bounds the
/// prompt; [`with_batch`](Self::with_batch) is 8 prompts unless set.
#[derive(Debug, Clone)]
pub struct AnswerOptions {
    pub(crate) call: CallOptions,
    generation: Option<Generation>,
    max_new_tokens: Option<usize>,
    pub(crate) combine: Combine,
    pub(crate) prompt: PromptStyle,
    pub(crate) markers: MarkerPolicy,
    pub(crate) reserve: usize,
    pub(crate) evidence: FindEvidence,
    pub(crate) calibration: Option<Arc<Calibration>>,
    no_answer: Vec<String>,
}

call_options!(AnswerOptions);

impl Default for AnswerOptions {
    fn default() -> Self {
        Self {
            call: CallOptions::default(),
            generation: None,
            max_new_tokens: None,
            combine: Combine::default(),
            prompt: PromptStyle::default(),
            markers: MarkerPolicy::Error,
            reserve: 64,
            evidence: FindEvidence::default(),
            calibration: None,
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

    /// How tokens are chosen. Default: greedy. The length of an answer is that of
    /// [`with_max_new_tokens`](Self::with_max_new_tokens) where it is set, else what was set in `generation`, else 400;
    /// a flag of [`with_cancel`](Self::with_cancel) takes the place of one in `generation`.
    #[must_use]
    pub fn with_generation(mut self, generation: Generation) -> Self {
        self.generation = Some(generation);
        self
    }

    /// The largest number of new tokens. Default: what [`with_generation`](Self::with_generation) sets, else 400 (the
    /// length of the published evaluation).
    #[must_use]
    pub fn with_max_new_tokens(mut self, count: usize) -> Self {
        self.max_new_tokens = Some(count);
        self
    }

    /// How the answers from the windows of a long note become one, with
    /// [`LongText::Windows`](crate::LongText::Windows). Default: [`Combine::BestScore`].
    #[must_use]
    pub fn with_combine(mut self, combine: Combine) -> Self {
        self.combine = combine;
        self
    }

    /// How the prompt is built. Default: [`PromptStyle::Auto`].
    #[must_use]
    pub fn with_prompt(mut self, style: PromptStyle) -> Self {
        self.prompt = style;
        self
    }

    /// What happens to a prompt marker or a special token inside the note or the question. Default: an error. The tags
    /// of converted de-identification (`[Name]` and 14 more, [`clinical_deid::SPECIAL_TOKENS`]) are text whatever this
    /// says, even where a model has them as special tokens.
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

    /// Where in the note the answer comes from: [`Answer::evidence`](crate::Answer::evidence) and
    /// [`Answer::unsupported`](crate::Answer::unsupported). Default: nothing is looked for.
    #[must_use]
    pub fn with_evidence(mut self, evidence: FindEvidence) -> Self {
        self.evidence = evidence;
        self
    }

    /// Says of each answer to a question about a note whether it is sure enough to be shown:
    /// [`Answer::shown`](crate::Answer::shown), with its score in [`Answer::support`](crate::Answer::support). It reads
    /// the answer and three sentences once more after the note, and the question without the note. Default: none.
    ///
    /// An answer that was put together from windows of a long note, cancelled or ended by a deadline is never shown: the
    /// promise is about whole answers. Load the file with [`Calibration::load`], which refuses one of another model.
    #[must_use]
    pub fn with_calibration(mut self, calibration: impl Into<Option<Arc<Calibration>>>) -> Self {
        self.calibration = calibration.into();
        self
    }

    /// Phrases by which an answer says that the note has no answer, compared without case; used when the answers of
    /// windows are combined, and by [`is_no_answer`](Self::is_no_answer). Default: `not mentioned` and five more.
    #[must_use]
    pub fn with_no_answer<S: Into<String>>(mut self, phrases: impl IntoIterator<Item = S>) -> Self {
        self.no_answer = phrases.into_iter().map(Into::into).collect();
        self
    }

    /// How tokens are chosen, all options together.
    pub(crate) fn generation(&self) -> Generation {
        let mut generation = self.generation.clone().unwrap_or_else(Generation::greedy);
        if let Some(count) = self.max_new_tokens {
            generation.max_new_tokens = count;
        } else if !generation.sets_max_new_tokens() {
            generation.max_new_tokens = MAX_NEW_TOKENS;
        }
        if let Some(flag) = &self.call.cancel {
            generation.cancel = Some(flag.clone());
        }
        // Answers of windows are compared by their scores, and tokens tell theirs.
        generation.with_log_probs(true)
    }

    /// What happens to a long note.
    pub(crate) fn long_text(&self) -> LongText {
        self.call.long_text.unwrap_or_default()
    }

    /// Sequences of a batch.
    pub(crate) fn slots(&self, generation: &Generation) -> usize {
        let each = generation.beams.max(generation.num_return_sequences).max(1);
        self.call.batch.unwrap_or(BATCH).max(1).saturating_mul(each)
    }

    /// Whether an answer says that the note has no answer, by the phrases of [`with_no_answer`](Self::with_no_answer);
    /// one without text does.
    #[must_use]
    pub fn is_no_answer(&self, answer: &str) -> bool {
        let answer = answer.to_lowercase();
        answer.trim().is_empty()
            || self
                .no_answer
                .iter()
                .any(|phrase| answer.contains(&phrase.to_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_calls_does_not_matter() {
        let length = |options: AnswerOptions| options.generation().max_new_tokens;
        let new = AnswerOptions::new;
        let sample = Generation::sample;
        assert_eq!(length(new()), 400);
        assert_eq!(length(new().with_generation(sample())), 400);
        let set = || sample().with_max_new_tokens(256);
        assert_eq!(length(new().with_generation(set())), 256);
        for options in [
            new().with_max_new_tokens(64).with_generation(set()),
            new().with_generation(set()).with_max_new_tokens(64),
            new().with_max_new_tokens(64).with_generation(sample()),
        ] {
            assert_eq!(length(options.clone()), 64);
            assert!(options.generation().sample && options.generation().log_probs);
        }
    }

    #[test]
    fn a_flag_of_the_call_reaches_the_tokens() {
        let flag = crate::CancelFlag::new();
        let options = AnswerOptions::new().with_cancel(flag.clone());
        flag.cancel();
        let generation = options.with_generation(Generation::beam(2)).generation();
        assert!(generation.cancel.unwrap().is_cancelled());
    }
}
