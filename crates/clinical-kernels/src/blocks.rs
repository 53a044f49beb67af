//! Keys and values of rows of any lengths, in blocks that rows can share.
//!
//! Only for f32 tensors of the CPU; [`Blocks::new`] gives `None` elsewhere. A row is a list of blocks. Appending to one row
//! touches no other; a copy of a row shares its blocks until one of the two appends, and then only the unfinished block at its
//! end is copied (paged attention, Kwon et al. 2023, with blocks of any size).

#[cfg(feature = "flex")]
pub use shared::Blocks;

/// What the queries of a pass look at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// A row's last query sees its last key, the one before it all but the last, and so on.
    pub causal: bool,
    /// How many keys a query sees at most, itself included.
    pub window: Option<usize>,
    /// `[1, heads, 1, n]`, added to the scaled scores of rows with one query: the last entry belongs to a row's last key.
    /// `n` is no less than the longest row.
    pub bias: Option<&'a burn::tensor::Tensor<4>>,
    /// Factor of the scores.
    pub scale: f64,
}

#[cfg(feature = "flex")]
mod shared {
    use std::sync::Arc;

    use burn::backend::Flex;
    use burn::backend::flex::FlexTensor;
    use burn::tensor::{DType, Device, Tensor};

    use super::Look;
    use crate::float::attention::{Heads, Part, RowOf, Shared, attention_of_rows};
    use crate::float::product::Target;
    use crate::float::simd::Level;
    use crate::fused::flex::{filled, heads_of, primitive, with_rows};

    /// A row grows by this many positions; a block is as long as what is appended at once, rounded up to it. Rows that part
    /// copy less than this.
    const BLOCK: usize = 32;

    /// Keys and values of the positions of some rows, for one attention layer.
    #[derive(Debug, Clone)]
    pub struct Blocks {
        key_heads: usize,
        d: usize,
        rows: Vec<Row>,
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
        values: Vec<f32>,
        capacity: usize,
    }

    impl Block {
        fn new(heads: usize, d: usize, capacity: usize) -> Self {
            Self {
                values: vec![0.0; 2 * heads * capacity * d],
                capacity,
            }
        }

        /// Its first `len` positions, with room for a block.
        fn copy(&self, heads: usize, d: usize, len: usize) -> Self {
            let mut copy = Self::new(heads, d, BLOCK.max(len));
            let to = copy.values.chunks_exact_mut(copy.capacity * d);
            for (from, to) in self.values.chunks_exact(self.capacity * d).zip(to) {
                to[..len * d].copy_from_slice(&from[..len * d]);
            }
            copy
        }
    }

    impl Row {
        /// Makes room at the end for some of `wanted` positions that no other row sees, and says for how many.
        fn room(&mut self, heads: usize, d: usize, wanted: usize) -> usize {
            if let Some(last) = self.blocks.last_mut() {
                let free = last.block.capacity - last.len;
                if free > 0 && Arc::get_mut(&mut last.block).is_none() && last.len < BLOCK {
                    last.block = Arc::new(last.block.copy(heads, d, last.len));
                }
                if free > 0 && Arc::get_mut(&mut last.block).is_some() {
                    return (last.block.capacity - last.len).min(wanted);
                }
            }
            let block = Block::new(heads, d, wanted.next_multiple_of(BLOCK));
            self.blocks.push(Filled {
                block: Arc::new(block),
                len: 0,
            });
            wanted
        }

        /// Appends `count` positions that begin at `first` of keys and values `[1, key heads, positions, d]`.
        fn append(
            &mut self,
            heads: usize,
            d: usize,
            first: usize,
            count: usize,
            from: [Heads<f32>; 2],
        ) {
            let mut done = 0;
            while done < count {
                let room = self.room(heads, d, count - done);
                let Some((filled, block)) = self.blocks.last_mut().and_then(|last| {
                    let block = Arc::get_mut(&mut last.block)?;
                    Some((&mut last.len, block))
                }) else {
                    return;
                };
                let mut to = block.values.chunks_exact_mut(block.capacity * d);
                for from in from {
                    for (head, to) in to.by_ref().take(heads).enumerate() {
                        let to = &mut to[*filled * d..(*filled + room) * d];
                        // SAFETY: the caller has checked the sizes of the tensor.
                        unsafe { copy_rows(from, head, first + done, d, to) };
                    }
                }
                *filled += room;
                done += room;
            }
            self.len += count;
        }
    }

    /// Copies positions from `first` on of one head.
    unsafe fn copy_rows(from: Heads<f32>, head: usize, first: usize, d: usize, to: &mut [f32]) {
        let start = unsafe { from.at(0, head, first) };
        if from.strides[2] == d as isize {
            to.copy_from_slice(unsafe { std::slice::from_raw_parts(start, to.len()) });
            return;
        }
        for (position, to) in to.chunks_exact_mut(d).enumerate() {
            let row = start.wrapping_offset(position as isize * from.strides[2]);
            to.copy_from_slice(unsafe { std::slice::from_raw_parts(row, d) });
        }
    }

    impl Blocks {
        /// No rows yet, of `key_heads` heads of `d` values; `None` unless the device is Burn's CPU backend, the type f32 and
        /// no gradient flows.
        #[must_use]
        pub fn new(device: &Device, dtype: DType, key_heads: usize, d: usize) -> Option<Self> {
            if key_heads * d == 0 {
                return None;
            }
            primitive(&Tensor::<1>::zeros([1], (device, dtype)))?;
            Some(Self {
                key_heads,
                d,
                rows: Vec::new(),
            })
        }

        /// Adds empty rows.
        pub fn add_rows(&mut self, count: usize) {
            self.rows.extend(std::iter::repeat_n(Row::default(), count));
        }

        /// Appends `counts[row]` positions to each row, from keys and values `[1, key heads, positions, d]` that hold those of
        /// the first row, then those of the second, and so on.
        ///
        /// # Panics
        ///
        /// Where the shapes do not fit, or the tensors are not as promised to [`new`](Self::new).
        pub fn append(&mut self, counts: &[usize], key: &Tensor<4>, value: &Tensor<4>) {
            let total = counts.iter().sum();
            let shape = [1, self.key_heads, total, self.d];
            assert!(
                counts.len() == self.rows.len() && key.dims() == shape && value.dims() == shape,
                "new keys and values of the rows"
            );
            if total == 0 {
                return;
            }
            let (key, value) = (memory(key), memory(value));
            let from = [heads_of(&key, shape), heads_of(&value, shape)];
            let mut first = 0;
            for (row, &count) in self.rows.iter_mut().zip(counts) {
                row.append(self.key_heads, self.d, first, count, from);
                first += count;
            }
        }

        /// `softmax(q k^T * scale + bias) v` of each row's queries with its own keys: `counts[row]` queries of each row one
        /// after another, `[1, heads, queries, d]` to the same shape. The result lies in memory as `[1, queries, heads, d]`.
        ///
        /// # Panics
        ///
        /// As [`append`](Self::append).
        #[must_use]
        pub fn attend(&self, counts: &[usize], query: &Tensor<4>, look: Look<'_>) -> Tensor<4> {
            let shape @ [_, heads, total, d] = query.dims();
            assert!(
                counts.len() == self.rows.len()
                    && shape == [1, heads, counts.iter().sum(), self.d]
                    && heads % self.key_heads == 0,
                "queries of the rows"
            );
            let query = memory(query);
            let bias = look.bias.map(|bias| {
                let shape @ [one, bias_heads, queries, len] = bias.dims();
                let longest = self.rows.iter().map(|row| row.len).max();
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
                key_heads: self.key_heads,
                d,
                query: heads_of(&query, shape),
                bias: bias
                    .as_ref()
                    .map(|(bias, shape)| (heads_of(bias, *shape), shape[3])),
                causal: look.causal,
                window: look.window.unwrap_or(usize::MAX),
                scale: look.scale as f32,
            };
            let part = |filled: &Filled| Part {
                data: filled.block.values.as_ptr(),
                capacity: filled.block.capacity,
                len: filled.len,
            };
            let y = filled([1, total, heads, d], |out| {
                let out = Target { data: out, row: 0 };
                // SAFETY: the sizes are those of the tensors and blocks, which live until here.
                unsafe { attention_of_rows(Level::best(), shared, &rows, part, out) };
            });
            y.swap_dims(1, 2)
        }

        /// Keeps the given rows, in this order. Nothing is copied: a row that comes twice shares its blocks.
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

        /// Appends the rows of another one of the same heads and sizes.
        pub fn merge(&mut self, other: Self) {
            debug_assert_eq!((self.key_heads, self.d), (other.key_heads, other.d));
            self.rows.extend(other.rows);
        }
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
    mod tests {
        use super::*;

        fn read(blocks: &mut Blocks, counts: &[usize]) {
            let total = counts.iter().sum();
            let new = Tensor::<4>::ones([1, 2, total, 4], &crate::cpu());
            blocks.append(counts, &new, &new);
        }

        fn rows(count: usize) -> Blocks {
            let mut blocks = Blocks::new(&crate::cpu(), DType::F32, 2, 4).unwrap();
            blocks.add_rows(count);
            blocks
        }

        fn places(row: &Row) -> Vec<*const Block> {
            row.blocks
                .iter()
                .map(|filled| Arc::as_ptr(&filled.block))
                .collect()
        }

        fn room(row: &Row) -> usize {
            row.blocks.iter().map(|filled| filled.block.capacity).sum()
        }

        #[test]
        fn a_row_grows_without_being_copied() {
            let mut blocks = rows(2);
            read(&mut blocks, &[100, 7]);
            let mut before = blocks.rows.iter().map(places).collect::<Vec<_>>();
            for _ in 0..300 {
                read(&mut blocks, &[1, 1]);
                for (row, before) in blocks.rows.iter().zip(&mut before) {
                    let now = places(row);
                    assert!(now.starts_with(before), "a block has moved");
                    assert!(room(row) < row.len + BLOCK, "{} for {}", room(row), row.len);
                    *before = now;
                }
            }
        }

        #[test]
        fn rows_that_part_copy_only_an_unfinished_block() {
            // The end of a long block stays shared and each row goes on in a block of its own.
            let mut blocks = rows(1);
            read(&mut blocks, &[100]);
            let whole = places(&blocks.rows[0]);
            blocks.select(&[0, 0, 0]);
            read(&mut blocks, &[1, 1, 1]);
            let ends: Vec<_> = blocks.rows.iter().map(|row| places(row)[1]).collect();
            assert!(blocks.rows.iter().all(|row| places(row)[..1] == whole[..]));
            assert!(ends[0] != ends[1] && ends[1] != ends[2] && ends[0] != ends[2]);
            // A short one is copied for all but one.
            read(&mut blocks, &[4, 0, 0]);
            let own = places(&blocks.rows[0])[1];
            blocks.select(&[0, 0]);
            read(&mut blocks, &[1, 1]);
            let ends: Vec<_> = blocks.rows.iter().map(|row| places(row)[1]).collect();
            assert!(ends.contains(&own) && ends[0] != ends[1]);
            assert!(
                blocks
                    .rows
                    .iter()
                    .all(|row| row.len == 106 && room(row) == 160)
            );
            // Rows that are alone again write in place.
            let before = places(&blocks.rows[1]);
            blocks.select(&[1]);
            read(&mut blocks, &[20]);
            assert_eq!(places(&blocks.rows[0]), before);
        }

        #[test]
        fn other_types_and_gradients_have_no_blocks() {
            let device = crate::cpu();
            assert!(Blocks::new(&device, DType::F16, 2, 4).is_none());
            assert!(Blocks::new(&device.clone().autodiff(), DType::F32, 2, 4).is_none());
            assert!(Blocks::new(&device, DType::F32, 0, 4).is_none());
        }
    }
}

/// Never made in this build, which has no kernels.
#[cfg(not(feature = "flex"))]
#[derive(Debug, Clone)]
pub enum Blocks {}

#[cfg(not(feature = "flex"))]
#[allow(missing_docs)]
impl Blocks {
    #[must_use]
    pub fn new(
        _: &burn::tensor::Device,
        _: burn::tensor::DType,
        _: usize,
        _: usize,
    ) -> Option<Self> {
        None
    }

    pub fn add_rows(&mut self, _: usize) {
        match *self {}
    }

    pub fn append(
        &mut self,
        _: &[usize],
        _: &burn::tensor::Tensor<4>,
        _: &burn::tensor::Tensor<4>,
    ) {
        match *self {}
    }

    #[must_use]
    pub fn attend(
        &self,
        _: &[usize],
        _: &burn::tensor::Tensor<4>,
        _: Look<'_>,
    ) -> burn::tensor::Tensor<4> {
        match *self {}
    }

    pub fn select(&mut self, _: &[usize]) {
        match *self {}
    }

    pub fn merge(&mut self, _: Self) {
        match *self {}
    }
}
