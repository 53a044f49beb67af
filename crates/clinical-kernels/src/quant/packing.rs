//! How packed weights are kept: the kinds, and the sizes of a panel.

use super::kernel::{BLOCK, LANES};

/// How the values of a [`PackedMatrix`](crate::PackedMatrix) are kept, and what they are multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packing {
    /// 8-bit integers in blocks of 32 inputs with an f16 scale, by activations of 8 bits in the same blocks.
    Int8,
    /// The same weights by activations of 16 bits: twice the arithmetic, the same memory.
    Int8Wide,
    /// The same weights by activations of 8 bits, and of 16 in those blocks whose largest value stands out of its row:
    /// for layers some of whose inputs are outliers.
    Int8Mixed,
    /// 4-bit integers in blocks of 32 inputs with an f16 scale, by activations of 8 bits in the same blocks.
    Int4,
    /// 4-bit integers from 0 to 15 in blocks of 32 inputs with an f16 scale and an f16 minimum, by activations of 8
    /// bits.
    Int4Min,
    /// 4-bit integers from 0 to 15 in blocks of 32 inputs with a scale of 10 bits and a zero point of 6, in quarters of
    /// a step, by activations of 8 bits.
    Int4Affine,
    /// IEEE half precision by f32 activations, summed in f32.
    F16,
    /// Brain floating point by f32 activations, summed in f32.
    BF16,
}

/// Sizes of one panel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Inputs with their padding.
    pub inputs: usize,
    /// Bytes of weights, a multiple of 64.
    pub panel_bytes: usize,
    /// Words of scales.
    pub panel_scales: usize,
}

impl Layout {
    /// The sizes of a panel of a matrix of this many outputs and inputs, whose sizes and offsets are then numbers.
    ///
    /// # Panics
    ///
    /// When the matrix is larger than memory can be.
    pub(super) fn of(packing: Packing, outputs: usize, inputs: usize) -> Self {
        let bytes = packing.bytes(outputs, inputs);
        assert!(
            bytes.is_some_and(|bytes| bytes <= isize::MAX as usize),
            "a matrix of {outputs} outputs and {inputs} inputs is larger than memory can be"
        );
        Self::new(packing, inputs)
    }

    pub(super) fn new(packing: Packing, inputs: usize) -> Self {
        match packing {
            Packing::Int8 | Packing::Int8Wide | Packing::Int8Mixed => {
                let inputs = inputs.next_multiple_of(BLOCK);
                Self {
                    inputs,
                    panel_bytes: inputs * LANES,
                    panel_scales: inputs / BLOCK * LANES / 2,
                }
            }
            Packing::Int4 | Packing::Int4Min | Packing::Int4Affine => {
                let inputs = inputs.next_multiple_of(BLOCK);
                let each = if packing == Packing::Int4Min { 2 } else { 1 };
                Self {
                    inputs,
                    panel_bytes: inputs / 2 * LANES,
                    panel_scales: each * inputs / BLOCK * LANES / 2,
                }
            }
            Packing::F16 | Packing::BF16 => Self {
                inputs,
                panel_bytes: inputs.next_multiple_of(2) * LANES * 2,
                panel_scales: 0,
            },
        }
    }
}

impl Packing {
    /// Whether the values are integers with scales, which is coarser than halves.
    #[must_use]
    pub fn is_integer(self) -> bool {
        !matches!(self, Self::F16 | Self::BF16)
    }

    /// Bytes that a matrix takes: what [`PackedMatrix::bytes`](crate::PackedMatrix::bytes) will say, `None` where that
    /// passes `usize`.
    #[must_use]
    pub fn bytes(self, outputs: usize, inputs: usize) -> Option<usize> {
        // Padding at most doubles a small matrix; the sum is checked before any of it.
        inputs.checked_mul(4)?.checked_mul(64)?;
        let layout = Layout::new(self, inputs);
        let panel = layout
            .panel_bytes
            .checked_add(layout.panel_scales.checked_mul(4)?)?;
        outputs.div_ceil(LANES).checked_mul(panel)
    }
}
