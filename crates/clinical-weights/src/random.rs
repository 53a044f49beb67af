//! Random weights, for measurements of speed. They stand here and not with the benchmarks because they walk a module as
//! a load does, slot by slot under the same packing policy, and so leave it exactly as a load would.

use std::collections::HashMap;
use std::sync::Arc;

use burn::module::{ModuleMapper, Param};
use burn::tensor::{DType, Distribution, Tensor};
use clinical_kernels::{Packed, PackedMatrix, Packing};

use crate::slots::{Position, slots};
use crate::{FromCheckpoint, LinearLayout, Precision};

/// The model with random weights in its matrices, made as a load at this precision and with this layout would leave
/// them: a model of 7 billion parameters in int4 needs 4 GB at no time more. Other parameters are as they were.
///
/// It is for measurements of speed and memory; the weights mean nothing.
#[must_use]
pub fn with_random_weights<M: FromCheckpoint>(
    model: M,
    precision: Precision,
    layout: LinearLayout,
) -> M {
    let keys = model.key_map();
    let steps = slots(&model, &keys)
        .into_iter()
        .filter(|slot| !slot.packed)
        .filter_map(|slot| {
            let step = match keys.packing().format(&slot, precision) {
                Some(format) => Step::Pack(format, slot.transposed),
                None if slot.transposed
                    && !slot.input_major
                    && layout.is_output_major(&slot.device, DType::F32) =>
                {
                    Step::Turn
                }
                None => return None,
            };
            Some((slot.path, step))
        })
        .collect();
    model.map(&mut Filler {
        position: Position::default(),
        steps,
        seed: 0,
    })
}

/// What is done with a matrix.
enum Step {
    /// It is packed; `true` for those of layers, `[d_input, d_output]` in the module.
    Pack(Packing, bool),
    /// It becomes a view of `[d_output, d_input]`.
    Turn,
}

struct Filler {
    position: Position,
    steps: HashMap<String, Step>,
    seed: u64,
}

impl ModuleMapper for Filler {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.position.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.position.exit(container_type);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let found = self
            .position
            .path()
            .and_then(|path| self.steps.remove(&path));
        let (Some(step), &[first, second]) = (found, param.lazy_shape().as_slice()) else {
            return param;
        };
        let (outputs, inputs) = match step {
            Step::Pack(_, false) => (first, second),
            Step::Pack(_, true) | Step::Turn => (second, first),
        };
        self.seed += 1;
        let std = (inputs.max(1) as f32).sqrt().recip();
        match step {
            Step::Pack(format, transposed) => {
                let matrix = PackedMatrix::random(format, outputs, inputs, std, self.seed);
                Packed::attach(param, Arc::new(matrix), transposed)
            }
            Step::Turn => {
                let normal = Distribution::Normal(0.0, std.into());
                let shape = [outputs, inputs];
                let matrix = Tensor::<D>::random(shape, normal, &param.lazy_device());
                let id = param.id;
                param.transform_for_load(matrix.swap_dims(0, 1), id)
            }
        }
    }
}
