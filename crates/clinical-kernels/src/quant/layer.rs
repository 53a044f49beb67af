//! Packed weights as parameters of a module.

use std::sync::Arc;

use burn::module::{Module, Param, Reparameterization, Reparameterizer};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::device::Copies;
use super::matrix::PackedMatrix;
use crate::fused::Then;
use crate::is_host;

/// Packed weights that stand in for the values of a matrix parameter.
///
/// They are attached to the parameter by [`Packed::attach`]. The parameter keeps its shape and its place in the module
/// but no values of its own. [`Param::val`] gives the values as an f32 tensor, made anew at each call, so every
/// operation of Burn works on every backend; layers ask for [`packed`] first and use [`linear`](Self::linear) and
/// [`select`](Self::select), which on the CPU compute with the packed weights as they are.
///
/// A device that is not the CPU ([`is_host`]) gets them at the first use there, as they are packed, and keeps them for
/// all clones of the layer: products read or unpack them on the device. The host keeps its own.
///
/// Packed weights are constants: no gradient reaches them, and a module with them is not saved.
#[derive(Module, Debug)]
pub struct Packed {
    #[module(skip)]
    matrix: Arc<PackedMatrix>,
    #[module(skip)]
    copies: Arc<Copies>,
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
        let packed = Self {
            matrix,
            copies: Arc::default(),
            transposed,
        };
        Param::initialized(id, base).apply_reparameterization(Attach(packed))
    }

    /// The weights.
    #[must_use]
    pub fn matrix(&self) -> &Arc<PackedMatrix> {
        &self.matrix
    }

    #[cfg(all(test, feature = "cube-cpu"))]
    pub(super) fn copies(&self) -> &Copies {
        &self.copies
    }

    /// `x W + bias` for a weight `[d_input, d_output]`: `[rows, d_input]` to f32 `[rows, d_output]`.
    ///
    /// On the CPU's default backend, on a device with gradients, activations are not rounded: strips of the weights
    /// become f32 where they are used. On other backends of the CPU all weights do, for the call, and on other devices
    /// the product is made in the type of `x`.
    #[must_use]
    pub fn linear(&self, x: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
        let device = x.device();
        let y = if is_host(&device) {
            let x = x.cast(DType::F32);
            let then = Then {
                bias: bias.as_ref(),
                ..Then::default()
            };
            if let Some(y) = self.linear_then(&x, then) {
                return y;
            }
            x.matmul(self.unpacked(&device).transpose())
        } else {
            self.copies.on(&self.matrix, &device).product(x)
        };
        match bias {
            Some(bias) => y + bias.cast(DType::F32).unsqueeze(),
            None => y,
        }
    }

    /// All values as f32, `[outputs, inputs]`.
    fn unpacked(&self, device: &Device) -> Tensor<2> {
        if !is_host(device) {
            return self.copies.on(&self.matrix, device).values(device);
        }
        let shape = [self.matrix.outputs(), self.matrix.inputs()];
        let data = TensorData::new(self.matrix.to_f32(), shape);
        Tensor::from_data(data, (device, DType::F32))
    }

    /// `residual + activation(x W + bias)` for f32 tensors on the CPU, as [`fused::linear`](crate::fused::linear);
    /// `None` where [`linear`](Self::linear) and Burn's operations are needed.
    #[must_use]
    pub fn linear_then(&self, x: &Tensor<2>, then: Then<'_>) -> Option<Tensor<2>> {
        #[cfg(feature = "flex")]
        return match x.device().is_autodiff() {
            true => crate::autodiff::linear::packed(x, &self.matrix, then),
            false => flex::linear(&self.matrix, x, then),
        };
        #[cfg(not(feature = "flex"))]
        {
            let _ = (x, then);
            None
        }
    }

    /// [`fused::cross_entropy`](crate::fused::cross_entropy) with these weights, activations not rounded; `None` where
    /// [`linear`](Self::linear) and Burn's operations are needed.
    #[must_use]
    pub fn cross_entropy(
        &self,
        x: &Tensor<2>,
        bias: Option<&Tensor<1>>,
        labels: &[usize],
    ) -> Option<Tensor<1>> {
        #[cfg(feature = "flex")]
        return crate::autodiff::loss::packed(x, &self.matrix, bias, labels);
        #[cfg(not(feature = "flex"))]
        {
            let _ = (x, bias, labels);
            None
        }
    }

    /// Rows of a table `[entries, width]` by their indices, `[count, width]` in f32.
    ///
    /// # Panics
    ///
    /// On the CPU, when an index is not below the number of entries. Elsewhere nobody looks, as in Burn's `select`.
    #[must_use]
    pub fn select(&self, rows: Tensor<1, Int>) -> Tensor<2> {
        let device = rows.device();
        if !is_host(&device) {
            return self.copies.on(&self.matrix, &device).rows(rows);
        }
        let width = self.matrix.inputs();
        let indices: Vec<i64> = rows.into_data().iter::<i64>().collect();
        let count = indices.len().checked_mul(width);
        let mut values = vec![0.0; count.expect("as many values as memory can hold")];
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
        let values = self.unpacked(&base.device());
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
        let [rows, inputs] = x.dims();
        assert_eq!(
            inputs,
            matrix.inputs(),
            "x is [rows, d_input], the weight [d_input, d_output]"
        );
        let x = contiguous(x)?;
        let bias = match then.bias {
            Some(bias) => Some(contiguous(bias)?),
            None => None,
        };
        let residual = match then.residual {
            Some(residual) => {
                let shape = [rows, matrix.outputs()];
                assert_eq!(residual.dims(), shape, "one residual for each result");
                Some(contiguous(residual)?)
            }
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
