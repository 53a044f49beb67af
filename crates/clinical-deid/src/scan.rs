//! Finding tags and underscore runs in one pass.

use std::ops::Range;

use memchr::{memchr, memmem::Finder};

/// A MIMIC-III tag: the whole of it, and the body between `[**` and `**]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub whole: Range<usize>,
    pub body: Range<usize>,
}

/// The matches of the published expression `\[\*\*(.*?)\*\*\]`, where `.` is anything but `\n`.
///
/// Linear in the text, whatever it holds. Three searches walk over it, and none of them ever goes back:
/// the one for an opener starts where the last match or the last line without a closer ended; the one
/// for the end of the line runs only when the last end found has been passed; and when a line has no closer
/// left, no later opener on it can match either, so the rest of the line is skipped.
pub(crate) struct Tags<'t> {
    text: &'t [u8],
    at: usize,
    line_end: usize,
    open: Finder<'static>,
    close: Finder<'static>,
    /// Bytes looked at so far, for the test of linear time.
    work: usize,
}

impl<'t> Tags<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
            line_end: 0,
            open: Finder::new("[**"),
            close: Finder::new("**]"),
            work: 0,
        }
    }
}

impl Iterator for Tags<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let rest = &self.text[self.at..];
            let Some(gap) = self.open.find(rest) else {
                self.work += rest.len();
                self.at = self.text.len();
                return None;
            };
            let start = self.at + gap;
            let body = start + 3;
            self.work += gap + 3;

            if self.line_end < body {
                let rest = &self.text[body..];
                let line = memchr(b'\n', rest).unwrap_or(rest.len());
                self.line_end = body + line;
                self.work += line;
            }

            let line = &self.text[body..self.line_end];
            if let Some(length) = self.close.find(line) {
                let end = body + length;
                self.work += length + 3;
                self.at = end + 3;
                return Some(Found {
                    whole: start..self.at,
                    body: body..end,
                });
            }
            self.work += line.len();
            self.at = self.line_end;
        }
    }
}

/// The matches of the published MIMIC-IV expression `____*`: three underscores or more, as many as
/// there are.
pub(crate) struct Runs<'t> {
    text: &'t [u8],
    at: usize,
    three: Finder<'static>,
}

impl<'t> Runs<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            text: text.as_bytes(),
            at: 0,
            three: Finder::new("___"),
        }
    }
}

impl Iterator for Runs<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let rest = &self.text[self.at..];
        let start = self.three.find(rest)?;
        let length = rest[start..]
            .iter()
            .take_while(|&&byte| byte == b'_')
            .count();
        let run = self.at + start..self.at + start + length;
        self.at = run.end;
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bodies(text: &str) -> Vec<&str> {
        Tags::new(text).map(|found| &text[found.body]).collect()
    }

    #[test]
    fn tags_are_found_as_the_expression_finds_them() {
        assert_eq!(bodies("[**a**][**b**]"), ["a", "b"]);
        assert_eq!(bodies("[**A [**B**] C**]"), ["A [**B"]);
        assert_eq!(bodies("[****] [*****] [**]"), ["", "*"]);
        assert_eq!(bodies("[**] x **]"), ["] x "]);
        assert_eq!(bodies("[**a\nb**] [**c\rd\u{2028}**]"), ["c\rd\u{2028}"]);
        assert_eq!(bodies("[**open [**open\n[**x**] [**open"), ["x"]);
        assert_eq!(bodies("[**a**\n] [[**b**]]"), ["b"]);
        assert_eq!(bodies(""), [""; 0]);
    }

    #[test]
    fn runs_are_as_long_as_they_can_be() {
        let found = |text| Runs::new(text).collect::<Vec<_>>();
        assert_eq!(found("__ _ ___ ____\n_____"), [5..8, 9..13, 14..19]);
        assert_eq!(found("x___"), vec![1..4]);
        assert_eq!(found("__"), [0..0; 0]);
    }

    /// The backtracking definition, quadratic and obvious.
    fn slow(text: &str) -> Vec<Range<usize>> {
        let bytes = text.as_bytes();
        let (mut found, mut at) = (Vec::new(), 0);
        'start: while at < bytes.len() {
            if bytes[at..].starts_with(b"[**") {
                let mut end = at + 3;
                while end < bytes.len() {
                    if bytes[end..].starts_with(b"**]") {
                        found.push(at..end + 3);
                        at = end + 3;
                        continue 'start;
                    }
                    if bytes[end] == b'\n' {
                        break;
                    }
                    end += 1;
                }
            }
            at += 1;
        }
        found
    }

    proptest! {
        #[test]
        fn same_matches_as_backtracking_in_linear_work(
            text in r"(\[\*\*|\*\*\]|\[|\*|\]|\n|a|é|\[\*\*\[\*\*){0,60}"
        ) {
            let mut tags = Tags::new(&text);
            let found: Vec<_> = tags.by_ref().map(|found| found.whole).collect();
            prop_assert_eq!(found, slow(&text));
            prop_assert!(tags.work <= 3 * text.len());
        }
    }

    #[test]
    fn a_megabyte_of_openers_takes_linear_work() {
        for unit in [
            "[**",
            "[**\n",
            "[**a**]",
            "[**\n[**a**] ",
            "**]",
            "[*",
            "\n",
            "[**[**x**]",
        ] {
            for bytes in [1 << 20, 4 << 20] {
                let text = unit.repeat(bytes / unit.len());
                let mut tags = Tags::new(&text);
                tags.by_ref().for_each(drop);
                assert!(tags.work <= 3 * text.len(), "{unit:?}");
            }
        }
    }
}
