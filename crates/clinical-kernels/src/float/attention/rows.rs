//! Attention of rows of different lengths to keys and values that lie in blocks.

use super::super::product::{Matrix, Target, part as even_part};
use super::super::simd::Level;
use super::task::{Run, Sight, Task, Vectors};
use super::{Heads, QUERIES};
use crate::pool;

/// Some positions of a row: keys `[key heads, capacity, d]`, then values in the same order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub data: Vectors,
    pub capacity: usize,
    pub len: usize,
}

/// The queries of one row, and what they look at.
#[derive(Debug, Clone)]
pub(crate) struct RowOf<'a, P> {
    /// The index of its first query among all.
    pub first: usize,
    pub queries: usize,
    /// The sum of the parts' lengths.
    pub keys: usize,
    pub parts: &'a [P],
}

/// What holds for all rows of [`attention_of_rows`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared {
    pub heads: usize,
    pub key_heads: usize,
    pub d: usize,
    /// `[1, heads, all queries, d]`.
    pub query: Heads<f32>,
    /// `[1, heads, 1, keys]` for rows of one query; the given number of values, of which the last belongs to the last
    /// key.
    pub bias: Option<(Heads<f32>, usize)>,
    pub causal: bool,
    /// How many keys a query sees, itself included.
    pub window: usize,
    pub scale: f32,
}

/// Attention of rows of any lengths, each to its own keys, on all threads; `out` is `[all queries, heads, d]`.
///
/// # Safety
///
/// That of [`attention`], for every row that `part` gives the memory of.
pub(crate) unsafe fn attention_of_rows<P: Sync>(
    level: Level,
    shared: Shared,
    rows: &[RowOf<'_, P>],
    part: impl Fn(&P) -> Part + Sync,
    out: Target,
) {
    let Shared {
        heads,
        key_heads,
        d,
        ..
    } = shared;
    let group = heads / key_heads;
    let mut tasks = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let blocks = row.queries.div_ceil(QUERIES);
        let heads = if row.queries == 1 { key_heads } else { heads };
        for block in (0..blocks).rev() {
            let first = even_part(block, blocks, row.queries);
            let end = even_part(block + 1, blocks, row.queries);
            tasks.extend((0..heads).map(|head| (at, head, first, end)));
        }
    }
    pool::run(tasks.len(), |i| {
        let (at, head, first, end) = tasks[i];
        let row = &rows[at];
        let single = row.queries == 1;
        let (head, key_head, count) = match single {
            true => (head * group, head, group),
            false => (head, head / group, end - first),
        };
        // SAFETY: the caller's promise; tasks write different rows or heads.
        unsafe {
            let task = Task {
                rows: count,
                d,
                d_value: d,
                scale: shared.scale,
                query: Matrix {
                    data: shared.query.at(0, head, row.first + first),
                    row: shared.query.strides[if single { 1 } else { 2 }],
                    column: 1,
                },
                out: Target {
                    data: out.from(0, ((row.first + first) * heads + head) * d).data,
                    row: if single { d } else { heads * d },
                },
            };
            let runs = row.parts.iter().map(|of| {
                let Part {
                    data,
                    capacity,
                    len,
                } = part(of);
                let key = data.add(key_head * capacity * d);
                Run {
                    key,
                    key_row: d as isize,
                    value: key.add(key_heads * capacity * d),
                    value_row: d as isize,
                    len,
                }
            });
            let see = |of: usize| {
                let query = if single { 0 } else { first + of };
                let end = match shared.causal {
                    true => (row.keys + query + 1).saturating_sub(row.queries),
                    false => row.keys,
                };
                let bias = match shared.bias {
                    Some((bias, len)) => bias.at(0, head + of, 0).add(len - row.keys),
                    None => std::ptr::null(),
                };
                Sight {
                    keys: end.saturating_sub(shared.window)..end,
                    bias,
                    hidden: std::ptr::null(),
                }
            };
            task.run(level, runs, see);
        }
    });
}
