//! Attention with products of bf16 values and sums in f32, for processors that multiply two pairs of these in the time
//! of one pair of f32: AVX-512 BF16.
//!
//! Keys and values of a head are rounded and packed once. Then a few queries at a time go over them: their scores, and
//! the softmax of these, stay in the first-level cache.

use std::arch::x86_64::*;

use super::super::product::{Target, part};
use super::super::scratch::scratch;
use super::super::simd::{Avx512, Simd};
use super::task::weight;
use super::{Inputs, Sight, Sizes};
use crate::pool;

/// Whether this processor has the instructions.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16")
}

/// Queries that a tile has, so that its sums fit the registers.
const ROWS: usize = 14;

/// Columns of a tile: keys, or values of a value.
const WIDTH: usize = 32;

/// Pairs of one block of the inner dimension of a tile.
const DEPTH: usize = 128;

/// Distance of the rows of a packed left side in pairs: a constant, so that a tile needs one address for all of them,
/// and not a multiple of the cache's period.
const LEFT: usize = DEPTH + 16;

/// Sizes of one head's memory, in words of four bytes.
#[derive(Clone, Copy)]
struct Room {
    /// Pairs of a query's values, and of keys.
    pairs: [usize; 2],
    /// Scores of one query.
    score_row: usize,
    /// One panel of [`WIDTH`] keys; of [`WIDTH`] values of all values.
    panels: [usize; 2],
    /// Packed queries; packed weights of the values.
    left: [usize; 2],
    /// Values of a value, in whole panels.
    d_value: usize,
}

impl Room {
    fn new(sizes: &Sizes) -> Self {
        let pairs = [sizes.d.div_ceil(2), sizes.keys.div_ceil(2)];
        // Squares of 16 keys by 16 pairs are turned.
        let panels = [pairs[0].next_multiple_of(16) * WIDTH, pairs[1] * WIDTH];
        Self {
            pairs,
            score_row: sizes.keys.next_multiple_of(WIDTH),
            panels,
            left: pairs.map(|pairs| pairs.div_ceil(DEPTH) * ROWS * LEFT),
            d_value: sizes.d_value.next_multiple_of(WIDTH),
        }
    }
}

/// [`attention`](super::attention) with queries, keys, values and the softmax rounded to bf16.
///
/// # Safety
///
/// As there, and the instructions must be [`available`].
pub(super) unsafe fn attention(
    sizes: Sizes,
    inputs: Inputs,
    see: impl Fn(usize, usize, usize) -> Sight + Sync,
    out: Target,
) {
    let group = sizes.heads / sizes.key_heads;
    let room = Room::new(&sizes);
    let count = sizes.batch * sizes.heads;
    // A head is packed for each piece of its queries, so there are only as many pieces as keep all threads at work.
    let pieces = (4 * crate::threads()).div_ceil(count);
    let pieces = pieces.min(sizes.queries.div_ceil(4 * ROWS)).max(1);
    pool::run(count * pieces, |i| {
        let (piece, head, batch) = (
            pieces - 1 - i % pieces,
            i / pieces % sizes.heads,
            i / pieces / sizes.heads,
        );
        let (first, end) = (
            part(piece, pieces, sizes.queries),
            part(piece + 1, pieces, sizes.queries),
        );
        // SAFETY: the caller's promise; tasks write different rows or heads.
        unsafe {
            let head_of = Head {
                sizes: &sizes,
                room,
                inputs: &inputs,
                batch,
                head,
                key_head: head / group,
            };
            head_of.run(first, end, &|query| see(batch, head, query), out);
        }
    });
}

/// One head of one row of a batch.
struct Head<'a> {
    sizes: &'a Sizes,
    room: Room,
    inputs: &'a Inputs,
    batch: usize,
    head: usize,
    key_head: usize,
}

impl Head<'_> {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
    unsafe fn run(&self, first: usize, end: usize, see: &impl Fn(usize) -> Sight, out: Target) {
        let Self { sizes, room, .. } = *self;
        // Later queries see no less.
        let seen = see(end - 1).keys.end;
        let keys = seen.div_ceil(WIDTH) * room.panels[0];
        let values = room.d_value / WIDTH * room.panels[1];
        let blocks = (end - first).div_ceil(ROWS);
        let block = ROWS * (room.score_row + room.d_value) + room.left[0] + room.left[1];
        scratch(keys + values + block, |memory| unsafe {
            let values_at = memory.add(keys);
            self.pack_keys(seen, memory);
            self.pack_values(seen, values_at);
            let scores = values_at.add(values);
            let results = scores.add(ROWS * room.score_row);
            let queries = results.add(ROWS * room.d_value);
            let weights = queries.add(room.left[0]);
            for block in 0..blocks {
                let start = first + part(block, blocks, end - first);
                let rows = first + part(block + 1, blocks, end - first) - start;
                self.pack_queries(start, rows, queries);
                let last = see(start + rows - 1).keys.end;
                for panel in 0..last.div_ceil(WIDTH) {
                    let key = memory.add(panel * room.panels[0]);
                    let to = scores.add(panel * WIDTH);
                    tile(rows, room.pairs[0], queries, key, to, room.score_row);
                }
                let mut factors = [0.0; ROWS];
                for (row, factor) in factors.iter_mut().enumerate().take(rows) {
                    let from = scores.add(row * room.score_row);
                    let sight = see(start + row);
                    *factor = soften(
                        from,
                        &sight,
                        last,
                        self.inputs.scale,
                        weights.add(row * LEFT),
                    );
                }
                for panel in 0..room.d_value / WIDTH {
                    let value = values_at.add(panel * room.panels[1]);
                    let to = results.add(panel * WIDTH);
                    tile(rows, last.div_ceil(2), weights, value, to, room.d_value);
                }
                for (row, factor) in factors.iter().enumerate().take(rows) {
                    let from = results.add(row * room.d_value);
                    let place =
                        (self.batch * sizes.queries + start + row) * sizes.heads + self.head;
                    let to = out.data.add(place * sizes.d_value);
                    let factor = _mm512_set1_ps(*factor);
                    for j in (0..sizes.d_value).step_by(16) {
                        let x = _mm512_mul_ps(_mm512_loadu_ps(from.add(j)), factor);
                        Avx512::store_some(to.add(j), x, 16.min(sizes.d_value - j));
                    }
                }
            }
        });
    }

    /// `[panel][pair of values][32 keys]`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
    unsafe fn pack_keys(&self, keys: usize, to: *mut f32) {
        let d = self.sizes.d;
        let mut square = [[0.0f32; 16]; 16];
        for first in (0..keys.next_multiple_of(WIDTH)).step_by(16) {
            let to = unsafe { to.add(first / WIDTH * self.room.panels[0] + first % WIDTH) };
            for start in (0..d).step_by(32) {
                for (i, row) in square.iter_mut().enumerate() {
                    *row = [0.0; 16];
                    if first + i < keys {
                        // SAFETY: the key exists, and so do the values that are read.
                        unsafe {
                            let from = self.inputs.key.at(self.batch, self.key_head, first + i);
                            let words = words(from.add(start), d - start);
                            _mm512_storeu_si512(row.as_mut_ptr().cast(), words);
                        }
                    }
                }
                // SAFETY: a panel has room for whole squares.
                unsafe { Avx512::turn(square[0].as_ptr(), 16, to.add(start / 2 * WIDTH), WIDTH) };
            }
        }
    }

    /// `[panel][pair of keys][32 values]`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
    unsafe fn pack_values(&self, keys: usize, to: *mut f32) {
        let d = self.sizes.d_value;
        for key in (0..keys).step_by(2) {
            for j in (0..self.room.d_value).step_by(16) {
                let count = d.saturating_sub(j).min(16);
                let halves = |key: usize| {
                    let value = match key < keys {
                        // SAFETY: the value exists.
                        true => unsafe {
                            let from = self.inputs.value.at(self.batch, self.key_head, key);
                            Avx512::load_some(from.wrapping_add(j), count)
                        },
                        false => _mm512_setzero_ps(),
                    };
                    _mm512_cvtepu16_epi32(bits(_mm512_cvtneps_pbh(value)))
                };
                let both = _mm512_or_si512(halves(key), _mm512_slli_epi32::<16>(halves(key + 1)));
                let at = j / WIDTH * self.room.panels[1] + key / 2 * WIDTH + j % WIDTH;
                // SAFETY: a panel has room for all pairs.
                unsafe { _mm512_storeu_si512(to.add(at).cast(), both) };
            }
        }
    }

    /// `[block of pairs][14 rows][LEFT]`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
    unsafe fn pack_queries(&self, first: usize, rows: usize, to: *mut f32) {
        let d = self.sizes.d;
        for row in 0..rows {
            // SAFETY: the query exists; rows have room for whole vectors.
            unsafe {
                let from = self.inputs.query.at(self.batch, self.head, first + row);
                for start in (0..d).step_by(32) {
                    let words = words(from.add(start), d - start);
                    let at = start / 2 / DEPTH * ROWS * LEFT + row * LEFT + start / 2 % DEPTH;
                    _mm512_storeu_si512(to.add(at).cast(), words);
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn bits(x: __m256bh) -> __m256i {
    // SAFETY: both are 256 bits.
    unsafe { std::mem::transmute(x) }
}

/// Up to 32 values as pairs of bf16, zeros after the last.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
unsafe fn words(from: *const f32, count: usize) -> __m512i {
    // SAFETY: only values that exist are read.
    unsafe {
        let low = Avx512::load_some(from, count.min(16));
        let high = Avx512::load_some(from.wrapping_add(16), count.clamp(16, 32) - 16);
        std::mem::transmute(_mm512_cvtne2ps_pbh(high, low))
    }
}

/// `e^(x - largest)` of one row of scores as bf16, and 1 over their sum; 0 if the row sees nothing. Zeros up to `end`
/// where it does not look.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
unsafe fn soften(scores: *mut f32, sight: &Sight, end: usize, scale: f32, to: *mut f32) -> f32 {
    let seen = sight.keys.end;
    let scale = _mm512_set1_ps(scale);
    let least = _mm512_set1_ps(f32::MIN);
    let mut largest = least;
    // SAFETY: scores, bias and mask have a value for each key; a row of scores and the weights have room for whole
    // vectors.
    unsafe {
        for j in (0..seen).step_by(16) {
            let count = 16.min(seen - j);
            let there = (0xffff_u32 >> (16 - count)) as __mmask16;
            let mut x = _mm512_mul_ps(_mm512_loadu_ps(scores.add(j)), scale);
            if !sight.bias.is_null() {
                x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(there, sight.bias.add(j)));
            }
            let mut visible = there;
            if !sight.hidden.is_null() {
                let hidden = _mm_maskz_loadu_epi8(there, sight.hidden.add(j).cast());
                visible &= _mm_testn_epi8_mask(hidden, hidden);
            }
            x = _mm512_mask_mov_ps(least, visible, x);
            largest = _mm512_max_ps(largest, x);
            _mm512_storeu_ps(scores.add(j), x);
        }
        let top = _mm512_reduce_max_ps(largest);
        let nothing = top == f32::MIN;
        let mut sums = _mm512_setzero_ps();
        for j in (0..end).step_by(16) {
            let mut e = _mm512_setzero_ps();
            if j < seen && !nothing {
                let there = (0xffff_u32 >> (16 - 16.min(seen - j))) as __mmask16;
                e = weight::<Avx512>(_mm512_loadu_ps(scores.add(j)), top);
                e = _mm512_maskz_mov_ps(there, e);
                sums = _mm512_add_ps(sums, e);
            }
            let at = j / 2 / DEPTH * ROWS * LEFT + j / 2 % DEPTH;
            _mm256_storeu_si256(to.add(at).cast(), bits(_mm512_cvtneps_pbh(e)));
        }
        match nothing {
            true => 0.0,
            false => 1.0 / _mm512_reduce_add_ps(sums),
        }
    }
}

/// `to = left * right` for some rows and [`WIDTH`] columns: sums over `depth` pairs.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
unsafe fn tile(
    rows: usize,
    depth: usize,
    left: *const f32,
    right: *const f32,
    to: *mut f32,
    to_row: usize,
) {
    macro_rules! rows {
        ($($rows:literal)*) => {
            match rows {
                // SAFETY: the caller's.
                $($rows => unsafe { tile_rows::<$rows>(depth, left, right, to, to_row) },)*
                _ => unreachable!("a tile has no more rows"),
            }
        };
    }
    rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
unsafe fn tile_rows<const R: usize>(
    depth: usize,
    left: *const f32,
    right: *const f32,
    to: *mut f32,
    to_row: usize,
) {
    let mut sums = [[_mm512_setzero_ps(); 2]; R];
    let (mut left, mut right, mut rest) = (left.cast::<i32>(), right.cast::<i32>(), depth);
    // SAFETY: both sides have `depth` pairs, the left one in blocks.
    unsafe {
        while rest > 0 {
            let steps = rest.min(DEPTH);
            for p in 0..steps {
                let x: __m512bh = std::mem::transmute(_mm512_loadu_si512(right.cast()));
                let y: __m512bh = std::mem::transmute(_mm512_loadu_si512(right.add(16).cast()));
                for i in 0..R {
                    let pair = _mm512_set1_epi32(*left.add(i * LEFT + p));
                    let pair: __m512bh = std::mem::transmute(pair);
                    sums[i][0] = _mm512_dpbf16_ps(sums[i][0], pair, x);
                    sums[i][1] = _mm512_dpbf16_ps(sums[i][1], pair, y);
                }
                right = right.add(WIDTH);
            }
            left = left.add(ROWS * LEFT);
            rest -= steps;
        }
        for i in 0..R {
            let to = to.add(i * to_row);
            _mm512_storeu_ps(to, sums[i][0]);
            _mm512_storeu_ps(to.add(16), sums[i][1]);
        }
    }
}
