use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{AdamW, AdamWState, times, widened};
use crate::RecipeError;
use crate::recipe_error::{average, not_negative, positive};

/// Coefficients of one Newton-Schulz iteration: the slope at 0 is as large as it can be.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.775, 2.0315];

/// `torch.optim.Muon` ([Jordan et al. 2024](https://kellerjordan.github.io/posts/muon/)) for matrices, and AdamW for what
/// is none or is named: embeddings, output layers, norms and biases.
///
/// One step of a matrix: `m = momentum * m + (1 - momentum) * gradient`, the update is `momentum * m + (1 - momentum) *
/// gradient`, made nearly orthogonal by Newton-Schulz iterations, and the matrix, after it was multiplied by `1 - rate *
/// weight_decay`, loses `rate * sqrt(max(1, outputs / inputs))` times that. PyTorch iterates in bf16; here it is f32.
///
/// A rate for matrices is about 0.02, one for the others a few thousandths: `others_rate` is the part of the recipe's
/// rate that the others take. As TOML:
///
/// ```
/// use clinical_train::Recipe;
///
/// let recipe = Recipe::from_toml(r#"
///     epochs = 1
///     rate = 0.02
///     optimizer = { name = "muon", others_rate = 0.15, others = { beta2 = 0.95 } }
/// "#)?;
/// # Ok::<(), clinical_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Muon {
    momentum: f64,
    nesterov: bool,
    iterations: usize,
    epsilon: f64,
    pub(super) weight_decay: f64,
    pub(super) not_matrices: Vec<String>,
    pub(super) slow: Vec<String>,
    pub(super) slow_rate: f64,
    others_rate: f64,
    others: AdamW,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            momentum: 0.95,
            nesterov: true,
            iterations: 5,
            epsilon: 1e-7,
            weight_decay: 0.0,
            not_matrices: not_hidden(),
            slow: Vec::new(),
            slow_rate: 0.2,
            others_rate: 0.1,
            others: AdamW::default(),
        }
    }
}

/// Matrices that are no hidden layers: embeddings of tokens and positions, T5's table of distances, output layers.
fn not_hidden() -> Vec<String> {
    let names = [
        "embed",
        r"(?:^|\.)shared(?:$|\.)",
        "relative_attention_bias",
        "lm_head",
        "classifier",
        "qa_outputs",
        r"(?:^|\.)cls(?:$|\.)",
    ];
    names.map(String::from).to_vec()
}

impl Muon {
    /// Factor of the running mean of gradients. Default: 0.95.
    #[must_use]
    pub fn with_momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Whether the update looks one step ahead (Nesterov). Default: yes.
    #[must_use]
    pub fn with_nesterov(mut self, nesterov: bool) -> Self {
        self.nesterov = nesterov;
        self
    }

    /// Newton-Schulz iterations. Default: 5.
    #[must_use]
    pub fn with_iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// The part of a matrix that each step takes away, times the rate. Default: 0. (PyTorch: 0.1.)
    #[must_use]
    pub fn with_weight_decay(mut self, decay: f64) -> Self {
        self.weight_decay = decay;
        self
    }

    /// Regular expressions for the paths of matrices that AdamW trains all the same, in either case; only
    /// [`OptimizerConfig::build`](crate::OptimizerConfig::build) looks at them. Default: embeddings, T5's table of
    /// distances, output layers.
    #[must_use]
    pub fn with_not_matrices(mut self, patterns: Vec<String>) -> Self {
        self.not_matrices = patterns;
        self
    }

    /// Regular expressions for the paths of matrices that take a part of the rate, in either case; only
    /// [`OptimizerConfig::build`](crate::OptimizerConfig::build) looks at them. T5 needs it for queries and keys: it does
    /// not divide their products, so that they must grow slowly. Default: none.
    #[must_use]
    pub fn with_slow(mut self, patterns: Vec<String>, rate: f64) -> Self {
        self.slow = patterns;
        self.slow_rate = rate;
        self
    }

    /// What trains the rest, and the part of the rate that it takes. Default: [`AdamW`] as it is, a tenth.
    #[must_use]
    pub fn with_others(mut self, others: AdamW, rate: f64) -> Self {
        self.others = others;
        self.others_rate = rate;
        self
    }

    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        average("momentum", self.momentum)?;
        positive("epsilon", self.epsilon)?;
        not_negative("weight_decay", self.weight_decay)?;
        positive("slow_rate", self.slow_rate)?;
        positive("others_rate", self.others_rate)?;
        if self.iterations == 0 {
            return Err(RecipeError::Zero {
                field: "iterations",
            });
        }
        self.others.validate()
    }

    /// What trains the parameters of [`not_matrices`](Self::with_not_matrices), and those that do not decay.
    pub(super) fn others(&self, decays: bool) -> PartOfRate<AdamW> {
        let others = match decays {
            true => self.others.clone(),
            false => self.others.clone().with_weight_decay(0.0),
        };
        PartOfRate(others, self.others_rate)
    }

    /// The patterns of [`AdamW::with_no_decay`] where the others decay.
    pub(super) fn others_without_decay(&self) -> &[String] {
        match self.others.weight_decay {
            0.0 => &[],
            _ => &self.others.no_decay,
        }
    }

    /// The nearly orthogonal matrix in the direction of `update`.
    fn orthogonal<const D: usize>(&self, update: Tensor<D>) -> Tensor<D> {
        let [a, b, c] = COEFFICIENTS;
        let is_tall = update.dims()[0] > update.dims()[1];
        let turned = |x: Tensor<D>| if is_tall { x.transpose() } else { x };
        let mut x = turned(update);
        let norm = x.clone().square().sum_dim(1).sum_dim(0).sqrt();
        x = times(x, norm.clamp_min(self.epsilon).recip().reshape([1]));
        for _ in 0..self.iterations {
            let gram = x.clone().matmul(x.clone().transpose());
            let square = gram.clone().matmul(gram.clone());
            let mix = gram.mul_scalar(b) + square.mul_scalar(c);
            x = x.clone().mul_scalar(a) + mix.matmul(x);
        }
        turned(x)
    }

    fn matrix_step<const D: usize>(
        &self,
        rate: f64,
        matrix: Tensor<D>,
        grad: Tensor<D>,
        mean: Option<Tensor<D>>,
    ) -> (Tensor<D>, Tensor<D>) {
        let mean = mean.filter(|mean| mean.dims() == grad.dims());
        let mean = super::averaged(mean, grad.clone(), self.momentum);
        let update = match self.nesterov {
            true => super::averaged(Some(mean.clone()), grad, self.momentum),
            false => mean.clone(),
        };
        let update = self.orthogonal(update);
        // Ours are `[inputs, outputs]`.
        let [inputs, outputs] = [matrix.dims()[0], matrix.dims()[1]].map(|size| size as f64);
        let update = update.mul_scalar(rate * (outputs / inputs).max(1.0).sqrt());
        let matrix = match self.weight_decay {
            0.0 => matrix,
            decay => matrix.mul_scalar(1.0 - rate * decay),
        };
        (matrix.sub(update), mean)
    }
}

/// What [`Muon`] remembers of one parameter: one of both.
#[derive(Debug, Clone)]
pub struct MuonState<const D: usize> {
    /// Of a matrix: the running mean of gradients.
    mean: Option<Tensor<D>>,
    /// Of what AdamW trains.
    other: Option<AdamWState<D>>,
}

impl<const D: usize> RecordState for MuonState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        if let Some(mean) = &self.mean {
            out.push_tensor(prefix, "momentum", mean.to_data());
        }
        if let Some(other) = &self.other {
            other.state_flatten(prefix, out);
        }
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        let Some(data) = src.take_tensor(prefix, "momentum") else {
            let other = AdamWState::state_unflatten(prefix, src, device)?;
            return Some(Self {
                mean: None,
                other: Some(other),
            });
        };
        let dtype = data.dtype();
        let fits = data.rank() == D;
        fits.then(|| Self {
            mean: Some(Tensor::from_data(data, (device, dtype))),
            other: None,
        })
    }
}

impl Optimizer for Muon {
    type State<const D: usize> = MuonState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (mean, other) = state.map_or((None, None), |state| (state.mean, state.other));
        if D != 2 {
            let lr = lr * self.others_rate;
            let (tensor, other) = self.others.step(lr, tensor, grad, other);
            return (tensor, Some(MuonState { mean: None, other }));
        }
        let dtype = tensor.dtype();
        let (tensor, mean) = self.matrix_step(lr, widened(tensor), widened(grad), mean);
        let state = MuonState {
            mean: Some(mean),
            other: None,
        };
        (tensor.cast(dtype), Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        MuonState {
            mean: state.mean.map(|mean| mean.to_device(device)),
            other: state.other.map(|other| AdamW::to_device(other, device)),
        }
    }
}

/// An optimiser that takes a part of the rate.
#[derive(Debug, Clone)]
pub(super) struct PartOfRate<O>(pub(super) O, pub(super) f64);

impl<O: Optimizer> Optimizer for PartOfRate<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        self.0.step(lr * self.1, tensor, grad, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        O::to_device(state, device)
    }
}
