//! Greedy and beam search on trained models give what `transformers` gives, batches of different lengths included:
//! `scripts/model_generation_reference.py`.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clinical_generate::{EndTokens, StepModel, generate_many};
use clinical_llama::Llama;
use clinical_prompts::asclepius::Template;
use clinical_synth::Generator;
use clinical_t5::ClinicalT5;
use clinical_weights::LoadOptions;
use serde_json::Value;

#[path = "../crates/clinical-generate/tests/common/named.rs"]
mod named;

/// Sequences of a running batch: several prompts of different lengths even at beam 5.
const PLACES: usize = 40;

/// Shown with `--nocapture`.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn fixture(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    read(&folder.join(format!("generation_{name}.json")))
}

/// About a third of a note, as in the script.
fn some_lines(note: &str, number: usize) -> String {
    let lines: Vec<&str> = note
        .split('\n')
        .skip(number % 3)
        .step_by(2)
        .take(6)
        .collect();
    lines.join("\n")
}

fn fnv1a(ids: impl Iterator<Item = u32>) -> String {
    let hash = ids
        .flat_map(u32::to_le_bytes)
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
}

/// The prompts must be those of the fixture before their answers can be.
fn check_prompts(prompts: &[Vec<u32>], fixture: &Value) {
    let lengths: Vec<u32> = prompts.iter().map(|prompt| prompt.len() as u32).collect();
    assert_eq!(lengths, named::ids(&fixture["tokens"]));
    let hash = fnv1a(prompts.iter().flatten().copied());
    assert_eq!(hash, fixture["hash"].as_str().unwrap());
    assert!(prompts.len() >= 200);
}

/// Runs every option set of the fixture, on each `every`-th of its prompts, and returns how many answers were compared.
fn compare<M: StepModel>(
    model: &M,
    prompts: &[Vec<u32>],
    end: &EndTokens<'_>,
    fixture: &Value,
    every: usize,
) -> usize {
    let max_new_tokens = fixture["max_new_tokens"].as_u64().unwrap() as usize;
    let (mut compared, mut left_out, mut worst) = (0, 0, 0.0f64);
    for (set, run) in fixture["runs"].as_array().unwrap().iter().enumerate() {
        let options = named::options(&run["options"]).with_max_new_tokens(max_new_tokens);
        let copies = options.num_return_sequences;
        let [start, step] = ["start", "step"].map(|name| run[name].as_u64().unwrap() as usize);
        // The prompts' numbers, and their indices in the fixture's lists.
        let asked: Vec<(usize, usize)> = (start..prompts.len())
            .step_by(step)
            .zip(0..)
            .skip(set % every)
            .step_by(every)
            .collect();
        let rows: Vec<&[u32]> = asked
            .iter()
            .map(|&(number, _)| prompts[number].as_slice())
            .collect();
        let results = generate_many(model, &rows, end, &options, PLACES, |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(results.len(), rows.len() * copies);
        for (results, &(number, place)) in results.chunks(copies).zip(&asked) {
            let Some(answer) = run["answers"][place].as_u64() else {
                left_out += 1;
                continue;
            };
            let expected = &fixture["sequences"][number][answer as usize];
            for (at, result) in results.iter().enumerate() {
                assert_eq!(
                    result.ids,
                    named::ids(&expected[at]),
                    "prompt {number}, sequence {at}, {}",
                    run["options"]
                );
                if let Some(score) = result.score {
                    let expected = run["scores"][place * copies + at].as_f64().unwrap();
                    worst = worst.max((f64::from(score) - expected).abs());
                }
            }
            compared += 1;
        }
    }
    say(&format!(
        "{compared} answers equal, {left_out} left out, scores differ by {worst:.1e} at most"
    ));
    assert!(worst < 1e-4, "scores differ by {worst}");
    // Where transformers disagrees with itself in another precision there is nothing to compare.
    assert!(left_out * 50 <= compared, "{left_out} of {compared}");
    compared
}

fn llama(every: usize) -> usize {
    let fixture = fixture("llama");
    let model = asclepius::Asclepius::embedded().unwrap();
    let options = clinical_prompts::Options::new();
    let prompts: Vec<Vec<u32>> = Generator::held_out(fixture["seed"].as_u64().unwrap())
        .take(fixture["tokens"].as_array().unwrap().len())
        .enumerate()
        .map(|(at, case)| {
            let question = &case.pairs[at % case.pairs.len()].question;
            let note = some_lines(&case.note, at);
            let text = Template::Inference.render(&note, question, &options);
            let encoding = model.tokenizer().encode(&text.unwrap(), true).unwrap();
            encoding.ids().to_vec()
        })
        .collect();
    check_prompts(&prompts, &fixture);
    let end = EndTokens::new(model.tokenizer().special().eos.iter().copied());
    compare(model.model(), &prompts, &end, &fixture, every)
}

fn t5(every: usize) -> usize {
    let fixture = fixture("t5");
    // The demonstration model of before: what it answers does not change when that one is trained again.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/trained_t5");
    let t5 = ClinicalT5::load(folder, &LoadOptions::default()).unwrap();
    let prompts: Vec<Vec<u32>> = Generator::held_out(fixture["seed"].as_u64().unwrap())
        .t5()
        .take(fixture["tokens"].as_array().unwrap().len())
        .map(|example| {
            let encoding = t5.tokenizer().encode(&example.input, true).unwrap();
            encoding.ids().to_vec()
        })
        .collect();
    check_prompts(&prompts, &fixture);
    let end = EndTokens::new(t5.tokenizer().special().eos.iter().copied());
    compare(t5.model(), &prompts, &end, &fixture, every)
}

#[test]
fn the_llama_inside_asclepius() {
    // Every prompt, with about a seventh of the option sets each.
    assert!(llama(7) > 350);
}

#[test]
#[ignore = "takes minutes: cargo test --release --test generation -- --ignored"]
fn the_llama_with_every_option_set() {
    assert!(llama(1) > 2400);
}

#[test]
fn a_trained_t5() {
    assert!(t5(7) > 900);
}

#[test]
#[ignore = "takes minutes: cargo test --release --test generation -- --ignored"]
fn a_trained_t5_with_every_option_set() {
    assert!(t5(1) > 6600);
}

#[test]
fn smollm2_with_some_prompts() {
    if let Some(compared) = smollm2(3) {
        assert!(compared >= 60);
    }
}

#[test]
#[ignore = "takes minutes: cargo test --release --test generation -- --ignored"]
fn smollm2_with_every_prompt() {
    if let Some(compared) = smollm2(1) {
        assert!(compared >= 200);
    }
}

/// `None` where the model is not in the cache.
fn smollm2(every: usize) -> Option<usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = match std::env::var_os("CLINICAL_LM_CACHE") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => root.join(".cache/assets"),
    };
    let directory = cache.join("smollm2-135m-instruct");
    if !directory.is_dir() {
        say("skipped: SmolLM2 is not in the cache; run scripts/get_assets to fetch it");
        return None;
    }
    let (model, _) = Llama::load(&directory, &LoadOptions::default()).unwrap();
    let fixture = fixture("smollm2");
    let prompts: Vec<Vec<u32>> = fixture["prompts"]
        .as_array()
        .unwrap()
        .iter()
        .map(named::ids)
        .collect();
    let end = EndTokens::new(named::ids(&fixture["end"]));
    Some(compare(&model, &prompts, &end, &fixture, every))
}
