//! The converted text and the map between old and new byte ranges.

use std::fmt;
use std::ops::Range;

use memchr::memmem;

use crate::Tag;

/// A tag of the old text and what stands for it in the new text. Both ranges count bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Span {
    /// The whole tag in the old text, its brackets included.
    pub old: Range<usize>,
    /// What replaced it, without the joining spaces. Empty for [`Tag::Blank`]; it then lies at the end
    /// of what was written before.
    pub new: Range<usize>,
    /// What the tag was converted to.
    pub tag: Tag,
}

/// A converted note.
///
/// Spans are in order and do not overlap, in the old and in the new text. Text outside them is the same
/// in both; only the joining spaces are new.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Normalized {
    /// The new text.
    pub text: String,
    /// The tags, in order.
    pub spans: Vec<Span>,
    source_len: usize,
}

impl Normalized {
    /// Length of the old text in bytes.
    pub const fn source_len(&self) -> usize {
        self.source_len
    }

    /// The new byte range of an old one.
    ///
    /// A range that begins or ends inside a tag is extended to the whole of that tag. Joining spaces
    /// belong to the new range where both their neighbours do, so for a range that cuts no tag
    /// `text[map_range(range)]` is the range's old text converted on its own. An empty range stays
    /// empty unless it lies inside a tag.
    ///
    /// `None` if the range is reversed, reaches past the old text, or splits a character.
    ///
    /// ```
    /// # use clinical_deid::Normalizer;
    /// let old = "Seen by[**Last Name 7**]at noon";
    /// let note = Normalizer::mimic_iii().normalize(old)?;
    /// assert_eq!(note.text, "Seen by [Name] at noon");
    /// // "by[**Last" ends inside the tag.
    /// assert_eq!(note.map_range(5..13).map(|range| &note.text[range]), Some("by [Name]"));
    /// assert_eq!(note.map_range(5..99), None);
    /// # Ok::<(), clinical_deid::Error>(())
    /// ```
    pub fn map_range(&self, old: Range<usize>) -> Option<Range<usize>> {
        if old.start > old.end || old.end > self.source_len {
            return None;
        }
        let (start, end) = (self.map_start(old.start), self.map_end(old.end));
        let new = if start <= end {
            start..end
        } else if old.is_empty() {
            // The end of the gap before and the start of the one after a tag, a joining space apart.
            start..start
        } else {
            // Nothing but blank tags.
            end..end
        };
        self.text.get(new.clone()).map(|_| new)
    }

    /// The old byte range of a new one: where in the note as it was a span of the converted text comes from.
    ///
    /// The other direction of [`map_range`](Self::map_range), by the same rules: a range that begins or ends inside
    /// what replaced a tag is extended to the whole of that tag, brackets included; text outside tags has the same
    /// bytes in both. Joining spaces come from nowhere and add nothing at the ends of a range. An empty range stays
    /// empty unless it lies inside what replaced a tag.
    ///
    /// `None` if the range is reversed, reaches past the new text, or splits a character.
    ///
    /// ```
    /// # use clinical_deid::Normalizer;
    /// let old = "Seen by[**Last Name 7**]at noon";
    /// let note = Normalizer::mimic_iii().normalize(old)?;
    /// assert_eq!(note.text, "Seen by [Name] at noon");
    /// // "Name] at".
    /// assert_eq!(note.original_range(9..17).map(|range| &old[range]), Some("[**Last Name 7**]at"));
    /// assert_eq!(note.original_range(5..99), None);
    /// # Ok::<(), clinical_deid::Error>(())
    /// ```
    pub fn original_range(&self, new: Range<usize>) -> Option<Range<usize>> {
        self.text.get(new.clone())?;
        let (start, end) = (self.old_start(new.start), self.old_end(new.end));
        Some(if start <= end {
            start..end
        } else if new.is_empty() {
            start..start
        } else {
            // A joining space alone: what lies between its neighbours, a blank tag or nothing.
            end..start
        })
    }

    /// Where new text that begins at `new` began in the old text.
    fn old_start(&self, new: usize) -> usize {
        let next = self.spans.partition_point(|span| span.new.end <= new);
        let gap = self.gap(next);
        match new.checked_sub(gap.new) {
            // The joining space before the gap.
            None => gap.old.start,
            Some(offset) => gap.old.start.saturating_add(offset).min(gap.old.end),
        }
    }

    /// Where new text that ends at `new` ended in the old text.
    fn old_end(&self, new: usize) -> usize {
        let next = self.spans.partition_point(|span| span.new.start < new);
        let gap = self.gap(next);
        match next.checked_sub(1).and_then(|last| self.spans.get(last)) {
            Some(span) if new <= span.new.end => span.old.end,
            _ => {
                let offset = new.saturating_sub(gap.new);
                gap.old.start.saturating_add(offset).min(gap.old.end)
            }
        }
    }

    /// The text between the spans `next - 1` and `next`: its old range, and where it begins in the new text.
    fn gap(&self, next: usize) -> Gap {
        let before = next.checked_sub(1).and_then(|last| self.spans.get(last));
        let end = self
            .spans
            .get(next)
            .map_or(self.source_len, |span| span.old.start);
        Gap {
            old: before.map_or(0, |span| span.old.end)..end,
            new: before.map_or(0, |span| span.new.end + usize::from(span.new.end > 0)),
        }
    }

    /// How many beginnings of MIMIC-III tags (`[**`) stay in the new text outside of spans: the published expression
    /// does not find tags that go over a line end, nor those without an end.
    pub fn unclosed(&self) -> usize {
        let mut from = 0;
        let mut count = 0;
        for span in &self.spans {
            count += beginnings(self.text.get(from..span.new.start));
            from = span.new.end;
        }
        count + beginnings(self.text.get(from..))
    }

    /// Where text that begins at `old` begins in the new text.
    fn map_start(&self, old: usize) -> usize {
        let mut next = self.spans.partition_point(|span| span.old.end <= old);
        let mut old = old;
        while let Some(span) = self.spans.get(next).filter(|span| span.old.start <= old) {
            if !span.new.is_empty() {
                return span.new.start;
            }
            // A blank tag leaves nothing: the text begins with what comes after it.
            old = span.old.end;
            next += 1;
        }
        if old == self.source_len {
            self.text.len()
        } else {
            self.map_gap(next, old)
        }
    }

    /// Where text that ends at `old` ends in the new text.
    fn map_end(&self, old: usize) -> usize {
        let next = self.spans.partition_point(|span| span.old.start < old);
        match next.checked_sub(1).and_then(|last| self.spans.get(last)) {
            Some(span) if old <= span.old.end => span.new.end,
            _ => self.map_gap(next, old),
        }
    }

    /// The new position of a byte in the text between the spans `next - 1` and `next`.
    fn map_gap(&self, next: usize, old: usize) -> usize {
        match next.checked_sub(1).and_then(|last| self.spans.get(last)) {
            // Every span ends where the output ended when it was written, so a joining space follows
            // unless nothing had been written.
            Some(span) => {
                let joint = usize::from(span.new.end > 0);
                span.new
                    .end
                    .saturating_add(joint)
                    .saturating_add(old.saturating_sub(span.old.end))
            }
            None => old,
        }
    }
}

/// Text between two spans.
struct Gap {
    old: Range<usize>,
    new: usize,
}

fn beginnings(text: Option<&str>) -> usize {
    text.map_or(0, |text| memmem::find_iter(text.as_bytes(), "[**").count())
}

/// The new text.
impl fmt::Display for Normalized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Normalized> for String {
    fn from(normalized: Normalized) -> Self {
        normalized.text
    }
}

/// Writes the new text: pieces that are not empty, joined with one space.
pub(crate) struct Writer<'t> {
    source: &'t str,
    written: usize,
    text: String,
    spans: Vec<Span>,
}

impl<'t> Writer<'t> {
    pub(crate) fn new(source: &'t str) -> Self {
        // Tokens are mostly shorter than their tags, so the new text rarely outgrows the old one.
        Self {
            source,
            written: 0,
            text: String::with_capacity(source.len()),
            spans: Vec::new(),
        }
    }

    /// Writes the text before the tag, then what replaces the tag.
    pub(crate) fn replace(&mut self, old: Range<usize>, with: &str, tag: Tag) {
        let gap = &self.source[self.written..old.start];
        self.join(gap);
        let new = self.join(with);
        self.written = old.end;
        self.spans.push(Span { old, new, tag });
    }

    /// Writes the text after the last tag.
    pub(crate) fn finish(mut self) -> Normalized {
        let tail = &self.source[self.written..];
        self.join(tail);
        Normalized {
            text: self.text,
            spans: self.spans,
            source_len: self.source.len(),
        }
    }

    fn join(&mut self, piece: &str) -> Range<usize> {
        if !piece.is_empty() {
            if !self.text.is_empty() {
                self.text.push(' ');
            }
            self.text.push_str(piece);
        }
        self.text.len() - piece.len()..self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use crate::Normalizer;

    fn mapped(old: &str, range: std::ops::Range<usize>) -> Option<(usize, String)> {
        let note = Normalizer::mimic_iii().normalize(old).expect("known tags");
        note.map_range(range)
            .map(|new| (new.start, note.text[new].to_owned()))
    }

    #[test]
    fn text_keeps_its_place_and_tags_are_taken_whole() {
        let old = "a [**Name 1**] b[**7-16**]c";
        //         0 2           14 16      26
        assert_eq!(mapped(old, 0..1), Some((0, "a".into())));
        assert_eq!(mapped(old, 0..2), Some((0, "a ".into())));
        assert_eq!(mapped(old, 0..3), Some((0, "a  [Name]".into())));
        assert_eq!(mapped(old, 2..14), Some((3, "[Name]".into())));
        assert_eq!(mapped(old, 5..9), Some((3, "[Name]".into())));
        assert_eq!(mapped(old, 14..16), Some((10, " b".into())));
        assert_eq!(mapped(old, 15..20), Some((11, "b 7-16".into())));
        assert_eq!(mapped(old, 26..27), Some((18, "c".into())));
        assert_eq!(mapped(old, 0..27), Some((0, "a  [Name]  b 7-16 c".into())));
    }

    fn original(old: &str, text: &str) -> String {
        let note = Normalizer::mimic_iii().normalize(old).expect("known tags");
        let start = note.text.find(text).expect("it is there");
        let range = note.original_range(start..start + text.len());
        old[range.expect("a range of the text")].to_owned()
    }

    #[test]
    fn spans_of_the_new_text_are_found_in_the_old_one() {
        let old = "a [**Name 1**] b[**7-16**]c[** **]d";
        assert_eq!(
            Normalizer::mimic_iii()
                .normalize(old)
                .map(String::from)
                .ok()
                .as_deref(),
            Some("a  [Name]  b 7-16 c d")
        );
        for (new, expected) in [
            ("a", "a"),
            ("a ", "a "),
            ("[Name]", "[**Name 1**]"),
            ("ame", "[**Name 1**]"),
            ("[Name]  b", "[**Name 1**] b"),
            ("b 7", "b[**7-16**]"),
            ("16 c", "[**7-16**]c"),
            ("c", "c"),
            ("c d", "c[** **]d"),
            (" d", "d"),
            ("d", "d"),
            ("a  [Name]  b 7-16 c d", old),
        ] {
            assert_eq!(original(old, new), expected, "{new:?}");
        }
        let note = Normalizer::mimic_iii()
            .normalize("[****]é[**Name**]")
            .expect("known tags");
        assert_eq!(note.text, "é [Name]");
        assert_eq!(note.original_range(0..2), Some(6..8));
        assert_eq!(note.original_range(0..1), None);
        assert_eq!(note.original_range(2..3), Some(8..8));
        assert_eq!(note.original_range(5..5), Some(8..18));
        assert_eq!(note.original_range(0..0), Some(6..6));
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = 3..2;
        assert_eq!(note.original_range(reversed), None);
        assert_eq!(note.original_range(0..99), None);
    }

    #[test]
    fn tags_that_the_published_expression_does_not_find_are_counted() {
        let unclosed = |text: &str| {
            let note = Normalizer::mimic_iii().normalize(text).expect("known tags");
            note.unclosed()
        };
        assert_eq!(unclosed("[**Last Name\n7**] and [**Name**]"), 1);
        assert_eq!(unclosed("[**Name**] [**Name"), 1);
        assert_eq!(unclosed("[**Name**] [*Name*]"), 0);
    }

    #[test]
    fn blank_tags_leave_no_edge() {
        let old = "a[** **]b[****][****]";
        assert_eq!(mapped(old, 0..old.len()), Some((0, "a b".into())));
        assert_eq!(mapped(old, 1..9), Some((2, "b".into())));
        assert_eq!(mapped(old, 0..8), Some((0, "a".into())));
        assert_eq!(mapped(old, 1..8), Some((1, String::new())));
        assert_eq!(mapped(old, 9..21), Some((3, String::new())));
        assert_eq!(mapped("[****]", 0..6), Some((0, String::new())));
    }

    #[test]
    fn empty_ranges_stay_empty_outside_tags() {
        let old = "a[**Name**]b";
        for (at, new) in [(0, 0), (1, 2), (11, 9), (12, 10)] {
            assert_eq!(mapped(old, at..at), Some((new, String::new())), "{at}");
        }
        assert_eq!(mapped(old, 5..5), Some((2, "[Name]".into())));
        assert_eq!(mapped("", 0..0), Some((0, String::new())));
    }

    #[test]
    #[allow(clippy::reversed_empty_ranges)]
    fn ranges_that_are_not_in_the_text_are_refused() {
        assert_eq!(mapped("é[**Name**]", 1..2), None);
        assert_eq!(mapped("abc", 2..1), None);
        assert_eq!(mapped("abc", 0..4), None);
        assert_eq!(mapped("abc", usize::MAX..usize::MAX), None);
    }
}
