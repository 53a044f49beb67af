//! What one call has read so far.

use clinical_nn::KvCache;

/// Keys, values and lengths of the running rows; made by `prefill`, it belongs to that call.
#[derive(Debug, Clone)]
pub struct Gpt2Cache {
    pub(crate) kv: KvCache,
}

impl Gpt2Cache {
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
