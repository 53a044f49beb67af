//! What models are given: one type for each kind of head. As JSON they are what `clinical-train` reads.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use clinical_deid::Normalizer;
use clinical_prompts::{MarkerPolicy, Options};

use crate::{Error, Result};

/// A text and what a model should write for it (T5, decoders). `clinical-train` reads it as `TextPair`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WritingRow {
    /// What the model reads.
    pub input: String,
    /// What it should write.
    pub target: String,
}

/// A text and the names of its labels, for a sequence head. `clinical-train` reads it as `LabelledText`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassRow {
    /// The text.
    pub text: String,
    /// Its labels: one, or any number where a text may have several.
    pub labels: Vec<String>,
}

/// A question, a text and where the answer stands in it, for a span head. `clinical-train` reads it as
/// `QuestionExample`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanRow {
    /// The question.
    pub question: String,
    /// The text.
    pub context: String,
    /// The bytes of the answer in the text; `None` where it has none.
    pub answer: Option<Range<usize>>,
}

/// Words and a label for each, for a token head. `clinical-train` reads it as `LabelledWords`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordRow {
    /// The words.
    pub words: Vec<String>,
    /// `O`, `B-problem`, `I-problem`, ...
    pub labels: Vec<String>,
}

/// How texts of a task become rows.
///
/// ```
/// use clinical_deid::Normalizer;
/// use clinical_tasks::RowOptions;
///
/// // For Clinical-T5, which was trained with `[Name]` instead of `[**Last Name 7**]`.
/// let options = RowOptions::new().with_tags(Normalizer::mimic_iii());
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct RowOptions {
    tags: Option<Normalizer>,
    prompts: Options,
}

impl Default for RowOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl RowOptions {
    /// Tags as they are, and markers of the prompts allowed in texts, as published.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            tags: None,
            prompts: Options::new().with_markers(MarkerPolicy::Allow),
        }
    }

    /// Converts the tags of MIMIC in each row, as the study did for Clinical-T5 (`--replace-text-with-tags`). RadQA's
    /// answers move with it, so its reports are converted before: [`radqa::convert`](crate::radqa::convert).
    /// Default: no.
    #[must_use]
    pub const fn with_tags(mut self, normalizer: Normalizer) -> Self {
        self.tags = Some(normalizer);
        self
    }

    /// What happens to a marker of a prompt in a text. Default: [`MarkerPolicy::Allow`], since one such text must not
    /// stop a data set that experts have labelled.
    #[must_use]
    pub const fn with_markers(mut self, markers: MarkerPolicy) -> Self {
        self.prompts = self.prompts.with_markers(markers);
        self
    }

    pub(crate) const fn prompts(&self) -> &Options {
        &self.prompts
    }

    /// The text with its tags converted, if they are to be.
    pub(crate) fn tagged(&self, text: String, what: impl FnOnce() -> String) -> Result<String> {
        match &self.tags {
            None => Ok(text),
            Some(normalizer) => match normalizer.normalize(&text) {
                Ok(normalized) => Ok(normalized.into()),
                Err(source) => Err(Error::Deid {
                    what: what(),
                    source,
                }),
            },
        }
    }
}

/// A prompt's error with the example that it is about.
pub(crate) fn prompted<T>(
    result: clinical_prompts::Result<T>,
    what: impl FnOnce() -> String,
) -> Result<T> {
    result.map_err(|source| Error::Prompt {
        what: what(),
        source,
    })
}

/// The rows that have at most `most` tokens, and how many have more: the study left out inputs of MedNLI with more than
/// `max_length - 2` tokens.
///
/// # Errors
///
/// The first error of `tokens`, which counts those of a text.
pub fn short_enough<R, E>(
    rows: Vec<R>,
    most: usize,
    mut tokens: impl FnMut(&R) -> Result<usize, E>,
) -> Result<(Vec<R>, usize), E> {
    let all = rows.len();
    let mut kept = Vec::with_capacity(all);
    for row in rows {
        if tokens(&row)? <= most {
            kept.push(row);
        }
    }
    let left_out = all - kept.len();
    Ok((kept, left_out))
}
