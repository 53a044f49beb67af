//! The way through the memory of Burn's Flex backend.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::kernel::{self, Factors};
use super::{Adafactor, AdamW, Averaged, Factored};
use crate::float::product::ranges;
use crate::float::simd::Level;
use crate::fused::flex::{Shared, WORTH_SHARING, contiguous, pointer, primitive};
use crate::pool;

/// The most blocks of rows whose sums are taken by themselves: their number does not depend on threads.
const BLOCKS: usize = 16;

fn is_ours<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && tensor.device() == Device::flex()
}

/// The tensor as the backend has it. It must be [`is_ours`].
fn taken<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    let tensor = tensor.try_into_primitive::<Flex>();
    tensor.expect("the device is that of the backend")
}

/// The values in their place, copied where somebody else has them too.
fn writable(tensor: &mut FlexTensor) -> *mut f32 {
    let start = tensor.layout().start_offset();
    tensor.storage_mut::<f32>()[start..].as_mut_ptr()
}

pub(super) fn adafactor<const D: usize>(
    step: &Adafactor,
    tensor: Tensor<D>,
    gradient: &Tensor<D>,
    moments: Option<[&Tensor<D>; 2]>,
) -> Result<Factored<D>, Tensor<D>> {
    let dims = tensor.dims();
    if D != 2 || dims.contains(&0) || !is_ours(&tensor) || !is_ours(gradient) {
        return Err(tensor);
    }
    let (n, m) = (dims[0], dims[1]);
    assert_eq!(gradient.dims(), dims, "one gradient for each value");
    let mut before = None;
    if let Some([rows, columns]) = moments {
        let values = |moments: &Tensor<D>| moments.clone().try_into_vec_as::<f32>().ok();
        let found = values(rows).zip(values(columns));
        let found = found.filter(|(rows, columns)| [rows.len(), columns.len()] == [n, m]);
        before = Some(found.expect("a moment for each row and column"));
    }
    let Some(gradient) = primitive(gradient) else {
        return Err(tensor);
    };
    let mut tensor = taken(tensor);
    // What lies as the transpose is worked on as that: rows and columns change places and nothing else.
    let turned = matches!(*tensor.layout().strides(), [1, row] if row != 1);
    let of = |tensor: FlexTensor| match turned {
        true => tensor.transpose(0, 1),
        false => tensor,
    };
    tensor = contiguous(of(tensor));
    let gradient = contiguous(of(gradient));
    let (sizes, before) = match turned {
        true => ([m, n], before.map(|(rows, columns)| [columns, rows])),
        false => ([n, m], before.map(|(rows, columns)| [rows, columns])),
    };
    let moments = stepped(
        step,
        sizes,
        writable(&mut tensor),
        pointer(&gradient),
        before,
    );
    let [rows, columns] = match turned {
        true => [&moments[1], &moments[0]],
        false => [&moments[0], &moments[1]],
    };
    let moment = |values: &Vec<f32>, shape: [usize; 2]| {
        let values = FlexTensor::from_data(TensorData::new(values.clone(), shape));
        Tensor::from_primitive::<Flex>(values)
    };
    Ok(Factored {
        rows: moment(rows, [n, 1]),
        columns: moment(columns, [1, m]),
        tensor: Tensor::from_primitive::<Flex>(of(tensor)),
    })
}

/// Makes a step of `p`, `[n, m]`, and gives the moments of rows and columns.
fn stepped(
    step: &Adafactor,
    [n, m]: [usize; 2],
    p: *mut f32,
    g: *const f32,
    before: Option<[Vec<f32>; 2]>,
) -> [Vec<f32>; 2] {
    let blocks = Blocks::of(n, m);
    let moments = blocks.means(g).map(|means| {
        // The mean of squares plus epsilon.
        let plus = |mean: f32| f64::from(mean) + step.epsilon;
        means.into_iter().map(plus).collect::<Vec<f64>>()
    });
    let average = |means: &[f64], before: Option<&[f32]>| -> Vec<f32> {
        let rest = 1.0 - step.beta2;
        let new = |(at, mean): (usize, &f64)| {
            let before = before.map_or(0.0, |before| f64::from(before[at]));
            (before * step.beta2 + rest * mean) as f32
        };
        means.iter().enumerate().map(new).collect()
    };
    let [rows, columns] = match &before {
        Some([rows, columns]) => [
            average(&moments[0], Some(rows)),
            average(&moments[1], Some(columns)),
        ],
        None => [average(&moments[0], None), average(&moments[1], None)],
    };
    let mean = rows.iter().map(|&row| f64::from(row)).sum::<f64>() / n as f64;
    // Divided by the mean first: the product of two small moments could be 0.
    let root = |moment: f64| moment.sqrt().recip() as f32;
    let row_scales: Vec<f32> = rows
        .iter()
        .map(|&row| root(f64::from(row) / mean))
        .collect();
    let column_scales: Vec<f32> = columns.iter().map(|&one| root(f64::from(one))).collect();
    let scales = [row_scales.as_ptr(), column_scales.as_ptr()];
    let of_parameter = if step.scale.is_some() {
        p.cast_const()
    } else {
        std::ptr::null()
    };
    let rms = blocks
        .sums(g, scales, of_parameter)
        .map(|sum| (sum / (n * m) as f64).sqrt());
    let scale = step.scale.map_or(1.0, |least| rms[1].max(least));
    // A root mean square that is not a number stays one.
    let clip = rms[0] / step.clip_threshold;
    let clip = if clip <= 1.0 { 1.0 } else { clip };
    let lost = step.decay * if step.decay_scaled { scale } else { 1.0 };
    blocks.apply(p, g, scales, (step.rate * scale / clip) as f32, lost as f32);
    [rows, columns]
}

/// Rows in a fixed number of parts.
struct Blocks {
    n: usize,
    m: usize,
    rows: usize,
}

impl Blocks {
    fn of(n: usize, m: usize) -> Self {
        let rows = n.div_ceil(BLOCKS).max(WORTH_SHARING.div_ceil(m));
        Self { n, m, rows }
    }

    fn count(&self) -> usize {
        self.n.div_ceil(self.rows)
    }

    /// First row and number of rows of a block.
    fn block(&self, block: usize) -> (usize, usize) {
        let first = block * self.rows;
        (first, self.rows.min(self.n - first))
    }

    /// The means of squares of rows and of columns.
    fn means(&self, g: *const f32) -> [Vec<f32>; 2] {
        let (n, m) = (self.n, self.m);
        let mut rows = vec![0f32; n];
        let mut parts = vec![0f32; self.count() * 2 * m];
        let shared = Shared((g, rows.as_mut_ptr(), parts.as_mut_ptr()));
        pool::run(self.count(), |block| {
            let (g, rows, parts) = shared.get();
            let (first, count) = self.block(block);
            // SAFETY: blocks are different rows, and each has its own part.
            unsafe {
                let (g, rows) = (g.add(first * m), rows.add(first));
                let part = parts.add(block * 2 * m);
                kernel::squares(Level::best(), count, m, g, rows, part);
            }
        });
        for row in &mut rows {
            *row /= m as f32;
        }
        let column = |j: usize| {
            let each = parts.chunks_exact(2 * m).map(|part| f64::from(part[j]));
            (each.sum::<f64>() / n as f64) as f32
        };
        [rows, (0..m).map(column).collect()]
    }

    /// The sums of squares of the update, and of the parameter if it is there.
    fn sums(&self, g: *const f32, scales: [*const f32; 2], p: *const f32) -> [f64; 2] {
        let m = self.m;
        let mut parts = vec![[0f64; 2]; self.count()];
        let shared = Shared((g, scales, p, parts.as_mut_ptr()));
        pool::run(self.count(), |block| {
            let (g, [row, column], p, parts) = shared.get();
            let (first, count) = self.block(block);
            // SAFETY: as above.
            unsafe {
                let p = if p.is_null() { p } else { p.add(first * m) };
                let (g, row) = (g.add(first * m), row.add(first));
                let sums = parts.add(block).cast();
                kernel::update_squares(Level::best(), count, m, g, row, column, p, sums);
            }
        });
        let sum = |which: usize| parts.iter().map(|part| part[which]).sum();
        [sum(0), sum(1)]
    }

    fn apply(&self, p: *mut f32, g: *const f32, scales: [*const f32; 2], factor: f32, lost: f32) {
        let m = self.m;
        let shared = Shared((p, g, scales));
        pool::run(self.count(), |block| {
            let (p, g, [row, column]) = shared.get();
            let (first, count) = self.block(block);
            // SAFETY: as above.
            unsafe {
                let (p, g, row) = (p.add(first * m), g.add(first * m), row.add(first));
                kernel::factored(Level::best(), count, m, p, g, row, column, factor, lost);
            }
        });
    }
}

pub(super) fn adamw<const D: usize>(
    step: &AdamW,
    tensor: Tensor<D>,
    gradient: &Tensor<D>,
    averages: Option<[Tensor<D>; 2]>,
) -> Result<Averaged<D>, (Tensor<D>, Option<[Tensor<D>; 2]>)> {
    let dims = tensor.dims();
    let ours = is_ours(&tensor) && is_ours(gradient) && averages.iter().flatten().all(is_ours);
    let Some(gradient) = primitive(gradient).filter(|_| ours) else {
        return Err((tensor, averages));
    };
    let len = dims.iter().product();
    let tensor = taken(tensor);
    // What lies as the transpose is worked on as that.
    let turned = matches!(*tensor.layout().strides(), [1, row] if row != 1);
    let of = |tensor: FlexTensor| match turned {
        true => tensor.transpose(0, 1),
        false => tensor,
    };
    let [mean, square] = match averages {
        Some(averages) => averages.map(|average| {
            assert_eq!(average.dims(), dims, "one average for each value");
            taken(average)
        }),
        None => [(); 2].map(|()| FlexTensor::zeros(dims.into(), DType::F32)),
    };
    let mut all = [tensor, mean, square].map(|tensor| contiguous(of(tensor)));
    let gradient = contiguous(of(gradient));
    if len > 0 {
        let factors = Factors {
            beta1: step.beta1 as f32,
            beta2: step.beta2 as f32,
            rest1: (1.0 - step.beta1) as f32,
            rest2: (1.0 - step.beta2) as f32,
            epsilon: step.epsilon as f32,
            root: step.root.recip() as f32,
            rate: step.rate as f32,
            keep: step.keep as f32,
        };
        let places = all.each_mut().map(writable);
        let shared = Shared((places, pointer(&gradient)));
        ranges(len, WORTH_SHARING, 16, 4, |range| {
            let ([p, mean, square], g) = shared.get();
            let (start, count) = (range.start, range.len());
            // SAFETY: ranges do not overlap.
            unsafe {
                let (p, g) = (p.add(start), g.add(start));
                let (mean, square) = (mean.add(start), square.add(start));
                kernel::adamw(Level::best(), count, p, g, mean, square, factors);
            }
        });
    }
    let [tensor, mean, square] = all.map(|tensor| Tensor::from_primitive::<Flex>(of(tensor)));
    Ok(Averaged {
        tensor,
        mean,
        square,
    })
}
