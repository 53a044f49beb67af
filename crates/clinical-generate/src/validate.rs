//! The rules that options must keep.

use crate::shortlist::MOST;
use crate::{EndTokens, Error, Generation};

/// Beams or answers of one prompt. Each is a row of the model's cache; a few are usual.
const MAX_ROWS: usize = 1 << 16;

impl Generation {
    /// Checks every option that can be checked without a model.
    ///
    /// # Errors
    ///
    /// The first violated rule, with the field's name.
    pub fn validate(&self) -> Result<(), Error> {
        at_least_one("max_new_tokens", self.max_new_tokens)?;
        at_least_one("beams", self.beams)?;
        at_least_one("num_return_sequences", self.num_return_sequences)?;
        at_most("beams", self.beams)?;
        at_most("num_return_sequences", self.num_return_sequences)?;
        if self.min_new_tokens > self.max_new_tokens {
            return Err(Error::MinAboveMax {
                min: self.min_new_tokens,
                max: self.max_new_tokens,
            });
        }
        let limit = match (self.beams, self.sample) {
            (1, true) => usize::MAX,
            (beams, _) => beams,
        };
        if self.num_return_sequences > limit {
            return Err(Error::TooManySequences {
                asked: self.num_return_sequences,
                limit,
            });
        }
        let most = if self.beams > 1 { 0 } else { MOST };
        if self.top_log_probs > most {
            return Err(Error::OutOfRange {
                field: "top_log_probs",
                value: self.top_log_probs as f64,
                range: "at most 1024, and 0 with beams",
            });
        }
        self.validate_numbers()?;
        let lists = [
            ("bad_words", &self.bad_words),
            ("stop_sequences", &self.stop_sequences),
        ];
        for (field, list) in lists {
            if list.iter().any(Vec::is_empty) {
                return Err(Error::EmptyEntry { field });
            }
        }
        if self.logit_bias.iter().any(|(ids, _)| ids.is_empty()) {
            return Err(Error::EmptyEntry {
                field: "logit_bias",
            });
        }
        if self.stop_strings.iter().any(String::is_empty) {
            return Err(Error::EmptyEntry {
                field: "stop_strings",
            });
        }
        Ok(())
    }

    fn validate_numbers(&self) -> Result<(), Error> {
        let above_zero = |value: f64| value > 0.0 && value.is_finite();
        let probability = |value: f64| value > 0.0 && value <= 1.0;
        let rules = [
            (
                "temperature",
                self.temperature,
                above_zero(self.temperature),
                "a finite number above 0 (for the likeliest token use Generation::greedy())",
            ),
            (
                "top_p",
                self.top_p,
                probability(self.top_p),
                "above 0 and at most 1",
            ),
            (
                "min_p",
                self.min_p,
                (0.0..=1.0).contains(&self.min_p),
                "from 0 to 1",
            ),
            (
                "typical_p",
                self.typical_p,
                probability(self.typical_p),
                "above 0 and at most 1",
            ),
            (
                "repetition_penalty",
                self.repetition_penalty,
                above_zero(self.repetition_penalty),
                "a finite number above 0",
            ),
            (
                "length_penalty",
                self.length_penalty,
                self.length_penalty.is_finite(),
                "a finite number",
            ),
        ];
        for (field, value, holds, range) in rules {
            if !holds {
                return Err(Error::OutOfRange {
                    field,
                    value,
                    range,
                });
            }
        }
        for &(_, value) in &self.logit_bias {
            if value.is_nan() || value == f64::INFINITY {
                return Err(Error::OutOfRange {
                    field: "logit_bias",
                    value,
                    range: "a finite number, or minus infinity to forbid the token",
                });
            }
        }
        let filters = [
            ("temperature", self.temperature != 1.0),
            ("top_k", self.top_k != 0),
            ("top_p", self.top_p < 1.0),
            ("min_p", self.min_p > 0.0),
            ("typical_p", self.typical_p < 1.0),
        ];
        match filters.into_iter().find(|&(_, set)| set && !self.sample) {
            Some((field, _)) => Err(Error::NeedsSampling { field }),
            None => Ok(()),
        }
    }

    /// [`validate`](Self::validate), and what depends on the model and the end tokens.
    pub(crate) fn check(&self, end: &EndTokens<'_>, vocabulary: usize) -> Result<(), Error> {
        self.validate()?;
        check_vocabulary(vocabulary)?;
        let known = |field: &'static str, ids: &[u32]| match ids
            .iter()
            .find(|&&id| id as usize >= vocabulary)
        {
            Some(&id) => Err(Error::UnknownToken {
                field,
                id,
                vocabulary,
            }),
            None => Ok(()),
        };
        known("end tokens", &end.ids)?;
        for word in &self.bad_words {
            known("bad_words", word)?;
        }
        for (ids, _) in &self.logit_bias {
            known("logit_bias", ids)?;
        }
        for ids in &self.stop_sequences {
            known("stop_sequences", ids)?;
        }
        known("suppress", &self.suppress)?;
        known("forced_first", self.forced_first.as_slice())?;
        known("forced_last", self.forced_last.as_slice())?;
        if let Some(constraint) = &self.constraint {
            constraint.check(vocabulary)?;
        }
        if !self.stop_strings.is_empty() && end.decoder().is_none() {
            return Err(Error::StopStringsNeedText);
        }
        Ok(())
    }
}

/// A model has at least one logit for each row.
pub(crate) fn check_vocabulary(vocabulary: usize) -> Result<(), Error> {
    if vocabulary == 0 {
        return Err(Error::LogitShape {
            got: 0,
            expected: 1,
        });
    }
    Ok(())
}

fn at_most(field: &'static str, value: usize) -> Result<(), Error> {
    if value > MAX_ROWS {
        return Err(Error::OutOfRange {
            field,
            value: value as f64,
            range: "at most 65536",
        });
    }
    Ok(())
}

fn at_least_one(field: &'static str, value: usize) -> Result<(), Error> {
    if value == 0 {
        return Err(Error::OutOfRange {
            field,
            value: 0.0,
            range: "at least 1",
        });
    }
    Ok(())
}
