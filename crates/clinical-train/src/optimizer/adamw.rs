use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};
use clinical_kernels::optimizer;
use serde::{Deserialize, Serialize};

use super::{averaged, biases_and_norms, rms, times, widened};
use crate::RecipeError;
use crate::recipe_error::{average, not_negative};

/// `torch.optim.AdamW` ([Loshchilov and Hutter 2019](https://arxiv.org/abs/1711.05101)), with the defaults of the
/// Trainer of `transformers`.
///
/// One step, counted from 1: the parameter times `1 - rate * weight_decay`, less `rate / (1 - beta1^step) * m /
/// (sqrt(v / (1 - beta2^step)) + epsilon)`, where `m` and `v` are the running means of gradients and of their squares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    pub(super) weight_decay: f64,
    pub(super) no_decay: Vec<String>,
}

/// AdamW with steps in proportion to the parameter, `AdamWScale` of nanoT5: the rate is multiplied by `max(1e-3,
/// RMS(parameter))`, so that Adafactor's rates fit it (nanoT5 trains T5 with 0.02).
///
/// As in nanoT5, `epsilon` is added before the correction of bias, to `sqrt(v)`, and the weight decay takes `rate *
/// weight_decay` of the parameter after the update, without the parameter's scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWRms {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    pub(super) weight_decay: f64,
    pub(super) no_decay: Vec<String>,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            no_decay: biases_and_norms(),
        }
    }
}

impl Default for AdamWRms {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-6,
            weight_decay: 0.0,
            no_decay: biases_and_norms(),
        }
    }
}

/// What both have.
macro_rules! builder {
    ($name:ident, $epsilon:literal) => {
        impl $name {
            /// Factor of the running mean of gradients. Default: 0.9.
            #[must_use]
            pub fn with_beta1(mut self, beta1: f64) -> Self {
                self.beta1 = beta1;
                self
            }

            /// Factor of the running mean of their squares. Default: 0.999.
            #[must_use]
            pub fn with_beta2(mut self, beta2: f64) -> Self {
                self.beta2 = beta2;
                self
            }

            #[doc = concat!("Added to the root of the mean square. Default: ", $epsilon, ".")]
            #[must_use]
            pub fn with_epsilon(mut self, epsilon: f64) -> Self {
                self.epsilon = epsilon;
                self
            }

            /// The part of a parameter that each step takes away, times the rate. Default: 0.
            #[must_use]
            pub fn with_weight_decay(mut self, decay: f64) -> Self {
                self.weight_decay = decay;
                self
            }

            /// Regular expressions for the paths of parameters without weight decay, such as `encoder.norm.weight`, in
            /// either case; only [`OptimizerConfig::build`](crate::OptimizerConfig::build) looks at them. Default:
            /// biases and norms, as the Trainer of `transformers`.
            #[must_use]
            pub fn with_no_decay(mut self, patterns: Vec<String>) -> Self {
                self.no_decay = patterns;
                self
            }

            pub(super) fn validate(&self) -> Result<(), RecipeError> {
                average("beta1", self.beta1)?;
                average("beta2", self.beta2)?;
                not_negative("epsilon", self.epsilon)?;
                not_negative("weight_decay", self.weight_decay)
            }
        }
    };
}

builder!(AdamW, "1e-8");
builder!(AdamWRms, "1e-6");

/// What [`AdamW`] and [`AdamWRms`] remember of one parameter.
#[derive(Debug, Clone)]
pub struct AdamWState<const D: usize> {
    /// Steps made.
    step: usize,
    /// The running mean of gradients.
    mean: Tensor<D>,
    /// The running mean of their squares.
    square: Tensor<D>,
}

/// `1 - beta^step`: the share that a mean which began at zero has of its gradients.
fn correction(beta: f64, step: usize) -> f64 {
    1.0 - beta.powf(step as f64)
}

impl<const D: usize> AdamWState<D> {
    /// The state after one more gradient.
    fn after(state: Option<Self>, grad: &Tensor<D>, beta1: f64, beta2: f64) -> Self {
        let (step, mean, square) = match Self::fitting(state, grad.dims()) {
            Some(state) => (state.step, Some(state.mean), Some(state.square)),
            None => (0, None, None),
        };
        Self {
            step: step + 1,
            mean: averaged(mean, grad.clone(), beta1),
            square: averaged(square, grad.clone().square(), beta2),
        }
    }

    /// The state, if it is one of a parameter of this shape.
    fn fitting(state: Option<Self>, dims: [usize; D]) -> Option<Self> {
        state.filter(|state| state.mean.dims() == dims && state.square.dims() == dims)
    }

    fn correction(&self, beta: f64) -> f64 {
        correction(beta, self.step)
    }

    fn moved_to(self, device: &Device) -> Self {
        Self {
            step: self.step,
            mean: self.mean.to_device(device),
            square: self.square.to_device(device),
        }
    }
}

impl<const D: usize> RecordState for AdamWState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, "step", self.step.into());
        out.push_tensor(prefix, "mean", self.mean.to_data());
        out.push_tensor(prefix, "square", self.square.to_data());
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        let step = src.take_scalar(prefix, "step")?.try_into().ok()?;
        let mut tensor = |leaf: &str| {
            let data = src.take_tensor(prefix, leaf)?;
            (data.rank() == D).then(|| {
                let dtype = data.dtype();
                Tensor::from_data(data, (device, dtype))
            })
        };
        Some(Self {
            step,
            mean: tensor("mean")?,
            square: tensor("square")?,
        })
    }
}

impl AdamW {
    /// A step by our kernel, or what was given.
    #[allow(clippy::type_complexity, clippy::result_large_err)]
    fn fused<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: &Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> Result<(Tensor<D>, AdamWState<D>), (Tensor<D>, Option<AdamWState<D>>)> {
        let state = AdamWState::fitting(state, tensor.dims());
        let step = 1 + state.as_ref().map_or(0, |state| state.step);
        let kernel = optimizer::AdamW {
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            root: correction(self.beta2, step).sqrt(),
            rate: lr / correction(self.beta1, step),
            keep: 1.0 - lr * self.weight_decay,
        };
        let averages = state.map(|state| [state.mean, state.square]);
        match kernel.step(tensor, grad, averages) {
            Ok(found) => {
                let (mean, square) = (found.mean, found.square);
                let state = AdamWState { step, mean, square };
                Ok((found.tensor, state))
            }
            Err((tensor, averages)) => {
                let state = averages.map(|[mean, square]| AdamWState {
                    step: step - 1,
                    mean,
                    square,
                });
                Err((tensor, state))
            }
        }
    }
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let dtype = tensor.dtype();
        let (tensor, grad) = (widened(tensor), widened(grad));
        let (tensor, state) = match self.fused(lr, tensor, &grad, state) {
            Ok((tensor, state)) => return (tensor.cast(dtype), Some(state)),
            Err(both) => both,
        };
        let state = AdamWState::after(state, &grad, self.beta1, self.beta2);
        let root = state.square.clone().sqrt();
        let root = root.div_scalar(state.correction(self.beta2).sqrt());
        let update = state.mean.clone().div(root.add_scalar(self.epsilon));
        let update = update.mul_scalar(lr / state.correction(self.beta1));
        let tensor = match self.weight_decay {
            0.0 => tensor,
            decay => tensor.mul_scalar(1.0 - lr * decay),
        };
        (tensor.sub(update).cast(dtype), Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.moved_to(device)
    }
}

impl Optimizer for AdamWRms {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let dtype = tensor.dtype();
        let (tensor, grad) = (widened(tensor), widened(grad));
        let state = AdamWState::after(state, &grad, self.beta1, self.beta2);
        let root = state.square.clone().sqrt().add_scalar(self.epsilon);
        let rate = lr * state.correction(self.beta2).sqrt() / state.correction(self.beta1);
        let scale = rms(tensor.clone()).clamp_min(1e-3).mul_scalar(rate);
        let tensor = tensor.sub(times(state.mean.clone().div(root), scale));
        let tensor = match self.weight_decay {
            0.0 => tensor,
            // As nanoT5; `1 - decay` is too coarse in f32 for small rates.
            decay => tensor.clone().sub(tensor.mul_scalar(lr * decay)),
        };
        (tensor.cast(dtype), Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.moved_to(device)
    }
}
