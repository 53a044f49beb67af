//! Training sets of LLaMA and BERT: what their rows are, what they refuse, and that models learn from them.

use std::path::PathBuf;

use asclepius::Asclepius;
use clinical_bert::{BertOptions, ClinicalBert, LoadOptions, PieceLabels, SpanOptions, TaskHead};
use clinical_llama::Llama;
use clinical_nn::Loss;
use clinical_train::objective::causal::Masking;
use clinical_train::{
    AdamW, AnswerSet, Batching, ClassSet, Development, Error, FineTune, InstructionExample,
    InstructionPrompt, InstructionSet, InstructionSettings, LabelledText, LabelledWords, MaskedSet,
    MaskedSettings, NoteSet, NoteSettings, NoteText, OptimizerConfig, Progress, QuestionExample,
    Recipe, StepReport, TagSet, Trainable, TrainingSet, metric, read_examples,
};

fn bert(head: TaskHead, labels: &[&str]) -> ClinicalBert {
    let dir = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../clinical-bert/tests/data/bert_pretraining"
    );
    let options = match head {
        TaskHead::MaskedLanguage => BertOptions::new().with_head(head),
        _ => BertOptions::new()
            .with_new_head(head)
            .with_labels(labels.iter().copied()),
    };
    ClinicalBert::load_with(dir, &LoadOptions::new(), &options).unwrap()
}

#[derive(Default)]
struct Losses(Vec<f64>);

impl Progress for Losses {
    fn step(&mut self, report: &StepReport) -> std::ops::ControlFlow<()> {
        self.0.push(report.loss);
        std::ops::ControlFlow::Continue(())
    }
}

/// Trains without dropout, and gives the first and the last loss.
fn learned<F: Trainable>(
    facade: F,
    set: &dyn TrainingSet<Model = F::Model>,
    (epochs, rate): (u64, f64),
) -> (F, [f64; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let mut recipe = Recipe::new(epochs, rate, OptimizerConfig::AdamW(AdamW::default()));
    recipe.batch = Batching::Tokens(2048);
    recipe.dropout = Some(0.0);
    recipe.clip = Some(1.0);
    let run = FineTune::new(recipe).resume_or_start(dir.path()).unwrap();
    let mut losses = Losses::default();
    let trained = run
        .train(facade, set, &Development::none(), &mut losses)
        .unwrap();
    (trained, [losses.0[0], losses.0[losses.0.len() - 1]])
}

fn text(text: &str, labels: &[&str]) -> LabelledText {
    LabelledText {
        text: text.to_owned(),
        second: None,
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
    }
}

#[test]
fn labels_of_texts() {
    let texts = [
        text("The fever, no pain", &["no"]),
        text("pain in the arm", &["yes"]),
        text("the ct. no pain", &["no"]),
    ];
    let model = bert(TaskHead::Sequence, &["no", "yes"]);
    let set = ClassSet::single(&model, &texts, None).unwrap();
    let preview = set.preview(1, 0).unwrap().to_string();
    assert!(preview.contains("yes"), "{preview}");
    let (trained, [first, last]) = learned(model, &set, (40, 5e-3));
    assert!(last < 0.2 * first, "{first} to {last}");
    assert_eq!(metric::accuracy(&trained, &texts).unwrap(), 1.0);

    // Several labels, and none.
    let mut several = texts.to_vec();
    several[0].labels = vec!["no".to_owned(), "yes".to_owned()];
    several[1].labels.clear();
    let model = bert(TaskHead::Sequence, &["no", "yes"]);
    let set = ClassSet::several(&model, &several, None).unwrap();
    let (_, [first, last]) = learned(model, &set, (40, 5e-3));
    assert!(last < 0.3 * first, "{first} to {last}");

    let model = bert(TaskHead::Sequence, &["no", "yes"]);
    let found = ClassSet::single(&model, &several, None).unwrap_err();
    assert!(
        matches!(
            found,
            Error::LabelCount {
                example: 0,
                labels: 2
            }
        ),
        "{found}"
    );
    let found = ClassSet::single(&model, &[text("pain", &["maybe"])], None).unwrap_err();
    assert!(matches!(found, Error::Label { example: 0, .. }), "{found}");
    // A limit cuts; a pair loses the end of its second text.
    let long = LabelledText {
        second: Some("pain ".repeat(100)),
        ..text("no pain", &["no"])
    };
    let set = ClassSet::single(&model, &[long], Some(12)).unwrap();
    assert_eq!(set.tokens(0), 12);
}

#[test]
fn labels_of_words() {
    let sentence = |words: &[&str], labels: &[&str]| LabelledWords {
        words: words.iter().map(|&word| word.to_owned()).collect(),
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
    };
    let sentences = [
        sentence(
            &["The", "fever", ",", "no", "pain"],
            &["O", "B", "O", "O", "B"],
        ),
        sentence(&["pain", "in", "the", "arm"], &["B", "O", "O", "O"]),
    ];
    let model = bert(TaskHead::Token, &["B", "O"]);
    let set = TagSet::new(&model, &sentences, PieceLabels::First).unwrap();
    let targets = |set: &TagSet| set.preview(0, 0).unwrap().targets();
    assert_eq!(targets(&set), 5);
    assert!(targets(&TagSet::new(&model, &sentences, PieceLabels::All).unwrap()) >= 5);
    let (trained, [first, last]) = learned(model, &set, (40, 5e-3));
    assert!(last < 0.2 * first, "{first} to {last}");
    drop(trained);
    let model = bert(TaskHead::Token, &["B", "O"]);
    let short = sentence(&["pain", "in"], &["B"]);
    let found = TagSet::new(&model, &[short], PieceLabels::First).unwrap_err();
    assert!(
        matches!(
            found,
            Error::WordLabels {
                words: 2,
                labels: 1,
                ..
            }
        ),
        "{found}"
    );
}

#[test]
fn answers_in_texts() {
    let context = "The fever, no pain in the arm";
    let question = |answer| QuestionExample {
        question: "the pain".to_owned(),
        context: context.to_owned(),
        answer,
    };
    let model = bert(TaskHead::Span, &[]);
    let start = context.find("fever").unwrap();
    let examples = [question(Some(start..start + 5)), question(None)];
    let set = AnswerSet::new(&model, &examples, &SpanOptions::default()).unwrap();
    let preview = set.preview(0, 0).unwrap().to_string();
    assert!(preview.contains("fever"), "{preview}");
    let one = AnswerSet::new(&model, &examples[..1], &SpanOptions::default()).unwrap();
    let (trained, [first, last]) = learned(model, &one, (40, 5e-3));
    assert!(last < 0.2 * first, "{first} to {last}");
    let found = trained.answer_span("the pain", context).unwrap();
    assert_eq!(&context[found.candidates[0].range.clone()], "fever");
    for answer in [3..200, 5..5] {
        let found = AnswerSet::new(&trained, &[question(Some(answer))], &SpanOptions::default());
        assert!(matches!(found, Err(Error::AnswerRange { example: 0, .. })));
    }
}

#[test]
fn masked_words_of_notes() {
    let notes = [
        "The fever, no pain. The pain in the arm. No ct.",
        "Pain in the arm. No fever.",
    ];
    let model = bert(TaskHead::MaskedLanguage, &[]);
    let mut settings = MaskedSettings::default();
    settings.max_tokens = 24;
    let set = MaskedSet::of_notes(&model, notes, &settings, 3).unwrap();
    assert!(!set.is_empty());
    let (model, [first, last]) = learned(model, &set, (40, 5e-3));
    assert!(last < 0.7 * first, "{first} to {last}");
    // Another head cannot learn from them.
    let other = bert(TaskHead::Token, &["B", "O"]);
    let run = tempfile::tempdir().unwrap();
    let recipe = Recipe::new(1, 1e-3, OptimizerConfig::AdamW(AdamW::default()));
    let run = FineTune::new(recipe).resume_or_start(run.path()).unwrap();
    let found = run
        .train(other, &set, &Development::none(), &mut ())
        .unwrap_err();
    assert!(matches!(found, Error::NoMaskedHead), "{found}");
    drop(model);
}

fn instruction(note: &str, question: &str, answer: &str) -> InstructionExample {
    InstructionExample {
        note: note.to_owned(),
        question: question.to_owned(),
        answer: answer.to_owned(),
    }
}

#[test]
fn instructions_about_notes() {
    let asclepius = Asclepius::embedded().unwrap();
    let examples = [
        instruction(
            "\nAge: 76. Chief Complaint: fever.\n",
            "How old?",
            "Seventy-six years.",
        ),
        instruction(
            "Age: 31. Chief Complaint: cough.",
            "How old?",
            "Thirty-one years.",
        ),
    ];
    let settings = InstructionSettings::default();
    let set = InstructionSet::new(&asclepius, &examples, &settings).unwrap();
    let preview = set.preview(0, 0).unwrap().to_string();
    assert!(
        preview.contains("« Seventy-six") || preview.contains("«Seventy-six"),
        "{preview}"
    );
    // The published masking has one target more: the last token of the prompt.
    let mut published = settings;
    published.masking = Masking::Published;
    let other = InstructionSet::new(&asclepius, &examples, &published).unwrap();
    let targets = |set: &InstructionSet| set.preview(0, 0).unwrap().targets();
    assert_eq!(targets(&other), targets(&set) + 1);
    assert_ne!(set.checksum(), other.checksum());
    // The loss of the row without its start token, which the published masking hides.
    let tokenizer = asclepius.tokenizer();
    let [note, question] = [&examples[1].note, &examples[1].question];
    let prompt = clinical_prompts::asclepius::training(note, question).unwrap();
    let text = format!("{prompt}{}", examples[1].answer);
    let mut ids = tokenizer.encode(&text, true).unwrap().into_ids();
    ids.push(tokenizer.special().eos[0]);
    let prompt = tokenizer.encode(&prompt, true).unwrap().into_ids().len();
    let labels = Llama::labels_after(&ids, prompt - 1);
    let model = asclepius.model();
    let expected = model.loss(&[&ids[1..]], &[&labels[1..]]).unwrap();
    let found = other.loss(model, &[1], 0).unwrap();
    assert_eq!(found.targets, expected.targets);
    let value = |loss: Loss| loss.mean.into_scalar::<f32>();
    assert_eq!(value(found), value(expected));
    let (trained, [first, last]) = learned(asclepius, &set, (30, 2e-3));
    assert!(last < 0.1 * first, "{first} to {last}");
    drop(trained);
    // A prompt that fills the row has nothing to learn from.
    let asclepius = Asclepius::embedded().unwrap();
    let mut small = settings;
    small.max_tokens = 40;
    let set = InstructionSet::new(&asclepius, &examples, &small).unwrap();
    assert_eq!((set.len(), set.skipped()), (0, 2));
}

/// The note is read once, and the loss is that of rows of their own.
#[test]
fn instructions_that_share_their_note() {
    let asclepius = Asclepius::embedded().unwrap();
    let first = "Age: 76. Chief Complaint: fever and cough for 3 days.";
    let second = "Age: 31. Chief Complaint: cough.";
    let examples = [
        instruction(first, "How old?", "Seventy-six years."),
        instruction(first, "What was the complaint?", "Fever and cough."),
        instruction(first, "How long?", "3 days."),
        instruction(second, "How old?", "Thirty-one years."),
        instruction(first, "How old?", "76."),
    ];
    let mut settings = InstructionSettings::default();
    settings.prompt = InstructionPrompt::Inference;
    let alone = InstructionSet::new(&asclepius, &examples, &settings).unwrap();
    settings.share = 2;
    let shared = InstructionSet::new(&asclepius, &examples, &settings).unwrap();
    assert_eq!((alone.len(), shared.len()), (5, 4));
    assert!(shared.tokens(0) < alone.tokens(0) + alone.tokens(1) / 2);
    let preview = shared.preview(0, 0).unwrap().to_string();
    assert!(preview.contains("[Instruction End] \n"), "{preview}");
    assert_eq!(preview.matches("[Discharge Summary Begin]").count(), 1);
    assert_eq!(preview.matches('«').count(), 2, "{preview}");
    let model = asclepius.model();
    let loss = |set: &InstructionSet, batch: &[usize]| set.loss(model, batch, 0).unwrap();
    let (found, expected) = (loss(&shared, &[0, 1, 2, 3]), loss(&alone, &[0, 1, 2, 3, 4]));
    assert_eq!(found.targets, expected.targets);
    let [found, expected] = [found, expected].map(|loss| loss.mean.into_scalar::<f32>());
    assert!(
        (found - expected).abs() < 1e-5 * expected,
        "{found} {expected}"
    );
    assert_ne!(shared.checksum(), alone.checksum());
}

#[test]
fn notes_one_after_another() {
    let asclepius = Asclepius::embedded().unwrap();
    let notes = [
        "Chief Complaint: chest pain and fever.",
        "He was discharged home on aspirin.",
    ];
    let mut settings = NoteSettings::default();
    settings.length = 16;
    let set = NoteSet::new(&asclepius, notes, &settings).unwrap();
    assert!((0..set.len()).all(|row| set.tokens(row) == 16) && set.dropped_tokens() < 16);
    let (_, [first, last]) = learned(asclepius, &set, (20, 2e-3));
    assert!(last < 0.5 * first, "{first} to {last}");
}

fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("examples.jsonl");
    std::fs::write(&path, content).unwrap();
    (dir, path)
}

#[test]
fn files_of_examples() {
    let (_dir, path) = file(b"\xef\xbb\xbf{\"text\":\"a\"}\r\n\n  \n{\"text\":\"b\\n\"}");
    let found: Vec<NoteText> = read_examples(&path).unwrap();
    let texts: Vec<&str> = found.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(texts, ["a", "b\n"]);
    // A line that cannot be used is named; nothing of it is in the message.
    for (content, line) in [
        ("{\"text\":\"secret\"}\n{\"text\":5}", 2),
        ("{\"text\":\"secret\",\"secret\":1}", 1),
        ("{\"text\":\"secret", 1),
        ("secret", 1),
        ("[\"secret\"]\n", 1),
        ("{\"text\":\"\\ud800secret\"}", 1),
    ] {
        let (_dir, path) = file(content.as_bytes());
        let found = read_examples::<NoteText>(&path).unwrap_err();
        let Error::Line { line: at, .. } = &found else {
            panic!("{found}");
        };
        assert_eq!(*at, line, "{content}");
        let told = format!("{found} {found:?}");
        assert!(!told.contains("secret"), "{told}");
    }
    let (_dir, path) = file(b"\xff\xfe{\0");
    assert!(matches!(
        read_examples::<NoteText>(&path),
        Err(Error::Line { .. })
    ));
    let missing = read_examples::<NoteText>("no-such-file.jsonl");
    assert!(matches!(missing, Err(Error::File { .. })));
}
