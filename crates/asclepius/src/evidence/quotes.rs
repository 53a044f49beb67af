//! Words of an answer that stand in the note.

use std::collections::HashMap;
use std::ops::Range;

use clinical_notes::sections::outline;
use clinical_notes::sentences::sentences;

use super::words::{Class, Word, words};
use super::{Evidence, EvidenceKind};

/// A sentence beside the one that is looked at counts for so much.
const NEIGHBOUR: f32 = 0.25;

/// The title of a section counts for so much in each of its sentences.
const TITLE: f32 = 0.75;

/// What was found, and what was not.
pub(super) struct Quotes {
    pub evidence: Vec<Evidence>,
    /// Statements of the answer of which a figure is nowhere in the note, or half of the words.
    pub missing: Vec<Missing>,
}

/// A statement that is not quoted.
pub(super) struct Missing {
    /// Bytes of the answer.
    pub statement: Range<usize>,
    /// Whether one of its figures is missing.
    pub figure: bool,
}

/// A statement of an answer: a sentence with its words.
pub(super) struct Statement {
    pub range: Range<usize>,
    pub words: Range<usize>,
}

/// The sentences of an answer, which hold all of its words.
pub(super) fn statements(answer: &str, words: &[Word]) -> Vec<Statement> {
    let ranges = sentences(answer).into_iter();
    let statements = ranges.map(|range| {
        let first = words.partition_point(|word| word.range.start < range.start);
        let end = words.partition_point(|word| word.range.start < range.end);
        let words = first..end.max(first);
        Statement { range, words }
    });
    statements.collect()
}

/// Finds what an answer says in the note: longest common runs of words, each where its surroundings fit the question
/// best.
pub(super) fn quotes(note: &str, question: &str, answer: &str) -> Quotes {
    let answer_words = words(answer);
    let asked = words(question);
    let text = NoteText::new(note, &answer_words, &asked);
    let mut evidence = Vec::new();
    let mut missing = Vec::new();
    for statement in statements(answer, &answer_words) {
        let of = &answer_words[statement.words.clone()];
        // What the question says already is no news.
        let new =
            |word: &Word| word.is_content() && !asked.iter().any(|other| other.key == word.key);
        let weight =
            |words: &[Word]| -> f32 { words.iter().filter(|w| new(w)).map(Word::weight).sum() };
        let (total, news) = (weigh(of), weight(of));
        let runs = text.runs(of);
        let found: f32 = runs.iter().map(|run| weight(&of[run.words.clone()])).sum();
        let mut shown = vec![false; of.len()];
        for run in runs {
            let part = &of[run.words.clone()];
            // One word may stand anywhere: it counts where the question is answered, or where most of the statement is
            // found.
            let alone = part.iter().filter(|word| word.is_content()).count() == 1
                && part.iter().all(|word| word.class != Class::Figure);
            if alone && !run.fits && (news == 0.0 || found <= 0.5 * news) {
                continue;
            }
            shown[run.words.clone()].fill(true);
            let answer = part[0].range.start..part[part.len() - 1].range.end;
            evidence.push(Evidence {
                answer,
                note: run.note,
                kind: EvidenceKind::Quote,
                score: weigh(part) / total,
            });
        }
        let seen = of
            .iter()
            .zip(&shown)
            .filter(|(word, shown)| **shown && new(word));
        let seen: f32 = seen.map(|(word, _)| word.weight()).sum();
        let figure = of
            .iter()
            .zip(&shown)
            .any(|(word, shown)| word.class == Class::Figure && !shown && new(word));
        if news > 0.0 && (figure || 2.0 * seen < news) {
            missing.push(Missing {
                statement: statement.range,
                figure,
            });
        }
    }
    Quotes { evidence, missing }
}

fn weigh(words: &[Word]) -> f32 {
    words.iter().map(Word::weight).sum()
}

/// Words of a statement that stand one after another in the note.
struct Run {
    /// Of the statement.
    words: Range<usize>,
    /// Bytes of the note.
    note: Range<usize>,
    /// Whether something of the question stands there, too.
    fits: bool,
}

/// The note, as it is searched.
struct NoteText {
    words: Vec<Word>,
    /// The key of each word as a number.
    keys: Vec<u32>,
    numbers: HashMap<String, u32>,
    /// Where each key stands.
    places: Vec<Vec<u32>>,
    /// The sentence of each word.
    sentence: Vec<u32>,
    /// How well each sentence fits question and answer together, and the question alone.
    fit: Vec<(f32, bool)>,
}

impl NoteText {
    fn new(note: &str, answer: &[Word], asked: &[Word]) -> Self {
        let found = words(note);
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut places: Vec<Vec<u32>> = Vec::new();
        let mut keys = Vec::with_capacity(found.len());
        for (at, word) in found.iter().enumerate() {
            let key = *numbers.entry(word.key.clone()).or_insert_with(|| {
                places.push(Vec::new());
                places.len() as u32 - 1
            });
            keys.push(key);
            places[key as usize].push(at as u32);
        }
        let borders = sentences(note);
        let sentence: Vec<u32> = found
            .iter()
            .map(|word| borders.partition_point(|range| range.end <= word.range.start) as u32)
            .collect();
        let mut text = Self {
            words: found,
            keys,
            numbers,
            places,
            sentence,
            fit: vec![(0.0, false); borders.len() + 1],
        };
        text.weigh_sentences(note, &borders, answer, asked);
        text
    }

    /// Each word of the question or the answer counts once a sentence, rare ones of the note more.
    fn weigh_sentences(
        &mut self,
        note: &str,
        borders: &[Range<usize>],
        answer: &[Word],
        asked: &[Word],
    ) {
        let mut wanted: HashMap<u32, bool> = HashMap::new();
        for (words, of_question) in [(answer, false), (asked, true)] {
            for word in words.iter().filter(|word| word.is_content()) {
                if let Some(&key) = self.numbers.get(&word.key) {
                    *wanted.entry(key).or_default() |= of_question;
                }
            }
        }
        let mut own = vec![(0.0, false); self.fit.len()];
        for (&key, &of_question) in &wanted {
            let places = &self.places[key as usize];
            let rare = 1.0 / (1.0 + (places.len() as f32).ln());
            let mut last = None;
            for &at in places {
                let sentence = self.sentence[at as usize] as usize;
                if last != Some(sentence) {
                    own[sentence].0 += rare;
                    own[sentence].1 |= of_question;
                    last = Some(sentence);
                }
            }
        }
        for at in 0..own.len() {
            let before = at.checked_sub(1).map_or(0.0, |at| own[at].0);
            let after = own.get(at + 1).map_or(0.0, |own| own.0);
            let (score, fits) = own[at];
            self.fit[at] = (score + NEIGHBOUR * (before + after), fits);
        }
        for section in outline(note) {
            let Some(title) = section.title else { continue };
            let title = words(&note[title]);
            let keys: Vec<u32> = title
                .iter()
                .filter_map(|word| self.numbers.get(&word.key).copied())
                .collect();
            let found: Vec<bool> = keys
                .iter()
                .filter_map(|key| wanted.get(key).copied())
                .collect();
            if found.is_empty() {
                continue;
            }
            let first = borders.partition_point(|range| range.end <= section.range.start);
            let end = borders.partition_point(|range| range.start < section.range.end);
            for fit in &mut self.fit[first..end.max(first)] {
                fit.0 += TITLE * found.len() as f32;
                fit.1 |= found.contains(&true);
            }
        }
    }

    /// The longest runs of a statement in the note, from its first word on.
    fn runs(&self, statement: &[Word]) -> Vec<Run> {
        let keys: Vec<Option<u32>> = statement
            .iter()
            .map(|word| self.numbers.get(&word.key).copied())
            .collect();
        let mut runs = Vec::new();
        let mut at = 0;
        while at < statement.len() {
            let (Some(key), true) = (keys[at], statement[at].is_content()) else {
                at += 1;
                continue;
            };
            let mut best: Option<(f32, f32, usize, usize)> = None;
            for &place in &self.places[key as usize] {
                let place = place as usize;
                let pairs = keys[at..].iter().zip(&self.keys[place..]);
                let mut length = pairs
                    .take_while(|(own, other)| **own == Some(**other))
                    .count();
                // What is quoted begins and ends with words that say something.
                while !statement[at + length - 1].is_content() {
                    length -= 1;
                }
                let weight = weigh(&statement[at..at + length]);
                let fit = self.fit[self.sentence[place] as usize].0;
                if best.is_none_or(|(w, f, ..)| (weight, fit) > (w, f)) {
                    best = Some((weight, fit, place, length));
                }
            }
            let Some((_, _, place, length)) = best else {
                at += 1;
                continue;
            };
            let last = &self.words[place + length - 1];
            runs.push(Run {
                words: at..at + length,
                note: self.words[place].range.start..last.range.end,
                fits: self.fit[self.sentence[place] as usize].1,
            });
            at += length;
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: &str = "Service: MEDICINE\n\nPertinent Results: K 4.1, Cr 1.2\n\nHospital Course: She received aspirin 81 mg \
                        once. He advised daily weights.\n\nMedications on Discharge:\n1. Lisinopril 40 mg p.o. daily\n\
                        2. Aspirin 81 mg p.o. daily\n\nDischarge Diagnosis: pneumonia";

    fn found(question: &str, answer: &str) -> (Vec<(String, String, usize)>, Vec<String>) {
        let quotes = quotes(NOTE, question, answer);
        let line = |range: &Range<usize>| NOTE[..range.start].matches('\n').count();
        let evidence = quotes.evidence.iter().map(|evidence| {
            assert!(evidence.score > 0.0 && evidence.score <= 1.0);
            (
                answer[evidence.answer.clone()].to_owned(),
                NOTE[evidence.note.clone()].to_owned(),
                line(&evidence.note),
            )
        });
        let unsupported = quotes
            .missing
            .iter()
            .map(|missing| answer[missing.statement.clone()].to_owned());
        (evidence.collect(), unsupported.collect())
    }

    fn one(answer: &str, note: &str, line: usize) -> (String, String, usize) {
        (answer.to_owned(), note.to_owned(), line)
    }

    #[test]
    fn the_place_that_fits_the_question_is_quoted() {
        let (evidence, unsupported) = found(
            "What dose of lisinopril is taken at discharge?",
            "The dose is 40mg.",
        );
        assert_eq!(evidence, [one("40mg", "40 mg", 7)]);
        assert!(unsupported.is_empty());
        let (evidence, _) = found(
            "Which dose of aspirin is on the medication list at discharge?",
            "81 mg of aspirin",
        );
        assert!(
            evidence.contains(&one("aspirin", "Aspirin", 8)),
            "{evidence:?}"
        );
        let (evidence, _) = found(
            "What is the discharge diagnosis?",
            "The diagnosis was Pneumonia.",
        );
        assert!(
            evidence.contains(&one("Pneumonia", "pneumonia", 10)),
            "{evidence:?}"
        );
    }

    #[test]
    fn figures_that_the_note_does_not_have_are_unsupported() {
        let (_, unsupported) = found(
            "What dose of lisinopril?",
            "Lisinopril 400 mg p.o. daily. It is for pneumonia.",
        );
        assert_eq!(unsupported, ["Lisinopril 400 mg p.o. daily."]);
        let (evidence, unsupported) = found("What was given?", "She received vancomycin.");
        assert_eq!((evidence.len(), unsupported.len()), (0, 1));
    }

    #[test]
    fn a_word_that_stands_anywhere_is_no_quote() {
        let (evidence, unsupported) =
            found("How often does she bathe?", "She bathes thrice daily.");
        assert!(evidence.is_empty(), "{evidence:?}");
        assert_eq!(unsupported.len(), 1);
    }

    #[test]
    fn an_answer_without_words_is_neither() {
        for answer in ["", "...", "It is.", "\u{301}"] {
            assert_eq!(found("What?", answer), (Vec::new(), Vec::new()), "{answer}");
        }
        assert!(quotes("", "What?", "Pneumonia.").evidence.is_empty());
    }

    #[test]
    fn much_of_one_word_takes_no_time() {
        let note = "mg ".repeat(200_000);
        let quotes = quotes(&note, "mg?", &"mg ".repeat(300));
        assert_eq!(quotes.evidence.len(), 1);
    }
}
