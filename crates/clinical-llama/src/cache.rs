//! What one call has read so far.

use burn::tensor::{Bool, Device, Tensor, TensorData};
use clinical_nn::KvCache;

/// Keys, values and lengths of the rows in flight; made by `prefill`, it belongs to that call.
///
/// All rows end at the same slot, and a row that is shorter than the longest has a gap in front, which a mask hides:
/// position `p` of a row lies in slot `gap + p`.
#[derive(Debug, Clone)]
pub struct LlamaCache {
    pub(crate) layers: Vec<KvCache>,
    pub(crate) lengths: Vec<usize>,
}

impl LlamaCache {
    /// The number of rows in flight.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// The positions that each row has read, prompt and new tokens together.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    pub(crate) fn longest(&self) -> usize {
        self.lengths.iter().max().map_or(0, |&length| length)
    }

    pub(crate) fn slots(&self) -> usize {
        self.layers.first().map_or(0, KvCache::len)
    }

    /// The mask `[rows, 1, 1 or new, slots + new]` for the next `new` positions, true in gaps and in what has left the
    /// window; `None` where nothing is hidden.
    pub(crate) fn hidden(
        &self,
        new: usize,
        window: Option<usize>,
        device: &Device,
    ) -> Option<Tensor<4, Bool>> {
        let (slots, rows) = (self.slots(), self.rows());
        let window = window.filter(|&window| self.longest() + new > window);
        if window.is_none() && self.lengths.iter().all(|&length| length == slots) {
            return None;
        }
        // Gaps are the same for every query; the window is not.
        let queries = if window.is_some() { new } else { 1 };
        let mut hidden = Vec::with_capacity(rows * queries * (slots + new));
        for &length in &self.lengths {
            let gap = slots - length;
            for query in 0..queries {
                // The first position in sight.
                let first = window.map_or(0, |window| (length + query + 1).saturating_sub(window));
                hidden.extend((0..slots + new).map(|slot| slot < gap + first));
            }
        }
        Some(Tensor::from_data(
            TensorData::new(hidden, [rows, 1, queries, slots + new]),
            device,
        ))
    }

    pub(crate) fn select(&mut self, rows: &[usize]) {
        self.lengths = rows.iter().map(|&row| self.lengths[row]).collect();
        // Slots that only the rows now gone had filled go too.
        let longest = self.longest();
        for layer in &mut self.layers {
            layer.select_last(rows, longest);
        }
    }

    pub(crate) fn reorder(&mut self, rows: &[usize], differing: usize) {
        for layer in &mut self.layers {
            layer.reorder(rows, differing);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        if other.rows() == 0 {
            return;
        }
        if self.rows() == 0 {
            *self = other;
            return;
        }
        for (layer, other) in self.layers.iter_mut().zip(other.layers) {
            layer.merge(other);
        }
        self.lengths.extend(other.lengths);
    }
}

/// The mask `[1, 1, length, start + length]` that hides what lies `window` positions or more behind a query; `None` while
/// nothing does. The order of positions is the attention's own business.
pub(crate) fn window_mask(
    start: usize,
    length: usize,
    window: Option<usize>,
    device: &Device,
) -> Option<Tensor<4, Bool>> {
    let window = window?;
    let end = start + length;
    if end <= window {
        return None;
    }
    let hidden: Vec<bool> = (start..end)
        .flat_map(|query| (0..end).map(move |key| key + window <= query))
        .collect();
    Some(Tensor::from_data(
        TensorData::new(hidden, [1, 1, length, end]),
        device,
    ))
}
