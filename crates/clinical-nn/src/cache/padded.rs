//! Rows side by side in one tensor, for every backend.
//!
//! A row's positions lie in slots that all rows share. Rows of a pass end side by side, so a shorter one leaves a gap
//! in front of what it reads. Gaps are hidden by a mask, which is made once for all layers.

use std::ops::Range;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use clinical_kernels::fused;

use super::{KvSizes, PaddedPass};
use crate::{AttentionOptions, attention};

/// Slots are allocated in blocks of this many: a long answer grows the cache a few times, not once a token.
const BLOCK: usize = 256;

/// Free slots that stay after the filled ones when rows leave or join, which copies the rest.
const SPARE: usize = 64;

/// Parts of a tensor are views in Burn's GPU backends only where they begin and end at multiples of so many bytes; all
/// others are copied.
const ALIGNMENT: usize = 512;

/// The slots of one row that hold its positions, in order.
pub(super) type Spans = Vec<Range<usize>>;

#[derive(Debug, Clone)]
pub(super) struct Padded {
    sizes: KvSizes,
    reserve: usize,
    device: Device,
    dtype: DType,
    /// Keys and values of each layer, `[rows, heads, capacity, d]`, of which the first `slots` are filled; none before
    /// anything is read.
    layers: Vec<(Tensor<4>, Tensor<4>)>,
    spans: Vec<Spans>,
    slots: usize,
}

impl Padded {
    pub(super) fn new(sizes: KvSizes, reserve: usize, device: &Device, dtype: DType) -> Self {
        Self {
            sizes,
            reserve,
            device: device.clone(),
            dtype,
            layers: Vec::new(),
            spans: Vec::new(),
            slots: 0,
        }
    }

    pub(super) fn add_rows(&mut self, count: usize) {
        let rows = self.spans.len() + count;
        self.spans.resize(rows, Vec::new());
        let (slots, capacity) = (self.slots, self.capacity());
        if self.slots == 0 {
            self.layers.clear();
        }
        self.change(|all, device| {
            let [before, heads, _, d] = all.dims();
            Tensor::zeros([rows, heads, capacity, d], (device, all.dtype())).slice_assign(
                [0..before, 0..heads, 0..slots, 0..d],
                all.narrow(2, 0, slots),
            )
        });
    }

    fn capacity(&self) -> usize {
        self.layers.first().map_or(0, |(key, _)| key.dims()[2])
    }

    fn change(&mut self, change: impl Fn(Tensor<4>, &Device) -> Tensor<4>) {
        for (key, value) in &mut self.layers {
            key.inplace(|all| change(all, &self.device));
            value.inplace(|all| change(all, &self.device));
        }
    }

    /// Makes room for new positions of each row and notes where they will lie.
    pub(super) fn extend(&mut self, counts: &[usize]) {
        let longest = counts.iter().max().map_or(0, |&count| count);
        let end = self.slots + longest;
        self.reserve(end);
        for (spans, &count) in self.spans.iter_mut().zip(counts) {
            match spans.last_mut() {
                _ if count == 0 => {}
                Some(last) if last.end == end - count => last.end = end,
                _ => spans.push(end - count..end),
            }
        }
        self.slots = end;
    }

    fn reserve(&mut self, wanted: usize) {
        let capacity = self.capacity();
        if wanted <= capacity {
            return;
        }
        let (rows, slots) = (self.spans.len(), self.slots);
        let KvSizes {
            layers, heads, d, ..
        } = self.sizes;
        if self.layers.is_empty() {
            let shape = [rows, heads, wanted.saturating_add(self.reserve), d];
            let empty = || Tensor::zeros(shape, (&self.device, self.dtype));
            self.layers = (0..layers).map(|_| (empty(), empty())).collect();
            return;
        }
        let grown = wanted.max(capacity + (capacity / 2).max(BLOCK));
        self.change(|all, device| {
            let new = Tensor::zeros([rows, heads, grown, d], (device, all.dtype()));
            match slots {
                0 => new,
                _ => new.slice_assign([0..rows, 0..heads, 0..slots], all.narrow(2, 0, slots)),
            }
        });
    }

    /// What a pass needs, once [`extend`](Self::extend) has noted its positions if it adds any.
    pub(super) fn pass(&self, counts: &[usize], causal: bool, window: Option<usize>) -> PaddedPass {
        let longest = counts.iter().max().map_or(0, |&count| count);
        let seen = if longest == 1 {
            self.view()
        } else {
            self.slots
        };
        let hidden = self.hidden(longest, causal, window, seen);
        let has_kernel = longest == 1 && fused::gpu_kernels(&self.device);
        let mask = has_kernel.then(|| self.hidden(1, causal, window, self.slots));
        PaddedPass {
            longest,
            moves: moves(counts, longest, &self.device),
            seen,
            hidden: hidden.map(|(hidden, shape)| {
                Tensor::from_data(TensorData::new(hidden, shape), &self.device)
            }),
            mask: mask.flatten().map(|(hidden, [rows, _, _, slots])| {
                let minus = |&hidden: &bool| if hidden { f32::NEG_INFINITY } else { 0.0 };
                let mask: Vec<f32> = hidden.iter().map(minus).collect();
                let data = TensorData::new(mask, [rows, slots]);
                Tensor::from_data(data, (&self.device, DType::F32))
            }),
        }
    }

    /// The filled slots and a few after them, so that a GPU reads them where they lie.
    fn view(&self) -> usize {
        if clinical_kernels::is_host(&self.device) {
            return self.slots;
        }
        let bytes = self.sizes.d * self.dtype.size();
        let step = ALIGNMENT / gcd(ALIGNMENT, bytes.max(1));
        let free = self.capacity() - self.slots;
        self.capacity() - free / step * step
    }

    /// `true` where a query must not look, `[rows, 1, 1 or longest, seen]`; `None` if it sees all.
    fn hidden(
        &self,
        longest: usize,
        causal: bool,
        window: Option<usize>,
        slots: usize,
    ) -> Option<(Vec<bool>, [usize; 4])> {
        let whole = |spans: &Spans| matches!(&spans[..], [span] if *span == (0..slots));
        if window.is_none() && self.spans.iter().all(whole) {
            return None;
        }
        // Gaps are the same for every query; the window is not.
        let queries = if window.is_some() { longest } else { 1 };
        let rows = self.spans.len();
        let mut hidden = vec![true; rows * queries * slots];
        for (row, spans) in self.spans.iter().enumerate() {
            let length: usize = spans.iter().map(Range::len).sum();
            for query in 0..queries {
                // The first position in sight of a query, the last of which stands on the row's last position.
                let end = (length + query + 1).saturating_sub(longest);
                let first = match window {
                    Some(window) if causal => end.saturating_sub(window),
                    _ => 0,
                };
                let of_query = &mut hidden[(row * queries + query) * slots..][..slots];
                for slot in spans.iter().cloned().flatten().skip(first) {
                    of_query[slot] = false;
                }
            }
        }
        Some((hidden, [rows, 1, queries, slots]))
    }

    pub(super) fn append(
        &mut self,
        layer: usize,
        pass: &PaddedPass,
        key: Tensor<4>,
        value: Tensor<4>,
    ) {
        let rows = self.spans.len();
        let KvSizes { heads, d, .. } = self.sizes;
        let start = self.slots - pass.longest;
        let place = [0..rows, 0..heads, start..self.slots, 0..d];
        let (keys, values) = &mut self.layers[layer];
        keys.inplace(|all| all.slice_assign(place.clone(), pass.pad(key, rows)));
        values.inplace(|all| all.slice_assign(place, pass.pad(value, rows)));
    }

    pub(super) fn attend(
        &self,
        layer: usize,
        pass: &PaddedPass,
        query: Tensor<4>,
        bias: Option<&Tensor<4>>,
        causal: bool,
        scale: f64,
    ) -> Tensor<4> {
        assert!(
            bias.is_none() || self.spans.iter().all(|spans| spans.len() < 2),
            "a gap between positions would shift the bias"
        );
        let (key, value) = &self.layers[layer];
        let query = pass.pad(query, self.spans.len());
        if pass.longest == 1 {
            let (cache, mask) = ([key, value], pass.mask.as_ref());
            if let Some(y) = fused::one_query(&query, cache, self.slots, bias, mask, scale) {
                return pass.unpad(y);
            }
        }
        let filled = |all: &Tensor<4>| all.clone().narrow(2, 0, pass.seen);
        let bias = bias.map(|bias| {
            let [one, heads, queries, len] = bias.dims();
            let bias = bias.clone().narrow(3, len - self.slots, self.slots);
            match pass.seen - self.slots {
                0 => bias,
                more => {
                    let zeros = [one, heads, queries, more];
                    let zeros = Tensor::zeros(zeros, (&self.device, bias.dtype()));
                    Tensor::cat(vec![bias, zeros], 3)
                }
            }
        });
        let options = AttentionOptions {
            hidden: pass.hidden.clone(),
            bias,
            causal,
            ..AttentionOptions::scaled(scale)
        };
        pass.unpad(attention(query, filled(key), filled(value), options))
    }

    /// Slots that only rows now gone had filled, in front, go too. What is copied is the rest, and free room for a few
    /// more.
    pub(super) fn select(&mut self, rows: &[usize]) {
        let [before, end] = [self.spans.len(), self.capacity().min(self.slots + SPARE)];
        self.spans = rows.iter().map(|&row| self.spans[row].clone()).collect();
        let firsts = self
            .spans
            .iter()
            .filter_map(|spans| Some(spans.first()?.start));
        let start = firsts.min().unwrap_or(self.slots);
        self.shift(start);
        if rows.is_empty() || self.slots == 0 {
            self.layers.clear();
            self.slots = 0;
            return;
        }
        let KvSizes { heads, d, .. } = self.sizes;
        let rows = indices(rows.iter().copied(), &self.device);
        self.change(|all, _| {
            all.slice([0..before, 0..heads, start..end, 0..d])
                .select(0, rows.clone())
        });
    }

    /// Counts slots from `start` on.
    fn shift(&mut self, start: usize) {
        self.slots -= start;
        for span in self.spans.iter_mut().flatten() {
            *span = span.start - start..span.end - start;
        }
    }

    /// Copies only the last slots, in place.
    pub(super) fn reorder(&mut self, rows: &[usize], differing: usize) {
        let differing = differing.min(self.slots);
        if differing == 0 {
            return;
        }
        let batch = self.spans.len();
        let KvSizes { heads, d, .. } = self.sizes;
        let rows = indices(rows.iter().copied(), &self.device);
        let tail = [0..batch, 0..heads, self.slots - differing..self.slots, 0..d];
        self.change(|all, _| {
            let moved = all.clone().slice(tail.clone()).select(0, rows.clone());
            all.slice_assign(tail.clone(), moved)
        });
    }

    pub(super) fn fits(&self, other: &Self) -> bool {
        (self.sizes, &self.device, self.dtype) == (other.sizes, &other.device, other.dtype)
    }

    /// Both end at the same slot.
    pub(super) fn merge(&mut self, mut other: Self) {
        let [rows, more] = [self.spans.len(), other.spans.len()];
        let len = self.slots.max(other.slots);
        let (start, other_start) = (len - self.slots, len - other.slots);
        let KvSizes { heads, d, .. } = self.sizes;
        let shape = [rows + more, heads, len + SPARE, d];
        let (first, second) = (
            [0..rows, 0..heads, start..len, 0..d],
            [rows..rows + more, 0..heads, other_start..len, 0..d],
        );
        // One that has read nothing has no tensors.
        let put = |all: Tensor<4>, place: &[Range<usize>; 4], from: Option<&Tensor<4>>| match from {
            Some(from) if !place[2].is_empty() => {
                let filled = from.clone().narrow(2, 0, place[2].len());
                all.slice_assign(place.clone(), filled)
            }
            _ => all,
        };
        let join = |one: Option<&Tensor<4>>, two: Option<&Tensor<4>>| {
            let all = Tensor::zeros(shape, (&self.device, self.dtype));
            put(put(all, &first, one), &second, two)
        };
        let keys = |all: &Self, layer: usize| all.layers.get(layer).map(|kv| kv.0.clone());
        let values = |all: &Self, layer: usize| all.layers.get(layer).map(|kv| kv.1.clone());
        self.layers = (0..self.sizes.layers)
            .map(|layer| {
                let key = join(keys(self, layer).as_ref(), keys(&other, layer).as_ref());
                let value = join(values(self, layer).as_ref(), values(&other, layer).as_ref());
                (key, value)
            })
            .collect();
        for (spans, start) in [(&mut self.spans, start), (&mut other.spans, other_start)] {
            for span in spans.iter_mut().flatten() {
                *span = span.start + start..span.end + start;
            }
        }
        self.spans.append(&mut other.spans);
        self.slots = len;
    }
}

impl PaddedPass {
    /// `[1, heads, positions, d]` to `[rows, heads, longest, d]`.
    fn pad(&self, x: Tensor<4>, rows: usize) -> Tensor<4> {
        let x = match &self.moves {
            Some((places, _)) => x.select(2, places.clone()),
            None => x,
        };
        let [_, heads, _, d] = x.dims();
        x.reshape([heads, rows, self.longest, d]).swap_dims(0, 1)
    }

    /// The way back.
    fn unpad(&self, x: Tensor<4>) -> Tensor<4> {
        let [rows, heads, longest, d] = x.dims();
        let x = x.swap_dims(0, 1).reshape([1, heads, rows * longest, d]);
        match &self.moves {
            Some((_, positions)) => x.select(2, positions.clone()),
            None => x,
        }
    }
}

/// Where positions of rows that stand one after another lie when the rows end side by side.
fn moves(
    counts: &[usize],
    longest: usize,
    device: &Device,
) -> Option<(Tensor<1, Int>, Tensor<1, Int>)> {
    if counts.iter().all(|&count| count == longest) {
        return None;
    }
    let total: usize = counts.iter().sum();
    let (mut places, mut positions) = (Vec::new(), Vec::with_capacity(total));
    let mut first = 0;
    for (row, &count) in counts.iter().enumerate() {
        let gap = longest - count;
        // Something must lie in the gap; it is hidden.
        places.extend(std::iter::repeat_n(0, gap).chain(first..first + count));
        positions.extend((row * longest + gap)..(row + 1) * longest);
        first += count;
    }
    Some((indices(places, device), indices(positions, device)))
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn indices(values: impl IntoIterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.into_iter().map(|value| value as i64).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_answer_grows_the_cache_a_few_times() {
        let sizes = KvSizes {
            layers: 1,
            heads: 1,
            d: 1,
            half: false,
        };
        let mut cache = Padded::new(sizes, 299, &clinical_kernels::cpu(), DType::F32);
        cache.add_rows(1);
        let (mut growths, mut copied) = (0, 0);
        for len in 0..4096 {
            let before = cache.capacity();
            cache.extend(&[1]);
            if cache.capacity() > before {
                growths += 1;
                copied += len;
            }
        }
        assert!(growths <= 8, "{growths}");
        assert!(copied <= 2 * 4096, "{copied} positions copied");
        assert!(cache.capacity() <= 4096 * 3 / 2);
        // Slots in front go with the rows that had filled them.
        cache.merge({
            let mut other = Padded::new(sizes, 0, &clinical_kernels::cpu(), DType::F32);
            other.add_rows(1);
            other.extend(&[10]);
            other
        });
        cache.select(&[1]);
        assert_eq!((cache.slots, cache.spans.len()), (10, 1));
        assert!(cache.spans[0].iter().cloned().flatten().eq(0..10));
        assert!(cache.capacity() <= 10 + SPARE);
    }
}
