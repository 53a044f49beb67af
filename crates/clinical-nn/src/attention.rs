//! Scaled dot-product attention.

use burn::tensor::activation::softmax;
use burn::tensor::module;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, DType, Tensor};
use clinical_kernels::fused::{self, Attend};

/// `softmax(q k^T * scale + bias) v`, with the softmax in f32.
///
/// # Shapes
///
/// - `query`: `[batch, heads, query, d]`
/// - `key`, `value`: `[batch, key heads, key, d]`; `heads` is a multiple of `key heads` (grouped-query attention,
///   Ainslie et al. 2023)
/// - `hidden`: `[batch or 1, 1, query or 1, key]`, `true` where a query must not look
/// - `bias`: `[batch or 1, heads, query, key]`, added to the scaled scores (T5's relative positions)
/// - result: `[batch, heads, query, d]`
///
/// With `causal` the last query sees every key, the one before it all but the last, and so on. A query that may look
/// nowhere gives zeros.
#[must_use]
pub fn attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    hidden: Option<Tensor<4, Bool>>,
    bias: Option<Tensor<4>>,
    causal: bool,
    scale: f64,
) -> Tensor<4> {
    let fused = fused::attention(Attend {
        query: &query,
        key: &key,
        value: &value,
        hidden: hidden.as_ref(),
        bias: bias.as_ref(),
        causal,
        scale,
    });
    match fused {
        Some(y) => y,
        None => composed(query, key, value, hidden, bias, causal, scale),
    }
}

/// Attention of Burn's operations, for all backends and for gradients.
fn composed(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    hidden: Option<Tensor<4, Bool>>,
    bias: Option<Tensor<4>>,
    causal: bool,
    scale: f64,
) -> Tensor<4> {
    let [batch, heads, queries, d] = query.dims();
    let [_, key_heads, keys, _] = key.dims();
    if queries == 1 {
        return one_query(query, key, value, hidden, bias, scale);
    }
    // Rows and heads broadcast in every backend; to expand them here would copy bias and mask once a layer.
    let hidden = hidden.map(|hidden| hidden.expand([batch, 1, queries, keys]));
    // Burn's flash kernels take the usual scale and no bias, and multiply in f16 whatever the type; a whole sequence alone is
    // certain to have its causal rule as we do.
    let is_usual = (scale * (d as f64).sqrt() - 1.0).abs() < 1e-9 && bias.is_none();
    let is_half = query.dtype() != DType::F32 && fused::gpu_kernels(&query.device());
    let flash = is_usual && is_half && queries == keys;
    let options = AttentionModuleOptions {
        scale: (!flash).then_some(scale),
        softcap: None,
        is_causal: causal,
    };
    let repeat = |x: Tensor<4>| match heads / key_heads {
        1 => x,
        group => x
            .unsqueeze_dim::<5>(2)
            .expand([batch, key_heads, group, keys, d])
            .reshape([batch, heads, keys, d]),
    };
    module::attention(query, repeat(key), repeat(value), hidden, bias, options)
}

/// The decoding step. Plain products read a cache where it lies, without the copy that the general path makes of it, and
/// the heads of a group share one product, so keys are read once.
fn one_query(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    hidden: Option<Tensor<4, Bool>>,
    bias: Option<Tensor<4>>,
    scale: f64,
) -> Tensor<4> {
    let [batch, heads, _, d] = query.dims();
    let [_, key_heads, keys, _] = key.dims();
    let group = heads / key_heads;
    let query = query.reshape([batch, key_heads, group, d]);
    let mut scores = query.matmul(key.swap_dims(2, 3)).mul_scalar(scale);
    let dtype = scores.dtype();
    scores = scores.cast(DType::F32);
    if let Some(bias) = bias {
        let rows = bias.dims()[0];
        scores = scores
            + bias
                .cast(DType::F32)
                .reshape([rows, key_heads, group, keys]);
    }
    if let Some(hidden) = hidden {
        // A finite fill keeps a row that may look nowhere from becoming not-a-number.
        scores = scores.mask_fill(hidden.expand([batch, key_heads, group, keys]), f32::MIN);
    }
    softmax(scores, 3)
        .cast(dtype)
        .matmul(value)
        .reshape([batch, heads, 1, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};

    /// The decoding path and the general path must be one function.
    #[test]
    fn one_query_equals_the_last_row_of_many() {
        let device = clinical_kernels::cpu();
        device.seed(7);
        let normal = Distribution::Normal(0.0, 1.0);
        for (heads, key_heads) in [(4, 4), (6, 2), (3, 1)] {
            let q = Tensor::<4>::random([2, heads, 5, 8], normal, &device);
            let k = Tensor::<4>::random([2, key_heads, 5, 8], normal, &device);
            let v = Tensor::<4>::random([2, key_heads, 5, 8], normal, &device);
            let bias = Tensor::<4>::random([1, heads, 5, 5], normal, &device);
            let many = attention(
                q.clone(),
                k.clone(),
                v.clone(),
                None,
                Some(bias.clone()),
                true,
                0.3,
            );
            let last = attention(
                q.narrow(2, 4, 1),
                k,
                v,
                None,
                Some(bias.narrow(2, 4, 1)),
                true,
                0.3,
            );
            last.into_data().assert_approx_eq::<f32>(
                &many.narrow(2, 4, 1).into_data(),
                Tolerance::absolute(1e-5),
            );
        }
    }

    /// The kernel and Burn's operations, on odd shapes, with views of all kinds.
    #[test]
    fn the_kernel_is_the_composed_function() {
        let device = clinical_kernels::cpu();
        device.seed(9);
        let normal = Distribution::Normal(0.0, 1.0);
        for (batch, heads, key_heads, queries, keys, d) in [
            (1, 1, 1, 1, 1, 1),
            (2, 4, 2, 1, 37, 8),
            (1, 18, 1, 1, 5, 20),
            (2, 3, 3, 4, 19, 64),
            (1, 6, 2, 13, 13, 33),
            (2, 2, 1, 150, 300, 16),
        ] {
            // Heads behind positions in memory, as projections leave them.
            let random = |heads, length| {
                Tensor::<4>::random([batch, length, heads, d], normal, &device).swap_dims(1, 2)
            };
            let (q, k, v) = (
                random(heads, queries),
                random(key_heads, keys),
                random(key_heads, keys),
            );
            let bias = Tensor::<4>::random([1, heads, queries, keys], normal, &device);
            let lengths: Vec<usize> = (0..batch).map(|row| keys - row * keys / 3).collect();
            let hidden = crate::key_mask(&lengths, keys, &device);
            for (bias, hidden, causal) in [
                (None, None, false),
                (Some(bias.clone()), None, true),
                (Some(bias), hidden, false),
            ] {
                let inputs = (
                    q.clone(),
                    k.clone(),
                    v.clone(),
                    hidden.clone(),
                    bias.clone(),
                );
                let found = attention(q.clone(), k.clone(), v.clone(), hidden, bias, causal, 0.3);
                let (q, k, v, hidden, bias) = inputs;
                let expected = composed(q, k, v, hidden, bias, causal, 0.3);
                found
                    .into_data()
                    .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-5));
            }
        }
    }

    #[test]
    fn hidden_keys_do_not_count() {
        let device = clinical_kernels::cpu();
        device.seed(8);
        let normal = Distribution::Normal(0.0, 1.0);
        let k = Tensor::<4>::random([1, 2, 6, 8], normal, &device);
        let v = Tensor::<4>::random([1, 2, 6, 8], normal, &device);
        for queries in [1, 3] {
            let q = Tensor::<4>::random([1, 2, queries, 8], normal, &device);
            let hidden = crate::key_mask(&[4], 6, &device);
            let masked = attention(q.clone(), k.clone(), v.clone(), hidden, None, false, 1.0);
            let short = attention(
                q,
                k.clone().narrow(2, 0, 4),
                v.clone().narrow(2, 0, 4),
                None,
                None,
                false,
                1.0,
            );
            masked
                .into_data()
                .assert_approx_eq::<f32>(&short.into_data(), Tolerance::absolute(1e-5));
        }
    }
}
