//! Heads whose first weights follow from a seed: Burn's CPU backend has one generator for the whole process.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// `initializer_range` of BERT and GPT-2.
const STD: f64 = 0.02;

/// The model with the layers whose paths are `fresh` drawn anew: matrices from N(0, 0.02^2), biases 0.
pub(crate) fn fresh_layers<M: Module>(model: M, is_fresh: fn(&[String]) -> bool, seed: u64) -> M {
    let mut fresh = Fresh {
        path: Vec::new(),
        random: ChaCha8Rng::seed_from_u64(seed),
        is_fresh,
    };
    model.map(&mut fresh)
}

struct Fresh {
    path: Vec<String>,
    random: ChaCha8Rng,
    is_fresh: fn(&[String]) -> bool,
}

impl Fresh {
    /// Above 0, at most 1.
    fn unit(&mut self) -> f64 {
        ((self.random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Box and Muller (1958).
    fn normal(&mut self) -> f32 {
        let (a, b) = (self.unit(), self.unit());
        let radius = (-2.0 * a.ln()).sqrt();
        (STD * radius * (std::f64::consts::TAU * b).cos()) as f32
    }
}

impl ModuleMapper for Fresh {
    fn enter_module(&mut self, name: &str, container: &str) {
        // The variant of an enum belongs to the module, not to the name.
        if !container.starts_with("Enum:") {
            self.path.push(name.to_owned());
        }
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.path.pop();
        }
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !(self.is_fresh)(&self.path) {
            return param;
        }
        let (id, old, mapper) = param.consume();
        let shape = old.dims();
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| match D {
                1 => 0.0,
                _ => self.normal(),
            })
            .collect();
        let data = TensorData::new(values, shape);
        let value = Tensor::from_data(data, (&old.device(), old.dtype()));
        Param::from_mapped_value(id, value, mapper).set_require_grad(true)
    }
}
