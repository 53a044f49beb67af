//! Python's own ideas of a numeric character and of white space.
//!
//! They differ from Rust's: `str.isnumeric` takes CJK ideographs with a numeric value that
//! `char::is_numeric` refuses, and `str.strip` removes U+001C to U+001F that `str::trim` keeps.

mod tables;

pub(crate) use clinical_files::strip;
use tables::NUMERIC;

/// `str.isnumeric`: at least one character, and all of them numeric.
pub(crate) fn is_numeric(chars: impl Iterator<Item = char>) -> bool {
    let mut any = false;
    for c in chars {
        if !is_numeric_char(c) {
            return false;
        }
        any = true;
    }
    any
}

/// Whether `str.isnumeric` accepts the character.
pub(crate) fn is_numeric_char(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_digit()
    } else {
        contains(&NUMERIC, c)
    }
}

fn contains(ranges: &[(u32, u32)], c: char) -> bool {
    let code = u32::from(c);
    let after = ranges.partition_point(|&(low, _)| low <= code);
    after > 0 && code <= ranges[after - 1].1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The fixture lists every accepted code point; the tables hold ranges, so neither is a copy of
    /// the other.
    #[test]
    fn all_characters_agree_with_the_list_made_by_python() {
        let mut lists = [BTreeSet::new(), BTreeSet::new()];
        let mut list = 0;
        for line in include_str!("../../tests/data/python_chars.txt").lines() {
            match line {
                "# isnumeric" => list = 0,
                "# isspace" => list = 1,
                _ if line.starts_with('#') => {}
                code => {
                    let code = u32::from_str_radix(code, 16).expect("a hexadecimal code point");
                    lists[list].insert(code);
                }
            }
        }
        assert!(lists[0].len() > 1800 && lists[1].len() == 29);
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let code = u32::from(c);
            assert_eq!(is_numeric_char(c), lists[0].contains(&code), "U+{code:04X}");
            assert_eq!(
                strip(c.encode_utf8(&mut [0; 4])).is_empty(),
                lists[1].contains(&code)
            );
        }
    }

    #[test]
    fn an_empty_string_is_not_numeric() {
        assert!(!is_numeric("".chars()));
        assert!(is_numeric("1\u{663}".chars()));
        assert!(!is_numeric("1.5".chars()));
    }
}
