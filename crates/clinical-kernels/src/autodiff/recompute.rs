//! Operations that keep their inputs alone, and are run again in the backward pass.

use std::fmt;
use std::sync::Arc;

use burn::backend::AutodiffBackend;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor};

use super::{Input, Operation, Plain, record};

/// What is run twice.
pub(crate) type Run = dyn Fn(&[Input]) -> Input + Send + Sync;

impl Input {
    /// The same tensor for other ranks to read.
    pub(crate) fn tensor<const D: usize>(&self) -> Tensor<D> {
        match self.strategy {
            super::Strategy::Plain => Tensor::from_primitive::<Plain>(self.tensor.clone()),
            super::Strategy::Balanced => {
                Tensor::from_primitive::<super::Balanced>(self.tensor.clone())
            }
        }
    }

    /// The same values, as a constant.
    fn constant(&self) -> Self {
        Self {
            tensor: Plain::from_inner(self.values()),
            strategy: self.strategy,
        }
    }

    /// The same values, as a leaf of a graph of its own.
    fn leaf(&self) -> Self {
        let Self { tensor, strategy } = self.constant();
        Self {
            tensor: tensor.require_grad(),
            strategy,
        }
    }
}

/// The most inputs with gradients that an operation may have.
const MOST: usize = 64;

/// `run(inputs)`, of which nothing is kept but `inputs`. `None` with more inputs with gradients than [`MOST`].
pub(crate) fn recompute<const D: usize>(inputs: &[Input], run: Arc<Run>) -> Option<Tensor<D>> {
    let wanted: Vec<bool> = inputs.iter().map(Input::wanted).collect();
    let parents: Vec<Input> = inputs
        .iter()
        .filter(|input| input.wanted())
        .cloned()
        .collect();
    let inputs: Vec<Input> = inputs.iter().map(Input::constant).collect();
    let y = run(&inputs);
    if parents.is_empty() {
        return Some(y.tensor());
    }
    let layer = Layer {
        inputs,
        wanted,
        run,
    };
    let count = parents.len();
    let y = y.values();
    Some(match count {
        0..=8 => recorded::<8, D>(parents, y, layer),
        9..=16 => recorded::<16, D>(parents, y, layer),
        17..=32 => recorded::<32, D>(parents, y, layer),
        33..=MOST => recorded::<MOST, D>(parents, y, layer),
        _ => return None,
    })
}

fn recorded<const N: usize, const D: usize>(
    parents: Vec<Input>,
    y: FlexTensor,
    layer: Layer,
) -> Tensor<D> {
    let mut parents = parents.into_iter();
    let parents: [Option<Input>; N] = std::array::from_fn(|_| parents.next());
    record(parents, y, |_| layer)
}

/// The inputs, and what was run.
#[derive(Clone)]
struct Layer {
    inputs: Vec<Input>,
    wanted: Vec<bool>,
    run: Arc<Run>,
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inputs = self.inputs.len();
        f.debug_struct("Layer")
            .field("inputs", &inputs)
            .finish_non_exhaustive()
    }
}

impl<const N: usize> Operation<N> for Layer {
    fn backward(self, gradient: FlexTensor, _: [bool; N]) -> [Option<FlexTensor>; N] {
        let Self {
            inputs,
            wanted,
            run,
        } = self;
        let leaves = inputs
            .iter()
            .zip(&wanted)
            .map(|(input, &wanted)| match wanted {
                true => input.leaf(),
                false => input.clone(),
            });
        let leaves: Vec<Input> = leaves.collect();
        drop(inputs);
        let y = run(&leaves);
        // A number whose gradient is that of the layer's result, whatever its own is.
        let end: Tensor<1> = record([Some(y)], FlexTensor::zeros([1].into(), DType::F32), |_| {
            Begin { gradient }
        });
        let Some(end) = Input::of(&end) else {
            unreachable!("an operation stays on its device");
        };
        let mut gradients = end.tensor.backward();
        let mut found = leaves
            .iter()
            .zip(wanted)
            .filter(|(_, wanted)| *wanted)
            .map(|(leaf, _)| leaf.tensor.grad_remove(&mut gradients));
        std::array::from_fn(|_| found.next().flatten())
    }
}

/// The start of a backward pass.
#[derive(Debug, Clone)]
struct Begin {
    gradient: FlexTensor,
}

impl Operation<1> for Begin {
    fn backward(self, _: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(self.gradient)]
    }
}
