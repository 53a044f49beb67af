//! Passages that make an answer likelier.
//!
//! A prompt with one section of the note alone, against one without a note, tells what the section is worth; the section
//! without one of its sentences tells where that stands. So each token of the note is read about once more. Leaving
//! each section out of the whole note instead would read what follows it each time, several notes for one answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use clinical_generate::{Score, score_batch};
use clinical_notes::sections::outline;
use clinical_notes::sentences::sentences;

use super::quotes::statements;
use super::words::words;
use super::{Evidence, EvidenceKind};
use crate::Result;
use crate::answer::Answer;
use crate::ask::Asked;
use crate::plan::Part;
use crate::prefix::goes_on;

/// A section that makes a statement less than *e* times as likely is not evidence.
const SECTION: f32 = 1.0;

/// The same for a sentence of such a section.
const SENTENCE: f32 = 0.5;

/// A sentence counts beside the best one if it is worth at least this part of it.
const BESIDE: f32 = 0.5;

/// The most sentences for one statement.
const SENTENCES: usize = 3;

/// A note without sections is cut into this many pieces, if they are not too short or too long.
const PIECES: usize = 8;
const PIECE: Range<usize> = 160..1200;

/// The passages for each statement of an answer, and how many tokens were read to find them.
pub(super) fn used(
    asked: &Asked<'_>,
    part: &Part,
    answer: &Answer,
) -> Result<(Vec<Evidence>, usize)> {
    let note = &asked.note[part.range.clone()];
    let statements = of_tokens(answer);
    let mut scorer = Scorer {
        asked,
        answer: answer.tokens.iter().map(|token| token.id).collect(),
        read: 0,
        allowed: part.ids.len() + answer.tokens.len(),
    };
    if statements.is_empty() {
        return Ok((Vec::new(), 0));
    }
    // Sections that share words with question and answer first.
    let mut sections = pieces(note);
    let overlap = overlap(note, asked.question, &answer.text, &sections);
    let mut order: Vec<usize> = (0..sections.len()).collect();
    order.sort_by(|&a, &b| overlap[b].total_cmp(&overlap[a]));
    sections = order.into_iter().map(|at| sections[at].clone()).collect();
    let texts: Vec<String> = std::iter::once(String::new())
        .chain(sections.iter().map(|range| note[range.clone()].to_owned()))
        .collect();
    // Half of what may be read is for the sentences.
    let scores = scorer.score(&texts, scorer.allowed / 2, 2)?;
    let (none, scores) = match scores.split_first() {
        Some((none, scores)) if !scores.is_empty() => (none, scores),
        _ => return Ok((Vec::new(), scorer.read)),
    };

    let mut evidence = Vec::new();
    let mut inside: HashMap<usize, Sentences> = HashMap::new();
    for (range, tokens) in statements {
        let worth = |score: &Score| sum(score, &tokens) - sum(none, &tokens);
        let best =
            (0..scores.len()).max_by(|&a, &b| worth(&scores[a]).total_cmp(&worth(&scores[b])));
        let Some(best) = best.filter(|&best| worth(&scores[best]) >= SECTION) else {
            continue;
        };
        let found = match inside.entry(best) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(scorer.sentences(note, &sections[best])?),
        };
        for (place, score) in found.passages(&scores[best], &tokens, worth(&scores[best])) {
            evidence.push(Evidence {
                answer: range.clone(),
                note: place.start + part.range.start..place.end + part.range.start,
                kind: EvidenceKind::Used,
                score,
            });
        }
    }
    Ok((evidence, scorer.read))
}

/// The statements of an answer, each with its tokens.
fn of_tokens(answer: &Answer) -> Vec<(Range<usize>, Range<usize>)> {
    let tokens = &answer.tokens;
    let statements = statements(&answer.text, &words(&answer.text)).into_iter();
    let statements = statements.map(|statement| {
        let range = statement.range;
        let first = tokens.partition_point(|token| token.range.end <= range.start);
        let end = tokens.partition_point(|token| token.range.start < range.end);
        (range, first..end.max(first))
    });
    statements
        .filter(|(_, tokens)| !tokens.is_empty())
        .collect()
}

fn sum(score: &Score, tokens: &Range<usize>) -> f32 {
    score
        .log_probs
        .get(tokens.clone())
        .map_or(0.0, |all| all.iter().sum())
}

/// A section without each of its sentences.
struct Sentences {
    section: Range<usize>,
    /// Each sentence that was left out, and the score without it.
    without: Vec<(Range<usize>, Score)>,
}

impl Sentences {
    /// The sentences that a statement is least likely without; the whole section where none stands out.
    fn passages(
        &self,
        whole: &Score,
        tokens: &Range<usize>,
        worth: f32,
    ) -> Vec<(Range<usize>, f32)> {
        let drop = |score: &Score| sum(whole, tokens) - sum(score, tokens);
        let mut drops: Vec<(Range<usize>, f32)> = self
            .without
            .iter()
            .map(|(range, score)| (range.clone(), drop(score)))
            .collect();
        drops.sort_by(|a, b| b.1.total_cmp(&a.1));
        let least = drops
            .first()
            .map_or(0.0, |(_, best)| BESIDE * best)
            .max(SENTENCE);
        drops.retain(|(_, drop)| *drop >= least);
        drops.truncate(SENTENCES);
        match drops.is_empty() {
            true => vec![(self.section.clone(), worth)],
            false => drops,
        }
    }
}

/// Asks the model how likely the answer is after other notes.
struct Scorer<'a> {
    asked: &'a Asked<'a>,
    answer: Vec<u32>,
    read: usize,
    allowed: usize,
}

impl Scorer<'_> {
    /// The scores of the answer after the first of these texts in place of the note: as many as may be read, at least
    /// `least`.
    fn score(&mut self, texts: &[String], allowed: usize, least: usize) -> Result<Vec<Score>> {
        let prompter = &self.asked.prompter;
        let model = prompter.model;
        let prompts = texts
            .iter()
            .map(|text| prompter.ids(text, self.asked.question));
        let prompts = prompts.collect::<Result<Vec<_>>>()?;
        let rows: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let prefix = model.prompt_prefix(prompter, &rows)?;
        let prefix = prefix.filter(|prefix| rows.iter().all(|ids| goes_on(ids, prefix.ids())));
        let shared = prefix.as_ref().map_or(0, |prefix| prefix.ids().len());
        let mut pairs: Vec<(&[u32], &[u32])> = Vec::new();
        let mut cost = 0;
        for ids in rows {
            let next = ids.len() - shared + self.answer.len();
            if pairs.len() >= least && cost + next > allowed {
                break;
            }
            cost += next;
            pairs.push((&ids[shared..], &self.answer));
        }
        self.read += cost;
        Ok(match prefix {
            Some(prefix) => prefix.score_batch(model.model(), &pairs)?,
            None => score_batch(model.model(), &pairs)?,
        })
    }

    /// Leaves each sentence of a section out, from its first one on, as far as may be read.
    fn sentences(&mut self, note: &str, section: &Range<usize>) -> Result<Sentences> {
        let text = &note[section.clone()];
        let mut found = sentences(text);
        // Without its only sentence a section is no note, which is known already.
        if found.len() == 1 {
            found.clear();
        }
        let texts: Vec<String> = found
            .iter()
            .map(|range| joined(&text[..range.start], &text[range.end..]))
            .collect();
        let allowed = self.allowed.saturating_sub(self.read);
        let scores = match texts.is_empty() {
            true => Vec::new(),
            false => self.score(&texts, allowed, 0)?,
        };
        let without = found.into_iter().zip(scores);
        Ok(Sentences {
            section: trimmed(note, section),
            without: without
                .map(|(range, score)| {
                    (
                        range.start + section.start..range.end + section.start,
                        score,
                    )
                })
                .collect(),
        })
    }
}

/// Two texts with white space between them: what they make together must be no word, and no token, of neither.
fn joined(before: &str, after: &str) -> String {
    let apart = before.ends_with(char::is_whitespace) || after.starts_with(char::is_whitespace);
    let between = if apart { "" } else { "\n" };
    [before, between, after].concat()
}

/// A range without white space at its ends.
fn trimmed(text: &str, range: &Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + part.len() - part.trim_start().len();
    start..(range.start + part.trim_end().len()).max(start)
}

/// How many words of question and answer each piece has, rare words of the note counting more.
fn overlap(note: &str, question: &str, answer: &str, pieces: &[Range<usize>]) -> Vec<f32> {
    let mut wanted: HashMap<String, f32> = HashMap::new();
    for word in words(question).into_iter().chain(words(answer)) {
        if word.is_content() {
            wanted.insert(word.key, 0.0);
        }
    }
    let found = words(note);
    for word in &found {
        if let Some(count) = wanted.get_mut(&word.key) {
            *count += 1.0;
        }
    }
    let mut overlap = vec![0.0; pieces.len()];
    for word in &found {
        let at = pieces.partition_point(|piece| piece.end <= word.range.start);
        if let (Some(count), Some(overlap)) = (wanted.get(&word.key), overlap.get_mut(at)) {
            *overlap += 1.0 / count.max(1.0);
        }
    }
    overlap
}

/// The sections of a note, in order, without gaps; long ones are cut at ends of lines or sentences.
fn pieces(note: &str) -> Vec<Range<usize>> {
    let longest = (note.len() / PIECES).clamp(PIECE.start, PIECE.end);
    let mut pieces = Vec::new();
    for section in outline(note) {
        let range = section.range;
        if range.len() <= longest {
            pieces.push(range);
            continue;
        }
        // Ends of sentences; where they stand on lines of their own, those are ends of lines.
        let mut start = range.start;
        let mut end = range.start;
        for sentence in sentences(&note[range.clone()]) {
            let next = range.start + sentence.end;
            if next - start > longest && end > start {
                pieces.push(start..end);
                start = end;
            }
            end = next;
        }
        pieces.push(start..range.end);
    }
    pieces.retain(|range| !note[range.clone()].trim().is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hold_all_words_in_order() {
        let long = "Sentence number one is here. Another one follows it. ".repeat(40);
        for note in [
            "",
            "x",
            "Service: MEDICINE\n\nPlan:\nHome.",
            &long,
            &format!("Plan:\n{long}\n\nLabs:\n{}", "K 4.1\n".repeat(300)),
            &"é".repeat(5000),
        ] {
            let pieces = pieces(note);
            let mut end = 0;
            for piece in &pieces {
                assert!(piece.start >= end && note[end..piece.start].trim().is_empty());
                end = piece.end;
            }
            assert!(note[end..].trim().is_empty());
            assert!(note.len() < 2000 || pieces.len() > 1 || !note.contains(' '));
        }
    }

    #[test]
    fn what_is_left_makes_no_new_token() {
        assert_eq!(joined("a</", "s> b"), "a</\ns> b");
        assert_eq!(joined("One. ", "Three."), "One. Three.");
        assert_eq!(joined("One.", "\nThree."), "One.\nThree.");
    }

    #[test]
    fn the_piece_with_rare_words_of_the_question_is_first() {
        let note = "Allergies: penicillin\nCourse: pneumonia, pneumonia\n";
        let pieces = [0..22, 22..note.len()];
        let overlap = overlap(
            note,
            "Which penicillin allergy?",
            "Penicillin and pneumonia.",
            &pieces,
        );
        assert!(overlap[0] > overlap[1], "{overlap:?}");
    }
}
