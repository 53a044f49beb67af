//! Vectors for texts.

use burn::tensor::{Bool, Tensor, TensorData};

use super::text::{LongText, OwnedRow};
use super::{ClinicalBert, finite, unknown};
use crate::model::first;
use crate::{Error, Row};

/// How the states of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pooling {
    /// The state of the first token, `[CLS]`.
    Cls,
    /// The mean over all tokens, special ones included, as sentence-transformers does.
    Mean,
    /// The largest value of each dimension over all tokens.
    Max,
}

impl std::str::FromStr for Pooling {
    type Err = Error;

    /// `cls`, `mean`, `max`.
    fn from_str(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "cls" => Self::Cls,
            "mean" => Self::Mean,
            "max" => Self::Max,
            _ => return Err(unknown("pooling", name, "cls, mean, max")),
        })
    }
}

/// How [`ClinicalBert::embed_with`] works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EmbedOptions {
    /// Default: [`Pooling::Mean`].
    pub pooling: Pooling,
    /// Whether each vector is divided by its Euclidean length. Default: false.
    pub normalize: bool,
    /// Default: windows without overlap.
    pub long: LongText,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        Self {
            pooling: Pooling::Mean,
            normalize: false,
            long: LongText::Windows { overlap: 0 },
        }
    }
}

impl EmbedOptions {
    /// The defaults with this pooling.
    #[must_use]
    pub fn new(pooling: Pooling) -> Self {
        Self {
            pooling,
            ..Self::default()
        }
    }

    /// Sets [`Self::normalize`].
    #[must_use]
    pub fn with_normalize(mut self, normalize: bool) -> Self {
        self.normalize = normalize;
        self
    }

    /// Sets [`Self::long`].
    #[must_use]
    pub fn with_long(mut self, long: LongText) -> Self {
        self.long = long;
        self
    }
}

impl ClinicalBert {
    /// One vector of `hidden_size` values for each text, of any length; see [`embed_with`](Self::embed_with).
    ///
    /// # Errors
    ///
    /// As [`embed_with`](Self::embed_with).
    pub fn embed<T: AsRef<str>>(
        &self,
        texts: &[T],
        pooling: Pooling,
    ) -> Result<Vec<Vec<f32>>, Error> {
        self.embed_with(texts, &EmbedOptions::new(pooling))
    }

    /// One vector of `hidden_size` values for each text.
    ///
    /// A text that fits is one row. A longer one is read in windows, and their vectors become one: the mean weighted by
    /// the tokens of each window for [`Pooling::Mean`] (so without overlap it is the mean over all tokens) and
    /// [`Pooling::Cls`], the largest value for [`Pooling::Max`]. An empty text is the row `[CLS] [SEP]`, as in
    /// `transformers`.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] if the options say so, [`Error::Overlap`], [`Error::Tokenizer`], [`Error::NotFinite`].
    pub fn embed_with<T: AsRef<str>>(
        &self,
        texts: &[T],
        options: &EmbedOptions,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let (mut rows, mut owners) = (Vec::new(), Vec::new());
        for (index, text) in texts.iter().enumerate() {
            let own = self.rows(index, text.as_ref(), options.long)?;
            owners.push(rows.len()..rows.len() + own.len());
            rows.extend(own);
        }
        let forward = |batch: &[usize], inputs: &[Row<'_>]| {
            let lengths: Vec<usize> = batch.iter().map(|&row| rows[row].ids.len()).collect();
            let pooled = pool(self.encoder().forward(inputs)?, &lengths, options.pooling);
            let width = pooled.dims()[1];
            let values = finite(pooled.into_data())?;
            Ok(values.chunks(width).map(<[f32]>::to_vec).collect())
        };
        let vectors = self.batches(&rows, forward, |_| {})?;
        let width = self.config.hidden_size;
        Ok(owners
            .into_iter()
            .map(|own| {
                let mut vector = combine(&vectors[own.clone()], &rows[own], options.pooling, width);
                if options.normalize {
                    normalize(&mut vector);
                }
                vector
            })
            .collect())
    }
}

/// `[batch, length, hidden]` to `[batch, hidden]` over the real tokens of each row.
fn pool(states: Tensor<3>, lengths: &[usize], pooling: Pooling) -> Tensor<2> {
    let [batch, longest, width] = states.dims();
    let padded = lengths.iter().any(|&length| length < longest);
    let device = states.device();
    let hidden = || {
        let hidden: Vec<bool> = lengths
            .iter()
            .flat_map(|&length| (0..longest).map(move |position| position >= length))
            .collect();
        Tensor::<3, Bool>::from_data(TensorData::new(hidden, [batch, longest, 1]), &device)
            .expand([batch, longest, width])
    };
    match pooling {
        Pooling::Cls => first(states),
        Pooling::Mean => {
            let states = if padded {
                states.mask_fill(hidden(), 0.0)
            } else {
                states
            };
            let shares: Vec<f32> = lengths.iter().map(|&length| 1.0 / length as f32).collect();
            let dtype = states.dtype();
            let shares =
                Tensor::<2>::from_data(TensorData::new(shares, [batch, 1]), (&device, dtype));
            states.sum_dim(1).reshape([batch, width]) * shares
        }
        Pooling::Max => {
            let states = if padded {
                states.mask_fill(hidden(), f32::NEG_INFINITY)
            } else {
                states
            };
            states.max_dim(1).reshape([batch, width])
        }
    }
}

/// The vectors of the windows of one text as one.
fn combine(vectors: &[Vec<f32>], rows: &[OwnedRow], pooling: Pooling, width: usize) -> Vec<f32> {
    if let [vector] = vectors {
        return vector.clone();
    }
    let total: usize = rows.iter().map(|row| row.ids.len()).sum();
    let mut combined = vec![
        if pooling == Pooling::Max {
            f32::NEG_INFINITY
        } else {
            0.0
        };
        width
    ];
    for (vector, row) in vectors.iter().zip(rows) {
        let share = row.ids.len() as f32 / total as f32;
        for (sum, value) in combined.iter_mut().zip(vector) {
            match pooling {
                Pooling::Max => *sum = sum.max(*value),
                Pooling::Cls | Pooling::Mean => *sum += share * value,
            }
        }
    }
    combined
}

/// Divides by the Euclidean length; zeros stay zeros.
fn normalize(vector: &mut [f32]) {
    let length = vector
        .iter()
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>()
        .sqrt();
    if length > 0.0 {
        vector
            .iter_mut()
            .for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}
