//! The blocks themselves, in the memory of the CPU.

use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Device, Tensor};
use half::f16;
use half::slice::HalfFloatSliceExt;

use super::Look;
use crate::float::attention::{Heads, Part, RowOf, Shared, Vectors, attention_of_rows};
use crate::float::product::Target;
use crate::float::simd::Level;
use crate::fused::flex::{count, filled, heads_of, primitive, with_rows};

/// A row grows by this many positions; a block is as long as what is appended at once, rounded up to it. Rows that part
/// copy less than this.
const BLOCK: usize = 32;

/// Keys and values of the positions of some rows, for one attention layer.
#[derive(Debug, Clone)]
pub struct Blocks {
    sizes: Sizes,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    key_heads: usize,
    d: usize,
    /// Whether f16 is kept.
    half: bool,
}

#[derive(Debug, Clone, Default)]
struct Row {
    blocks: Vec<Filled>,
    len: usize,
}

/// A block and how many of its positions are this row's.
#[derive(Debug, Clone)]
struct Filled {
    block: Arc<Block>,
    len: usize,
}

/// Keys `[key heads, capacity, d]`, then values in the same order.
#[derive(Debug)]
struct Block {
    values: Values,
    capacity: usize,
}

#[derive(Debug)]
enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl Block {
    fn new(sizes: Sizes, capacity: usize) -> Self {
        let len = count([2, sizes.key_heads, capacity, sizes.d]);
        let values = match sizes.half {
            true => Values::F16(crate::host::on_huge_pages(len, f16::ZERO)),
            false => Values::F32(crate::host::on_huge_pages(len, 0.0)),
        };
        Self { values, capacity }
    }

    /// Its first `len` positions, with room for a block.
    fn copy(&self, sizes: Sizes, len: usize) -> Self {
        let mut copy = Self::new(sizes, BLOCK.max(len));
        let row = |capacity| capacity * sizes.d;
        let (from, to) = (row(self.capacity), row(copy.capacity));
        match (&self.values, &mut copy.values) {
            (Values::F32(old), Values::F32(new)) => {
                copy_starts(old.chunks_exact(from), new.chunks_exact_mut(to), row(len));
            }
            (Values::F16(old), Values::F16(new)) => {
                copy_starts(old.chunks_exact(from), new.chunks_exact_mut(to), row(len));
            }
            _ => unreachable!("blocks of one row have one type"),
        }
        copy
    }

    /// Takes the keys or values (`which`) of one head at `positions`, from `first` on of what is to be appended.
    ///
    /// # Safety
    ///
    /// There must be so many positions.
    unsafe fn put(
        &mut self,
        sizes: Sizes,
        [which, head]: [usize; 2],
        positions: std::ops::Range<usize>,
        from: Heads<f32>,
        first: usize,
    ) {
        let d = sizes.d;
        let start = (which * sizes.key_heads + head) * self.capacity;
        for (at, position) in positions.enumerate() {
            let place = (start + position) * d..(start + position + 1) * d;
            // SAFETY: the caller's promise.
            let new = unsafe { std::slice::from_raw_parts(from.at(0, head, first + at), d) };
            match &mut self.values {
                Values::F32(values) => values[place].copy_from_slice(new),
                Values::F16(values) => narrow(new, &mut values[place]),
            }
        }
    }

    fn part(&self, len: usize) -> Part {
        Part {
            data: match &self.values {
                Values::F32(values) => Vectors::F32(values.as_ptr()),
                Values::F16(values) => Vectors::F16(values.as_ptr()),
            },
            capacity: self.capacity,
            len,
        }
    }
}

fn copy_starts<'a, T: Copy + 'a>(
    from: impl Iterator<Item = &'a [T]>,
    to: impl Iterator<Item = &'a mut [T]>,
    len: usize,
) {
    for (from, to) in from.zip(to) {
        to[..len].copy_from_slice(&from[..len]);
    }
}

/// f32 to f16. What is finite stays so: beyond the largest half it becomes that.
fn narrow(from: &[f32], to: &mut [f16]) {
    let mut some = [0.0; 64];
    for (from, to) in from.chunks(some.len()).zip(to.chunks_mut(some.len())) {
        let some = &mut some[..from.len()];
        for (some, &value) in some.iter_mut().zip(from) {
            let near = value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32());
            *some = if value.is_finite() { near } else { value };
        }
        to.convert_from_f32_slice(some);
    }
}

impl Row {
    /// Makes room at the end for some of `wanted` positions that no other row sees, and says for how many.
    fn room(&mut self, sizes: Sizes, wanted: usize) -> usize {
        if let Some(last) = self.blocks.last_mut() {
            let free = last.block.capacity - last.len;
            if free > 0 && Arc::get_mut(&mut last.block).is_none() && last.len < BLOCK {
                last.block = Arc::new(last.block.copy(sizes, last.len));
            }
            if free > 0 && Arc::get_mut(&mut last.block).is_some() {
                return (last.block.capacity - last.len).min(wanted);
            }
        }
        let block = Block::new(sizes, wanted.next_multiple_of(BLOCK));
        self.blocks.push(Filled {
            block: Arc::new(block),
            len: 0,
        });
        wanted
    }

    /// Appends `count` positions that begin at `first` of keys and values `[1, key heads, positions, d]`.
    ///
    /// # Safety
    ///
    /// There must be so many positions.
    unsafe fn append(&mut self, sizes: Sizes, first: usize, count: usize, from: [Heads<f32>; 2]) {
        let mut done = 0;
        while done < count {
            let room = self.room(sizes, count - done);
            let Some((filled, block)) = self.blocks.last_mut().and_then(|last| {
                let block = Arc::get_mut(&mut last.block)?;
                Some((&mut last.len, block))
            }) else {
                return;
            };
            for (which, from) in from.into_iter().enumerate() {
                for head in 0..sizes.key_heads {
                    let positions = *filled..*filled + room;
                    // SAFETY: the caller's promise.
                    unsafe { block.put(sizes, [which, head], positions, from, first + done) };
                }
            }
            *filled += room;
            done += room;
        }
        self.len += count;
    }
}

impl Blocks {
    /// No rows yet, of `key_heads` heads of `d` values, kept in f16 if `half` says so, and in f32 otherwise; `None`
    /// unless the device is Burn's CPU backend, the type of the tensors f32 and no gradient flows.
    ///
    /// # Panics
    ///
    /// When one block would be larger than memory can be.
    #[must_use]
    pub fn new(
        device: &Device,
        dtype: DType,
        key_heads: usize,
        d: usize,
        half: bool,
    ) -> Option<Self> {
        if count([2, key_heads, BLOCK, d]) == 0 {
            return None;
        }
        primitive(&Tensor::<1>::zeros([1], (device, dtype)))?;
        Some(Self {
            sizes: Sizes { key_heads, d, half },
            rows: Vec::new(),
        })
    }

    /// Adds empty rows.
    pub fn add_rows(&mut self, count: usize) {
        self.rows.extend(std::iter::repeat_n(Row::default(), count));
    }

    /// Appends `counts[row]` positions to each row, from keys and values `[1, key heads, positions, d]` that hold those
    /// of the first row, then those of the second, and so on.
    ///
    /// # Panics
    ///
    /// Where the shapes do not fit, or the tensors are not as promised to [`new`](Self::new).
    pub fn append(&mut self, counts: &[usize], key: &Tensor<4>, value: &Tensor<4>) {
        let total = sum(counts);
        let shape = [1, self.sizes.key_heads, total, self.sizes.d];
        assert!(
            counts.len() == self.rows.len() && key.dims() == shape && value.dims() == shape,
            "new keys and values of the rows"
        );
        if count(shape) == 0 {
            return;
        }
        let (key, value) = (memory(key), memory(value));
        let from = [heads_of(&key, shape), heads_of(&value, shape)];
        let mut first = 0;
        for (row, &count) in self.rows.iter_mut().zip(counts) {
            // SAFETY: the tensors have the positions of all rows.
            unsafe { row.append(self.sizes, first, count, from) };
            first += count;
        }
    }

    /// `softmax(q k^T * scale + bias) v` of each row's queries with its own keys: `counts[row]` queries of each row one
    /// after another, `[1, heads, queries, d]` to the same shape. The result lies in memory as
    /// `[1, queries, heads, d]`.
    ///
    /// # Panics
    ///
    /// As [`append`](Self::append).
    #[must_use]
    pub fn attend(&self, counts: &[usize], query: &Tensor<4>, look: Look<'_>) -> Tensor<4> {
        let shape @ [_, heads, total, d] = query.dims();
        let key_heads = self.sizes.key_heads;
        assert!(
            counts.len() == self.rows.len()
                && shape == [1, heads, sum(counts), self.sizes.d]
                && heads % key_heads == 0,
            "queries of the rows"
        );
        let longest = self.rows.iter().map(|row| row.len).max();
        // The scores of all heads of a query may be held at once.
        count([heads, longest.unwrap_or(0)]);
        let query = memory(query);
        let bias = look.bias.map(|bias| {
            let shape @ [one, bias_heads, queries, len] = bias.dims();
            assert!(
                [one, bias_heads, queries] == [1, heads, 1]
                    && longest <= Some(len)
                    && counts.iter().all(|&count| count <= 1),
                "a bias for one query of each row"
            );
            (memory(bias), shape)
        });
        let mut first = 0;
        let mut rows = Vec::with_capacity(counts.len());
        for (row, &queries) in self.rows.iter().zip(counts) {
            rows.push(RowOf {
                first,
                queries,
                keys: row.len,
                parts: &row.blocks,
            });
            first += queries;
        }
        let shared = Shared {
            heads,
            key_heads,
            d,
            query: heads_of(&query, shape),
            bias: bias
                .as_ref()
                .map(|(bias, shape)| (heads_of(bias, *shape), shape[3])),
            causal: look.causal,
            window: look.window.unwrap_or(usize::MAX),
            scale: look.scale as f32,
        };
        let part = |filled: &Filled| filled.block.part(filled.len);
        let y = filled([1, total, heads, d], |out| {
            let out = Target { data: out, row: 0 };
            // SAFETY: the sizes are those of the tensors and blocks, which live until here.
            unsafe { attention_of_rows(Level::best(), shared, &rows, part, out) };
        });
        y.swap_dims(1, 2)
    }

    /// Keeps the given rows, in this order. Nothing is copied: a row that comes twice shares its blocks.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    pub fn select(&mut self, rows: &[usize]) {
        let mut uses = vec![0; self.rows.len()];
        rows.iter().for_each(|&row| uses[row] += 1);
        let kept = rows.iter().map(|&row| {
            uses[row] -= 1;
            // The last use takes the row itself, so that it owns its blocks again.
            match uses[row] {
                0 => std::mem::take(&mut self.rows[row]),
                _ => self.rows[row].clone(),
            }
        });
        self.rows = kept.collect();
    }

    /// Whether the rows of another one are of the same heads and sizes, so that [`merge`](Self::merge) takes them.
    #[must_use]
    pub fn fits(&self, other: &Self) -> bool {
        self.sizes == other.sizes
    }

    /// Appends the rows of another one.
    ///
    /// # Panics
    ///
    /// Unless the other one [`fits`](Self::fits): of other heads, or kept in another type.
    pub fn merge(&mut self, other: Self) {
        assert!(
            self.fits(&other),
            "rows of {:?} cannot join those of {:?}",
            other.sizes,
            self.sizes
        );
        self.rows.extend(other.rows);
    }
}

/// Of the counts of rows.
fn sum(counts: &[usize]) -> usize {
    let sum = counts
        .iter()
        .try_fold(0usize, |sum, &count| sum.checked_add(count));
    sum.expect("as many positions as memory can hold")
}

/// The memory of a tensor, its rows one value after another.
fn memory(tensor: &Tensor<4>) -> FlexTensor {
    let tensor = tensor.clone();
    match tensor.try_into_primitive::<Flex>() {
        Ok(tensor) if tensor.dtype() == DType::F32 => with_rows(tensor),
        _ => panic!("blocks take f32 tensors of the CPU"),
    }
}

#[cfg(test)]
mod tests;
