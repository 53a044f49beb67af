//! From the label of each token to spans.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::numbers::argmax;
use crate::Error;
use crate::error::unknown;

/// How the labels of tokens become spans: the strategies of `transformers`' `TokenClassificationPipeline`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Aggregation {
    /// One span for each token, with the label as it is (`B-problem`).
    None,
    /// Neighbouring tokens of one kind are one span; `B-` starts another. A word may be cut in two.
    Simple,
    /// As [`Simple`](Self::Simple) over whole words, each with the label of its first token. The only one that fits
    /// models of the published `run_ner.py`, which label the later pieces of a word `X`.
    #[default]
    First,
    /// As [`Simple`](Self::Simple) over whole words, each with the best label of the mean of its tokens' probabilities.
    Average,
    /// As [`Simple`](Self::Simple) over whole words, each with the label of its surest token.
    Max,
}

impl std::str::FromStr for Aggregation {
    type Err = Error;

    /// The names of `transformers`: `none`, `simple`, `first`, `average`, `max`.
    fn from_str(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "none" => Self::None,
            "simple" => Self::Simple,
            "first" => Self::First,
            "average" => Self::Average,
            "max" => Self::Max,
            _ => {
                return Err(unknown(
                    "aggregation",
                    name,
                    "none, simple, first, average, max",
                ));
            }
        })
    }
}

/// A labelled span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entity {
    /// The kind, without `B-` or `I-` (with it for [`Aggregation::None`]).
    pub label: String,
    /// Bytes of the caller's text; written as `start` and `end`.
    #[serde(flatten)]
    pub range: Range<usize>,
    /// The mean probability of the label over the words of the span (or its tokens).
    pub score: f32,
}

/// A token and the probability of each label.
#[derive(Debug, Clone)]
pub(super) struct Scored {
    pub(super) bytes: Range<usize>,
    /// Whether it continues the word of the token before it.
    pub(super) continues: bool,
    pub(super) scores: Vec<f32>,
}

/// A token or word with its label.
struct Labelled {
    label: usize,
    score: f32,
    bytes: Range<usize>,
}

/// The spans of a text, except those whose label is in `ignore`.
pub(super) fn entities(
    tokens: &[Scored],
    labels: &[String],
    aggregation: Aggregation,
    ignore: &[String],
) -> Vec<Entity> {
    let units: Vec<Labelled> = match aggregation {
        Aggregation::None | Aggregation::Simple => tokens
            .iter()
            .map(|token| labelled(&token.scores, token.bytes.clone()))
            .collect(),
        Aggregation::First | Aggregation::Average | Aggregation::Max => words(tokens)
            .map(|word| {
                let bytes = word[0].bytes.start..word[word.len() - 1].bytes.end;
                match aggregation {
                    Aggregation::Average => labelled(&mean(word), bytes),
                    Aggregation::Max => labelled(&surest(word).scores, bytes),
                    _ => labelled(&word[0].scores, bytes),
                }
            })
            .collect(),
    };
    let name = |unit: &Labelled| labels.get(unit.label).map_or("", String::as_str);
    let groups = units.chunk_by(|before, unit| {
        let (starts, kind) = kind(name(unit));
        aggregation != Aggregation::None && !starts && kind == self::kind(name(before)).1
    });
    groups
        .map(|group| {
            let label = name(&group[0]);
            Entity {
                label: match aggregation {
                    Aggregation::None => label.to_owned(),
                    _ => kind(label).1.to_owned(),
                },
                range: group[0].bytes.start..group[group.len() - 1].bytes.end,
                score: group.iter().map(|unit| unit.score).sum::<f32>() / group.len() as f32,
            }
        })
        .filter(|entity| !ignore.contains(&entity.label))
        .collect()
}

/// Whether a label starts a span, and the kind of the span.
fn kind(label: &str) -> (bool, &str) {
    match (label.strip_prefix("B-"), label.strip_prefix("I-")) {
        (Some(kind), _) => (true, kind),
        (None, Some(kind)) => (false, kind),
        (None, None) => (false, label),
    }
}

fn labelled(scores: &[f32], bytes: Range<usize>) -> Labelled {
    let label = argmax(scores);
    Labelled {
        label,
        score: scores[label],
        bytes,
    }
}

fn words(tokens: &[Scored]) -> impl Iterator<Item = &[Scored]> {
    tokens.chunk_by(|_, token| token.continues)
}

fn mean(word: &[Scored]) -> Vec<f32> {
    let mut mean = vec![0.0; word[0].scores.len()];
    for token in word {
        for (sum, score) in mean.iter_mut().zip(&token.scores) {
            *sum += score / word.len() as f32;
        }
    }
    mean
}

/// The first of the tokens with the largest probability of any label.
fn surest(word: &[Scored]) -> &Scored {
    let tops: Vec<f32> = word
        .iter()
        .map(|token| token.scores[argmax(&token.scores)])
        .collect();
    &word[argmax(&tops)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 5] = ["O", "B-test", "I-test", "B-drug", "X"];

    /// Tokens of two bytes each, with the label's probability and the next label's; `+` before a label continues a
    /// word.
    fn tokens(labels: &[(&str, f32)]) -> Vec<Scored> {
        let place = |label: &str| LABELS.iter().position(|&known| known == label).unwrap();
        labels
            .iter()
            .enumerate()
            .map(|(index, (label, score))| {
                let mut scores = vec![(1.0 - score) / 4.0; 5];
                scores[place(label.trim_start_matches('+'))] = *score;
                Scored {
                    bytes: index * 2..index * 2 + 2,
                    continues: label.starts_with('+'),
                    scores,
                }
            })
            .collect()
    }

    fn found(labels: &[(&str, f32)], aggregation: Aggregation) -> Vec<(String, Range<usize>)> {
        let names = LABELS.map(str::to_owned);
        let ignore = ["O".to_owned(), "X".to_owned()];
        let spans = entities(&tokens(labels), &names, aggregation, &ignore);
        spans
            .into_iter()
            .map(|entity| (entity.label, entity.range))
            .collect()
    }

    fn span(label: &str, range: Range<usize>) -> (String, Range<usize>) {
        (label.to_owned(), range)
    }

    #[test]
    fn b_starts_and_i_continues_or_starts_after_another_kind() {
        let labels = [
            ("I-test", 0.9),
            ("I-test", 0.9),
            ("B-test", 0.9),
            ("O", 0.9),
            ("I-test", 0.9),
            ("B-drug", 0.9),
            ("B-drug", 0.9),
            ("I-test", 0.9),
        ];
        let expected = [
            span("test", 0..4),
            span("test", 4..6),
            span("test", 8..10),
            span("drug", 10..12),
            span("drug", 12..14),
            span("test", 14..16),
        ];
        assert_eq!(found(&labels, Aggregation::Simple), expected);
        assert_eq!(found(&labels, Aggregation::First), expected);
        assert_eq!(
            found(&labels[..1], Aggregation::None),
            [span("I-test", 0..2)]
        );
    }

    #[test]
    fn words_agree() {
        let labels = [("B-test", 0.5), ("+B-drug", 0.9), ("+O", 0.6), ("O", 0.9)];
        assert_eq!(
            found(&labels, Aggregation::Simple),
            [span("test", 0..2), span("drug", 2..4)]
        );
        assert_eq!(found(&labels, Aggregation::First), [span("test", 0..6)]);
        assert_eq!(found(&labels, Aggregation::Max), [span("drug", 0..6)]);
        // The means are 0.325 for O (0.125, 0.025, 0.6 plus nothing else large), 0.375 for the drug.
        assert_eq!(found(&labels, Aggregation::Average), [span("drug", 0..6)]);
    }

    #[test]
    fn later_pieces_labelled_x_do_not_cut_a_span() {
        let labels = [
            ("B-test", 0.9),
            ("+X", 0.9),
            ("I-test", 0.9),
            ("+X", 0.9),
            ("O", 0.9),
        ];
        assert_eq!(found(&labels, Aggregation::First), [span("test", 0..8)]);
        assert_eq!(found(&labels, Aggregation::Simple).len(), 2);
    }

    #[test]
    fn scores_are_means() {
        let names = LABELS.map(str::to_owned);
        let spans = entities(
            &tokens(&[("B-test", 0.9), ("I-test", 0.5)]),
            &names,
            Aggregation::Simple,
            &[],
        );
        assert!((spans[0].score - 0.7).abs() < 1e-6);
        assert!(entities(&[], &names, Aggregation::First, &[]).is_empty());
    }
}
