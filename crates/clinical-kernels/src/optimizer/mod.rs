//! Optimisers' steps in few passes over memory, for f32 tensors of the CPU.
//!
//! Burn's operations make a tensor at each step of a formula; here a parameter and what is remembered of it change in
//! their places where nobody else has them. Each function gives the parameter back where it does not apply: the caller
//! then composes the same of Burn's operations. Sums are split in a fixed way, so results do not depend on the number of
//! threads.
// What is no use here goes back to the caller as it came.
#![allow(clippy::result_large_err, clippy::type_complexity)]

#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod kernel;
#[cfg(all(test, feature = "flex"))]
mod tests;

use burn::tensor::Tensor;

/// A step of Adafactor (Shazeer and Stern 2018) for a matrix whose second moment is factored.
#[derive(Debug, Clone, Copy)]
pub struct Adafactor {
    /// Factor of the moments from before.
    pub beta2: f64,
    /// Added to the squares of gradients.
    pub epsilon: f64,
    /// The largest root mean square of an update before the rate.
    pub clip_threshold: f64,
    /// What updates are multiplied by.
    pub rate: f64,
    /// The least root mean square of the parameter that counts, where updates are multiplied by it.
    pub scale: Option<f64>,
    /// The part of the parameter that is lost.
    pub decay: f64,
    /// Whether that part is multiplied by the parameter's root mean square too.
    pub decay_scaled: bool,
}

/// A matrix `[n, m]` after a step, with the means of the second moments of its rows, `[n, 1]`, and columns, `[1, m]`.
#[derive(Debug)]
pub struct Factored<const D: usize> {
    /// The parameter.
    pub tensor: Tensor<D>,
    /// Of rows.
    pub rows: Tensor<D>,
    /// Of columns.
    pub columns: Tensor<D>,
}

impl Adafactor {
    /// One step; `moments` are those of rows and columns before it, if there are any.
    ///
    /// # Errors
    ///
    /// The parameter, unless it is an f32 matrix of the CPU's default backend.
    ///
    /// # Panics
    ///
    /// When gradient or moments have other shapes.
    pub fn step<const D: usize>(
        &self,
        tensor: Tensor<D>,
        gradient: &Tensor<D>,
        moments: Option<[&Tensor<D>; 2]>,
    ) -> Result<Factored<D>, Tensor<D>> {
        #[cfg(feature = "flex")]
        return flex::adafactor(self, tensor, gradient, moments);
        #[cfg(not(feature = "flex"))]
        {
            let _ = (gradient, moments);
            Err(tensor)
        }
    }
}

/// A step of AdamW (Loshchilov and Hutter 2019).
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Factor of the running mean of gradients.
    pub beta1: f64,
    /// Factor of the running mean of their squares.
    pub beta2: f64,
    /// Added to the root of the latter, which is first divided by `root`.
    pub epsilon: f64,
    /// The root of `1 - beta2^step`.
    pub root: f64,
    /// What updates are multiplied by: the rate over `1 - beta1^step`.
    pub rate: f64,
    /// What the parameter is multiplied by first: `1 - rate * decay`.
    pub keep: f64,
}

/// A parameter after a step, with the running means of its gradients and of their squares.
#[derive(Debug)]
pub struct Averaged<const D: usize> {
    /// The parameter.
    pub tensor: Tensor<D>,
    /// Of gradients.
    pub mean: Tensor<D>,
    /// Of their squares.
    pub square: Tensor<D>,
}

impl AdamW {
    /// One step; `averages` are the two running means before it, if there are any.
    ///
    /// # Errors
    ///
    /// The parameter with the averages, unless all are f32 tensors of the CPU's default backend.
    ///
    /// # Panics
    ///
    /// When gradient or averages have other shapes.
    pub fn step<const D: usize>(
        &self,
        tensor: Tensor<D>,
        gradient: &Tensor<D>,
        averages: Option<[Tensor<D>; 2]>,
    ) -> Result<Averaged<D>, (Tensor<D>, Option<[Tensor<D>; 2]>)> {
        #[cfg(feature = "flex")]
        return flex::adamw(self, tensor, gradient, averages);
        #[cfg(not(feature = "flex"))]
        {
            let _ = gradient;
            Err((tensor, averages))
        }
    }
}
