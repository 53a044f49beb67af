//! What one call has read so far.

use burn::tensor::{Bool, Device, Tensor, TensorData};
use clinical_nn::KvCache;

/// Keys, values and lengths of the running rows; made by `prefill`, it belongs to that call.
#[derive(Debug, Clone)]
pub struct LlamaCache {
    pub(crate) kv: KvCache,
}

impl LlamaCache {
    /// The number of running rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.kv.rows()
    }

    /// The positions that each row has read, prompt and new tokens together.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        self.kv.lengths()
    }
}

/// The mask `[1, 1, length, start + length]` that hides what lies `window` positions or more before a query; `None`
/// while nothing does. The order of positions concerns the attention alone.
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
