//! Words as they are compared: however they are spelt, the same word, number or date is the same.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// What a word can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A number or a date: it is there or it is not.
    Figure,
    /// A word that says what it is about.
    Content,
    /// A word that stands in any sentence.
    Function,
}

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Bytes of the text.
    pub range: Range<usize>,
    /// What is compared.
    pub key: String,
    pub class: Class,
}

impl Word {
    pub fn is_content(&self) -> bool {
        self.class != Class::Function
    }

    /// How much it weighs among the words of a statement: a figure is what most questions are about.
    pub fn weight(&self) -> f32 {
        match self.class {
            Class::Figure => 2.0,
            Class::Content => 1.0,
            Class::Function => 0.0,
        }
    }
}

/// English words that show nothing when they are found again, and those that every answer and every note has.
static FUNCTION: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let words = "a an the this that these those there here it its he him his she her hers they them their we our you your i \
                 my me who whom whose which what when where why how is are was were be been being am do does did done has have \
                 had having can could may might must shall should will would of on in at to for from by with without into \
                 onto over under about after before during between within as than then and or but nor if so because while \
                 also any some each every both all other such own same more most very just only up down out off again s t \
                 patient patients mr mrs ms dr discharge summary note stated states according given taken prescribed performed underwent \
                 received treated treatment lasted refers known";
    words.split_whitespace().collect()
});

/// The words of a text, in order.
///
/// Letters are compared without case and without accents, whatever their Unicode form; letters with full stops between
/// them are one word (`b.i.d.`), letters next to digits two (`40mg`). Numbers lose their separators of thousands and
/// zeros that say nothing (`1,200.50` is `1200.5`); dates in figures are one word whatever their order of year, month
/// and day. Scripts that put no blanks between words give a word for each sign.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = match c {
            c if c.is_ascii_digit() => {
                let (length, key) = figure(rest);
                push(&mut found, at..at + length, key, Class::Figure);
                length
            }
            // `.5 mg`, but not `q.6h`.
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit())
                && !text[..at].ends_with(char::is_alphanumeric) =>
            {
                let (length, key) = figure(&rest[1..]);
                let fraction = format!("0.{key}");
                push(&mut found, at..at + 1 + length, fraction, Class::Figure);
                1 + length
            }
            c if stands_alone(c) => {
                push(&mut found, at..at + c.len_utf8(), c.into(), Class::Content);
                c.len_utf8()
            }
            c if c.is_alphanumeric() => {
                let length = letters(rest);
                let key = folded(&rest[..length]);
                let class = match FUNCTION.contains(key.as_str()) {
                    true => Class::Function,
                    false => Class::Content,
                };
                push(&mut found, at..at + length, key, class);
                length
            }
            c => c.len_utf8(),
        };
        at += length;
    }
    found
}

fn push(found: &mut Vec<Word>, range: Range<usize>, key: String, class: Class) {
    if !key.is_empty() {
        found.push(Word { range, key, class });
    }
}

/// Ideographs and kana: there are no blanks between their words.
fn stands_alone(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

/// The bytes of a word of letters; single letters with full stops between them belong together.
fn letters(text: &str) -> usize {
    let run = |text: &str| {
        let inside = |c: char| {
            (c.is_alphanumeric() && !c.is_ascii_digit() && !stands_alone(c)) || is_combining_mark(c)
        };
        text.find(|c: char| !inside(c)).unwrap_or(text.len())
    };
    let mut end = run(text);
    if text[..end].chars().count() != 1 {
        return end;
    }
    while let Some(rest) = text[end..].strip_prefix('.') {
        let next = run(rest);
        if next == 0 || rest[..next].chars().count() != 1 {
            break;
        }
        end += 1 + next;
    }
    end
}

/// Lower case, no accents, no full stops.
fn folded(word: &str) -> String {
    let plain = word.nfkd().filter(|&c| !is_combining_mark(c) && c != '.');
    let folded: String = plain.flat_map(char::to_lowercase).collect();
    singular(folded)
}

/// `medications` and `medication` are one word, `allergies` and `allergy`. An English plural alone: no other ending is
/// cut.
fn singular(mut word: String) -> String {
    let kept = ["ss", "us", "is"];
    if word.len() > 4 && word.ends_with("ies") {
        word.truncate(word.len() - 3);
        word.push('y');
    } else if word.len() > 3 && word.ends_with('s') && !kept.iter().any(|end| word.ends_with(end)) {
        word.pop();
    }
    word
}

/// The bytes of a number or a date that a text begins with, and its key.
fn figure(text: &str) -> (usize, String) {
    if let Some(date) = date(text) {
        return date;
    }
    let digits = |text: &str| {
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let mut end = digits(text);
    let mut key = text[..end].to_owned();
    // Groups of three after at most three digits: `1,200`, not `1,2`.
    if end <= 3 {
        while let Some(group) = text[end..].strip_prefix(',')
            && digits(group) == 3
        {
            key.push_str(&group[..3]);
            end += 4;
        }
    }
    let whole = key.trim_start_matches('0');
    let mut key = if whole.is_empty() { "0" } else { whole }.to_owned();
    if let Some(fraction) = text[end..].strip_prefix('.') {
        let length = digits(fraction);
        let kept = fraction[..length].trim_end_matches('0');
        if length > 0 {
            end += 1 + length;
        }
        if !kept.is_empty() {
            key.push('.');
            key.push_str(kept);
        }
    }
    (end, key)
}

/// Two or three numbers with `/` between them, or three with `-`: `03/10`, `2/14/2181`, `2181-02-14`.
fn date(text: &str) -> Option<(usize, String)> {
    let number = |at: usize| -> Option<(usize, u32, usize)> {
        let rest = text.get(at..)?;
        let length = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let value = rest[..length].parse().ok().filter(|_| length <= 4)?;
        Some((at + length, value, length))
    };
    let (mut end, first, long) = number(0)?;
    let mark = text[end..].chars().next().filter(|c| "/-".contains(*c))?;
    let (next, second, _) = number(end + 1)?;
    end = next;
    let third = text[end..].starts_with(mark).then(|| number(end + 1));
    match (mark, third.flatten()) {
        (_, Some((end, third, _))) => {
            // The year is the number of four digits.
            let key = match long {
                4 => format!("{first}/{second}/{third}"),
                _ => format!("{third}/{first}/{second}"),
            };
            Some((end, key))
        }
        ('/', None) => Some((end, format!("{first}/{second}"))),
        // A range such as `2-3 days` is two numbers.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        let words = words(text);
        for word in &words {
            assert!(!text[word.range.clone()].is_empty());
        }
        words.into_iter().map(|word| word.key).collect()
    }

    #[test]
    fn the_same_word_however_it_is_spelt() {
        for (one, other) in [
            ("Lisinopril 40mg p.o. b.i.d.", "lisinopril 40 MG PO bid"),
            ("1,200.50 mL", "1200.5 ml"),
            ("2181-02-14", "2/14/2181"),
            ("2181-2-14", "02/14/2181"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("Medications", "medication"),
            (".5 mg", "0.50 mg"),
            ("q.6h.", "q6h"),
            ("ﬁne", "fine"),
        ] {
            assert_eq!(keys(one), keys(other), "{one} and {other}");
        }
    }

    #[test]
    fn different_figures_stay_different() {
        for (one, other) in [
            ("40 mg", "400 mg"),
            ("0.4", "4"),
            ("1,2", "12"),
            ("12/03", "1/23"),
            ("2-3", "23"),
            ("1200", "1,20"),
            ("12345,678", "12345678"),
        ] {
            assert_ne!(keys(one), keys(other), "{one} and {other}");
        }
    }

    #[test]
    fn ranges_hold_the_spelling() {
        let text = "É 1,200 p.o.—発熱 2/14/81.";
        let found: Vec<&str> = words(text)
            .iter()
            .map(|word| &text[word.range.clone()])
            .collect();
        assert_eq!(found, ["É", "1,200", "p.o", "発", "熱", "2/14/81"]);
    }

    #[test]
    fn any_text_has_words() {
        for text in [
            "",
            ".",
            "..5",
            "5.",
            "1,",
            "1,234,",
            "1/",
            "1/2/",
            "99999999999/1/1",
            "\u{301}",
            "a.\u{301}",
            "-",
            "1-2-",
        ] {
            for word in words(text) {
                assert!(text.get(word.range).is_some());
            }
        }
    }
}
