//! Small rules for text that several crates share.

/// `str.isspace` of Python for one character, and `\s` of its `re`: Unicode white space and the four ASCII separators.
#[must_use]
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.strip()` of Python.
#[must_use]
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Characters of a name that are shown.
const LONGEST_SHOWN: usize = 100;

/// A name from a file, made fit for a message: escaped, and cut to 100 characters.
#[must_use]
pub fn shown(name: &str) -> String {
    let start = name.chars().take(LONGEST_SHOWN);
    let mut shown: String = start.flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_the_ascii_separators_too() {
        assert_eq!(strip("\u{1f}\u{a0} a \u{1c}\n"), "a");
        // As many as Python's unicodedata finds.
        assert_eq!(('\0'..=char::MAX).filter(|&c| is_space(c)).count(), 29);
    }

    #[test]
    fn names_from_files_are_harmless_in_messages() {
        assert_eq!(shown("a\0b\x1b[2J"), "a\\0b\\u{1b}[2J");
        assert_eq!(shown(&"é".repeat(100)), "é".repeat(100));
        assert_eq!(shown(&"é".repeat(101)), format!("{}…", "é".repeat(100)));
    }
}
