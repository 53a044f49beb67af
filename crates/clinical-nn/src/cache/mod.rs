//! Keys and values of the positions read so far, of all layers and rows.

mod padded;
#[cfg(test)]
mod tests;

use burn::tensor::{Bool, DType, Device, Int, Tensor};
use clinical_kernels::blocks::{Blocks, Look};

use padded::Padded;

use crate::ModelError;

/// The keys and values that the attention layers of a model keep of some rows.
///
/// Rows have any lengths and do not know of each other. A pass of the model reads some new positions of each row: the
/// model gets all of them as one sequence `[1, positions, d_model]`, those of the first row first, and no padding. It
/// calls [`read`](Self::read) once and then [`attend`](Self::attend) in each layer.
///
/// On the CPU in f32 a row is a list of blocks ([`Blocks`]): rows join, leave and part without moving anybody's keys, a
/// row grows without being copied, and each gives its memory back when it leaves. Elsewhere rows lie side by side in
/// one tensor and gaps are hidden by masks, so that Burn's operations take all of them at once.
#[derive(Debug, Clone)]
pub struct KvCache {
    kind: KvKind,
    lengths: Vec<usize>,
    store: Store,
}

#[derive(Debug, Clone)]
enum Store {
    /// One for each layer.
    Blocks(Vec<Blocks>),
    Padded(Padded),
}

/// What keys and values are kept of and where: only caches of one kind can be merged.
#[derive(Debug, Clone, PartialEq)]
pub struct KvKind {
    /// The sizes of the attention layers.
    pub sizes: KvSizes,
    /// The type of their tensors.
    pub dtype: DType,
    /// Where they lie.
    pub device: Device,
}

/// The sizes of the attention layers that a [`KvCache`] serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvSizes {
    /// Attention layers.
    pub layers: usize,
    /// Heads of keys and values.
    pub heads: usize,
    /// Values of a head.
    pub d: usize,
    /// Keeps keys and values in f16 where rows lie in blocks: for models whose weights are coarser than that. Elsewhere
    /// they have the type of the tensors.
    pub half: bool,
}

/// What all layers share in one pass; made by [`KvCache::read`] and [`KvCache::look`].
#[derive(Debug, Clone)]
pub struct Pass {
    counts: Vec<usize>,
    causal: bool,
    window: Option<usize>,
    padded: Option<PaddedPass>,
}

/// What the padded form needs besides.
#[derive(Debug, Clone)]
struct PaddedPass {
    /// Positions of the longest row in this pass.
    longest: usize,
    /// For each index of `[rows, longest]` the position that lies there, and the indices of the positions; `None` where
    /// both are the same.
    moves: Option<(Tensor<1, Int>, Tensor<1, Int>)>,
    /// Slots that are read.
    seen: usize,
    /// `[rows, 1, 1 or longest, seen]`, `true` where a query must not look.
    hidden: Option<Tensor<4, Bool>>,
    /// `[rows, slots]`, minus infinity where the query must not look, for the kernel that reads filled slots only.
    mask: Option<Tensor<2>>,
}

impl KvKind {
    /// Positions are kept in blocks of so many.
    const BLOCK: usize = 32;

    /// Whether rows lie in blocks, which copies of a row share, and not side by side in one tensor.
    #[must_use]
    pub fn is_ragged(&self) -> bool {
        let KvSizes { heads, d, half, .. } = self.sizes;
        Blocks::new(&self.device, self.dtype, heads, d, half).is_some()
    }

    /// The bytes that one row of so many positions takes. Side by side in one tensor a row takes as many as the
    /// longest.
    #[must_use]
    pub fn bytes(&self, positions: usize) -> u64 {
        let size = match (self.is_ragged(), self.sizes.half) {
            (true, true) => 2,
            (true, false) => 4,
            (false, _) => self.dtype.size(),
        };
        let blocks = positions.div_ceil(Self::BLOCK);
        let KvSizes {
            layers, heads, d, ..
        } = self.sizes;
        [2, layers, heads, d, size, blocks, Self::BLOCK]
            .iter()
            .fold(1, |bytes: u64, &factor| bytes.saturating_mul(factor as u64))
    }
}

impl KvCache {
    /// A cache without rows for keys of this type. `reserve` is the number of positions to make room for after those
    /// that are read first, where keys lie in one tensor; blocks need no such advice.
    #[must_use]
    pub fn new(sizes: KvSizes, reserve: usize, device: &Device, dtype: DType) -> Self {
        let blocks: Option<Vec<Blocks>> = (0..sizes.layers)
            .map(|_| Blocks::new(device, dtype, sizes.heads, sizes.d, sizes.half))
            .collect();
        match blocks {
            Some(blocks) => Self {
                kind: KvKind {
                    sizes,
                    dtype,
                    device: device.clone(),
                },
                lengths: Vec::new(),
                store: Store::Blocks(blocks),
            },
            None => Self::padded(sizes, reserve, device, dtype),
        }
    }

    /// As [`new`](Self::new) with the rows side by side in one tensor, which works on every device.
    #[must_use]
    pub fn padded(sizes: KvSizes, reserve: usize, device: &Device, dtype: DType) -> Self {
        Self {
            kind: KvKind {
                sizes,
                dtype,
                device: device.clone(),
            },
            lengths: Vec::new(),
            store: Store::Padded(Padded::new(sizes, reserve, device, dtype)),
        }
    }

    /// What it keeps and where.
    #[must_use]
    pub fn kind(&self) -> &KvKind {
        &self.kind
    }

    /// Whether rows of different lengths cost nothing but their own positions.
    #[must_use]
    pub fn is_ragged(&self) -> bool {
        matches!(self.store, Store::Blocks(_))
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// The positions that each row has read.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The positions of the longest row.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.lengths.iter().max().map_or(0, |&length| length)
    }

    /// Adds rows that have read nothing yet.
    pub fn add_rows(&mut self, count: usize) {
        self.lengths.resize(self.lengths.len() + count, 0);
        match &mut self.store {
            Store::Blocks(layers) => layers.iter_mut().for_each(|layer| layer.add_rows(count)),
            Store::Padded(padded) => padded.add_rows(count),
        }
    }

    /// Begins a pass in which each row reads `counts[row]` new positions. Every query sees the positions of its row up
    /// to its own, of which `window` hides all but the last so many. Each layer must get its [`attend`](Self::attend)
    /// then.
    ///
    /// # Panics
    ///
    /// Unless there is one count for each row.
    #[must_use]
    pub fn read(&mut self, counts: &[usize], window: Option<usize>) -> Pass {
        assert_eq!(counts.len(), self.rows(), "one count for each row");
        for (length, count) in self.lengths.iter_mut().zip(counts) {
            *length += count;
        }
        let window = window.filter(|&window| self.longest() > window);
        let padded = match &mut self.store {
            Store::Blocks(_) => None,
            Store::Padded(padded) => {
                padded.extend(counts);
                Some(padded.pass(counts, true, window))
            }
        };
        Pass {
            counts: counts.to_vec(),
            causal: true,
            window,
            padded,
        }
    }

    /// A pass in which `counts[row]` queries look at all that a row holds, and nothing is added.
    #[must_use]
    pub fn look(&self, counts: &[usize]) -> Pass {
        let padded = match &self.store {
            Store::Blocks(_) => None,
            Store::Padded(padded) => Some(padded.pass(counts, false, None)),
        };
        Pass {
            counts: counts.to_vec(),
            causal: false,
            window: None,
            padded,
        }
    }

    /// Adds the keys and values of a pass, `[1, heads, positions, d]`, to one layer.
    pub fn append(&mut self, layer: usize, pass: &Pass, key: Tensor<4>, value: Tensor<4>) {
        match (&mut self.store, &pass.padded) {
            (Store::Blocks(layers), _) => layers[layer].append(&pass.counts, &key, &value),
            (Store::Padded(padded), Some(pass)) => padded.append(layer, pass, key, value),
            (Store::Padded(_), None) => unreachable!("a pass belongs to its cache"),
        }
    }

    /// `softmax(q k^T * scale + bias) v` of the queries of a pass, `[1, query heads, positions, d]`, with what each row
    /// holds in one layer, the new positions included.
    ///
    /// `bias` is `[1, query heads, 1, n]` with `n` no less than the longest row, for passes of one query a row: its
    /// last entry belongs to the last key. Rows must have read as many positions as each other in every pass then, as
    /// the decoder of an encoder-decoder does.
    #[must_use]
    pub fn attend(
        &self,
        layer: usize,
        pass: &Pass,
        query: Tensor<4>,
        bias: Option<&Tensor<4>>,
        scale: f64,
    ) -> Tensor<4> {
        match (&self.store, &pass.padded) {
            (Store::Blocks(layers), _) => {
                let look = Look {
                    causal: pass.causal,
                    window: pass.window,
                    bias,
                    scale,
                };
                layers[layer].attend(&pass.counts, &query, look)
            }
            (Store::Padded(padded), Some(of)) => {
                padded.attend(layer, of, query, bias, pass.causal, scale)
            }
            (Store::Padded(_), None) => unreachable!("a pass belongs to its cache"),
        }
    }

    /// Keeps the given rows, in this order; a row may come several times (beams) or not at all (finished rows).
    pub fn select(&mut self, rows: &[usize]) {
        self.lengths = rows.iter().map(|&row| self.lengths[row]).collect();
        match &mut self.store {
            Store::Blocks(layers) => layers.iter_mut().for_each(|layer| layer.select(rows)),
            Store::Padded(padded) => padded.select(rows),
        }
    }

    /// [`select`](Self::select) for as many rows as before, of which each has the length of the one that lay there and
    /// is the same up to the last `differing` positions (beam search).
    pub fn reorder(&mut self, rows: &[usize], differing: usize) {
        match &mut self.store {
            Store::Blocks(layers) => layers.iter_mut().for_each(|layer| layer.select(rows)),
            Store::Padded(padded) => padded.reorder(rows, differing),
        }
    }

    /// Whether the rows of another cache can join these: of one model, with the same sizes, device and type.
    #[must_use]
    pub fn fits(&self, other: &Self) -> bool {
        match (&self.store, &other.store) {
            (Store::Blocks(layers), Store::Blocks(others)) => {
                let mut pairs = layers.iter().zip(others);
                layers.len() == others.len() && pairs.all(|(layer, other)| layer.fits(other))
            }
            (Store::Padded(padded), Store::Padded(other)) => padded.fits(other),
            _ => false,
        }
    }

    /// Appends the rows of another cache.
    ///
    /// # Errors
    ///
    /// [`ModelError::OtherModel`] unless the other cache [`fits`](Self::fits); this one is then unchanged.
    pub fn merge(&mut self, other: Self) -> Result<(), ModelError> {
        if !self.fits(&other) {
            return Err(ModelError::OtherModel);
        }
        if self.lengths.is_empty() {
            *self = other;
            return Ok(());
        }
        if other.lengths.is_empty() {
            return Ok(());
        }
        match (&mut self.store, other.store) {
            (Store::Blocks(layers), Store::Blocks(others)) => {
                for (layer, other) in layers.iter_mut().zip(others) {
                    layer.merge(other);
                }
            }
            (Store::Padded(padded), Store::Padded(other)) => padded.merge(other),
            _ => return Err(ModelError::OtherModel),
        }
        self.lengths.extend(other.lengths);
        Ok(())
    }
}
