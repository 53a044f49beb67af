//! Names from files, in messages.

/// A name from a file, made fit for a message: escaped, and cut to 100 characters.
pub(crate) fn shown(name: &str) -> String {
    let mut out: String = name
        .chars()
        .take(100)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(100).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn hostile_names_are_harmless_in_messages() {
        assert_eq!(shown("a\0b\x1b[2J"), "a\\0b\\u{1b}[2J");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), 101);
    }
}
