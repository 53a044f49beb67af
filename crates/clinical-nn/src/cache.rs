//! Keys and values of the positions read so far.

use burn::tensor::{Int, Tensor, TensorCreationOptions, TensorData};

/// Positions are allocated in blocks of this many: a long answer grows the cache a few times, not once a token.
const BLOCK: usize = 256;

/// The keys and values of one attention layer, `[batch, heads, capacity, d]` each, of which the first [`len`](Self::len)
/// positions are filled.
///
/// New positions are written in place. When the capacity is used up it grows by half, at least a block.
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
        let device = self.key.device();
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let count = rows.len();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &device);
        self.key.inplace(|all| all.select(0, rows.clone()));
        self.value.inplace(|all| all.select(0, rows));
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
            Tensor::zeros([batch, heads, grown, d], (&device, dtype))
                .slice_assign([0..batch, 0..heads, 0..len], all.narrow(2, 0, len))
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
}
