//! What words say about a full stop after them.

use crate::py;

/// Punctuation that opens a word.
pub(super) fn is_opening(c: char) -> bool {
    matches!(
        c,
        '(' | '['
            | '{'
            | '"'
            | '\''
            | '\u{201c}'
            | '\u{2018}'
            | '*'
            | '-'
            | '~'
            | '<'
            | '>'
            | '='
            | '+'
    )
}

/// How the text after a full stop starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With a lower-case letter.
    Lower,
    /// With a capital and a lower-case letter, such as `He`.
    Capitalised,
    /// With another capital, such as `CXR`.
    Capital,
    /// With a digit.
    Digit,
    /// With punctuation: a tag, a bracket, a dash.
    Other,
}

impl Start {
    pub(super) fn of(text: &str) -> Self {
        let mut chars = text
            .trim_start_matches(['"', '\'', '(', '\u{201c}'])
            .chars();
        match (chars.next(), chars.next()) {
            (Some(c), _) if c.is_lowercase() => Self::Lower,
            (Some(c), Some(next)) if c.is_uppercase() && next.is_lowercase() => Self::Capitalised,
            (Some(c), _) if c.is_uppercase() => Self::Capital,
            (Some(c), _) if c.is_ascii_digit() => Self::Digit,
            _ => Self::Other,
        }
    }
}

/// The number of a list item written `1.` or `(1.`: up to three digits.
pub(super) fn item_number(word: &str) -> Option<u32> {
    let short = (1..=3).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    short.then(|| word.parse().ok()).flatten()
}

/// Whether a sentence may end after `word.` when something else than a lower-case letter follows.
pub(super) fn may_end(word: &str, next: Start, text: &str) -> bool {
    let lower = word.to_lowercase();
    let lower = lower.as_str();
    if NEVER.contains(&lower) {
        return false;
    }
    if BEFORE_NUMBERS.contains(&lower) && (next == Start::Digit || text.starts_with('[')) {
        return false;
    }
    if FREQUENCIES.contains(&lower) || MEASURES.contains(&lower) {
        return next == Start::Capitalised;
    }
    let initial = is_letters(word) && word.chars().count() == 1;
    if initial || is_dotted(lower) || SELDOM.contains(&lower) {
        return starts_sentence(text);
    }
    true
}

/// Whether a sentence may end after `word.` when a lower-case letter follows, as in notes written
/// without capitals: only after a word that is no abbreviation.
pub(super) fn may_end_before_lower(word: &str) -> bool {
    let lower = word.to_lowercase();
    let lower = lower.as_str();
    let known = [
        NEVER,
        BEFORE_NUMBERS,
        FREQUENCIES,
        MEASURES,
        SELDOM,
        BEFORE_LOWER,
    ]
    .iter()
    .any(|list| list.contains(&lower));
    if known || is_dotted(lower) {
        return false;
    }
    let number = item_number(word).is_none() && word.ends_with(|c: char| c.is_ascii_digit());
    number || word.ends_with([')', ']', '%']) || word.len() >= 3 && is_letters(word)
}

fn is_letters(word: &str) -> bool {
    word.chars().all(char::is_alphabetic)
}

/// Single letters with full stops between them: `p.o`, `U.S`.
fn is_dotted(word: &str) -> bool {
    word.contains('.')
        && word.split('.').all(|part| {
            let mut chars = part.chars();
            chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
        })
}

/// Whether a text starts with a capitalised word that usually starts a sentence.
fn starts_sentence(text: &str) -> bool {
    if !text.starts_with(char::is_uppercase) {
        return false;
    }
    let end = text
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(text.len());
    // The longest starter is short: long words need not be copied.
    end <= 12 && STARTERS.contains(&text[..end].to_lowercase().as_str())
}

/// Whether a line cannot be complete: it ends in a comma, an opening bracket or a word that needs
/// another.
pub(super) fn is_open_ended(line: &str) -> bool {
    if line.ends_with([',', '(', '/', '&', '+']) {
        // "Sincerely," and a name are two lines.
        return line.contains(py::is_space);
    }
    let last = line.rsplit(py::is_space).next().unwrap_or(line);
    last.len() <= 8 && CONNECTORS.contains(&last.to_lowercase().as_str())
}

/// Abbreviations that need what follows, whatever it is.
const NEVER: &[&str] = &[
    "dr", "drs", "mr", "mrs", "ms", "mssrs", "prof", "rev", "hon", "st", "sgt", "lt", "capt",
    "e.g", "eg", "i.e", "ie", "vs", "v.s", "cf", "viz", "approx", "ca", "w.r.t", "s/p", "incl",
];

/// Abbreviations that need a number.
const BEFORE_NUMBERS: &[&str] = &[
    "no", "nos", "fig", "figs", "vol", "p", "pp", "ext", "tel", "ph", "rm", "apt", "ave", "q", "x",
    "gr", "ver", "art",
];

/// How often to take something. A new medication or sentence may follow.
const FREQUENCIES: &[&str] = &[
    "b.i.d", "t.i.d", "q.i.d", "q.d", "q.o.d", "q.h.s", "h.s", "p.r.n", "q.h", "q.a.m", "q.p.m",
    "a.c", "p.c", "a.m", "p.m", "o.d", "o.s", "o.u", "q.4h", "q.6h", "q.8h", "q.12h",
];

/// Units and findings. They often end a sentence, but not before a number or another abbreviation.
const MEASURES: &[&str] = &[
    "wk", "wks", "mo", "mos", "yr", "yrs", "hr", "hrs", "min", "mins", "sec", "secs", "lb", "lbs",
    "oz", "cal", "kcal", "tbsp", "tsp", "neg", "pos", "vag", "abd", "bilat", "max",
];

/// Abbreviations after which a sentence ends only if a typical first word follows.
const SELDOM: &[&str] = &[
    "jr", "sr", "inc", "ltd", "corp", "co", "blvd", "rd", "mt", "ft", "dept", "univ", "hosp",
    "assoc", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
    "pt", "pts", "hx", "dx", "tx", "sx", "cx", "fx", "est", "temp", "resp", "wt", "ht", "avg",
    "tab", "cap", "sig", "disp", "susp", "soln",
];

/// Abbreviations that are common inside sentences written without capitals.
const BEFORE_LOWER: &[&str] = &[
    "neuro", "cardio", "card", "pulm", "gen", "ext", "extr", "esp", "resp", "med", "meds", "surg",
    "hosp", "adm", "admit", "appt", "cont", "con't", "cont'd", "dc", "d/c", "diff", "dist", "etc",
    "gtt", "inj", "reg", "lab", "labs", "mod", "occ", "prev", "prox", "tabs", "caps",
];

/// Words that start sentences in notes far more often than they follow an abbreviation.
const STARTERS: &[&str] = &[
    "a",
    "after",
    "all",
    "although",
    "an",
    "as",
    "at",
    "before",
    "both",
    "but",
    "continue",
    "denies",
    "discharged",
    "due",
    "during",
    "each",
    "follow",
    "for",
    "given",
    "had",
    "has",
    "he",
    "her",
    "his",
    "however",
    "i",
    "if",
    "in",
    "is",
    "it",
    "its",
    "no",
    "not",
    "on",
    "once",
    "our",
    "over",
    "patient",
    "per",
    "please",
    "pt",
    "reports",
    "she",
    "since",
    "some",
    "such",
    "that",
    "the",
    "their",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "transferred",
    "upon",
    "was",
    "we",
    "were",
    "when",
    "while",
    "will",
    "with",
    "you",
    "your",
];

/// Words that a sentence does not end with.
const CONNECTORS: &[&str] = &[
    "a", "about", "after", "against", "an", "and", "as", "at", "before", "between", "but", "by",
    "dr.", "drs.", "during", "for", "from", "had", "has", "have", "her", "his", "in", "into", "is",
    "mr.", "mrs.", "ms.", "nor", "of", "on", "or", "our", "per", "than", "that", "the", "their",
    "through", "to", "under", "until", "via", "vs.", "was", "were", "which", "who", "with",
];
