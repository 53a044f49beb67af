//! What choosing sees of the logits.
//!
//! On a CPU all of them lie in memory. Every other device has to be waited for, and a row of a vocabulary is long: there the few
//! tokens that can be chosen are found first ([`clinical_kernels::top_k`]), and only they are read. That serves greedy
//! decoding, and sampling and beam search among the likeliest tokens, as long as options forbid tokens but change no other logit. For the rest,
//! and where equal scores leave open which tokens belong to the likeliest, all logits are read.

use std::ops::Range;

use burn::tensor::{Bool, Device, Tensor, TensorData};
use clinical_kernels::top_k::{FACTS, argmax, top_k};

use crate::decode::check_shape;
use crate::processors::Processors;
use crate::row::Row;
use crate::{Error, Generation};

/// So many more tokens are read than choosing looks at, which shows that none of an equal score was left out.
const SPARE: usize = 16;

/// The most tokens of a row that are looked for; for more, reading all is no slower.
const MOST: usize = 1024;

/// The largest vocabulary whose ids f32 holds exactly.
const LARGEST_VOCABULARY: usize = 1 << 24;

/// A token and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Token {
    pub(crate) id: u32,
    pub(crate) score: f32,
}

/// What was read of one row.
#[derive(Debug, Clone)]
pub(crate) struct Best {
    /// Whether all logits are finite; if not, the rest means nothing.
    pub(crate) finite: bool,
    /// The logarithm of the sum of `e^logit`, if it was asked for.
    pub(crate) normaliser: f32,
    /// The likeliest first, of equal ones the lower id. Forbidden ones have minus infinity.
    pub(crate) tokens: Vec<Token>,
}

/// The logits of some rows, as far as they were read.
#[derive(Debug)]
pub(crate) enum Seen {
    /// `[rows, vocabulary]`.
    All(Vec<f32>),
    /// Of each row the best.
    Best(Vec<Best>),
}

/// Some of the rows of [`Seen`].
pub(crate) enum Part<'a> {
    All(&'a mut [f32]),
    Best(&'a [Best]),
}

impl Seen {
    pub(crate) fn part(&mut self, rows: Range<usize>, vocabulary: usize) -> Part<'_> {
        match self {
            Self::All(logits) => {
                Part::All(&mut logits[rows.start * vocabulary..rows.end * vocabulary])
            }
            Self::Best(best) => Part::Best(&best[rows]),
        }
    }
}

/// Which tokens of a row choosing looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The likeliest, of equal ones that with the lowest id.
    First,
    /// So many of the likeliest, and those that equal the least of them.
    Best(usize),
}

/// Reads the logits of one call.
pub(crate) struct Shortlist {
    vocabulary: usize,
    /// What choosing looks at; `None` for all.
    wanted: Option<Wanted>,
    /// Whether the rows' normalisers are needed.
    normaliser: bool,
    /// Whether to read all, or the best; by the device if neither is said.
    forced: Option<bool>,
    forbids: bool,
    /// What was forbidden in the last step, here and on the device.
    hidden: Option<(Vec<bool>, Tensor<2, Bool>)>,
    scores: Vec<f32>,
}

impl Shortlist {
    /// `wanted` is what choosing looks at, `None` for all.
    pub(crate) fn new(
        options: &Generation,
        processors: &Processors,
        wanted: Option<Wanted>,
        vocabulary: usize,
    ) -> Self {
        let has_room = |wanted: &Wanted| match *wanted {
            Wanted::First => (2..=LARGEST_VOCABULARY).contains(&vocabulary),
            Wanted::Best(count) => {
                count <= MOST && (count + SPARE + 1..=LARGEST_VOCABULARY).contains(&vocabulary)
            }
        };
        Self {
            vocabulary,
            wanted: wanted
                .filter(has_room)
                .filter(|_| processors.only_forbid(options.beams > 1)),
            normaliser: options.log_probs || options.beams > 1,
            forced: options.shortlist,
            forbids: !processors.are_off(),
            hidden: None,
            scores: Vec::new(),
        }
    }

    /// Reads what choosing the next token of `rows` needs of their logits `[rows, vocabulary]`.
    ///
    /// `rank` is the number by which a score of a row is compared with others, given what was read of the row; rounding may make
    /// ranks of different scores equal.
    pub(crate) fn look(
        &mut self,
        processors: &mut Processors,
        rows: &mut [&mut Row<'_>],
        logits: Tensor<2>,
        rank: impl Fn(usize, &Best, f32) -> f32,
    ) -> Result<Seen, Error> {
        let (count, device) = (rows.len(), logits.device());
        check_shape(&logits, count, self.vocabulary)?;
        let short = self
            .forced
            .unwrap_or_else(|| !clinical_kernels::is_host(&device));
        if let Some(wanted) = self.wanted.filter(|_| short && count > 0) {
            if self.forbids {
                self.forbid(processors, rows, &device);
            }
            let best = match (wanted, self.normaliser) {
                (Wanted::First, false) => self.first(logits.clone())?,
                (Wanted::First, true) => self.best(logits.clone(), 1)?,
                (Wanted::Best(count), _) => self.best(logits.clone(), count + SPARE)?,
            };
            let is_sure = |(row, of): (usize, &Best)| match wanted {
                Wanted::First => true,
                Wanted::Best(count) => {
                    !of.finite || of.is_sure(count, |score| rank(row, of, score))
                }
            };
            if best.iter().enumerate().all(is_sure) {
                return Ok(Seen::Best(best));
            }
        }
        Ok(Seen::All(logits.try_into_vec_as::<f32>()?))
    }

    /// One number a row.
    fn first(&self, logits: Tensor<2>) -> Result<Vec<Best>, Error> {
        let hidden = self.hidden.as_ref();
        let ids = argmax(logits, hidden.map(|(_, mask)| mask));
        let ids = ids.try_into_vec_as::<i64>()?;
        let best = ids.into_iter().enumerate().map(|(row, id)| {
            // A token that is forbidden comes first only where all are.
            let at = row * self.vocabulary + id as usize;
            let forbidden = hidden.is_some_and(|(all, _)| all.get(at) == Some(&true));
            let score = if forbidden { f32::NEG_INFINITY } else { 0.0 };
            Best {
                finite: (id as usize) < self.vocabulary,
                normaliser: 0.0,
                tokens: vec![Token {
                    id: id as u32,
                    score,
                }],
            }
        });
        Ok(best.collect())
    }

    fn best(&self, logits: Tensor<2>, count: usize) -> Result<Vec<Best>, Error> {
        let hidden = self.hidden.as_ref().map(|(_, mask)| mask);
        let numbers = top_k(logits, hidden, count).try_into_vec_as::<f32>()?;
        let rows = numbers.chunks_exact(FACTS + 2 * count).map(|row| {
            let (scores, ids) = row[FACTS..].split_at(count);
            let tokens = scores.iter().zip(ids);
            let mut tokens: Vec<Token> = tokens
                .map(|(&score, &id)| Token {
                    id: id as u32,
                    score,
                })
                .collect();
            tokens.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
            Best {
                finite: row[0] == 1.0,
                normaliser: row[1],
                tokens,
            }
        });
        Ok(rows.collect())
    }

    /// Notes what processors forbid; the device gets it if it is not what it has.
    fn forbid(&mut self, processors: &mut Processors, rows: &mut [&mut Row<'_>], device: &Device) {
        let mut hidden = Vec::with_capacity(rows.len() * self.vocabulary);
        self.scores.resize(self.vocabulary, 0.0);
        for row in rows.iter_mut() {
            self.scores.fill(0.0);
            processors.apply_to(row, &mut self.scores);
            hidden.extend(self.scores.iter().map(|&score| score == f32::NEG_INFINITY));
        }
        if !hidden.contains(&true) {
            self.hidden = None;
        } else if !matches!(&self.hidden, Some((known, _)) if *known == hidden) {
            let shape = [rows.len(), self.vocabulary];
            let mask = Tensor::from_data(TensorData::new(hidden.clone(), shape), device);
            self.hidden = Some((hidden, mask));
        }
    }
}

impl Best {
    /// Whether the best `count` tokens are among those that were read, even where ranks are equal.
    fn is_sure(&self, count: usize, rank: impl Fn(f32) -> f32) -> bool {
        match (self.tokens.get(count - 1), self.tokens.last()) {
            (Some(needed), Some(last)) => {
                needed.score == f32::NEG_INFINITY || rank(needed.score) > rank(last.score)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{EndTokens, ModelError, StepModel};

    /// Never run; rows need one.
    struct Nothing;

    impl StepModel for Nothing {
        type Cache = ();

        fn vocabulary(&self) -> usize {
            0
        }

        fn max_positions(&self) -> Option<usize> {
            None
        }

        fn prompt_counts(&self) -> bool {
            true
        }

        fn prefill(&self, _: &[&[u32]], _: usize) -> Result<((), Tensor<2>), ModelError> {
            Err(ModelError::NoRows)
        }

        fn step(&self, _: &[u32], (): &mut ()) -> Result<Tensor<2>, ModelError> {
            Err(ModelError::NoRows)
        }

        fn select(&self, (): &mut (), _: &[usize]) {}
    }

    /// What is seen of one row.
    fn look(options: &Generation, wanted: Option<Wanted>, logits: &[f32]) -> Seen {
        let end = EndTokens::none();
        let mut row = Row::new(&Nothing, 0, 0, &[5], &end, options).unwrap();
        let mut processors = Processors::new(options, &[], logits.len());
        let mut shortlist = Shortlist::new(options, &processors, wanted, logits.len());
        let data = TensorData::new(logits.to_vec(), [1, logits.len()]);
        let logits = Tensor::from_data(data, &clinical_kernels::cpu());
        let rank = |_: usize, _: &Best, score: f32| score;
        let seen = shortlist.look(&mut processors, &mut [&mut row], logits, rank);
        seen.unwrap()
    }

    fn falling(count: usize) -> Vec<f32> {
        (0..count).map(|i| -(i as f32)).collect()
    }

    #[test]
    fn a_cpu_reads_all_unless_told_otherwise() {
        let (greedy, logits) = (Generation::greedy(), falling(40));
        let seen = look(&greedy, Some(Wanted::First), &logits);
        assert!(matches!(seen, Seen::All(all) if all == logits));
        let greedy = greedy.with_shortlist(true);
        let seen = look(&greedy, Some(Wanted::First), &logits);
        assert!(matches!(seen, Seen::Best(best) if best[0].tokens[0].id == 0));
    }

    #[test]
    fn options_that_change_logits_need_all() {
        let on = |options: Generation| {
            let seen = look(
                &options.with_shortlist(true),
                Some(Wanted::Best(3)),
                &falling(40),
            );
            matches!(seen, Seen::Best(_))
        };
        let greedy = Generation::greedy;
        assert!(on(greedy()));
        assert!(on(greedy().with_suppress([0, 1])));
        assert!(on(greedy().with_bad_words([vec![3], vec![5, 6]])));
        assert!(on(greedy().with_allowed([vec![9, 8]])));
        assert!(on(greedy().with_no_repeat_ngram(1)));
        assert!(on(greedy().with_forced_first(7)));
        assert!(!on(Generation::beam(2).with_forced_first(7)));
        assert!(!on(greedy().with_repetition_penalty(1.2)));
        assert!(!on(greedy().with_logit_bias(4, 1.0)));
        let all = look(&greedy().with_shortlist(true), None, &falling(40));
        assert!(matches!(all, Seen::All(_)));
        // Nothing is won where the vocabulary is hardly longer than the list.
        let all = look(
            &greedy().with_shortlist(true),
            Some(Wanted::Best(30)),
            &falling(40),
        );
        assert!(matches!(all, Seen::All(_)));
    }

    #[test]
    fn many_equal_scores_need_all() {
        let options = Generation::greedy().with_shortlist(true);
        let mut logits = falling(60);
        let short = |logits: &[f32]| {
            let seen = look(&options, Some(Wanted::Best(3)), logits);
            matches!(seen, Seen::Best(_))
        };
        assert!(short(&logits));
        logits[2..18].fill(-2.0);
        assert!(short(&logits), "sixteen equal scores are seen whole");
        logits[2..19].fill(-2.0);
        assert!(!short(&logits));
        // What cannot be chosen is not compared.
        let options = options.clone().with_allowed([vec![50]]);
        let seen = look(&options, Some(Wanted::Best(3)), &logits);
        assert!(
            matches!(seen, Seen::Best(best) if best[0].tokens[0] == Token { id: 50, score: -50.0 })
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// The list holds the best tokens in order, those of equal scores too.
        #[test]
        fn the_list_is_the_head_of_all(
            logits in prop::collection::vec((-6i32..6).prop_map(|x| x as f32 / 2.0), 40..90),
            suppress in prop::collection::vec(0u32..40, 0..5),
            count in 2usize..6,
        ) {
            let options = Generation::greedy().with_suppress(suppress.clone()).with_shortlist(true);
            let mut sorted: Vec<Token> = logits
                .iter()
                .zip(0u32..)
                .map(|(&score, id)| Token { id, score })
                .filter(|token| !suppress.contains(&token.id))
                .collect();
            sorted.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
            let normaliser: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
            match look(&options, Some(Wanted::Best(count)), &logits) {
                Seen::All(all) => {
                    // Only because too many scores equal the last that is needed.
                    let least = sorted[count - 1].score;
                    prop_assert!(sorted.iter().filter(|token| token.score >= least).count() >= count + SPARE);
                    prop_assert_eq!(&all, &logits);
                }
                Seen::Best(best) => {
                    let least = sorted[count - 1].score;
                    let needed = sorted.iter().filter(|token| token.score >= least).count();
                    prop_assert_eq!(&best[0].tokens[..needed], &sorted[..needed]);
                    prop_assert!((f64::from(best[0].normaliser) - normaliser).abs() < 1e-4);
                }
            }
            let first = look(&options, Some(Wanted::First), &logits);
            prop_assert!(matches!(first, Seen::Best(best) if best[0].tokens[0].id == sorted[0].id));
        }
    }
}
