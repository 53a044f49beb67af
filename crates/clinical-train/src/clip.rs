//! Gradients with a bounded norm.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};

/// The Euclidean norm over all gradients of `module`'s parameters at once, computed in f32 on the device of the first
/// of them; 0 if there are none.
///
/// The sums are taken in the order of the module's parameters and along one dimension at a time, so that the same
/// gradients always give the same bits. A norm that is infinite or not a number is returned as it is.
#[must_use]
pub fn global_norm<M: Module>(grads: &GradientsParams, module: &M) -> f64 {
    let mut squares = Squares {
        grads,
        found: Vec::new(),
    };
    module.visit(&mut squares);
    let Some(first) = squares.found.first() else {
        return 0.0;
    };
    let device = first.device();
    let norms = squares
        .found
        .into_iter()
        .map(|sum| sum.to_device(&device).sqrt())
        .collect();
    let norm = Tensor::cat(norms, 0).square().sum_dim(0).sqrt();
    f64::from(norm.into_scalar::<f32>())
}

/// `torch.nn.utils.clip_grad_norm_`: all gradients of `module`'s parameters times `min(1, max / (norm + 1e-6))`, and
/// their [`global_norm`] before it.
///
/// With a `max` that is not above 0 nothing is clipped, as in the Trainer of `transformers`. A norm that is infinite or
/// not a number makes the gradients useless, here as in PyTorch: look at the norm before you make the step. Burn's own
/// `GradientClipping` bounds each tensor by itself, which is another thing.
#[must_use]
pub fn clip_by_global_norm<M: Module>(
    mut grads: GradientsParams,
    module: &M,
    max: f64,
) -> (GradientsParams, f64) {
    let norm = global_norm(&grads, module);
    if max > 0.0 {
        let coefficient = max as f32 / (norm as f32 + 1e-6);
        // Not `min`, which would take 1 for not a number.
        let clips = coefficient < 1.0 || coefficient.is_nan();
        if clips {
            grads = scaled(grads, module, coefficient);
        }
    }
    (grads, norm)
}

/// The sum of squares of each gradient, `[1]` each.
struct Squares<'a> {
    grads: &'a GradientsParams,
    found: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let mut sum = grad.cast(DType::F32).square();
            // A sum over everything at once may be taken in any order.
            for dim in (0..D).rev() {
                sum = sum.sum_dim(dim);
            }
            self.found.push(sum.reshape([1]));
        }
    }
}

/// All gradients of `module`'s parameters times `coefficient`.
pub(crate) fn scaled<M: Module>(
    grads: GradientsParams,
    module: &M,
    coefficient: f32,
) -> GradientsParams {
    let mut scale = Scale { grads, coefficient };
    module.visit(&mut scale);
    scale.grads
}

struct Scale {
    grads: GradientsParams,
    coefficient: f32,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            let grad = grad.mul_scalar(self.coefficient);
            self.grads.register(param.id, grad);
        }
    }
}
