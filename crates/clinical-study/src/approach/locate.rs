//! Where a text that a model wrote stands in a report.

use std::ops::Range;

/// The bytes of the first place whose words are those of `answer`, capital letters aside. `None` for no words, or where
/// they do not stand.
pub(super) fn locate(context: &str, answer: &str) -> Option<Range<usize>> {
    let wanted: Vec<String> = answer.split_whitespace().map(str::to_lowercase).collect();
    let (first, rest) = wanted.split_first()?;
    if rest.is_empty() || context.contains(answer.trim()) {
        // A piece of a word counts too, as a reference may be one.
        if let Some(start) = context.find(answer.trim()) {
            return Some(start..start + answer.trim().len());
        }
    }
    let words: Vec<Range<usize>> = context
        .split_whitespace()
        .map(|word| {
            let start = word.as_ptr() as usize - context.as_ptr() as usize;
            start..start + word.len()
        })
        .collect();
    let alike = |range: &Range<usize>, word: &str| {
        let found = context[range.clone()].to_lowercase();
        found.trim_end_matches(['.', ',', ';', ':']) == word.trim_end_matches(['.', ',', ';', ':'])
    };
    let place = words.windows(wanted.len()).find(|window| {
        alike(&window[0], first)
            && window[1..]
                .iter()
                .zip(rest)
                .all(|(range, word)| alike(range, word))
    })?;
    let (start, last) = (place.first()?.start, place.last()?.clone());
    let end = context[last.clone()]
        .trim_end_matches(['.', ',', ';', ':'])
        .len();
    let dotted = answer.trim_end().ends_with(['.', ',', ';', ':']);
    Some(start..if dotted { last.end } else { last.start + end })
}

#[cfg(test)]
mod tests {
    use super::locate;

    #[test]
    fn words_are_found_across_lines() {
        let context = "FINDINGS: There is a small\n left effusion. No edema.";
        for (answer, found) in [
            ("small left effusion", Some("small\n left effusion")),
            ("Small left effusion.", Some("small\n left effusion.")),
            ("edem", Some("edem")),
            ("right effusion", None),
            ("", None),
            (" \n", None),
        ] {
            let range = locate(context, answer);
            assert_eq!(range.map(|range| &context[range]), found, "{answer}");
        }
        assert_eq!(locate("", "x"), None);
        assert_eq!(locate("ÄÖ  x", "äö x"), Some(0..7));
    }
}
