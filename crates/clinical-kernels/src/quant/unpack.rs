//! Packed weights as the right side of products in f32: a strip is unpacked where it is used, the whole never.
//!
//! For training: the activations of these products are not rounded, so that a gradient is that of what was computed.

use half::{bf16, f16};

use super::codec::{Affine, OFFSET4, OFFSET8};
use super::kernel::{BLOCK, LANES};
use super::matrix::PackedMatrix;
use super::packing::{Layout, Packing};
use crate::float::product::{Matrix, Right};
use crate::float::scratch;
use crate::float::simd::{Level, Simd, dispatch};

/// `W^T`, `[inputs, outputs]`: what a layer multiplies its inputs with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a>(pub &'a PackedMatrix);

/// `W`, `[outputs, inputs]`: what the gradient of a layer's outputs is multiplied with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a>(pub &'a PackedMatrix);

impl Right for Columns<'_> {
    unsafe fn columns(&self, start: usize, count: usize, work: impl FnOnce(Matrix)) {
        let inputs = self.0.inputs;
        strip(self.0, [start, start + count], [0, inputs], |data| {
            work(Matrix {
                data,
                row: 1,
                column: inputs as isize,
            });
        });
    }
}

impl Right for Rows<'_> {
    unsafe fn columns(&self, start: usize, count: usize, work: impl FnOnce(Matrix)) {
        let outputs = self.0.outputs;
        strip(self.0, [0, outputs], [start, start + count], |data| {
            work(Matrix {
                data,
                row: count as isize,
                column: 1,
            });
        });
    }
}

/// Calls `work` with the values of some outputs at some inputs, `[outputs, inputs]`, the first of each a multiple of
/// what a panel or a block has.
fn strip(
    matrix: &PackedMatrix,
    [first, end]: [usize; 2],
    [from, to]: [usize; 2],
    work: impl FnOnce(*const f32),
) {
    assert!(first.is_multiple_of(LANES) && from.is_multiple_of(BLOCK));
    assert!(end <= matrix.outputs && to <= matrix.inputs);
    let width = to - from;
    scratch((end - first) * width, |out| {
        for row in (first..end).step_by(LANES) {
            let panel = matrix.panel(row / LANES);
            let mut lanes = [std::ptr::null_mut(); LANES];
            for (lane, at) in lanes.iter_mut().enumerate().take(end - row) {
                *at = out.wrapping_add((row - first + lane) * width);
            }
            // SAFETY: there is room for each row's values, and the panel has these blocks.
            unsafe { unpack(Level::best(), matrix.packing, panel, from, to, &lanes) };
        }
        work(out);
    });
}

/// The bytes and scales of one panel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel<'a> {
    bytes: &'a [u8],
    scales: &'a [u32],
}

impl PackedMatrix {
    fn panel(&self, panel: usize) -> Panel<'_> {
        let layout = Layout::new(self.packing, self.inputs);
        Panel {
            bytes: self.panel_bytes(panel),
            scales: &self.scales[panel * layout.panel_scales..][..layout.panel_scales],
        }
    }
}

impl Panel<'_> {
    #[inline(always)]
    fn bits(self, at: usize) -> u16 {
        (self.scales[at / 2] >> (at % 2 * 16)) as u16
    }

    #[inline(always)]
    fn half(self, at: usize) -> f32 {
        f16::from_bits(self.bits(at)).to_f32()
    }

    /// What an integer of a block is less, then times, then plus.
    #[inline(always)]
    fn line(self, packing: Packing, block: usize, lane: usize) -> [f32; 3] {
        match packing {
            Packing::Int4Min => {
                let at = block * 2 * LANES + lane;
                [0.0, self.half(at), self.half(at + LANES)]
            }
            Packing::Int4Affine => {
                let affine = Affine(self.bits(block * LANES + lane));
                [affine.zero() / 4.0, affine.step(), 0.0]
            }
            Packing::Int4 => [OFFSET4 as f32, self.half(block * LANES + lane), 0.0],
            _ => [OFFSET8 as f32, self.half(block * LANES + lane), 0.0],
        }
    }

    #[inline(always)]
    fn word(self, at: usize) -> u32 {
        let (words, _) = self.bytes.as_chunks::<4>();
        u32::from_le_bytes(words[at])
    }
}

dispatch! {
    /// The inputs from `from`, which begins a block, to before `to` of the lanes of a panel, those without a place left
    /// out.
    unsafe fn unpack = unpack_kernel(
        packing: Packing, panel: Panel<'_>, from: usize, to: usize, lanes: &[*mut f32; LANES]
    )
}

#[inline(always)]
unsafe fn unpack_kernel<S: Simd>(
    packing: Packing,
    panel: Panel<'_>,
    from: usize,
    to: usize,
    lanes: &[*mut f32; LANES],
) {
    for start in (from..to).step_by(BLOCK) {
        let count = BLOCK.min(to - start);
        for (lane, out) in lanes.iter().enumerate() {
            if out.is_null() {
                continue;
            }
            let values = match packing {
                Packing::F16 | Packing::BF16 => halves(packing, panel, start, count, lane),
                _ => integers(packing, panel, start / BLOCK, lane),
            };
            // SAFETY: there is room for `to - from` values.
            unsafe {
                let out = out.add(start - from);
                std::ptr::copy_nonoverlapping(values.as_ptr(), out, count);
            }
        }
    }
}

/// A block of one lane.
#[inline(always)]
fn integers(packing: Packing, panel: Panel<'_>, block: usize, lane: usize) -> [f32; BLOCK] {
    let mut words = [0u32; BLOCK / 4];
    match packing {
        Packing::Int4 | Packing::Int4Min | Packing::Int4Affine => {
            // The lower halves of four bytes are four inputs, the upper ones the next four.
            for (group, pair) in words.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let word = panel.word((block * BLOCK / 8 + group) * LANES + lane);
                *pair = [word & 0x0f0f_0f0f, word >> 4 & 0x0f0f_0f0f];
            }
        }
        _ => {
            for (group, word) in words.iter_mut().enumerate() {
                *word = panel.word((block * BLOCK / 4 + group) * LANES + lane);
            }
        }
    }
    let [less, times, plus] = panel.line(packing, block, lane);
    let mut values = [0.0; BLOCK];
    for (values, word) in values.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        for (value, byte) in values.iter_mut().zip(word.to_le_bytes()) {
            *value = (f32::from(byte) - less) * times + plus;
        }
    }
    values
}

/// Some inputs of one lane.
#[inline(always)]
fn halves(
    packing: Packing,
    panel: Panel<'_>,
    start: usize,
    count: usize,
    lane: usize,
) -> [f32; BLOCK] {
    let (halves, _) = panel.bytes.as_chunks::<2>();
    let mut values = [0.0; BLOCK];
    for (input, value) in values.iter_mut().enumerate().take(count) {
        let bits = u16::from_le_bytes(halves[(start + input) * LANES + lane]);
        *value = match packing {
            Packing::F16 => f16::from_bits(bits).to_f32(),
            _ => bf16::from_bits(bits).to_f32(),
        };
    }
    values
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PACKINGS, random};
    use super::*;

    /// Whole, in strips of outputs and in strips of inputs, with remainders.
    #[test]
    fn strips_are_the_rows() {
        for packing in PACKINGS {
            for (outputs, inputs) in [(1, 1), (16, 32), (37, 70), (50, 129)] {
                let values = random(outputs * inputs, 5);
                let matrix = PackedMatrix::new(packing, outputs, inputs, &values);
                let whole = matrix.to_f32();
                for first in (0..outputs).step_by(32) {
                    let count = 32.min(outputs - first);
                    let check = |strip: Matrix| {
                        for (output, input) in pairs(count, inputs) {
                            let expected = whole[(first + output) * inputs + input];
                            assert_eq!(unsafe { *strip.at(input, output) }, expected);
                        }
                    };
                    unsafe { Columns(&matrix).columns(first, count, check) };
                }
                for first in (0..inputs).step_by(32) {
                    let count = 32.min(inputs - first);
                    let check = |strip: Matrix| {
                        for (output, input) in pairs(outputs, count) {
                            let expected = whole[output * inputs + first + input];
                            assert_eq!(unsafe { *strip.at(output, input) }, expected);
                        }
                    };
                    unsafe { Rows(&matrix).columns(first, count, check) };
                }
            }
        }
    }

    fn pairs(outputs: usize, inputs: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..outputs).flat_map(move |output| (0..inputs).map(move |input| (output, input)))
    }
}
