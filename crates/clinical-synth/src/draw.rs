//! A tiny reproducible source of choices over ChaCha8.
//!
//! `rand`'s distributions may change between releases; the committed fixtures must not. So only the
//! raw 64-bit words of ChaCha8 (fixed by the algorithm) are used here.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

#[derive(Debug, Clone)]
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// The stream for one case: `domain` separates splits and kinds, `index` counts cases.
    pub fn new(domain: &[u8; 8], seed: u64, index: u64) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(domain);
        key[8..16].copy_from_slice(&seed.to_le_bytes());
        key[16..24].copy_from_slice(&index.to_le_bytes());
        key[24..].copy_from_slice(b"synth-01");
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A whole number in `0..bound`; 0 when `bound` is 0. The bias of the remainder is below 2^-50
    /// for the small bounds used here.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        (self.0.next_u64() % bound as u64) as usize
    }

    /// A whole number in `low..=high`.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high - low + 1)
    }

    /// True in `percent` of 100 draws.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.0.next_u64() % 100 < percent
    }

    /// One item of a non-empty slice.
    pub fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}
