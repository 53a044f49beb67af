//! The rules for the body of a MIMIC-III tag, in the order of the published converter.

use crate::python::{is_numeric, strip};
use crate::tag::{KEYS, Tag};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// For each byte, the keys that may begin with it in either spelling, as a bit set.
const STARTS: [u64; 256] = {
    let mut starts = [0; 256];
    let mut key = 0;
    while key < KEYS.len() {
        let first = KEYS[key].0.as_bytes()[0];
        starts[first as usize] |= 1 << key;
        starts[first.to_ascii_lowercase() as usize] |= 1 << key;
        key += 1;
    }
    starts
};

/// The kind of a tag body, or `None` where the published converter raises.
pub(crate) fn classify(body: &str) -> Option<Tag> {
    if let Some(tag) = first_key(body.as_bytes()) {
        return Some(tag);
    }
    if body.bytes().filter(|&byte| byte == b'-').count() == 2 {
        return Some(Tag::Date);
    }
    let stripped = strip(body);
    if is_numeric(stripped.chars()) {
        return Some(Tag::RegNumber);
    }
    // Not stripped here: a blank beside the digits ends the match, as published.
    if is_numeric(body.chars().filter(|c| !matches!(c, '-' | '/'))) {
        return Some(Tag::Date);
    }
    if MONTHS.iter().any(|month| body.contains(month)) {
        return Some(Tag::Date);
    }
    stripped.is_empty().then_some(Tag::Blank)
}

/// The first key of the table that occurs in the body, as written or all in lower case.
///
/// One pass over the body, whatever the number of keys: at each byte only the keys that may begin
/// there, and that would still win over the best key so far, are compared.
fn first_key(body: &[u8]) -> Option<Tag> {
    let mut best = KEYS.len();
    for (at, &byte) in body.iter().enumerate() {
        let mut candidates = STARTS[usize::from(byte)] & ((1 << best) - 1);
        while candidates != 0 {
            let key = candidates.trailing_zeros() as usize;
            if starts_with_key(&body[at..], KEYS[key].0.as_bytes()) {
                best = key;
                break;
            }
            candidates &= candidates - 1;
        }
        if best == 0 {
            break;
        }
    }
    KEYS.get(best).map(|(_, tag)| *tag)
}

/// Whether `text` begins with the key in one of its two spellings; a mixture of both does not count.
fn starts_with_key(text: &[u8], key: &[u8]) -> bool {
    text.get(..key.len()).is_some_and(|window| {
        window == key
            || window
                .iter()
                .zip(key)
                .all(|(have, want)| *have == want.to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_two_spellings_only() {
        assert_eq!(classify("Last Name 5"), Some(Tag::Name));
        assert_eq!(classify("last name 5"), Some(Tag::Name));
        assert_eq!(classify("LAST NAME 5"), None);
        // Mixed case misses `Age over 90`; no other key is in it.
        assert_eq!(classify("Age Over 90"), None);
    }

    #[test]
    fn the_earlier_key_of_the_table_wins_wherever_it_stands() {
        assert_eq!(classify("Unit Number 7, Hospital"), Some(Tag::Company));
        assert_eq!(classify("Wardname 5"), Some(Tag::Name));
        assert_eq!(classify("Month/Day/Year"), Some(Tag::Year));
        assert_eq!(classify("Month/Day"), Some(Tag::Month));
        assert_eq!(classify("Country (Ethnicity)"), Some(Tag::Country));
    }

    #[test]
    fn every_key_decides_unless_an_earlier_one_is_inside_it() {
        for (index, (key, tag)) in KEYS.iter().enumerate() {
            for spelling in [(*key).to_owned(), key.to_lowercase()] {
                let expected = KEYS[..index]
                    .iter()
                    .find(|(earlier, _)| {
                        spelling.contains(earlier) || spelling.contains(&earlier.to_lowercase())
                    })
                    .map_or(*tag, |(_, earlier)| *earlier);
                assert_eq!(
                    classify(&format!("é{spelling}é")),
                    Some(expected),
                    "{spelling}"
                );
            }
        }
    }

    #[test]
    fn numbers_dates_and_blanks_follow_the_published_order() {
        // Two dashes come before the numeric rule, so even text passes.
        assert_eq!(classify("a-b-c"), Some(Tag::Date));
        assert_eq!(classify("--"), Some(Tag::Date));
        assert_eq!(classify(" 123\u{1c}"), Some(Tag::RegNumber));
        assert_eq!(classify("\u{4e00}\u{bd}"), Some(Tag::RegNumber));
        assert_eq!(classify("9-/2151"), Some(Tag::Date));
        assert_eq!(classify(" 7-16"), None);
        assert_eq!(classify("-"), None);
        assert_eq!(classify("/"), None);
        assert_eq!(classify("July 16"), Some(Tag::Date));
        assert_eq!(classify("july 16"), None);
        assert_eq!(classify(" \u{1f}\u{3000}"), Some(Tag::Blank));
        assert_eq!(classify(""), Some(Tag::Blank));
    }
}
