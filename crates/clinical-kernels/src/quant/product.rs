//! Which pieces of a product run where.

use std::cell::RefCell;

use super::choose::{instruction_set, kernels};
use super::kernel::{Kernels, LANES, Tile};
use super::matrix::PackedMatrix;
use super::packing::{Layout, Packing};
use super::rows::Rows;
use crate::float::product::{Finish, Target, finish_rows};
use crate::float::simd::Level;
use crate::{Activation, InstructionSet};

/// Bytes of weights times rows that are worth handing to another thread.
const WORTH_SHARING: usize = 1 << 17;

/// Rows above which the arithmetic takes longer than reading the weights.
const MANY_ROWS: usize = 16;

thread_local! {
    /// Quantised activations, re-used from product to product.
    static ROWS: RefCell<Rows> = RefCell::new(Rows::default());
}

impl PackedMatrix {
    /// `x W^T + bias`: `[rows, inputs]` to `[rows, outputs]`, by the best kernels of this processor, on the threads of
    /// [`set_threads`](crate::set_threads).
    ///
    /// # Panics
    ///
    /// When `x` has not `rows * inputs` values or `bias` not one for each output, or there would be more results than
    /// memory can hold.
    #[must_use]
    pub fn multiply(&self, x: &[f32], rows: usize, bias: Option<&[f32]>) -> Vec<f32> {
        let ending = Ending {
            bias,
            ..Ending::default()
        };
        self.multiply_with(instruction_set(), x, rows, ending)
    }

    /// `residual + activation(x W^T + bias)` by the kernels of `set`, which this processor must have.
    pub(super) fn multiply_with(
        &self,
        set: InstructionSet,
        x: &[f32],
        rows: usize,
        ending: Ending<'_>,
    ) -> Vec<f32> {
        let Ending { bias, residual, .. } = ending;
        let count = |columns| rows.checked_mul(columns);
        assert_eq!(
            Some(x.len()),
            count(self.inputs),
            "x must be [rows, inputs]"
        );
        let results = count(self.outputs).expect("as many results as memory can hold");
        if let Some(bias) = bias {
            assert_eq!(bias.len(), self.outputs, "one bias for each output");
        }
        if let Some(residual) = residual {
            assert_eq!(residual.len(), results, "one residual for each result");
        }
        if results == 0 {
            return Vec::new();
        }
        let mut out = Vec::with_capacity(results);
        let product = Product {
            matrix: self,
            rows,
            bias,
            // The kernels add the bias.
            finish: Finish {
                bias: std::ptr::null(),
                activation: ending.activation,
                residual: residual.map_or(std::ptr::null(), <[f32]>::as_ptr),
                residual_row: self.outputs,
            },
            out: out.as_mut_ptr(),
        };
        match self.packing {
            Packing::F16 | Packing::BF16 => {
                product.run(set, x.as_ptr().cast(), self.inputs * 4, None)
            }
            packing => ROWS.with_borrow_mut(|quantised| {
                quantised.fill(set, packing, rows, x);
                product.run(
                    set,
                    quantised.values.as_ptr().cast(),
                    quantised.step,
                    Some(quantised),
                );
            }),
        }
        // SAFETY: every row and output belongs to one tile, and every tile has been computed.
        unsafe { out.set_len(results) };
        out
    }
}

/// What is done with a product before it leaves the cache.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ending<'a> {
    /// One for each output.
    pub bias: Option<&'a [f32]>,
    /// Of the sum.
    pub activation: Activation,
    /// `[rows, outputs]`, added at the end.
    pub residual: Option<&'a [f32]>,
}

struct Product<'a> {
    matrix: &'a PackedMatrix,
    rows: usize,
    bias: Option<&'a [f32]>,
    finish: Finish,
    out: *mut f32,
}

/// What all tiles share, given to several threads.
struct Shared {
    tile: Tile,
    finish: Finish,
    kernels: Kernels,
    outputs: usize,
    rows: usize,
    scale_row: usize,
}

// SAFETY: threads read the weights and activations and write to disjoint outputs.
unsafe impl Sync for Shared {}

impl Product<'_> {
    fn run(&self, set: InstructionSet, x: *const u8, x_step: usize, quantised: Option<&Rows>) {
        let matrix = self.matrix;
        let layout = Layout::new(matrix.packing, matrix.inputs);
        let kernels = kernels(set, matrix.packing);
        let shared = Shared {
            tile: Tile {
                weights: matrix.lines.as_ptr().cast(),
                weights_step: layout.panel_bytes,
                scales: matrix.scales.as_ptr().cast(),
                scales_step: layout.panel_scales * 4,
                x,
                x_step,
                inputs: layout.inputs,
                planes: quantised.map_or(1, |rows| rows.planes),
                offsets: quantised.map_or(std::ptr::null(), |rows| rows.offsets.as_ptr()),
                x_scales: quantised.map_or(std::ptr::null(), |rows| rows.scales.as_ptr()),
                blocks: quantised.map_or(0, |rows| rows.blocks),
                out: self.out,
                out_step: matrix.outputs,
                outputs: 0,
                bias: self.bias.map_or(std::ptr::null(), <[f32]>::as_ptr),
                finish: Finish::NONE,
            },
            finish: self.finish,
            kernels,
            outputs: matrix.outputs,
            rows: self.rows,
            scale_row: quantised.map_or(0, |rows| rows.planes * rows.blocks),
        };
        let strips = matrix.outputs.div_ceil(LANES * kernels.panels);
        let strip_work = (layout.panel_bytes * kernels.panels)
            .saturating_mul(self.rows)
            .max(1);
        // Several pieces for each thread, so that one that is held up does not hold up all; with many rows a strip is a
        // piece worth having, and threads wait at the end for less.
        let each = if self.rows > MANY_ROWS { 16 } else { 4 };
        let piece = strips
            .div_ceil(crate::threads() * each)
            .max(WORTH_SHARING.div_ceil(strip_work));
        crate::pool::pieces(strips, piece, |range| {
            for strip in range {
                shared.strip(strip);
            }
        });
    }
}

impl Shared {
    /// All rows by one strip of panels, which stays in the cache meanwhile.
    fn strip(&self, strip: usize) {
        let first = strip * self.kernels.panels;
        let panels = self
            .kernels
            .panels
            .min(self.outputs.div_ceil(LANES) - first);
        if panels == self.kernels.panels {
            self.column(first, panels, self.kernels.wide);
        } else {
            for panel in first..first + panels {
                self.column(panel, 1, self.kernels.single);
            }
        }
    }

    fn column(&self, panel: usize, panels: usize, table: &[super::kernel::TileFn]) {
        let base = &self.tile;
        // As few passes over the weights as there can be, with about the same number of rows.
        let passes = self.rows.div_ceil(table.len());
        let (each, more) = (self.rows / passes, self.rows % passes);
        let mut row = 0;
        for pass in 0..passes {
            let rows = each + usize::from(pass < more);
            // SAFETY: the residual has the shape of the result, in which this tile lies.
            let finish = unsafe { self.finish.from(row, panel * LANES) };
            let tile = Tile {
                finish,
                weights: base.weights.wrapping_add(panel * base.weights_step),
                scales: base.scales.wrapping_add(panel * base.scales_step),
                x: base.x.wrapping_add(row * base.x_step),
                offsets: base.offsets.wrapping_add(row * self.scale_row),
                x_scales: base.x_scales.wrapping_add(row * self.scale_row),
                out: base.out.wrapping_add(row * base.out_step + panel * LANES),
                outputs: (self.outputs - panel * LANES).min(panels * LANES),
                bias: match base.bias.is_null() {
                    true => base.bias,
                    false => base.bias.wrapping_add(panel * LANES),
                },
                ..*base
            };
            let out = Target {
                data: tile.out,
                row: tile.out_step,
            };
            // SAFETY: the set is there; rows `row..row + rows` and these panels exist, with their padding in memory.
            // What is finished is what has just been written.
            unsafe {
                table[rows - 1](&tile);
                if !self.kernels.finishes {
                    finish_rows(Level::best(), rows, tile.outputs, out, finish);
                }
            }
            row += rows;
        }
    }
}
