//! The block types of GGML: a few values that share a scale, in 16 to 210 bytes.
//! Layouts: <https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h>.

use clinical_kernels::{Block, Packing};
use half::f16;

/// A quantised type of GGML. Its values come in blocks; a row of a matrix is a whole number of blocks.
///
/// `d` below is the scale of a block (f16), `m` its offset, `q` a small integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum BlockType {
    /// 32 values of 4 bits, `d (q - 8)`.
    Q4_0,
    /// 32 values of 4 bits, `d q + m`.
    Q4_1,
    /// 32 values of 5 bits, `d (q - 16)`.
    Q5_0,
    /// 32 values of 5 bits, `d q + m`.
    Q5_1,
    /// 32 values of 8 bits, `d q`.
    Q8_0,
    /// 256 values of 2 bits, `d s q - m t`, with 4-bit `s` and `t` for every 16.
    Q2K,
    /// 256 values of 3 bits, `d s q`, with a 6-bit `s` for every 16.
    Q3K,
    /// 256 values of 4 bits, `d s q - m t`, with 6-bit `s` and `t` for every 32.
    Q4K,
    /// 256 values of 5 bits, `d s q - m t`, with 6-bit `s` and `t` for every 32.
    Q5K,
    /// 256 values of 6 bits, `d s q`, with an 8-bit `s` for every 16.
    Q6K,
}

/// Values of the largest block: a run of this many values of any type begins and ends between blocks.
pub(crate) const LARGEST: usize = 256;

impl BlockType {
    /// The name that llama.cpp uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// Values of one block.
    #[must_use]
    pub fn values(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => LARGEST,
        }
    }

    /// Bytes of one block.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// The values of whole blocks, each computed in f32 in the order in which the reference computes it, so that they
    /// are equal to its values bit by bit. What comes after the last whole block of either side is left alone.
    pub fn decode(self, blocks: &[u8], out: &mut [f32]) {
        let decode = match self {
            Self::Q4_0 => q4_0,
            Self::Q4_1 => q4_1,
            Self::Q5_0 => q5_0,
            Self::Q5_1 => q5_1,
            Self::Q8_0 => q8_0,
            Self::Q2K => q2_k,
            Self::Q3K => q3_k,
            Self::Q4K => q4_k,
            Self::Q5K => q5_k,
            Self::Q6K => q6_k,
        };
        for (block, out) in blocks
            .chunks_exact(self.bytes())
            .zip(out.chunks_exact_mut(self.values()))
        {
            decode(block, out);
        }
    }
}

impl BlockType {
    /// Whether a block is 32 integers with one scale, and perhaps a minimum, that fit the format, so that all can be
    /// taken over as they are.
    pub(crate) fn fits(self, format: Packing) -> bool {
        match format {
            Packing::Int8 | Packing::Int8Wide | Packing::Int8Mixed => {
                matches!(self, Self::Q8_0 | Self::Q5_0 | Self::Q4_0)
            }
            Packing::Int4 => self == Self::Q4_0,
            Packing::Int4Min => matches!(self, Self::Q4_0 | Self::Q4_1),
            _ => false,
        }
    }

    /// The scales and the integers of whole blocks, for a type that [fits](Self::fits) the format.
    pub(crate) fn take(self, format: Packing, blocks: &[u8], out: &mut [Block]) {
        for (block, out) in blocks.chunks_exact(self.bytes()).zip(out) {
            out.scale = f16::from_le_bytes([block[0], block[1]]);
            let integers = &mut out.integers;
            match self {
                Self::Q4_0 | Self::Q4_1 => {
                    // Codes from 0 to 15, of which Q4_0 takes 8; with minima these are 8 steps below zero.
                    let (offset, start) = match (self, format) {
                        (Self::Q4_1, _) => (0, 4),
                        (_, Packing::Int4Min) => (0, 2),
                        _ => (8, 2),
                    };
                    out.least = match (self, format) {
                        (Self::Q4_1, _) => f16::from_le_bytes([block[2], block[3]]),
                        (_, Packing::Int4Min) => f16::from_f32(out.scale.to_f32() * -8.0),
                        _ => f16::ZERO,
                    };
                    for (i, byte) in block[start..].iter().enumerate() {
                        integers[i] = (byte & 15) as i8 - offset;
                        integers[i + 16] = (byte >> 4) as i8 - offset;
                    }
                }
                Self::Q5_0 => five_bits(&block[2..6], &block[6..], |i, q| {
                    integers[i] = q as i8 - 16;
                }),
                _ => {
                    for (integer, byte) in integers.iter_mut().zip(&block[2..]) {
                        *integer = *byte as i8;
                    }
                }
            }
        }
    }
}

/// The name of a type that is not read, for a message.
pub(super) fn unread_type(kind: u32) -> String {
    let names = [
        (9, "Q8_1"),
        (15, "Q8_K"),
        (16, "IQ2_XXS"),
        (17, "IQ2_XS"),
        (18, "IQ3_XXS"),
        (19, "IQ1_S"),
        (20, "IQ4_NL"),
        (21, "IQ3_S"),
        (22, "IQ2_S"),
        (23, "IQ4_XS"),
        (29, "IQ1_M"),
        (34, "TQ1_0"),
        (35, "TQ2_0"),
        (39, "MXFP4"),
    ];
    names
        .iter()
        .find(|(number, _)| *number == kind)
        .map_or_else(|| format!("number {kind}"), |(_, name)| (*name).to_owned())
}

/// The f16 at `at`.
fn scale(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn q4_0(block: &[u8], out: &mut [f32]) {
    let d = scale(block, 0);
    for (i, byte) in block[2..].iter().enumerate() {
        out[i] = d * f32::from((byte & 15) as i8 - 8);
        out[i + 16] = d * f32::from((byte >> 4) as i8 - 8);
    }
}

fn q4_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (scale(block, 0), scale(block, 2));
    for (i, byte) in block[4..].iter().enumerate() {
        out[i] = d * f32::from(byte & 15) + m;
        out[i + 16] = d * f32::from(byte >> 4) + m;
    }
}

/// The 5-bit integers of a block: the fifth bits are together in `high`.
fn five_bits(high: &[u8], low: &[u8], mut each: impl FnMut(usize, u8)) {
    let high = u32::from_le_bytes([high[0], high[1], high[2], high[3]]);
    let fifth = |i: usize| ((high >> i & 1) << 4) as u8;
    for (i, byte) in low.iter().enumerate() {
        each(i, byte & 15 | fifth(i));
        each(i + 16, byte >> 4 | fifth(i + 16));
    }
}

fn q5_0(block: &[u8], out: &mut [f32]) {
    let d = scale(block, 0);
    five_bits(&block[2..6], &block[6..], |i, q| {
        out[i] = d * f32::from(q as i8 - 16);
    });
}

fn q5_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (scale(block, 0), scale(block, 2));
    five_bits(&block[4..8], &block[8..], |i, q| {
        out[i] = d * f32::from(q) + m;
    });
}

fn q8_0(block: &[u8], out: &mut [f32]) {
    let d = scale(block, 0);
    for (out, byte) in out.iter_mut().zip(&block[2..]) {
        *out = f32::from(*byte as i8) * d;
    }
}

/// Two halves of 128 values, each in four planes of 32: plane `k` is bits `2k` and `2k + 1` of the half's 32 bytes.
/// Gives the position, the group of 16 and the two bits of each value.
fn two_bit_planes(bytes: &[u8], mut each: impl FnMut(usize, usize, u8)) {
    for (half, bytes) in bytes.chunks_exact(32).enumerate() {
        for plane in 0..4 {
            for (i, byte) in bytes.iter().enumerate() {
                let at = half * 128 + plane * 32 + i;
                each(at, at / 16, byte >> (2 * plane) & 3);
            }
        }
    }
}

fn q2_k(block: &[u8], out: &mut [f32]) {
    let (scales, quants) = (&block[..16], &block[16..80]);
    let (d, m) = (scale(block, 80), scale(block, 82));
    two_bit_planes(quants, |at, group, q| {
        let (s, t) = (scales[group] & 15, scales[group] >> 4);
        out[at] = d * f32::from(s) * f32::from(q) - m * f32::from(t);
    });
}

fn q3_k(block: &[u8], out: &mut [f32]) {
    let (mask, quants, packed) = (&block[..32], &block[32..96], &block[96..108]);
    let d = scale(block, 108);
    // Low halves of 16 scales in 8 bytes, their upper two bits in 4 more.
    let scales: [i8; 16] = std::array::from_fn(|i| {
        let low = packed[i % 8] >> (4 * (i / 8)) & 15;
        let high = packed[8 + i % 4] >> (2 * (i / 4)) & 3;
        (low | high << 4) as i8 - 32
    });
    two_bit_planes(quants, |at, group, q| {
        // A set bit means that nothing is taken away.
        let low = if mask[at % 32] >> (at / 32) & 1 == 1 {
            0
        } else {
            4
        };
        out[at] = d * f32::from(scales[group]) * f32::from(q as i8 - low);
    });
}

/// The eight 6-bit scales and offsets of Q4_K and Q5_K.
fn scale_and_offset(packed: &[u8], group: usize) -> (f32, f32) {
    let (s, t) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let both = packed[group + 4];
        (
            both & 15 | packed[group - 4] >> 6 << 4,
            both >> 4 | packed[group] >> 6 << 4,
        )
    };
    (f32::from(s), f32::from(t))
}

fn q4_k(block: &[u8], out: &mut [f32]) {
    let (d, m) = (scale(block, 0), scale(block, 2));
    let (packed, quants) = (&block[4..16], &block[16..]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (s, t) = scale_and_offset(packed, group);
        let (s, t) = (d * s, m * t);
        let shift = 4 * (group % 2);
        for (out, byte) in out.iter_mut().zip(&quants[group / 2 * 32..]) {
            *out = s * f32::from(byte >> shift & 15) - t;
        }
    }
}

fn q5_k(block: &[u8], out: &mut [f32]) {
    let (d, m) = (scale(block, 0), scale(block, 2));
    let (packed, high, quants) = (&block[4..16], &block[16..48], &block[48..]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (s, t) = scale_and_offset(packed, group);
        let (s, t) = (d * s, m * t);
        let shift = 4 * (group % 2);
        for (i, out) in out.iter_mut().enumerate() {
            let low = quants[group / 2 * 32 + i] >> shift & 15;
            let fifth = high[i] >> group & 1;
            *out = s * f32::from(low | fifth << 4) - t;
        }
    }
}

fn q6_k(block: &[u8], out: &mut [f32]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = scale(block, 208);
    two_bit_planes(high, |at, group, upper| {
        let (half, place) = (at / 128, at % 128);
        let lower = low[half * 64 + place % 64] >> (4 * (place / 64)) & 15;
        let q = (lower | upper << 4) as i8 - 32;
        out[at] = d * f32::from(scales[group] as i8) * f32::from(q);
    });
}
