//! Dropout that is a function of its seed.

use burn::tensor::{Device, Tensor, TensorData};
use clinical_kernels::{DropMask, fold_seed, fused};

/// The largest rate.
const MAX_RATE: f64 = 0.999;

/// Dropout (Srivastava et al. 2014): while a model trains, each value is zero with probability `rate` and otherwise
/// divided by `1 - rate`.
///
/// Which values are dropped is a function of seed, site and position alone, and never of a random state, a thread, or
/// of what was computed before: replicas may run side by side, and a run that is taken up again drops the same values.
/// The training loop gives a new seed for each step and replica ([`Self::seed_of`]); a model numbers the places where
/// it drops, its sites.
///
/// # Formula
///
/// All sums and products are those of 64 bits without overflow, `^` is exclusive or, `G = 0x9e3779b97f4a7c15`:
///
/// - `mix(z)`, the last part of splitmix64: `z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9`,
///   `z = (z ^ z >> 27) * 0x94d049bb133111eb`, `z ^ z >> 31`
/// - `fold(a, b) = mix((a ^ b) + G)`
/// - `key = fold(fold(0, seed), site)`
/// - element `i`, counted through the tensor with the last axis fastest, has the bits
///   `mix(key + (i / 2 + 1) * G)`, of which an even `i` takes the lower 32 and an odd one the upper 32
/// - it is dropped where they are less than `rate * 2^32`, rounded
///
/// ```
/// use burn::tensor::Tensor;
/// use clinical_nn::Dropout;
///
/// let device = clinical_kernels::cpu().autodiff();
/// let x = Tensor::<2>::ones([2, 4], &device).require_grad();
/// let dropout = Dropout::new(0.5, Dropout::seed_of(&[17, 0]));
/// let y = dropout.apply(3, x.clone());
/// y.to_data().assert_eq(&dropout.apply(3, x.clone()).to_data(), true);
/// // The gradient is that of a product with the mask.
/// let slope = x.grad(&y.clone().sum().backward()).unwrap();
/// slope.to_data().assert_eq(&y.to_data(), true);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Dropout {
    rate: f64,
    seed: u64,
}

impl Dropout {
    /// Dropout that drops nothing: the default.
    pub const NONE: Self = Self { rate: 0.0, seed: 0 };

    /// Dropout at `rate`, which is clamped to `0..=0.999`; a rate that is not a number is 0.
    #[must_use]
    pub fn new(rate: f64, seed: u64) -> Self {
        let rate = if rate.is_nan() {
            0.0
        } else {
            rate.clamp(0.0, MAX_RATE)
        };
        Self { rate, seed }
    }

    /// A seed from numbers, each of which changes it: `&[run, step, micro_batch, replica]`. It is
    /// `fold(.. fold(fold(0, first), second) .., last)` of the [formula](Self#formula).
    #[must_use]
    pub fn seed_of(numbers: &[u64]) -> u64 {
        numbers
            .iter()
            .fold(0, |seed, &number| fold_seed(seed, number))
    }

    /// The share of values that are dropped.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether values on this device are dropped: if it computes gradients and the rate is not 0.
    #[must_use]
    pub fn acts_on(&self, device: &Device) -> bool {
        self.rate > 0.0 && device.is_autodiff()
    }

    /// `x` with a share of its values dropped, as `site` and the seed choose them, in the type of `x`. Where dropout
    /// does not [act](Self::acts_on) it is `x` itself, at no cost.
    ///
    /// A value is chosen by its position, so the same row in a batch of another shape loses other values.
    #[must_use]
    pub fn apply<const D: usize>(&self, site: u64, x: Tensor<D>) -> Tensor<D> {
        let device = x.device();
        if !self.acts_on(&device) {
            return x;
        }
        if let Some(y) = fused::dropout(&x, self.at(site)) {
            return y;
        }
        let dims = x.dims();
        let mask = TensorData::new(self.mask(site, dims.iter().product()), dims);
        let dtype = x.dtype();
        x * Tensor::from_data(mask, (&device, dtype))
    }

    /// What the first `elements` values of a tensor are multiplied by at `site`: 0 or `1 / (1 - rate)`.
    #[must_use]
    pub fn mask(&self, site: u64, elements: usize) -> Vec<f32> {
        let mut mask = vec![0.0; elements];
        self.at(site).fill(0, &mut mask);
        mask
    }

    /// The mask of a site, for kernels.
    pub(crate) fn at(&self, site: u64) -> DropMask {
        DropMask::new(self.rate, self.seed, site)
    }
}
