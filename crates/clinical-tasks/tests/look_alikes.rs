//! The look-alikes of `clinical-synth` through the readers, and from there to rows of every kind.

use std::collections::HashSet;
use std::path::Path;

use clinical_deid::Normalizer;
use clinical_synth::study::{Study, StudySizes};
use clinical_tasks::clip::{AroundRule, Label};
use clinical_tasks::entities::{I2B2_2010, conll, entity_spans, i2b2};
use clinical_tasks::metrics::{Overlap, SquadAnswer, squad_items, squad_scores};
use clinical_tasks::radqa::SolvedQuestion;
use clinical_tasks::{
    ClassRow, Portion, RowOptions, clip, low_data, mednli, radqa, short_enough, shots,
};
use clinical_tokenizer::Tokenizer;
use tempfile::TempDir;

const SIZES: StudySizes = StudySizes {
    train: 60,
    development: 12,
    test: 15,
};

fn written(study: Study) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in study.files(11, SIZES) {
        let path = folder.path().join(&file.name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file.text).unwrap();
    }
    folder
}

fn tagged() -> RowOptions {
    RowOptions::new().with_tags(Normalizer::mimic_iii())
}

#[test]
fn the_same_seed_gives_the_same_files() {
    for study in [Study::MedNli, Study::RadQa, Study::Clip, Study::I2b2] {
        assert_eq!(study.files(3, SIZES), study.files(3, SIZES));
        assert_ne!(study.files(3, SIZES), study.files(4, SIZES));
    }
}

#[test]
fn mednli_is_read_and_asked() {
    let folder = written(Study::MedNli);
    let pairs = mednli::read_folder(folder.path()).unwrap();
    assert_eq!(
        (pairs.train.len(), pairs.development.len(), pairs.test.len()),
        (60, 12, 15)
    );
    for label in mednli::Label::ALL {
        assert!(pairs.train.iter().any(|pair| pair.label == label));
    }
    assert!(pairs.train.iter().any(|pair| pair.premise.contains("[**")));
    let rows: Vec<ClassRow> = pairs
        .train
        .iter()
        .map(|pair| pair.class_row(&tagged()).unwrap())
        .collect();
    assert!(
        rows.iter()
            .all(|row| row.text.starts_with("mednli premise: ") && !row.text.contains("[**"))
    );
    let words = |row: &ClassRow| Ok::<_, ()>(row.text.split_whitespace().count());
    let (kept, left_out) = short_enough(rows, 20, words).unwrap();
    assert!(!kept.is_empty() && left_out > 0 && kept.len() + left_out == 60);

    let question = &pairs.test[0];
    let solved = shots(pairs.train.len(), 3, 5).unwrap();
    let solved: Vec<_> = solved
        .into_iter()
        .map(|index| &pairs.train[index])
        .collect();
    let prompt = question.few_shot(5, &solved, &RowOptions::new()).unwrap();
    assert!(prompt.contains(&solved[0].premise) && prompt.contains(&question.hypothesis));
    assert!(
        question
            .few_shot(5, &solved[..2], &RowOptions::new())
            .is_err()
    );
    assert!(
        question
            .zero_shot(0, &tagged())
            .unwrap()
            .ends_with("Answer:")
    );
}

#[test]
fn radqa_is_read_and_converted() {
    let folder = written(Study::RadQa);
    let reports = radqa::read_folder(folder.path()).unwrap();
    assert_eq!(reports.train.len(), 2 * 60);
    let questions: Vec<_> = reports
        .test
        .iter()
        .flat_map(|report| &report.questions)
        .collect();
    let unanswerable = questions
        .iter()
        .filter(|question| question.answers.is_empty())
        .count();
    assert!(unanswerable * 8 > questions.len() && unanswerable * 2 < questions.len());
    assert!(questions.iter().any(|question| question.answers.len() == 2));

    let converted = radqa::convert(&reports.test, &Normalizer::mimic_iii()).unwrap();
    assert!(
        converted
            .iter()
            .all(|report| !report.context.contains("[**"))
    );
    let named = |report: &radqa::RadiologyReport| {
        report
            .questions
            .iter()
            .flat_map(|question| question.texts())
            .any(|text| text == "[Name]")
    };
    assert!(converted.iter().any(named));
    let report = &converted[1];
    for question in &report.questions {
        let row = report.span_row(question);
        let answer = row.answer.map(|answer| row.context[answer].to_owned());
        assert_eq!(answer.as_deref(), question.texts().first().copied());
        let row = report.writing_row(question, &RowOptions::new()).unwrap();
        assert!(row.input.starts_with("question: ") && row.target == answer.unwrap_or_default());
        let row = report
            .decoder_row(question, "</s>", &RowOptions::new())
            .unwrap();
        assert!(row.input.ends_with("\nAnswer: ") && row.target.ends_with("</s>"));
    }
    let other = &converted[0];
    let solved = SolvedQuestion {
        report: other,
        question: &other.questions[0],
    };
    let prompt = report
        .few_shot(&report.questions[0], 6, &[solved], &RowOptions::new())
        .unwrap();
    assert!(prompt.contains(&other.context) && prompt.contains(&report.context));
    assert!(
        report
            .zero_shot(&report.questions[0], 1, &RowOptions::new())
            .is_ok()
    );
}

#[test]
fn answers_of_a_second_reader_are_scored() {
    let folder = written(Study::RadQa);
    let reports = radqa::read_folder(folder.path()).unwrap();
    let questions = || reports.test.iter().flat_map(|report| &report.questions);
    let answers = |pick: fn(usize) -> usize| {
        let answers = questions().map(|question| {
            let texts = question.texts();
            let predicted = texts.get(pick(texts.len())).copied().unwrap_or_default();
            SquadAnswer {
                truth: texts.first().copied().into_iter().collect(),
                predicted: Some(predicted),
                no_answer: 0.0,
            }
        });
        let items = squad_items(&answers.collect::<Vec<_>>(), Overlap::Multiset).unwrap();
        squad_scores(&items, 1.0).unwrap()
    };
    let (same, second) = (answers(|_| 0), answers(|count| count.saturating_sub(1)));
    assert_eq!((same.exact, same.f1), (1.0, 1.0));
    // "no effusion" against "There is no effusion": the words are among those of the first reader.
    assert!(second.exact < 0.9 && second.f1 > second.exact && second.f1 < 1.0);
    assert_eq!(second.unanswerable, Some((1.0, 1.0)));
}

#[test]
fn the_study_s_csv_of_radqa_is_read_too() {
    let folder = written(Study::RadQa);
    let reports = radqa::read(folder.path().join("dev.json")).unwrap();
    let mut csv = b"id,title,context,question,answers\n".to_vec();
    for report in &reports {
        for question in &report.questions {
            // As Python's `str` of the dictionary: no text of these has a quote.
            let texts: Vec<_> = question
                .texts()
                .iter()
                .map(|text| format!("'{text}'"))
                .collect();
            let starts: Vec<_> = question
                .answers
                .iter()
                .map(|answer| answer.start.to_string())
                .collect();
            let answers = format!(
                "{{'text': [{}], 'answer_start': [{}]}}",
                texts.join(", "),
                starts.join(", ")
            );
            let fields = [
                &question.id,
                &report.title,
                &report.context,
                &question.question,
                &answers,
            ];
            clinical_files::csv::write_row(&mut csv, fields.map(Some));
        }
    }
    let path = folder.path().join("dev.csv");
    std::fs::write(&path, csv).unwrap();
    assert_eq!(radqa::read_csv(&path).unwrap(), reports);
}

/// A WordPiece tokenizer of whole words and letters.
fn tokenizer(texts: &str) -> Tokenizer {
    let mut words: HashSet<String> = texts.split_whitespace().map(str::to_owned).collect();
    for c in texts.chars().filter(|c| !c.is_whitespace()) {
        words.insert(c.to_string());
        words.insert(format!("##{c}"));
    }
    let mut words: Vec<String> = words.into_iter().collect();
    words.sort_unstable();
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let vocabulary = [special.as_slice(), &words].concat().join("\n");
    Tokenizer::from_vocab_txt(vocabulary.as_bytes(), None).unwrap()
}

#[test]
fn clip_is_read_and_cut_to_the_budget_of_a_real_tokenizer() {
    let folder = written(Study::Clip);
    let clip = clip::read_folder(folder.path()).unwrap();
    let notes = &clip.notes;
    assert_eq!(
        (notes.train.len(), notes.development.len(), notes.test.len()),
        (60, 12, 15)
    );
    assert!(clip.unassigned.is_empty() && clip.blank_sentences == 0);
    let all = || notes.train.iter().flat_map(|note| &note.sentences);
    for label in Label::ALL {
        assert!(
            all().any(|sentence| sentence.labels[label.index()]),
            "{label}"
        );
    }
    assert!(all().any(|sentence| sentence.label_names().len() == 2));
    let none = all()
        .filter(|sentence| sentence.label_names().is_empty())
        .count();
    assert!(none * 2 > all().count());

    let text: String = notes.test.iter().map(|note| &*note.text).collect();
    let tokenizer = tokenizer(&text);
    let mut lost = 0;
    for note in &notes.test {
        let tokens = tokenizer.encode(&note.text, true).unwrap();
        for index in 0..note.sentences.len() {
            let input =
                |rule, options: &RowOptions| note.input(index, tokens.offsets(), 48, rule, options);
            let input = input(AroundRule::Fixed, &RowOptions::new()).unwrap();
            let (chunk, sentence) = input.rsplit_once(" ; ").unwrap();
            assert!(
                chunk.contains(sentence),
                "the sentence is among its surroundings"
            );
            assert!(note.sentence(index).unwrap().starts_with(sentence));
            // A cut word is other pieces than in the note, so a few tokens more.
            assert!(
                tokenizer.count(&input).unwrap() <= 48 + 4,
                "{}",
                tokenizer.count(&input).unwrap()
            );
            let row = note.writing_row(index, input);
            assert_eq!(row.target, note.sentences[index].target());
        }
        let last = note.sentences.len() - 1;
        let published = note.input(last, tokens.offsets(), 48, AroundRule::Published, &tagged());
        lost += usize::from(published.unwrap().ends_with(" ; "));
        assert!(
            note.zero_shot(0, 0, &tagged())
                .unwrap()
                .starts_with("Context: ")
        );
        let solved = [("INR on Monday .", "Lab-related followup")];
        assert!(
            note.few_shot(0, 5, &solved, &tagged())
                .unwrap()
                .contains("INR on Monday .")
        );
    }
    // The end token stands at character 0, so as published the last sentence of a note is lost unless it is cut.
    assert!(lost > notes.test.len() / 2, "{lost}");
    let part = low_data(notes.train.len(), 10, 1).unwrap();
    assert_eq!(part.len(), 6);
}

#[test]
fn concepts_and_columns_say_the_same() {
    let folder = written(Study::I2b2);
    let parts = ["train", "development", "test"];
    let files = ["train.conll", "dev.conll", "test.conll"];
    for (part, file) in parts.into_iter().zip(files) {
        let notes = i2b2::read_folder(folder.path().join(part), Some(&I2B2_2010)).unwrap();
        let rows: Vec<_> = notes
            .iter()
            .flat_map(|(_, note)| note.word_rows())
            .collect();
        assert_eq!(
            rows,
            conll::read(folder.path().join(file), Some(&I2B2_2010)).unwrap()
        );
        let spans: usize = rows.iter().map(|row| entity_spans(&row.labels).len()).sum();
        let concepts: usize = notes.iter().map(|(_, note)| note.concepts.len()).sum();
        assert!(spans == concepts && concepts > 5 * notes.len());
        for (_, note) in &notes {
            for concept in &note.concepts {
                assert!(!note.text[concept.range.clone()].contains('\n'));
            }
        }
    }
    assert_eq!(files_of(&folder.path().join("train/txt")), SIZES.train);
    assert_eq!(Portion::ALL.map(|portion| portion.to_string()), parts);
}

fn files_of(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}
