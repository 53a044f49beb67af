//! Pairs of texts, and previews of rows.

use clinical_train::objective::Truncation;
use clinical_train::objective::causal::{Masking, instruction};
use clinical_train::objective::seq2seq::PairSettings;
use clinical_train::{DataError, RowPreview, Segment};

/// Pieces as SentencePiece has them: the blank at the beginning of a text is not printed. Unknown ids are an error.
fn decode(ids: &[u32]) -> Result<String, String> {
    const PIECES: [&[u8]; 9] = [
        b"", b"</s>", b" Why", b" fever", b"?", b" Cough", b".", b"\xc3", b"\xa9",
    ];
    let mut bytes = Vec::new();
    for &id in ids {
        let piece = PIECES.get(id as usize).ok_or(format!("no piece {id}"))?;
        bytes.extend_from_slice(piece);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(text.strip_prefix(' ').map(str::to_owned).unwrap_or(text))
}

fn shown(segments: &[Segment]) -> Vec<(&str, usize, bool)> {
    segments
        .iter()
        .map(|segment| (segment.text.as_str(), segment.tokens, segment.loss))
        .collect()
}

#[test]
fn limits_cut_before_the_end_token_and_are_counted() {
    let settings = PairSettings::default()
        .with_input_limit(4)
        .with_target_limit(3);
    let mut truncation = Truncation::default();
    for (input, target, expected) in [
        // Ids with and without an end token, at a limit and above it.
        (
            &[5, 6, 7, 1][..],
            &[8, 9, 1][..],
            (&[5, 6, 7, 1][..], &[8, 9, 1][..], 0, 0),
        ),
        (&[5, 6, 7], &[8, 9], (&[5, 6, 7, 1], &[8, 9, 1], 0, 0)),
        (&[5, 6, 7, 8, 1], &[8], (&[5, 6, 7, 1], &[8, 1], 1, 0)),
        (
            &[5, 6, 7, 8, 9],
            &[8, 9, 10, 11, 1],
            (&[5, 6, 7, 1], &[8, 9, 1], 2, 2),
        ),
    ] {
        let example = settings.example(input, target, 1).unwrap();
        truncation.add_pair(&example);
        let found = (
            example.input_ids.as_slice(),
            example.labels.as_slice(),
            example.input_cut,
            example.target_cut,
        );
        assert_eq!(found, expected);
    }
    assert_eq!(
        truncation.to_string(),
        "of 4 examples 2 inputs and 1 targets were cut (5 tokens), 0 targets are empty"
    );
}

#[test]
fn nothing_is_silently_empty() {
    let settings = PairSettings::default();
    for target in [&[][..], &[1]] {
        assert!(matches!(
            settings.example(&[5], target, 1),
            Err(DataError::EmptyTarget)
        ));
        let allowed = settings.with_empty_targets(true);
        let example = allowed.example(&[5], target, 1).unwrap();
        assert_eq!(example.labels, [1]);
        let mut truncation = Truncation::default();
        truncation.add_pair(&example);
        assert_eq!(truncation.empty_targets, 1);
        assert!(matches!(
            allowed.example(target, &[5], 1),
            Err(DataError::EmptyInput)
        ));
    }
    // The shortest limits keep one token of the text.
    let short = settings.with_input_limit(2).with_target_limit(2);
    let example = short.example(&[5, 6], &[7, 8], 1).unwrap();
    assert_eq!(
        (example.input_ids, example.labels),
        (vec![5, 1], vec![7, 1])
    );
    for (settings, name) in [
        (settings.with_input_limit(1), "input_limit"),
        (settings.with_target_limit(0), "target_limit"),
    ] {
        assert!(matches!(
            settings.example(&[5], &[6], 1),
            Err(DataError::TooFewTokens { setting, .. }) if setting == name
        ));
    }
    let read = |text: &str| serde_json::from_str::<PairSettings>(text);
    assert_eq!(read("{}").unwrap(), settings);
    assert_eq!(
        read(r#"{"input_limit": 2, "target_limit": 2}"#).unwrap(),
        short
    );
    assert!(read(r#"{"max_length": 2}"#).is_err());
}

#[test]
fn a_preview_marks_what_carries_loss() {
    let (source, full) = ([0, 2, 3, 4], [0, 2, 3, 4, 5, 6, 1]);
    let row = instruction(&source, &full, 0, 2048, Masking::Corrected).unwrap();
    let preview = RowPreview::of_row(&row, decode).unwrap();
    assert_eq!(
        shown(&preview.input),
        [("Why fever?", 4, false), (" Cough.</s>", 3, true)]
    );
    assert_eq!((preview.tokens(), preview.targets()), (7, 3));
    assert_eq!(
        preview.to_string(),
        "7 tokens, 3 with loss\nWhy fever?« Cough.</s>»"
    );
    assert!(preview.target.is_none());

    // The published masking shows its off-by-one.
    let row = instruction(&source, &full, 0, 2048, Masking::Published).unwrap();
    let preview = RowPreview::of_row(&row, decode).unwrap();
    assert_eq!(
        preview.to_string(),
        "7 tokens, 4 with loss\nWhy fever«? Cough.</s>»"
    );

    // The first token is never learned.
    let preview = RowPreview::decoder_only(&[2, 3], &[2, 3], decode).unwrap();
    assert_eq!(
        shown(&preview.input),
        [("Why", 1, false), (" fever", 1, true)]
    );
}

#[test]
fn pairs_show_both_sides() {
    let example = PairSettings::default()
        .example(&[2, 3, 4], &[5, 6], 1)
        .unwrap();
    let preview = RowPreview::of_pair(&example, decode).unwrap();
    assert_eq!(
        preview.to_string(),
        "7 tokens, 3 with loss\nWhy fever?</s>\n«Cough.</s>»"
    );
    let padded =
        RowPreview::encoder_decoder(&[2, 3, 4, 1], &[5, 6, 1, -100, -100], decode).unwrap();
    assert_eq!(padded, preview);
}

#[test]
fn a_character_over_a_border_and_bad_rows() {
    // Bytes of one character, the second with loss: each side alone is no text.
    let preview = RowPreview::decoder_only(&[2, 7, 8, 6], &[-100, -100, 8, 6], decode).unwrap();
    assert_eq!(
        shown(&preview.input),
        [("Why\u{fffd}", 2, false), ("\u{fffd}.", 2, true)]
    );
    let empty = RowPreview::decoder_only(&[], &[], decode).unwrap();
    assert_eq!(
        (empty.tokens(), empty.to_string().as_str()),
        (0, "0 tokens, 0 with loss\n")
    );
    assert!(matches!(
        RowPreview::decoder_only(&[2, 3], &[2], decode),
        Err(DataError::LabelCount { ids: 2, labels: 1 })
    ));
    // Labels that somebody shifted.
    assert!(matches!(
        RowPreview::decoder_only(&[2, 3, 4], &[3, 4, -100], decode),
        Err(DataError::OtherLabel {
            at: 0,
            label: 3,
            id: 2
        })
    ));
    assert!(matches!(
        RowPreview::encoder_decoder(&[2], &[1 << 40], decode),
        Err(DataError::BadLabel { at: 0, .. })
    ));
    let error = RowPreview::decoder_only(&[2, 99], &[-100, 99], decode).unwrap_err();
    assert_eq!(error.to_string(), "a row cannot be decoded: no piece 99");
}
