//! Values to small integers and back.

use half::f16;

use super::kernel::{BLOCK, LANES};
use super::packing::Packing;

/// Added to an int8 weight so that it is unsigned.
pub(super) const OFFSET8: i32 = 128;

/// Added to an int4 weight so that it is unsigned.
pub(super) const OFFSET4: i32 = 8;

/// The largest magnitude, by its bits: `None` where a value is not finite.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> Option<f32> {
    let bits = values
        .iter()
        .fold(0u32, |bits, value| bits.max(value.to_bits() & 0x7fff_ffff));
    (bits < 0x7f80_0000).then(|| f32::from_bits(bits))
}

/// The factor from values to integers of magnitude `limit`; 0 for values too small to have one.
#[inline(always)]
pub(super) fn inverse(largest: f32, limit: f32) -> f32 {
    let inverse = limit / largest;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// Scale and zero point of a block of 4-bit integers from 0: `(integer - zero / 4) * step`. The upper 10 bits are
/// exponent and mantissa of the step times [`STEPS`](Self::STEPS) as the upper bits of an f16, the lower 6 the zero
/// point.
///
/// A step with 6 significant bits is at most 1.6 % from any other, and a zero point an eighth of a step; the integers
/// are chosen for both as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub(super) struct Affine(pub u16);

impl Affine {
    /// Steps are kept times this, so that those of small weights are not too small for an f16.
    pub const STEPS: f32 = 256.0;

    /// For a block that is not finite or beyond the packing: its scale is NaN.
    const WRONG: Self = Self(0x7e00 << 1);

    fn new(step: u16, zero: u16) -> Self {
        debug_assert!(step & 0x801f == 0 && zero < 64, "ten bits and six");
        Self(step << 1 | zero)
    }

    pub fn step(self) -> f32 {
        f16::from_bits((self.0 & 0xffc0) >> 1).to_f32() / Self::STEPS
    }

    /// In quarters of a step.
    pub fn zero(self) -> f32 {
        f32::from(self.0 & 63)
    }
}

/// How integers of a block become values: `integer * step + least`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub step: f16,
    /// 0 in packings without minima.
    pub least: f16,
}

impl Scale {
    /// For a block that is not finite or beyond f16: its scale is NaN.
    const WRONG: Self = Self::of(f16::NAN);

    /// For a block of zeros, or of values too small for a scale.
    const ZERO: Self = Self::of(f16::ZERO);

    const fn of(step: f16) -> Self {
        Self {
            step,
            least: f16::ZERO,
        }
    }
}

/// A block of weights as integers from -127 to 127 and their scale. A block that is not finite, or whose scale is
/// beyond f16, has the scale NaN.
///
/// Q8_0 of llama.cpp maps the largest magnitude to 127. That scale is tried first, so values that came from such a
/// block are found again exactly; of larger scales one is taken if its rounded values are nearer to the block.
#[inline(always)]
pub(super) fn quantise_block8(values: &[f32; BLOCK], out: &mut [i8; BLOCK]) -> Scale {
    *out = [0; BLOCK];
    let Some(largest) = largest(values) else {
        return Scale::WRONG;
    };
    let plain = f16::from_f32(largest / 127.0);
    if plain.is_infinite() {
        return Scale::WRONG;
    }
    // By the rounded scale, so that its rounding costs nothing.
    if !plain.to_f32().recip().is_finite() {
        return Scale::ZERO;
    }
    let mut best = (f32::INFINITY, plain);
    for step in 0..STEPS8 {
        let scale = f16::from_f32(largest / 127.0 * (1.0 + step as f32 * STEP8));
        let (step, inverse) = (scale.to_f32(), scale.to_f32().recip());
        let mut errors = [0.0f32; 16];
        for values in values.as_chunks::<16>().0 {
            for (error, value) in errors.iter_mut().zip(values) {
                let q = (value * inverse).round_ties_even().clamp(-127.0, 127.0);
                let off = value - q * step;
                *error += off * off;
            }
        }
        let error = total(errors);
        if error < best.0 {
            best = (error, scale);
        }
    }
    let inverse = best.1.to_f32().recip();
    for (out, value) in out.iter_mut().zip(values) {
        *out = (value * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
    }
    Scale::of(best.1)
}

/// How many scales are tried for a block of 8-bit integers: the squared error of one is a sum of 32 values that are as
/// good as random, so the least of some is a fifth below the mean, and more find little more.
const STEPS8: u16 = 16;

/// From one of these scales to the next, as a part of the first.
const STEP8: f32 = 0.004;

/// A block of weights as integers from -8 to 7 and their scale.
///
/// Q4_0 of llama.cpp maps the value of the largest magnitude to -8. Here the scales around that one are tried too, and
/// the one whose integers, with the least-squares scale for them, are nearest to the block is taken.
#[inline(always)]
pub(super) fn quantise_block4(values: &[f32; BLOCK], out: &mut [i8; BLOCK]) -> Scale {
    *out = [0; BLOCK];
    let Some(magnitude) = largest(values) else {
        return Scale::WRONG;
    };
    if inverse(magnitude, 8.0) == 0.0 {
        return Scale::ZERO;
    }
    let signed = values.iter().fold(
        0.0f32,
        |best, v| if v.abs() > best.abs() { *v } else { best },
    );
    let mut best = (f32::NEG_INFINITY, 0.0f32, 0.0f32);
    for step in -16i32..=14 {
        // From 6.4 to 9.4 steps up to the largest value, which is cut at 8 if it is beyond.
        let inverse = -(8.0 + step as f32 * 0.1) / signed;
        // Sums in lanes, which the compiler may compute side by side.
        let (mut cross, mut square) = ([0.0f32; 16], [0.0f32; 16]);
        for values in values.as_chunks::<16>().0 {
            for (lane, value) in values.iter().enumerate() {
                let q = (value * inverse).round_ties_even().clamp(-8.0, 7.0);
                cross[lane] += value * q;
                square[lane] += q * q;
            }
        }
        let (cross, square) = (total(cross), total(square));
        // The squared error of the best scale for these integers is the block's square less this.
        let gain = cross * cross / square;
        if gain > best.0 {
            best = (gain, inverse, cross / square);
        }
    }
    let (_, inverse, scale) = best;
    let scale = f16::from_f32(scale);
    if scale.is_infinite() {
        return Scale::WRONG;
    }
    for (out, value) in out.iter_mut().zip(values) {
        *out = (value * inverse).round_ties_even().clamp(-8.0, 7.0) as i8;
    }
    Scale::of(scale)
}

/// A block of weights as integers from 0 to 15, their scale and their minimum.
///
/// Q4_1 of llama.cpp spreads the integers from the smallest to the largest value. Here finer and coarser scales around
/// the same middle are tried too, and the one is taken whose integers, with the least-squares line for them, are
/// nearest.
#[inline(always)]
pub(super) fn quantise_block4_min(values: &[f32; BLOCK], out: &mut [i8; BLOCK]) -> Scale {
    *out = [0; BLOCK];
    if largest(values).is_none() {
        return Scale::WRONG;
    }
    let (low, high) = values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| {
            (low.min(*value), high.max(*value))
        });
    let (range, middle, mean) = (high - low, low / 2.0 + high / 2.0, mean(values));
    if range.is_infinite() {
        return Scale::WRONG;
    }
    let mut best = (0.0f32, 0.0f32, 0.0f32, mean);
    if inverse(range, 15.0) != 0.0 {
        for step in -6i16..=15 {
            let inverse = (15.0 + f32::from(step) * 0.15) / range;
            let [mut cross, mut sum, mut square] = [[0.0f32; 16]; 3];
            for values in values.as_chunks::<16>().0 {
                for (lane, value) in values.iter().enumerate() {
                    let q = level(*value, middle, inverse);
                    cross[lane] += (value - mean) * q;
                    sum[lane] += q;
                    square[lane] += q * q;
                }
            }
            let [cross, sum, square] = [cross, sum, square].map(total);
            let average = sum / BLOCK as f32;
            let variance = square - sum * average;
            // The squared error of the best line is the block's square around its mean less this.
            let gain = cross * cross / variance;
            if gain > best.0 {
                let scale = cross / variance;
                best = (gain, inverse, scale, mean - scale * average);
            }
        }
    }
    let (gain, inverse, scale, least) = best;
    let scale = Scale {
        step: f16::from_f32(scale),
        least: f16::from_f32(least),
    };
    if !scale.step.is_finite() || !scale.least.is_finite() {
        return Scale::WRONG;
    }
    if gain == 0.0 {
        // All values are the same, or too near to each other for a scale.
        return scale;
    }
    for (out, value) in out.iter_mut().zip(values) {
        *out = level(*value, middle, inverse) as i8;
    }
    scale
}

/// A block of weights as integers from 0 to 15 with a scale and a zero point that have few bits: of the scales around
/// that which covers the block, each with the zero points around the one that puts its middle into the middle, those
/// are taken whose integers are nearest.
#[inline(always)]
pub(super) fn quantise_block4_affine(values: &[f32; BLOCK], out: &mut [i8; BLOCK]) -> Affine {
    *out = [0; BLOCK];
    if largest(values).is_none() {
        return Affine::WRONG;
    }
    // Zero is a value of every block: there are no zero points outside the integers.
    let (low, high) = values.iter().fold((0.0f32, 0.0f32), |(low, high), value| {
        (low.min(*value), high.max(*value))
    });
    if low == high {
        return Affine::default();
    }
    let plain = f16::from_f32((high - low) / 15.0 * Affine::STEPS).to_bits();
    if plain >= 0x7c00 {
        return Affine::WRONG;
    }
    let mut best = (f32::INFINITY, Affine::default());
    // One in the last place is 1.6 to 3.1 %: from a fifth to a third below the plain scale to a little above.
    let first = (plain >> 5).saturating_sub(10).max(1);
    for step in first..=((plain >> 5) + 2).min(0x3df) {
        let of = |zero| Affine::new(step << 5, zero);
        let inverse = of(0).step().recip();
        let middle = (7.5 - (low + high) / 2.0 * inverse) * 4.0;
        let under = middle.floor().clamp(1.0, 61.0) as u16;
        // Four at once: what they share is computed once, and the sums do not wait for each other.
        let zeros: [u16; 4] = std::array::from_fn(|i| under - 1 + i as u16);
        let mut errors = [[0.0f32; 16]; 4];
        for values in values.as_chunks::<16>().0 {
            for (lane, value) in values.iter().enumerate() {
                let x = value * inverse;
                for (errors, zero) in errors.iter_mut().zip(zeros) {
                    let x = x + f32::from(zero) / 4.0;
                    let off = x - x.round_ties_even().clamp(0.0, 15.0);
                    errors[lane] += off * off;
                }
            }
        }
        let size = of(0).step();
        for (errors, zero) in errors.into_iter().zip(zeros) {
            let error = total(errors) * size * size;
            if error < best.0 {
                best = (error, of(zero));
            }
        }
    }
    let affine = best.1;
    let (inverse, zero) = (affine.step().recip(), affine.zero() / 4.0);
    for (out, value) in out.iter_mut().zip(values) {
        *out = (value * inverse + zero).round_ties_even().clamp(0.0, 15.0) as i8;
    }
    affine
}

#[inline(always)]
fn level(value: f32, middle: f32, inverse: f32) -> f32 {
    ((value - middle) * inverse + 7.5)
        .round_ties_even()
        .clamp(0.0, 15.0)
}

/// The sum of some lanes, in halves: one after another they would take longer than all that comes before.
#[inline(always)]
fn total(lanes: [f32; 16]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

#[inline(always)]
fn mean(values: &[f32; BLOCK]) -> f32 {
    values.iter().map(|value| value / BLOCK as f32).sum()
}

/// Row `lane` of a panel.
pub(super) fn decode_row(
    packing: Packing,
    bytes: &[u8],
    scales: &[u32],
    lane: usize,
    out: &mut [f32],
) {
    let half = |at: usize| f16::from_bits((scales[at / 2] >> (at % 2 * 16)) as u16).to_f32();
    let scale = |input: usize| half(input / BLOCK * LANES + lane);
    match packing {
        Packing::Int8 | Packing::Int8Wide | Packing::Int8Mixed => {
            for (input, out) in out.iter_mut().enumerate() {
                let byte = bytes[input / 4 * 64 + lane * 4 + input % 4];
                *out = (i32::from(byte) - OFFSET8) as f32 * scale(input);
            }
        }
        Packing::Int4 => {
            for (input, out) in out.iter_mut().enumerate() {
                *out = (nibble(bytes, input, lane) - OFFSET4) as f32 * scale(input);
            }
        }
        Packing::Int4Min => {
            for (input, out) in out.iter_mut().enumerate() {
                let at = input / BLOCK * 2 * LANES + lane;
                *out = nibble(bytes, input, lane) as f32 * half(at) + half(at + LANES);
            }
        }
        Packing::Int4Affine => {
            for (input, out) in out.iter_mut().enumerate() {
                let at = input / BLOCK * LANES + lane;
                let affine = Affine((scales[at / 2] >> (at % 2 * 16)) as u16);
                *out = (nibble(bytes, input, lane) as f32 - affine.zero() / 4.0) * affine.step();
            }
        }
        Packing::F16 | Packing::BF16 => {
            for (input, out) in out.iter_mut().enumerate() {
                let at = (input * LANES + lane) * 2;
                let bits = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
                *out = match packing {
                    Packing::F16 => f16::from_bits(bits).to_f32(),
                    _ => f32::from_bits(u32::from(bits) << 16),
                };
            }
        }
    }
}

fn nibble(bytes: &[u8], input: usize, lane: usize) -> i32 {
    let byte = bytes[input / 8 * 64 + lane * 4 + input % 4];
    i32::from(byte >> (input % 8 / 4 * 4) & 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(state: &mut u32) -> [f32; BLOCK] {
        std::array::from_fn(|_| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (*state >> 8) as f32 / (1 << 24) as f32 - 0.5
        })
    }

    fn error(values: &[f32; BLOCK], restored: impl Fn(usize) -> f32) -> f32 {
        (0..BLOCK).map(|i| (values[i] - restored(i)).powi(2)).sum()
    }

    #[test]
    fn eight_bits_are_off_by_half_a_step() {
        let mut values = [0.0f32; BLOCK];
        values[..4].copy_from_slice(&[0.5, -1.0, 0.123, 0.0]);
        let mut out = [1; BLOCK];
        let scale = quantise_block8(&values, &mut out).step.to_f32();
        for (value, q) in values.iter().zip(out) {
            assert!((value - f32::from(q) * scale).abs() <= scale * 0.56);
        }
        assert_eq!(quantise_block8(&[1e-9; BLOCK], &mut out), Scale::ZERO);
        for wrong in [f32::NAN, f32::INFINITY, 1e30] {
            values[9] = wrong;
            assert!(quantise_block8(&values, &mut out).step.is_nan());
            assert_eq!(out, [0; BLOCK]);
        }
    }

    /// Q8_0 and Q4_1 blocks of a GGUF file that were unpacked to f32 on the way.
    #[test]
    fn blocks_that_were_quantised_before_are_found_again() {
        let mut state = 7;
        for _ in 0..100 {
            let mut out = [0; BLOCK];
            let step = f16::from_f32(random(&mut state)[0].abs() * 0.01 + 1e-4);
            let least = f16::from_f32(random(&mut state)[0]);
            let codes = random(&mut state);
            let mut eight = codes.map(|code| (code * 254.0).round());
            eight[3] = -127.0;
            let values = eight.map(|code| code * step.to_f32());
            assert_eq!(quantise_block8(&values, &mut out), Scale::of(step));
            assert_eq!(out.map(f32::from), eight);
            let mut four = codes.map(|code| ((code + 0.5) * 15.0).round());
            (four[8], four[20]) = (0.0, 15.0);
            let values = four.map(|code| code * step.to_f32() + least.to_f32());
            let found = quantise_block4_min(&values, &mut out);
            assert_eq!(out.map(f32::from), four);
            assert_eq!(found, Scale { step, least });
        }
    }

    #[test]
    fn the_searches_are_never_worse_than_the_plain_scales() {
        let mut state = 1;
        let mut sums = [0.0; 2];
        for _ in 0..200 {
            let values = random(&mut state);
            let largest = values
                .iter()
                .copied()
                .max_by(|a, b| a.abs().total_cmp(&b.abs()))
                .unwrap();
            let mut out = [0; BLOCK];
            let scale = quantise_block4(&values, &mut out).step.to_f32();
            let ours = error(&values, |i| f32::from(out[i]) * scale);
            let plain = largest / -8.0;
            let theirs = error(&values, |i| {
                (values[i] / plain).round().clamp(-8.0, 7.0) * plain
            });
            assert!(ours <= theirs * 1.002, "{ours} {theirs}");

            let scale = quantise_block4_min(&values, &mut out);
            let (step, least) = (scale.step.to_f32(), scale.least.to_f32());
            let ours = error(&values, |i| f32::from(out[i]) * step + least);
            let low = values.iter().copied().fold(f32::INFINITY, f32::min);
            let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let plain = (high - low) / 15.0;
            let theirs = error(&values, |i| {
                ((values[i] - low) / plain).round() * plain + low
            });
            assert!(ours <= theirs * 1.002, "{ours} {theirs}");

            let scale = quantise_block8(&values, &mut out).step.to_f32();
            sums[0] += error(&values, |i| f32::from(out[i]) * scale);
            let plain = f16::from_f32(largest.abs() / 127.0).to_f32();
            sums[1] += error(&values, |i| {
                (values[i] / plain).round().clamp(-127.0, 127.0) * plain
            });
        }
        // A fifth less than by the plain scale.
        assert!(sums[0] < 0.85 * sums[1], "{sums:?}");
    }

    #[test]
    fn blocks_without_a_scale() {
        let mut out = [1; BLOCK];
        assert_eq!(quantise_block4(&[0.0; BLOCK], &mut out), Scale::ZERO);
        assert_eq!(out, [0; BLOCK]);
        assert_eq!(quantise_block4_min(&[0.0; BLOCK], &mut out), Scale::ZERO);
        let least = f16::from_f32(0.25);
        let constant = quantise_block4_min(&[0.25; BLOCK], &mut out);
        assert_eq!((constant.step, constant.least), (f16::ZERO, least));
        assert_eq!(out, [0; BLOCK]);
        let mut values = [1.0; BLOCK];
        for wrong in [f32::NEG_INFINITY, f32::NAN, 3e38] {
            values[7] = wrong;
            values[8] = -wrong;
            assert!(quantise_block4(&values, &mut out).step.is_nan());
            assert!(quantise_block4_min(&values, &mut out).step.is_nan());
        }
    }
}
