//! What choosing sees of the logits.
//!
//! On a CPU all of them lie in memory. Every other device has to be waited for, and a row of a vocabulary is long:
//! there the few tokens that can be chosen are found first ([`clinical_kernels::top_k`]), and only they are read. That
//! serves greedy decoding, and sampling and beam search among the likeliest tokens, as long as options forbid tokens
//! but change no other logit. For the rest, and where equal scores leave open which tokens belong to the likeliest, all
//! logits are read.

use std::ops::Range;

use burn::tensor::{Bool, Device, Tensor, TensorData};
use clinical_kernels::top_k::{FACTS, argmax, top_k};

use crate::logits::{Token, check_shape};
use crate::processors::Processors;
use crate::{Error, Generation};

/// So many more tokens are read than choosing looks at, which shows that none of an equal score was left out.
const SPARE: usize = 16;

/// The most tokens of a row that are looked for; for more, reading all is no slower.
pub(crate) const MOST: usize = 1024;

/// The largest vocabulary whose ids f32 holds exactly.
const LARGEST_VOCABULARY: usize = 1 << 24;

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

impl Part<'_> {
    /// One of its rows.
    pub(crate) fn row(&mut self, at: usize, vocabulary: usize) -> Part<'_> {
        match self {
            Self::All(logits) => Part::All(&mut logits[at * vocabulary..(at + 1) * vocabulary]),
            Self::Best(best) => Part::Best(&best[at..=at]),
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

/// What choosing needs of the logits of each row of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    /// What choosing looks at; `None` for all.
    wanted: Option<Wanted>,
    /// Whether the rows' normalisers are needed.
    normaliser: bool,
    /// Whether to read all, or the best; by the device if neither is said.
    forced: Option<bool>,
    /// Whether options may forbid tokens.
    forbids: bool,
}

impl Needs {
    /// `wanted` is what choosing looks at, `None` for all.
    pub(crate) fn new(
        options: &Generation,
        processors: &Processors,
        wanted: Option<Wanted>,
        vocabulary: usize,
    ) -> Self {
        let is_served = |wanted: &Wanted| has_room(*wanted, vocabulary);
        Self {
            wanted: wanted
                .filter(is_served)
                .filter(|_| processors.only_forbid(options.beams > 1)),
            normaliser: options.log_probs || options.top_log_probs > 0 || options.beams > 1,
            forced: options.shortlist,
            forbids: !processors.are_off(),
        }
    }
}

/// Whether a list of the best is shorter than all.
fn has_room(wanted: Wanted, vocabulary: usize) -> bool {
    match wanted {
        Wanted::First => (2..=LARGEST_VOCABULARY).contains(&vocabulary),
        Wanted::Best(count) => {
            count <= MOST && (count + SPARE + 1..=LARGEST_VOCABULARY).contains(&vocabulary)
        }
    }
}

/// One row whose logits are to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub(crate) needs: Needs,
    /// What log-probabilities are added to before they are compared, for a beam. Rounding may make sums of different
    /// scores equal.
    pub(crate) base: Option<f32>,
}

impl Line {
    /// The number by which a score is compared with others.
    fn rank(&self, of: &Best, score: f32) -> f32 {
        match self.base {
            None => score,
            Some(base) => (score - of.normaliser) + base,
        }
    }

    /// Whether all that choosing looks at is in the list.
    fn is_sure(&self, of: &Best, list: Wanted) -> bool {
        let count = match (self.needs.wanted, list) {
            (Some(Wanted::First), Wanted::First) | (None, _) => return true,
            // In a list that others need, equal scores may have crowded out the lowest id.
            (Some(Wanted::First), Wanted::Best(_)) => 1,
            (Some(Wanted::Best(count)), _) => count,
        };
        !of.finite || of.is_sure(count, |score| self.rank(of, score))
    }
}

/// The list that serves all rows; `None` where some need all logits.
fn list_of(lines: &[Line], vocabulary: usize) -> Option<Wanted> {
    let mut list = Wanted::First;
    for line in lines {
        list = match (list, line.needs.wanted?) {
            (Wanted::First, wanted) => wanted,
            (list, Wanted::First) => list,
            (Wanted::Best(one), Wanted::Best(other)) => Wanted::Best(one.max(other)),
        };
    }
    Some(list).filter(|&list| !lines.is_empty() && has_room(list, vocabulary))
}

/// Reads the logits of running rows.
pub(crate) struct Shortlist {
    vocabulary: usize,
    /// What was forbidden in the last step, here and on the device.
    hidden: Option<(Vec<bool>, Tensor<2, Bool>)>,
    scores: Vec<f32>,
}

impl Shortlist {
    pub(crate) fn new(vocabulary: usize) -> Self {
        Self {
            vocabulary,
            hidden: None,
            scores: Vec::new(),
        }
    }

    /// Reads what choosing the next token of each line needs of the logits `[lines, vocabulary]`. `forbid` sets what
    /// the options of a line forbid to minus infinity.
    pub(crate) fn look(
        &mut self,
        lines: &[Line],
        logits: Tensor<2>,
        forbid: impl FnMut(usize, &mut [f32]),
    ) -> Result<Seen, Error> {
        let device = logits.device();
        check_shape(&logits, lines.len(), self.vocabulary)?;
        let on_host = clinical_kernels::is_host(&device);
        let is_short = |line: &Line| line.needs.forced.unwrap_or(!on_host);
        let list = list_of(lines, self.vocabulary).filter(|_| lines.iter().all(is_short));
        if let Some(list) = list {
            self.forbid(lines, forbid, &device);
            let normaliser = lines.iter().any(|line| line.needs.normaliser);
            let best = match (list, normaliser) {
                (Wanted::First, false) => self.first(logits.clone())?,
                (Wanted::First, true) => self.best(logits.clone(), 1)?,
                (Wanted::Best(count), _) => self.best(logits.clone(), count + SPARE)?,
            };
            let mut rows = best.iter().zip(lines);
            if rows.all(|(of, line)| line.is_sure(of, list)) {
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

    /// Notes what the options forbid; the device gets it if it is not what it has.
    fn forbid(
        &mut self,
        lines: &[Line],
        mut forbid: impl FnMut(usize, &mut [f32]),
        device: &Device,
    ) {
        if !lines.iter().any(|line| line.needs.forbids) {
            self.hidden = None;
            return;
        }
        let mut hidden = Vec::with_capacity(lines.len() * self.vocabulary);
        self.scores.resize(self.vocabulary, 0.0);
        for (at, line) in lines.iter().enumerate() {
            self.scores.fill(0.0);
            if line.needs.forbids {
                forbid(at, &mut self.scores);
            }
            hidden.extend(self.scores.iter().map(|&score| score == f32::NEG_INFINITY));
        }
        if !hidden.contains(&true) {
            self.hidden = None;
        } else if !matches!(&self.hidden, Some((known, _)) if *known == hidden) {
            let shape = [lines.len(), self.vocabulary];
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
    use crate::processors::Position;

    /// What is seen of one row.
    fn look(options: &Generation, wanted: Option<Wanted>, logits: &[f32]) -> Seen {
        let mut processors = Processors::new(options, &[], logits.len());
        let mut matcher = options.constraint.as_ref().map(|c| c.start(0));
        let lines = [Line {
            needs: Needs::new(options, &processors, wanted, logits.len()),
            base: None,
        }];
        let data = TensorData::new(logits.to_vec(), [1, logits.len()]);
        let data = Tensor::from_data(data, &clinical_kernels::cpu());
        let position = Position {
            history: &[5],
            start: 1,
            last: false,
        };
        let forbid = |_: usize, scores: &mut [f32]| {
            processors.apply(&position, matcher.as_deref_mut(), scores);
        };
        Shortlist::new(logits.len())
            .look(&lines, data, forbid)
            .unwrap()
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
