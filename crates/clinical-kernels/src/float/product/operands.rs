//! What products read and write.

use super::super::math::Activation;
use super::super::simd::Simd;

/// A matrix somewhere in memory: element `[i, j]` lies at `i * row + j * column`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<T = f32> {
    pub data: *const T,
    pub row: isize,
    pub column: isize,
}

// SAFETY: a pointer to values that nobody writes while a kernel runs, which is the promise of every caller.
unsafe impl<T> Sync for Matrix<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Matrix<T> {}

impl<T: Copy> Matrix<T> {
    #[inline(always)]
    pub(crate) unsafe fn at(self, i: usize, j: usize) -> *const T {
        unsafe {
            self.data
                .offset(i as isize * self.row + j as isize * self.column)
        }
    }

    pub(crate) unsafe fn from(self, i: usize, j: usize) -> Self {
        Self {
            data: unsafe { self.at(i, j) },
            ..self
        }
    }
}

/// Where results go: row `i` begins at `i * row`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub data: *mut f32,
    pub row: usize,
}

// SAFETY: threads write different parts.
unsafe impl Sync for Target {}
// SAFETY: as above.
unsafe impl Send for Target {}

impl Target {
    #[inline(always)]
    pub(crate) unsafe fn at(self, i: usize, j: usize) -> *mut f32 {
        unsafe { self.data.add(i * self.row + j) }
    }

    pub(crate) unsafe fn from(self, i: usize, j: usize) -> Self {
        Self {
            data: unsafe { self.at(i, j) },
            ..self
        }
    }
}

/// What is done with a sum before it is written: `residual + activation(sum + bias)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish {
    /// As many values as there are columns, or null.
    pub bias: *const f32,
    pub activation: Activation,
    /// Laid out as the target, or null.
    pub residual: *const f32,
    /// Distance of the residual's rows.
    pub residual_row: usize,
}

// SAFETY: as `Matrix`.
unsafe impl Sync for Finish {}
// SAFETY: as `Matrix`.
unsafe impl Send for Finish {}

impl Finish {
    pub(crate) const NONE: Self = Self {
        bias: std::ptr::null(),
        activation: Activation::None,
        residual: std::ptr::null(),
        residual_row: 0,
    };

    pub(super) fn is_none(&self) -> bool {
        self.bias.is_null() && self.residual.is_null() && self.activation == Activation::None
    }

    /// The same for the part that begins at `[i, j]`.
    pub(crate) unsafe fn from(self, i: usize, j: usize) -> Self {
        let mut part = self;
        unsafe {
            if !self.bias.is_null() {
                part.bias = self.bias.add(j);
            }
            if !self.residual.is_null() {
                part.residual = self.residual.add(i * self.residual_row + j);
            }
        }
        part
    }

    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd>(&self, x: S::V, i: usize, j: usize, count: usize) -> S::V {
        unsafe {
            let mut x = x;
            if !self.bias.is_null() {
                x = S::add(x, S::load_some(self.bias.add(j), count));
            }
            x = self.activation.apply::<S>(x);
            if !self.residual.is_null() {
                let residual = self.residual.add(i * self.residual_row + j);
                x = S::add(x, S::load_some(residual, count));
            }
            x
        }
    }
}
