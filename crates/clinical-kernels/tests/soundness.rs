//! Sizes that wrap, rows that do not fit and views that no memory could hold: safe calls that must end in a panic
//! before any memory is touched. Each one read or wrote beyond its memory before it had its check, or is a sibling of
//! one that did.
#![cfg(feature = "flex")]

use std::sync::Arc;

use burn::module::Param;
use burn::tensor::{Bool, DType, Device, Tensor};
use clinical_kernels::blocks::{Blocks, Look};
use clinical_kernels::fused::{self, Activation, Attend, Then};
use clinical_kernels::{Block, Packed, PackedMatrix, Packing};

/// Two of these as factors pass 64 bits.
const HUGE: usize = 1 << 40;

const INTEGERS: [Packing; 6] = [
    Packing::Int8,
    Packing::Int8Wide,
    Packing::Int8Mixed,
    Packing::Int4,
    Packing::Int4Min,
    Packing::Int4Affine,
];

fn device() -> Device {
    clinical_kernels::cpu()
}

fn look() -> Look<'static> {
    Look {
        causal: true,
        window: None,
        bias: None,
        scale: 1.0,
    }
}

/// One number as a tensor of any shape.
fn spread<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::<D>::ones([1; D], &device()).expand(shape)
}

/// Whether it panics, and with these words.
fn panics(words: &str, call: impl FnOnce()) {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    let cause = caught.expect_err("a panic");
    let said = match cause.downcast_ref::<String>() {
        Some(said) => said.as_str(),
        None => cause.downcast_ref::<&str>().copied().unwrap_or_default(),
    };
    assert!(said.contains(words), "{said}");
}

const TOO_LARGE: &str = "more values than memory can hold";

// --- blocks ----------------------------------------------------------------------------------------------------------

fn one_row(d: usize, half: bool) -> Blocks {
    let mut blocks = Blocks::new(&device(), DType::F32, 1, d, half).expect("the CPU");
    blocks.add_rows(1);
    let one = Tensor::<4>::ones([1, 1, 1, d], &device());
    blocks.append(&[1], &one, &one);
    blocks
}

#[test]
fn rows_of_other_sizes_do_not_merge() {
    for (mut blocks, other) in [
        (one_row(64, false), one_row(32, false)),
        (one_row(32, false), one_row(64, false)),
        (one_row(32, true), one_row(32, false)),
    ] {
        assert!(!blocks.fits(&other));
        panics("cannot join", || blocks.merge(other));
    }
    let mut blocks = one_row(32, false);
    blocks.merge(one_row(32, false));
    let queries = Tensor::<4>::ones([1, 1, 2, 32], &device());
    let y = blocks.attend(&[1, 1], &queries, look());
    assert_eq!(y.into_data().try_to_vec::<f32>().unwrap(), [1.0; 64]);
}

#[test]
fn counts_whose_sum_wraps_are_refused() {
    let mut blocks = Blocks::new(&device(), DType::F32, 1, 3, false).expect("the CPU");
    blocks.add_rows(2);
    let two = Tensor::<4>::ones([1, 1, 2, 3], &device());
    let cap = (((1u128 << 64) + 128 + 192 * 500_000) / 6) as usize;
    for large in [cap, usize::MAX, usize::MAX / 2 + 1] {
        let counts = [large, 2usize.wrapping_sub(large)];
        panics("as many positions", || blocks.append(&counts, &two, &two));
        panics("as many positions", || {
            drop(blocks.attend(&counts, &two, look()))
        });
    }
    panics("new keys and values", || blocks.append(&[1], &two, &two));
    panics("queries of the rows", || {
        drop(blocks.attend(&[2, 1], &two, look()))
    });
}

#[test]
fn blocks_larger_than_memory_are_refused() {
    let (device, f32) = (device(), DType::F32);
    panics(TOO_LARGE, || {
        drop(Blocks::new(&device, f32, HUGE, HUGE, false))
    });
    panics(TOO_LARGE, || {
        drop(Blocks::new(&device, f32, 1 << 60, 1, false))
    });
    let mut blocks = Blocks::new(&device, f32, HUGE, 1, false).expect("not too large by itself");
    blocks.add_rows(1);
    let many = spread([1, HUGE, HUGE, 1]);
    panics(TOO_LARGE, || blocks.append(&[HUGE], &many, &many));
}

#[test]
fn scores_of_more_heads_than_memory_holds_are_refused() {
    let blocks = {
        let mut blocks = Blocks::new(&device(), DType::F32, 1, 1, false).expect("the CPU");
        blocks.add_rows(1);
        let keys = Tensor::<4>::ones([1, 1, 64, 1], &device());
        blocks.append(&[64], &keys, &keys);
        blocks
    };
    panics(TOO_LARGE, || {
        drop(blocks.attend(&[1], &spread([1, 1 << 58, 1, 1]), look()))
    });
}

#[test]
fn a_row_that_is_not_there_is_not_selected() {
    panics("index out of bounds", || one_row(1, false).select(&[1]));
}

// --- packed
// weights ----------------------------------------------------------------------------------------------------

#[test]
fn products_whose_sizes_wrap_are_refused() {
    for packing in INTEGERS.into_iter().chain([Packing::F16, Packing::BF16]) {
        let matrix = PackedMatrix::new(packing, 16, 16, &[1.0; 256]);
        for rows in [1 << 60, 1 << 63, usize::MAX] {
            panics("", || drop(matrix.multiply(&[], rows, None)));
        }
        let narrow = PackedMatrix::new(packing, 16, 0, &[]);
        for rows in [1 << 60, 1 << 62, usize::MAX] {
            panics("memory can hold", || {
                drop(narrow.multiply(&[], rows, Some(&[1.0; 16])))
            });
        }
        // No outputs: nothing to compute, and nothing to allocate for it.
        let none = PackedMatrix::new(packing, 0, 0, &[]);
        assert!(none.multiply(&[], usize::MAX, None).is_empty());
    }
}

#[test]
fn matrices_whose_sizes_wrap_are_refused() {
    let nothing = |_: usize, _: &mut [f32]| Ok::<_, ()>(());
    for packing in INTEGERS.into_iter().chain([Packing::F16, Packing::BF16]) {
        for (outputs, inputs) in [
            (1 << 60, 16),
            (16, 1 << 60),
            (HUGE, HUGE),
            (1, usize::MAX),
            (usize::MAX, 1),
            (2, usize::MAX - 31),
        ] {
            let larger = "larger than memory can be";
            panics("", || {
                drop(PackedMatrix::new(packing, outputs, inputs, &[]))
            });
            panics(larger, || {
                drop(PackedMatrix::from_rows(packing, outputs, inputs, nothing))
            });
            panics(larger, || {
                drop(PackedMatrix::random(packing, outputs, inputs, 1.0, 0))
            });
        }
    }
    for packing in [Packing::Int8, Packing::Int4, Packing::Int4Min] {
        let nothing = |_: usize, _: &mut [Block]| Ok::<_, ()>(());
        for (outputs, inputs) in [(2, usize::MAX - 31), (1 << 60, 32), (HUGE, HUGE)] {
            panics("larger than memory can be", || {
                drop(PackedMatrix::from_blocks(packing, outputs, inputs, nothing));
            });
        }
    }
}

#[test]
fn rows_and_blocks_that_are_not_there_are_refused() {
    let matrix = PackedMatrix::new(Packing::Int8, 3, 40, &[1.0; 120]);
    let mut row = [0.0; 40];
    for at in [3, 16, usize::MAX] {
        panics("row", || matrix.row(at, &mut [0.0; 40]));
        panics("row", || assert!(matrix.block(at, 0).is_none()));
    }
    panics("one value for each", || matrix.row(0, &mut [0.0; 39]));
    panics("block 2 of 2", || assert!(matrix.block(0, 2).is_none()));
    matrix.row(2, &mut row);
}

#[test]
fn a_reader_may_pack_something_itself() {
    let values = [0.5; 64];
    let outer = PackedMatrix::from_rows(Packing::F16, 2, 32, |_, out: &mut [f32]| {
        let inner = PackedMatrix::new(Packing::F16, 2, 32, &values);
        inner
            .to_f32()
            .iter()
            .zip(out)
            .for_each(|(from, to)| *to = *from);
        Ok::<_, ()>(())
    });
    assert_eq!(outer.unwrap().to_f32(), values);
}

#[test]
fn layers_of_packed_weights_look_at_every_shape() {
    let matrix = Arc::new(PackedMatrix::new(Packing::Int8, 2, 4, &[1.0; 8]));
    let param = || Param::from_tensor(Tensor::<2>::zeros([4, 2], &device()));
    panics("the parameter's shape", || {
        drop(Packed::attach(param(), Arc::clone(&matrix), false));
    });
    let param = Packed::attach(param(), matrix, true);
    let packed = clinical_kernels::packed(&param).unwrap();
    let x = Tensor::<2>::ones([2, 4], &device());
    // As many values, in another order.
    let turned = x.clone().reshape([4, 2]);
    panics("d_input", || {
        drop(packed.linear_then(&turned, Then::default()))
    });
    let residual = Tensor::<2>::ones([4, 1], &device());
    let then = Then {
        residual: Some(&residual),
        ..Then::default()
    };
    panics("one residual", || drop(packed.linear_then(&x, then)));
}

// --- f32 -------------------------------------------------------------------------------------------------------------

#[test]
fn products_of_views_larger_than_memory_are_refused() {
    for [rows, inputs, outputs] in [
        // The results wrap to none.
        [HUGE, 1, 1 << 24],
        // The packed left side wraps to nothing.
        [16, 1 << 62, 1],
        [1 << 62, 16, 1],
        [1, 1 << 62, 16],
    ] {
        let (x, weight) = (spread([rows, inputs]), spread([inputs, outputs]));
        panics(TOO_LARGE, || {
            drop(fused::linear(&x, &weight, Then::default()))
        });
    }
}

#[test]
fn work_on_views_larger_than_memory_is_refused() {
    let shape = [HUGE, 1 << 24];
    let x = spread(shape);
    let weight = spread([1 << 24]);
    panics(TOO_LARGE, || drop(fused::activate(&x, Activation::Relu)));
    panics(TOO_LARGE, || drop(fused::gated(&x, &x, Activation::Relu)));
    panics(TOO_LARGE, || drop(fused::rms_norm(&x, &weight, 1e-6)));
    panics(TOO_LARGE, || {
        drop(fused::layer_norm(&x, &weight, &weight, 1e-6))
    });
    let (x, angles) = (spread([HUGE, 1, 1 << 24, 2]), spread([1, 1, 1 << 24, 1]));
    panics(TOO_LARGE, || drop(fused::rotate(&x, &angles, &angles)));
}

#[test]
fn attention_to_views_larger_than_memory_is_refused() {
    for (queries, keys) in [(16, 1 << 60), (1, 1 << 62), (1 << 60, 16), (HUGE, HUGE)] {
        let (query, key) = (spread([1, 1, queries, 1]), spread([1, 1, keys, 1]));
        let attend = Attend {
            query: &query,
            key: &key,
            value: &key,
            hidden: None,
            bias: None,
            causal: false,
            scale: 1.0,
            bf16: false,
            dropout: None,
        };
        panics(TOO_LARGE, || drop(fused::attention(attend)));
    }
    // A mask of another shape is not read.
    let (x, hidden) = (
        spread([1, 2, 3, 4]),
        Tensor::<4, Bool>::from_data([[[[true, false]]]], &device()),
    );
    let attend = Attend {
        query: &x,
        key: &x,
        value: &x,
        hidden: Some(&hidden),
        bias: None,
        causal: false,
        scale: 1.0,
        bf16: false,
        dropout: None,
    };
    assert!(fused::attention(attend).is_none());
}

#[test]
fn what_is_empty_stays_empty() {
    let x = Tensor::<3>::zeros([3, 5, 0], &device());
    let weight = Tensor::<1>::zeros([0], &device());
    let y = fused::rms_norm(&x, &weight, 1e-6).expect("the CPU");
    assert_eq!(y.dims(), x.dims());
    let y = fused::gated(&x, &x, Activation::Silu).expect("the CPU");
    assert_eq!(y.dims(), x.dims());
    let empty = Tensor::<2>::zeros([0, 8], &device());
    let weight = Tensor::<2>::zeros([8, 5], &device());
    let y = fused::linear(&empty, &weight, Then::default()).expect("the CPU");
    assert_eq!(y.dims(), [0, 5]);
    let (none, wide) = (
        Tensor::<2>::zeros([3, 0], &device()),
        Tensor::<2>::zeros([0, 5], &device()),
    );
    let bias = Tensor::<1>::ones([5], &device());
    let then = Then {
        bias: Some(&bias),
        ..Then::default()
    };
    let y = fused::linear(&none, &wide, then).expect("the CPU");
    assert_eq!(y.into_data().try_to_vec::<f32>().unwrap(), [1.0; 15]);
}
