//! Choices that are a function of a seed and a number alone, so that a run that goes on chooses as it would have.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Raw words of ChaCha8, which no release of a library changes.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// The choices for item `index`.
    pub(crate) fn new(seed: u64, index: usize) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&(index as u64).to_le_bytes());
        key[16..].copy_from_slice(b"instructions-001");
        Self(ChaCha8Rng::from_seed(key))
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// At most `most` different numbers of `0..count`, in the order in which they were drawn.
    pub(crate) fn some(&mut self, count: usize, most: usize) -> Vec<usize> {
        let mut found = Vec::with_capacity(most.min(count));
        while found.len() < most.min(count) {
            let next = self.below(count);
            if !found.contains(&next) {
                found.push(next);
            }
        }
        found
    }

    /// `0..count` in a random order.
    pub(crate) fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}
