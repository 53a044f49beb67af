//! Decoder-only rows against what the published scripts make.

use std::convert::Infallible;

use clinical_train::DataError;
use clinical_train::objective::Truncation;
use clinical_train::objective::causal::{CausalExample, Masking, instruction, packed};
use proptest::prelude::*;
use serde::Deserialize;

const BOS: u32 = 1;
const EOS: u32 = 2;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    source_ids: Vec<u32>,
    full_ids: Vec<u32>,
    source_len_counted: usize,
    labels: Vec<i64>,
    attention_mask: Vec<u8>,
}

fn rows(notes: &[Vec<u32>], length: usize, published: bool) -> Vec<CausalExample> {
    let notes = notes.iter().cloned().map(Ok::<_, Infallible>);
    let rows = packed(notes, BOS, EOS, length, published).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn published_masks() {
    let golden: Vec<Golden> =
        serde_json::from_str(include_str!("data/asclepius_mask_golden.json")).unwrap();
    assert_eq!(golden.len(), 3);
    for row in golden {
        let example = instruction(
            &row.source_ids,
            &row.full_ids,
            BOS,
            2048,
            Masking::Published,
        )
        .unwrap();
        assert_eq!(example.ids, row.full_ids);
        assert_eq!(example.labels, row.labels);
        let seen: Vec<u8> = example
            .attention_mask
            .iter()
            .map(|&seen| seen.into())
            .collect();
        assert_eq!(seen, row.attention_mask);
        let hidden = row.attention_mask.iter().filter(|&&seen| seen == 0).count();
        let read = example.clone().without_hidden_start();
        assert_eq!(read.ids, row.full_ids[hidden..]);
        assert_eq!(read.labels, row.labels[hidden..]);
        let masked = example.labels.iter().take_while(|&&label| label == -100);
        assert_eq!(masked.count(), row.source_len_counted);

        let corrected = instruction(
            &row.source_ids,
            &row.full_ids,
            BOS,
            2048,
            Masking::default(),
        )
        .unwrap();
        let prompt = row.source_ids.len();
        assert!(
            corrected.labels[..prompt]
                .iter()
                .all(|&label| label == -100)
        );
        let answer: Vec<i64> = row.full_ids[prompt..].iter().map(|&id| id.into()).collect();
        assert_eq!(corrected.labels[prompt..], answer);
        assert_eq!(corrected.attention_mask, vec![true; row.full_ids.len()]);
        assert_eq!(corrected.clone().without_hidden_start(), corrected);
    }
}

#[test]
fn limits_and_rows_without_a_target() {
    let source = [BOS, 10, 11, 12];
    let full = [BOS, 10, 11, 12, 20, 21, EOS];
    let row = instruction(&source, &full, BOS, 5, Masking::Corrected).unwrap();
    assert_eq!(row.ids, [BOS, 10, 11, 12, 20]);
    assert_eq!(
        (row.labels.as_slice(), row.cut, row.targets()),
        (&[-100, -100, -100, -100, 20][..], 2, 1)
    );
    let mut truncation = Truncation::default();
    truncation.add_row(&row);
    truncation.add_row(&instruction(&source, &full, BOS, 7, Masking::Corrected).unwrap());
    assert_eq!(
        (
            truncation.examples,
            truncation.inputs_cut,
            truncation.tokens_cut
        ),
        (2, 1, 2)
    );

    for limit in [2, 3, 4] {
        let row = instruction(&source, &full, BOS, limit, Masking::Published).unwrap();
        // Upstream a prompt that is too long keeps exactly one target, its last token.
        assert_eq!(row.targets(), 1);
        assert_eq!(row.labels[limit - 1], i64::from(full[limit - 1]));
        assert!(matches!(
            instruction(&source, &full, BOS, limit, Masking::Corrected),
            Err(DataError::NoTarget { prompt: 4, limit: found }) if found == limit
        ));
    }
    // No answer; a label that nothing stands before; a padding token that is not the start token.
    for (source, full, pad, masking) in [
        (&source[..], &source[..], BOS, Masking::Corrected),
        (&[], &[20], BOS, Masking::Corrected),
        (&[], &[], BOS, Masking::Corrected),
        (&[], &[], BOS, Masking::Published),
        (&source, &source, 0, Masking::Published),
    ] {
        assert!(matches!(
            instruction(source, full, pad, 2048, masking),
            Err(DataError::NoTarget { .. })
        ));
    }
    for limit in [0, 1] {
        assert!(matches!(
            instruction(&source, &full, BOS, limit, Masking::Published),
            Err(DataError::TooFewTokens { .. })
        ));
    }
}

#[test]
fn a_prompt_that_is_no_prefix_is_refused() {
    let full = [BOS, 10, 99, 20, EOS];
    for (source, at) in [(&[BOS, 10, 11][..], 2), (&[BOS, 10, 99, 20, EOS, 5], 5)] {
        let row = instruction(source, &full, BOS, 2048, Masking::Corrected);
        assert!(matches!(row, Err(DataError::NotAPrefix { at: found }) if found == at));
    }
    // What differs behind the limit is not looked at.
    assert!(matches!(
        instruction(&[BOS, 10, 11], &full, BOS, 2, Masking::Corrected),
        Err(DataError::NoTarget { .. })
    ));
    assert!(instruction(&[BOS, 10, 11], &full, BOS, 2048, Masking::Published).is_ok());
}

#[test]
fn streams_byte_by_byte() {
    let notes = [vec![BOS, 10, 11], vec![BOS, 12], vec![BOS, 13, 14, 15]];
    let ids = |published, length| {
        let rows = rows(&notes, length, published);
        rows.into_iter().map(|row| row.ids).collect::<Vec<_>>()
    };
    // tokenize_data.py: [1] + for each note: encode(note) + [2, 1].
    assert!(ids(true, 17).is_empty());
    assert_eq!(
        ids(true, 16),
        [[1, 1, 10, 11, 2, 1, 1, 12, 2, 1, 1, 13, 14, 15, 2, 1]]
    );
    assert_eq!(ids(true, 6), [[1, 1, 10, 11, 2, 1], [1, 12, 2, 1, 1, 13]]);
    assert_eq!(ids(false, 12), [[1, 10, 11, 2, 1, 12, 2, 1, 13, 14, 15, 2]]);
    assert_eq!(ids(false, 5), [[1, 10, 11, 2, 1], [12, 2, 1, 13, 14]]);
    for row in rows(&notes, 5, false) {
        let expected: Vec<i64> = row.ids.iter().map(|&id| id.into()).collect();
        assert_eq!(row.labels, expected);
        assert_eq!(
            (row.attention_mask.as_slice(), row.cut, row.targets()),
            (&[true; 5][..], 0, 4)
        );
    }
    // Special tokens that a tokenizer did or did not add make no difference.
    let bare = [vec![10, 11], vec![12, EOS], vec![BOS, 13, 14, 15, EOS]];
    for published in [false, true] {
        assert_eq!(rows(&bare, 4, published), rows(&notes, 4, published));
    }
}

#[test]
fn empty_notes_errors_and_rests_are_counted() {
    let notes = [
        Ok(vec![BOS]),
        Ok(vec![BOS, 10]),
        Err("unreadable"),
        Ok(vec![]),
        Ok(vec![11, 12]),
    ];
    let mut clean = packed(notes.clone(), BOS, EOS, 4, false).unwrap();
    let found: Vec<_> = clean.by_ref().map(|row| row.map(|row| row.ids)).collect();
    assert_eq!(found, [Err("unreadable"), Ok(vec![1, 10, 2, 1])]);
    assert_eq!(
        (clean.notes(), clean.empty_notes(), clean.dropped_tokens()),
        (4, 2, 3)
    );
    let mut published = packed(notes, BOS, EOS, 4, true).unwrap();
    let found: Vec<_> = published
        .by_ref()
        .filter_map(Result::ok)
        .map(|row| row.ids)
        .collect();
    assert_eq!(
        found,
        [[1, 1, 2, 1], [1, 10, 2, 1], [1, 2, 1, 1], [11, 12, 2, 1]]
    );
    assert_eq!(
        (
            published.notes(),
            published.empty_notes(),
            published.dropped_tokens()
        ),
        (4, 2, 0)
    );
    let none: [Result<Vec<u32>, Infallible>; 0] = [];
    assert!(matches!(
        packed(none, BOS, EOS, 1, false),
        Err(DataError::TooFewTokens { .. })
    ));
}

#[test]
fn notes_are_read_only_as_rows_are_asked_for() {
    let endless = (0_u32..).map(|note| Ok::<_, Infallible>(vec![BOS, 10 + note % 7]));
    let mut rows = packed(endless, BOS, EOS, 8, false).unwrap();
    for taken in 1..=1000_u64 {
        rows.next().unwrap().unwrap();
        // Three tokens a note, eight a row.
        assert_eq!(rows.notes(), (taken * 8).div_ceil(3));
    }
}

proptest! {
    /// Rows joined are the whole stream but for less than a row.
    #[test]
    fn rows_are_the_stream(
        notes in prop::collection::vec(prop::collection::vec(3_u32..9, 1..20), 0..20),
        length in 2_usize..30,
        published: bool,
    ) {
        let mut stream = if published { vec![BOS] } else { vec![] };
        for note in &notes {
            let end = if published { vec![EOS, BOS] } else { vec![EOS] };
            stream.extend([vec![BOS], note.clone(), end].concat());
        }
        let joined: Vec<u32> = rows(&notes, length, published).into_iter().flat_map(|row| row.ids).collect();
        prop_assert_eq!(&joined, &stream[..stream.len() / length * length]);
    }

    /// Corrected rows carry loss on the answer and nowhere else, at any limit.
    #[test]
    fn loss_is_on_the_answer(prompt in 1_usize..40, answer in 1_usize..20, limit in 2_usize..70) {
        let full: Vec<u32> = (100..).take(prompt + answer).collect();
        let row = instruction(&full[..prompt], &full, 0, limit, Masking::Corrected);
        let kept = full.len().min(limit);
        match row {
            Ok(row) => {
                prop_assert_eq!(row.ids.len() + row.cut, full.len());
                for (at, &label) in row.labels.iter().enumerate() {
                    let expected = if at < prompt { -100 } else { i64::from(full[at]) };
                    prop_assert_eq!(label, expected);
                }
            }
            Err(DataError::NoTarget { .. }) => prop_assert!(kept <= prompt),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }
}
