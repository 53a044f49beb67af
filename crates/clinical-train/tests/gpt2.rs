//! Runs on a tiny GPT-2: continuations, classes and answers are learnt, and adapters too.

use std::path::Path;

use clinical_gpt2::{ClinicalGpt2, Gpt2Config, Gpt2Options, LoadOptions, LongText, Parts};
use clinical_train::{
    AdamW, Batching, ContinuationSet, Development, Error, FineTune, Gpt2AnswerSet, Gpt2ClassSet,
    LabelledText, Lora, OptimizerConfig, QuestionExample, Recipe, TextPair, TrainingSet,
};

/// Fresh weights with the tokenizer of the reference script.
fn gpt2() -> ClinicalGpt2 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clinical-gpt2/tests/data/published");
    let published = ClinicalGpt2::load(path, &LoadOptions::default()).unwrap();
    let tokenizer = published.tokenizer().clone();
    let config = Gpt2Config {
        n_embd: 32,
        initializer_range: 0.1,
        ..published.config().clone()
    };
    let device = LoadOptions::default().device;
    device.seed(11);
    let model = config.init(&device).unwrap();
    ClinicalGpt2::from_parts(Parts::new(config, model, tokenizer))
}

fn recipe(steps: u64) -> Recipe {
    let mut recipe = Recipe::new(1, 1e-2, OptimizerConfig::AdamW(AdamW::default()));
    (recipe.epochs, recipe.steps) = (None, Some(steps));
    recipe.batch = Batching::Rows(2);
    recipe.dropout = Some(0.05);
    recipe
}

fn train<S: TrainingSet<Model = clinical_gpt2::Gpt2>>(
    recipe: Recipe,
    model: ClinicalGpt2,
    set: &S,
) -> ClinicalGpt2 {
    let dir = tempfile::tempdir().unwrap();
    let run = FineTune::new(recipe)
        .resume_or_start(dir.path().join("run"))
        .unwrap();
    run.train(model, set, &Development::none(), &mut ())
        .unwrap()
}

fn pairs() -> Vec<TextPair> {
    [("fever:", " yes"), ("cough:", " no")]
        .map(|(input, target)| TextPair {
            input: input.to_owned(),
            target: target.to_owned(),
        })
        .to_vec()
}

#[test]
fn continuations_are_learnt() {
    let model = gpt2();
    let set = ContinuationSet::new(&model, &pairs(), None).unwrap();
    assert!(
        set.preview(0, 0)
            .unwrap()
            .to_string()
            .contains("fever:« yes")
    );
    let model = train(recipe(60), model, &set);
    for pair in pairs() {
        let generation = clinical_gpt2::Generation::greedy().with_max_new_tokens(8);
        let output = model.generate(&pair.input, &generation).unwrap();
        assert_eq!(output.text, pair.target);
    }
    let cut = ContinuationSet::new(&model, &pairs(), Some(3));
    assert!(matches!(cut, Err(Error::Data(_))));
}

#[test]
fn an_adapter_alone_is_learnt() {
    let model = gpt2();
    let set = ContinuationSet::new(&model, &pairs(), None).unwrap();
    let all = [0, 1];
    let loss = |model: &ClinicalGpt2| -> f32 {
        set.loss(model.model(), &all, 0).unwrap().mean.into_scalar()
    };
    let before = loss(&model);
    let mut recipe = recipe(40);
    let mut lora = Lora::default();
    lora.targets = ["c_attn", "c_fc"].map(str::to_owned).to_vec();
    recipe.lora = Some(lora);
    let model = train(recipe, model, &set);
    assert!(loss(&model) < 0.7 * before);
    let dir = tempfile::tempdir().unwrap();
    model.save_adapter(dir.path().join("adapter")).unwrap();
}

#[test]
fn classes_are_learnt_one_or_several() {
    let text = |text: &str, labels: &[&str]| LabelledText {
        text: text.to_owned(),
        second: None,
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
    };
    let one = [
        text("The fever settled.", &["no"]),
        text("Chest pain", &["yes"]),
    ];
    let model = gpt2().into_classifier(&["no", "yes"]).unwrap();
    let set = Gpt2ClassSet::single(&model, &one, None).unwrap();
    let model = train(recipe(40), model, &set);
    let texts: Vec<&str> = one.iter().map(|one| one.text.as_str()).collect();
    let found = model.classify(&texts, &Gpt2Options::new());
    let found: Vec<usize> = found.into_iter().map(|one| one.unwrap().best()).collect();
    assert_eq!(found, [0, 1]);
    let several = [
        text("The fever settled.", &["no", "yes"]),
        text("Chest pain", &[]),
    ];
    let set = Gpt2ClassSet::several(&model, &several, Some(4)).unwrap();
    assert_eq!((set.len(), set.tokens(0)), (2, 4));
    let model = train(recipe(40), model, &set);
    let found = model.classify(
        &texts,
        &Gpt2Options::new()
            .with_long_text(LongText::CutEnd)
            .with_max_tokens(4),
    );
    let found: Vec<Vec<f32>> = found.into_iter().map(|one| one.unwrap().each()).collect();
    assert!(
        found[0].iter().all(|&p| p > 0.5) && found[1].iter().all(|&p| p < 0.5),
        "{found:?}"
    );
    let unknown = Gpt2ClassSet::single(&model, &[text("a", &["maybe"])], None);
    assert!(matches!(unknown, Err(Error::Label { example: 0, .. })));
    let none = Gpt2ClassSet::single(&model, &[text("a", &[])], None);
    assert!(matches!(none, Err(Error::LabelCount { labels: 0, .. })));
}

#[test]
fn answers_are_learnt() {
    let context = "The fever settled on the third day.";
    let question = |question: &str, answer| QuestionExample {
        question: question.to_owned(),
        context: context.to_owned(),
        answer,
    };
    let questions = [question("Fever?", Some(4..9)), question("Cough?", None)];
    let model = gpt2().into_span_model().unwrap();
    let options = Gpt2Options::new();
    let set = Gpt2AnswerSet::new(&model, &questions, &options).unwrap();
    let model = train(recipe(60), model, &set);
    let answer = |one: &QuestionExample| {
        let found = model.answer_span(&one.question, context, &options).unwrap();
        found
            .best(0.0)
            .map(|range| context[range].trim().to_owned())
    };
    assert_eq!(answer(&questions[0]).as_deref(), Some("fever"));
    assert_eq!(answer(&questions[1]), None);
    let outside = [question("Fever?", Some(30..90))];
    let refused = Gpt2AnswerSet::new(&model, &outside, &options);
    assert!(matches!(refused, Err(Error::AnswerRange { .. })));
}
