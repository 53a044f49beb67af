//! Whole tensors that were trained beside an adapter, in the place of a model's own.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor, TensorData};
use clinical_kernels::Packed;

use crate::slots::{Position, REPARAMETERIZATION};
use crate::{Error, KeyMap};
use clinical_files::shown;

/// The module with these values. `whole` has names and shapes of checkpoints.
pub(super) fn replace<M: Module>(
    model: M,
    whole: &BTreeMap<String, TensorData>,
    keys: &KeyMap,
) -> Result<M, Error> {
    if whole.is_empty() {
        return Ok(model);
    }
    let values = whole.iter();
    let mut mapper = Replace {
        position: Position::default(),
        keys,
        values: values
            .map(|(name, data)| (keys.module_name(name), (name.as_str(), data)))
            .collect(),
        last: None,
        problem: None,
    };
    let model = model.map(&mut mapper);
    let Replace {
        values, problem, ..
    } = mapper;
    if let Some(problem) = problem {
        return Err(problem);
    }
    match values.into_values().next() {
        Some((name, _)) => Err(Error::AdapterLayer {
            name: shown(name),
            near: String::new(),
        }),
        None => Ok(model),
    }
}

struct Replace<'a> {
    position: Position,
    keys: &'a KeyMap,
    values: BTreeMap<String, (&'a str, &'a TensorData)>,
    /// The tensor that replaced the parameter before this index.
    last: Option<&'a str>,
    problem: Option<Error>,
}

impl ModuleMapper for Replace<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        // What is attached to a parameter comes right after it, and would hide the new values.
        if container == REPARAMETERIZATION
            && name == Packed::NAME
            && let Some(tensor) = self.last
        {
            self.problem.get_or_insert(Error::AdapterTensor {
                name: shown(tensor),
                problem:
                    "replaces weights that are packed: load the base model at f32, f16 or bf16"
                        .to_owned(),
            });
        }
        self.last = None;
        self.position.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.last = None;
        self.position.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(path) = self.position.path() else {
            return param;
        };
        let Some((name, data)) = self.values.remove(&path) else {
            return param;
        };
        self.last = Some(name);
        let turned = self.position.is_linear_weight(D) && !self.keys.is_input_major(&path);
        let mut shape = param.lazy_shape().to_vec();
        if turned {
            shape.reverse();
        }
        if data.shape().as_slice() != shape.as_slice() {
            let found = data.shape().to_vec();
            self.problem.get_or_insert(Error::AdapterTensor {
                name: shown(name),
                problem: format!("has the shape {found:?} where the model has {shape:?}"),
            });
            return param;
        }
        let device = param.lazy_device();
        let values = Tensor::<D>::from_data(data.clone(), (&device, DType::F32));
        let values = if turned {
            values.swap_dims(0, 1)
        } else {
            values
        };
        let trained = param.is_require_grad();
        let values = values.cast(param.base().dtype());
        Param::initialized(param.id, values).set_require_grad(trained)
    }
}
