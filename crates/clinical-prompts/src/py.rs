//! The few Python string methods that the published scripts apply to their texts. They differ
//! from Rust's in detail, and a prompt must match byte for byte.

pub(crate) use clinical_files::{is_space, strip};

/// `str.lstrip()`.
pub(crate) fn lstrip(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// `str.split()`.
pub(crate) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// `text[:-1]`.
pub(crate) fn without_last_char(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next_back();
    chars.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_what_python_strips() {
        assert_eq!(strip("\u{1f}\u{85}\u{3000} a b \u{1c}\n"), "a b");
        assert_eq!(strip("\u{200b}a"), "\u{200b}a"); // not white space in either language
        assert_eq!(lstrip("\n\u{1d} a "), "a ");
    }

    #[test]
    fn splits_on_runs_of_white_space() {
        assert_eq!(
            split(" 4\u{1e}3\n\n2 ").collect::<Vec<_>>(),
            ["4", "3", "2"]
        );
        assert_eq!(split(" \n").count(), 0);
    }

    #[test]
    fn drops_one_character_not_one_byte() {
        assert_eq!(without_last_char("ab\u{1F600}"), "ab");
        assert_eq!(without_last_char(""), "");
    }
}
