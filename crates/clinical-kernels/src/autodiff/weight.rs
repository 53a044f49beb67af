//! The weights of a dense layer, as they are or packed.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;

use crate::PackedMatrix;
use crate::float::product::{Finish, Matrix, Target, product, product_by};
use crate::float::simd::Level;
use crate::fused::flex::{Ending, matrix, written};
use crate::quant::{Columns, Rows};

/// Weights `[d_input, d_output]`.
#[derive(Debug, Clone)]
pub(super) enum Weight {
    Dense(FlexTensor),
    /// Constants. They are unpacked in strips, so that activations are not rounded as in inference.
    Packed(Arc<PackedMatrix>),
}

impl Weight {
    /// Whether they lie in memory as `[d_output, d_input]`.
    pub(super) fn is_transposed(&self) -> bool {
        match self {
            Self::Dense(weight) => matches!(*weight.layout().strides(), [1, row] if row != 1),
            Self::Packed(_) => true,
        }
    }

    /// `residual + activation(x W + bias)` for sizes `[rows, d_output, d_input]`.
    pub(super) fn forward(
        &self,
        [m, n, k]: [usize; 3],
        x: &FlexTensor,
        ending: Ending<'_>,
    ) -> FlexTensor {
        let finish = ending.finish(n);
        written([m, n], |data| {
            let out = Target { data, row: n };
            // SAFETY: the sizes are those of the tensors, which live until here.
            unsafe { self.multiply([m, n, k], matrix(x), finish, out) };
        })
    }

    /// `finish(x W)`.
    ///
    /// # Safety
    ///
    /// The matrices have these sizes, those of the weights among them.
    pub(super) unsafe fn multiply(
        &self,
        [m, n, k]: [usize; 3],
        x: Matrix,
        finish: Finish,
        out: Target,
    ) {
        let level = Level::best();
        unsafe {
            match self {
                Self::Dense(weight) => {
                    product(level, [m, n, k], x, matrix(weight), out, finish);
                }
                // Nothing of the weights is read.
                Self::Packed(_) if m * n * k == 0 => product(level, [m, n, k], x, x, out, finish),
                Self::Packed(packed) => {
                    product_by(level, [m, n, k], x, &Columns(packed), out, finish, false);
                }
            }
        }
    }

    /// `y W^T`, `[m, k]` for a `y` of `[m, n]`.
    ///
    /// # Safety
    ///
    /// That of [`multiply`](Self::multiply).
    pub(super) unsafe fn multiply_back(&self, [m, n, k]: [usize; 3], y: Matrix, out: Target) {
        let (level, finish) = (Level::best(), Finish::NONE);
        unsafe {
            match self {
                Self::Dense(weight) => {
                    product(level, [m, k, n], y, turned(matrix(weight)), out, finish);
                }
                Self::Packed(_) if m * n * k == 0 => product(level, [m, k, n], y, y, out, finish),
                Self::Packed(packed) => {
                    product_by(level, [m, k, n], y, &Rows(packed), out, finish, false);
                }
            }
        }
    }
}

/// The transpose.
pub(super) fn turned(of: Matrix) -> Matrix {
    Matrix {
        row: of.column,
        column: of.row,
        ..of
    }
}
