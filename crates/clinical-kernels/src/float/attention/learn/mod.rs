//! Attention that is differentiated (Dao et al. 2022): the forward pass keeps two numbers a query, the backward pass
//! makes the weights of some queries again, and no weights are ever a tensor.
//!
//! Work is split by the sizes alone, and every sum has one order, so results do not depend on the number of threads.

mod backward;
mod rows;

use super::super::product::{Matrix, Target, product_alone};
use super::super::scratch::scratch;
use super::super::simd::Level;
use super::task::{Kept, soften};
use super::{Heads, Inputs, Sizes};
use crate::pool;
use crate::{DropMask, dropout};

pub(crate) use backward::{Slopes, attention_backward};

/// Scores that are held at once, of one kind: with those of the other kind they stay in the second-level cache.
const SCORES: usize = 1 << 15;

/// Most queries of a block.
const QUERIES: usize = 128;

/// Queries whose scores are held at once.
fn queries_at_once(keys: usize) -> usize {
    (SCORES / keys.max(1)).clamp(16, QUERIES)
}

/// What the passes have in common.
#[derive(Debug, Clone, Copy)]
struct Shape {
    sizes: Sizes,
    inputs: Inputs,
    /// Of the weights. With it a query that sees nothing looks everywhere alike, as in `transformers`.
    dropout: Option<DropMask>,
}

impl Shape {
    /// The keys from 0 on that a query sees in order of positions.
    fn seen(&self, query: usize) -> usize {
        let Sizes { queries, keys, .. } = self.sizes;
        match self.inputs.causal {
            true => (keys + query + 1).saturating_sub(queries).min(keys),
            false => keys,
        }
    }

    /// The keys that some query up to this one may have weights for.
    fn reach(&self, query: usize) -> usize {
        let Sizes { queries, keys, .. } = self.sizes;
        let may_see_nothing = self.inputs.hidden.is_some() || queries > keys;
        match self.dropout.is_some() && may_see_nothing {
            true => keys,
            false => self.seen(query),
        }
    }

    /// The row of a tensor that belongs to a query; null if there is none.
    unsafe fn row<T>(of: Option<Heads<T>>, [batch, head, query]: [usize; 3]) -> *const T {
        of.map_or(std::ptr::null(), |of| unsafe { of.at(batch, head, query) })
    }

    /// The number of the first weight of a query among all.
    fn first_weight(&self, [batch, head, query]: [usize; 3]) -> u64 {
        let Sizes {
            heads,
            queries,
            keys,
            ..
        } = self.sizes;
        ((batch * heads + head) * queries + query) as u64 * keys as u64
    }

    /// `query * keys` for `rows` queries from `query` on, and `keys` keys.
    unsafe fn scores(
        &self,
        level: Level,
        [batch, head, query]: [usize; 3],
        [rows, keys]: [usize; 2],
        out: Target,
    ) {
        let Inputs {
            query: queries,
            key,
            ..
        } = self.inputs;
        unsafe {
            let left = Matrix {
                data: queries.at(batch, head, query),
                row: queries.strides[2],
                column: 1,
            };
            let right = Matrix {
                data: key.at(batch, self.key_head(head), 0),
                row: 1,
                column: key.strides[2],
            };
            product_alone(level, [rows, keys, self.sizes.d], left, right, out, false);
        }
    }

    /// The head of keys and values that a head of queries looks at.
    fn key_head(&self, head: usize) -> usize {
        head * self.sizes.key_heads / self.sizes.heads
    }
}

/// [`attention`](super::attention) that leaves in `kept`, `[batch, heads, queries]`, what the backward pass needs, and
/// multiplies the weights by a mask.
///
/// # Safety
///
/// That of [`attention`](super::attention); `kept` has room for all.
pub(crate) unsafe fn attention_forward(
    level: Level,
    sizes: Sizes,
    inputs: Inputs,
    dropout: Option<DropMask>,
    out: Target,
    kept: Heads<Kept>,
) {
    let shape = Shape {
        sizes,
        inputs,
        dropout,
    };
    let step = queries_at_once(sizes.keys);
    let blocks = sizes.queries.div_ceil(step);
    pool::run(sizes.batch * sizes.heads * blocks, |i| {
        // The last blocks see most keys, so they come first.
        let first = (blocks - 1 - i % blocks) * step;
        let place = [i / blocks / sizes.heads, i / blocks % sizes.heads, first];
        let rows = step.min(sizes.queries - first);
        // SAFETY: the caller's promise; tasks write different rows or heads.
        unsafe { forward_block(level, &shape, place, rows, out, kept) };
    });
}

/// `rows` queries from a place on.
unsafe fn forward_block(
    level: Level,
    shape: &Shape,
    place @ [batch, head, first]: [usize; 3],
    rows: usize,
    out: Target,
    kept: Heads<Kept>,
) {
    let Shape { sizes, inputs, .. } = *shape;
    let keys = shape.reach(first + rows - 1);
    let width = sizes.heads * sizes.d_value;
    unsafe {
        let start = (batch * sizes.queries + first) * width + head * sizes.d_value;
        let out = Target {
            data: out.data.add(start),
            row: width,
        };
        if keys == 0 {
            for row in 0..rows {
                *kept.at(batch, head, first + row).cast_mut() = Kept::NOTHING;
                std::slice::from_raw_parts_mut(out.at(row, 0), sizes.d_value).fill(0.0);
            }
            return;
        }
        scratch(rows * keys, |scores| {
            let scores = Target {
                data: scores,
                row: keys,
            };
            shape.scores(level, place, [rows, keys], scores);
            for row in 0..rows {
                let place = [batch, head, first + row];
                let kept = kept.at(batch, head, first + row).cast_mut();
                let bias = Shape::row(inputs.bias, place);
                let hidden = Shape::row(inputs.hidden, place);
                let weights = std::slice::from_raw_parts_mut(scores.at(row, 0), keys);
                let (weights, later) = weights.split_at_mut(shape.seen(first + row).min(keys));
                later.fill(0.0);
                let (data, len) = (weights.as_mut_ptr(), weights.len());
                match len {
                    0 => *kept = Kept::NOTHING,
                    _ => soften(level, data, len, inputs.scale, bias, hidden, kept),
                }
                let weights = std::slice::from_raw_parts_mut(scores.at(row, 0), keys);
                drop_weights(level, shape, place, (*kept).inverse == 0.0, weights);
            }
            let weights = Matrix {
                data: scores.data,
                row: keys as isize,
                column: 1,
            };
            let value = Matrix {
                data: inputs.value.at(batch, shape.key_head(head), 0),
                row: inputs.value.strides[2],
                column: 1,
            };
            product_alone(
                level,
                [rows, sizes.d_value, keys],
                weights,
                value,
                out,
                false,
            );
        });
    }
}

/// What dropout makes of the weights of a query; the weights of one that sees nothing are those of one that looks
/// everywhere alike.
unsafe fn drop_weights(
    level: Level,
    shape: &Shape,
    place: [usize; 3],
    sees_nothing: bool,
    weights: &mut [f32],
) {
    let Some(mask) = shape.dropout else { return };
    if sees_nothing {
        weights.fill(1.0 / shape.sizes.keys as f32);
    }
    let len = weights.len();
    scratch(len, |factors| unsafe {
        dropout::fill(level, mask, shape.first_weight(place), len, factors);
        rows::multiply(level, len, factors, weights.as_mut_ptr());
    });
}
