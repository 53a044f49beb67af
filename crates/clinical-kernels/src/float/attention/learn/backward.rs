//! The backward pass of attention.

use super::super::super::product::{Matrix, Target, product_alone};
use super::super::super::scratch::scratch;
use super::super::super::simd::Level;
use super::super::super::transpose::transpose;
use super::super::task::Kept;
use super::super::{Heads, Inputs, Sizes};
use super::rows::{recall, slope};
use super::{Shape, queries_at_once};
use crate::{DropMask, dropout, pool};

/// What comes into the backward pass, and where its results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slopes {
    /// Of the result, `[batch, heads, queries, d_value]`.
    pub out: Heads<f32>,
    /// What the forward pass left, `[batch, heads, queries]`.
    pub kept: Heads<Kept>,
    /// `[batch, queries, heads, d]`.
    pub query: *mut f32,
    /// `[batch, keys, key heads, d]`.
    pub key: *mut f32,
    /// `[batch, keys, key heads, d_value]`.
    pub value: *mut f32,
    /// `[batch, heads, queries, keys]`, or a single such row for the whole batch: zeros, to which is added. Null if
    /// nobody asks.
    pub bias: *mut f32,
    /// Whether the bias has one row for the whole batch.
    pub one_bias: bool,
}

// SAFETY: threads write different parts; the rest nobody writes.
unsafe impl Sync for Slopes {}
// SAFETY: as above.
unsafe impl Send for Slopes {}

/// The slopes of queries, keys, values and bias, on all threads.
///
/// # Safety
///
/// That of [`attention_forward`](super::attention_forward), with the same arguments; results have room, and overlap
/// nothing.
pub(crate) unsafe fn attention_backward(
    level: Level,
    sizes: Sizes,
    inputs: Inputs,
    dropout: Option<DropMask>,
    slopes: Slopes,
) {
    let shape = Shape {
        sizes,
        inputs,
        dropout,
    };
    let Sizes { batch, heads, .. } = sizes;
    // One thread adds up all that goes to one place: for a bias of the whole batch that is a head.
    let together = !slopes.bias.is_null() && slopes.one_bias;
    let rows = if together { batch } else { 1 };
    let each = |work: &(dyn Fn(usize, usize) + Sync)| {
        pool::run(heads * batch / rows, |i| {
            for row in 0..rows {
                work(i / heads + row, i % heads);
            }
        });
    };
    let head = Head {
        level,
        shape,
        slopes,
    };
    if sizes.key_heads == heads {
        return each(&|batch, number| {
            scratch(head.sums(), |sums| {
                // SAFETY: the caller's promise; tasks write different rows or heads.
                unsafe {
                    head.run(batch, number, sums);
                    head.write(batch, number, sums);
                }
            });
        });
    }
    // Heads that share keys leave their sums, which are then added in order.
    let group = heads / sizes.key_heads;
    let mut all = vec![0.0f32; batch * heads * head.sums()];
    let all = Target {
        data: all.as_mut_ptr(),
        row: head.sums(),
    };
    // SAFETY: as above; `all` lives until here.
    unsafe {
        each(&|batch, number| head.run(batch, number, all.at(batch * heads + number, 0)));
        pool::run(batch * sizes.key_heads, |i| {
            let (batch, key_head) = (i / sizes.key_heads, i % sizes.key_heads);
            let first = batch * heads + key_head * group;
            let sums = std::slice::from_raw_parts_mut(all.at(first, 0), all.row);
            for other in 1..group {
                let other = std::slice::from_raw_parts(all.at(first + other, 0), all.row);
                for (sum, value) in sums.iter_mut().zip(other) {
                    *sum += value;
                }
            }
            head.write(batch, key_head, sums.as_ptr());
        });
    }
}

/// The work on one row and head after another.
#[derive(Clone, Copy)]
struct Head {
    level: Level,
    shape: Shape,
    slopes: Slopes,
}

impl Head {
    /// Values of the slopes of the keys and values of one head.
    fn sums(&self) -> usize {
        let Sizes {
            keys, d, d_value, ..
        } = self.shape.sizes;
        keys * (d + d_value)
    }

    /// Writes the slopes of the queries of a head, and those of its keys and values, `[d, keys]` and `[d_value, keys]`,
    /// to `sums`.
    unsafe fn run(&self, batch: usize, head: usize, sums: *mut f32) {
        let Sizes { queries, keys, .. } = self.shape.sizes;
        let step = queries_at_once(keys);
        let blocks = queries.div_ceil(step);
        // The last block sees every key, so its slopes are the first sums.
        for block in (0..blocks).rev() {
            let first = block * step;
            let rows = step.min(queries - first);
            let place = [batch, head, first];
            unsafe { self.block(place, rows, block + 1 == blocks, sums) };
        }
    }

    unsafe fn block(
        &self,
        place @ [batch, head, first]: [usize; 3],
        rows: usize,
        begins: bool,
        sums: *mut f32,
    ) {
        let Self {
            level,
            shape,
            slopes,
        } = *self;
        let Sizes {
            keys: all,
            d,
            d_value,
            heads,
            queries,
            ..
        } = shape.sizes;
        let keys = shape.reach(first + rows - 1);
        let to_query = Target {
            data: unsafe {
                let row = (batch * queries + first) * heads + head;
                slopes.query.add(row * d)
            },
            row: heads * d,
        };
        if keys == 0 {
            for row in 0..rows {
                unsafe { std::slice::from_raw_parts_mut(to_query.at(row, 0), d).fill(0.0) };
            }
            return;
        }
        let key_head = shape.key_head(head);
        scratch(rows * 2 * keys, |room| unsafe {
            let weights = Target {
                data: room,
                row: keys,
            };
            let scores = weights.from(rows, 0);
            let out = matrix(slopes.out, [batch, head, first]);
            shape.scores(level, place, [rows, keys], weights);
            let value = matrix(shape.inputs.value, [batch, key_head, 0]);
            product_alone(
                level,
                [rows, keys, d_value],
                out,
                turn(value),
                scores,
                false,
            );
            for row in 0..rows {
                let place = [batch, head, first + row];
                self.row(place, keys, weights.at(row, 0), scores.at(row, 0));
            }
            let key = matrix(shape.inputs.key, [batch, key_head, 0]);
            let scores = read(scores, keys);
            product_alone(level, [rows, d, keys], scores, key, to_query, false);
            let query = matrix(shape.inputs.query, [batch, head, first]);
            let key_sums = sums;
            let value_sums = sums.add(d * all);
            for (left, depth, right, sums) in [
                (query, d, scores, key_sums),
                (out, d_value, read(weights, keys), value_sums),
            ] {
                let sums = Target {
                    data: sums,
                    row: all,
                };
                product_alone(level, [depth, keys, rows], turn(left), right, sums, !begins);
            }
        });
    }

    /// Scores of a query and slopes of its weights to weights, and slopes of its scores.
    unsafe fn row(&self, place: [usize; 3], keys: usize, weights: *mut f32, scores: *mut f32) {
        let Self {
            level,
            shape,
            slopes,
        } = *self;
        let [batch, head, query] = place;
        let Sizes {
            keys: all,
            heads,
            queries,
            ..
        } = shape.sizes;
        let inputs = shape.inputs;
        unsafe {
            let kept = *slopes.kept.at(batch, head, query);
            if kept.inverse == 0.0 {
                let weights = std::slice::from_raw_parts_mut(weights, keys);
                weights.fill(0.0);
                // Its scores count for nothing, whatever it looks at.
                std::slice::from_raw_parts_mut(scores, keys).fill(0.0);
                return super::drop_weights(level, &shape, place, true, weights);
            }
            let seen = shape.seen(query).min(keys);
            for row in [weights, scores] {
                std::slice::from_raw_parts_mut(row.add(seen), keys - seen).fill(0.0);
            }
            let bias = Shape::row(inputs.bias, place);
            let hidden = Shape::row(inputs.hidden, place);
            recall(level, weights, seen, inputs.scale, bias, hidden, kept);
            let bias = match slopes.bias.is_null() {
                true => slopes.bias,
                false => {
                    let batch = if slopes.one_bias { 0 } else { batch };
                    let row = (batch * heads + head) * queries + query;
                    slopes.bias.add(row * all)
                }
            };
            let slope = |factors| slope(level, weights, scores, factors, bias, seen, inputs.scale);
            match shape.dropout {
                None => slope(std::ptr::null()),
                Some(mask) => scratch(seen, |factors| {
                    dropout::fill(level, mask, shape.first_weight(place), seen, factors);
                    slope(factors);
                }),
            }
        }
    }

    /// The sums of [`run`](Self::run) of a head of keys to where they belong.
    unsafe fn write(&self, batch: usize, key_head: usize, sums: *const f32) {
        let Sizes {
            keys,
            key_heads,
            d,
            d_value,
            ..
        } = self.shape.sizes;
        let row = batch * keys * key_heads + key_head;
        unsafe {
            for (sums, depth, to) in [
                (sums, d, self.slopes.key),
                (sums.add(d * keys), d_value, self.slopes.value),
            ] {
                let (to, to_row) = (to.add(row * depth), key_heads * depth);
                transpose(self.level, depth, keys, sums, keys as isize, to, to_row);
            }
        }
    }
}

/// The rows of a head from a place on.
unsafe fn matrix(of: Heads<f32>, [batch, head, row]: [usize; 3]) -> Matrix {
    Matrix {
        data: unsafe { of.at(batch, head, row) },
        row: of.strides[2],
        column: 1,
    }
}

fn turn(of: Matrix) -> Matrix {
    Matrix {
        row: of.column,
        column: of.row,
        ..of
    }
}

/// A result as what is read.
fn read(of: Target, row: usize) -> Matrix {
    Matrix {
        data: of.data,
        row: row as isize,
        column: 1,
    }
}
