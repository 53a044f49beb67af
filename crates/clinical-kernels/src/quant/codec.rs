//! Values to small integers and back.

use half::f16;

use super::kernel::{BLOCK, LANES};
use super::matrix::Format;

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

/// A block of weights as integers from -127 to 127 and their scale. A block that is not finite, or whose scale is beyond
/// f16, has the scale NaN.
#[inline(always)]
pub(super) fn quantise_block8(values: &[f32; BLOCK], out: &mut [i8; BLOCK]) -> f16 {
    *out = [0; BLOCK];
    let Some(largest) = largest(values) else {
        return f16::NAN;
    };
    let scale = f16::from_f32(largest / 127.0);
    if scale.is_infinite() {
        return f16::NAN;
    }
    // By the rounded scale, so that its rounding costs nothing.
    let inverse = scale.to_f32().recip();
    if !inverse.is_finite() {
        return f16::ZERO;
    }
    for (out, value) in out.iter_mut().zip(values) {
        *out = (value * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
    }
    scale
}

/// A block of weights as integers from -8 to 7 and their scale.
///
/// Q4_0 of llama.cpp maps the value of the largest magnitude to -8. Here the scales around that one are tried too, and
/// the one whose integers, with the least-squares scale for them, are nearest to the block is taken.
#[inline(always)]
pub(super) fn quantise_block4(values: &[f32; BLOCK], out: &mut [i8; BLOCK]) -> f16 {
    *out = [0; BLOCK];
    let Some(magnitude) = largest(values) else {
        return f16::NAN;
    };
    if inverse(magnitude, 8.0) == 0.0 {
        return f16::ZERO;
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
        let (cross, square): (f32, f32) = (cross.iter().sum(), square.iter().sum());
        // The squared error of the best scale for these integers is the block's square less this.
        let gain = cross * cross / square;
        if gain > best.0 {
            best = (gain, inverse, cross / square);
        }
    }
    let (_, inverse, scale) = best;
    let scale = f16::from_f32(scale);
    if scale.is_infinite() {
        return f16::NAN;
    }
    for (out, value) in out.iter_mut().zip(values) {
        *out = (value * inverse).round_ties_even().clamp(-8.0, 7.0) as i8;
    }
    scale
}

/// Row `lane` of a panel.
pub(super) fn decode_row(
    format: Format,
    bytes: &[u8],
    scales: &[u32],
    lane: usize,
    out: &mut [f32],
) {
    let scale = |input: usize| {
        let at = input / BLOCK * LANES + lane;
        f16::from_bits((scales[at / 2] >> (at % 2 * 16)) as u16).to_f32()
    };
    match format {
        Format::Int8 | Format::Int8Wide => {
            for (input, out) in out.iter_mut().enumerate() {
                let byte = bytes[input / 4 * 64 + lane * 4 + input % 4];
                *out = (i32::from(byte) - OFFSET8) as f32 * scale(input);
            }
        }
        Format::Int4 => {
            for (input, out) in out.iter_mut().enumerate() {
                let byte = bytes[input / 8 * 64 + lane * 4 + input % 4];
                let nibble = byte >> (input % 8 / 4 * 4) & 15;
                *out = (i32::from(nibble) - OFFSET4) as f32 * scale(input);
            }
        }
        Format::F16 | Format::BF16 => {
            for (input, out) in out.iter_mut().enumerate() {
                let at = (input * LANES + lane) * 2;
                let bits = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
                *out = match format {
                    Format::F16 => f16::from_bits(bits).to_f32(),
                    _ => f32::from_bits(u32::from(bits) << 16),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bits_are_off_by_half_a_step() {
        let mut values = [0.0f32; BLOCK];
        values[..4].copy_from_slice(&[0.5, -1.0, 0.123, 0.0]);
        let mut out = [1; BLOCK];
        let scale = quantise_block8(&values, &mut out).to_f32();
        for (value, q) in values.iter().zip(out) {
            assert!((value - f32::from(q) * scale).abs() <= scale * 0.56);
        }
        assert_eq!(quantise_block8(&[1e-9; BLOCK], &mut out), f16::ZERO);
        for wrong in [f32::NAN, f32::INFINITY, 1e30] {
            values[9] = wrong;
            assert!(quantise_block8(&values, &mut out).is_nan());
            assert_eq!(out, [0; BLOCK]);
        }
    }

    #[test]
    fn the_search_is_never_worse_than_the_plain_scale() {
        let mut state = 1u32;
        for _ in 0..200 {
            let mut values = [0f32; BLOCK];
            for value in &mut values {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *value = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
            }
            let mut out = [0; BLOCK];
            let scale = quantise_block4(&values, &mut out).to_f32();
            let error = |scale: f32, q: &dyn Fn(usize) -> f32| -> f32 {
                (0..BLOCK).map(|i| (values[i] - scale * q(i)).powi(2)).sum()
            };
            let ours = error(scale, &|i| f32::from(out[i]));
            let largest = values
                .iter()
                .copied()
                .max_by(|a, b| a.abs().total_cmp(&b.abs()))
                .unwrap();
            let plain = largest / -8.0;
            let theirs = error(plain, &|i| (values[i] / plain).round().clamp(-8.0, 7.0));
            assert!(ours <= theirs * 1.002, "{ours} {theirs}");
        }
    }

    #[test]
    fn blocks_without_a_scale() {
        let mut out = [1; BLOCK];
        assert_eq!(quantise_block4(&[0.0; BLOCK], &mut out), f16::ZERO);
        assert_eq!(out, [0; BLOCK]);
        let mut values = [1.0; BLOCK];
        values[7] = f32::NEG_INFINITY;
        assert!(quantise_block4(&values, &mut out).is_nan());
    }
}
