//! What the innermost loops have in common.

use crate::float::product::Finish;

/// Outputs of one panel of packed weights.
pub(super) const LANES: usize = 16;

/// Inputs that share one scale, of integer weights and of the activations they meet.
pub(super) const BLOCK: usize = 32;

/// Blocks of 16-bit activations that share one scale: 16 bits have room for a value 256 times as large as the others
/// before those have fewer steps than 8 bits give them, and kernels apply such a scale once for four blocks.
pub(super) const SHARED: usize = 4;

/// What a block of 4-bit weights has beside its integers, for kernels that are made for it: a scale, a minimum too, or
/// a zero point.
#[cfg(target_arch = "x86_64")]
pub(super) const PLAIN: u8 = 0;
#[cfg(target_arch = "x86_64")]
pub(super) const MIN: u8 = 1;
#[cfg(target_arch = "x86_64")]
pub(super) const AFFINE: u8 = 2;

/// Where one tile of a product is: some rows of activations by some panels of weights.
///
/// All pointers must be valid for what the fields say; a kernel reads and writes nothing else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    /// The first panel.
    pub weights: *const u8,
    /// Bytes from one panel to the next.
    pub weights_step: usize,
    /// Scales of the first panel: integers `[blocks, LANES]` f16 or [`Affine`](super::codec::Affine), with minima
    /// `[blocks, 2, LANES]`, half none.
    pub scales: *const u8,
    /// Bytes from the scales of one panel to those of the next.
    pub scales_step: usize,
    /// The first row: i8 (padded with zeros), for half-stored weights f32.
    pub x: *const u8,
    /// Bytes from one row to the next.
    pub x_step: usize,
    /// Inputs: for integers rounded up to [`BLOCK`].
    pub inputs: usize,
    /// How often a row goes over the weights: 2 for 16-bit activations, whose high and low bytes follow one another.
    /// Low bytes whose scale is zero are left out.
    pub planes: usize,
    /// `[row][plane][block]`: what the offset of the unsigned weights adds to a sum, negated. For weights with minima
    /// the bits of an f32 instead: the sum of the block's activations. With zero points, those of minus a quarter of
    /// the sum of its integers.
    pub offsets: *const i32,
    /// `[row][plane][block]`: the scale of the activations; with 16 bits everywhere the same for [`SHARED`] blocks.
    pub x_scales: *const f32,
    /// Blocks of a plane.
    pub blocks: usize,
    /// The first result.
    pub out: *mut f32,
    /// Values from one row of results to the next.
    pub out_step: usize,
    /// Outputs that exist, at most [`LANES`] times the panels of the kernel.
    pub outputs: usize,
    /// One for each output that exists, or null.
    pub bias: *const f32,
    /// What follows, for kernels that say [`Kernels::finishes`]: an activation and a residual.
    pub finish: Finish,
}

/// Computes one tile.
///
/// # Safety
///
/// The processor must have the instruction set, and the tile must be valid for the kernel's rows and panels.
pub(super) type TileFn = unsafe fn(&Tile);

/// The kernels of one packing: by rows (1 first), over several panels and over one.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    /// Panels of [`Self::wide`].
    pub panels: usize,
    pub wide: &'static [TileFn],
    pub single: &'static [TileFn],
    /// Whether they see to [`Tile::finish`].
    pub finishes: bool,
}
