//! Weights with which a T5 copies what followed an earlier occurrence.
//!
//! Such an induction circuit (Olsson et al. 2022, arXiv 2209.11895) forms by itself in training, but only after many more
//! tokens than a short run sees, and every answer that quotes its input needs it. It is only a start: nothing is frozen,
//! and no knowledge is put in.
//!
//! Of the `d` channels of a state all but the last 64 hold the token, the next 32 the one before it, the last 32 the one
//! before that. In the encoder, head 0 of the first layer looks one token back and head 1 two, by the bias of distances;
//! in the decoder head 0 looks one back. Each query of the first attention to the encoder is the token and the one before
//! it, each key the two tokens before a place of the input, and what is written is the token there. The heads' other
//! outputs, and those of the feed-forward layers, begin with zeros.

use anyhow::{Context, Result, ensure};
use burn::module::Param;
use burn::tensor::{Distribution, Tensor, TensorData};
use clinical_nn::Linear;
use clinical_t5::{T5, relative_position_bucket};

/// Channels for each of the tokens before, and the size of a head.
const WIDTH: usize = 32;
/// The bias of a distance that a head looks at.
const SURE: f32 = 10.0;
/// Factor of the queries and keys that find an earlier occurrence.
const SHARP: f32 = 0.45;
/// The weight of the last norm: how sure the copied token is.
const LOUD: f32 = 4.0;

/// Sets the weights; `size` is the standard deviation of the embeddings.
pub fn start(model: &mut T5, size: f32) -> Result<()> {
    let d = model.config().d_model;
    let heads = model.config().num_heads;
    ensure!(
        model.config().d_kv == WIDTH && d > 2 * WIDTH && (d - 2 * WIDTH).div_ceil(WIDTH) <= heads,
        "a start that copies needs heads of 32 for all but 64 of the channels"
    );
    let token = d - 2 * WIDTH;
    change(&mut model.shared.weight, |_, column, value| {
        if column < token { value } else { 0.0 }
    });
    for block in &mut model.encoder.block {
        zero(&mut block.self_attention.o);
        zero(&mut block.feed_forward.wo);
    }
    let decoder = model.decoder.as_mut().context("there is no decoder")?;
    for block in &mut decoder.block {
        zero(&mut block.self_attention.o);
        zero(&mut block.cross_attention.o);
        zero(&mut block.feed_forward.wo);
    }

    let first = &mut model.encoder.block[0].self_attention;
    look_back(first, true, &[(1, token), (2, token + WIDTH)], size);
    let first = &mut decoder.block[0].self_attention;
    look_back(first, false, &[(1, token + WIDTH)], size);

    let find = &mut decoder.block[0].cross_attention;
    let device = find.q.weight.val().device();
    let shape = [2 * WIDTH, heads * WIDTH];
    let std = SHARP / (WIDTH as f32).sqrt();
    let mix = Tensor::<2>::random(shape, Distribution::Normal(0.0, f64::from(std)), &device);
    let mix: Vec<f32> = mix.into_data().iter::<f32>().collect();
    let mixed = |row: usize, column: usize| mix[row * heads * WIDTH + column];
    change(&mut find.q.weight, |row, column, _| match row {
        row if row < WIDTH => mixed(row, column),
        row if row >= token + WIDTH => mixed(row - token, column),
        _ => 0.0,
    });
    change(&mut find.k.weight, |row, column, _| match row {
        row if row >= token => mixed(row - token, column),
        _ => 0.0,
    });
    change(&mut find.v.weight, |row, column, _| {
        if row == column && row < token {
            1.0
        } else {
            0.0
        }
    });
    change(&mut find.o.weight, |row, column, _| {
        if row == column && row < token {
            2.0 * size
        } else {
            0.0
        }
    });
    let loud = Tensor::<1>::full([d], LOUD, &device);
    decoder.final_layer_norm.weight = Param::from_tensor(loud);
    Ok(())
}

/// Head `n` copies the first channels of the token that stands so far before, to where `to` says.
fn look_back(
    attention: &mut clinical_t5::Attention,
    both_ways: bool,
    heads: &[(i64, usize)],
    size: f32,
) {
    let of = |column: usize| heads.get(column / WIDTH);
    for side in [&mut attention.q, &mut attention.k] {
        change(&mut side.weight, |_, column, value| match of(column) {
            Some(_) => 0.0,
            None => value,
        });
    }
    change(&mut attention.v.weight, |row, column, value| {
        match of(column) {
            Some(_) if row == column % WIDTH => 1.0,
            Some(_) => 0.0,
            None => value,
        }
    });
    // What is read was divided by its root mean square.
    let scale = size * 0.7;
    change(&mut attention.o.weight, |row, column, value| {
        match of(row) {
            Some((_, to)) if column == to + row % WIDTH => scale,
            _ => value,
        }
    });
    if let Some(table) = &mut attention.relative_attention_bias {
        change(&mut table.weight, |bucket, head, value| {
            match heads.get(head) {
                Some((back, _))
                    if bucket == relative_position_bucket(-back, both_ways, 32, 128) =>
                {
                    SURE
                }
                Some(_) => 0.0,
                None => value,
            }
        });
    }
}

fn zero(linear: &mut Linear) {
    change(&mut linear.weight, |_, _, _| 0.0);
}

/// Each element from its row, its column and what it is.
fn change(matrix: &mut Param<Tensor<2>>, of: impl Fn(usize, usize, f32) -> f32) {
    let old = matrix.val();
    let [rows, columns] = old.dims();
    let device = old.device();
    let values = old.into_data();
    let values = values.iter::<f32>().enumerate();
    let values = values.map(|(at, value)| of(at / columns, at % columns, value));
    let data = TensorData::new(values.collect::<Vec<f32>>(), [rows, columns]);
    *matrix = Param::from_tensor(Tensor::from_data(data, &device));
}
