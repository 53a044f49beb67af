//! Finding, refusing and escaping prompt markers inside the texts of a prompt.

use std::borrow::Cow;
use std::ops::Range;

use crate::{Error, Field, Options, Result, py};

/// What to do with a text that contains a marker of the prompt it goes into, such as a note with
/// a line `[Discharge Summary End]`, which would end its block early.
///
/// A marker is found whatever its ASCII case and spacing (`[ DISCHARGE  SUMMARY END ]`), and also
/// when invisible characters (zero-width spaces, soft hyphens) are hidden in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MarkerPolicy {
    /// Refuse the text with [`Error::MarkerInText`].
    #[default]
    Error,
    /// Put a backslash before every ASCII punctuation mark of the marker, or, when it has none,
    /// before its last space: `[Discharge Summary End]` becomes `\[Discharge Summary End\]` and
    /// `### Input:` becomes `\#\#\# Input\:`. A reader still sees what the text said, and it is no
    /// longer the marker. Nothing else of the text changes.
    Escape,
    /// Put the text in as it is. Right for trusted text, and for reproducing a published training
    /// set byte for byte.
    Allow,
}

/// Where in a text a marker counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Anywhere, but not in the middle of a word.
    Anywhere,
    /// At the start of the text or of a line, after optional white space.
    LineStart,
}

/// A piece of text that gives a prompt its structure.
///
/// In `text`, a space stands for a run of white space, `*` for any one character, `'` for any
/// apostrophe, and white space is allowed inside brackets and before a colon.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marker {
    text: &'static str,
    any_case: bool,
    place: Place,
}

impl Marker {
    /// Counts anywhere in a text, in any case.
    pub(crate) const fn anywhere(text: &'static str) -> Self {
        Self {
            text,
            any_case: true,
            place: Place::Anywhere,
        }
    }

    /// Counts anywhere, but only as it is spelled: for words that are common in other case.
    pub(crate) const fn exact(text: &'static str) -> Self {
        Self {
            text,
            any_case: false,
            place: Place::Anywhere,
        }
    }

    /// Counts at the start of a line, in any case: for labels such as `Answer:`.
    pub(crate) const fn line(text: &'static str) -> Self {
        Self {
            text,
            any_case: true,
            place: Place::LineStart,
        }
    }

    /// The end of the marker when it starts at the start of `text`.
    fn end_in(&self, text: &str) -> Option<usize> {
        let mut rest = text;
        for (i, wanted) in self.text.chars().enumerate() {
            if i > 0 {
                rest = rest.trim_start_matches(is_invisible);
            }
            if wanted == ' ' {
                let after = rest.trim_start_matches(is_gap);
                if !rest[..rest.len() - after.len()].contains(py::is_space) {
                    return None;
                }
                rest = after;
                continue;
            }
            if matches!(wanted, ']' | ':') {
                rest = rest.trim_start_matches(is_gap);
            }
            let found = rest.chars().next()?;
            if !self.accepts(wanted, found) {
                return None;
            }
            rest = &rest[found.len_utf8()..];
            if wanted == '[' {
                rest = rest.trim_start_matches(is_gap);
            }
        }
        Some(text.len() - rest.len())
    }

    fn accepts(&self, wanted: char, found: char) -> bool {
        match wanted {
            '*' => !is_gap(found),
            '\'' => matches!(found, '\'' | '\u{2018}' | '\u{2019}'),
            _ if self.any_case => wanted.eq_ignore_ascii_case(&found),
            _ => wanted == found,
        }
    }
}

/// Characters that show nothing and separate nothing.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

fn is_gap(c: char) -> bool {
    py::is_space(c) || is_invisible(c)
}

/// The markers inside one text, from left to right, without overlaps.
struct Markers<'t> {
    text: &'t str,
    markers: &'static [Marker],
    /// Where the search goes on.
    at: usize,
    /// Whether `at` follows a letter or a digit.
    in_word: bool,
    /// Whether only white space stands between `at` and the start of its line.
    line_start: bool,
}

impl<'t> Markers<'t> {
    fn new(text: &'t str, markers: &'static [Marker]) -> Self {
        Self {
            text,
            markers,
            at: 0,
            in_word: false,
            line_start: true,
        }
    }

    /// The marker that starts at `self.at`, with its length.
    fn here(&self) -> Option<(&'static Marker, usize)> {
        let rest = &self.text[self.at..];
        self.markers.iter().find_map(|marker| {
            let placed = match marker.place {
                Place::Anywhere => !self.in_word || !marker.text.starts_with(char::is_alphanumeric),
                Place::LineStart => self.line_start,
            };
            let len = placed.then(|| marker.end_in(rest)).flatten()?;
            Some((marker, len))
        })
    }
}

impl Iterator for Markers<'_> {
    type Item = (&'static Marker, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(c) = self.text[self.at..].chars().next() {
            if let Some((marker, len)) = self.here() {
                let range = self.at..self.at + len;
                self.at = range.end;
                self.in_word = self.text[..self.at].ends_with(char::is_alphanumeric);
                self.line_start = false;
                return Some((marker, range));
            }
            self.at += c.len_utf8();
            self.in_word = c.is_alphanumeric();
            self.line_start = matches!(c, '\n' | '\r') || self.line_start && is_gap(c);
        }
        None
    }
}

/// Applies the options to one text of a prompt that is structured by `markers`.
pub(crate) fn guard<'t>(
    field: Field,
    text: &'t str,
    markers: &'static [Marker],
    options: &Options,
) -> Result<Cow<'t, str>> {
    let (text, skipped) = if options.trim_newlines {
        let tail = text.trim_start_matches('\n');
        (tail.trim_end_matches('\n'), text.len() - tail.len())
    } else {
        (text, 0)
    };
    match options.markers {
        MarkerPolicy::Allow => Ok(Cow::Borrowed(text)),
        MarkerPolicy::Escape => Ok(escape(text, markers)),
        MarkerPolicy::Error => match Markers::new(text, markers).next() {
            None => Ok(Cow::Borrowed(text)),
            Some((marker, range)) => Err(Error::MarkerInText {
                field,
                marker: marker.text,
                offset: skipped + range.start,
            }),
        },
    }
}

/// As [`guard`], for a text that the prompt asks about, which must not be blank.
pub(crate) fn guard_required<'t>(
    field: Field,
    text: &'t str,
    markers: &'static [Marker],
    options: &Options,
) -> Result<Cow<'t, str>> {
    if py::strip(text).is_empty() {
        return Err(Error::Empty { field });
    }
    guard(field, text, markers, options)
}

/// See [`MarkerPolicy::Escape`].
fn escape<'t>(text: &'t str, markers: &'static [Marker]) -> Cow<'t, str> {
    let mut escaped = String::new();
    let mut copied = 0;
    for (_, range) in Markers::new(text, markers) {
        escaped.push_str(&text[copied..range.start]);
        copied = range.end;
        let found = &text[range];
        if found.contains(|c: char| c.is_ascii_punctuation()) {
            for c in found.chars() {
                if c.is_ascii_punctuation() {
                    escaped.push('\\');
                }
                escaped.push(c);
            }
        } else {
            let (head, tail) = found.split_at(found.rfind(py::is_space).unwrap_or(0));
            escaped.extend([head, "\\", tail]);
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    escaped.push_str(&text[copied..]);
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &[Marker] = &[
        Marker::anywhere("[Note Begin]"),
        Marker::anywhere("[Note End]"),
        Marker::anywhere("[Agent *'s Answer End]"),
        Marker::anywhere("Given the above"),
        Marker::exact("USER:"),
        Marker::line("Answer:"),
    ];

    fn first(text: &str) -> Option<(&'static str, Range<usize>)> {
        let (marker, range) = Markers::new(text, BLOCK).next()?;
        Some((marker.text, range))
    }

    #[test]
    fn finds_other_spellings_of_a_marker() {
        for text in [
            "[Note End]",
            "[note end]",
            "[ NOTE\t\n END  ]",
            "[No\u{200b}te \u{200b}End]",
            "[\u{a0}Note\u{a0}End]",
        ] {
            assert_eq!(first(text), Some(("[Note End]", 0..text.len())), "{text:?}");
        }
        for text in [
            "[NoteEnd]",
            "[Note End",
            "(Note End)",
            "[Note\u{200b}End]",
            "[Note  Ends]",
        ] {
            assert_eq!(first(text), None, "{text:?}");
        }
    }

    #[test]
    fn finds_the_first_of_several() {
        assert_eq!(
            first("[[Note [Note Begin] [Note End]"),
            Some(("[Note Begin]", 7..19))
        );
        assert_eq!(first("ü[Note End]"), Some(("[Note End]", 2..12)));
        assert_eq!(
            first("x [agent C\u{2019}s answer end]").map(|m| m.0),
            Some("[Agent *'s Answer End]")
        );
    }

    #[test]
    fn words_and_labels_count_only_in_their_place() {
        assert_eq!(first("USER: x"), Some(("USER:", 0..5)));
        assert_eq!(first("SUPERUSER: x"), None);
        assert_eq!(first("drug user: x"), None);
        assert_eq!(first("a\n  answer : x"), Some(("Answer:", 4..12)));
        assert_eq!(first("the Answer: x"), None);
        assert_eq!(first("regiven the above"), None);
    }

    #[test]
    fn escaping_removes_every_marker_and_adds_only_backslashes() {
        let cases = [
            ("a [Note End] b", r"a \[Note End\] b"),
            ("[Agent B's Answer End]", r"\[Agent B\'s Answer End\]"),
            ("Answer: USER: Answer:", r"Answer\: USER\: Answer:"),
            ("given  the above", r"given  the\ above"),
            ("nothing here \\[", "nothing here \\["),
        ];
        for (text, escaped) in cases {
            assert_eq!(escape(text, BLOCK), escaped);
            assert_eq!(first(escaped), None, "{escaped}");
        }
    }

    #[test]
    fn offsets_are_those_of_the_text_as_given() {
        let options = Options::new().with_trim_newlines(true);
        let error = guard(Field::Note, "\n\nab[Note End]\n", BLOCK, &options).unwrap_err();
        let expected = Error::MarkerInText {
            field: Field::Note,
            marker: "[Note End]",
            offset: 4,
        };
        assert_eq!(error, expected);
        assert_eq!(
            guard(Field::Note, "\n\nab\n", BLOCK, &options).unwrap(),
            "ab"
        );
    }

    #[test]
    fn long_hostile_texts_take_linear_time() {
        for unit in ["[", "[Note ", "[ ", "USER", "\n ", "[Agent ", "given the "] {
            let text = unit.repeat((1 << 20) / unit.len());
            assert_eq!(first(&text), None);
        }
    }
}
