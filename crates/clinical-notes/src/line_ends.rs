//! Line ends of all systems.

use std::borrow::Cow;

/// The text with `\n` for each `\r` alone, as old exports write: every byte has the position that it had. The `\r` of a
/// `\r\n` stays; it is white space.
pub(crate) fn in_place(text: &str) -> Cow<'_, str> {
    if !text.contains('\r') {
        return Cow::Borrowed(text);
    }
    let mut rest = text;
    let mut unified = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once('\r') {
        unified.push_str(before);
        unified.push(if after.starts_with('\n') { '\r' } else { '\n' });
        rest = after;
    }
    unified.push_str(rest);
    Cow::Owned(unified)
}

/// The text with `\n` alone at the end of each line.
pub(crate) fn unified(text: &str) -> Cow<'_, str> {
    match text.contains('\r') {
        true => Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_of_all_systems_are_one() {
        for text in ["", "a\n\nb", "é"] {
            assert_eq!((&*in_place(text), &*unified(text)), (text, text));
        }
        assert_eq!(in_place("a\r\rb\r\nc\r"), "a\n\nb\r\nc\n");
        assert_eq!(unified("a\r\rb\r\nc\r"), "a\n\nb\nc\n");
    }
}
