//! Logits in the host's memory.

use burn::tensor::Tensor;

use crate::Error;

/// A token and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Token {
    pub(crate) id: u32,
    pub(crate) score: f32,
}

/// The `count` tokens of the largest scores of a row, the largest first, of equal ones the lower id first. The scores are
/// finite.
pub(crate) fn largest(scores: &[f32], count: usize) -> Vec<Token> {
    const CHUNK: usize = 64;
    let mut found: Vec<Token> = Vec::with_capacity(count.min(scores.len()) + 1);
    let least = |found: &[Token]| match found.last() {
        Some(last) if found.len() == count => last.score,
        _ => f32::NEG_INFINITY,
    };
    for (chunk, scores) in scores.chunks(CHUNK).enumerate() {
        // Most chunks hold nothing large enough, which one comparison shows.
        let top = scores
            .iter()
            .fold(f32::NEG_INFINITY, |top, &x| if x > top { x } else { top });
        if top <= least(&found) {
            continue;
        }
        for (at, &score) in scores.iter().enumerate() {
            if score > least(&found) {
                let id = (chunk * CHUNK + at) as u32;
                let place = found.partition_point(|other| other.score >= score);
                found.insert(place, Token { id, score });
                found.truncate(count);
            }
        }
    }
    found
}

/// The logits in the host's memory, `rows * vocabulary` numbers.
pub(crate) fn host(logits: Tensor<2>, rows: usize, vocabulary: usize) -> Result<Vec<f32>, Error> {
    check_shape(&logits, rows, vocabulary)?;
    Ok(logits.try_into_vec_as::<f32>()?)
}

/// Refuses logits that are not `[rows, vocabulary]`, before any is read.
pub(crate) fn check_shape(logits: &Tensor<2>, rows: usize, vocabulary: usize) -> Result<(), Error> {
    let shape = logits.dims();
    if shape != [rows, vocabulary] {
        return Err(Error::LogitShape {
            got: shape[0] * shape[1],
            expected: rows * vocabulary,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_in_order_and_of_equal_ones_the_first() {
        let scores: Vec<f32> = (0..700u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 26) as f32 - 40.0)
            .collect();
        let mut sorted: Vec<Token> = (0..)
            .zip(&scores)
            .map(|(id, &score)| Token { id, score })
            .collect();
        sorted.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
        for count in [1, 2, 20, 64, 65, 699, 700, 900] {
            let got = largest(&scores, count);
            assert_eq!(got, sorted[..count.min(700)], "{count}");
        }
        assert!(largest(&[], 3).is_empty() && largest(&scores, 0).is_empty());
    }
}
