//! Windows hold the whole note, keep to the budget, and cut where a reader would.

use std::cell::{Cell, RefCell};

use clinical_notes::sentences::sentences;
use clinical_notes::{Error, Window, windows};
use proptest::prelude::*;

/// Words and punctuation marks, a crude tokenizer.
fn pieces(text: &str) -> usize {
    let mut count = 0;
    let mut in_word = false;
    for c in text.chars() {
        count += usize::from(!(c.is_whitespace() || in_word && c.is_alphanumeric()));
        in_word = c.is_alphanumeric();
    }
    count
}

/// Checks what every list of windows promises.
fn check(note: &str, windows: &[Window], budget: usize, count: impl Fn(&str) -> usize) {
    let mut end = 0;
    let mut start = None;
    for window in windows {
        let range = window.range.clone();
        assert_eq!(window.new_from, end, "a gap or no progress");
        assert!(range.start <= window.new_from && window.new_from < range.end);
        assert!(
            start.is_none_or(|start| start < range.start),
            "a window starts where the last did"
        );
        assert_eq!(count(&note[range.clone()]), window.tokens);
        assert!(window.tokens <= budget);
        (start, end) = (Some(range.start), range.end);
    }
    assert_eq!(end, note.len());
}

fn cut(note: &str, budget: usize, overlap: usize) -> Vec<&str> {
    let windows = windows(note, budget, overlap, |text| Ok::<_, Error>(pieces(text))).unwrap();
    check(note, &windows, budget, pieces);
    windows
        .into_iter()
        .map(|window| &note[window.range])
        .collect()
}

const NOTE: &str = "Service: MEDICINE\n\nHistory of Present Illness:\nShe has had a cough for two days. \
    She has no fever. She takes no medication. Her sister is ill too.\n\nPlan:\nRest. Drink water.\n";

#[test]
fn a_note_that_fits_is_one_window() {
    assert_eq!(cut(NOTE, 100, 10), [NOTE]);
    assert!(cut("", 1, 0).is_empty());
    assert_eq!(cut(" \n", 1, 0), [" \n"]);
}

#[test]
fn windows_end_at_sections_when_half_full() {
    let parts = cut(NOTE, 36, 0);
    assert_eq!(parts.len(), 2);
    assert!(parts[0].ends_with("ill too.\n\n") && parts[1].starts_with("Plan:\nRest."));
}

#[test]
fn windows_end_at_sentences_inside_a_long_section() {
    assert_eq!(
        cut(NOTE, 20, 0),
        [
            "Service: MEDICINE\n\nHistory of Present Illness:\nShe has had a cough for two days. ",
            "She has no fever. She takes no medication. Her sister is ill too.\n\n",
            "Plan:\nRest. Drink water.\n",
        ]
    );
}

#[test]
fn overlap_repeats_whole_sentences_of_the_same_section() {
    let parts = cut(NOTE, 20, 9);
    assert!(parts[0].ends_with("for two days. "));
    assert!(parts[1].starts_with("She has had a cough for two days. She has no fever."));
    assert!(parts.last().unwrap().contains("Plan:\nRest."));
    let none = cut(NOTE, 20, 8);
    assert!(none[1].starts_with("She has no fever."));
}

#[test]
fn a_long_sentence_is_cut_between_words_and_a_long_word_within() {
    let sentence = "word ".repeat(40);
    for part in cut(&sentence, 7, 0) {
        assert!(part.ends_with(' ') && part.starts_with('w'));
        assert_eq!(pieces(part), if part.len() == 35 { 7 } else { 5 });
    }
    let chars = |text: &str| Ok::<_, Error>(text.chars().count());
    let word = "h\u{e9}mo\u{1F600}".repeat(20);
    let parts = windows(&word, 9, 2, chars).unwrap();
    check(&word, &parts, 9, |text| text.chars().count());
    assert!(parts.len() < 20);
}

#[test]
fn impossible_budgets_are_errors() {
    let count = |text: &str| Ok::<_, Error>(text.len());
    assert!(matches!(
        windows("ab", 1, 1, count),
        Err(Error::Overlap { .. })
    ));
    assert!(matches!(
        windows("a", 0, 0, count),
        Err(Error::Overlap { .. })
    ));
    let error = windows("ab\u{1F600}", 3, 0, count).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Budget {
                budget: 3,
                offset: 2
            }
        ),
        "{error}"
    );
    // A tokenizer that adds more special tokens than the budget has.
    let special = |text: &str| Ok::<_, Error>(text.len() + 8);
    assert!(matches!(
        windows("ab", 8, 0, special),
        Err(Error::Budget { .. })
    ));
}

#[test]
fn errors_of_the_count_come_through() {
    #[derive(Debug)]
    enum Mine {
        Tokenizer,
        Notes,
    }
    impl From<Error> for Mine {
        fn from(_: Error) -> Self {
            Self::Notes
        }
    }
    let calls = Cell::new(0);
    let result = windows("a b c. d e f.", 2, 0, |text| {
        calls.set(calls.get() + 1);
        if calls.get() < 4 {
            Ok(pieces(text))
        } else {
            Err(Mine::Tokenizer)
        }
    });
    assert!(matches!(result, Err(Mine::Tokenizer)));
    let result = windows("a", 1, 1, |_| Ok::<_, Mine>(1));
    assert!(matches!(result, Err(Mine::Notes)));
}

/// Counts calls and bytes while cutting a megabyte.
#[test]
fn counting_takes_linear_work() {
    let prose = NOTE.repeat((1 << 20) / NOTE.len());
    let sentence = "word ".repeat((1 << 20) / 5);
    let word = "x".repeat(1 << 20);
    for note in [prose, sentence, word] {
        for count in [pieces as fn(&str) -> usize, |text| {
            text.len().div_ceil(4) + 2
        }] {
            let work = RefCell::new((0, 0));
            let parts = windows(&note, 512, 64, |text| {
                let mut work = work.borrow_mut();
                *work = (work.0 + 1, work.1 + text.len());
                Ok::<_, Error>(count(text))
            })
            .unwrap();
            check(&note, &parts, 512, count);
            let (calls, bytes) = work.into_inner();
            let max_calls = sentences(&note).len() + 16 * parts.len();
            assert!(calls <= max_calls, "{calls} calls, {max_calls} expected");
            assert!(
                bytes <= 8 * note.len(),
                "{} times the note",
                bytes / note.len()
            );
            // Windows are full: few more than the note needs.
            let needed = count(&note) / (512 - 64) + 1;
            assert!(
                parts.len() <= 2 * needed,
                "{} windows, {needed} needed",
                parts.len()
            );
        }
    }
}

/// Counters that give a sentence no more than the empty text, or far less apart than together, or far more.
#[test]
fn any_counter_takes_linear_work() {
    let counters: [fn(&str) -> usize; 6] = [
        |text| text.len() / 4 + 1,
        |text| text.len() / 100,
        |text| text.len() / 1000 + 3,
        |text| if text.len() < 300 { 1 } else { text.len() / 3 },
        |text| text.len() / 4 + 20,
        |text| text.len() / 50 + text.bytes().filter(|&byte| byte == b'A').count(),
    ];
    let cheap_then_dear = format!("{}{}", ". ".repeat(1 << 17), "AAAA. ".repeat(1 << 15));
    for note in [
        ". ".repeat(1 << 18),
        "A:\n".repeat(1 << 17),
        "\n".repeat(1 << 18),
        cheap_then_dear,
    ] {
        for (number, count) in counters.into_iter().enumerate() {
            let work = Cell::new(0);
            let parts = windows(&note, 500, 50, |text| {
                work.set(work.get() + text.len());
                Ok::<_, Error>(count(text))
            })
            .unwrap();
            check(&note, &parts, 500, count);
            let times = work.get() / note.len();
            assert!(times <= 16, "counter {number}: {times} times the note");
            let needed = count(&note) / (500 - 50) + 1;
            assert!(
                parts.len() <= 3 * needed,
                "counter {number}: {} windows for {needed}",
                parts.len()
            );
        }
    }
}

fn note() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        1 => any::<String>(),
        5 => prop::sample::select(vec![
            "\n\n", "\n", " ", "Plan:\n", "Plan: ", "She has no fever. ", "1. Lasix 20 mg b.i.d.\n", "[**Name**] ", "-----\n",
            "averyveryverylongword", "\u{1F600}", "a ", ".", "   ", "\u{a0}",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

/// Counts of very different kinds, most of them not additive.
const COUNTS: [fn(&str) -> usize; 6] = [
    pieces,
    |text| text.len(),
    |text| text.len().div_ceil(4) + 2,
    |text| text.chars().count() / 3,
    // More together than apart, as when a tokenizer merges less.
    |text| text.len() + text.len() / 7,
    // Neither additive nor monotone.
    |text| text.len() / 2 + text.bytes().map(usize::from).sum::<usize>() % 5,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn windows_keep_their_promises(note in note(), budget in 1_usize..60, overlap in 0_usize..20, kind in 0..COUNTS.len()) {
        let count = COUNTS[kind];
        match windows(&note, budget, overlap, |text| Ok::<_, Error>(count(text))) {
            Ok(windows) => check(&note, &windows, budget, count),
            Err(Error::Overlap { .. }) => prop_assert!(overlap >= budget),
            Err(Error::Budget { offset, .. }) => {
                let character = note[offset..].chars().next().unwrap().to_string();
                prop_assert!(count(&character) > budget);
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}
