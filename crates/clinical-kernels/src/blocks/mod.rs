//! Keys and values of rows of any lengths, in blocks that rows can share.
//!
//! Only for f32 tensors of the CPU; [`Blocks::new`] gives `None` elsewhere. They are kept in f32 or, in half the
//! memory, in f16. A row is a list of blocks. Appending to one row
//! touches no other; a copy of a row shares its blocks until one of the two appends, and then only the unfinished block
//! at its end is copied (paged attention, Kwon et al. 2023, with blocks of any size).

#[cfg(feature = "flex")]
mod shared;

#[cfg(feature = "flex")]
pub use shared::Blocks;

/// What the queries of a pass look at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// A row's last query sees its last key, the one before it all but the last, and so on.
    pub causal: bool,
    /// How many keys a query sees at most, itself included.
    pub window: Option<usize>,
    /// `[1, heads, 1, n]`, added to the scaled scores of rows with one query: the last entry belongs to a row's last
    /// key. `n` is no less than the longest row.
    pub bias: Option<&'a burn::tensor::Tensor<4>>,
    /// Factor of the scores.
    pub scale: f64,
}

/// Never made in this build, which has no kernels.
#[cfg(not(feature = "flex"))]
#[derive(Debug, Clone)]
pub enum Blocks {}

#[cfg(not(feature = "flex"))]
#[allow(missing_docs)]
impl Blocks {
    #[must_use]
    pub fn new(
        _: &burn::tensor::Device,
        _: burn::tensor::DType,
        _: usize,
        _: usize,
        _: bool,
    ) -> Option<Self> {
        None
    }

    pub fn add_rows(&mut self, _: usize) {
        match *self {}
    }

    pub fn append(
        &mut self,
        _: &[usize],
        _: &burn::tensor::Tensor<4>,
        _: &burn::tensor::Tensor<4>,
    ) {
        match *self {}
    }

    #[must_use]
    pub fn attend(
        &self,
        _: &[usize],
        _: &burn::tensor::Tensor<4>,
        _: Look<'_>,
    ) -> burn::tensor::Tensor<4> {
        match *self {}
    }

    pub fn select(&mut self, _: &[usize]) {
        match *self {}
    }

    #[must_use]
    pub fn fits(&self, _: &Self) -> bool {
        match *self {}
    }

    pub fn merge(&mut self, _: Self) {
        match *self {}
    }
}
