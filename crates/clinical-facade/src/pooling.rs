//! From the states of the tokens of a text to one vector.

use std::fmt;

use burn::tensor::{Bool, DType, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// How the states of a text become one vector. Padding never counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Pooling {
    /// The mean over all tokens, special ones included, as sentence-transformers does.
    #[default]
    Mean,
    /// The state of the first token: `[CLS]` of a BERT.
    Cls,
    /// The largest value of each dimension over all tokens.
    Max,
    /// The sum over all tokens, divided by the square root of their number (`pooling_mode_mean_sqrt_len_tokens`).
    MeanSqrt,
}

/// A name that is no pooling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no pooling is called so: known are mean, cls, max, mean-sqrt")]
#[non_exhaustive]
pub struct UnknownPooling;

impl Pooling {
    const ALL: [Self; 4] = [Self::Mean, Self::Cls, Self::Max, Self::MeanSqrt];

    /// Its name: `mean`, `cls`, `max`, `mean-sqrt`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Max => "max",
            Self::MeanSqrt => "mean-sqrt",
        }
    }

    /// States `[batch, longest, width]` to vectors `[batch, width]` in f32, over the first `lengths[row]` positions of
    /// each row. There must be one length for each row, at least 1 and at most `longest`.
    #[must_use]
    pub fn pool(self, states: Tensor<3>, lengths: &[usize]) -> Tensor<2> {
        let [batch, longest, width] = states.dims();
        let states = states.cast(DType::F32);
        let pooled = match self {
            Self::Cls => states.narrow(1, 0, 1),
            Self::Max => without_padding(states, lengths, f32::NEG_INFINITY).max_dim(1),
            Self::Mean | Self::MeanSqrt => {
                let share = |&length: &usize| match self {
                    Self::MeanSqrt => (length as f32).sqrt().recip(),
                    _ => (length as f32).recip(),
                };
                let shares: Vec<f32> = lengths.iter().map(share).collect();
                let shares = TensorData::new(shares, [batch, 1, 1]);
                let shares = Tensor::from_data(shares, (&states.device(), DType::F32));
                without_padding(states, lengths, 0.0).sum_dim(1) * shares
            }
        };
        debug_assert!(lengths.iter().all(|&length| length <= longest));
        pooled.reshape([batch, width])
    }

    /// The vectors of the windows of one text as one. `tokens` are those of each window. For [`Self::Mean`],
    /// [`Self::MeanSqrt`] and [`Self::Max`] it is the vector of all tokens of all windows; for [`Self::Cls`] the mean,
    /// weighted by the tokens. Empty without vectors.
    #[must_use]
    pub fn combine(self, vectors: &[Vec<f32>], tokens: &[usize]) -> Vec<f32> {
        let Some((first, rest)) = vectors.split_first() else {
            return Vec::new();
        };
        if rest.is_empty() {
            return first.clone();
        }
        let total: usize = tokens.iter().sum();
        let start = match self {
            Self::Max => f32::NEG_INFINITY,
            _ => 0.0,
        };
        let mut combined = vec![start; first.len()];
        for (vector, &tokens) in vectors.iter().zip(tokens) {
            let share = match self {
                Self::MeanSqrt => (tokens as f32 / total as f32).sqrt(),
                _ => tokens as f32 / total as f32,
            };
            for (sum, value) in combined.iter_mut().zip(vector) {
                match self {
                    Self::Max => *sum = sum.max(*value),
                    _ => *sum += share * value,
                }
            }
        }
        combined
    }
}

/// The states with `value` at every position from a row's length on.
fn without_padding(states: Tensor<3>, lengths: &[usize], value: f32) -> Tensor<3> {
    let [batch, longest, width] = states.dims();
    if lengths.iter().all(|&length| length >= longest) {
        return states;
    }
    let hidden: Vec<bool> = lengths
        .iter()
        .flat_map(|&length| (0..longest).map(move |position| position >= length))
        .collect();
    let hidden = TensorData::new(hidden, [batch, longest, 1]);
    let hidden = Tensor::<3, Bool>::from_data(hidden, &states.device());
    states.mask_fill(hidden.expand([batch, longest, width]), value)
}

/// Divides a vector by its Euclidean length; zeros stay zeros.
pub fn normalize(vector: &mut [f32]) {
    let squares: f64 = vector.iter().map(|&value| f64::from(value).powi(2)).sum();
    let length = squares.sqrt();
    if length > 0.0 {
        for value in vector {
            *value = (f64::from(*value) / length) as f32;
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Pooling {
    type Err = UnknownPooling;

    /// One of the names of [`Pooling::name`].
    fn from_str(name: &str) -> Result<Self, UnknownPooling> {
        let known = Self::ALL.into_iter().find(|pooling| pooling.name() == name);
        known.ok_or(UnknownPooling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of two values; the second has one token and a padding position.
    fn states() -> Tensor<3> {
        Tensor::from_floats(
            [[[1.0, -4.0], [3.0, 8.0]], [[5.0, 6.0], [9.0, 9.0]]],
            &clinical_kernels::cpu(),
        )
    }

    #[track_caller]
    fn pooled(pooling: Pooling, expected: [f32; 4]) {
        let found: Vec<f32> = pooling.pool(states(), &[2, 1]).try_into_vec_as().unwrap();
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert!(
            found.iter().zip(&expected).all(near),
            "{pooling}: {found:?}"
        );
    }

    #[test]
    fn padding_counts_in_none() {
        pooled(Pooling::Cls, [1.0, -4.0, 5.0, 6.0]);
        pooled(Pooling::Mean, [2.0, 2.0, 5.0, 6.0]);
        pooled(Pooling::Max, [3.0, 8.0, 5.0, 6.0]);
        let root = 2f32.sqrt();
        pooled(Pooling::MeanSqrt, [4.0 / root, 4.0 / root, 5.0, 6.0]);
    }

    #[test]
    fn windows_together_are_the_vector_of_all_their_tokens() {
        // Three tokens 1, 2, 6, read as the first two and the last.
        let all = |pooling: Pooling, windows: [f32; 2]| {
            pooling.combine(&[vec![windows[0]], vec![windows[1]]], &[2, 1])[0]
        };
        assert!((all(Pooling::Mean, [1.5, 6.0]) - 3.0).abs() < 1e-6);
        assert!(
            (all(Pooling::MeanSqrt, [3.0 / 2f32.sqrt(), 6.0]) - 9.0 / 3f32.sqrt()).abs() < 1e-5
        );
        assert_eq!(all(Pooling::Max, [2.0, 6.0]), 6.0);
        assert_eq!(Pooling::Mean.combine(&[vec![7.0]], &[3]), [7.0]);
        assert!(Pooling::Mean.combine(&[], &[]).is_empty());
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for pooling in Pooling::ALL {
            assert_eq!(pooling.to_string().parse(), Ok(pooling));
        }
        assert_eq!("first".parse::<Pooling>(), Err(UnknownPooling));
    }

    #[test]
    fn zeros_stay_zeros() {
        let (mut zeros, mut vector) = ([0.0; 2], [3.0, 4.0]);
        normalize(&mut zeros);
        normalize(&mut vector);
        assert_eq!((zeros, vector), ([0.0; 2], [0.6, 0.8]));
    }
}
