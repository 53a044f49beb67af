//! Entities of a note whose de-identification tags were converted, shown in the note as it was.

use std::ops::Range;

use clinical_bert::ClinicalBert;
use clinical_deid::Normalizer;

/// Labels with the bytes of the note as it was.
type Spans = Vec<(String, Range<usize>)>;

fn tag(bert: &ClinicalBert, note: &str) -> Result<Spans, Box<dyn std::error::Error>> {
    let converted = Normalizer::mimic_iii().normalize(note)?;
    let entities = bert.tag(&[&converted.text]).swap_remove(0)?;
    let spans = entities.into_iter().filter_map(|entity| {
        let range = converted.original_range(entity.range)?;
        Some((entity.label, range))
    });
    Ok(spans.collect())
}

#[test]
fn spans_in_the_original() {
    let dir = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crates/clinical-bert/tests/data/bert_token"
    );
    let bert = ClinicalBert::load(dir, &Default::default()).unwrap();
    let note = "Mr. [**Last Name (un) 7**] has chest pain since [**2151-7-16**]; denies fever.";
    let converted = Normalizer::mimic_iii().normalize(note).unwrap();
    let spans = tag(&bert, note).unwrap();
    let expected = bert.tag(&[&converted.text]).swap_remove(0).unwrap();
    assert_eq!(spans.len(), expected.len());
    assert!(!spans.is_empty());
    let tags: Vec<Range<usize>> = note
        .match_indices("[**")
        .zip(note.match_indices("**]"))
        .map(|((a, _), (b, _))| a..b + 3)
        .collect();
    for ((label, old), entity) in spans.iter().zip(&expected) {
        assert_eq!(*label, entity.label);
        let (old_text, new_text) = (&note[old.clone()], &converted.text[entity.range.clone()]);
        // Text outside of tags is the same; a tag is marked as a whole or not at all.
        if !new_text.contains('[')
            && !new_text.contains(']')
            && !tags
                .iter()
                .any(|tag| tag.start < old.end && old.start < tag.end)
        {
            assert_eq!(old_text, new_text);
        }
        for tag in tags
            .iter()
            .filter(|tag| tag.start < old.end && old.start < tag.end)
        {
            assert!(old.start <= tag.start && tag.end <= old.end, "{old_text}");
        }
    }
}
