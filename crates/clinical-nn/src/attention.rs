//! Scaled dot-product attention.

use burn::tensor::activation::softmax;
use burn::tensor::module;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, DType, Tensor};
use clinical_kernels::DropMask;
use clinical_kernels::fused::{self, Attend};

use crate::Dropout;

/// How queries look at keys.
#[derive(Debug, Clone)]
pub struct AttentionOptions {
    /// `[batch or 1, 1, query or 1, key]`, `true` where a query must not look; nowhere by default.
    pub hidden: Option<Tensor<4, Bool>>,
    /// `[batch or 1, heads, query, key]`, added to the scaled scores (T5's relative positions); none by default.
    pub bias: Option<Tensor<4>>,
    /// The last query sees every key, the one before it all but the last, and so on; not by default.
    pub causal: bool,
    /// Factor of the scores.
    pub scale: f64,
    /// Whether a CPU may round queries, keys, values and the softmax to bf16 where that is faster: for models whose
    /// weights are integers. Not by default.
    pub bf16: bool,
}

impl AttentionOptions {
    /// Everything sees everything, at this scale.
    #[must_use]
    pub fn scaled(scale: f64) -> Self {
        Self {
            hidden: None,
            bias: None,
            causal: false,
            scale,
            bf16: false,
        }
    }
}

/// `softmax(q k^T * scale + bias) v`, with the softmax in f32.
///
/// # Shapes
///
/// - `query`: `[batch, heads, query, d]`
/// - `key`, `value`: `[batch, key heads, key, d]`; `heads` is a multiple of `key heads` (grouped-query attention,
///   Ainslie et al. 2023)
/// - result: `[batch, heads, query, d]`
///
/// A query that may look nowhere gives zeros.
#[must_use]
pub fn attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    options: AttentionOptions,
) -> Tensor<4> {
    match fused([&query, &key, &value], &options, None) {
        Some(y) => y,
        None => composed(query, key, value, options),
    }
}

fn fused(
    [query, key, value]: [&Tensor<4>; 3],
    options: &AttentionOptions,
    dropout: Option<DropMask>,
) -> Option<Tensor<4>> {
    fused::attention(Attend {
        query,
        key,
        value,
        hidden: options.hidden.as_ref(),
        bias: options.bias.as_ref(),
        causal: options.causal,
        scale: options.scale,
        bf16: options.bf16,
        dropout,
    })
}

/// [`attention`] with dropout of the softmax, as models of `transformers` have it while training. Where dropout does not
/// [act](Dropout::acts_on) it is [`attention`] itself.
///
/// With dropout a query that may look nowhere looks everywhere alike.
#[must_use]
pub fn attention_with_dropout(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    options: AttentionOptions,
    dropout: Dropout,
    site: u64,
) -> Tensor<4> {
    if !dropout.acts_on(&query.device()) {
        return attention(query, key, value, options);
    }
    match fused([&query, &key, &value], &options, Some(dropout.at(site))) {
        Some(y) => y,
        None => composed_with_dropout(query, key, value, options, dropout, site),
    }
}

/// Attention with dropout of Burn's operations.
fn composed_with_dropout(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    options: AttentionOptions,
    dropout: Dropout,
    site: u64,
) -> Tensor<4> {
    let dtype = query.dtype();
    let [key, value] = [key, value].map(|x| repeat(x, query.dims()[1]));
    let mut scores = query.matmul(key.swap_dims(2, 3)).cast(DType::F32);
    if options.scale != 1.0 {
        scores = scores.mul_scalar(options.scale);
    }
    let [batch, heads, queries, keys] = scores.dims();
    if let Some(bias) = options.bias {
        scores = scores + bias.cast(DType::F32);
    }
    // A finite fill keeps a row that may look nowhere from becoming not-a-number.
    if let Some(hidden) = options.hidden {
        let hidden = hidden.expand([batch, heads, queries, keys]);
        scores = scores.mask_fill(hidden, f32::MIN);
    }
    if options.causal {
        let offset = keys as i64 - queries as i64;
        let later = Tensor::<2, Bool>::tril_mask([queries, keys], offset, &scores.device());
        let later = later.unsqueeze::<4>().expand([batch, heads, queries, keys]);
        scores = scores.mask_fill(later, f32::MIN);
    }
    let weights = dropout.apply(site, softmax(scores, 3));
    weights.cast(dtype).matmul(value)
}

/// Keys or values `[batch, key heads, keys, d]` for `heads` heads of queries.
fn repeat(x: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, key_heads, keys, d] = x.dims();
    match heads / key_heads {
        1 => x,
        group => x
            .unsqueeze_dim::<5>(2)
            .expand([batch, key_heads, group, keys, d])
            .reshape([batch, heads, keys, d]),
    }
}

/// Attention of Burn's operations, for all backends and for gradients.
fn composed(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    options: AttentionOptions,
) -> Tensor<4> {
    let [batch, heads, queries, d] = query.dims();
    let keys = key.dims()[2];
    if queries == 1 {
        return one_query(query, key, value, options);
    }
    let AttentionOptions {
        hidden,
        bias,
        causal,
        scale,
        ..
    } = options;
    // Rows and heads broadcast in every backend; to expand them here would copy bias and mask once a layer.
    let hidden = hidden.map(|hidden| hidden.expand([batch, 1, queries, keys]));
    // Burn's flash kernels take the usual scale and no bias, and multiply in f16 whatever the type; a whole sequence
    // alone is certain to have its causal rule as we do.
    let is_usual = (scale * (d as f64).sqrt() - 1.0).abs() < 1e-9 && bias.is_none();
    let is_half = query.dtype() != DType::F32 && fused::gpu_kernels(&query.device());
    let flash = is_usual && is_half && queries == keys;
    let options = AttentionModuleOptions {
        scale: (!flash).then_some(scale),
        softcap: None,
        is_causal: causal,
    };
    let [key, value] = [key, value].map(|x| repeat(x, heads));
    module::attention(query, key, value, hidden, bias, options)
}

/// The decoding step. Plain products read a cache where it lies, without the copy that the general path makes of it,
/// and the heads of a group share one product, so keys are read once.
fn one_query(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    options: AttentionOptions,
) -> Tensor<4> {
    let AttentionOptions {
        hidden,
        bias,
        scale,
        ..
    } = options;
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
            let with = |bias| AttentionOptions {
                bias: Some(bias),
                causal: true,
                ..AttentionOptions::scaled(0.3)
            };
            let many = attention(q.clone(), k.clone(), v.clone(), with(bias.clone()));
            let last = attention(q.narrow(2, 4, 1), k, v, with(bias.narrow(2, 4, 1)));
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
            (1, 3, 1, 30, 531, 70),
            (1, 1, 1, 20, 20, 300),
        ] {
            // Heads after positions in memory, as projections leave them; values that bf16 has.
            let random = |heads, length| {
                let x = Tensor::<4>::random([batch, length, heads, d], normal, &device);
                x.cast(DType::BF16).cast(DType::F32).swap_dims(1, 2)
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
                let options = AttentionOptions {
                    hidden,
                    bias,
                    causal,
                    ..AttentionOptions::scaled(0.3)
                };
                let (q, k, v) = (q.clone(), k.clone(), v.clone());
                let expected = composed(q.clone(), k.clone(), v.clone(), options.clone());
                let found = attention(q.clone(), k.clone(), v.clone(), options.clone());
                found.into_data().assert_approx_eq::<f32>(
                    &expected.clone().into_data(),
                    Tolerance::absolute(1e-5),
                );
                let rounded = AttentionOptions {
                    bf16: true,
                    ..options
                };
                // What is left of the rounding is that of the weights, by 2^-9, of values up to 4.
                attention(q, k, v, rounded)
                    .into_data()
                    .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(0.01));
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
        for queries in [1, 3, 20] {
            let q = Tensor::<4>::random([1, 2, queries, 8], normal, &device);
            for bf16 in [false, true] {
                let plain = AttentionOptions {
                    bf16,
                    ..AttentionOptions::scaled(1.0)
                };
                let masked = AttentionOptions {
                    hidden: crate::key_mask(&[4], 6, &device),
                    ..plain.clone()
                };
                let masked = attention(q.clone(), k.clone(), v.clone(), masked);
                let (k, v) = (k.clone().narrow(2, 0, 4), v.clone().narrow(2, 0, 4));
                let short = attention(q.clone(), k, v, plain);
                masked
                    .into_data()
                    .assert_approx_eq::<f32>(&short.into_data(), Tolerance::absolute(1e-5));
            }
        }
    }
}
