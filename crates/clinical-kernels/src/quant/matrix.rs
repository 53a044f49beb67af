//! Packed weights.

use std::fmt;

use super::codec;
use super::kernel::{BLOCK, LANES};

/// How the values of a [`PackedMatrix`] are kept, and what they are multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// 8-bit integers in blocks of 32 inputs with an f16 scale, by activations of 8 bits in the same blocks.
    Int8,
    /// The same weights by activations of 16 bits: twice the arithmetic, the same memory.
    Int8Wide,
    /// The same weights by activations of 8 bits, and of 16 in those blocks whose largest value stands out of its row: for
    /// layers some of whose inputs are outliers.
    Int8Mixed,
    /// 4-bit integers in blocks of 32 inputs with an f16 scale, by activations of 8 bits in the same blocks.
    Int4,
    /// 4-bit integers from 0 to 15 in blocks of 32 inputs with an f16 scale and an f16 minimum, by activations of 8 bits.
    Int4Min,
    /// 4-bit integers from 0 to 15 in blocks of 32 inputs with a scale of 10 bits and a zero point of 6, in quarters of a step, by
    /// activations of 8 bits.
    Int4Affine,
    /// IEEE half precision by f32 activations, summed in f32.
    F16,
    /// Brain floating point by f32 activations, summed in f32.
    BF16,
}

/// 64 bytes on a cache line of their own, so that no vector load crosses two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub [u8; 64]);

/// The weights of a dense layer in a reduced precision, `[outputs, inputs]` as checkpoints have them.
///
/// Outputs stand in panels of 16. Within a panel the bytes are in the order in which the kernels use them: int8 as
/// `[inputs / 4][16][4]` unsigned with 128 added, int4 as `[inputs / 8][16][4]` (with eight added, or without where blocks
/// have minima) and inputs `4..8` of a group of eight in the upper halves, half as `[inputs][16]`. What stands behind the last
/// output or input is never seen.
///
/// Products are computed by [`multiply`](Self::multiply). Weights or activations that are not finite give results that
/// are not finite or not a number, at least in the outputs they belong to: with int8 and int4 a whole block of weights or of
/// activations counts as not a number.
#[derive(Clone)]
pub struct PackedMatrix {
    pub(super) format: Format,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) lines: Vec<Line>,
    /// Integers: `[panel][block][LANES]` f16, or [`Affine`](codec::Affine), two in a word; with minima `[panel][block][2][LANES]`. Padded
    /// to whole panels.
    pub(super) scales: Vec<u32>,
}

impl PackedMatrix {
    /// How the values are kept.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Rows: the outputs of a layer, the entries of a table.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns: the inputs of a layer, the width of a table.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>() + self.scales.len() * 4
    }

    /// One row as f32.
    ///
    /// # Panics
    ///
    /// When the row does not exist or `out` has not one place for each input.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.outputs, "row {row} of {}", self.outputs);
        assert_eq!(out.len(), self.inputs, "one place for each input");
        let (panel, lane) = (row / LANES, row % LANES);
        let layout = Layout::new(self.format, self.inputs);
        let bytes = self.panel_bytes(panel);
        let scales = &self.scales[panel * layout.panel_scales..][..layout.panel_scales];
        codec::decode_row(self.format, bytes, scales, lane, out);
    }

    /// All values as f32, `[outputs, inputs]`.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.outputs * self.inputs];
        if self.inputs > 0 {
            for (row, out) in out.chunks_exact_mut(self.inputs).enumerate() {
                self.row(row, out);
            }
        }
        out
    }

    fn panel_bytes(&self, panel: usize) -> &[u8] {
        let size = Layout::new(self.format, self.inputs).panel_bytes;
        let start = panel * size;
        // SAFETY: lines are plain bytes.
        let bytes = unsafe {
            std::slice::from_raw_parts(self.lines.as_ptr().cast::<u8>(), self.lines.len() * 64)
        };
        &bytes[start..start + size]
    }
}

impl fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedMatrix")
            .field("format", &self.format)
            .field("outputs", &self.outputs)
            .field("inputs", &self.inputs)
            .finish()
    }
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
    pub(super) fn new(format: Format, inputs: usize) -> Self {
        match format {
            Format::Int8 | Format::Int8Wide | Format::Int8Mixed => {
                let inputs = inputs.next_multiple_of(BLOCK);
                Self {
                    inputs,
                    panel_bytes: inputs * LANES,
                    panel_scales: inputs / BLOCK * LANES / 2,
                }
            }
            Format::Int4 | Format::Int4Min | Format::Int4Affine => {
                let inputs = inputs.next_multiple_of(BLOCK);
                let each = if format == Format::Int4Min { 2 } else { 1 };
                Self {
                    inputs,
                    panel_bytes: inputs / 2 * LANES,
                    panel_scales: each * inputs / BLOCK * LANES / 2,
                }
            }
            Format::F16 | Format::BF16 => Self {
                inputs,
                panel_bytes: inputs.next_multiple_of(2) * LANES * 2,
                panel_scales: 0,
            },
        }
    }
}

impl Format {
    /// Whether the values are integers with scales, which is coarser than halves.
    #[must_use]
    pub fn is_integer(self) -> bool {
        !matches!(self, Self::F16 | Self::BF16)
    }

    /// Bytes that a matrix takes: what [`PackedMatrix::bytes`] will say, `None` where that passes `usize`.
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
