//! Requests that join while others run give what each prompt gives alone: on small models of both families with random
//! weights. (What an engine does with failures, order and budgets is tested in `clinical-generate` with a model made
//! for it.)

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use burn::tensor::Device;
use clinical_generate::{
    EndTokens, Engine, EngineLoad, EngineOptions, Error, Generated, Generation, ModelError, Prefix,
    Request, StepModel, StopReason, Ticket, generate,
};
use clinical_llama::{Llama, LlamaConfig};
use clinical_t5::{T5, T5Config};

const END: u32 = 1;

fn llama(heads: usize) -> Arc<Llama> {
    let config = serde_json::json!({
        "model_type": "llama", "vocab_size": 90, "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": heads, "num_key_value_heads": 2,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
        "initializer_range": 0.4,
    });
    let config = LlamaConfig::from_value(config).unwrap();
    let device = device();
    device.seed(7);
    Arc::new(config.init(&device).unwrap())
}

fn t5(heads: usize) -> Arc<T5> {
    let config = serde_json::json!({
        "model_type": "t5", "vocab_size": 90, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2,
        "num_heads": heads, "tie_word_embeddings": false, "initializer_factor": 3.0,
    });
    let config = T5Config::from_value(config).unwrap();
    let device = device();
    device.seed(7);
    Arc::new(config.init(&device).unwrap())
}

fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(clinical_kernels::cpu).clone()
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(99);
        (self.0 >> 33) as usize % limit
    }

    fn prompt(&mut self, most: usize) -> Vec<u32> {
        let length = 1 + self.below(most);
        (0..length).map(|_| 2 + self.below(88) as u32).collect()
    }

    fn options(&mut self) -> Generation {
        let options = match self.below(5) {
            0 => Generation::greedy(),
            1 => Generation::greedy().with_repetition_penalty(1.2),
            2 => Generation::sample().with_seed(self.below(50) as u64),
            3 => Generation::sample()
                .with_num_return_sequences(2)
                .with_seed(3),
            _ => Generation::beam(3).with_num_return_sequences(2),
        };
        options.with_max_new_tokens(1 + self.below(16))
    }
}

fn alone<M: StepModel>(model: &M, prompt: &[u32], options: &Generation) -> Vec<Generated> {
    let end = EndTokens::new([END]);
    generate(model, &[prompt], &end, options, |_| {
        ControlFlow::Continue(())
    })
    .unwrap()
}

fn tokens(results: &[Generated]) -> Vec<(&[u32], StopReason)> {
    results
        .iter()
        .map(|result| (&result.ids[..], result.stop))
        .collect()
}

/// Requests at random moments, some of them cancelled, some after a prefix. Returns how many were compared.
fn random_moments<M>(model: &Arc<M>, seed: u64) -> usize
where
    M: StepModel + Send + Sync + 'static,
    M::Cache: Clone + Send + Sync + 'static,
{
    let mut dice = Dice(seed);
    let limits = EngineOptions::new()
        .with_slots(3 + dice.below(8))
        .with_chunk(8 + dice.below(40));
    let engine = Engine::new(Arc::clone(model), limits).unwrap();
    let whole = dice.prompt(60);
    let prefix = Arc::new(Prefix::read(model.as_ref(), &whole).unwrap());
    let mut running: Vec<(Vec<u32>, Generation, bool, Ticket)> = Vec::new();
    for _ in 0..14 {
        let (mut prompt, options) = (dice.prompt(90), dice.options());
        let mut prefixes = None;
        if dice.below(3) == 0 {
            // An encoder-decoder's prompt is its prefix.
            let more = if model.prompt_counts() {
                &prompt[..]
            } else {
                &[]
            };
            prompt = [&whole[..], more].concat();
            prefixes = Some(Arc::clone(&prefix));
        }
        let mut request =
            Request::new(prompt.clone(), options.clone()).with_end(EndTokens::new([END]));
        if let Some(prefix) = prefixes {
            request = request.with_prefix(prefix);
        }
        let ticket = engine.admit(request).unwrap();
        let cancelled = dice.below(6) == 0;
        if cancelled {
            ticket.cancel();
        }
        running.push((prompt, options, cancelled, ticket));
        std::thread::sleep(Duration::from_micros(dice.below(600) as u64));
    }
    let mut compared = 0;
    for (prompt, options, cancelled, ticket) in running {
        let found = ticket.wait().unwrap();
        let expected = alone(model.as_ref(), &prompt, &options);
        if !cancelled {
            assert_eq!(
                tokens(&found),
                tokens(&expected),
                "{options:?} after {prompt:?}"
            );
            compared += 1;
        } else if options.beams == 1 {
            for (found, expected) in found.iter().zip(&expected) {
                assert!(expected.ids.starts_with(&found.ids));
            }
        }
    }
    assert_eq!(engine.load(), EngineLoad::default());
    compared
}

#[test]
fn a_decoders_requests_give_what_they_give_alone() {
    let model = llama(4);
    let compared: usize = (0..25).map(|seed| random_moments(&model, seed)).sum();
    assert!(compared > 250);
    assert_eq!(Arc::strong_count(&model), 1, "engines have let it go");
}

#[test]
fn an_encoder_decoders_requests_give_what_they_give_alone() {
    let model = t5(4);
    let compared: usize = (0..25).map(|seed| random_moments(&model, seed)).sum();
    assert!(compared > 250);
    assert_eq!(Arc::strong_count(&model), 1, "engines have let it go");
}

/// `result` is the error about another model's keys and values.
fn is_other<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Model(ModelError::OtherModel)))
}

fn caches_of_two_models<M>(one: &Arc<M>, other: &Arc<M>)
where
    M: StepModel + Send + Sync + 'static,
    M::Cache: Clone + Send + Sync + 'static,
{
    let (end, options) = (
        EndTokens::none(),
        Generation::greedy().with_max_new_tokens(4),
    );
    let prefix = Arc::new(Prefix::read(one.as_ref(), &[5, 6, 7]).unwrap());
    let silent = |_: clinical_generate::Step<'_>| ControlFlow::Continue(());
    for more in [&[][..], &[8, 9]]
        .into_iter()
        .take(if one.prompt_counts() { 2 } else { 1 })
    {
        assert!(is_other(prefix.generate(
            other.as_ref(),
            more,
            &end,
            &options,
            silent
        )));
        assert!(is_other(prefix.score_candidates(
            other.as_ref(),
            more,
            &[&[4, 5], &[6]]
        )));
        let each =
            prefix.generate_each(other.as_ref(), &[more, more], &end, &options, 2, |_, _| ());
        assert!(each.into_iter().all(is_other));
    }
    let engine = Engine::new(Arc::clone(other), EngineOptions::new()).unwrap();
    let request = Request::new([5, 6, 7], options).with_prefix(Arc::clone(&prefix));
    assert!(is_other(engine.admit(request)));
    // Merging, extending and stepping.
    let (mut mine, _) = one.prefill(&[&[5, 6]], 4).unwrap();
    let (mut its, _) = other.prefill(&[&[5, 6]], 4).unwrap();
    let is_other = |result: Result<(), ModelError>| matches!(result, Err(ModelError::OtherModel));
    assert!(is_other(one.merge(&mut mine, its.clone())));
    assert!(is_other(one.merge(&mut its, mine.clone())));
    assert!(is_other(other.step(&[4], &mut mine).map(drop)));
    assert!(is_other(
        other.extend(&[&[4, 5]], true, &mut mine).map(drop)
    ));
    assert!(one.step(&[4], &mut mine).is_ok(), "it is as it was");
    if one.can_share() {
        assert!(is_other(other.prefill_after(&mine, &[&[4]], 1).map(drop)));
    }
}

#[test]
fn a_cache_of_another_model_is_an_error() {
    caches_of_two_models(&llama(4), &llama(8));
    caches_of_two_models(&t5(4), &t5(2));
}

#[test]
fn bytes_are_those_of_keys_and_values() {
    // Two layers, keys and values of two heads of eight f32, in blocks of 32 positions.
    let model = llama(4);
    assert_eq!(model.cache_bytes(64), 64 * 2 * 2 * 2 * 8 * 4);
    assert_eq!(model.cache_bytes(1), model.cache_bytes(32));
    assert_eq!(model.cache_bytes(0), 0);
    assert_eq!(model.cache_bytes(usize::MAX), u64::MAX);
    let model = t5(4);
    assert_eq!(model.cache_bytes(64), 64 * 2 * 2 * 4 * 8 * 4);
    let budget = model.cache_bytes(100);
    let engine = Engine::new(model, EngineOptions::new().with_budget(budget)).unwrap();
    let request = |tokens| Request::new([5; 40], Generation::greedy().with_max_new_tokens(tokens));
    assert!(engine.admit(request(30)).unwrap().wait().is_ok());
    let refused = engine.admit(request(3000));
    assert!(matches!(refused, Err(Error::NeverFits { limit, .. }) if limit == budget));
}
