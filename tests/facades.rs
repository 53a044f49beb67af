//! The contract of the facades (CONTRIBUTING): one program against `Asclepius`, `ClinicalT5`, `ClinicalBert` and
//! `ClinicalGpt2`.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use asclepius::{
    AddedToken, AnswerOptions, Asclepius, CancelFlag, Device, LoadOptions, LoadReport, LongText,
    Remark, SaveOptions, TextTooLong, Tokenizer,
};
use clinical_bert::{ClinicalBert, EmbedOptions};
use clinical_gpt2::{ClinicalGpt2, Generation, Gpt2Options};
use clinical_t5::{ClinicalT5, T5Options};
use serde::Serialize;
use serde_json::Value;

const QUESTION: &str = "What is the discharge diagnosis?";

/// The options of the calls of all facades.
#[derive(Clone, Default)]
struct Call {
    long_text: Option<LongText>,
    max_tokens: Option<usize>,
    batch: Option<usize>,
    cancel: Option<CancelFlag>,
    told: Arc<Mutex<Vec<(usize, usize)>>>,
    /// Set after the first item.
    ends: Option<CancelFlag>,
}

/// Why an item failed, for all facades.
enum Fault {
    TooLong(TextTooLong),
    NothingLeft,
    Cancelled,
    Other(String),
}

/// What all facades have, under one name with one meaning.
trait Contract: Sized + Send + Sync {
    type Output: Serialize + Debug + Clone + PartialEq + Send + Sync;

    fn directory() -> PathBuf;
    fn load(dir: &Path) -> Self;
    fn embedded() -> Option<Self>;
    fn apart_and_together(self) -> Self;
    fn save(&self, dir: &Path);
    fn add_tokens(&mut self, tokens: &[AddedToken]) -> usize;
    fn config(&self) -> Value;
    fn tokenizer(&self) -> &Tokenizer;
    fn report(&self) -> &LoadReport;
    fn remarks(&self) -> &[Remark];
    fn max_tokens(&self) -> usize;
    fn device(&self) -> Device;
    /// What the facade makes of each text.
    fn run(&self, texts: &[&str], call: &Call) -> Vec<Result<Self::Output, Fault>>;
    /// A limit that leaves room for what stands around a text, and none for the text.
    fn no_room(&self) -> usize;
}

macro_rules! contract {
    ($facade:ty, $crate_name:ident, $options:ty, $output:ty, $directory:literal, $embedded:expr, $together:expr, $run:expr, $no_room:expr) => {
        impl Contract for $facade {
            type Output = $output;

            fn directory() -> PathBuf {
                Path::new(env!("CARGO_MANIFEST_DIR")).join($directory)
            }

            fn load(dir: &Path) -> Self {
                <$facade>::load(dir, &LoadOptions::default()).unwrap()
            }

            fn embedded() -> Option<Self> {
                $embedded
            }

            fn apart_and_together(self) -> Self {
                $together(<$facade>::from_parts(self.into_parts()))
            }

            fn save(&self, dir: &Path) {
                <$facade>::save(self, dir, &SaveOptions::default()).unwrap();
            }

            fn add_tokens(&mut self, tokens: &[AddedToken]) -> usize {
                <$facade>::add_tokens(self, tokens).unwrap()
            }

            fn config(&self) -> Value {
                let config = <$facade>::config(self);
                config.validate().unwrap();
                assert!(config.parameters().unwrap() > 0);
                config.to_value()
            }

            fn tokenizer(&self) -> &Tokenizer {
                <$facade>::tokenizer(self)
            }

            fn report(&self) -> &LoadReport {
                <$facade>::report(self)
            }

            fn remarks(&self) -> &[Remark] {
                <$facade>::remarks(self)
            }

            fn max_tokens(&self) -> usize {
                <$facade>::max_tokens(self)
            }

            fn device(&self) -> Device {
                <$facade>::device(self)
            }

            fn run(&self, texts: &[&str], call: &Call) -> Vec<Result<Self::Output, Fault>> {
                let mut options = <$options>::default();
                if let Some(policy) = call.long_text {
                    options = options.with_long_text(policy);
                }
                if let Some(tokens) = call.max_tokens {
                    options = options.with_max_tokens(tokens);
                }
                if let Some(items) = call.batch {
                    options = options.with_batch(items);
                }
                if let Some(flag) = &call.cancel {
                    options = options.with_cancel(flag.clone());
                }
                let (told, ends) = (Arc::clone(&call.told), call.ends.clone());
                let options = options.with_progress(move |progress| {
                    told.lock().unwrap().push((progress.done, progress.total));
                    if let Some(flag) = &ends {
                        flag.cancel();
                    }
                });
                let found: Vec<$crate_name::Result<$output>> = $run(self, texts, options);
                let fault = |error| match error {
                    $crate_name::Error::TooLong(error) => Fault::TooLong(error),
                    $crate_name::Error::NothingLeft => Fault::NothingLeft,
                    $crate_name::Error::Cancelled => Fault::Cancelled,
                    other => Fault::Other(other.to_string()),
                };
                found.into_iter().map(|item| item.map_err(fault)).collect()
            }

            fn no_room(&self) -> usize {
                $no_room(self)
            }
        }
    };
}

contract!(
    Asclepius,
    asclepius,
    AnswerOptions,
    asclepius::Answer,
    "crates/asclepius/demo",
    Some(Asclepius::embedded().unwrap()),
    |model| model,
    |model: &Asclepius, texts: &[&str], options: AnswerOptions| {
        let asked: Vec<(&str, &str)> = texts.iter().map(|text| (*text, QUESTION)).collect();
        model.answer_batch(&asked, &options.with_max_new_tokens(8))
    },
    |model: &Asclepius| model
        .prompt_tokens("x", QUESTION, &AnswerOptions::default())
        .unwrap()
        - 1
);

contract!(
    ClinicalT5,
    clinical_t5,
    T5Options,
    clinical_t5::Output,
    "crates/clinical-t5/demo",
    Some(ClinicalT5::embedded().unwrap()),
    |model| model,
    |model: &ClinicalT5, texts: &[&str], options: T5Options| {
        model.generate_batch(texts, &options.with_max_new_tokens(8))
    },
    |_: &ClinicalT5| 1
);

contract!(
    ClinicalBert,
    clinical_bert,
    EmbedOptions,
    Vec<f32>,
    "crates/clinical-bert/demo",
    Some(ClinicalBert::embedded().unwrap()),
    |model: clinical_bert::Result<ClinicalBert>| model.unwrap(),
    |model: &ClinicalBert, texts: &[&str], options: EmbedOptions| {
        model.embed_with(texts, &options)
    },
    |_: &ClinicalBert| 2
);

contract!(
    ClinicalGpt2,
    clinical_gpt2,
    Gpt2Options,
    clinical_gpt2::Output,
    "crates/clinical-gpt2/tests/data/published",
    None,
    |model| model,
    |model: &ClinicalGpt2, texts: &[&str], options: Gpt2Options| {
        let generation = Generation::greedy().with_max_new_tokens(8);
        model.generate_batch(texts, &options.with_generation(generation))
    },
    |_: &ClinicalGpt2| 0
);

const TEXTS: [&str; 3] = [
    "Discharge Diagnosis: pneumonia\nDisposition: home",
    "The patient has fever and cough.",
    "No pain today.",
];

/// Two results up to the rounding of numbers: batches add in another order.
fn alike(first: &impl Serialize, second: &impl Serialize) -> bool {
    fn values(first: &Value, second: &Value) -> bool {
        match (first, second) {
            (Value::Number(a), Value::Number(b)) => {
                let [a, b] = [a, b].map(|number| number.as_f64().unwrap());
                (a - b).abs() < 1e-3
            }
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| values(a, b))
            }
            (Value::Object(a), Value::Object(b)) => {
                // How much was read before depends on who was asked before.
                let skip = |key: &str| key == "reused_tokens";
                a.len() == b.len()
                    && a.iter()
                        .all(|(key, a)| skip(key) || b.get(key).is_some_and(|b| values(a, b)))
            }
            (a, b) => a == b,
        }
    }
    values(
        &serde_json::to_value(first).unwrap(),
        &serde_json::to_value(second).unwrap(),
    )
}

fn all<M: Contract>(model: &M, texts: &[&str]) -> Vec<M::Output> {
    let found = model.run(texts, &Call::default());
    found.into_iter().map(good).collect()
}

fn good<T>(item: Result<T, Fault>) -> T {
    item.unwrap_or_else(|fault| match fault {
        Fault::TooLong(error) => panic!("{error}"),
        Fault::NothingLeft => panic!("nothing left"),
        Fault::Cancelled => panic!("cancelled"),
        Fault::Other(error) => panic!("{error}"),
    })
}

fn same<M: Contract>(model: &M, expected: &[M::Output]) {
    for (found, expected) in all(model, &TEXTS).iter().zip(expected) {
        assert!(alike(found, expected), "{found:?} {expected:?}");
    }
}

/// More tokens than the model reads at once.
fn too_long<M: Contract>(model: &M) -> String {
    "the patient has pain. ".repeat(model.max_tokens() / 4 + 2)
}

fn loads_and_tells<M: Contract>() -> M {
    let model = M::load(&M::directory());
    assert!(!model.report().applied.is_empty());
    let report = model.report().to_string();
    for remark in model.remarks() {
        assert!(report.contains(&remark.to_string()), "{remark}");
    }
    assert!(model.max_tokens() > 8);
    assert_eq!(model.device(), asclepius::device::cpu());
    assert!(model.config()["model_type"].is_string());
    assert!(model.tokenizer().vocab_size() > 0);
    model
}

/// Embedded, taken apart and put together, saved and loaded again: the same model.
fn is_one_model_in_all_forms<M: Contract>() {
    let model = M::load(&M::directory());
    let expected = all(&model, &TEXTS);
    if let Some(embedded) = M::embedded() {
        same(&embedded, &expected);
    }
    let (config, remarks) = (model.config(), model.remarks().to_vec());
    let notes = model.report().notes.clone();
    let model = model.apart_and_together();
    assert_eq!(model.config(), config);
    assert_eq!(model.remarks(), remarks);
    assert_eq!(model.report().notes, notes);
    same(&model, &expected);
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("saved");
    model.save(&dir);
    let again = M::load(&dir);
    same(&again, &expected);
    assert_eq!(again.max_tokens(), model.max_tokens());
    assert_eq!(again.tokenizer().special(), model.tokenizer().special());
    for (key, value) in config.as_object().unwrap() {
        // The type is that of the weights in memory, the version that of the library that wrote the file.
        if !["dtype", "torch_dtype", "transformers_version"].contains(&key.as_str()) {
            assert_eq!(&again.config()[key], value, "{key}");
        }
    }
}

fn every_policy_for_long_texts<M: Contract>(model: &M) {
    let long = too_long(model);
    let run = |policy| {
        let call = Call {
            long_text: Some(policy),
            ..Call::default()
        };
        model.run(&[long.as_str(), TEXTS[0]], &call)
    };
    let mut refused = run(LongText::Error).into_iter();
    match refused.next() {
        Some(Err(Fault::TooLong(error))) => {
            assert!(error.tokens > error.limit && error.limit <= model.max_tokens());
            assert!(error.to_string().contains("LongText"), "{error}");
        }
        _ => panic!("a text that is too long is an error"),
    }
    good(refused.next().unwrap());
    for policy in [
        LongText::CutStart,
        LongText::CutEnd,
        LongText::Windows { overlap: 2 },
    ] {
        for item in run(policy) {
            good(item);
        }
    }
    let call = Call {
        long_text: Some(LongText::CutEnd),
        max_tokens: Some(model.no_room()),
        ..Call::default()
    };
    let nothing = model.run(&[TEXTS[1]], &call).pop();
    assert!(matches!(nothing, Some(Err(Fault::NothingLeft))));
}

fn a_bad_item_costs_its_neighbours_nothing<M: Contract>(model: &M) {
    let long = too_long(model);
    let texts = [TEXTS[0], &long, TEXTS[1], &long, TEXTS[2]];
    for batch in [1, 2, 16] {
        let call = Call {
            long_text: Some(LongText::Error),
            batch: Some(batch),
            ..Call::default()
        };
        let items = model.run(&texts, &call);
        assert_eq!(items.len(), texts.len());
        for (text, item) in texts.iter().zip(items) {
            match item {
                Ok(found) => assert!(alike(&found, &all(model, &[text])[0]), "{found:?}"),
                Err(Fault::TooLong(_)) => assert_eq!(text.len(), long.len()),
                Err(_) => panic!("another fault"),
            }
        }
        let told = call.told.lock().unwrap();
        assert_eq!(told.last(), Some(&(5, 5)), "{told:?}");
        assert!(told.is_sorted(), "{told:?}");
        // Bad items are known at once.
        assert!(told.len() > 1 && told[0].0 >= 2, "{told:?}");
    }
    assert!(model.run(&[], &Call::default()).is_empty());
}

fn a_call_can_be_ended<M: Contract>(model: &M) {
    let flag = CancelFlag::new();
    let texts = [TEXTS[1]; 4];
    let call = Call {
        batch: Some(1),
        cancel: Some(flag.clone()),
        ends: Some(flag.clone()),
        ..Call::default()
    };
    let items = model.run(&texts, &call);
    let done = items.iter().filter(|item| item.is_ok()).count();
    assert!(done < 4, "{done}");
    for item in items {
        match item {
            Ok(_) | Err(Fault::Cancelled) => {}
            Err(_) => panic!("another fault"),
        }
    }
    for item in model.run(&texts, &call) {
        assert!(matches!(item, Err(Fault::Cancelled)));
    }
}

fn threads_share_it<M: Contract>(model: &M) {
    let expected = all(model, &TEXTS);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| same(model, &expected));
        }
    });
}

fn tokens_can_be_added<M: Contract>(mut model: M) {
    let rows = model.tokenizer().vocab_size();
    let tokens = ["[Device 1]", "[Device 2]"].map(AddedToken::new);
    assert_eq!(model.add_tokens(&tokens), 2);
    assert_eq!(model.add_tokens(&tokens), 0);
    assert_eq!(model.tokenizer().vocab_size(), rows + 2);
    assert!(model.config()["vocab_size"].as_u64().unwrap() >= rows as u64 + 2);
    let text = "No [Device 1] today.";
    let expected = all(&model, &[text]);
    let id = model.tokenizer().token_to_id("[Device 1]").unwrap();
    let encoded = model.tokenizer().encode(text, false).unwrap();
    assert!(encoded.ids().contains(&id));
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("saved");
    model.save(&dir);
    let again = M::load(&dir);
    assert_eq!(again.tokenizer().token_to_id("[Device 1]"), Some(id));
    assert!(alike(&all(&again, &[text])[0], &expected[0]));
}

fn the_contract_holds_for<M: Contract>() {
    let model: M = loads_and_tells();
    is_one_model_in_all_forms::<M>();
    every_policy_for_long_texts(&model);
    a_bad_item_costs_its_neighbours_nothing(&model);
    a_call_can_be_ended(&model);
    threads_share_it(&model);
    tokens_can_be_added(model);
}

#[test]
fn the_contract_holds_for_asclepius() {
    the_contract_holds_for::<Asclepius>();
}

#[test]
fn the_contract_holds_for_t5() {
    the_contract_holds_for::<ClinicalT5>();
}

#[test]
fn the_contract_holds_for_bert() {
    the_contract_holds_for::<ClinicalBert>();
}

#[test]
fn the_contract_holds_for_gpt2() {
    the_contract_holds_for::<ClinicalGpt2>();
}
