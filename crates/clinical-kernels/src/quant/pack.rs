//! Making packed weights, a panel at a time.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::choose::instruction_set;
use super::codec::{
    Affine, OFFSET4, OFFSET8, Scale, quantise_block4, quantise_block4_affine, quantise_block4_min,
    quantise_block8,
};
use super::kernel::{BLOCK, LANES};
use super::matrix::{Line, PackedMatrix};
use super::packing::{Layout, Packing};
#[cfg(target_arch = "x86_64")]
use crate::InstructionSet;
use crate::host::on_huge_pages;

impl PackedMatrix {
    /// Packs `[outputs, inputs]` values.
    ///
    /// # Panics
    ///
    /// When `values` has another number of values, or the matrix would be larger than memory can be.
    #[must_use]
    pub fn new(packing: Packing, outputs: usize, inputs: usize, values: &[f32]) -> Self {
        let count = outputs.checked_mul(inputs);
        assert_eq!(Some(values.len()), count, "[outputs, inputs] values");
        let read = |row: usize, out: &mut [f32]| {
            out.copy_from_slice(&values[row * inputs..][..out.len()]);
            Ok::<_, std::convert::Infallible>(())
        };
        match Self::from_rows(packing, outputs, inputs, read) {
            Ok(matrix) => matrix,
            Err(never) => match never {},
        }
    }

    /// Packs rows as they are read: `read(row, out)` fills `out` with whole rows (at most 16) from `row` on. It is
    /// called by several threads at once. The memory beside the result is one panel of f32 for each thread.
    ///
    /// # Errors
    ///
    /// The first error of `read`.
    ///
    /// # Panics
    ///
    /// When the matrix would be larger than memory can be.
    pub fn from_rows<E: Send>(
        packing: Packing,
        outputs: usize,
        inputs: usize,
        read: impl Fn(usize, &mut [f32]) -> Result<(), E> + Sync,
    ) -> Result<Self, E> {
        Self::from_panels(packing, outputs, inputs, |row, rows, lines, scales| {
            // Taken, so that `read` may pack something itself.
            let mut values = PANEL.take();
            values.resize(rows * inputs, 0.0);
            read(row, &mut values)?;
            // SAFETY: lines are plain bytes.
            let bytes = unsafe {
                std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 64)
            };
            pack_panel(packing, &values, inputs, bytes, scales);
            PANEL.set(values);
            Ok(())
        })
    }

    /// `fill(row, rows, lines, scales)` makes the panel of `rows` rows (at most 16) from `row` on, of zeros. It is
    /// called by several threads at once.
    pub(super) fn from_panels<E: Send>(
        packing: Packing,
        outputs: usize,
        inputs: usize,
        fill: impl Fn(usize, usize, &mut [Line], &mut [u32]) -> Result<(), E> + Sync,
    ) -> Result<Self, E> {
        let layout = Layout::of(packing, outputs, inputs);
        let panels = outputs.div_ceil(LANES);
        let mut lines = on_huge_pages(panels * layout.panel_bytes / 64, Line([0; 64]));
        let mut scales = on_huge_pages(panels * layout.panel_scales, 0u32);
        let one_panel = |panel: usize, lines: &mut [Line], scales: &mut [u32]| {
            let row = panel * LANES;
            fill(row, LANES.min(outputs - row), lines, scales)
        };
        // A chunk of no lines or words is not allowed; there is nothing to do then but to read nothing.
        let line_chunks = lines.par_chunks_mut((layout.panel_bytes / 64).max(1));
        if layout.panel_scales == 0 {
            line_chunks
                .enumerate()
                .try_for_each(|(panel, lines)| one_panel(panel, lines, &mut []))?;
        } else {
            line_chunks
                .zip(scales.par_chunks_mut(layout.panel_scales))
                .enumerate()
                .try_for_each(|(panel, (lines, scales))| one_panel(panel, lines, scales))?;
        }
        Ok(Self {
            packing,
            outputs,
            inputs,
            lines,
            scales,
        })
    }

    /// Random weights of about the given standard deviation, for measurements of speed: made in packed form, so it
    /// takes no more memory than the result.
    ///
    /// # Panics
    ///
    /// When the matrix would be larger than memory can be.
    #[must_use]
    pub fn random(packing: Packing, outputs: usize, inputs: usize, std: f32, seed: u64) -> Self {
        let layout = Layout::of(packing, outputs, inputs);
        let panels = outputs.div_ceil(LANES);
        let mut lines = on_huge_pages(panels * layout.panel_bytes / 64, Line([0; 64]));
        lines
            .par_chunks_mut(1024)
            .enumerate()
            .for_each(|(chunk, lines)| {
                // xorshift64*, each chunk from its own start.
                let mut state = (seed ^ ((chunk as u64 + 1) << 20)) | 1;
                for line in lines {
                    for bytes in line.0.as_chunks_mut::<8>().0 {
                        state ^= state >> 12;
                        state ^= state << 25;
                        state ^= state >> 27;
                        let random = state.wrapping_mul(0x2545_f491_4f6c_dd1d);
                        *bytes = random_bytes(packing, random, std).to_le_bytes();
                    }
                }
            });
        let scales = match packing {
            // Uniform bytes have a deviation of 74 steps, halves of bytes one of 4.6.
            Packing::Int4Min => {
                let half = |value: f32| u32::from(f16::from_f32(value).to_bits());
                let (scale, least) = (half(std / 4.6), half(std / 4.6 * -7.5));
                let each = LANES / 2;
                let words = 0..panels * layout.panel_scales;
                words
                    .map(|word| {
                        if (word / each).is_multiple_of(2) {
                            scale
                        } else {
                            least
                        }
                    })
                    .map(|half| half | half << 16)
                    .collect()
            }
            Packing::Int8 | Packing::Int8Wide | Packing::Int8Mixed | Packing::Int4 => {
                let steps = if packing == Packing::Int4 { 4.6 } else { 74.0 };
                let scale = u32::from(f16::from_f32(std / steps).to_bits());
                vec![scale | scale << 16; panels * layout.panel_scales]
            }
            Packing::Int4Affine => {
                let step = f16::from_f32(std / 4.6 * Affine::STEPS).to_bits() & 0x7fe0;
                let word = u32::from(step << 1 | 30);
                vec![word | word << 16; panels * layout.panel_scales]
            }
            Packing::F16 | Packing::BF16 => Vec::new(),
        };
        Self {
            packing,
            outputs,
            inputs,
            lines,
            scales,
        }
    }
}

/// Eight random bytes as weights: integers as they are, halves with the exponent of `std` and a random sign and
/// mantissa.
fn random_bytes(packing: Packing, random: u64, std: f32) -> u64 {
    let (template, mask) = match packing {
        packing if packing.is_integer() => return random,
        Packing::F16 => (f16::from_f32(std).to_bits() & 0x7c00, 0x83ffu16),
        _ => (bf16::from_f32(std).to_bits() & 0x7f80, 0x807f),
    };
    let four = |bits: u16| u64::from(bits) * 0x0001_0001_0001_0001;
    random & four(mask) | four(template)
}

thread_local! {
    static PANEL: std::cell::RefCell<Vec<f32>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Packs up to 16 rows.
fn pack_panel(
    packing: Packing,
    values: &[f32],
    inputs: usize,
    bytes: &mut [u8],
    scales: &mut [u32],
) {
    if inputs == 0 {
        return;
    }
    match packing {
        Packing::Int8 | Packing::Int8Wide | Packing::Int8Mixed => {
            bytes.fill(OFFSET8 as u8);
            blocks(packing, values, inputs, scales, |lane, number, small| {
                for (four, values) in small.as_chunks::<4>().0.iter().enumerate() {
                    let start = (number * (BLOCK / 4) + four) * 64 + lane * 4;
                    for (i, value) in values.iter().enumerate() {
                        bytes[start + i] = (i32::from(*value) + OFFSET8) as u8;
                    }
                }
            });
        }
        Packing::Int4 | Packing::Int4Min | Packing::Int4Affine => {
            let offset = match packing {
                Packing::Int4 => OFFSET4,
                _ => 0,
            };
            bytes.fill((offset | offset << 4) as u8);
            blocks(packing, values, inputs, scales, |lane, number, small| {
                for (eight, values) in small.as_chunks::<8>().0.iter().enumerate() {
                    let start = (number * (BLOCK / 8) + eight) * 64 + lane * 4;
                    for i in 0..4 {
                        let low = i32::from(values[i]) + offset;
                        let high = i32::from(values[i + 4]) + offset;
                        bytes[start + i] = (low | high << 4) as u8;
                    }
                }
            });
        }
        Packing::F16 => {
            let mut row = vec![f16::ZERO; inputs];
            for (lane, values) in values.chunks_exact(inputs).enumerate() {
                row.convert_from_f32_slice(values);
                scatter(bytes, lane, row.iter().map(|value| value.to_bits()));
            }
        }
        Packing::BF16 => {
            let mut row = vec![bf16::ZERO; inputs];
            for (lane, values) in values.chunks_exact(inputs).enumerate() {
                row.convert_from_f32_slice(values);
                scatter(bytes, lane, row.iter().map(|value| value.to_bits()));
            }
        }
    }
}

/// Quantises the blocks of up to 16 rows; `put(row, block, integers)` places them.
fn blocks(
    packing: Packing,
    values: &[f32],
    inputs: usize,
    scales: &mut [u32],
    mut put: impl FnMut(usize, usize, &[i8; BLOCK]),
) {
    let mut block = [0f32; BLOCK];
    let mut small = [0i8; BLOCK];
    for (lane, values) in values.chunks_exact(inputs).enumerate() {
        for (number, values) in values.chunks(BLOCK).enumerate() {
            block[..values.len()].copy_from_slice(values);
            // What comes after the end meets zeros; it must not widen the range of the block.
            block[values.len()..].fill(match packing {
                Packing::Int4Min => values[0],
                _ => 0.0,
            });
            let mut store = |at: usize, bits: u16| {
                scales[at / 2] |= u32::from(bits) << (at % 2 * 16);
            };
            let at = number * LANES + lane;
            match packing {
                Packing::Int4Min => {
                    let scale = dispatch4_min(&block, &mut small);
                    store(at + number * LANES, scale.step.to_bits());
                    store(at + (number + 1) * LANES, scale.least.to_bits());
                }
                Packing::Int4Affine => store(at, dispatch4_affine(&block, &mut small).0),
                Packing::Int4 => store(at, dispatch4(&block, &mut small).step.to_bits()),
                _ => store(at, dispatch8(&block, &mut small).step.to_bits()),
            }
            put(lane, number, &small);
        }
    }
}

fn scatter(bytes: &mut [u8], lane: usize, row: impl Iterator<Item = u16>) {
    for (place, bits) in bytes.chunks_exact_mut(LANES * 2).zip(row) {
        place[lane * 2..lane * 2 + 2].copy_from_slice(&bits.to_le_bytes());
    }
}

/// A quantiser compiled for the instructions that the processor has: a checkpoint has billions of values.
macro_rules! dispatched {
    ($name:ident, $quantise:ident, $scale:ty) => {
        fn $name(values: &[f32; BLOCK], out: &mut [i8; BLOCK]) -> $scale {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
                fn avx512(values: &[f32; BLOCK], out: &mut [i8; BLOCK]) -> $scale {
                    $quantise(values, out)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2(values: &[f32; BLOCK], out: &mut [i8; BLOCK]) -> $scale {
                    $quantise(values, out)
                }
                // SAFETY: the processor has these instructions.
                unsafe {
                    match instruction_set() {
                        InstructionSet::Avx512 => return avx512(values, out),
                        InstructionSet::Avx2 => return avx2(values, out),
                        InstructionSet::Portable => {}
                    }
                }
            }
            $quantise(values, out)
        }
    };
}

dispatched!(dispatch8, quantise_block8, Scale);
dispatched!(dispatch4, quantise_block4, Scale);
dispatched!(dispatch4_min, quantise_block4_min, Scale);
dispatched!(dispatch4_affine, quantise_block4_affine, Affine);
