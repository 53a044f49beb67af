//! Pretraining examples: equal to those of the published script, and in the published proportions.

use burn::optim::{AdamConfig, GradientsParams};
use clinical_bert::pretraining::{
    Document, Examples, PretrainingExample, PretrainingOptions, Vocabulary,
};
use clinical_bert::{BertConfig, BertForPretraining, Error, IGNORED, Row, Targets};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    vocabulary: usize,
    documents: Vec<Document>,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    max_seq_length: usize,
    dupe_factor: usize,
    short_seq_prob: f64,
    masked_lm_prob: f64,
    max_predictions: usize,
    seed: u64,
    examples: Vec<Example>,
}

#[derive(Deserialize)]
struct Example {
    ids: Vec<u32>,
    types: Vec<u32>,
    positions: Vec<usize>,
    labels: Vec<u32>,
    random: bool,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("data/pretraining.json")).unwrap()
}

fn vocabulary(size: usize) -> Vocabulary {
    Vocabulary {
        size,
        start: 2,
        separator: 3,
        mask: 4,
    }
}

fn examples(
    documents: Vec<Document>,
    vocabulary: Vocabulary,
    options: PretrainingOptions,
) -> Vec<PretrainingExample> {
    let documents = documents.into_iter().map(Ok);
    Examples::new(documents, vocabulary, options)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// Every number of every example, in the order of the script (`scripts/bert_reference.py pretraining`).
#[test]
fn equals_the_published_script() {
    let golden = golden();
    for run in golden.runs {
        let mut options = PretrainingOptions::default();
        options.max_seq_length = run.max_seq_length;
        options.dupe_factor = run.dupe_factor;
        options.short_seq_prob = run.short_seq_prob;
        options.masked_lm_prob = run.masked_lm_prob;
        options.max_predictions = run.max_predictions;
        options.seed = run.seed;
        options.block = usize::MAX;
        let made = examples(
            golden.documents.clone(),
            vocabulary(golden.vocabulary),
            options,
        );
        assert!(run.examples.len() > 20);
        assert_eq!(made.len(), run.examples.len());
        for (made, expected) in made.iter().zip(run.examples) {
            assert_eq!(made.ids, expected.ids);
            assert_eq!(made.types, expected.types);
            assert_eq!(made.positions, expected.positions);
            assert_eq!(made.labels, expected.labels);
            assert_eq!(made.is_random_next, expected.random);
        }
    }
}

/// Documents of long sentences, whose token ids tell the document and the sentence.
const SENTENCES: usize = 40;
const TOKENS: usize = 12;
const DOCUMENTS: usize = 200;
const FIRST_ID: usize = 10;

fn corpus() -> Vec<Document> {
    let id = |document: usize, sentence: usize| (FIRST_ID + document * SENTENCES + sentence) as u32;
    (0..DOCUMENTS)
        .map(|document| {
            (0..SENTENCES)
                .map(|sentence| vec![id(document, sentence); TOKENS])
                .collect()
        })
        .collect()
}

fn corpus_vocabulary() -> Vocabulary {
    vocabulary(FIRST_ID + DOCUMENTS * SENTENCES)
}

/// The document and the sentence of a corpus token.
fn place(id: u32) -> (usize, usize) {
    let index = id as usize - FIRST_ID;
    (index / SENTENCES, index % SENTENCES)
}

/// The original ids of an example.
fn unmasked(example: &PretrainingExample) -> Vec<u32> {
    let mut ids = example.ids.clone();
    for (&position, &label) in example.positions.iter().zip(&example.labels) {
        ids[position] = label;
    }
    ids
}

fn texts(example: &PretrainingExample) -> (Vec<u32>, Vec<u32>) {
    let ids = unmasked(example);
    let ones = example.types.iter().filter(|&&kind| kind == 1).count();
    let second = ids.len() - ones;
    assert_eq!((ids[0], ids[second - 1], ids[ids.len() - 1]), (2, 3, 3));
    (
        ids[1..second - 1].to_vec(),
        ids[second..ids.len() - 1].to_vec(),
    )
}

fn share(count: usize, of: usize) -> f64 {
    count as f64 / of as f64
}

#[track_caller]
fn about(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: {found:.4} instead of {expected}"
    );
}

#[test]
fn masks_have_the_published_proportions() {
    let made = examples(corpus(), corpus_vocabulary(), PretrainingOptions::default());
    assert!(made.len() > 3000, "{}", made.len());
    let (mut predicted, mut masked, mut kept, mut all) = (0, 0, 0, 0);
    for example in &made {
        assert!((5..=128).contains(&example.ids.len()));
        assert_eq!(example.ids.len(), example.types.len());
        assert!(example.types.is_sorted());
        assert!(example.positions.is_sorted_by(|a, b| a < b));
        assert!(
            example.labels.iter().all(|&id| id >= FIRST_ID as u32),
            "a special token is predicted"
        );
        let expected = (example.ids.len() as f64 * 0.15).round_ties_even().max(1.0) as usize;
        assert_eq!(example.positions.len(), expected.min(20));
        for (&position, &label) in example.positions.iter().zip(&example.labels) {
            masked += usize::from(example.ids[position] == 4);
            kept += usize::from(example.ids[position] == label);
        }
        predicted += example.positions.len();
        all += example.ids.len();
    }
    about("predicted", share(predicted, all), 0.15, 0.002);
    about("masked", share(masked, predicted), 0.8, 0.01);
    about("kept", share(kept, predicted), 0.1, 0.01);
    about(
        "random",
        share(predicted - masked - kept, predicted),
        0.1,
        0.01,
    );
    // 15 % of 128 tokens are 19, so neither 20 nor 22 is ever reached.
    let most = made.iter().map(|example| example.positions.len()).max();
    assert_eq!(most, Some(19));
    let mut options = PretrainingOptions::default();
    options.max_predictions = 22;
    assert_eq!(examples(corpus(), corpus_vocabulary(), options), made);
}

/// Documents of 60 sentences of two tokens, 120 in all: without a shorter target a document is one pair that holds all
/// of it, or half of one where the second text comes from elsewhere. A sentence's first token tells its position.
fn small_documents() -> Vec<Document> {
    let id = |document: usize, sentence: usize| (FIRST_ID + document * 60 + sentence) as u32;
    (0..200)
        .map(|document| {
            (0..60)
                .map(|sentence| vec![id(document, sentence); 2])
                .collect()
        })
        .collect()
}

/// The pairs that start with the first sentence of a document: one for each time a document is used.
fn first_pairs() -> Vec<PretrainingExample> {
    let mut options = PretrainingOptions::default();
    options.dupe_factor = 50;
    let made = examples(small_documents(), vocabulary(FIRST_ID + 200 * 60), options);
    let first =
        |example: &PretrainingExample| (texts(example).0[0] as usize - FIRST_ID).is_multiple_of(60);
    made.into_iter().filter(first).collect()
}

#[test]
fn one_document_in_ten_is_cut_short() {
    let pairs: Vec<PretrainingExample> = first_pairs()
        .into_iter()
        .filter(|pair| !pair.is_random_next)
        .collect();
    assert!(pairs.len() > 4500, "{}", pairs.len());
    let short = pairs.iter().filter(|pair| pair.ids.len() < 123).count();
    // A target is drawn from 2 to 125, and only one of at most 118 cuts off a sentence.
    about(
        "cut short",
        share(short, pairs.len()),
        0.1 * 117.0 / 124.0,
        0.015,
    );
}

#[test]
fn second_texts_follow_in_half_of_the_pairs() {
    let pairs = first_pairs();
    assert!((9900..=10_100).contains(&pairs.len()), "{}", pairs.len());
    let random = pairs.iter().filter(|pair| pair.is_random_next).count();
    about("random next", share(random, pairs.len()), 0.5, 0.02);
    for example in examples(corpus(), corpus_vocabulary(), PretrainingOptions::default()) {
        let (first, second) = texts(&example);
        let (document, sentence) = place(first[first.len() - 1]);
        let (next_document, next_sentence) = place(second[0]);
        assert!(first.iter().all(|&id| place(id).0 == document));
        if example.is_random_next {
            assert_ne!(document, next_document);
        } else {
            assert_eq!(document, next_document);
            assert!(next_sentence > sentence);
        }
    }
}

#[test]
fn every_document_is_used_five_times() {
    let documents: Vec<Document> = corpus().into_iter().take(20).collect();
    let mut options = PretrainingOptions::default();
    options.short_seq_prob = 0.0;
    let made = examples(documents, corpus_vocabulary(), options);
    // The first sentence of a document starts one pair in each of the five passes, unless its start was cut off.
    for document in 0..20 {
        let start = (FIRST_ID + document * SENTENCES) as u32;
        let starts = made
            .iter()
            .filter(|example| texts(example).0.contains(&start))
            .count();
        assert_eq!(starts, 5, "document {document}");
    }
}

#[test]
fn a_seed_gives_the_same_examples_and_another_gives_others() {
    let documents: Vec<Document> = corpus().into_iter().take(10).collect();
    let make = |seed| {
        let mut options = PretrainingOptions::default();
        options.seed = seed;
        examples(documents.clone(), corpus_vocabulary(), options)
    };
    assert_eq!(make(1), make(1));
    assert_ne!(make(1), make(2));
}

#[test]
fn documents_are_read_in_blocks() {
    let mut options = PretrainingOptions::default();
    options.block = 10;
    options.dupe_factor = 1;
    let read = std::cell::Cell::new(0);
    let documents = corpus().into_iter().map(|document| {
        read.set(read.get() + 1);
        Ok(document)
    });
    let mut made = Examples::new(documents, corpus_vocabulary(), options).unwrap();
    made.next().unwrap().unwrap();
    assert!(
        read.get() <= 16,
        "{} documents were read for the first example",
        read.get()
    );
    let rest: Vec<PretrainingExample> = made.map(Result::unwrap).collect();
    assert_eq!(read.get(), DOCUMENTS);
    // Every document has its turn, and random second texts come from the same block.
    let documents: std::collections::HashSet<usize> = rest
        .iter()
        .map(|example| place(texts(example).0[0]).0)
        .collect();
    assert!(documents.len() >= DOCUMENTS - 1);
    let far = rest.iter().filter(|example| {
        let (first, second) = texts(example);
        place(first[0]).0.abs_diff(place(second[0]).0) > 15
    });
    assert_eq!(far.count(), 0);
}

#[test]
fn errors_of_the_corpus_come_after_what_was_read_and_end_it() {
    let documents = vec![
        Ok(vec![vec![11, 12], vec![13]]),
        Ok(vec![vec![14], vec![15]]),
        Err(Error::Zero { option: "test" }),
        Ok(vec![vec![16]]),
    ];
    let mut made = Examples::new(documents, vocabulary(40), PretrainingOptions::default()).unwrap();
    let found: Vec<_> = made.by_ref().collect();
    assert!(found.len() > 5);
    assert!(found[..found.len() - 1].iter().all(Result::is_ok));
    assert!(matches!(found.last(), Some(Err(Error::Zero { .. }))));
    assert!(made.next().is_none());
}

#[test]
fn hostile_input_gives_errors_and_odd_input_gives_examples() {
    let none: Vec<Document> = vec![vec![], vec![vec![], vec![]]];
    assert!(examples(none, vocabulary(40), PretrainingOptions::default()).is_empty());
    // One document alone has only itself to draw from.
    let made = examples(
        vec![vec![vec![7]]],
        vocabulary(40),
        PretrainingOptions::default(),
    );
    assert_eq!(made.len(), 5);
    assert!(
        made.iter()
            .all(|example| example.is_random_next && example.ids.len() == 5)
    );
    let outside = Examples::new(
        [Ok(vec![vec![40]])],
        vocabulary(40),
        PretrainingOptions::default(),
    )
    .unwrap();
    assert!(matches!(
        outside.last(),
        Some(Err(Error::OutsideVocabulary { id: 40, .. }))
    ));
    type Change = fn(&mut PretrainingOptions);
    let changes: [Change; 6] = [
        |options| options.max_seq_length = 4,
        |options| options.max_predictions = 0,
        |options| options.dupe_factor = 0,
        |options| options.block = 0,
        |options| options.masked_lm_prob = f64::NAN,
        |options| options.short_seq_prob = 1.5,
    ];
    for change in changes {
        let mut options = PretrainingOptions::default();
        change(&mut options);
        let nothing: [Result<Document, Error>; 0] = [];
        assert!(Examples::new(nothing, vocabulary(40), options).is_err());
    }
}

/// A few steps on one batch lower both losses: gradients reach the heads, the encoder and the tied table.
#[test]
fn the_loss_can_be_minimised() {
    let golden = golden();
    let mut options = PretrainingOptions::default();
    options.max_seq_length = 32;
    let batch: Vec<PretrainingExample> =
        examples(golden.documents, vocabulary(golden.vocabulary), options)
            .into_iter()
            .take(8)
            .collect();
    let config = BertConfig::from_json(
        r#"{"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 40}"#,
    )
    .unwrap();
    let device = clinical_weights::LoadOptions::default().device.autodiff();
    device.seed(3);
    let mut model = BertForPretraining::new(&config, true, &device).unwrap();
    let mut optimizer = AdamConfig::new().init();
    let parts = |model: &BertForPretraining| {
        let loss = model.pretraining_loss(&batch).unwrap();
        let next = loss.next_sentence.unwrap();
        assert_eq!(next.targets, batch.len());
        let predicted: usize = batch.iter().map(|example| example.labels.len()).sum();
        assert_eq!(loss.masked.targets, predicted);
        [loss.masked.mean, next.mean].map(|mean| mean.into_scalar::<f32>())
    };
    let before = parts(&model);
    for _ in 0..30 {
        let loss = model.pretraining_loss(&batch).unwrap().total();
        let gradients = GradientsParams::from_grads(loss.mean.backward(), &model);
        model = optimizer.step(0.01, model, gradients);
    }
    let after = parts(&model);
    assert!(
        (before[0] - 60f32.ln()).abs() < 0.3,
        "a fresh model knows nothing: {before:?}"
    );
    assert!(
        after[0] < 0.7 * before[0] && after[1] < 0.7 * before[1],
        "{before:?} {after:?}"
    );

    let mut bad = batch[..1].to_vec();
    bad[0].positions[0] = 32;
    assert!(matches!(
        model.pretraining_loss(&bad),
        Err(Error::Predictions { row: 0, .. })
    ));
    assert!(model.pretraining_loss(&[]).is_err());

    // The same by targets for each token, as for the other heads.
    let rows: Vec<Row<'_>> = batch
        .iter()
        .map(|example| Row {
            ids: &example.ids,
            types: &example.types,
        })
        .collect();
    let tokens: Vec<Vec<i64>> = batch
        .iter()
        .map(|example| {
            let mut labels = vec![IGNORED; example.ids.len()];
            for (&position, &label) in example.positions.iter().zip(&example.labels) {
                labels[position] = label.into();
            }
            labels
        })
        .collect();
    let random: Vec<bool> = batch.iter().map(|example| example.is_random_next).collect();
    let value = |targets| {
        let loss = model.loss(&rows, targets).unwrap();
        loss.mean.into_scalar::<f32>()
    };
    let both = value(Targets::Pretraining {
        tokens: &tokens,
        is_random_next: &random,
    });
    assert!((both - after[0] - after[1]).abs() < 1e-5);
    assert!((value(Targets::Tokens(&tokens)) - after[0]).abs() < 1e-5);
}
