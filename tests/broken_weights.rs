//! Damaged weights end in an error that names the layer and the step, never in gibberish.

use std::ops::ControlFlow;

use burn::module::Param;
use burn::tensor::Tensor;
use clinical_generate::{EndTokens, Error, Generation, StepModel, generate, generate_many, score};
use clinical_llama::{Llama, LlamaConfig};
use clinical_t5::{T5, T5Config};

const PROMPT: &[u32] = &[5, 6, 7, 8];

fn llama() -> Llama {
    let config = r#"{
        "model_type": "llama", "vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
        "num_attention_heads": 4, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": false
    }"#;
    let config = LlamaConfig::from_json(config).unwrap();
    config.init(&clinical_kernels::cpu()).unwrap()
}

fn t5() -> T5 {
    let config = br#"{
        "vocab_size": 50, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 4,
        "tie_word_embeddings": false
    }"#;
    let config = T5Config::from_json(config).unwrap();
    config.init(&clinical_kernels::cpu()).unwrap()
}

/// Makes every weight `value`.
fn damage<const D: usize>(weight: &mut Param<Tensor<D>>, value: f32) {
    let broken = weight.val().full_like(value);
    *weight = Param::from_tensor(broken);
}

/// The layer and the step that every way to use the model names.
fn blamed<M: StepModel>(model: &M, options: &Generation) -> (String, usize) {
    let end = EndTokens::none();
    let silent = |_: clinical_generate::Step<'_>| ControlFlow::Continue(());
    let options = options.clone().with_max_new_tokens(6);
    let error = generate(model, &[PROMPT], &end, &options, silent).unwrap_err();
    let Error::NonFinite {
        layer,
        row: 0,
        step,
    } = &error
    else {
        panic!("{error}");
    };
    assert!(error.to_string().contains(layer), "{error}");
    for other in [
        generate_many(model, &[PROMPT], &end, &options, 2, silent).unwrap_err(),
        score(model, PROMPT, &[4; 6]).unwrap_err(),
    ] {
        assert!(
            matches!(&other, Error::NonFinite { layer: l, .. } if l == layer),
            "{other}"
        );
    }
    (layer.clone(), *step)
}

/// The layer that an error must name, and what breaks it.
type Case<M> = (&'static str, fn(&mut M));

#[test]
fn a_decoder_names_the_part_that_is_broken() {
    let cases: [Case<Llama>; 5] = [
        ("token embedding", |m| {
            damage(&mut m.model.embed_tokens.weight, f32::NAN)
        }),
        ("attention of layer 1", |m| {
            damage(
                &mut m.model.layers[1].self_attn.o_proj.weight,
                f32::INFINITY,
            );
        }),
        ("feed-forward of layer 2", |m| {
            damage(&mut m.model.layers[2].mlp.down_proj.weight, f32::NAN);
        }),
        ("last norm", |m| {
            damage(&mut m.model.norm.weight, f32::NEG_INFINITY)
        }),
        ("output layer", |m| {
            damage(&mut m.lm_head.as_mut().unwrap().weight, f32::NAN)
        }),
    ];
    for (part, break_it) in cases {
        let mut model = llama();
        break_it(&mut model);
        for options in [
            Generation::greedy(),
            Generation::sample(),
            Generation::beam(3),
        ] {
            assert_eq!(blamed(&model, &options), (part.to_owned(), 1));
        }
    }
}

#[test]
fn an_encoder_decoder_names_the_part_that_is_broken() {
    let cases: [Case<T5>; 5] = [
        ("encoder's self-attention of layer 0", |m| {
            damage(&mut m.encoder.block[0].self_attention.o.weight, f32::NAN);
        }),
        ("encoder's feed-forward of layer 1", |m| {
            damage(&mut m.encoder.block[1].feed_forward.wo.weight, f32::NAN);
        }),
        ("decoder's cross-attention of layer 1", |m| {
            damage(
                &mut m.decoder.as_mut().unwrap().block[1]
                    .cross_attention
                    .o
                    .weight,
                f32::INFINITY,
            );
        }),
        ("decoder's last norm", |m| {
            damage(
                &mut m.decoder.as_mut().unwrap().final_layer_norm.weight,
                f32::NAN,
            )
        }),
        ("output layer", |m| {
            damage(&mut m.lm_head.as_mut().unwrap().weight, f32::NAN)
        }),
    ];
    for (part, break_it) in cases {
        let mut model = t5();
        break_it(&mut model);
        for options in [Generation::greedy(), Generation::beam(3)] {
            assert_eq!(blamed(&model, &options), (part.to_owned(), 1));
        }
    }
}

#[test]
fn the_step_is_the_one_at_which_numbers_stopped_being_finite() {
    // A token that the prompt does not have: reading it breaks the model, so the step after it is the one.
    let mut model = llama();
    let weight = model.model.embed_tokens.weight.val();
    let [_, hidden] = weight.dims();
    let row = Tensor::<2>::full([1, hidden], f32::NAN, &weight.device());
    let weight = weight.slice_assign([30..31, 0..hidden], row);
    model.model.embed_tokens.weight = Param::from_tensor(weight);
    let options = Generation::greedy()
        .with_max_new_tokens(6)
        .with_allowed([vec![4, 9, 30, 5, 5, 5]]);
    let error = generate(&model, &[PROMPT], &EndTokens::none(), &options, |_| {
        ControlFlow::Continue(())
    })
    .unwrap_err();
    let Error::NonFinite { layer, step, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((layer.as_str(), step), ("token embedding", 4));
}
