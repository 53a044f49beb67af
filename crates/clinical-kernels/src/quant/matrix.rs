//! Packed weights.

use std::fmt;

use super::codec;
use super::kernel::LANES;
use super::packing::{Layout, Packing};

/// 64 bytes on a cache line of their own, so that no vector load crosses two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub [u8; 64]);

/// The weights of a dense layer in a reduced precision, `[outputs, inputs]` as checkpoints have them.
///
/// Outputs stand in panels of 16. Within a panel the bytes are in the order in which the kernels use them: int8 as
/// `[inputs / 4][16][4]` unsigned with 128 added, int4 as `[inputs / 8][16][4]` (with eight added, or without where
/// blocks have minima) and inputs `4..8` of a group of eight in the upper halves, half as `[inputs][16]`. What stands
/// after the last output or input is never seen.
///
/// Products are computed by [`multiply`](Self::multiply). Weights or activations that are not finite give results that
/// are not finite or not a number, at least in the outputs they belong to: with int8 and int4 a whole block of weights
/// or of activations counts as not a number.
#[derive(Clone)]
pub struct PackedMatrix {
    pub(super) packing: Packing,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) lines: Vec<Line>,
    /// Integers: `[panel][block][LANES]` f16, or [`Affine`](codec::Affine), two in a word; with minima
    /// `[panel][block][2][LANES]`. Padded to whole panels.
    pub(super) scales: Vec<u32>,
}

impl PackedMatrix {
    /// How the values are kept.
    #[must_use]
    pub fn packing(&self) -> Packing {
        self.packing
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
    /// When the row does not exist or `out` has not one value for each input.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.outputs, "row {row} of {}", self.outputs);
        assert_eq!(out.len(), self.inputs, "one value for each input");
        let (panel, lane) = (row / LANES, row % LANES);
        let layout = Layout::new(self.packing, self.inputs);
        let bytes = self.panel_bytes(panel);
        let scales = &self.scales[panel * layout.panel_scales..][..layout.panel_scales];
        codec::decode_row(self.packing, bytes, scales, lane, out);
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

    pub(super) fn panel_bytes(&self, panel: usize) -> &[u8] {
        let size = Layout::new(self.packing, self.inputs).panel_bytes;
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
            .field("packing", &self.packing)
            .field("outputs", &self.outputs)
            .field("inputs", &self.inputs)
            .finish()
    }
}
