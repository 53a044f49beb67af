//! The table of token vectors.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Int, Tensor};
use clinical_kernels::fused::{self, Then};
use clinical_kernels::packed;

use crate::loss::of_states;
use crate::{Loss, LossError};

/// A table of vectors, one for each token id.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[vocabulary, d_model]`.
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// A table with values from N(0, `std`^2), drawn at first use.
    #[must_use]
    pub fn new(vocabulary: usize, d_model: usize, std: f64, device: &Device) -> Self {
        let normal = Initializer::Normal { mean: 0.0, std };
        Self {
            weight: normal.init([vocabulary, d_model], device),
        }
    }

    /// Ids `[batch, length]` to vectors `[batch, length, d_model]`. Ids must be below [`Self::vocabulary`].
    #[must_use]
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [batch, length] = ids.dims();
        let [_, d_model] = self.weight.lazy_shape().dims();
        let ids = ids.reshape([-1]);
        let rows = match packed(&self.weight) {
            Some(packed) => packed.select(ids),
            None => self.weight.val().select(0, ids),
        };
        rows.reshape([batch, length, d_model])
    }

    /// The table as an output projection (tied weights): `[batch, length, d_model]` to `[batch, length, vocabulary]`.
    #[must_use]
    pub fn project(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, length, d_model] = x.dims();
        let x = x.reshape([batch * length, d_model]);
        let logits = match packed(&self.weight) {
            Some(packed) => packed.linear(x, None),
            None => {
                // A view: the kernels read the table as it lies.
                let weight = self.weight.val().transpose();
                fused::linear(&x, &weight, Then::default())
                    .or_else(|| fused::few_rows(&x, &weight))
                    .unwrap_or_else(|| x.matmul(weight))
            }
        };
        logits.reshape([batch, length, self.vocabulary()])
    }

    /// The mean cross entropy of the logits [`project`](Self::project) `+ bias` of states `[batch, length, d_model]`, as
    /// [`cross_entropy`](crate::cross_entropy), in nats. On the CPU the logits of all positions are never held at once.
    ///
    /// # Errors
    ///
    /// [`LossError`].
    pub fn cross_entropy(
        &self,
        states: Tensor<3>,
        bias: Option<Tensor<1>>,
        labels: &[i64],
    ) -> Result<Loss, LossError> {
        let fused = |states: &Tensor<2>, labels: &[usize]| match packed(&self.weight) {
            Some(packed) => packed.cross_entropy(states, bias.as_ref(), labels),
            None => {
                let weight = self.weight.val().transpose();
                fused::cross_entropy(states, &weight, bias.as_ref(), labels)
            }
        };
        let project = |states| match &bias {
            Some(bias) => self.project(states) + bias.clone().unsqueeze(),
            None => self.project(states),
        };
        of_states(states, labels, self.vocabulary(), fused, project)
    }

    /// The type of the vectors: that of the table, f32 for a packed one.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.weight.base().dtype()
    }

    /// The number of rows.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.weight.lazy_shape()[0]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clinical_kernels::{Packed, PackedMatrix, Packing};

    use super::*;

    #[test]
    fn looks_up_and_projects_with_one_table() {
        let device = clinical_kernels::cpu();
        let table = Embedding {
            weight: Param::from_data([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]], &device),
        };
        let x = table.forward(Tensor::from_ints([[2, 1]], &device));
        let rows: Vec<f32> = x.try_to_vec_as().unwrap();
        assert_eq!(rows, [3.0, 3.0, 0.0, 2.0]);
        let logits: Vec<f32> = table.project(x).try_into_vec_as().unwrap();
        assert_eq!(logits, [3.0, 6.0, 18.0, 0.0, 4.0, 6.0]);
    }

    #[test]
    fn a_packed_table_looks_up_and_projects() {
        let device = clinical_kernels::cpu();
        let mut table = Embedding::new(3, 2, 1.0, &device);
        let values = [1.0, 0.0, 0.0, 2.0, 3.0, 3.0];
        let matrix = PackedMatrix::new(Packing::BF16, 3, 2, &values);
        table.weight = Packed::attach(table.weight, Arc::new(matrix), false);
        assert_eq!(table.vocabulary(), 3);
        let x = table.forward(Tensor::from_ints([[2, 1]], &device));
        let rows: Vec<f32> = x.try_to_vec_as().unwrap();
        assert_eq!(rows, [3.0, 3.0, 0.0, 2.0]);
        let logits: Vec<f32> = table.project(x).try_into_vec_as().unwrap();
        assert_eq!(logits, [3.0, 6.0, 18.0, 0.0, 4.0, 6.0]);
        let values: Vec<f32> = table.weight.val().try_into_vec_as().unwrap();
        assert_eq!(values, [1.0, 0.0, 0.0, 2.0, 3.0, 3.0]);
    }
}
