//! Sections of a clinical note.
//!
//! [`split`] is the splitter that clinicalBERT was pretrained with, as published or with its bugs
//! fixed. It rewrites the note (white space is trimmed, one-line answers join their titles), so
//! its sections have no position in the original. [`outline`] finds where sections start by the same
//! idea, that a header is a capitalised phrase with a colon, and returns byte ranges.
//!
//! Source of [`split`] and [`is_title`]: Alsentzer et al., "Publicly Available Clinical BERT
//! Embeddings" (arXiv 1904.03323), `lm_pretraining/heuristic_tokenize.py` of
//! `EmilyAlsentzer/clinicalBERT`, taken from `wboag/mimic-tokenize`. There is no list of section
//! names: headers are found by their shape.

mod list;
mod outline;

pub use outline::{Section, outline};
pub(crate) use outline::{is_rule, title_of};

use std::borrow::Cow;

use crate::{Error, Result, line_ends, py};

/// Which version of the clinicalBERT splitter to run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Without the bugs, so that no text is lost: an item number counts only with its full stop
    /// and the first line after a title is never dropped (the two fixes that the published file
    /// asks for), and what follows `Admission Date: ... Discharge Date: ...` in its paragraph is
    /// kept. Lines may end as on any system; in the sections they end in `\n`.
    #[default]
    Fixed,
    /// Exactly as published, for comparing with the released models. Notes on which the published
    /// code fails are an error here; the published pipeline loses them silently.
    Published,
}

/// Splits a note into sections as clinicalBERT does. Titles and list items are sections too, and
/// runs of three or more dashes or underscores become `-----` or `_____`.
///
/// # Errors
/// [`Error::ListCount`] and [`Error::NothingAfterDates`], in [`Mode::Published`] only.
///
/// ```
/// use clinical_notes::sections::{Mode, split};
///
/// let note = "Allergies:\nPenicillins\n\nHistory:\n1. Asthma\n2. Gout\n";
/// let sections = split(note, Mode::Fixed)?;
/// assert_eq!(sections, ["Allergies: Penicillins", "History:", "1. Asthma", "2. Gout"]);
/// // The published code drops the first item of a list with a title.
/// let sections = split(note, Mode::Published)?;
/// assert_eq!(sections, ["Allergies: Penicillins", "History:", "2. Gout"]);
/// # Ok::<(), clinical_notes::Error>(())
/// ```
pub fn split(note: &str, mode: Mode) -> Result<Vec<String>> {
    let note = match mode {
        Mode::Fixed => line_ends::unified(note),
        Mode::Published => Cow::Borrowed(note),
    };
    let note = separate_rules(&note);
    let mut segments = Vec::new();
    // The published code now splits at rules again, but every rule already is a paragraph.
    for segment in headers(&note, mode)? {
        list::split_items(segment, mode, &mut segments)?;
    }
    let segments: Vec<&str> = segments.iter().flat_map(|s| inline_titles(s)).collect();
    Ok(join_answers(&segments, mode))
}

/// Whether a line is a section title: it ends in `:`, and each of its words starts with an
/// upper-case letter, except for `of`, `on`, `or` and what stands in parentheses. `Disp:` is not
/// one.
///
/// ```
/// use clinical_notes::sections::is_title;
///
/// assert!(is_title("History of Present Illness:"));
/// assert!(is_title("Labs (most recent):"));
/// assert!(!is_title("lungs:"));
/// assert!(!is_title("Assessment"));
/// ```
pub fn is_title(text: &str) -> bool {
    let Some(text) = text.strip_suffix(':') else {
        return false;
    };
    let text = without_parentheses(text);
    let capitalised = text
        .split(py::is_space)
        .filter(|word| !word.is_empty() && !matches!(*word, "of" | "on" | "or"))
        .all(|word| word.starts_with(char::is_uppercase));
    capitalised && text != "Disp"
}

/// Removes each `(` up to the next `)`.
fn without_parentheses(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('(') {
        let Some((_, after)) = after.split_once(')') else {
            break;
        };
        kept.push_str(before);
        rest = after;
    }
    if rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// Puts every run of three or more dashes or underscores into a paragraph of its own, and leaves
/// one blank line between paragraphs.
fn separate_rules(note: &str) -> String {
    let mut separated = String::with_capacity(note.len() + note.len() / 8);
    let mut newlines = 0;
    let mut push = |text: &str| {
        for c in text.chars() {
            newlines = if c == '\n' { newlines + 1 } else { 0 };
            if newlines <= 2 {
                separated.push(c);
            }
        }
    };
    let mut rest = note;
    while let Some(c) = rest.chars().next() {
        let (run, after) = match c {
            '-' | '_' => rest.split_at(rest.len() - rest.trim_start_matches(c).len()),
            _ => rest.split_at(rest.find(['-', '_']).unwrap_or(rest.len())),
        };
        match c {
            '-' if run.len() >= 3 => push("\n\n-----\n\n"),
            '_' if run.len() >= 3 => push("\n\n_____\n\n"),
            _ => push(run),
        }
        rest = after;
    }
    separated
}

/// Cuts every paragraph before and after each of its headers.
fn headers(note: &str, mode: Mode) -> Result<Vec<&str>> {
    let mut paragraphs = note.split("\n\n");
    let mut segments = Vec::new();
    let mut first = paragraphs.next();
    for (i, titles) in [
        ["Admission Date:", "Discharge Date:"],
        ["Date of Birth:", "Sex:"],
    ]
    .into_iter()
    .enumerate()
    {
        let Some((parts, rest)) = first.and_then(|paragraph| two_headers(paragraph, titles)) else {
            continue;
        };
        segments.extend(parts.map(py::strip));
        let rest = py::strip(rest);
        first = match mode {
            Mode::Fixed if !rest.is_empty() => Some(rest),
            _ => paragraphs.next(),
        };
        if first.is_none() && i == 0 && mode == Mode::Published {
            return Err(Error::NothingAfterDates);
        }
    }
    for mut paragraph in first.into_iter().chain(paragraphs) {
        let titles: Vec<&str> = paragraph.split('\n').filter_map(header_of_line).collect();
        for title in titles {
            // The first occurrence, as published, even if the title stands in prose before.
            let Some((before, after)) = paragraph.split_once(title) else {
                continue;
            };
            let before = py::strip(before);
            if !before.is_empty() {
                segments.push(before);
            }
            segments.push(title);
            paragraph = py::strip(after);
        }
        if !paragraph.is_empty() {
            segments.push(py::strip(paragraph));
        }
    }
    Ok(segments)
}

/// The two headers and their values when a paragraph starts `FIRST value SECOND value`, and what
/// follows that line: the regular expression `(FIRST) (.*) (SECOND) (.*)`.
fn two_headers<'t>(paragraph: &'t str, titles: [&str; 2]) -> Option<([&'t str; 4], &'t str)> {
    let (line, rest) = match paragraph.find('\n') {
        Some(end) => paragraph.split_at(end),
        None => (paragraph, ""),
    };
    let values = line.strip_prefix(titles[0])?.strip_prefix(' ')?;
    let second = format!(" {} ", titles[1]);
    let at = values.rfind(&second)?;
    let title = at + 1..at + 1 + titles[1].len();
    let parts = [
        &line[..titles[0].len()],
        &values[..at],
        &values[title.clone()],
        &values[title.end + 1..],
    ];
    Some((parts, rest))
}

/// The header that a line starts with, if any: an ASCII capital, at least one more character, the
/// first colon, and all that is a title.
fn header_of_line(line: &str) -> Option<&str> {
    if !line.starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    let colon = line.find(':').filter(|&colon| colon >= 2)?;
    Some(&line[..=colon]).filter(|header| is_title(header))
}

/// Cuts before every line that starts with a title and goes on after it.
fn inline_titles(segment: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut end) = (0, 0);
    for line in segment.split('\n') {
        if end > start && is_inline_title(line) {
            pieces.push(&segment[start..end - 1]);
            start = end;
        }
        end += line.len() + 1;
    }
    pieces.push(&segment[start..]);
    pieces
}

fn is_inline_title(line: &str) -> bool {
    let Some((title, _)) = line.split_once(": ") else {
        return false;
    };
    let plain = |c: char| c.is_ascii_alphabetic() || c == ' ';
    !title.is_empty() && title.chars().all(plain) && is_title(&line[..=title.len()])
}

/// Joins a one-line segment to the title before it, when a title or nothing follows.
fn join_answers(segments: &[&str], mode: Mode) -> Vec<String> {
    let titles: Vec<bool> = segments.iter().map(|segment| is_title(segment)).collect();
    let mut joined: Vec<String> = Vec::with_capacity(segments.len());
    for (i, segment) in segments.iter().enumerate() {
        let answers = i > 0 && titles[i - 1] && !titles[i] && !segment.contains('\n');
        match joined.last_mut() {
            Some(title) if answers => {
                if titles.get(i + 1).is_none_or(|&next| next) {
                    title.push(' ');
                    title.push_str(segment);
                } else if mode == Mode::Fixed {
                    joined.push(segment.to_string());
                } // As published: otherwise the segment is lost.
            }
            _ => joined.push(segment.to_string()),
        }
    }
    joined
}
