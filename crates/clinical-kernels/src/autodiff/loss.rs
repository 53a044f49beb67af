//! The cross entropy of a vocabulary, with the product that makes its logits.

use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, TensorData};

use super::linear::column_sums_onto;
use super::weight::{Weight, turned};
use super::{Input, Operation, record};
use crate::PackedMatrix;
use crate::float::product::{Finish, Matrix, Target, part, product, product_by, ranges};
use crate::float::rows;
use crate::float::simd::Level;
use crate::fused::flex::{Shared, WORTH_SHARING, contiguous, count, matrix, pointer, primitive};

/// The most logits that are held at once, 32 MiB of them, in rows of a few to [`ROWS`].
const LOGITS: usize = 1 << 23;

/// The most rows of logits. Every chunk of rows goes over the gradient of the weights once, so they should be many.
const ROWS: usize = 256;

/// [`fused::cross_entropy`](crate::fused::cross_entropy).
pub(crate) fn cross_entropy(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    labels: &[usize],
) -> Option<Tensor<1>> {
    let sizes = sizes(x, weight.dims(), bias, labels);
    if !x.device().is_autodiff() {
        let weight = Weight::Dense(primitive(weight)?);
        return values(sizes, x, weight, bias, labels);
    }
    let weight = Input::of(weight)?;
    let of = Weight::Dense(weight.values());
    tracked(sizes, x, of, Some(weight), bias, labels)
}

/// [`Packed::cross_entropy`](crate::Packed::cross_entropy).
pub(crate) fn packed(
    x: &Tensor<2>,
    weight: &Arc<PackedMatrix>,
    bias: Option<&Tensor<1>>,
    labels: &[usize],
) -> Option<Tensor<1>> {
    let sizes = sizes(x, [weight.inputs(), weight.outputs()], bias, labels);
    let weight = Weight::Packed(weight.clone());
    match x.device().is_autodiff() {
        true => tracked(sizes, x, weight, None, bias, labels),
        false => values(sizes, x, weight, bias, labels),
    }
}

/// `[rows, vocabulary, d_input]`.
fn sizes(
    x: &Tensor<2>,
    [depth, n]: [usize; 2],
    bias: Option<&Tensor<1>>,
    labels: &[usize],
) -> [usize; 3] {
    let [m, k] = x.dims();
    assert_eq!(
        k, depth,
        "x is [rows, d_input], the weight [d_input, vocabulary]"
    );
    assert!(m > 0, "a mean is over one row at least");
    assert_eq!(labels.len(), m, "one label for each row");
    assert!(
        labels.iter().all(|&label| label < n),
        "labels are below {n}"
    );
    if let Some(bias) = bias {
        assert_eq!(bias.dims(), [n], "one bias for each logit");
    }
    count([m, k]);
    count([k, n]);
    [m, n, k]
}

/// On a device without gradients.
fn values(
    sizes: [usize; 3],
    x: &Tensor<2>,
    weight: Weight,
    bias: Option<&Tensor<1>>,
    labels: &[usize],
) -> Option<Tensor<1>> {
    let bias = match bias {
        Some(bias) => Some(contiguous(primitive(bias)?)),
        None => None,
    };
    let x = primitive(x)?;
    let (loss, _) = losses(sizes, &x, &weight, bias.as_ref(), labels, [false; 3]);
    Some(Tensor::from_primitive::<Flex>(loss))
}

fn tracked(
    sizes: [usize; 3],
    x: &Tensor<2>,
    weight: Weight,
    leaf: Option<Input>,
    bias: Option<&Tensor<1>>,
    labels: &[usize],
) -> Option<Tensor<1>> {
    let (x, bias) = (Input::of(x)?, Input::of_option(bias)?);
    let (x_values, bias_values) = (
        x.values(),
        bias.as_ref().map(|bias| contiguous(bias.values())),
    );
    let inputs = [Some(x), leaf, bias];
    let wanted = inputs
        .each_ref()
        .map(|input| input.as_ref().is_some_and(Input::wanted));
    let (loss, gradients) = losses(
        sizes,
        &x_values,
        &weight,
        bias_values.as_ref(),
        labels,
        wanted,
    );
    Some(record(inputs, loss, |_| gradients))
}

/// The gradients, made with the loss: no row of logits is computed twice, and what is kept is as large as the inputs.
#[derive(Debug, Clone)]
struct CrossEntropy([Option<FlexTensor>; 3]);

impl Operation<3> for CrossEntropy {
    fn backward(self, gradient: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let factor = gradient.storage::<f32>()[gradient.layout().start_offset()];
        self.0.map(|found| found.map(|found| times(found, factor)))
    }
}

/// `x * factor`, in its place: nobody else has a gradient that was kept.
fn times(x: FlexTensor, factor: f32) -> FlexTensor {
    use burn::backend::ops::FloatTensorOps;
    match factor {
        1.0 => x,
        _ => Flex::float_mul_scalar(x, factor.into()),
    }
}

/// The mean loss, `[1]`, and the gradients of `x`, the weight and the bias that are wanted.
fn losses(
    [m, n, k]: [usize; 3],
    x: &FlexTensor,
    weight: &Weight,
    bias: Option<&FlexTensor>,
    labels: &[usize],
    wanted: [bool; 3],
) -> (FlexTensor, CrossEntropy) {
    let rows = (LOGITS / n).clamp(1, ROWS);
    let chunks = m.div_ceil(rows);
    let mut logits = Vec::<f32>::with_capacity(m.div_ceil(chunks) * n);
    let mut each = vec![0f32; m];
    let work = Work {
        sizes: [n, k],
        x: matrix(x),
        weight,
        bias: bias.map_or(std::ptr::null(), pointer),
        labels,
        logits: logits.as_mut_ptr(),
        factor: match wanted.contains(&true) {
            true => 1.0 / m as f32,
            false => 0.0,
        },
    };
    let transposed = weight.is_transposed();
    let shape = if transposed { [n, k] } else { [k, n] };
    let [of_x, of_weight, of_bias] = wanted;
    let mut of_x = of_x.then(|| room([m, k]));
    let mut of_weight = of_weight.then(|| room(shape));
    let mut of_bias = of_bias.then(|| room([n]));
    for chunk in 0..chunks {
        let range = part(chunk, chunks, m)..part(chunk + 1, chunks, m);
        // SAFETY: the sizes are those of the tensors, and the rows of a chunk have room among the logits.
        unsafe {
            work.rows(range.clone(), &mut each);
            if let Some(of_x) = &mut of_x {
                work.gradient_of_x(range.clone(), of_x.as_mut_ptr());
            }
            if let Some(of_weight) = &mut of_weight {
                work.gradient_of_weight(range.clone(), of_weight.as_mut_ptr());
            }
            if let Some(of_bias) = &mut of_bias {
                let sums = of_bias.as_mut_ptr();
                column_sums_onto([range.len(), n], work.logits, sums, range.start > 0);
            }
        }
    }
    // SAFETY: chunks have written every row, and the first one every value of the other two.
    let gradients = unsafe {
        let of_weight = of_weight.map(|values| full(values, shape));
        CrossEntropy([
            of_x.map(|values| full(values, [m, k])),
            match transposed {
                true => of_weight.map(|gradient| gradient.transpose(0, 1)),
                false => of_weight,
            },
            of_bias.map(|values| full(values, [n])),
        ])
    };
    let sum: f64 = each.into_iter().map(f64::from).sum();
    let mean = TensorData::new(vec![(sum / m as f64) as f32], [1]);
    (FlexTensor::from_data(mean), gradients)
}

/// Room for the values of a tensor.
fn room<const D: usize>(shape: [usize; D]) -> Vec<f32> {
    Vec::with_capacity(count(shape))
}

/// A tensor of values that have been written where there was [`room`].
unsafe fn full<const D: usize>(mut values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    unsafe { values.set_len(count(shape)) };
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// What the chunks share.
struct Work<'a> {
    /// `[vocabulary, d_input]`.
    sizes: [usize; 2],
    x: Matrix,
    weight: &'a Weight,
    bias: *const f32,
    labels: &'a [usize],
    /// Of the rows of a chunk; then the gradients of the logits, in their place.
    logits: *mut f32,
    /// Of the gradients; zero where none is wanted.
    factor: f32,
}

impl Work<'_> {
    /// The losses of some rows, and the gradients of their logits.
    unsafe fn rows(&self, range: std::ops::Range<usize>, each: &mut [f32]) {
        let [n, k] = self.sizes;
        let finish = Finish {
            bias: self.bias,
            ..Finish::NONE
        };
        let out = Target {
            data: self.logits,
            row: n,
        };
        let sizes = [range.len(), n, k];
        unsafe {
            let x = self.x.from(range.start, 0);
            self.weight.multiply(sizes, x, finish, out);
        }
        let (logits, factor) = (Shared(self.logits), self.factor);
        let losses = Shared(each[range.clone()].as_mut_ptr());
        let labels = &self.labels[range.clone()];
        ranges(range.len(), WORTH_SHARING.div_ceil(n), 1, 2, |rows| {
            for row in rows {
                // SAFETY: ranges are different rows.
                unsafe {
                    let (x, loss) = (logits.get().add(row * n), losses.get().add(row));
                    rows::cross_entropy(Level::best(), n, x, labels[row], factor, loss);
                }
            }
        });
    }

    unsafe fn gradient_of_x(&self, range: std::ops::Range<usize>, to: *mut f32) {
        let [n, k] = self.sizes;
        let out = Target {
            data: to.wrapping_add(range.start * k),
            row: k,
        };
        unsafe {
            self.weight
                .multiply_back([range.len(), n, k], self.gradients(), out);
        }
    }

    /// Added to that of the chunks before.
    unsafe fn gradient_of_weight(&self, range: std::ops::Range<usize>, to: *mut f32) {
        let ([n, k], level) = (self.sizes, Level::best());
        let (rows, onto) = (range.len(), range.start > 0);
        unsafe {
            let x = self.x.from(range.start, 0);
            let ([m, n], a, b) = match self.weight.is_transposed() {
                true => ([n, k], turned(self.gradients()), x),
                false => ([k, n], turned(x), self.gradients()),
            };
            let out = Target { data: to, row: n };
            match (onto, m * n) {
                (_, 0) => {}
                (true, _) => product_by(level, [m, n, rows], a, &b, out, Finish::NONE, true),
                (false, _) => product(level, [m, n, rows], a, b, out, Finish::NONE),
            }
        }
    }

    fn gradients(&self) -> Matrix {
        Matrix {
            data: self.logits,
            row: self.sizes[0] as isize,
            column: 1,
        }
    }
}
