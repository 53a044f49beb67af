//! Rotary position embedding.

use burn::tensor::{Device, Tensor, TensorData};
use clinical_kernels::fused;
use std::f64::consts::PI;
use std::ops::Range;

/// How positions beyond the trained length are brought back into it (`rope_scaling` of a config).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// All frequencies divided by `factor`.
    Linear {
        /// How many times longer the context becomes.
        factor: f64,
    },
    /// The base grows with the length read, once it passes `max_positions` (NTK).
    Dynamic {
        /// How many times longer the context may become.
        factor: f64,
        /// The trained length.
        max_positions: usize,
    },
    /// Llama 3.1: low frequencies divided, high ones kept, a ramp between.
    Llama3 {
        /// How many times longer the context becomes.
        factor: f64,
        /// Wavelengths above `original_positions / low_frequency_factor` are divided by `factor`.
        low_frequency_factor: f64,
        /// Wavelengths below `original_positions / high_frequency_factor` are kept.
        high_frequency_factor: f64,
        /// The trained length.
        original_positions: usize,
    },
}

/// A rotary embedding that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RopeError {
    /// The head size is zero or odd.
    #[error("rotary embedding needs an even, non-zero head size, not {head_dim}")]
    HeadSize {
        /// The head size.
        head_dim: usize,
    },
    /// The base or a scaling value is not a positive, finite number.
    #[error("rotary embedding needs a positive, finite {field}, not {value}")]
    Value {
        /// The config field.
        field: &'static str,
        /// Its value.
        value: f64,
    },
}

/// Rotary position embedding (Su et al. 2021), rotate-half layout, frequencies `theta^(-2i/d)`.
#[derive(Debug, Clone)]
pub struct Rope {
    frequencies: Vec<f32>,
    theta: f64,
    scaling: Option<RopeScaling>,
}

/// Cosines and sines for the positions of one forward pass, `[batch or 1, 1, length, d / 2]`; every layer uses the
/// same.
#[derive(Debug, Clone)]
pub struct RopeTables {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Rope {
    /// The embedding for heads of `head_dim` values.
    ///
    /// # Errors
    ///
    /// [`RopeError`] for an odd head size, or a base or scaling value that is not positive and finite.
    pub fn new(
        head_dim: usize,
        theta: f64,
        scaling: Option<RopeScaling>,
    ) -> Result<Self, RopeError> {
        if head_dim == 0 || head_dim % 2 == 1 {
            return Err(RopeError::HeadSize { head_dim });
        }
        let positive = |field, value: f64| {
            if value > 0.0 && value.is_finite() {
                Ok(())
            } else {
                Err(RopeError::Value { field, value })
            }
        };
        positive("rope_theta", theta)?;
        match scaling {
            None => {}
            Some(RopeScaling::Linear { factor }) => positive("rope_scaling.factor", factor)?,
            Some(RopeScaling::Dynamic {
                factor,
                max_positions,
            }) => {
                positive("rope_scaling.factor", factor)?;
                positive("max_position_embeddings", max_positions as f64)?;
            }
            Some(RopeScaling::Llama3 {
                factor,
                low_frequency_factor,
                high_frequency_factor,
                original_positions,
            }) => {
                positive("rope_scaling.factor", factor)?;
                positive("rope_scaling.low_freq_factor", low_frequency_factor)?;
                positive(
                    "rope_scaling.high_freq_factor - low_freq_factor",
                    high_frequency_factor - low_frequency_factor,
                )?;
                positive(
                    "rope_scaling.original_max_position_embeddings",
                    original_positions as f64,
                )?;
            }
        }
        let frequencies = base_frequencies(head_dim, theta)
            .map(|frequency| scale(frequency, scaling) as f32)
            .collect();
        Ok(Self {
            frequencies,
            theta,
            scaling,
        })
    }

    /// Whether the frequencies depend on how much a row has read, so that rows of one batch may differ.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        matches!(self.scaling, Some(RopeScaling::Dynamic { .. }))
    }

    /// Cosines and sines for `positions`: rows of equal length, one after another. There are as many rows as `read` has
    /// entries; an entry is the number of positions that its row has read once this pass is done, which only
    /// [`RopeScaling::Dynamic`] looks at. Padding does not count, so a row turns by the same angles alone and in a
    /// batch.
    ///
    /// They are computed in f32 from f32 angles, as `transformers` does, so that long prompts give the same numbers.
    /// One row serves a whole batch: its tables are broadcast.
    #[must_use]
    pub fn tables(&self, positions: &[usize], read: &[usize], device: &Device) -> RopeTables {
        let rows = read.len().max(1);
        let length = positions.len() / rows;
        let of_row = |(row, &read)| {
            let positions = &positions[row * length..(row + 1) * length];
            (positions.iter().copied(), read)
        };
        self.angles([rows, length], read.iter().enumerate().map(of_row), device)
    }

    /// Cosines and sines for rows of any lengths, one after another, `[1, 1, positions, d / 2]`: the positions of each
    /// row and, as in [`tables`](Self::tables), how many it has read once this pass is done.
    #[must_use]
    pub fn tables_of_rows(&self, rows: &[(Range<usize>, usize)], device: &Device) -> RopeTables {
        let length = rows.iter().map(|(positions, _)| positions.len()).sum();
        self.angles([1, length], rows.iter().cloned(), device)
    }

    fn angles(
        &self,
        [rows, length]: [usize; 2],
        positions: impl Iterator<Item = (impl Iterator<Item = usize>, usize)>,
        device: &Device,
    ) -> RopeTables {
        let half = self.frequencies.len();
        let shape = [rows, 1, length, half];
        let count = rows * length * half;
        let (mut cos, mut sin) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (positions, read) in positions {
            let frequencies = self.frequencies_for(read);
            for position in positions {
                for &frequency in frequencies.iter() {
                    let (s, c) = (position as f32 * frequency).sin_cos();
                    cos.push(c);
                    sin.push(s);
                }
            }
        }
        RopeTables {
            cos: Tensor::from_data(TensorData::new(cos, shape), device),
            sin: Tensor::from_data(TensorData::new(sin, shape), device),
        }
    }

    /// The frequencies once `read` positions have been read; only `dynamic` scaling depends on it.
    fn frequencies_for(&self, read: usize) -> std::borrow::Cow<'_, [f32]> {
        match self.scaling {
            Some(RopeScaling::Dynamic {
                factor,
                max_positions,
            }) if read > max_positions => {
                let d = 2.0 * self.frequencies.len() as f64;
                let stretch = factor * read as f64 / max_positions as f64 - (factor - 1.0);
                let theta = self.theta * stretch.powf(d / (d - 2.0));
                base_frequencies(2 * self.frequencies.len(), theta)
                    .map(|frequency| frequency as f32)
                    .collect()
            }
            _ => self.frequencies.as_slice().into(),
        }
    }
}

impl RopeTables {
    /// Rotates queries or keys `[batch, heads, length, d]`.
    #[must_use]
    pub fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        if let Some(y) = fused::rotate(&x, &self.cos, &self.sin) {
            return y;
        }
        self.composed(x)
    }

    /// [`apply`](Self::apply) of Burn's operations.
    fn composed(&self, x: Tensor<4>) -> Tensor<4> {
        let d = x.dims()[3];
        let dtype = x.dtype();
        let (cos, sin) = (self.cos.clone().cast(dtype), self.sin.clone().cast(dtype));
        let first = x.clone().narrow(3, 0, d / 2);
        let second = x.narrow(3, d / 2, d / 2);
        Tensor::cat(
            vec![
                first.clone() * cos.clone() - second.clone() * sin.clone(),
                second * cos + first * sin,
            ],
            3,
        )
    }
}

fn base_frequencies(head_dim: usize, theta: f64) -> impl Iterator<Item = f64> {
    (0..head_dim / 2).map(move |i| theta.powf(-2.0 * i as f64 / head_dim as f64))
}

fn scale(frequency: f64, scaling: Option<RopeScaling>) -> f64 {
    match scaling {
        None | Some(RopeScaling::Dynamic { .. }) => frequency,
        Some(RopeScaling::Linear { factor }) => frequency / factor,
        Some(RopeScaling::Llama3 {
            factor,
            low_frequency_factor: low,
            high_frequency_factor: high,
            original_positions,
        }) => {
            let original = original_positions as f64;
            let wavelength = 2.0 * PI / frequency;
            if wavelength < original / high {
                frequency
            } else if wavelength > original / low {
                frequency / factor
            } else {
                let ramp = (original / wavelength - low) / (high - low);
                (1.0 - ramp) * frequency / factor + ramp * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotate(rope: &Rope, x: [f32; 4], position: usize) -> Vec<f32> {
        let device = clinical_kernels::cpu();
        let x = Tensor::from_data(TensorData::new(x.to_vec(), [1, 1, 1, 4]), &device);
        rope.tables(&[position], &[position + 1], &device)
            .apply(x)
            .try_into_vec_as()
            .unwrap()
    }

    #[test]
    fn rotates_halves_by_position_times_frequency() {
        let rope = Rope::new(4, 100.0, None).unwrap();
        let y = rotate(&rope, [1.0, 1.0, 0.0, 0.0], 3);
        let expected = [3f32.cos(), 0.3f32.cos(), 3f32.sin(), 0.3f32.sin()];
        for (y, expected) in y.iter().zip(expected) {
            assert!((y - expected).abs() < 1e-6, "{y} {expected}");
        }
    }

    #[test]
    fn scores_depend_on_the_distance_alone() {
        let rope = Rope::new(4, 1e4, None).unwrap();
        let (q, k) = ([0.3, -1.0, 0.7, 0.2], [1.1, 0.4, -0.6, 0.9]);
        let score = |i, j| -> f32 {
            let (q, k) = (rotate(&rope, q, i), rotate(&rope, k, j));
            q.iter().zip(&k).map(|(q, k)| q * k).sum()
        };
        assert!((score(7, 3) - score(104, 100)).abs() < 1e-4);
    }

    #[test]
    fn dynamic_scaling_starts_beyond_the_trained_length() {
        let plain = Rope::new(4, 100.0, None).unwrap();
        let scaling = RopeScaling::Dynamic {
            factor: 2.0,
            max_positions: 8,
        };
        let dynamic = Rope::new(4, 100.0, Some(scaling)).unwrap();
        let x = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(rotate(&plain, x, 7), rotate(&dynamic, x, 7));
        assert_ne!(rotate(&plain, x, 8), rotate(&dynamic, x, 8));
        // The length read decides, not the position.
        let device = clinical_kernels::cpu();
        let x = Tensor::<4>::from_floats(
            [[[[1.0, 2.0, 3.0, 4.0]]], [[[1.0, 2.0, 3.0, 4.0]]]],
            &device,
        );
        let y = dynamic.tables(&[3, 3], &[4, 20], &device).apply(x);
        let y: Vec<f32> = y.try_into_vec_as().unwrap();
        assert_eq!(y[..4], rotate(&plain, [1.0, 2.0, 3.0, 4.0], 3));
        assert_ne!(y[..4], y[4..]);
    }

    /// Kernel and Burn's operations must agree, on views and with tables for each row.
    #[test]
    fn the_kernel_is_the_composed_rotation() {
        use burn::tensor::{Distribution, Tolerance};
        let device = clinical_kernels::cpu();
        device.seed(6);
        for (heads, length, d) in [(1, 1, 2), (3, 5, 20), (2, 70, 64)] {
            let rope = Rope::new(d, 1e4, None).unwrap();
            let x = Tensor::<4>::random([2, length, heads, d], Distribution::Default, &device);
            let positions: Vec<usize> = (0..2 * length).map(|i| 3 * i).collect();
            for read in [vec![length], vec![length; 2]] {
                let positions = &positions[..length * read.len()];
                let tables = rope.tables(positions, &read, &device);
                let x = x.clone().swap_dims(1, 2);
                let (found, expected) = (tables.apply(x.clone()), tables.composed(x));
                found
                    .into_data()
                    .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-6));
            }
        }
    }

    #[test]
    fn refuses_values_that_make_no_sense() {
        assert!(matches!(
            Rope::new(3, 1e4, None),
            Err(RopeError::HeadSize { head_dim: 3 })
        ));
        assert!(Rope::new(4, f64::NAN, None).is_err());
        assert!(Rope::new(4, 1e4, Some(RopeScaling::Linear { factor: 0.0 })).is_err());
    }
}
