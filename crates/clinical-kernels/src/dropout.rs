//! Which values dropout keeps: a function of numbers, for kernels that make the mask where they need it.

use crate::float::simd::{Level, Simd, dispatch};

/// 2^64 divided by the golden ratio: the step of splitmix64 (Steele et al. 2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Factors that are made at once.
const CHUNK: usize = 64;

/// What each value of a tensor is multiplied by: 0, or `1 / (1 - rate)`.
///
/// It is never stored: a backward pass asks for the same factors again. The formula stands at `clinical_nn::Dropout`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropMask {
    key: u64,
    /// Elements whose 32 bits are less are dropped.
    below: u32,
    kept: f32,
}

impl DropMask {
    /// The mask at a rate below 1, of a seed and a site.
    ///
    /// # Panics
    ///
    /// When the rate is not in `0..1`.
    #[must_use]
    pub fn new(rate: f64, seed: u64, site: u64) -> Self {
        assert!((0.0..1.0).contains(&rate), "a rate of dropout is in 0..1");
        Self {
            key: fold_seed(fold_seed(0, seed), site),
            // Rounded up to 2^32 it would drop nothing.
            below: (rate * 2f64.powi(32)).round().min(f64::from(u32::MAX)) as u32,
            kept: (1.0 / (1.0 - rate)) as f32,
        }
    }

    /// The factors of the elements `first..first + factors.len()`, counted with the last axis fastest.
    pub fn fill(&self, first: u64, factors: &mut [f32]) {
        // SAFETY: there is room for so many.
        unsafe {
            fill(
                Level::best(),
                *self,
                first,
                factors.len(),
                factors.as_mut_ptr(),
            )
        };
    }
}

/// A seed of a seed and a number, each of which changes it.
#[must_use]
pub fn fold_seed(seed: u64, number: u64) -> u64 {
    mix((seed ^ number).wrapping_add(GOLDEN))
}

/// The finaliser of splitmix64, a bijection.
#[inline(always)]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

dispatch! {
    /// Writes the factors of `len` elements from `first` on.
    pub(crate) unsafe fn fill = fill_kernel(mask: DropMask, first: u64, len: usize, to: *mut f32)
}

#[inline(always)]
unsafe fn fill_kernel<S: Simd>(mask: DropMask, first: u64, len: usize, to: *mut f32) {
    let mut factors = [0.0; CHUNK];
    // Elements come in pairs, whose first one is even.
    let odd = (first % 2) as usize;
    let mut at = 0;
    while at < len {
        let skip = if at == 0 { odd } else { 0 };
        pairs(mask, (first + at as u64) / 2, &mut factors);
        let count = (CHUNK - skip).min(len - at);
        // SAFETY: `to` has room for `len`, and no chunk has more than it has factors.
        unsafe {
            std::ptr::copy_nonoverlapping(factors.as_ptr().add(skip), to.add(at), count);
        }
        at += count;
    }
}

/// The factors of the pairs from `first` on.
#[inline(always)]
fn pairs(mask: DropMask, first: u64, factors: &mut [f32; CHUNK]) {
    let mut words = [0u64; CHUNK / 2];
    for (i, word) in words.iter_mut().enumerate() {
        let number = first.wrapping_add(i as u64 + 1);
        *word = mix(mask.key.wrapping_add(number.wrapping_mul(GOLDEN)));
    }
    for (i, factor) in factors.iter_mut().enumerate() {
        let bits = (words[i / 2] >> (32 * (i % 2))) as u32;
        *factor = if bits < mask.below { 0.0 } else { mask.kept };
    }
}

dispatch! {
    /// `y = x * factor` over `len` values, of which the first is element `first`, an even one.
    #[cfg_attr(not(feature = "flex"), allow(dead_code))]
    pub(crate) unsafe fn multiply = multiply_kernel(
        mask: DropMask, first: u64, len: usize, x: *const f32, y: *mut f32
    )
}

#[inline(always)]
unsafe fn multiply_kernel<S: Simd>(
    mask: DropMask,
    first: u64,
    len: usize,
    x: *const f32,
    y: *mut f32,
) {
    debug_assert!(first.is_multiple_of(2), "a pair is not torn apart");
    let mut factors = [0.0; CHUNK];
    for start in (0..len).step_by(CHUNK) {
        pairs(mask, (first + start as u64) / 2, &mut factors);
        let count = CHUNK.min(len - start);
        // SAFETY: the caller's promise.
        unsafe {
            for j in (0..count).step_by(S::LANES) {
                let factor = S::load(factors.as_ptr().add(j));
                let v = S::mul(S::load_some(x.add(start + j), count - j), factor);
                S::store_some(y.add(start + j), v, count - j);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One element after another, by the formula.
    fn factor(mask: DropMask, element: u64) -> f32 {
        let word = mix(mask
            .key
            .wrapping_add((element / 2 + 1).wrapping_mul(GOLDEN)));
        let bits = if element.is_multiple_of(2) {
            word
        } else {
            word >> 32
        };
        if (bits as u32) < mask.below {
            0.0
        } else {
            mask.kept
        }
    }

    #[test]
    fn any_part_has_the_factors_of_the_whole() {
        let mask = DropMask::new(0.3, 5, 9);
        for first in [0, 1, 2, 63, 64, 65, 1001] {
            for len in [0, 1, 2, 63, 64, 65, 200] {
                let mut found = vec![0.0; len];
                mask.fill(first, &mut found);
                let expected: Vec<f32> = (0..len as u64).map(|i| factor(mask, first + i)).collect();
                assert_eq!(found, expected, "{first} {len}");
            }
        }
    }

    #[test]
    fn products_are_those_with_the_factors_on_every_level() {
        let mask = DropMask::new(0.1, 1, 2);
        let x: Vec<f32> = (0..131).map(|i| i as f32 - 60.0).collect();
        let mut factors = vec![0.0; x.len()];
        mask.fill(64, &mut factors);
        let expected: Vec<f32> = x
            .iter()
            .zip(&factors)
            .map(|(x, factor)| x * factor)
            .collect();
        for level in Level::all() {
            let mut y = vec![0.0; x.len()];
            // SAFETY: both have so many values.
            unsafe { multiply(level, mask, 64, x.len(), x.as_ptr(), y.as_mut_ptr()) };
            assert_eq!(y, expected);
        }
    }
}
