//! Moving only the end of a cache when beams are reordered gives what moving whole rows gives.

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use clinical_generate::{EndTokens, Generation, ModelError, StepModel, generate};
use clinical_synth::Generator;
use clinical_t5::ClinicalT5;

/// The model without its own `reorder`.
struct Selecting<'m, M>(&'m M);

impl<M: StepModel> StepModel for Selecting<'_, M> {
    type Cache = M::Cache;

    fn vocabulary(&self) -> usize {
        self.0.vocabulary()
    }

    fn max_positions(&self) -> Option<usize> {
        self.0.max_positions()
    }

    fn prompt_counts(&self) -> bool {
        self.0.prompt_counts()
    }

    fn decoder_start(&self) -> Option<u32> {
        self.0.decoder_start()
    }

    fn prefill(
        &self,
        prompts: &[&[u32]],
        reserve: usize,
    ) -> Result<(M::Cache, Tensor<2>), ModelError> {
        self.0.prefill(prompts, reserve)
    }

    fn step(&self, ids: &[u32], cache: &mut M::Cache) -> Result<Tensor<2>, ModelError> {
        self.0.step(ids, cache)
    }

    fn select(&self, cache: &mut M::Cache, rows: &[usize]) {
        self.0.select(cache, rows);
    }
}

fn compare<M: StepModel>(model: &M, prompts: &[Vec<u32>], end: &EndTokens<'_>) {
    let silent = |_: clinical_generate::Step<'_>| ControlFlow::Continue(());
    for prompts in prompts.chunks(5) {
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let options = Generation::beam(4)
            .with_repetition_penalty(1.2)
            .with_min_new_tokens(4)
            .with_num_return_sequences(4)
            .with_max_new_tokens(24);
        let ours = generate(model, &prompts, end, &options, silent).unwrap();
        let whole = generate(&Selecting(model), &prompts, end, &options, silent).unwrap();
        assert_eq!(ours, whole);
    }
}

#[test]
fn of_an_encoder_decoder() {
    let t5 = ClinicalT5::embedded().unwrap();
    let prompts: Vec<Vec<u32>> = Generator::held_out(31)
        .t5()
        .take(80)
        .map(|example| {
            t5.tokenizer()
                .encode(&example.input, true)
                .unwrap()
                .into_ids()
        })
        .collect();
    let end = EndTokens::new(t5.tokenizer().special().eos.iter().copied());
    compare(t5.model(), &prompts, &end);
}

#[test]
fn of_a_decoder() {
    let model = asclepius::Asclepius::embedded().unwrap();
    let prompts: Vec<Vec<u32>> = Generator::held_out(31)
        .take(20)
        .map(|case| {
            let text = format!("{}\n", case.pairs[0].question);
            model.tokenizer().encode(&text, true).unwrap().into_ids()
        })
        .collect();
    let end = EndTokens::new(model.end_ids().iter().copied());
    compare(model.model(), &prompts, &end);
}
