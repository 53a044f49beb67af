//! Packed weights as parameters of a module.

use std::sync::Arc;

use burn::module::{Module, Param, Reparameterization, Reparameterizer};
use burn::tensor::{DType, Int, Tensor, TensorData};

use super::matrix::PackedMatrix;
use crate::fused::Then;

/// Packed weights that stand in for the values of a matrix parameter.
///
/// They are attached to the parameter by [`Packed::attach`]. The parameter keeps its shape and its place in the module but no
/// values of its own. [`Param::val`] gives the values as an f32 tensor, made anew at each call, so every operation of Burn
/// works on every backend; layers ask for [`packed`] first and use [`linear`](Self::linear) and [`select`](Self::select),
/// which on the CPU compute with the packed weights as they are.
///
/// Packed weights are constants: no gradient reaches them, and a module with them is not saved.
#[derive(Module, Debug)]
pub struct Packed {
    #[module(skip)]
    matrix: Arc<PackedMatrix>,
    transposed: bool,
}

/// The packed weights of a parameter, if it has any.
#[must_use]
pub fn packed<const D: usize>(param: &Param<Tensor<D>>) -> Option<&Packed> {
    param.reparameterization()
}

impl Packed {
    /// The path component below a parameter under which a module's visitors meet packed weights.
    pub const NAME: &'static str = <Self as Reparameterization>::NAME;

    /// A parameter of the same identity, shape and device whose values are `matrix`, or with `transposed` its transpose
    /// (a `Linear` of Burn's orientation, `[d_input, d_output]`).
    ///
    /// # Panics
    ///
    /// When the parameter has another shape.
    #[must_use]
    pub fn attach<const D: usize>(
        param: Param<Tensor<D>>,
        matrix: Arc<PackedMatrix>,
        transposed: bool,
    ) -> Param<Tensor<D>> {
        let shape = match transposed {
            true => [matrix.inputs(), matrix.outputs()],
            false => [matrix.outputs(), matrix.inputs()],
        };
        assert_eq!(
            param.lazy_shape().as_slice(),
            shape,
            "the parameter's shape"
        );
        let device = param.lazy_device();
        // One zero that is seen everywhere: the parameter has its shape without the memory.
        let base = Tensor::<D>::zeros([1; D], (&device, DType::F32)).expand(param.lazy_shape());
        let id = param.id;
        Param::initialized(id, base).apply_reparameterization(Attach(Self { matrix, transposed }))
    }

    /// The weights.
    #[must_use]
    pub fn matrix(&self) -> &Arc<PackedMatrix> {
        &self.matrix
    }

    /// `x W + bias` for a weight `[d_input, d_output]`: `[rows, d_input]` to f32 `[rows, d_output]`.
    ///
    /// On devices other than the CPU, and where gradients flow through `x`, the weights become f32 for the call.
    #[must_use]
    pub fn linear(&self, x: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
        let x = x.cast(DType::F32);
        let then = Then {
            bias: bias.as_ref(),
            ..Then::default()
        };
        if let Some(y) = self.linear_then(&x, then) {
            return y;
        }
        let [_, d_input] = x.dims();
        let data = TensorData::new(self.matrix.to_f32(), [self.matrix.outputs(), d_input]);
        let weight = Tensor::<2>::from_data(data, (&x.device(), DType::F32));
        let y = x.matmul(weight.transpose());
        match bias {
            Some(bias) => y + bias.cast(DType::F32).unsqueeze(),
            None => y,
        }
    }

    /// `residual + activation(x W + bias)` for f32 tensors on the CPU, as [`fused::linear`](crate::fused::linear); `None` where
    /// [`linear`](Self::linear) and Burn's operations are needed.
    #[must_use]
    pub fn linear_then(&self, x: &Tensor<2>, then: Then<'_>) -> Option<Tensor<2>> {
        #[cfg(feature = "flex")]
        return flex::linear(&self.matrix, x, then);
        #[cfg(not(feature = "flex"))]
        {
            let _ = (x, then);
            None
        }
    }

    /// Rows of a table `[entries, width]` by their indices, `[count, width]` in f32.
    ///
    /// # Panics
    ///
    /// When an index is not below the number of entries.
    #[must_use]
    pub fn select(&self, rows: Tensor<1, Int>) -> Tensor<2> {
        let device = rows.device();
        let width = self.matrix.inputs();
        let indices: Vec<i64> = rows.into_data().iter::<i64>().collect();
        let mut values = vec![0.0; indices.len() * width];
        if width > 0 {
            for (index, out) in indices.iter().zip(values.chunks_exact_mut(width)) {
                let index = usize::try_from(*index).unwrap_or(usize::MAX);
                self.matrix.row(index, out);
            }
        }
        let data = TensorData::new(values, [indices.len(), width]);
        Tensor::from_data(data, (&device, DType::F32))
    }
}

impl Reparameterization for Packed {
    const NAME: &'static str = "packed";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let (outputs, inputs) = (self.matrix.outputs(), self.matrix.inputs());
        let data = TensorData::new(self.matrix.to_f32(), [outputs, inputs]);
        let values = Tensor::<2>::from_data(data, (&base.device(), DType::F32));
        let values = match self.transposed {
            true => values.transpose(),
            false => values,
        };
        values.reshape(base.shape())
    }
}

struct Attach(Packed);

impl Reparameterizer for Attach {
    type Reparam = Packed;

    fn reparameterize<const D: usize>(
        &mut self,
        _path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Packed>) {
        (param, Some(self.0.clone()))
    }
}

/// The direct way through the memory of Burn's Flex backend.
#[cfg(feature = "flex")]
mod flex {
    use burn::backend::Flex;
    use burn::backend::flex::FlexTensor;
    use burn::tensor::{Tensor, TensorData};

    use super::PackedMatrix;
    use crate::fused::Then;
    use crate::fused::flex::primitive;
    use crate::quant::instruction_set;
    use crate::quant::product::Ending;

    /// `None` for a tensor that is not f32 on this backend, or that gradients flow through.
    pub(super) fn linear(
        matrix: &PackedMatrix,
        x: &Tensor<2>,
        then: Then<'_>,
    ) -> Option<Tensor<2>> {
        let [rows, _] = x.dims();
        let x = contiguous(x)?;
        let bias = match then.bias {
            Some(bias) => Some(contiguous(bias)?),
            None => None,
        };
        let residual = match then.residual {
            Some(residual) => Some(contiguous(residual)?),
            None => None,
        };
        let ending = Ending {
            bias: bias.as_ref().map(values),
            activation: then.activation,
            residual: residual.as_ref().map(values),
        };
        let y = matrix.multiply_with(instruction_set(), values(&x), rows, ending);
        let y = FlexTensor::from_data(TensorData::new(y, [rows, matrix.outputs()]));
        Some(Tensor::from_primitive::<Flex>(y))
    }

    fn contiguous<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
        let tensor = primitive(tensor)?;
        Some(match tensor.layout().contiguous_offsets() {
            Some(_) => tensor,
            None => tensor.to_contiguous(),
        })
    }

    fn values(tensor: &FlexTensor) -> &[f32] {
        let storage = tensor.storage::<f32>();
        match tensor.layout().contiguous_offsets() {
            Some((start, end)) => &storage[start..end],
            None => storage,
        }
    }
}
