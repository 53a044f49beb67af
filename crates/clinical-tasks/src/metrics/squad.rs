//! Answers that are pieces of a text: the script of SQuAD 2.0 (`evaluate-v2.0.py`).

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use super::comparable;
use crate::{Error, Result};

/// An answer without what does not count: in lower case, without punctuation of ASCII and the words a, an, the, single
/// spaces between its words (`normalize_answer`).
///
/// ```
/// use clinical_tasks::metrics::normalized_answer;
///
/// assert_eq!(normalized_answer(" The  small, left-sided effusion. "), "small leftsided effusion");
/// ```
pub fn normalized_answer(answer: &str) -> String {
    let lower = answer.to_lowercase();
    let text: String = lower
        .chars()
        .filter(|c| !c.is_ascii_punctuation())
        .collect();
    let mut out = String::with_capacity(text.len());
    // `\b(a|an|the)\b` to a space, then single spaces between the words.
    let mut rest = &*text;
    while !rest.is_empty() {
        let inside = rest.chars().next().is_some_and(is_word);
        let end = rest.find(|c| is_word(c) != inside).unwrap_or(rest.len());
        let run = &rest[..end];
        match inside && matches!(run, "a" | "an" | "the") {
            true => out.push(' '),
            false => out.push_str(run),
        }
        rest = &rest[end..];
    }
    words(&out).collect::<Vec<_>>().join(" ")
}

/// `\w` of Python's `re`.
fn is_word(c: char) -> bool {
    let group = c.general_category_group();
    c == '_'
        || matches!(
            group,
            GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number
        )
}

/// `str.split()` of Python.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(clinical_files::is_space)
        .filter(|word| !word.is_empty())
}

/// Which words two answers share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overlap {
    /// Each word as often as both have it.
    #[default]
    Multiset,
    /// Each word once, as the study's script for decoders counts (`preprocess_radqa_gpt.py`): an answer that repeats a
    /// word is below 1 even against itself.
    PublishedSet,
}

/// Whether two answers are equal once [normalized](normalized_answer).
pub fn exact_match(truth: &str, predicted: &str) -> bool {
    normalized_answer(truth) == normalized_answer(predicted)
}

/// The harmonic mean of the shares of words that two answers have in common; where one of them has no word, 1 if the
/// other has none either, else 0.
pub fn answer_f1(truth: &str, predicted: &str, overlap: Overlap) -> f64 {
    let (truth, predicted) = (normalized_answer(truth), normalized_answer(predicted));
    let (truth, predicted): (Vec<&str>, Vec<&str>) =
        (words(&truth).collect(), words(&predicted).collect());
    if truth.is_empty() || predicted.is_empty() {
        return f64::from(u8::from(truth == predicted));
    }
    let common = match overlap {
        Overlap::Multiset => {
            let mut left: HashMap<&str, usize> = HashMap::new();
            for word in &truth {
                *left.entry(word).or_default() += 1;
            }
            let mut taken = |word: &&&str| {
                let left = left.get_mut(**word).filter(|left| **left > 0);
                left.map(|left| *left -= 1).is_some()
            };
            predicted.iter().filter(|word| taken(word)).count()
        }
        Overlap::PublishedSet => {
            let truth: HashSet<&str> = truth.iter().copied().collect();
            let predicted: HashSet<&str> = predicted.iter().copied().collect();
            truth.intersection(&predicted).count()
        }
    };
    if common == 0 {
        return 0.0;
    }
    let precision = common as f64 / predicted.len() as f64;
    let recall = common as f64 / truth.len() as f64;
    2.0 * precision * recall / (precision + recall)
}

/// The prediction for a question.
#[derive(Debug, Clone, PartialEq)]
pub struct SquadAnswer<'a> {
    /// The reference answers; none for a question without an answer.
    pub truth: Vec<&'a str>,
    /// The predicted answer, empty for none. `None`: there is no prediction, which is an error.
    pub predicted: Option<&'a str>,
    /// How much speaks for "no answer": a probability or a difference of logits. 0 for models that only write.
    pub no_answer: f64,
}

/// The scores of one question.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SquadItem {
    /// 1 where the prediction equals a reference, else 0.
    pub exact: f64,
    /// The best F1 over the references.
    pub f1: f64,
    /// Whether the question has an answer.
    pub answerable: bool,
    /// Whether an answer was predicted.
    pub answered: bool,
    /// How much speaks for "no answer".
    pub no_answer: f64,
}

/// The scores of each question, before any threshold (`get_raw_scores`).
///
/// # Errors
///
/// [`Error::Nothing`], [`Error::NoPrediction`], [`Error::NotANumber`].
pub fn squad_items(answers: &[SquadAnswer<'_>], overlap: Overlap) -> Result<Vec<SquadItem>> {
    comparable(answers.len(), answers.len())?;
    let items = answers.iter().enumerate().map(|(index, answer)| {
        let predicted = answer.predicted.ok_or(Error::NoPrediction { index })?;
        if answer.no_answer.is_nan() {
            return Err(Error::NotANumber { index });
        }
        let mut truth: Vec<&str> = answer.truth.clone();
        truth.retain(|answer| !normalized_answer(answer).is_empty());
        if truth.is_empty() {
            truth.push("");
        }
        let f1 = truth
            .iter()
            .map(|truth| answer_f1(truth, predicted, overlap));
        Ok(SquadItem {
            exact: f64::from(u8::from(
                truth.iter().any(|truth| exact_match(truth, predicted)),
            )),
            f1: f1.fold(0.0, f64::max),
            answerable: !answer.truth.is_empty(),
            answered: !predicted.is_empty(),
            no_answer: answer.no_answer,
        })
    });
    items.collect()
}

/// Scores of a whole set.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SquadScores {
    /// Share of the questions that are answered exactly.
    pub exact: f64,
    /// Mean F1.
    pub f1: f64,
    /// Questions.
    pub total: usize,
    /// Exact match and F1 of the questions with an answer; `None` without any.
    pub answerable: Option<(f64, f64)>,
    /// Exact match and F1 of the questions without one; `None` without any.
    pub unanswerable: Option<(f64, f64)>,
    /// The best exact match that a threshold can give.
    pub best_exact: BestThreshold,
    /// The best F1 that a threshold can give.
    pub best_f1: BestThreshold,
}

/// The threshold that gives the best score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BestThreshold {
    /// The best score.
    pub score: f64,
    /// Questions with a greater `no_answer` count as not answered.
    pub threshold: f64,
}

/// Exact match and F1 as `evaluate-v2.0.py` has them, questions with a `no_answer` above `threshold` counted as not
/// answered (its default: 1), and the best that another threshold would give.
///
/// ```
/// use clinical_tasks::metrics::{Overlap, SquadAnswer, squad_items, squad_scores};
///
/// let answers = [
///     SquadAnswer { truth: vec!["small effusion"], predicted: Some("a small effusion"), no_answer: 0.1 },
///     SquadAnswer { truth: vec![], predicted: Some("effusion"), no_answer: 0.7 },
/// ];
/// let scores = squad_scores(&squad_items(&answers, Overlap::Multiset)?, 1.0)?;
/// assert_eq!((scores.exact, scores.f1), (0.5, 0.5));
/// assert_eq!((scores.best_f1.score, scores.best_f1.threshold), (1.0, 0.1));
/// # Ok::<(), clinical_tasks::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Nothing`].
pub fn squad_scores(items: &[SquadItem], threshold: f64) -> Result<SquadScores> {
    comparable(items.len(), items.len())?;
    let at_threshold = |item: &SquadItem, score: f64| match item.no_answer > threshold {
        true => f64::from(u8::from(!item.answerable)),
        false => score,
    };
    let mean = |chosen: &[&SquadItem]| {
        let total = chosen.len() as f64;
        let exact: f64 = chosen
            .iter()
            .map(|item| at_threshold(item, item.exact))
            .sum();
        let f1: f64 = chosen.iter().map(|item| at_threshold(item, item.f1)).sum();
        (!chosen.is_empty()).then_some((exact / total, f1 / total))
    };
    let of = |answerable: bool| -> Vec<&SquadItem> {
        items
            .iter()
            .filter(|item| item.answerable == answerable)
            .collect()
    };
    let (exact, f1) = mean(&items.iter().collect::<Vec<_>>()).ok_or(Error::Nothing)?;
    Ok(SquadScores {
        exact,
        f1,
        total: items.len(),
        answerable: mean(&of(true)),
        unanswerable: mean(&of(false)),
        best_exact: best_threshold(items, |item| item.exact)?,
        best_f1: best_threshold(items, |item| item.f1)?,
    })
}

/// The best mean of a score over all thresholds of `no_answer` (`find_best_thresh`), and the first threshold that gives
/// it; 0 where it is best to answer nothing.
///
/// # Errors
///
/// [`Error::Nothing`].
pub fn best_threshold(
    items: &[SquadItem],
    score: impl Fn(&SquadItem) -> f64,
) -> Result<BestThreshold> {
    comparable(items.len(), items.len())?;
    let mut order: Vec<&SquadItem> = items.iter().collect();
    order.sort_by(|a, b| a.no_answer.total_cmp(&b.no_answer));
    let mut sum = items.iter().filter(|item| !item.answerable).count() as f64;
    let (mut best, mut threshold) = (sum, 0.0);
    for item in order {
        sum += match (item.answerable, item.answered) {
            (true, _) => score(item),
            (false, true) => -1.0,
            (false, false) => 0.0,
        };
        if sum > best {
            (best, threshold) = (sum, item.no_answer);
        }
    }
    Ok(BestThreshold {
        score: best / items.len() as f64,
        threshold,
    })
}

/// Which answer counts where a report was read in several windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WindowRule {
    /// That with the highest score among those that are not empty; no answer only where no window has one.
    #[default]
    Best,
    /// That of the last window, empty or not, as the study's script for T5 leaves it (`run_seq2seq_qa.py`).
    PublishedLast,
}

/// The answer of several windows, each with its answer (empty for none) and its score, such as a log-probability. `None`
/// without a window.
///
/// ```
/// use clinical_tasks::metrics::{WindowRule, window_answer};
///
/// let windows = [("effusion", -0.2), ("edema", -1.5), ("", -0.1)];
/// assert_eq!(window_answer(&windows, WindowRule::Best), Some("effusion"));
/// assert_eq!(window_answer(&windows, WindowRule::PublishedLast), Some(""));
/// ```
pub fn window_answer<'w>(windows: &[(&'w str, f64)], rule: WindowRule) -> Option<&'w str> {
    let answered = windows.iter().filter(|(answer, _)| !answer.is_empty());
    let best = answered.max_by(|a, b| a.1.total_cmp(&b.1));
    let (answer, _) = match rule {
        WindowRule::PublishedLast => windows.last()?,
        WindowRule::Best => best.or(windows.first())?,
    };
    Some(*answer)
}
