//! Drawing a token: temperature, then the filters top-k, top-p, min-p and typical-p, in the order of `transformers`.
//!
//! Filters work on a short list of tokens. A whole row of the vocabulary is only ever scanned, never sorted, unless the
//! options ask for nothing but typical-p.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::logits::Token;
use crate::{Generation, math};

/// A token that may be drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) id: u32,
    /// `(score - max) / temperature`.
    log_weight: f32,
    /// `e^log_weight`: its probability times a common factor.
    pub(crate) weight: f32,
}

/// The filters of one call, and their scratch memory.
pub(crate) struct Sampler {
    temperature: f32,
    top_k: usize,
    top_p: f64,
    min_p: f64,
    typical_p: f64,
    min_keep: usize,
    kept: Vec<Candidate>,
    weights: Vec<f32>,
    largest: Vec<f32>,
    surprise: Vec<(f32, Candidate)>,
}

impl Sampler {
    /// At least one token survives each filter; in beam search one more than there are end tokens, so that each beam
    /// can go on.
    pub(crate) fn for_options(options: &Generation, end: &[u32]) -> Self {
        let min_keep = match (options.beams, end.len()) {
            (1, _) => 1,
            (_, ends) => ends.max(1) + 1,
        };
        Self {
            temperature: options.temperature as f32,
            top_k: match options.top_k {
                0 => 0,
                k => k.max(min_keep),
            },
            top_p: options.top_p,
            min_p: options.min_p,
            typical_p: options.typical_p,
            min_keep,
            kept: Vec::new(),
            weights: Vec::new(),
            largest: Vec::new(),
            surprise: Vec::new(),
        }
    }

    /// The tokens that may be drawn, in the order of their ids. Empty if every score is minus infinity.
    pub(crate) fn filter(&mut self, scores: &[f32]) -> &[Candidate] {
        self.kept.clear();
        let max = math::max(scores);
        if max == f32::NEG_INFINITY {
            return &self.kept;
        }
        let removed = self.collect(scores, max);
        self.narrow(removed)
    }

    /// How many of a row's likeliest tokens, and those of the same score as the least of them, decide what
    /// [`filter`](Self::filter) keeps; `None` where all do.
    pub(crate) fn looks_at(&self) -> Option<usize> {
        (self.top_k > 0).then_some(self.top_k)
    }

    /// [`filter`](Self::filter) of a row of which the likeliest are given, the best first, with all that
    /// [`looks_at`](Self::looks_at) says.
    pub(crate) fn filter_best(&mut self, tokens: &[Token]) -> &[Candidate] {
        self.kept.clear();
        let Some(max) = tokens.first().map(|token| token.score) else {
            return &self.kept;
        };
        let least = tokens.get(self.top_k - 1);
        let least = least.map_or(f32::NEG_INFINITY, |token| token.score);
        for &Token { id, score } in tokens {
            if score >= least && score > f32::NEG_INFINITY {
                let candidate = self.candidate(id, score, max);
                self.kept.push(candidate);
            }
        }
        self.narrow(0.0)
    }

    /// The filters after top-k. `removed` is the weight of what is left out already.
    fn narrow(&mut self, removed: f64) -> &[Candidate] {
        if self.top_p < 1.0 {
            self.keep_top_p(removed);
        }
        if self.min_p > 0.0 {
            self.keep_min_p();
        }
        if self.typical_p < 1.0 {
            self.keep_typical();
        }
        self.kept.sort_unstable_by_key(|candidate| candidate.id);
        &self.kept
    }

    /// What [`filter`](Self::filter) kept last.
    pub(crate) fn kept(&self) -> &[Candidate] {
        &self.kept
    }

    fn candidate(&self, id: u32, score: f32, max: f32) -> Candidate {
        let log_weight = match self.temperature {
            1.0 => score - max,
            temperature => (score - max) / temperature,
        };
        Candidate {
            id,
            log_weight,
            weight: log_weight.exp(),
        }
    }

    /// The processed, temperature-scaled score of a token.
    pub(crate) fn scaled(&self, score: f32) -> f32 {
        if self.temperature == 1.0 {
            score
        } else {
            score / self.temperature
        }
    }

    /// Draws one of the tokens that [`filter`](Self::filter) kept.
    pub(crate) fn draw(&self, draws: &mut Draws) -> Option<u32> {
        let total: f64 = self.kept.iter().map(|c| f64::from(c.weight)).sum();
        let mut left = draws.unit() * total;
        for candidate in &self.kept {
            left -= f64::from(candidate.weight);
            if left < 0.0 {
                return Some(candidate.id);
            }
        }
        // Rounding may leave a little at the end.
        self.kept
            .iter()
            .rev()
            .find(|c| c.weight > 0.0)
            .map(|c| c.id)
    }

    /// Fills the list with the tokens that top-k keeps, or with those that a later filter has to look at. Returns the
    /// total weight of tokens that are left out because top-p is sure to remove them.
    fn collect(&mut self, scores: &[f32], max: f32) -> f64 {
        if self.top_k > 0 && self.top_k < scores.len() {
            let least = kth_largest(scores, self.top_k, &mut self.largest);
            for (id, &score) in scores.iter().enumerate() {
                if score >= least && score > f32::NEG_INFINITY {
                    let candidate = self.candidate(id as u32, score, max);
                    self.kept.push(candidate);
                }
            }
            return 0.0;
        }
        let log_weight = |score: f32| match self.temperature {
            1.0 => score - max,
            temperature => (score - max) / temperature,
        };
        math::exp_all(scores, max, self.temperature, &mut self.weights);
        let total: f64 = sum(&self.weights);
        // Tokens at or below this weight weigh at most 1 - top_p together; half of it leaves room for rounding. Without
        // top-p, min-p comes first, and the weight of the likeliest token is 1.
        let negligible = match self.top_p {
            1.0 => 0.999 * self.min_p,
            top_p => 0.5 * (1.0 - top_p) * total / scores.len() as f64,
        } as f32;
        let mut removed = 0.0;
        for negligible in [negligible, -1.0] {
            self.kept.clear();
            removed = 0.0;
            for (id, (&weight, &score)) in self.weights.iter().zip(scores).enumerate() {
                if weight <= negligible {
                    removed += f64::from(weight);
                } else if score > f32::NEG_INFINITY {
                    self.kept.push(Candidate {
                        id: id as u32,
                        log_weight: log_weight(score),
                        weight,
                    });
                }
            }
            if self.kept.len() >= self.min_keep {
                break;
            }
        }
        removed
    }

    /// Removes the least likely tokens whose total probability is at most `1 - top_p`; of equally likely ones the
    /// higher id goes first, which `transformers` leaves open.
    fn keep_top_p(&mut self, removed: f64) {
        let total = removed + self.total();
        self.kept
            .sort_unstable_by(|a, b| b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id)));
        let limit = (1.0 - self.top_p) as f32;
        let mut below = removed;
        while self.kept.len() > self.min_keep
            && let Some(last) = self.kept.last()
        {
            below += f64::from(last.weight);
            if (below / total) as f32 > limit {
                break;
            }
            self.kept.pop();
        }
    }

    /// Removes tokens less likely than `min_p` times the likeliest.
    fn keep_min_p(&mut self) {
        let total = self.total();
        let probability = |c: &Candidate| (f64::from(c.weight) / total) as f32;
        let top = self.kept.iter().map(probability).fold(0.0, f32::max);
        let least = self.min_p as f32 * top;
        if self.kept.len() > self.min_keep {
            self.kept
                .sort_unstable_by(|a, b| b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id)));
            let first_below = self.kept.iter().position(|c| probability(c) < least);
            let count = first_below.unwrap_or(self.kept.len());
            self.kept.truncate(count.max(self.min_keep));
        }
    }

    /// Keeps the tokens whose information is closest to the expected information until they reach `typical_p` together.
    fn keep_typical(&mut self) {
        let total = self.total();
        let log_total = total.ln();
        let information = |c: &Candidate| log_total - f64::from(c.log_weight);
        let share = |c: &Candidate| f64::from(c.weight) / total;
        let entropy: f64 = self.kept.iter().map(|c| share(c) * information(c)).sum();
        let surprise = |c: &Candidate| (information(c) - entropy).abs() as f32;
        self.surprise.clear();
        self.surprise
            .extend(self.kept.iter().map(|c| (surprise(c), *c)));
        let order = |a: &(f32, Candidate), b: &(f32, Candidate)| {
            a.0.total_cmp(&b.0).then(a.1.id.cmp(&b.1.id))
        };
        // A few tokens are enough as a rule: sort them first, and more only if they do not reach the probability.
        let all = self.surprise.len();
        let mut sorted = 0;
        let mut count = 256.max(self.min_keep);
        let mut mass = 0.0;
        let mut limit = None;
        while limit.is_none() && sorted < all {
            let rest = &mut self.surprise[sorted..];
            count = count.min(rest.len());
            if count < rest.len() {
                rest.select_nth_unstable_by(count - 1, order);
            }
            rest[..count].sort_unstable_by(order);
            limit = rest[..count].iter().find_map(|(surprise, candidate)| {
                mass += share(candidate);
                (mass as f32 >= self.typical_p as f32).then_some(*surprise)
            });
            sorted += count;
            count *= 8;
        }
        // Everything that is as close as the last one stays, and the first few in any case.
        let limit = limit.unwrap_or(f32::INFINITY);
        let nearest = self.min_keep.min(all);
        self.kept.clear();
        let kept = self.surprise.iter().enumerate();
        let kept = kept.filter(|(at, (surprise, _))| *at < nearest || *surprise <= limit);
        self.kept.extend(kept.map(|(_, (_, candidate))| *candidate));
    }

    fn total(&self) -> f64 {
        self.kept.iter().map(|c| f64::from(c.weight)).sum()
    }
}

fn sum(numbers: &[f32]) -> f64 {
    let blocks = numbers.chunks(256);
    blocks
        .map(|block| f64::from(block.iter().sum::<f32>()))
        .sum()
}

/// The `k`-th largest number, `1 <= k <= len`. The list never holds more than `2k` numbers, and a number below its
/// least is passed over with one comparison.
fn kth_largest(numbers: &[f32], k: usize, list: &mut Vec<f32>) -> f32 {
    let descending = |a: &f32, b: &f32| b.total_cmp(a);
    list.clear();
    let mut least = f32::NEG_INFINITY;
    for &x in numbers {
        if x > least || list.len() < k {
            list.push(x);
            if list.len() >= 2 * k {
                list.select_nth_unstable_by(k - 1, descending);
                list.truncate(k);
                least = list[k - 1];
            }
        }
    }
    *list.select_nth_unstable_by(k - 1, descending).1
}

/// The draws of one sequence. They depend on the seed, the prompt and the sequence's number, and on nothing else: not
/// on the other rows of a batch, the row's index among them, or the number of threads.
#[derive(Debug, Clone)]
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    pub(crate) fn new(seed: u64, prompt: &[u32], sequence: usize) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&fnv1a(prompt).to_le_bytes());
        key[16..24].copy_from_slice(&(sequence as u64).to_le_bytes());
        key[24..].copy_from_slice(b"clin-gen");
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A number in `[0, 1)` with 53 random bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number of the exponential distribution with mean 1, above 0.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln().min(-f64::MIN_POSITIVE)
    }
}

/// The 64-bit FNV-1a hash of the ids' bytes: the same on every machine and in every version.
fn fnv1a(ids: &[u32]) -> u64 {
    ids.iter()
        .flat_map(|id| id.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: u64) -> Draws {
        Draws::new(seed, &[1, 2, 3], 0)
    }

    /// Numbers between -8 and 8; `grid` makes some equal.
    fn logits(seed: u64, size: usize, grid: f64) -> Vec<f32> {
        let mut draws = draws(seed);
        let mut number = || {
            let spread = (draws.unit() - 0.5) * 16.0 * draws.unit();
            ((spread * grid).round() / grid) as f32
        };
        (0..size).map(|_| number()).collect()
    }

    /// The filters as their papers state them: sort everything, keep a mask.
    fn by_sorting(options: &Generation, logits: &[f32]) -> Vec<f64> {
        let mut scores: Vec<f64> = logits
            .iter()
            .map(|&x| f64::from(x) / options.temperature)
            .collect();
        let softmax = |scores: &[f64]| -> Vec<f64> {
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|x| (x - max).exp()).sum();
            scores.iter().map(|x| (x - max).exp() / total).collect()
        };
        let descending = |p: &[f64]| {
            let mut order: Vec<usize> = (0..p.len()).collect();
            order.sort_by(|&a, &b| p[b].total_cmp(&p[a]).then(a.cmp(&b)));
            order
        };
        if options.top_k > 0 && options.top_k < scores.len() {
            let least = scores[descending(&scores)[options.top_k - 1]];
            scores
                .iter_mut()
                .filter(|x| **x < least)
                .for_each(|x| *x = f64::NEG_INFINITY);
        }
        if options.top_p < 1.0 {
            let p = softmax(&scores);
            let mut before = 0.0;
            for (rank, id) in descending(&p).into_iter().enumerate() {
                if rank > 0 && before >= options.top_p {
                    scores[id] = f64::NEG_INFINITY;
                }
                before += p[id];
            }
        }
        if options.min_p > 0.0 {
            let p = softmax(&scores);
            let least = options.min_p * p.iter().copied().fold(0.0, f64::max);
            for (score, p) in scores.iter_mut().zip(p) {
                if p < least {
                    *score = f64::NEG_INFINITY;
                }
            }
        }
        if options.typical_p < 1.0 {
            let p = softmax(&scores);
            let entropy: f64 = p.iter().filter(|&&p| p > 0.0).map(|p| -p * p.ln()).sum();
            let distance: Vec<f64> = p.iter().map(|p| (-p.ln() - entropy).abs()).collect();
            let mut order: Vec<usize> = (0..p.len()).collect();
            order.sort_by(|&a, &b| distance[a].total_cmp(&distance[b]));
            let mut mass = 0.0;
            let last = order.iter().find(|&&id| {
                mass += p[id];
                mass >= options.typical_p
            });
            let limit = last.map_or(f64::INFINITY, |&id| distance[id]);
            for (score, distance) in scores.iter_mut().zip(distance) {
                if distance > limit {
                    *score = f64::NEG_INFINITY;
                }
            }
        }
        softmax(&scores)
    }

    #[test]
    fn partial_selection_is_full_sorting() {
        let options = |t: f64, k: usize, p: f64, m: f64| {
            Generation::sample()
                .with_temperature(t)
                .with_top_k(k)
                .with_top_p(p)
                .with_min_p(m)
        };
        for (case, options) in [
            options(1.0, 0, 1.0, 0.0),
            options(0.7, 50, 1.0, 0.0),
            options(1.0, 1, 1.0, 0.0),
            options(1.3, 1000, 1.0, 0.0),
            options(1.0, 0, 0.9, 0.0),
            options(2.0, 0, 0.3, 0.0),
            options(1.0, 0, 0.999, 0.0),
            options(1.0, 0, 1.0, 0.05),
            options(0.8, 40, 0.95, 0.02),
            options(1.0, 0, 1.0, 0.0).with_typical_p(0.2),
            options(1.0, 0, 1.0, 0.0).with_typical_p(0.95),
            options(1.5, 0, 0.9, 0.01).with_typical_p(0.5),
        ]
        .into_iter()
        .enumerate()
        {
            for size in [1, 2, 17, 1000, 32_128] {
                let logits = logits((case * 10 + size) as u64, size, 1e6);
                let expected = by_sorting(&options, &logits);
                let mut sampler = Sampler::for_options(&options, &[]);
                let kept = sampler.filter(&logits).to_vec();
                assert!(kept.windows(2).all(|pair| pair[0].id < pair[1].id));
                let total: f64 = kept.iter().map(|c| f64::from(c.weight)).sum();
                let mut got = vec![0.0; size];
                for candidate in &kept {
                    got[candidate.id as usize] = f64::from(candidate.weight) / total;
                }
                for (id, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    assert!(
                        (got - expected).abs() < 1e-6,
                        "{options:?}, {size} tokens, id {id}: {got} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_kth_largest_of_many_equal_numbers() {
        for seed in 0..20 {
            let numbers = logits(seed, 300, 2.0);
            let mut sorted = numbers.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            for k in [1, 2, 3, 50, 149, 150, 151, 299, 300] {
                let got = kth_largest(&numbers, k, &mut Vec::new());
                assert_eq!(got, sorted[k - 1], "k {k}");
            }
        }
    }

    #[test]
    fn draws_are_even_and_separate() {
        let mut own = draws(5);
        let numbers: Vec<f64> = (0..20_000).map(|_| own.unit()).collect();
        let mean = numbers.iter().sum::<f64>() / 20_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert!(numbers.iter().all(|x| (0.0..1.0).contains(x)));
        let first = |seed, prompt: &[u32], sequence| Draws::new(seed, prompt, sequence).unit();
        let all = [
            first(5, &[1, 2, 3], 0),
            first(6, &[1, 2, 3], 0),
            first(5, &[1, 2, 4], 0),
            first(5, &[1, 2, 3], 1),
        ];
        for (at, x) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|y| x != y));
        }
    }

    #[test]
    fn exponential_numbers_are_above_zero_with_mean_one() {
        let mut own = draws(9);
        let numbers: Vec<f64> = (0..20_000).map(|_| own.exponential()).collect();
        assert!(numbers.iter().all(|&x| x > 0.0 && x.is_finite()));
        let mean = numbers.iter().sum::<f64>() / 20_000.0;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
    }
}
