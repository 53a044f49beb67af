//! Numbers that are functions of a seed and a position.

/// 2^64 divided by the golden ratio: the step of splitmix64 (Steele et al. 2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The last part of splitmix64.
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One of the streams of a seed. Number `i` of a stream is `mix(key + (i + 1) * G)` with `key = fold(fold(0, seed),
/// stream)`, `fold(a, b) = mix((a ^ b) + G)`: the same on every machine and in any order, and the formula that
/// `clinical-nn` drops by and `scripts/tasks_reference.py` draws its cases with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    key: u64,
}

impl Stream {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let fold = |a: u64, b: u64| mix((a ^ b).wrapping_add(GOLDEN));
        Self {
            key: fold(fold(0, seed), stream),
        }
    }

    /// The number at a position.
    pub(crate) fn at(self, position: u64) -> u64 {
        mix(self
            .key
            .wrapping_add(position.wrapping_add(1).wrapping_mul(GOLDEN)))
    }

    /// A number in `0..bound` (0 for a bound of 0), its bias below 2^-64 times the bound.
    pub(crate) fn below(self, position: u64, bound: usize) -> usize {
        ((u128::from(self.at(position)) * bound as u128) >> 64) as usize
    }
}

/// `0..count` in the order of a seed (Fisher-Yates).
pub(crate) fn permutation(seed: u64, count: usize) -> Vec<usize> {
    let stream = Stream::new(seed, 0);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, stream.below(last as u64, last + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_formula() {
        // From scripts/tasks_reference.py.
        let stream = Stream::new(7, 3);
        assert_eq!(stream.at(0), 11_248_596_980_798_508_817);
        assert_eq!(stream.at(1), 16_693_346_848_406_779_205);
    }

    #[test]
    fn every_order_is_a_permutation_and_seeds_differ() {
        let mut order = permutation(1, 1000);
        assert_ne!(order, permutation(2, 1000));
        assert_eq!(order, permutation(1, 1000));
        order.sort_unstable();
        assert!(order.iter().copied().eq(0..1000));
        assert!(permutation(5, 0).is_empty());
    }

    #[test]
    fn numbers_below_a_bound_are_even() {
        let stream = Stream::new(1, 1);
        let mut counts = [0_u32; 7];
        for position in 0..70_000 {
            counts[stream.below(position, 7)] += 1;
        }
        assert!(
            counts.iter().all(|count| (9_600..10_400).contains(count)),
            "{counts:?}"
        );
    }
}
