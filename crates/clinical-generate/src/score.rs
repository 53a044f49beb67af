//! How likely a model finds a given continuation.

use burn::tensor::Tensor;
use serde::Serialize;

use crate::logits::host;
use crate::reader::RESERVE;
use crate::validate::check_vocabulary;
use crate::{Error, ModelError, StepModel, math};

/// The log-probabilities of one given continuation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Score {
    /// The natural logarithm of each token's probability after the prompt and the tokens before it.
    pub log_probs: Vec<f32>,
}

impl Score {
    /// The score of a continuation whose tokens have these log-probabilities.
    #[must_use]
    pub fn new(log_probs: Vec<f32>) -> Self {
        Self { log_probs }
    }

    /// The log-probability of the whole continuation; 0 if it has no token.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.log_probs.iter().map(|&p| f64::from(p)).sum()
    }

    /// The mean log-probability of a token, which compares continuations of different lengths; 0 if there is none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.total() / self.log_probs.len().max(1) as f64
    }

    /// The perplexity: `e^-mean`.
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        (-self.mean()).exp()
    }
}

/// The log-probability of each token of `continuation` after `prompt`. Put the end token at its end if the score should
/// count that the answer ends there.
///
/// # Errors
///
/// A prompt that is empty or too long, an id without an embedding row, a logit that is not finite.
pub fn score<M: StepModel>(
    model: &M,
    prompt: &[u32],
    continuation: &[u32],
) -> Result<Score, Error> {
    score_batch(model, &[(prompt, continuation)]).map(|mut scores| scores.remove(0))
}

/// [`score`] of several continuations of one prompt: the prompt is read once, and so is each prefix that
/// continuations share.
///
/// # Errors
///
/// As [`score`].
pub fn score_candidates<M: StepModel>(
    model: &M,
    prompt: &[u32],
    candidates: &[&[u32]],
) -> Result<Vec<Score>, Error> {
    let pairs: Vec<(&[u32], &[u32])> = candidates
        .iter()
        .map(|&candidate| (prompt, candidate))
        .collect();
    score_batch(model, &pairs)
}

/// [`score`] of many pairs of a prompt and a continuation, in one batch. Equal prompts are read once.
///
/// # Errors
///
/// As [`score`]; row numbers are indices in `pairs`.
pub fn score_batch<M: StepModel>(
    model: &M,
    pairs: &[(&[u32], &[u32])],
) -> Result<Vec<Score>, Error> {
    score_after(model, &[], pairs, |prompts, reserve| {
        Ok(model.prefill(prompts, reserve)?)
    })
}

/// [`score_batch`] of prompts that all go on after `prefix`; `read` reads what follows it.
pub(crate) fn score_after<M: StepModel>(
    model: &M,
    prefix: &[u32],
    pairs: &[(&[u32], &[u32])],
    read: impl FnOnce(&[&[u32]], usize) -> Result<(M::Cache, Tensor<2>), Error>,
) -> Result<Vec<Score>, Error> {
    check(model, prefix.len(), pairs)?;
    let mut scores: Vec<Score> = pairs
        .iter()
        .map(|(_, continuation)| Score {
            log_probs: Vec::with_capacity(continuation.len()),
        })
        .collect();
    let (prompts, mut groups) = group_by_prompt(pairs);
    if prompts.is_empty() {
        return Ok(scores);
    }
    let longest = pairs
        .iter()
        .map(|(_, continuation)| continuation.len())
        .max();
    let (mut cache, logits) = read(&prompts, longest.unwrap_or(0).min(RESERVE))?;
    let vocabulary = model.vocabulary();
    let mut logits = host(logits, prompts.len(), vocabulary)?;
    let broken = |pair: usize, depth: usize| {
        let (prompt, continuation) = pairs[pair];
        let prompt = [prefix, prompt].concat();
        Error::non_finite(model, pair, &prompt, &continuation[..depth])
    };
    // Every group stands at the same point: `depth` tokens of its continuations are in the cache.
    let mut depth = 0;
    loop {
        record(
            &mut scores,
            pairs,
            &groups,
            logits.chunks_exact(vocabulary),
            depth,
            &broken,
        )?;
        let (parents, next) = split(pairs, &groups, depth);
        if next.is_empty() {
            return Ok(scores);
        }
        let moved =
            parents.len() != groups.len() || parents.iter().enumerate().any(|(at, &p)| at != p);
        if moved {
            model.select(&mut cache, &parents);
        }
        groups = next;
        let run = common_run(pairs, &groups, depth);
        let tokens: Vec<&[u32]> = groups
            .iter()
            .map(|group| &pairs[group[0]].1[depth..depth + run])
            .collect();
        let all = model.extend(&tokens, false, &mut cache)?;
        let [rows, count, _] = all.dims();
        let all = host(
            all.reshape([(rows * count) as i32, -1]),
            groups.len() * run,
            vocabulary,
        )?;
        for inner in 0..run - 1 {
            let rows = all.chunks_exact(vocabulary).skip(inner).step_by(run);
            record(
                &mut scores,
                pairs,
                &groups,
                rows,
                depth + inner + 1,
                &broken,
            )?;
        }
        depth += run;
        let last = all.chunks_exact(vocabulary).skip(run - 1).step_by(run);
        logits = last.flatten().copied().collect();
    }
}

fn check<M: StepModel>(model: &M, prefix: usize, pairs: &[(&[u32], &[u32])]) -> Result<(), Error> {
    let vocabulary = model.vocabulary();
    check_vocabulary(vocabulary)?;
    for (row, (prompt, continuation)) in pairs.iter().enumerate() {
        if prefix + prompt.len() == 0 {
            return Err(ModelError::EmptyPrompt { row }.into());
        }
        if let Some(&id) = continuation.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(ModelError::TokenOutOfRange {
                id,
                row,
                vocabulary,
            }
            .into());
        }
        let read = if model.prompt_counts() {
            prefix + prompt.len()
        } else {
            0
        };
        if let Some(limit) = model
            .max_positions()
            .filter(|&limit| read + continuation.len() > limit)
        {
            let positions = read + continuation.len();
            return Err(ModelError::TooLong { positions, limit }.into());
        }
    }
    Ok(())
}

/// The different prompts, and the pairs of each.
fn group_by_prompt<'p>(pairs: &[(&'p [u32], &[u32])]) -> (Vec<&'p [u32]>, Vec<Vec<usize>>) {
    let mut known = std::collections::HashMap::new();
    let mut prompts = Vec::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (pair, &(prompt, continuation)) in pairs.iter().enumerate() {
        if continuation.is_empty() {
            continue;
        }
        let group = *known.entry(prompt).or_insert_with(|| {
            prompts.push(prompt);
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(pair);
    }
    (prompts, groups)
}

/// Adds the log-probability of the token at `depth` to each continuation of each group, from its row of logits.
/// `broken` makes the error for a pair and a depth.
fn record<'l>(
    scores: &mut [Score],
    pairs: &[(&[u32], &[u32])],
    groups: &[Vec<usize>],
    rows: impl Iterator<Item = &'l [f32]>,
    depth: usize,
    broken: &dyn Fn(usize, usize) -> Error,
) -> Result<(), Error> {
    for (group, row) in groups.iter().zip(rows) {
        let max = math::max_if_finite(row).ok_or_else(|| broken(group[0], depth))?;
        let normaliser = math::log_sum_exp(row, max);
        for &pair in group {
            if let Some(&id) = pairs[pair].1.get(depth) {
                scores[pair].log_probs.push(row[id as usize] - normaliser);
            }
        }
    }
    Ok(())
}

/// Divides each group by the token at `depth`; continuations that end there are done. Returns the group that each new
/// one came from.
fn split(
    pairs: &[(&[u32], &[u32])],
    groups: &[Vec<usize>],
    depth: usize,
) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut parents = Vec::new();
    let mut next: Vec<Vec<usize>> = Vec::new();
    for (parent, group) in groups.iter().enumerate() {
        let first = next.len();
        for &pair in group {
            let tokens = pairs[pair].1;
            if tokens.len() <= depth + 1 {
                continue;
            }
            let same = next[first..]
                .iter_mut()
                .find(|new| pairs[new[0]].1[depth] == tokens[depth]);
            match same {
                Some(new) => new.push(pair),
                None => {
                    next.push(vec![pair]);
                    parents.push(parent);
                }
            }
        }
    }
    (parents, next)
}

/// How many tokens from `depth` on every group can read before one of its continuations parts from the others or ends.
fn common_run(pairs: &[(&[u32], &[u32])], groups: &[Vec<usize>], depth: usize) -> usize {
    let run = |group: &Vec<usize>| {
        let first = &pairs[group[0]].1[depth..];
        group
            .iter()
            .map(|&pair| {
                let tokens = &pairs[pair].1[depth..];
                let same = tokens.iter().zip(first).take_while(|(a, b)| a == b).count();
                same.min(tokens.len() - 1)
            })
            .min()
            .unwrap_or(1)
    };
    groups.iter().map(run).min().unwrap_or(1).max(1)
}
