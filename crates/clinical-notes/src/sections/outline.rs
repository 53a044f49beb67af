//! Sections as byte ranges.

use std::ops::Range;

use super::is_title;
use crate::{line_ends, py};

/// A longer phrase before a colon is prose, not a title. The longest titles of discharge summaries
/// have about 60 bytes.
const MAX_TITLE: usize = 100;

/// A section of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Section {
    /// The bytes of the section, its title and trailing white space included.
    pub range: Range<usize>,
    /// The bytes of the title with its colon; `None` for text before the first title or after a
    /// rule such as `-----`.
    pub title: Option<Range<usize>>,
}

/// The sections of a note, in order, without gaps: the first starts at 0, the last ends at
/// `note.len()`. An empty note has none.
///
/// A section starts at a line whose start up to the first colon is a title ([`is_title`]),
/// when nothing else stands on that line, or a blank line (or nothing) stands before it. So
/// `Neck: supple` inside a physical exam does not start a section. A line of three or more `-`,
/// `_`, `=` or `*` ends one.
///
/// ```
/// use clinical_notes::sections::outline;
///
/// let note = "Service: MEDICINE\n\nPhysical Exam:\nNeck: supple\n\nPlan:\nHome.";
/// let sections = outline(note);
/// let titles: Vec<_> = sections.iter().map(|s| &note[s.title.clone().unwrap()]).collect();
/// assert_eq!(titles, ["Service:", "Physical Exam:", "Plan:"]);
/// assert_eq!(&note[sections[1].range.clone()], "Physical Exam:\nNeck: supple\n\n");
/// ```
pub fn outline(note: &str) -> Vec<Section> {
    let note = &*line_ends::in_place(note);
    let mut sections: Vec<Section> = Vec::new();
    let mut start = |at: usize, title: Option<Range<usize>>| {
        match sections.last_mut() {
            // Nothing but white space before the first title.
            Some(open)
                if open.title.is_none() && py::strip(&note[open.range.start..at]).is_empty() =>
            {
                open.title = title;
            }
            _ => sections.push(Section {
                range: at..note.len(),
                title,
            }),
        }
    };
    if !note.is_empty() {
        start(0, None);
    }
    let (mut blank_before, mut at) = (true, 0);
    for line in note.split_inclusive('\n') {
        let content = py::strip(line);
        if is_rule(content) {
            start(at + line.len(), None);
        } else if let Some(title) = title_of(line)
            && (blank_before || content.len() == title.len())
        {
            start(at, Some(at + title.start..at + title.end));
        }
        blank_before = content.is_empty() || is_rule(content);
        at += line.len();
    }
    sections.retain(|section| section.range.start < note.len());
    for i in 1..sections.len() {
        sections[i - 1].range.end = sections[i].range.start;
    }
    sections
}

/// The title that a line starts with, as bytes of the line.
pub(crate) fn title_of(line: &str) -> Option<Range<usize>> {
    let text = line.trim_start_matches(py::is_space);
    let start = line.len() - text.len();
    if !text.starts_with(char::is_uppercase) {
        return None;
    }
    let colon = text
        .char_indices()
        .take_while(|&(at, c)| at <= MAX_TITLE && c != '\n')
        .find(|&(_, c)| c == ':')?
        .0;
    is_title(&text[..=colon]).then_some(start..start + colon + 1)
}

/// Whether a line is nothing but a run of dashes or the like.
pub(crate) fn is_rule(content: &str) -> bool {
    let first = content.chars().next().unwrap_or(' ');
    matches!(first, '-' | '_' | '=' | '*')
        && content.len() >= 3
        && content.trim_start_matches(first).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(note: &str) -> Vec<(&str, Option<&str>)> {
        outline(note)
            .into_iter()
            .map(|section| {
                (
                    &note[section.range],
                    section.title.map(|title| &note[title]),
                )
            })
            .collect()
    }

    #[test]
    fn sections_cover_the_note() {
        assert_eq!(parts(""), []);
        assert_eq!(parts("\n \n"), [("\n \n", None)]);
        assert_eq!(parts("prose: only"), [("prose: only", None)]);
        assert_eq!(
            parts("Plan:\rrest\r\rDiet:\rany"),
            [
                ("Plan:\rrest\r\r", Some("Plan:")),
                ("Diet:\rany", Some("Diet:"))
            ]
        );
        assert_eq!(
            parts("\n  Plan:\nrest\n\n---\nsigned\nSeen: today\n\nCode Status: full"),
            [
                ("\n  Plan:\nrest\n\n---\n", Some("Plan:")),
                ("signed\nSeen: today\n\n", None),
                ("Code Status: full", Some("Code Status:")),
            ]
        );
    }

    #[test]
    fn a_long_phrase_is_no_title() {
        let line = format!("{}:\n", "Word ".repeat(30).trim_end());
        assert_eq!(parts(&line), [(&*line, None)]);
    }

    #[test]
    fn rules_at_the_end_start_nothing() {
        assert_eq!(parts("a\n====\n"), [("a\n====\n", None)]);
        assert_eq!(parts("a\n===="), [("a\n====", None)]);
    }
}
