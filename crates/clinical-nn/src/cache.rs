//! Keys and values of the positions read so far.

use burn::tensor::{Int, Tensor, TensorCreationOptions, TensorData};

/// Positions are allocated in blocks of this many: a long answer grows the cache a few times, not once a token.
const BLOCK: usize = 256;

/// Free positions that stay behind the filled ones when rows leave or join, which copies the rest.
const SPARE: usize = 64;

/// The keys and values of one attention layer, `[batch, heads, capacity, d]` each, of which the first [`len`](Self::len)
/// positions are filled.
///
/// New positions are written in place. When the capacity is used up it grows by half, at least a block, so that over an
/// answer of any length a position is copied twice on average and never once a token.
#[derive(Debug, Clone)]
pub struct KvCache {
    key: Tensor<4>,
    value: Tensor<4>,
    len: usize,
}

impl KvCache {
    /// An empty cache with room for `capacity` positions, on a device or with `(&device, dtype)`; the type must be that
    /// of the keys to come.
    #[must_use]
    pub fn new(
        batch: usize,
        heads: usize,
        d: usize,
        capacity: usize,
        options: impl Into<TensorCreationOptions>,
    ) -> Self {
        let shape = [batch, heads, capacity.max(1), d];
        let options = options.into();
        Self {
            key: Tensor::zeros(shape, options.clone()),
            value: Tensor::zeros(shape, options),
            len: 0,
        }
    }

    /// The number of filled positions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The number of positions that there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.key.dims()[2]
    }

    /// Whether nothing has been read yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `[batch, heads, new, d]` keys and values and returns all filled ones, `[batch, heads, len, d]`.
    #[must_use]
    pub fn append(&mut self, key: Tensor<4>, value: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let [batch, heads, new, _] = key.dims();
        let end = self.len + new;
        self.reserve(end);
        let start = self.len;
        self.key
            .inplace(|all| all.slice_assign([0..batch, 0..heads, start..end], key));
        self.value
            .inplace(|all| all.slice_assign([0..batch, 0..heads, start..end], value));
        self.len = end;
        self.filled()
    }

    /// Keys and values of the filled positions, `[batch, heads, len, d]`.
    #[must_use]
    pub fn filled(&self) -> (Tensor<4>, Tensor<4>) {
        (
            self.key.clone().narrow(2, 0, self.len),
            self.value.clone().narrow(2, 0, self.len),
        )
    }

    /// Keeps the given rows of the batch, in this order; a row may come several times (beam search) or not at all
    /// (finished rows).
    pub fn select(&mut self, rows: &[usize]) {
        self.select_last(rows, self.len);
    }

    /// [`select`](Self::select), and forgets all but the last `positions` filled ones. What is copied is these, and free
    /// room for a few more.
    pub fn select_last(&mut self, rows: &[usize], positions: usize) {
        let device = self.key.device();
        let [batch, heads, capacity, d] = self.key.dims();
        let end = capacity.min(self.len + SPARE);
        // There is always one slot, filled or not.
        let start = (self.len - positions).min(end - 1);
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let count = rows.len();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &device);
        let keep = |all: Tensor<4>| {
            all.slice([0..batch, 0..heads, start..end, 0..d])
                .select(0, rows.clone())
        };
        self.key.inplace(keep);
        self.value.inplace(keep);
        self.len = positions;
    }

    /// [`select`](Self::select) for as many rows as before, of which each is the same as the one that lay there up to the
    /// last `differing` positions (beam search): only those are copied, in place.
    pub fn reorder(&mut self, rows: &[usize], differing: usize) {
        let device = self.key.device();
        let differing = differing.min(self.len);
        let [batch, heads, _, d] = self.key.dims();
        debug_assert_eq!(rows.len(), batch, "the number of rows stays");
        if differing == 0 {
            return;
        }
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [batch]), &device);
        let tail = [0..batch, 0..heads, self.len - differing..self.len, 0..d];
        let move_tail = |all: Tensor<4>| {
            let moved = all.clone().slice(tail.clone()).select(0, rows.clone());
            all.slice_assign(tail.clone(), moved)
        };
        self.key.inplace(move_tail);
        self.value.inplace(move_tail);
    }

    /// Moves each row's first `lengths[row]` positions to the end of the filled ones, so that rows of different lengths,
    /// read with padding on the right, go on side by side with their gaps in front.
    pub fn align_right(&mut self, lengths: &[usize]) {
        let len = self.len;
        let shift = |all: Tensor<4>| {
            let [_, heads, _, d] = all.dims();
            let mut moved = Tensor::zeros(all.dims(), (&all.device(), all.dtype()));
            for (row, &length) in lengths.iter().enumerate() {
                let row = row..row + 1;
                let filled = all.clone().slice([row.clone(), 0..heads, 0..length, 0..d]);
                moved = moved.slice_assign([row, 0..heads, len - length..len, 0..d], filled);
            }
            moved
        };
        self.key.inplace(shift);
        self.value.inplace(shift);
    }

    /// Appends the rows of another cache of the same heads, sizes and type. Both end at the same position; the shorter
    /// one has a gap of zeros in front.
    pub fn merge(&mut self, other: Self) {
        let [rows, heads, _, d] = self.key.dims();
        let [more, ..] = other.key.dims();
        let len = self.len.max(other.len);
        let (start, other_start) = (len - self.len, len - other.len);
        let shape = [rows + more, heads, len + SPARE, d];
        let join = |first: Tensor<4>, second: Tensor<4>| {
            Tensor::zeros(shape, (&first.device(), first.dtype()))
                .slice_assign([0..rows, 0..heads, start..len, 0..d], first)
                .slice_assign(
                    [rows..rows + more, 0..heads, other_start..len, 0..d],
                    second,
                )
        };
        let (key, value) = self.filled();
        let (other_key, other_value) = other.filled();
        self.key = join(key, other_key);
        self.value = join(value, other_value);
        self.len = len;
    }

    /// Makes room for `wanted` positions in all.
    fn reserve(&mut self, wanted: usize) {
        let [batch, heads, capacity, d] = self.key.dims();
        if wanted <= capacity {
            return;
        }
        let grown = wanted.max(capacity + (capacity / 2).max(BLOCK));
        let device = self.key.device();
        let dtype = self.key.dtype();
        let len = self.len;
        let grow = |all: Tensor<4>| {
            let new = Tensor::zeros([batch, heads, grown, d], (&device, dtype));
            if len == 0 {
                return new;
            }
            new.slice_assign([0..batch, 0..heads, 0..len], all.narrow(2, 0, len))
        };
        self.key.inplace(grow);
        self.value.inplace(grow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    fn step(start: usize, len: usize, device: &Device) -> Tensor<4> {
        let values: Vec<f32> = (0..2 * 3 * len * 4)
            .map(|i| (start * 1000 + i) as f32)
            .collect();
        Tensor::from_data(TensorData::new(values, [2, 3, len, 4]), device)
    }

    #[test]
    fn grows_without_losing_anything() {
        let device = clinical_kernels::cpu();
        let mut cache = KvCache::new(2, 3, 4, 2, &device);
        let mut parts = Vec::new();
        for (start, len) in [(0, 2), (1, 1), (2, 300), (3, 1)] {
            let part = step(start, len, &device);
            parts.push(part.clone());
            let (key, value) = cache.append(part.clone(), part.neg());
            let all = Tensor::cat(parts.clone(), 2);
            key.into_data().assert_eq(&all.clone().into_data(), true);
            value.into_data().assert_eq(&all.neg().into_data(), true);
        }
        assert_eq!(cache.len(), 304);
    }

    #[test]
    fn a_long_answer_grows_the_cache_a_few_times() {
        let device = clinical_kernels::cpu();
        let mut cache = KvCache::new(1, 1, 1, 300, &device);
        let one = Tensor::<4>::zeros([1, 1, 1, 1], &device);
        let (mut growths, mut copied) = (0, 0);
        for len in 0..4096 {
            let before = cache.capacity();
            let _ = cache.append(one.clone(), one.clone());
            if cache.capacity() > before {
                growths += 1;
                copied += len;
            }
        }
        assert!(growths <= 7, "{growths}");
        assert!(copied <= 2 * 4096, "{copied} positions copied");
        assert!(cache.capacity() <= 4096 * 3 / 2);
    }

    #[test]
    fn selects_rows_in_any_order() {
        let device = clinical_kernels::cpu();
        let mut cache = KvCache::new(2, 3, 4, 8, &device);
        let part = Tensor::<4>::random([2, 3, 5, 4], Distribution::Default, &device);
        let _ = cache.append(part.clone(), part.clone());
        cache.select(&[1, 0, 1]);
        let (key, _) = cache.filled();
        let [first, second] = [0, 1].map(|row| part.clone().narrow(0, row, 1));
        let expected = Tensor::cat(vec![second.clone(), first, second], 0);
        key.into_data().assert_eq(&expected.into_data(), true);
    }

    #[test]
    fn reordering_the_end_is_selecting_where_the_beginning_is_the_same() {
        let device = clinical_kernels::cpu();
        let read = rows(&[[1., 2., 3., 4.], [1., 2., 5., 6.], [1., 2., 7., 8.]]);
        for order in [[2, 0, 0], [0, 1, 2], [1, 2, 0]] {
            let mut cache = KvCache::new(3, 1, 1, 9, &device);
            let _ = cache.append(read.clone(), read.clone());
            let mut expected = cache.clone();
            let untouched = cache.clone();
            cache.reorder(&order, 2);
            expected.select(&order);
            assert_eq!(keys(&cache), keys(&expected), "{order:?}");
            assert_eq!(
                keys(&untouched),
                [1., 2., 3., 4., 1., 2., 5., 6., 1., 2., 7., 8.],
                "a clone keeps its own"
            );
            let next = rows(&[[9.; 4], [10.; 4], [11.; 4]]).narrow(2, 0, 1);
            let _ = cache.append(next.clone(), next);
            assert_eq!(cache.len(), 5);
        }
        let mut empty = KvCache::new(2, 1, 1, 9, &device);
        empty.reorder(&[1, 0], 3);
        assert!(empty.is_empty());
    }

    #[test]
    fn rows_that_leave_take_their_positions_along() {
        let device = clinical_kernels::cpu();
        let mut cache = KvCache::new(2, 1, 1, 1000, &device);
        let read = rows(&[[1., 2., 3., 4.], [0., 0., 7., 8.]]);
        let _ = cache.append(read.clone(), read);
        cache.select_last(&[1], 2);
        assert_eq!(keys(&cache), [7., 8.]);
        assert!(cache.capacity() <= 2 + SPARE);
        cache.select_last(&[0, 0], 0);
        assert!(cache.is_empty());
        let next = rows(&[[9.; 4], [10.; 4]]).narrow(2, 0, 1);
        let _ = cache.append(next.clone(), next);
        assert_eq!(keys(&cache), [9., 10.]);
        // No free slot, and nothing kept.
        let mut full = KvCache::new(1, 1, 1, 4, &device);
        let read = rows(&[[1., 2., 3., 4.]]);
        let _ = full.append(read.clone(), read);
        full.select_last(&[0], 0);
        let next = rows(&[[5.; 4]]).narrow(2, 0, 2);
        let _ = full.append(next.clone(), next);
        assert_eq!(keys(&full), [5., 5.]);
    }

    fn keys(cache: &KvCache) -> Vec<f32> {
        cache.filled().0.try_into_vec_as().unwrap()
    }

    /// One head of one value, so that a row reads as its positions.
    fn rows(rows: &[[f32; 4]]) -> Tensor<4> {
        let device = clinical_kernels::cpu();
        let values: Vec<f32> = rows.concat();
        Tensor::from_data(TensorData::new(values, [rows.len(), 1, 4, 1]), &device)
    }

    #[test]
    fn rows_of_different_lengths_meet_at_the_end() {
        let device = clinical_kernels::cpu();
        let mut cache = KvCache::new(2, 1, 1, 6, &device);
        let read = rows(&[[1., 2., 3., 4.], [5., 6., 0., 0.]]);
        let _ = cache.append(read.clone(), read);
        cache.align_right(&[4, 2]);
        assert_eq!(keys(&cache), [1., 2., 3., 4., 0., 0., 5., 6.]);

        let mut other = KvCache::new(1, 1, 1, 9, &device);
        let read = rows(&[[7., 8., 9., 10.]]).narrow(2, 0, 3);
        let _ = other.append(read.clone(), read);
        let mut longer = other.clone();
        longer.merge(cache.clone());
        cache.merge(other);
        assert_eq!(keys(&cache)[8..], [0., 7., 8., 9.]);
        assert_eq!(keys(&longer)[..8], [0., 7., 8., 9., 1., 2., 3., 4.]);

        cache.select_last(&[1, 2], 3);
        assert_eq!(keys(&cache), [0., 5., 6., 7., 8., 9.]);
        let next = rows(&[[11.; 4], [12.; 4]]).narrow(2, 0, 1);
        let _ = cache.append(next.clone(), next);
        assert_eq!(keys(&cache), [0., 5., 6., 11., 7., 8., 9., 12.]);
    }
}
