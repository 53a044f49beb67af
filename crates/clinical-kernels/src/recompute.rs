//! Parts of a model that keep their inputs alone between the forward pass and the backward pass, which runs them again:
//! memory for time.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
type Inner = crate::autodiff::Input;
#[cfg(not(feature = "flex"))]
type Inner = std::convert::Infallible;

/// An f32 tensor of any rank on a CPU device with gradients.
#[derive(Debug, Clone)]
pub struct Value(Inner);

impl Value {
    /// `None` for a tensor of another device or type.
    #[must_use]
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        #[cfg(feature = "flex")]
        return crate::autodiff::Input::of(tensor).map(Self);
        #[cfg(not(feature = "flex"))]
        return Some(tensor)
            .filter(|_| false)
            .map(|_| unreachable!("never there"));
    }

    /// The tensor.
    ///
    /// # Panics
    ///
    /// When it has another rank.
    #[must_use]
    pub fn tensor<const D: usize>(&self) -> Tensor<D> {
        #[cfg(feature = "flex")]
        return self.0.tensor();
        #[cfg(not(feature = "flex"))]
        match self.0 {}
    }
}

/// `run(inputs)`, with the same gradients, of which only the inputs are kept: the backward pass runs it again.
///
/// `run` is called with constants now, and with leaves later. It must be a function of what it is given and of
/// constants: a parameter with gradients that it brings along would get none. `None` where it does not apply: on other
/// backends than the CPU's, where `run` gives another type than f32, or with more than 64 inputs that want a gradient.
#[must_use]
pub fn recompute<const D: usize>(
    inputs: &[Value],
    run: impl Fn(&[Value]) -> Tensor<D> + Send + Sync + 'static,
) -> Option<Tensor<D>> {
    #[cfg(feature = "flex")]
    {
        let inputs: Vec<Inner> = inputs.iter().map(|value| value.0.clone()).collect();
        let run = move |inputs: &[Inner]| {
            let values: Vec<Value> = inputs.iter().cloned().map(Value).collect();
            let y = run(&values);
            Inner::of(&y).expect("a layer of f32 on one device")
        };
        crate::autodiff::recompute::recompute(&inputs, std::sync::Arc::new(run))
    }
    #[cfg(not(feature = "flex"))]
    return (inputs, run).0.first().map(|value| match value.0 {});
}
