//! Attention.

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, DType, Tensor, TensorData};
use clinical_kernels::DropMask;
use clinical_kernels::fused::{self, Attend};

use super::{Found, TOLERANCE, close, device, leaf, noise, same_with_threads, values};

/// What an attention is about.
#[derive(Debug, Clone, Default)]
struct Case {
    batch: usize,
    heads: usize,
    key_heads: usize,
    queries: usize,
    keys: usize,
    d: usize,
    /// Rows of the bias.
    bias: Option<usize>,
    hidden: Hidden,
    causal: bool,
    dropout: Option<DropMask>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Hidden {
    #[default]
    Nothing,
    /// The last keys of each row, more in each.
    Padding,
    /// Other positions than those of a query's own block of 5.
    OtherBlocks,
    /// Every key of the second row, and of every third query.
    Some,
}

impl Case {
    fn new([batch, heads, key_heads, queries, keys, d]: [usize; 6]) -> Self {
        Self {
            batch,
            heads,
            key_heads,
            queries,
            keys,
            d,
            ..Self::default()
        }
    }

    fn mask(&self) -> Option<Tensor<4, Bool>> {
        let (batch, queries, keys) = (self.batch, self.queries, self.keys);
        let rows = if self.hidden == Hidden::Padding {
            1
        } else {
            queries
        };
        let mut hidden = Vec::new();
        for row in 0..batch {
            for query in 0..rows {
                hidden.extend((0..keys).map(|key| match self.hidden {
                    Hidden::Nothing => false,
                    Hidden::Padding => key >= keys - row * keys / (batch + 1),
                    Hidden::OtherBlocks => key / 5 != query / 5,
                    Hidden::Some => row == 1 || query % 3 == 2 || key % 4 == row,
                }));
            }
        }
        let data = TensorData::new(hidden, [batch, 1, rows, keys]);
        (self.hidden != Hidden::Nothing).then(|| Tensor::from_data(data, &device()))
    }

    /// Queries, keys and values as projections leave them, `[batch, length, heads, d]`, and the bias.
    fn leaves(&self, dtype: DType) -> ([Tensor<4>; 3], Option<Tensor<4>>) {
        let Self {
            batch,
            heads,
            key_heads,
            queries,
            keys,
            d,
            ..
        } = *self;
        let vectors = [
            noise([batch, queries, heads, d], 0),
            noise([batch, keys, key_heads, d], 1),
            noise([batch, keys, key_heads, d], 2),
        ];
        let vectors = vectors.map(|data| leaf(&data, dtype));
        let bias = self.bias.map(|rows| noise([rows, heads, queries, keys], 3));
        (vectors, bias.map(|data| leaf(&data, dtype)))
    }

    fn run(&self, dtype: DType, attention: impl Fn(&Self, Attend<'_>) -> Tensor<4>) -> Found {
        let (leaves, bias) = self.leaves(dtype);
        let [query, key, value] = leaves.clone().map(|x| x.swap_dims(1, 2));
        let hidden = self.mask();
        let attend = Attend {
            query: &query,
            key: &key,
            value: &value,
            hidden: hidden.as_ref(),
            bias: bias.as_ref(),
            causal: self.causal,
            scale: 1.7 / (self.d as f64).sqrt(),
            bf16: true,
            dropout: self.dropout,
        };
        let y = attention(self, attend);
        let weights = Tensor::<4>::from_data(noise(y.dims(), 4), (&device(), dtype));
        let gradients = (y.clone() * weights).sum().backward();
        let leaves = leaves.iter().chain(&bias);
        let mut found = vec![values(&y)];
        found.extend(leaves.map(|leaf| values(&leaf.grad(&gradients).unwrap())));
        found
    }

    #[track_caller]
    fn check(&self) {
        let found = self.run(DType::F32, kernel);
        let expected = self.run(DType::F64, composed);
        close(&format!("{self:?}"), &found, &expected, TOLERANCE);
    }
}

fn kernel(_: &Case, attend: Attend<'_>) -> Tensor<4> {
    fused::attention(attend).expect("the CPU")
}

/// The same of Burn's operations.
fn composed(case: &Case, attend: Attend<'_>) -> Tensor<4> {
    let Case {
        batch,
        heads,
        key_heads,
        queries,
        keys,
        d,
        ..
    } = *case;
    let full = [batch, heads, queries, keys];
    let repeated = |x: &Tensor<4>| {
        let x = x.clone().unsqueeze_dim::<5>(2);
        let x = x.expand([batch, key_heads, heads / key_heads, keys, d]);
        x.reshape([batch, heads, keys, d])
    };
    let scores = attend
        .query
        .clone()
        .matmul(repeated(attend.key).swap_dims(2, 3));
    let mut scores = scores.mul_scalar(attend.scale);
    if let Some(bias) = attend.bias {
        scores = scores + bias.clone();
    }
    let later = (0..queries * keys).map(|at| case.causal && at % keys + queries > at / keys + keys);
    let later = TensorData::new(later.collect::<Vec<bool>>(), [1, 1, queries, keys]);
    let mut hidden = Tensor::<4, Bool>::from_data(later, &device()).expand(full);
    if let Some(mask) = attend.hidden {
        hidden = hidden.bool_or(mask.clone().expand(full));
    }
    let weights = softmax(scores.mask_fill(hidden.clone(), -1e30), 3);
    let weights = match case.dropout {
        // A row that sees nothing gives nothing.
        None => weights.mask_fill(hidden, 0.0),
        Some(mask) => {
            let mut factors = vec![0.0; full.iter().product()];
            mask.fill(0, &mut factors);
            let factors = TensorData::new(factors, full);
            weights * Tensor::from_data(factors, (&device(), DType::F64))
        }
    };
    weights.matmul(repeated(attend.value))
}

fn shapes() -> [Case; 9] {
    [
        [1, 1, 1, 1, 1, 1],
        [2, 4, 2, 1, 37, 8],
        [1, 18, 1, 3, 5, 20],
        [2, 3, 3, 4, 19, 64],
        [1, 6, 2, 13, 13, 33],
        [2, 2, 1, 150, 300, 16],
        [3, 2, 2, 130, 131, 32],
        [1, 4, 2, 30, 531, 80],
        [2, 2, 2, 65, 40, 128],
    ]
    .map(Case::new)
}

#[test]
fn every_gradient_is_that_of_burns_operations() {
    for case in shapes() {
        case.check();
        Case {
            hidden: Hidden::Padding,
            ..case.clone()
        }
        .check();
        Case {
            causal: true,
            ..case
        }
        .check();
    }
}

#[test]
fn a_bias_has_a_gradient_summed_over_the_batch() {
    for case in shapes() {
        for rows in [1, case.batch] {
            Case {
                bias: Some(rows),
                hidden: Hidden::Padding,
                causal: case.queries <= case.keys,
                ..case.clone()
            }
            .check();
        }
    }
}

#[test]
fn blocks_and_rows_that_see_nothing() {
    for case in shapes() {
        for hidden in [Hidden::OtherBlocks, Hidden::Some] {
            for causal in [false, true] {
                Case {
                    bias: Some(1),
                    hidden,
                    causal,
                    ..case.clone()
                }
                .check();
            }
        }
    }
}

#[test]
fn the_mask_of_dropout_is_made_again() {
    for case in shapes() {
        for (hidden, causal) in [
            (Hidden::Nothing, false),
            (Hidden::Nothing, true),
            (Hidden::Padding, true),
            (Hidden::Some, true),
        ] {
            Case {
                bias: Some(1),
                hidden,
                causal,
                dropout: Some(DropMask::new(0.3, 17, 4)),
                ..case.clone()
            }
            .check();
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for case in shapes() {
        let case = Case {
            bias: Some(1),
            hidden: Hidden::Padding,
            dropout: Some(DropMask::new(0.1, 3, 0)),
            ..case
        };
        same_with_threads(|| case.run(DType::F32, kernel));
    }
}

#[test]
fn what_wants_no_gradient_gets_none() {
    let case = Case::new([1, 2, 2, 5, 7, 8]);
    let ([query, key, value], _) = case.leaves(DType::F32);
    let [query, key, value] = [query, key.detach(), value.detach()].map(|x| x.swap_dims(1, 2));
    let key = key.set_require_grad(false);
    let attend = Attend {
        query: &query,
        key: &key,
        value: &value,
        hidden: None,
        bias: None,
        causal: false,
        scale: 1.0,
        bf16: false,
        dropout: None,
    };
    let gradients = fused::attention(attend).unwrap().sum().backward();
    assert!(query.grad(&gradients).is_none(), "a view is no leaf");
    assert!(key.grad(&gradients).is_none());
}

/// Two numbers a query, and no scores.
#[test]
fn a_device_without_gradients_has_no_dropout() {
    let device = clinical_kernels::cpu();
    let x = Tensor::<4>::ones([1, 1, 2, 4], &device);
    let attend = Attend {
        query: &x,
        key: &x,
        value: &x,
        hidden: None,
        bias: None,
        causal: false,
        scale: 1.0,
        bf16: false,
        dropout: Some(DropMask::new(0.5, 0, 0)),
    };
    assert!(fused::attention(attend).is_none());
}
