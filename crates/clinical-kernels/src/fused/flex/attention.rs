//! Attention.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

use super::{count, filled, heads_of, primitive, strides, with_rows};
use crate::autodiff;
use crate::float::attention::{Heads, Inputs, Sizes, attention as attend_heads};
use crate::float::product::Target;
use crate::float::simd::Level;
use crate::fused::Attend;

/// What is attended to, in the memory of the backend, with rows that lie one value after another.
#[derive(Debug, Clone)]
pub(crate) struct Operands {
    pub sizes: Sizes,
    query: FlexTensor,
    key: FlexTensor,
    value: FlexTensor,
    bias: Option<(FlexTensor, [usize; 4])>,
    hidden: Option<(FlexTensor, [usize; 4])>,
    causal: bool,
    scale: f32,
    bf16: bool,
}

impl Operands {
    /// `float` and `bool` have the memory of query, key, value and bias, and of what is hidden.
    pub(crate) fn of(
        sizes: Sizes,
        attend: &Attend<'_>,
        [query, key, value]: [FlexTensor; 3],
        bias: Option<FlexTensor>,
        hidden: Option<FlexTensor>,
    ) -> Self {
        let of = |tensor: Option<FlexTensor>, shape: Option<[usize; 4]>| {
            Some((with_rows(tensor?), shape?))
        };
        Self {
            sizes,
            query: with_rows(query),
            key: with_rows(key),
            value: with_rows(value),
            bias: of(bias, attend.bias.map(|bias| bias.dims())),
            hidden: of(hidden, attend.hidden.map(|hidden| hidden.dims())),
            causal: attend.causal,
            scale: attend.scale as f32,
            bf16: attend.bf16,
        }
    }

    /// The same as kernels read it; it must not outlive this.
    pub(crate) fn inputs(&self) -> Inputs {
        let Sizes {
            batch,
            heads,
            key_heads,
            queries,
            keys,
            d,
            d_value,
        } = self.sizes;
        Inputs {
            query: heads_of(&self.query, [batch, heads, queries, d]),
            key: heads_of(&self.key, [batch, key_heads, keys, d]),
            value: heads_of(&self.value, [batch, key_heads, keys, d_value]),
            bias: self
                .bias
                .as_ref()
                .map(|(bias, shape)| heads_of(bias, *shape)),
            hidden: self.hidden.as_ref().map(|(hidden, shape)| Heads {
                data: hidden.storage::<u8>()[hidden.layout().start_offset()..].as_ptr(),
                strides: strides(hidden, *shape),
            }),
            causal: self.causal,
            scale: self.scale,
            bf16: self.bf16,
        }
    }
}

/// The sizes of an attention; `None` where there is nothing to compute, or another shape of bias or mask.
///
/// # Panics
///
/// When queries, keys and values do not fit each other, or are more than memory can hold.
fn sizes(attend: &Attend<'_>) -> Option<Sizes> {
    let [batch, heads, queries, d] = attend.query.dims();
    let [key_batch, key_heads, keys, key_d] = attend.key.dims();
    let [value_batch, value_heads, values, d_value] = attend.value.dims();
    assert!(
        [key_batch, value_batch] == [batch; 2]
            && value_heads == key_heads
            && key_heads > 0
            && heads % key_heads == 0
            && key_d == d
            && values == keys,
        "queries, keys and values of an attention"
    );
    let fits = |shape: [usize; 4]| {
        let full = [batch, heads, queries, keys];
        (0..3).all(|i| shape[i] == 1 || shape[i] == full[i]) && shape[3] == keys
    };
    if attend.bias.is_some_and(|bias| !fits(bias.dims()))
        || attend.hidden.is_some_and(|hidden| !fits(hidden.dims()))
        || [batch, heads, queries, keys, d, d_value].contains(&0)
    {
        return None;
    }
    // The scores and what they are made of, none of which need lie in memory as such.
    count([batch, heads, queries, keys]);
    count(attend.query.dims());
    count(attend.key.dims());
    count(attend.value.dims());
    Some(Sizes {
        batch,
        heads,
        key_heads,
        queries,
        keys,
        d,
        d_value,
    })
}

pub(crate) fn attention(attend: Attend<'_>) -> Option<Tensor<4>> {
    let sizes = sizes(&attend)?;
    if attend.query.device().is_autodiff() {
        return autodiff::attention::attention(sizes, attend);
    }
    if attend.dropout.is_some() {
        return None;
    }
    let vectors = [
        primitive(attend.query)?,
        primitive(attend.key)?,
        primitive(attend.value)?,
    ];
    let bias = match attend.bias {
        Some(bias) => Some(primitive(bias)?),
        None => None,
    };
    let hidden = match attend.hidden {
        Some(hidden) => Some(hidden.clone().try_into_primitive::<Flex>().ok()?),
        None => None,
    };
    let operands = Operands::of(sizes, &attend, vectors, bias, hidden);
    let shape = [sizes.batch, sizes.queries, sizes.heads, sizes.d_value];
    let y = filled(shape, |out| {
        let out = Target { data: out, row: 0 };
        // SAFETY: the sizes are those of the tensors, which live until here.
        unsafe { attend_heads(Level::best(), sizes, operands.inputs(), out) };
    });
    Some(y.swap_dims(1, 2))
}
