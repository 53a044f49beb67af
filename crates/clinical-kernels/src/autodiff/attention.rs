//! Attention with gradients.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, TensorData};

use super::{Input, Operation, bool_values, record};
use crate::DropMask;
use crate::float::attention::{Heads, Kept, Sizes, Slopes, attention_backward, attention_forward};
use crate::float::product::Target;
use crate::float::simd::Level;
use crate::fused::Attend;
use crate::fused::flex::attention::Operands;
use crate::fused::flex::{count, heads_of, with_rows, written};

/// [`fused::attention`](crate::fused::attention) on a device with gradients.
pub(crate) fn attention(sizes: Sizes, attend: Attend<'_>) -> Option<Tensor<4>> {
    let vectors = [
        Input::of(attend.query)?,
        Input::of(attend.key)?,
        Input::of(attend.value)?,
    ];
    let bias = Input::of_option(attend.bias)?;
    let hidden = match attend.hidden {
        Some(hidden) => Some(bool_values(hidden)?),
        None => None,
    };
    let bias_shape = match (attend.bias, &bias) {
        (Some(tensor), Some(bias)) if bias.wanted() => {
            let shape = tensor.dims();
            if shape[1..3] != [sizes.heads, sizes.queries] {
                return None;
            }
            shape
        }
        _ => [0; 4],
    };
    let operands = Operands::of(
        sizes,
        &attend,
        vectors.each_ref().map(Input::values),
        bias.as_ref().map(Input::values),
        hidden,
    );
    let mut kept = vec![Kept::NOTHING; sizes.batch * sizes.heads * sizes.queries];
    let shape = [sizes.batch, sizes.queries, sizes.heads, sizes.d_value];
    let y = written(shape, |out| {
        let out = Target { data: out, row: 0 };
        let kept = kept_heads(kept.as_mut_ptr(), sizes);
        let level = Level::best();
        // SAFETY: the sizes are those of the tensors, which live until here, and of what is kept.
        unsafe { attention_forward(level, sizes, operands.inputs(), attend.dropout, out, kept) };
    });
    let [query, key, value] = vectors.map(Some);
    let y = y.transpose(1, 2);
    Some(record([query, key, value, bias], y, |_| Attention {
        operands,
        kept: Arc::new(kept),
        dropout: attend.dropout,
        bias_shape,
    }))
}

fn kept_heads(data: *const Kept, sizes: Sizes) -> Heads<Kept> {
    let [heads, queries] = [sizes.heads, sizes.queries].map(|size| size as isize);
    Heads {
        data,
        strides: [heads * queries, queries, 1],
    }
}

/// Queries, keys, values, and two numbers a query.
#[derive(Debug, Clone)]
struct Attention {
    operands: Operands,
    kept: Arc<Vec<Kept>>,
    dropout: Option<DropMask>,
    /// Of a bias with gradients.
    bias_shape: [usize; 4],
}

impl Operation<4> for Attention {
    fn backward(self, gradient: FlexTensor, wanted: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let sizes = self.operands.sizes;
        let Sizes {
            batch,
            heads,
            key_heads,
            queries,
            keys,
            d,
            d_value,
        } = sizes;
        let gradient = with_rows(gradient);
        let bias_wanted = wanted[3];
        let mut of_bias = match bias_wanted {
            true => vec![0.0f32; count(self.bias_shape)],
            false => Vec::new(),
        };
        let mut slopes = Slopes {
            out: heads_of(&gradient, [batch, heads, queries, d_value]),
            kept: kept_heads(self.kept.as_ptr(), sizes),
            query: std::ptr::null_mut(),
            key: std::ptr::null_mut(),
            value: std::ptr::null_mut(),
            bias: match bias_wanted {
                true => of_bias.as_mut_ptr(),
                false => std::ptr::null_mut(),
            },
            one_bias: self.bias_shape[0] == 1,
        };
        // All three are written together, as the projections left them in memory.
        let (mut of_key, mut of_value) = (None, None);
        let of_query = written([batch, queries, heads, d], |query| {
            of_key = Some(written([batch, keys, key_heads, d], |key| {
                of_value = Some(written([batch, keys, key_heads, d_value], |value| {
                    (slopes.query, slopes.key, slopes.value) = (query, key, value);
                    let inputs = self.operands.inputs();
                    // SAFETY: the sizes are those of the tensors, which live until here.
                    unsafe {
                        attention_backward(Level::best(), sizes, inputs, self.dropout, slopes);
                    }
                }));
            }));
        });
        let by_heads = |tensor: FlexTensor| tensor.transpose(1, 2);
        let of_bias =
            bias_wanted.then(|| FlexTensor::from_data(TensorData::new(of_bias, self.bias_shape)));
        [
            Some(by_heads(of_query)),
            of_key.map(by_heads),
            of_value.map(by_heads),
            of_bias,
        ]
    }
}
