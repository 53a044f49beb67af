//! What holds for every text.

use clinical_deid::{Normalized, Normalizer, Tag, UnknownTag, replace_list_of_notes};
use proptest::prelude::*;

/// Arbitrary Unicode, and strings full of tag parts.
fn note() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        Just("[**".to_owned()),
        Just("**]".to_owned()),
        Just("[****]".to_owned()),
        Just("[**Name 5**]".to_owned()),
        Just("[**2151-7-16**]".to_owned()),
        Just("___".to_owned()),
        r"\[\*\*[^\n]{0,6}\*\*\]",
        "[-/ \n\r*\\[\\]_½é]{1,3}",
        any::<String>(),
    ];
    prop_oneof![
        any::<String>(),
        prop::collection::vec(parts, 0..12).prop_map(|parts| parts.concat())
    ]
}

fn normalizer() -> impl Strategy<Value = Normalizer> {
    let dialect = prop_oneof![Just(Normalizer::mimic_iii()), Just(Normalizer::mimic_iv())];
    let unknown = prop_oneof![Just(UnknownTag::Keep), Just(UnknownTag::Misc)];
    (dialect, unknown).prop_map(|(dialect, unknown)| dialect.with_unknown(unknown))
}

/// Spans are in order and in range, and the text outside them is kept, with the joining spaces only.
fn check(source: &str, note: &Normalized) -> Result<(), TestCaseError> {
    prop_assert_eq!(note.source_len(), source.len());
    let (mut old, mut new) = (0, 0);
    let gap = |old_gap: Option<&str>, new_gap: Option<&str>, at: usize| {
        let (old_gap, new_gap) = (old_gap.expect("in range"), new_gap.expect("in range"));
        // A joining space on the left unless nothing is before it, on the right unless nothing follows.
        let joints = new_gap.len() - old_gap.len();
        prop_assert!(joints <= 2, "{} joining spaces", joints);
        let left = usize::from(at > 0 && joints > 0);
        prop_assert_eq!(&new_gap[left..left + old_gap.len()], old_gap);
        prop_assert!(new_gap[..left].bytes().all(|byte| byte == b' '));
        prop_assert!(
            new_gap[left + old_gap.len()..]
                .bytes()
                .all(|byte| byte == b' ')
        );
        Ok(())
    };
    for span in &note.spans {
        prop_assert!(old <= span.old.start && span.old.start < span.old.end);
        prop_assert!(new <= span.new.start && span.new.start <= span.new.end);
        gap(
            source.get(old..span.old.start),
            note.text.get(new..span.new.start),
            new,
        )?;
        let written = note.text.get(span.new.clone()).expect("in range");
        match span.tag {
            Tag::Blank => prop_assert_eq!(written, ""),
            Tag::Date | Tag::Unknown => {
                prop_assert!(!written.is_empty() && source[span.old.clone()].contains(written));
            }
            tag => prop_assert_eq!(Some(written), tag.token()),
        }
        (old, new) = (span.old.end, span.new.end);
    }
    gap(source.get(old..), note.text.get(new..), new)
}

/// A range of a text between two of its characters.
fn range_of(
    text: &str,
    ends: (prop::sample::Index, prop::sample::Index),
) -> std::ops::Range<usize> {
    let edges: Vec<_> = (0..=text.len())
        .filter(|&at| text.is_char_boundary(at))
        .collect();
    let (one, other) = (*ends.0.get(&edges), *ends.1.get(&edges));
    one.min(other)..one.max(other)
}

proptest! {
    #[test]
    fn new_ranges_come_from_the_same_text(
        text in note(), normalizer in normalizer(), ends: (prop::sample::Index, prop::sample::Index)
    ) {
        let note = normalizer.normalize(&text).expect("lenient");
        let new = range_of(&note.text, ends);
        let old = note.original_range(new.clone()).expect("a range of the text");
        let (before, after) = (&text[old.clone()], &note.text[new.clone()]);
        for span in note.spans.iter().filter(|span| !span.new.is_empty()) {
            let touched = span.new.start < new.end && new.start < span.new.end;
            let taken = old.start <= span.old.start && span.old.end <= old.end;
            prop_assert!(!touched || taken, "tags are taken whole");
        }
        let none = |span: &clinical_deid::Span| span.old.end <= old.start || old.end <= span.old.start;
        if note.spans.iter().all(none) {
            // The same text, but for a joining space at either end.
            let joints = after.len() - before.len();
            prop_assert!(joints <= 2 && after.contains(before));
        }
        let again = note.map_range(old).expect("a range of the note");
        prop_assert!(new.is_empty() || again.start <= new.start + 1 && new.end <= again.end + 1);
    }

    #[test]
    fn old_ranges_are_found_again(
        text in note(), normalizer in normalizer(), ends: (prop::sample::Index, prop::sample::Index)
    ) {
        let note = normalizer.normalize(&text).expect("lenient");
        let old = range_of(&text, ends);
        let new = note.map_range(old.clone()).expect("a range of the note");
        let again = note.original_range(new.clone()).expect("a range of the text");
        if !new.is_empty() {
            let blank = |at: &usize| {
                let mut tags = note.spans.iter().filter(|span| span.new.is_empty());
                tags.any(|span| span.old.contains(at))
            };
            // Only blank tags at the ends leave nothing to be found.
            prop_assert!((old.start..again.start).all(|at| blank(&at)));
            prop_assert!((again.end..old.end).all(|at| blank(&at)));
        }
    }

    #[test]
    fn spans_are_ordered_and_text_outside_them_is_kept(text in note(), normalizer in normalizer()) {
        check(&text, &normalizer.normalize(&text).expect("lenient"))?;
        let strict = Normalizer::mimic_iii().normalize(&text);
        if let Ok(strict) = strict {
            check(&text, &strict)?;
            prop_assert_eq!(strict, Normalizer::mimic_iii().with_unknown(UnknownTag::Misc).normalize(&text).expect("lenient"));
        }
    }

    #[test]
    fn entity_types_never_panic(text in note(), types in prop::collection::vec("NAME|DATE|[A-Z]{0,3}", 0..5)) {
        for unknown in [UnknownTag::Error, UnknownTag::Keep, UnknownTag::Misc] {
            let normalizer = Normalizer::mimic_iv().with_unknown(unknown);
            if let Ok(note) = normalizer.normalize_with_types(&text, &types) {
                check(&text, &note)?;
            }
        }
    }

    /// With `Misc`, only a kept date body can hold what reads as the start of a tag.
    #[test]
    fn no_tag_is_left(text in note()) {
        let normalizer = Normalizer::mimic_iii().with_unknown(UnknownTag::Misc);
        let once = normalizer.normalize(&text).expect("lenient");
        let twice = normalizer.normalize(&once.text).expect("lenient");
        for left in &twice.spans {
            let inside = once.spans.iter().any(|span| span.tag == Tag::Date && span.new.contains(&left.old.start));
            prop_assert!(inside, "{:?}", once.text);
        }
        if !once.spans.iter().any(|span| span.tag == Tag::Date && text[span.old.clone()][3..].contains("[**")) {
            prop_assert_eq!(&twice.text, &once.text);
            prop_assert!(twice.spans.is_empty());
        }
        let four = Normalizer::mimic_iv().normalize(&text).expect("no types");
        prop_assert!(!four.text.contains("___"));
    }

    /// The law of the map: a range that cuts no tag maps to its text converted alone.
    #[test]
    fn ranges_map_to_their_own_conversion(text in note(), normalizer in normalizer(), ends: (prop::sample::Index, prop::sample::Index)) {
        let note = normalizer.normalize(&text).expect("lenient");
        let allowed: Vec<usize> = (0..=text.len())
            .filter(|&at| text.is_char_boundary(at))
            .filter(|at| !note.spans.iter().any(|span| span.old.start < *at && *at < span.old.end))
            .collect();
        let (a, b) = (*ends.0.get(&allowed), *ends.1.get(&allowed));
        let range = a.min(b)..a.max(b);
        let new = note.map_range(range.clone()).expect("in range");
        let alone = normalizer.normalize(&text[range]).expect("lenient");
        prop_assert_eq!(&note.text[new], alone.text);
    }

    #[test]
    fn any_range_maps_inside_the_text_or_not_at_all(text in note(), normalizer in normalizer(), start in 0_usize..80, end in 0_usize..80) {
        let note = normalizer.normalize(&text).expect("lenient");
        match note.map_range(start..end) {
            Some(new) => {
                prop_assert!(start <= end && end <= text.len());
                prop_assert!(note.text.get(new.clone()).is_some());
                // Every tag that the range touches is in the new range.
                for span in note.spans.iter().filter(|span| span.old.start < end && start < span.old.end && !span.new.is_empty()) {
                    prop_assert!(new.start <= span.new.start && span.new.end <= new.end);
                }
            }
            None => prop_assert!(text.get(start..end).is_none()),
        }
    }

    /// Errors never quote a note: the message is the same whatever letters the tag is made of.
    #[test]
    fn errors_do_not_quote_tags(body in "[b-z]{8}") {
        let message = |body: &str| replace_list_of_notes(&[format!("x [**Q{body}**]")]).map_err(|error| format!("{error} {error:?}"));
        if let (Err(one), Err(other)) = (message(&body), message("zzqqzzqq")) {
            prop_assert_eq!(one, other);
        }
    }
}

/// The bound on the work is tested beside the scanner; here the whole way has to come to its end.
#[test]
fn megabytes_of_openers_end() {
    for unit in [
        "[**",
        "[**\n",
        "[**[**x**]\n",
        "___ ",
        "[**Name**]",
        "[** **]",
    ] {
        let text = unit.repeat((4 << 20) / unit.len());
        for normalizer in [Normalizer::mimic_iii(), Normalizer::mimic_iv()] {
            let note = normalizer
                .with_unknown(UnknownTag::Misc)
                .normalize(&text)
                .expect("lenient");
            assert!(note.map_range(0..text.len()).is_some());
        }
    }
    // One tag whose body is all of it, in the order of keys that finds its key last.
    let text = format!(
        "[**{}Provider Number**]",
        "Provider Numbe Unit Numbe ".repeat(40_000)
    );
    assert_eq!(
        replace_list_of_notes(&[text]).expect("a key is in it"),
        ["[#]"]
    );
}
