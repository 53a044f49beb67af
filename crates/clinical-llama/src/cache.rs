//! What one call has read so far.

use burn::tensor::{Bool, Device, Tensor, TensorData};
use clinical_nn::KvCache;

/// Keys, values and lengths of the rows in flight; made by `prefill`, it belongs to that call.
///
/// All rows use the same slots: a prompt fills `0..its length`, padding the rest up to the longest prompt, and new tokens
/// follow behind the longest. So a short row has a gap, which a mask hides; its positions are counted without the gap.
#[derive(Debug, Clone)]
pub struct LlamaCache {
    pub(crate) layers: Vec<KvCache>,
    /// Tokens of each row's prompt.
    pub(crate) prompts: Vec<usize>,
    /// Slots that prompts take: those of the longest, even after that row is gone.
    pub(crate) prompt_slots: usize,
    /// New tokens of each row.
    pub(crate) steps: usize,
}

impl LlamaCache {
    /// The number of rows in flight.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.prompts.len()
    }

    /// The positions that each row has read, prompt and new tokens together.
    #[must_use]
    pub fn lengths(&self) -> Vec<usize> {
        self.prompts
            .iter()
            .map(|prompt| prompt + self.steps)
            .collect()
    }

    /// The mask `[rows, 1, 1, slots]` of the next step, true where a slot is a gap, or has left the window; `None` where
    /// nothing is hidden.
    pub(crate) fn hidden(&self, window: Option<usize>, device: &Device) -> Option<Tensor<4, Bool>> {
        let slots = self.prompt_slots + self.steps + 1;
        let longest = self.prompts.iter().max().map_or(0, |&p| p + self.steps + 1);
        let gaps = self.prompts.iter().any(|&p| p < self.prompt_slots);
        if !gaps && window.is_none_or(|window| longest <= window) {
            return None;
        }
        let mut hidden = Vec::with_capacity(self.rows() * slots);
        for &prompt in &self.prompts {
            let now = prompt + self.steps;
            // The first position in sight.
            let first = window.map_or(0, |window| (now + 1).saturating_sub(window));
            hidden.extend((0..slots).map(|slot| {
                if slot < self.prompt_slots {
                    slot >= prompt || slot < first
                } else {
                    prompt + (slot - self.prompt_slots) < first
                }
            }));
        }
        Some(Tensor::from_data(
            TensorData::new(hidden, [self.rows(), 1, 1, slots]),
            device,
        ))
    }

    pub(crate) fn select(&mut self, rows: &[usize]) {
        for layer in &mut self.layers {
            layer.select(rows);
        }
        self.prompts = rows.iter().map(|&row| self.prompts[row]).collect();
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
