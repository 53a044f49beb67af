//! Another number of rows for a table of tokens.

use burn::module::Param;
use burn::tensor::Tensor;

/// A parameter with `size` entries along dimension `along`. Those that are there stay; those beyond `size` go; new ones
/// are the mean of all that were there, so that a new token begins as an average one (the `mean_resizing` of
/// `transformers`, without its noise). The type, the device and whether it is trained stay as they are.
///
/// The table of an embedding `[vocabulary, d_model]` is resized along 0, an output projection `[d_model, vocabulary]`
/// along 1, its bias `[vocabulary]` along 0.
#[must_use]
pub fn resize_param<const D: usize>(
    param: Param<Tensor<D>>,
    along: usize,
    size: usize,
) -> Param<Tensor<D>> {
    let old = param.lazy_shape()[along];
    if old == size {
        return param;
    }
    let trained = param.is_require_grad();
    // Detaching alone keeps the need for a gradient, and what is computed from such a tensor is no leaf.
    let values = param.val().detach().set_require_grad(false);
    let id = param.id;
    let values = if size < old {
        values.narrow(along, 0, size)
    } else {
        let mut repeats = [1; D];
        repeats[along] = size - old;
        let new = values.clone().mean_dim(along).repeat(&repeats);
        Tensor::cat(vec![values, new], along)
    };
    Param::initialized(id, values).set_require_grad(trained)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_with_the_mean_and_shrinks_from_the_end() {
        let device = clinical_kernels::cpu();
        let table = || Param::from_data([[1.0, 2.0, 3.0], [3.0, 6.0, 9.0]], &device);
        let values = |param: Param<Tensor<2>>| {
            let shape = param.dims();
            (shape, param.val().try_into_vec_as::<f32>().unwrap())
        };
        assert_eq!(
            values(resize_param(table(), 0, 4)),
            (
                [4, 3],
                vec![1.0, 2.0, 3.0, 3.0, 6.0, 9.0, 2.0, 4.0, 6.0, 2.0, 4.0, 6.0]
            )
        );
        assert_eq!(
            values(resize_param(table(), 1, 4)),
            ([2, 4], vec![1.0, 2.0, 3.0, 2.0, 3.0, 6.0, 9.0, 6.0])
        );
        assert_eq!(
            values(resize_param(table(), 0, 1)),
            ([1, 3], vec![1.0, 2.0, 3.0])
        );
        let same: Param<Tensor<2>> = table();
        let id = same.id;
        assert_eq!(resize_param(same, 0, 5).id, id);
    }

    #[test]
    fn what_is_trained_stays_trained() {
        let device = clinical_kernels::cpu().autodiff();
        let table = Param::from_data([[1.0], [3.0]], &device);
        let grown: Param<Tensor<2>> = resize_param(table, 0, 3);
        assert!(grown.is_require_grad());
        let gradients = grown.val().sum().backward();
        let gradient: Vec<f32> = grown
            .val()
            .grad(&gradients)
            .unwrap()
            .try_into_vec_as()
            .unwrap();
        assert_eq!(gradient, [1.0, 1.0, 1.0]);
    }
}
