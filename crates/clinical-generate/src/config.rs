//! How tokens are to be chosen.

use std::sync::Arc;
use std::time::Instant;

use crate::{Allowed, CancelFlag, Constraint, Processor};

/// How tokens are chosen, for both model families and every strategy.
///
/// Start from [`greedy`](Self::greedy), [`sample`](Self::sample) or [`beam`](Self::beam) and change what you need. Each
/// field means what the option of the same name means to Python `transformers`' `generate`; where a default differs,
/// its documentation says so.
///
/// ```
/// use clinical_generate::Generation;
///
/// let answer = Generation::greedy().with_max_new_tokens(400);
/// let varied = Generation::sample().with_temperature(0.7).with_top_p(0.9).with_seed(7);
/// let label = Generation::beam(3).with_allowed([vec![10, 11], vec![12]]);
/// # for options in [answer, varied, label] { options.validate()?; }
/// # Ok::<(), clinical_generate::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Generation {
    /// The most tokens an answer may have. Default 256 (`transformers`: 20, prompt included).
    pub max_new_tokens: usize,
    /// No end token is chosen before this many others. Default 0.
    pub min_new_tokens: usize,
    /// Sample tokens (`do_sample`) instead of taking the likeliest.
    pub sample: bool,
    /// How many beams are searched (`num_beams`). Default 1: none.
    pub beams: usize,
    /// How many sequences are returned for each prompt. Default 1. More than one needs sampling or as many beams.
    pub num_return_sequences: usize,
    /// Logits are divided by this before sampling. Default 1.
    pub temperature: f64,
    /// Only the `top_k` likeliest tokens are drawn from; 0 turns it off. Default 50 with [`sample`](Self::sample), as
    /// in `transformers`.
    pub top_k: usize,
    /// Only the likeliest tokens that together reach this probability are drawn from. Default 1: off.
    pub top_p: f64,
    /// Only tokens at least this fraction as likely as the likeliest are drawn from. Default 0: off.
    pub min_p: f64,
    /// Only the tokens whose information is closest to the expected one, together of this probability, are drawn from
    /// (locally typical sampling, arXiv 2202.00666). Default 1: off.
    pub typical_p: f64,
    /// Logits of tokens that the context has already are divided by this if positive, else multiplied (arXiv
    /// 1909.05858). For a decoder the context includes the prompt. Default 1: off.
    pub repetition_penalty: f64,
    /// No sequence of this many tokens comes twice. For a decoder the prompt counts. Default 0: off.
    pub no_repeat_ngram: usize,
    /// Beam scores are the sum of log-probabilities divided by `length^length_penalty`: above 0 favours long answers,
    /// below 0 short ones. Default 1. Without beams it has no effect.
    pub length_penalty: f64,
    /// When beam search ends. Default [`EarlyStopping::False`]. Without beams it has no effect.
    pub early_stopping: EarlyStopping,
    /// Token sequences that never come up. A bad word that is nothing but one end token is ignored, as in
    /// `transformers`: use [`suppress`](Self::suppress) to forbid an end token.
    pub bad_words: Vec<Vec<u32>>,
    /// Tokens that are never chosen.
    pub suppress: Vec<u32>,
    /// The first new token.
    pub forced_first: Option<u32>,
    /// The last token of an answer that reaches `max_new_tokens`, usually the end token.
    pub forced_last: Option<u32>,
    /// Added to the logit of the last token of a sequence when the others stand before it (`sequence_bias`). A sequence
    /// that comes twice keeps its last bias.
    pub logit_bias: Vec<(Vec<u32>, f64)>,
    /// What the answer may be.
    pub constraint: Option<Arc<dyn Constraint>>,
    /// The caller's own changes to the logits, in order, after all others and before the sampling filters.
    pub processors: Vec<Processor>,
    /// Token sequences that end an answer.
    pub stop_sequences: Vec<Vec<u32>>,
    /// Strings that end an answer, found across token borders in the new text; the answer's text ends before them.
    /// Needs [`EndTokens::with_text`](crate::EndTokens::with_text).
    pub stop_strings: Vec<String>,
    /// Decides every draw: the same seed, prompt and options give the same tokens, whatever else is in the batch.
    /// Default 0.
    pub seed: u64,
    /// The answer ends with the first token chosen after this moment. At least one token is always chosen.
    pub deadline: Option<Instant>,
    /// Ends everything at the next token once it is set, from any thread.
    pub cancel: Option<CancelFlag>,
    /// Whether to return the model's log-probability of each new token. Default false.
    pub log_probs: bool,
    /// How many of the likeliest tokens at each step are returned with their log-probabilities, whichever was chosen; at
    /// most 1,024. More than 0 also returns [`log_probs`](Self::log_probs). Not with beams. Default 0: none, at no cost.
    pub top_log_probs: usize,
    /// Whether `max_new_tokens` was set.
    length_is_set: bool,
    /// Whether to find the best tokens where the logits are (`true`) or to read all logits (`false`); by the device if
    /// not said.
    pub(crate) shortlist: Option<bool>,
}

/// When beam search ends (`early_stopping` of `transformers`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum EarlyStopping {
    /// As soon as there are as many finished answers as beams.
    True,
    /// When the best open beam, scored at its present length, cannot beat the worst finished answer.
    #[default]
    False,
    /// When no open beam can beat the worst finished answer at any length; the textbook search.
    Never,
}

impl Generation {
    /// The likeliest token at every step.
    #[must_use]
    pub fn greedy() -> Self {
        Self {
            max_new_tokens: 256,
            min_new_tokens: 0,
            sample: false,
            beams: 1,
            num_return_sequences: 1,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            no_repeat_ngram: 0,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::False,
            bad_words: Vec::new(),
            suppress: Vec::new(),
            forced_first: None,
            forced_last: None,
            logit_bias: Vec::new(),
            constraint: None,
            processors: Vec::new(),
            stop_sequences: Vec::new(),
            stop_strings: Vec::new(),
            seed: 0,
            deadline: None,
            cancel: None,
            log_probs: false,
            top_log_probs: 0,
            length_is_set: false,
            shortlist: None,
        }
    }

    /// Sampled tokens, with temperature 1 among the 50 likeliest: what `transformers` does for `do_sample=True`.
    #[must_use]
    pub fn sample() -> Self {
        Self {
            sample: true,
            top_k: 50,
            ..Self::greedy()
        }
    }

    /// The best answer that a search with `beams` open beams finds.
    #[must_use]
    pub fn beam(beams: usize) -> Self {
        Self {
            beams,
            ..Self::greedy()
        }
    }

    /// Sets [`max_new_tokens`](Self::max_new_tokens).
    #[must_use]
    pub fn with_max_new_tokens(mut self, tokens: usize) -> Self {
        self.max_new_tokens = tokens;
        self.length_is_set = true;
        self
    }

    /// Whether [`max_new_tokens`](Self::max_new_tokens) was set, rather than left as it is at first. A facade whose
    /// answers have a usual length of their own uses that one otherwise.
    #[must_use]
    pub fn sets_max_new_tokens(&self) -> bool {
        self.length_is_set || self.max_new_tokens != Self::greedy().max_new_tokens
    }

    /// Sets [`min_new_tokens`](Self::min_new_tokens).
    #[must_use]
    pub fn with_min_new_tokens(mut self, tokens: usize) -> Self {
        self.min_new_tokens = tokens;
        self
    }

    /// Turns sampling on, with the 50 likeliest tokens if no `top_k` is set, or off, with its filters. With beams this
    /// is beam sampling.
    #[must_use]
    pub fn with_sampling(mut self, sample: bool) -> Self {
        let defaults = if sample {
            Self::sample()
        } else {
            Self::greedy()
        };
        if sample != self.sample {
            self.sample = sample;
            self.top_k = defaults.top_k;
            self.temperature = defaults.temperature;
            self.top_p = defaults.top_p;
            self.min_p = defaults.min_p;
            self.typical_p = defaults.typical_p;
        }
        self
    }

    /// Sets [`beams`](Self::beams).
    #[must_use]
    pub fn with_beams(mut self, beams: usize) -> Self {
        self.beams = beams;
        self
    }

    /// Sets [`num_return_sequences`](Self::num_return_sequences).
    #[must_use]
    pub fn with_num_return_sequences(mut self, sequences: usize) -> Self {
        self.num_return_sequences = sequences;
        self
    }

    /// Sets [`temperature`](Self::temperature).
    #[must_use]
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// Sets [`top_k`](Self::top_k).
    #[must_use]
    pub fn with_top_k(mut self, tokens: usize) -> Self {
        self.top_k = tokens;
        self
    }

    /// Sets [`top_p`](Self::top_p).
    #[must_use]
    pub fn with_top_p(mut self, probability: f64) -> Self {
        self.top_p = probability;
        self
    }

    /// Sets [`min_p`](Self::min_p).
    #[must_use]
    pub fn with_min_p(mut self, fraction: f64) -> Self {
        self.min_p = fraction;
        self
    }

    /// Sets [`typical_p`](Self::typical_p).
    #[must_use]
    pub fn with_typical_p(mut self, probability: f64) -> Self {
        self.typical_p = probability;
        self
    }

    /// Sets [`repetition_penalty`](Self::repetition_penalty).
    #[must_use]
    pub fn with_repetition_penalty(mut self, penalty: f64) -> Self {
        self.repetition_penalty = penalty;
        self
    }

    /// Sets [`no_repeat_ngram`](Self::no_repeat_ngram).
    #[must_use]
    pub fn with_no_repeat_ngram(mut self, tokens: usize) -> Self {
        self.no_repeat_ngram = tokens;
        self
    }

    /// Sets [`length_penalty`](Self::length_penalty).
    #[must_use]
    pub fn with_length_penalty(mut self, penalty: f64) -> Self {
        self.length_penalty = penalty;
        self
    }

    /// Sets [`early_stopping`](Self::early_stopping).
    #[must_use]
    pub fn with_early_stopping(mut self, early_stopping: EarlyStopping) -> Self {
        self.early_stopping = early_stopping;
        self
    }

    /// Adds to [`bad_words`](Self::bad_words).
    #[must_use]
    pub fn with_bad_words(mut self, words: impl IntoIterator<Item = Vec<u32>>) -> Self {
        self.bad_words.extend(words);
        self
    }

    /// Adds to [`suppress`](Self::suppress).
    #[must_use]
    pub fn with_suppress(mut self, ids: impl IntoIterator<Item = u32>) -> Self {
        self.suppress.extend(ids);
        self
    }

    /// Sets [`forced_first`](Self::forced_first).
    #[must_use]
    pub fn with_forced_first(mut self, id: u32) -> Self {
        self.forced_first = Some(id);
        self
    }

    /// Sets [`forced_last`](Self::forced_last).
    #[must_use]
    pub fn with_forced_last(mut self, id: u32) -> Self {
        self.forced_last = Some(id);
        self
    }

    /// Adds to [`logit_bias`](Self::logit_bias): `bias` for one token.
    #[must_use]
    pub fn with_logit_bias(self, id: u32, bias: f64) -> Self {
        self.with_sequence_bias(vec![id], bias)
    }

    /// Adds to [`logit_bias`](Self::logit_bias): `bias` for the last token of `ids` after the others.
    #[must_use]
    pub fn with_sequence_bias(mut self, ids: Vec<u32>, bias: f64) -> Self {
        self.logit_bias.push((ids, bias));
        self
    }

    /// The answer is one of these, token by token, then an end token.
    #[must_use]
    pub fn with_allowed(self, answers: impl IntoIterator<Item = Vec<u32>>) -> Self {
        self.with_constraint(Arc::new(Allowed::new(answers)))
    }

    /// Sets [`constraint`](Self::constraint).
    #[must_use]
    pub fn with_constraint(mut self, constraint: Arc<dyn Constraint>) -> Self {
        self.constraint = Some(constraint);
        self
    }

    /// Adds to [`processors`](Self::processors).
    #[must_use]
    pub fn with_processor(mut self, processor: Processor) -> Self {
        self.processors.push(processor);
        self
    }

    /// Adds to [`stop_sequences`](Self::stop_sequences).
    #[must_use]
    pub fn with_stop_sequences(mut self, sequences: impl IntoIterator<Item = Vec<u32>>) -> Self {
        self.stop_sequences.extend(sequences);
        self
    }

    /// Adds to [`stop_strings`](Self::stop_strings).
    #[must_use]
    pub fn with_stop_strings<S: Into<String>>(
        mut self,
        strings: impl IntoIterator<Item = S>,
    ) -> Self {
        self.stop_strings
            .extend(strings.into_iter().map(Into::into));
        self
    }

    /// Sets [`seed`](Self::seed).
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets [`deadline`](Self::deadline).
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets [`cancel`](Self::cancel).
    #[must_use]
    pub fn with_cancel(mut self, flag: CancelFlag) -> Self {
        self.cancel = Some(flag);
        self
    }

    /// Sets [`log_probs`](Self::log_probs).
    #[must_use]
    pub fn with_log_probs(mut self, log_probs: bool) -> Self {
        self.log_probs = log_probs;
        self
    }

    /// Sets [`top_log_probs`](Self::top_log_probs).
    #[must_use]
    pub fn with_top_log_probs(mut self, tokens: usize) -> Self {
        self.top_log_probs = tokens;
        self
    }

    /// Finds the best tokens where the logits are, or reads all logits, whatever the device: for comparing both.
    #[doc(hidden)]
    #[must_use]
    pub fn with_shortlist(mut self, shortlist: bool) -> Self {
        self.shortlist = Some(shortlist);
        self
    }
}
