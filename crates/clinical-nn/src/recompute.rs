//! Layers that keep their input alone while a model trains.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use clinical_kernels::recompute::{Value, recompute as recompute_values};

/// What comes into a layer.
#[derive(Debug, Clone)]
pub struct LayerInputs {
    /// What it changes, `[batch, length, d]`.
    pub x: Tensor<3>,
    /// The states of another sequence, of which it makes keys and values: once for each.
    pub states: Option<[Tensor<3>; 2]>,
    /// A bias of its scores that other layers share.
    pub bias: Option<Tensor<4>>,
}

/// `run(layer, inputs)`, `[batch, length, d]`, of which only the inputs are kept for the backward pass, which runs the
/// layer again. Results and gradients are the same, bit for bit, if what `run` drops is a function of a seed
/// ([`Dropout`](crate::Dropout)); but what several layers share gets the sum of their gradients from the last layer to
/// the first, where Burn may take another order.
///
/// It applies on CPU devices with gradients, to layers and inputs in f32 with up to 64 tensors that want a gradient;
/// elsewhere everything is kept.
pub fn recompute<M: Module + Clone + Send + Sync + 'static>(
    layer: &M,
    inputs: LayerInputs,
    run: impl Fn(&M, LayerInputs) -> Tensor<3> + Send + Sync + 'static,
) -> Tensor<3> {
    let mut parameters = Parameters::default();
    layer.visit(&mut parameters);
    let (Some(values), false) = (values(&inputs), parameters.is_other) else {
        return run(layer, inputs);
    };
    let Parameters { ids, mut all, .. } = parameters;
    let first = all.len();
    all.extend(values);
    let has_states = inputs.states.is_some();
    // Constants in the place of the parameters: the layer must not hold a part of the graph.
    let frozen = replaced(layer.clone(), &ids, None);
    let run_again = move |values: &[Value]| {
        let (parameters, inputs) = values.split_at(first);
        let layer = replaced(frozen.clone(), &ids, Some(parameters));
        run(&layer, layer_inputs(inputs, has_states))
    };
    match recompute_values(&all, run_again) {
        Some(y) => y,
        None => unreachable!("counted above"),
    }
}

fn values(inputs: &LayerInputs) -> Option<Vec<Value>> {
    let mut values = vec![Value::of(&inputs.x)?];
    for states in inputs.states.iter().flatten() {
        values.push(Value::of(states)?);
    }
    if let Some(bias) = &inputs.bias {
        values.push(Value::of(bias)?);
    }
    Some(values)
}

fn layer_inputs(values: &[Value], has_states: bool) -> LayerInputs {
    let after = if has_states { 3 } else { 1 };
    LayerInputs {
        x: values[0].tensor(),
        states: has_states.then(|| [values[1].tensor(), values[2].tensor()]),
        bias: values.get(after).map(Value::tensor),
    }
}

/// The parameters of a layer that want a gradient.
#[derive(Default)]
struct Parameters {
    ids: Vec<ParamId>,
    all: Vec<Value>,
    /// Whether one of them cannot be computed with.
    is_other: bool,
}

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // Packed weights are constants, and are not to be unpacked.
        if clinical_kernels::packed(param).is_some() || !param.is_require_grad() {
            return;
        }
        match Value::of(&param.val()) {
            Some(value) => {
                self.ids.push(param.id);
                self.all.push(value);
            }
            None => self.is_other = true,
        }
        self.is_other |= self.ids.len() > MOST;
    }
}

/// The most parameters with gradients of a layer, so that there is room for its inputs.
const MOST: usize = 60;

/// The layer with these values as parameters, or with constants of its own.
fn replaced<M: Module>(layer: M, ids: &[ParamId], values: Option<&[Value]>) -> M {
    struct Replace<'a> {
        at: HashMap<ParamId, usize>,
        values: Option<&'a [Value]>,
    }

    impl ModuleMapper for Replace<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(&at) = self.at.get(&param.id) else {
                return param;
            };
            let value = match self.values {
                Some(values) => values[at].tensor(),
                None => param.val().detach().set_require_grad(false),
            };
            Param::initialized(param.id, value)
        }
    }

    let at = ids.iter().copied().enumerate();
    layer.map(&mut Replace {
        at: at.map(|(at, id)| (id, at)).collect(),
        values,
    })
}
