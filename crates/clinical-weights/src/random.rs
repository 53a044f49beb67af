//! Random packed weights, for measurements of speed.

use std::collections::HashMap;
use std::sync::Arc;

use burn::module::{ModuleMapper, Param};
use burn::tensor::Tensor;
use clinical_kernels::{Format, Packed, PackedMatrix};

use crate::plan::packing;
use crate::slots::{Position, slots};
use crate::{FromCheckpoint, Precision};

/// The model with random weights in every matrix that a load at this precision would pack, made in packed form: a model of
/// 7 billion parameters in int4 needs 4 GB at no time more. Other parameters are as they were. At precisions that pack
/// nothing the model is returned unchanged.
///
/// It is for measurements of speed and memory; the weights mean nothing.
#[must_use]
pub fn with_random_packed<M: FromCheckpoint>(model: M, precision: Precision) -> M {
    let keys = model.key_map();
    let formats = slots(&model)
        .into_iter()
        .filter(|slot| !slot.packed)
        .filter_map(|slot| {
            let format = packing(&slot, &keys, precision)?;
            Some((slot.path, (format, slot.transposed)))
        })
        .collect();
    model.map(&mut Filler {
        position: Position::default(),
        formats,
        seed: 0,
    })
}

struct Filler {
    position: Position,
    formats: HashMap<String, (Format, bool)>,
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
            .and_then(|path| self.formats.remove(&path));
        let (Some((format, transposed)), &[first, second]) = (found, param.lazy_shape().as_slice())
        else {
            return param;
        };
        let (outputs, inputs) = match transposed {
            true => (second, first),
            false => (first, second),
        };
        self.seed += 1;
        let std = (inputs.max(1) as f32).sqrt().recip();
        let matrix = PackedMatrix::random(format, outputs, inputs, std, self.seed);
        Packed::attach(param, Arc::new(matrix), transposed)
    }
}
