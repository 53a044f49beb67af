use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};
use clinical_kernels::optimizer;
use serde::{Deserialize, Serialize};

use super::{averaged, biases_and_norms, rms, times, widened};
use crate::RecipeError;
use crate::recipe_error::{average, not_negative, positive};

/// Whose Adafactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Flavour {
    /// `transformers.optimization.Adafactor`, in a file `hugging-face`: the last two dimensions of every tensor of rank
    /// 2 or more are factored, and the weight decay is multiplied by the rate.
    #[default]
    HuggingFace,
    /// `optax.adafactor`, in a file `optax`: the two largest dimensions are factored, and only if both are at least
    /// `min_dim_size_to_factor`; the weight decay is not multiplied by the rate.
    Optax,
}

/// Adafactor ([Shazeer and Stern 2018](https://arxiv.org/abs/1804.04235)): gradients divided by the root of a running
/// mean of their squares, of which a matrix keeps only the means of its rows and of its columns.
///
/// One step, counted from 1: `beta2 = 1 - step^-decay_rate`; the second moments become `beta2 * old + (1 - beta2) *
/// (g^2 + epsilon_1)`; the update is `g / sqrt(moment)`, divided by `max(1, RMS(update) / clip_threshold)`, times the
/// rate and, with `scale_parameter`, `max(epsilon_2, RMS(parameter))`; with `beta1`, its running mean is taken;
/// parameters are decayed; the update is subtracted.
///
/// # Layout of matrices
///
/// `clinical_nn::Linear` holds `[d_input, d_output]`, PyTorch the transpose. The steps are the same: the estimate of
/// the moment of element `(i, j)` is `row(i) * column(j) / mean`, where `mean` is that of all elements, so rows and
/// columns change places and nothing else; the root mean squares do not depend on the layout. For the same reason a
/// Flax kernel, which is stored as here, and its PyTorch weight take the same steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adafactor {
    flavour: Flavour,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale_parameter: Option<bool>,
    relative_step: bool,
    warmup_init: bool,
    epsilon_1: f64,
    epsilon_2: f64,
    clip_threshold: f64,
    decay_rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    beta1: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_dim_size_to_factor: Option<usize>,
    pub(super) weight_decay: f64,
    pub(super) no_decay: Vec<String>,
}

impl Default for Adafactor {
    fn default() -> Self {
        Self::new(Flavour::HuggingFace)
    }
}

impl Adafactor {
    /// What the Trainer of `transformers` makes of `optim="adafactor"`, or `optax.adafactor` with its defaults.
    #[must_use]
    pub fn new(flavour: Flavour) -> Self {
        Self {
            flavour,
            scale_parameter: None,
            relative_step: false,
            warmup_init: false,
            epsilon_1: 1e-30,
            epsilon_2: 1e-3,
            clip_threshold: 1.0,
            decay_rate: 0.8,
            beta1: None,
            min_dim_size_to_factor: None,
            weight_decay: 0.0,
            no_decay: biases_and_norms(),
        }
    }

    /// Multiplies the rate by `max(epsilon_2, RMS(parameter))`: `scale_parameter` of `transformers`,
    /// `multiply_by_parameter_scale` of `optax`. Default: no for Hugging Face (as its Trainer), yes for optax.
    #[must_use]
    pub fn with_scale_parameter(mut self, scale: bool) -> Self {
        self.scale_parameter = Some(scale);
        self
    }

    /// Takes `min(0.01, step^-0.5)` for the rate and ignores the one it is given. Hugging Face only. Default: no.
    #[must_use]
    pub fn with_relative_step(mut self, relative: bool) -> Self {
        self.relative_step = relative;
        self
    }

    /// Begins the relative step at `1e-6 * step` in place of 0.01. Default: no.
    #[must_use]
    pub fn with_warmup_init(mut self, warmup: bool) -> Self {
        self.warmup_init = warmup;
        self
    }

    /// Added to the squares of gradients. Default: 1e-30.
    #[must_use]
    pub fn with_epsilon_1(mut self, epsilon: f64) -> Self {
        self.epsilon_1 = epsilon;
        self
    }

    /// The least root mean square of a parameter that counts. Default: 1e-3.
    #[must_use]
    pub fn with_epsilon_2(mut self, epsilon: f64) -> Self {
        self.epsilon_2 = epsilon;
        self
    }

    /// The largest root mean square of an update before the rate. Default: 1.
    #[must_use]
    pub fn with_clip_threshold(mut self, threshold: f64) -> Self {
        self.clip_threshold = threshold;
        self
    }

    /// The exponent in `beta2 = 1 - step^-decay_rate`; `transformers` writes it with its sign, -0.8. Default: 0.8.
    #[must_use]
    pub fn with_decay_rate(mut self, rate: f64) -> Self {
        self.decay_rate = rate;
        self
    }

    /// Factor of the running mean of updates, which costs one tensor for each parameter: `beta1` of `transformers`,
    /// `momentum` of `optax`. Default: none.
    #[must_use]
    pub fn with_beta1(mut self, beta1: f64) -> Self {
        self.beta1 = Some(beta1);
        self
    }

    /// The smallest dimension that is factored. Optax only. Default: 128.
    #[must_use]
    pub fn with_min_dim_size_to_factor(mut self, size: usize) -> Self {
        self.min_dim_size_to_factor = Some(size);
        self
    }

    /// The part of a parameter that each step takes away: times the rate (and the parameter's scale) for Hugging Face,
    /// as it is for optax. Default: 0.
    #[must_use]
    pub fn with_weight_decay(mut self, decay: f64) -> Self {
        self.weight_decay = decay;
        self
    }

    /// Regular expressions for the paths of parameters without weight decay, such as `encoder.norm.weight`, in either
    /// case; only [`OptimizerConfig::build`](crate::OptimizerConfig::build) looks at them. Default: biases and norms,
    /// as the Trainer of `transformers`.
    #[must_use]
    pub fn with_no_decay(mut self, patterns: Vec<String>) -> Self {
        self.no_decay = patterns;
        self
    }

    pub(super) fn validate(&self) -> Result<(), RecipeError> {
        positive("epsilon_1", self.epsilon_1)?;
        positive("epsilon_2", self.epsilon_2)?;
        positive("clip_threshold", self.clip_threshold)?;
        positive("decay_rate", self.decay_rate)?;
        not_negative("weight_decay", self.weight_decay)?;
        average("beta1", self.beta1.unwrap_or(0.0))?;
        match self.flavour {
            Flavour::HuggingFace => {
                if self.min_dim_size_to_factor.is_some() {
                    let field = "min_dim_size_to_factor";
                    return Err(RecipeError::OnlyOptax { field });
                }
                if self.warmup_init && !self.relative_step {
                    return Err(RecipeError::WarmupWithoutRelativeStep);
                }
            }
            Flavour::Optax => {
                let fields = [
                    ("relative_step", self.relative_step),
                    ("warmup_init", self.warmup_init),
                ];
                if let Some((field, _)) = fields.into_iter().find(|(_, set)| *set) {
                    return Err(RecipeError::OnlyHuggingFace { field });
                }
            }
        }
        Ok(())
    }

    /// The two dimensions that are factored: the second moment keeps the mean over the second of them ("rows") and
    /// the mean over the first ("columns").
    fn factored<const D: usize>(&self, dims: &[usize; D]) -> Option<(usize, usize)> {
        if D < 2 {
            return None;
        }
        match self.flavour {
            Flavour::HuggingFace => Some((D - 2, D - 1)),
            Flavour::Optax => {
                let mut order: Vec<usize> = (0..D).collect();
                order.sort_by_key(|&dim| dims[dim]);
                let (first, second) = (order[D - 2], order[D - 1]);
                let least = self.min_dim_size_to_factor.unwrap_or(128);
                (dims[first] >= least).then_some((first, second))
            }
        }
    }

    fn rate(&self, given: f64, step: usize) -> f64 {
        if !self.relative_step {
            return given;
        }
        let step = step as f64;
        let most = if self.warmup_init { 1e-6 * step } else { 1e-2 };
        most.min(1.0 / step.sqrt())
    }

    /// A step by our kernel, or the parameter.
    #[allow(clippy::type_complexity, clippy::result_large_err)]
    fn fused<const D: usize>(
        &self,
        lr: f64,
        step: usize,
        tensor: Tensor<D>,
        grad: &Tensor<D>,
        rows: Option<&Tensor<D>>,
        columns: Option<&Tensor<D>>,
    ) -> Result<(Tensor<D>, AdafactorState<D>), Tensor<D>> {
        let dims = tensor.dims();
        // The flavours name rows and columns each in its way; the larger dimension is the first of optax.
        let plain = match self.factored(&dims) {
            Some((0, 1)) => true,
            Some((1, 0)) => false,
            _ => return Err(tensor),
        };
        if D != 2 || self.beta1.is_some() {
            return Err(tensor);
        }
        let rate = self.rate(lr, step);
        let kernel = optimizer::Adafactor {
            beta2: 1.0 - (step as f64).powf(-self.decay_rate),
            epsilon: self.epsilon_1,
            clip_threshold: self.clip_threshold,
            rate,
            scale: self.scales().then_some(self.epsilon_2),
            decay: match self.flavour {
                Flavour::HuggingFace => self.weight_decay * rate,
                Flavour::Optax => self.weight_decay,
            },
            decay_scaled: self.flavour == Flavour::HuggingFace,
        };
        let moments = match (rows, columns) {
            (Some(rows), Some(columns)) if plain => Some([rows, columns]),
            (Some(rows), Some(columns)) => Some([columns, rows]),
            _ => None,
        };
        let found = kernel.step(tensor, grad, moments)?;
        let (rows, columns) = match plain {
            true => (found.rows, found.columns),
            false => (found.columns, found.rows),
        };
        let state = AdafactorState {
            step,
            rows,
            columns: Some(columns),
            momentum: None,
        };
        Ok((found.tensor, state))
    }

    fn scales(&self) -> bool {
        self.scale_parameter
            .unwrap_or(self.flavour == Flavour::Optax)
    }
}

/// What [`Adafactor`] remembers of one parameter.
#[derive(Debug, Clone)]
pub struct AdafactorState<const D: usize> {
    /// Steps made.
    step: usize,
    /// The second moment: the whole, or its mean over one dimension, which is kept with size 1.
    rows: Tensor<D>,
    /// Its mean over the other one, if it is factored.
    columns: Option<Tensor<D>>,
    /// The running mean of updates.
    momentum: Option<Tensor<D>>,
}

impl<const D: usize> AdafactorState<D> {
    /// Whether this is of a parameter of this shape, factored in this way.
    fn fits(&self, dims: &[usize; D], factored: Option<(usize, usize)>) -> bool {
        let without = |dim: usize| {
            let mut dims = *dims;
            dims[dim] = 1;
            dims
        };
        let moments = match (factored, &self.columns) {
            (None, None) => self.rows.dims() == *dims,
            (Some((first, second)), Some(columns)) => {
                self.rows.dims() == without(second) && columns.dims() == without(first)
            }
            _ => false,
        };
        moments
            && self
                .momentum
                .as_ref()
                .is_none_or(|momentum| momentum.dims() == *dims)
    }
}

impl<const D: usize> RecordState for AdafactorState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, "step", self.step.into());
        out.push_tensor(prefix, "rows", self.rows.to_data());
        if let Some(columns) = &self.columns {
            out.push_tensor(prefix, "columns", columns.to_data());
        }
        if let Some(momentum) = &self.momentum {
            out.push_tensor(prefix, "momentum", momentum.to_data());
        }
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
            rows: tensor("rows")?,
            columns: tensor("columns"),
            momentum: tensor("momentum"),
        })
    }
}

impl Optimizer for Adafactor {
    type State<const D: usize> = AdafactorState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let dtype = tensor.dtype();
        let (tensor, grad) = (widened(tensor), widened(grad));
        let dims = tensor.dims();
        let factored = self.factored(&dims);
        let state = state.filter(|state| state.fits(&dims, factored));
        let (steps, rows, columns, momentum) = match state {
            Some(state) => (state.step, Some(state.rows), state.columns, state.momentum),
            None => (0, None, None, None),
        };
        let step = steps + 1;
        let beta2 = 1.0 - (step as f64).powf(-self.decay_rate);
        let tensor = match self.fused(lr, step, tensor, &grad, rows.as_ref(), columns.as_ref()) {
            Ok((tensor, state)) => return (tensor.cast(dtype), Some(state)),
            Err(tensor) => tensor,
        };

        let squares = grad.clone().square().add_scalar(self.epsilon_1);
        let (rows, columns, update) = match factored {
            Some((first, second)) => {
                let rows = averaged(rows, squares.clone().mean_dim(second), beta2);
                let columns = averaged(columns, squares.mean_dim(first), beta2);
                // Divided by the mean first: the product of two small moments could be 0.
                let scale = rows.clone().div(rows.clone().mean_dim(first)).sqrt();
                let update = grad.div(scale).div(columns.clone().sqrt());
                (rows, Some(columns), update)
            }
            None => {
                let moment = averaged(rows, squares, beta2);
                let update = grad.div(moment.clone().sqrt());
                (moment, None, update)
            }
        };

        let rate = self.rate(lr, step);
        let clip = rms(update.clone()).div_scalar(self.clip_threshold);
        let mut factor = clip.clamp_min(1.0).recip().mul_scalar(rate);
        let scale = self
            .scales()
            .then(|| rms(tensor.clone()).clamp_min(self.epsilon_2));
        if let Some(scale) = scale.clone() {
            factor = factor.mul(scale);
        }
        let mut update = times(update, factor);
        let momentum = self
            .beta1
            .map(|beta1| averaged(momentum, update.clone(), beta1));
        if let Some(momentum) = &momentum {
            update = momentum.clone();
        }

        let tensor = if self.weight_decay == 0.0 {
            tensor
        } else {
            // Subtracted: `1 - decay` is too coarse in f32 for small rates.
            let lost = match (self.flavour, scale) {
                (Flavour::Optax, _) => tensor.clone().mul_scalar(self.weight_decay),
                (Flavour::HuggingFace, scale) => {
                    let lost = tensor.clone().mul_scalar(self.weight_decay * rate);
                    scale.into_iter().fold(lost, times)
                }
            };
            tensor.sub(lost)
        };
        let state = AdafactorState {
            step,
            rows,
            columns,
            momentum,
        };
        (tensor.sub(update).cast(dtype), Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdafactorState {
            step: state.step,
            rows: state.rows.to_device(device),
            columns: state.columns.map(|columns| columns.to_device(device)),
            momentum: state.momentum.map(|momentum| momentum.to_device(device)),
        }
    }
}
