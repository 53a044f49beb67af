//! The same seed gives the same tokens alone and in a batch, on one thread and on two: on the demonstration model.

use std::ops::ControlFlow;
use std::process::Command;

use asclepius::Asclepius;
use clinical_generate::{EndTokens, Generation, StepModel, generate, generate_many};
use clinical_synth::Generator;

/// Set for the process that does the work: the number of threads, which a process can choose once.
const THREADS: &str = "CLINICAL_LM_TEST_THREADS";

fn sampled(model: &impl StepModel, prompts: &[Vec<u32>], end: &EndTokens<'_>) -> Vec<Vec<u32>> {
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let options = Generation::sample()
        .with_temperature(1.5)
        .with_top_p(0.95)
        .with_seed(11)
        .with_max_new_tokens(24);
    let silent = |_: clinical_generate::Step<'_>| ControlFlow::Continue(());
    let alone: Vec<Vec<u32>> = prompts
        .iter()
        .map(|prompt| {
            let mut results = generate(model, &[prompt], end, &options, silent).unwrap();
            results.remove(0).ids
        })
        .collect();
    for slots in [3, prompts.len()] {
        let together = generate_many(model, &prompts, end, &options, slots, silent).unwrap();
        for (row, (result, alone)) in together.iter().zip(&alone).enumerate() {
            assert_eq!(&result.ids, alone, "row {row} among {slots}");
        }
    }
    alone
}

#[test]
fn alone_or_in_a_batch_on_one_thread_or_two() {
    if let Ok(threads) = std::env::var(THREADS) {
        clinical_kernels::set_threads(threads.parse().unwrap()).unwrap();
        let model = Asclepius::embedded().unwrap();
        let prompts: Vec<Vec<u32>> = Generator::held_out(5)
            .take(12)
            .map(|case| {
                let text = format!("{}\n{}\n", case.note, case.pairs[0].question);
                let encoding = model.tokenizer().encode(&text, true).unwrap();
                encoding.ids().to_vec()
            })
            .collect();
        let end = EndTokens::new(model.tokenizer().special().eos.iter().copied());
        let tokens = sampled(model.model(), &prompts, &end);
        std::fs::write(
            std::env::var("CLINICAL_LM_TEST_OUT").unwrap(),
            format!("{tokens:?}"),
        )
        .unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let outputs = ["1", "2"].map(|threads| {
        let path = folder.path().join(threads);
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "alone_or_in_a_batch_on_one_thread_or_two"])
            .env(THREADS, threads)
            .env("CLINICAL_LM_TEST_OUT", &path)
            .status()
            .unwrap();
        assert!(status.success(), "{threads} threads");
        std::fs::read_to_string(path).unwrap()
    });
    assert!(outputs[0].len() > 200);
    assert_eq!(outputs[0], outputs[1], "one thread and two");
}
