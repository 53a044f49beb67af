//! Kernels through which gradients flow: operations of Burn's automatic differentiation over the kernels of this crate.
//!
//! An operation computes its result from the values of its [`Input`]s, and hands it to [`record`] with what the
//! backward pass needs, an [`Operation`]:
//!
//! ```text
//! let (x, weight) = (Input::of(x)?, Input::of(weight)?);      // None elsewhere: Burn's operations are used
//! let y = kernel(x.values(), weight.values());
//! record([Some(x), Some(weight)], y, |[x, weight]| Kept { .. })  // which inputs want a gradient
//! ```
//!
//! What is kept are the tensors themselves, which share their memory with the graph, and only those that a wanted
//! gradient is made of: a frozen weight costs no copy of the input. Burn's gradient checkpointing
//! (`Device::gradient_checkpointing`) leaves these operations as they are: they keep little beside their inputs.

pub(crate) mod attention;
pub(crate) mod linear;
pub(crate) mod loss;
pub(crate) mod recompute;
pub(crate) mod rows;
#[cfg(test)]
mod tests;
mod weight;

use std::fmt;
use std::marker::PhantomData;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, AutodiffBackend, BackendTypes, Flex};
use burn::tensor::{Bool, DType, Tensor};

/// The CPU backend with gradients; `Strategy` says which one a tensor is of.
type Plain = Autodiff<Flex, NoCheckpointing>;
type Balanced = Autodiff<Flex, BalancedCheckpointing>;

/// A tensor of either.
type Tracked = <Plain as BackendTypes>::FloatTensorPrimitive;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    Plain,
    Balanced,
}

/// An f32 tensor of the CPU backend on a device with gradients, as an operation reads it.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    tensor: Tracked,
    strategy: Strategy,
}

impl Input {
    /// `None` for a tensor of another type or backend, or of a device without gradients.
    pub(crate) fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if tensor.dtype() != DType::F32 || !tensor.device().is_autodiff() {
            return None;
        }
        if let Ok(tensor) = tensor.clone().try_into_primitive::<Plain>() {
            let strategy = Strategy::Plain;
            return Some(Self { tensor, strategy });
        }
        let tensor = tensor.clone().try_into_primitive::<Balanced>().ok()?;
        let strategy = Strategy::Balanced;
        Some(Self { tensor, strategy })
    }

    /// [`of`](Self::of) of a tensor that need not be there: `None` where it is there and is none of this backend.
    pub(crate) fn of_option<const D: usize>(tensor: Option<&Tensor<D>>) -> Option<Option<Self>> {
        tensor
            .map(Self::of)
            .map_or(Some(None), |input| input.map(Some))
    }

    /// Whether a gradient of it is wanted, or of something that it is made of. Constants and frozen weights want none.
    pub(crate) fn wanted(&self) -> bool {
        self.tensor.is_tracked()
    }

    /// The values, which share the tensor's memory.
    pub(crate) fn values(&self) -> FlexTensor {
        self.tensor.primitive().clone()
    }

    /// Nothing, in the place of an input that is not there.
    fn nothing(strategy: Strategy) -> Self {
        let empty = FlexTensor::empty([0].into(), DType::F32);
        Self {
            tensor: Plain::from_inner(empty),
            strategy,
        }
    }
}

/// The values of a mask on a device with gradients; `None` for one of another backend.
pub(crate) fn bool_values<const D: usize>(tensor: &Tensor<D, Bool>) -> Option<FlexTensor> {
    if let Ok(values) = tensor.clone().try_into_primitive::<Plain>() {
        return Some(values);
    }
    tensor.clone().try_into_primitive::<Balanced>().ok()
}

/// What the backward pass of a recorded operation with `N` inputs needs, and what it does with it.
pub(crate) trait Operation<const N: usize>: Clone + fmt::Debug + Send + 'static {
    /// The gradients of those inputs that are `wanted`, each of its input's shape, from the gradient of the output.
    /// What is given for others is not looked at.
    fn backward(self, gradient: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N];
}

/// `output` as a tensor that gradients flow through to `inputs`. `operation` is asked what to keep, given which inputs
/// want a gradient; it is not called, and nothing is kept, where none does.
///
/// # Panics
///
/// When no input is there, or one is of a device with checkpointing and another of one without, as in Burn.
pub(crate) fn record<const N: usize, const D: usize, O: Operation<N>>(
    inputs: [Option<Input>; N],
    output: FlexTensor,
    operation: impl FnOnce([bool; N]) -> O,
) -> Tensor<D> {
    let strategies = || inputs.iter().flatten().map(|input| input.strategy);
    let strategy = strategies().next().expect("an operation has an input");
    assert!(
        strategies().all(|other| other == strategy),
        "all inputs are of one device"
    );
    let inputs = inputs.map(|input| input.unwrap_or_else(|| Input::nothing(strategy)));
    let wanted = inputs.each_ref().map(Input::wanted);
    if !wanted.contains(&true) {
        // A constant: nothing is registered, so the graph does not grow where nobody calls backward.
        return match strategy {
            Strategy::Plain => Tensor::from_primitive::<Plain>(Plain::from_inner(output)),
            Strategy::Balanced => Tensor::from_primitive::<Balanced>(Balanced::from_inner(output)),
        };
    }
    let nodes = inputs.map(|input| input.tensor.node());
    let recorded = Recorded(PhantomData);
    // The two kinds of graph have nothing in common that could be named here.
    match strategy {
        Strategy::Plain => {
            let prepared = recorded.prepare::<NoCheckpointing>(nodes).compute_bound();
            Tensor::from_primitive::<Plain>(match prepared.stateful() {
                OpsKind::Tracked(prepared) => prepared.finish(operation(wanted), output),
                OpsKind::UnTracked(prepared) => prepared.finish(output),
            })
        }
        Strategy::Balanced => {
            let prepared = recorded.prepare::<BalancedCheckpointing>(nodes);
            Tensor::from_primitive::<Balanced>(match prepared.compute_bound().stateful() {
                OpsKind::Tracked(prepared) => prepared.finish(operation(wanted), output),
                OpsKind::UnTracked(prepared) => prepared.finish(output),
            })
        }
    }
}

/// An operation in Burn's graph.
struct Recorded<O>(PhantomData<fn() -> O>);

impl<O> fmt::Debug for Recorded<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<O>())
    }
}

impl<O: Operation<N>, const N: usize> Backward<Flex, N> for Recorded<O> {
    type State = O;

    fn backward(self, ops: Ops<O, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = ops.state.backward(gradient, wanted);
        for (parent, found) in ops.parents.iter().zip(found) {
            if let (Some(parent), Some(found)) = (parent, found) {
                grads.register::<Flex>(parent.id, found);
            }
        }
    }
}
