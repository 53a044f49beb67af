//! Random numbers as a pure function of what they are for.
//!
//! `rand`'s distributions may change between releases, and a run may be resumed by a newer build: only the raw 64-bit
//! words of ChaCha8, which the algorithm fixes, are used here.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The stream for one thing: `domain` separates uses, `epoch` and `index` count within one.
pub(crate) fn stream(domain: &[u8; 8], seed: u64, epoch: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0_u8; 32];
    key[..8].copy_from_slice(domain);
    key[8..16].copy_from_slice(&seed.to_le_bytes());
    key[16..24].copy_from_slice(&epoch.to_le_bytes());
    key[24..].copy_from_slice(&index.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A number below `bound`, each equally likely; 0 for a bound of 0. The high word of a product, with rejection
/// (Lemire 2019).
pub(crate) fn below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    loop {
        // For a bound of 0 the low word is not below it, so nothing is divided by 0.
        let product = u128::from(rng.next_u64()) * u128::from(bound);
        let low = product as u64;
        if low >= bound || low >= bound.wrapping_neg() % bound {
            return (product >> 64) as u64;
        }
    }
}

/// Fisher-Yates.
pub(crate) fn shuffle<T>(rng: &mut ChaCha8Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        let other = below(rng, last as u64 + 1) as usize;
        items.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_stream_never_change() {
        let words = |domain, seed, epoch, index| {
            let mut rng = stream(domain, seed, epoch, index);
            [rng.next_u64(), rng.next_u64()]
        };
        let first = words(b"test----", 1, 2, 3);
        assert_eq!(first, words(b"test----", 1, 2, 3));
        for other in [
            words(b"test---+", 1, 2, 3),
            words(b"test----", 0, 2, 3),
            words(b"test----", 1, 0, 3),
            words(b"test----", 1, 2, 0),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn numbers_below_a_bound_are_equally_likely() {
        let mut rng = stream(b"test----", 0, 0, 0);
        let mut counts = [0_u32; 6];
        for _ in 0..60_000 {
            counts[below(&mut rng, 6) as usize] += 1;
        }
        // 10,000 each, give or take five deviations of 91.
        assert!(
            counts
                .iter()
                .all(|&count| (9_540..=10_460).contains(&count)),
            "{counts:?}"
        );
        assert_eq!(below(&mut rng, 0), 0);
        assert_eq!(below(&mut rng, 1), 0);
    }
}
