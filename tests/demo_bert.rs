//! The demonstration BERT on notes that it was not trained on.

use std::collections::HashSet;
use std::ops::Range;

use clinical_bert::ClinicalBert;
use clinical_synth::Generator;

/// F1 over exact ranges with their labels, on 100 held-out notes of another seed than that of the development examples.
/// `docs/demo-models.md` has the figure.
#[test]
fn the_demonstration_model_finds_entities() {
    let bert = ClinicalBert::embedded().unwrap();
    let cases: Vec<_> = Generator::held_out(11).take(100).collect();
    let notes: Vec<&str> = cases.iter().map(|case| case.note.as_str()).collect();
    let (mut right, mut found, mut wanted) = (0, 0, 0);
    for (entities, case) in bert.tag(&notes).into_iter().zip(&cases) {
        let entities = entities.unwrap().into_iter();
        let tagged: HashSet<(Range<usize>, String)> =
            entities.map(|one| (one.range, one.label)).collect();
        let truth = case.entities().iter();
        let truth: HashSet<(Range<usize>, String)> = truth
            .map(|one| (one.range.clone(), one.label.to_owned()))
            .collect();
        right += tagged.intersection(&truth).count();
        found += tagged.len();
        wanted += truth.len();
    }
    let f1 = 2.0 * f64::from(right as u32) / f64::from((found + wanted) as u32);
    println!("F1 {f1:.4}: {right} right of {found} found and {wanted} wanted");
    assert!(f1 >= 0.95, "{f1}");
}
