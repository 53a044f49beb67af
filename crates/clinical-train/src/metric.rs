//! Metrics by which the best weights are found.

use clinical_bert::ClinicalBert;
use clinical_t5::{ClinicalT5, T5Options};

use crate::{LabelledText, TextPair};

/// The share of pairs whose target the model writes exactly, but for white space around it; not a number without pairs.
///
/// # Errors
///
/// Those of [`ClinicalT5::generate_batch`].
pub fn exact_match(
    t5: &ClinicalT5,
    pairs: &[TextPair],
    options: &T5Options,
) -> clinical_t5::Result<f64> {
    let inputs: Vec<&str> = pairs.iter().map(|pair| pair.input.as_str()).collect();
    let mut right = 0;
    for (output, pair) in t5.generate_batch(&inputs, options).into_iter().zip(pairs) {
        right += usize::from(output?.text.trim() == pair.target.trim());
    }
    Ok(right as f64 / pairs.len() as f64)
}

/// The share of texts, or pairs of texts, whose label the model finds, of those that have exactly one; not a number
/// without texts.
///
/// # Errors
///
/// Those of [`ClinicalBert::classify`] and [`ClinicalBert::classify_pairs`].
pub fn accuracy(bert: &ClinicalBert, texts: &[LabelledText]) -> clinical_bert::Result<f64> {
    let of = |is_pair: bool| {
        texts
            .iter()
            .filter(move |text| text.second.is_some() == is_pair)
    };
    let singles: Vec<&str> = of(false).map(|text| text.text.as_str()).collect();
    let pairs: Vec<(&str, &str)> = of(true)
        .map(|text| {
            (
                text.text.as_str(),
                text.second.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    let found = bert.classify(&singles).into_iter();
    let found = found.chain(bert.classify_pairs(&pairs));
    let mut right = 0;
    for (found, wanted) in found.zip(of(false).chain(of(true))) {
        right += usize::from(wanted.labels == [found?.best().label.as_str()]);
    }
    Ok(right as f64 / texts.len() as f64)
}
