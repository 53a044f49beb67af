//! A threshold below which answers are not shown, chosen so that a promised risk holds.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Fewer labelled answers are refused.
const LEAST: usize = 100;

/// Steps of coverage in the curve.
const CURVE: usize = 20;

/// A file of a calibration is a few kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// A threshold that cannot be chosen, or a file with one that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// What is wrong, and what to do.
    #[error("calibration: {0}")]
    Refused(String),
    /// The file cannot be read or written.
    #[error(transparent)]
    Files(#[from] clinical_files::Error),
}

type Result<T> = std::result::Result<T, CalibrationError>;

/// An answer that a person has judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LabelledAnswer {
    /// The higher, the surer: `asclepius::Support::score`, `clinical_bert::SpanAnswer::score`, or any other number of
    /// the kind. Minus infinity for an answer that says itself that the note does not tell: it shows nothing that could
    /// be wrong.
    pub score: f64,
    /// Whether it was right.
    pub right: bool,
}

/// What a calibration promises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationOptions {
    target_risk: f64,
    confidence: Option<f64>,
}

impl Default for CalibrationOptions {
    fn default() -> Self {
        Self {
            target_risk: 0.05,
            confidence: Some(0.95),
        }
    }
}

impl CalibrationOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The largest part of all questions, above 0 and below 1, whose answer may be shown and wrong. Default: 0.05.
    #[must_use]
    pub fn with_target_risk(mut self, risk: f64) -> Self {
        self.target_risk = risk;
        self
    }

    /// How sure the promise is, above 0 and below 1: in this part of all draws of labelled answers the risk is at most
    /// the target (risk-controlling prediction sets, Bates et al. 2021, arXiv 2101.02703, with the exact binomial
    /// bound). `None` promises the target for the mean over draws alone (conformal risk control, Angelopoulos et al.
    /// 2022, arXiv 2208.02814), which shows a few more answers. Default: 0.95.
    #[must_use]
    pub fn with_confidence(mut self, confidence: impl Into<Option<f64>>) -> Self {
        self.confidence = confidence.into();
        self
    }
}

/// One point of the curve of coverage and risk on the labelled answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CoveragePoint {
    /// Answers with this score and higher are shown.
    pub threshold: f64,
    /// The part of all questions whose answer is shown.
    pub coverage: f64,
    /// The part of the shown answers that are wrong.
    pub risk: f64,
}

/// A threshold for the score of answers, with what it promises and for which model.
///
/// The promise is about questions and notes of the kind that was labelled, answered by that model: a calibration on one
/// ward's notes says nothing about another's.
///
/// ```
/// use clinical_facade::{Calibration, CalibrationOptions, LabelledAnswer};
///
/// // Two hundred judged answers; those with a low score are often wrong.
/// let answers: Vec<LabelledAnswer> = (0..200)
///     .map(|at| LabelledAnswer { score: f64::from(at), right: at > 40 || at % 2 == 0 })
///     .collect();
/// let calibration = Calibration::choose(&answers, &CalibrationOptions::new(), "my model")?;
/// assert!(calibration.shows(199.0) && !calibration.shows(0.0));
/// # Ok::<(), clinical_facade::CalibrationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Calibration {
    /// Which model the answers are from: [`model_checksum`](crate::model_checksum) of its files.
    pub model: String,
    /// What was promised.
    pub options: CalibrationOptions,
    /// How many answers were labelled.
    pub answers: usize,
    /// How many of them were wrong.
    pub wrong: usize,
    /// Answers with this score and higher are shown. `None`: none is, since no threshold keeps the promise.
    pub threshold: Option<f64>,
    /// The part of the labelled questions whose answer is shown.
    pub coverage: f64,
    /// Coverage and risk for ever lower thresholds.
    pub curve: Vec<CoveragePoint>,
}

impl Calibration {
    /// The lowest threshold that keeps the promise.
    ///
    /// # Errors
    ///
    /// [`CalibrationError::Refused`]: fewer than 100 answers, or too few for the promise; a target or a confidence outside
    /// (0, 1); a score that is not a number.
    pub fn choose(
        answers: &[LabelledAnswer],
        options: &CalibrationOptions,
        model: impl Into<String>,
    ) -> Result<Self> {
        for (name, value) in [
            ("target risk", Some(options.target_risk)),
            ("confidence", options.confidence),
        ] {
            if value.is_some_and(|value| !(value > 0.0 && value < 1.0)) {
                return Err(refused(format!("the {name} must lie between 0 and 1")));
            }
        }
        if answers.len() < LEAST {
            let count = answers.len();
            return Err(refused(format!(
                "{count} labelled answers are too few: give at least {LEAST}"
            )));
        }
        if let Some(row) = answers
            .iter()
            .position(|answer| answer.score.is_nan() || answer.score == f64::INFINITY)
        {
            return Err(refused(format!(
                "the score of labelled answer {} is not a number",
                row + 1
            )));
        }
        let Some(allowed) = allowed(answers.len(), options) else {
            let needed = needed(options);
            return Err(refused(format!(
                "{} labelled answers cannot show so small a risk so surely: give at least {needed}, or promise less",
                answers.len()
            )));
        };
        let mut sorted: Vec<&LabelledAnswer> = answers.iter().collect();
        sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
        let (mut threshold, mut shown, mut wrong) = (None, 0, 0);
        let mut curve = Vec::new();
        let mut choosing = true;
        // Answers of one score are shown together or not at all.
        for group in sorted.chunk_by(|a, b| a.score == b.score) {
            if group[0].score == f64::NEG_INFINITY {
                break;
            }
            let before = shown * CURVE / answers.len();
            shown += group.len();
            wrong += group.iter().filter(|answer| !answer.right).count();
            choosing &= wrong <= allowed;
            if choosing {
                threshold = Some((group[0].score, shown));
            }
            if shown * CURVE / answers.len() > before {
                curve.push(CoveragePoint {
                    threshold: group[0].score,
                    coverage: shown as f64 / answers.len() as f64,
                    risk: wrong as f64 / shown as f64,
                });
            }
        }
        Ok(Self {
            model: model.into(),
            options: *options,
            answers: answers.len(),
            wrong: answers.iter().filter(|answer| !answer.right).count(),
            threshold: threshold.map(|(score, _)| score),
            coverage: threshold.map_or(0.0, |(_, shown)| shown as f64 / answers.len() as f64),
            curve,
        })
    }

    /// Whether an answer with this score is shown.
    #[must_use]
    pub fn shows(&self, score: f64) -> bool {
        self.threshold.is_some_and(|threshold| score >= threshold)
    }

    /// Writes it as JSON; an old file is replaced when the new one is complete.
    ///
    /// # Errors
    ///
    /// [`CalibrationError::Files`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut text =
            serde_json::to_string_pretty(self).map_err(|error| refused(error.to_string()))?;
        text.push('\n');
        Ok(clinical_files::write_file(path, text.as_bytes())?)
    }

    /// Reads one, and refuses it for another model than the one it was made with.
    ///
    /// # Errors
    ///
    /// [`CalibrationError::Files`]; [`CalibrationError::Refused`] for a file that is none, or one of another model.
    pub fn load(path: impl AsRef<Path>, model: &str) -> Result<Self> {
        let bytes = clinical_files::read_file(path, MAX_FILE)?;
        let found: Self = serde_json::from_slice(&bytes)
            .map_err(|error| refused(format!("the file is no calibration: {error}")))?;
        if found.model != model {
            return Err(refused(
                "it was made with another model, and its promise does not hold for this one: calibrate again".into(),
            ));
        }
        Ok(found)
    }
}

fn refused(problem: String) -> CalibrationError {
    CalibrationError::Refused(problem)
}

/// How many of `count` labelled answers may be shown and wrong; `None` where not even none would be enough.
fn allowed(count: usize, options: &CalibrationOptions) -> Option<usize> {
    let (n, risk) = (count as f64, options.target_risk);
    let Some(confidence) = options.confidence else {
        // (wrong + 1) / (n + 1) <= risk
        let most = (risk * (n + 1.0) - 1.0 + 1e-9).floor();
        return (most >= 0.0).then_some(most as usize);
    };
    // The most k with P(Binomial(n, risk) <= k) <= 1 - confidence, summed from logarithms.
    let limit = 1.0 - confidence;
    let mut log_term = n * (-risk).ln_1p();
    let (mut sum, mut most) = (0.0, None);
    for k in 0..count {
        sum += log_term.exp();
        if sum > limit {
            break;
        }
        most = Some(k);
        let left = n - k as f64;
        log_term += (left / (k as f64 + 1.0)).ln() + risk.ln() - (-risk).ln_1p();
    }
    most
}

/// The fewest answers that can keep the promise, if none of those shown is wrong.
fn needed(options: &CalibrationOptions) -> usize {
    let least = match options.confidence {
        Some(confidence) => (1.0 - confidence).ln() / (-options.target_risk).ln_1p(),
        None => 1.0 / options.target_risk - 1.0,
    };
    (least.ceil() as usize).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(count: usize, right: impl Fn(usize) -> bool) -> Vec<LabelledAnswer> {
        let one = |at| LabelledAnswer {
            score: at as f64,
            right: right(at),
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn the_bound_is_that_of_the_binomial() {
        // Clopper-Pearson, as scipy.stats.beta.ppf(0.95, k + 1, n - k) gives it: 4 of 200 is below 0.05, 5 is not.
        let at = |count, risk, confidence| {
            allowed(
                count,
                &CalibrationOptions::new()
                    .with_target_risk(risk)
                    .with_confidence(confidence),
            )
        };
        assert_eq!(at(200, 0.05, Some(0.95)), Some(4));
        assert_eq!(at(59, 0.05, Some(0.95)), Some(0));
        assert_eq!(at(58, 0.05, Some(0.95)), None);
        assert_eq!(at(199, 0.05, None), Some(9));
        assert_eq!(at(18, 0.05, None), None);
        assert_eq!(at(19, 0.05, None), Some(0));
        // The terms themselves are below the smallest number.
        assert!(at(1_000_000, 0.05, Some(0.95)).is_some_and(|k| (49_000..50_000).contains(&k)));
    }

    #[test]
    fn answers_of_one_score_are_shown_together() {
        let mut tied = answers(200, |at| at >= 100);
        for answer in &mut tied[90..110] {
            answer.score = 100.0;
        }
        let found = Calibration::choose(&tied, &CalibrationOptions::new(), "m").unwrap();
        assert_eq!(found.threshold, Some(110.0));
        assert_eq!((found.coverage, found.wrong), (0.45, 100));
        assert!(found.shows(110.0) && !found.shows(109.0));
        assert!(
            found
                .curve
                .windows(2)
                .all(|two| two[0].coverage < two[1].coverage && two[0].risk <= two[1].risk)
        );
    }

    #[test]
    fn what_cannot_be_promised_is_refused() {
        let message = |answers: &[LabelledAnswer], options: CalibrationOptions| {
            Calibration::choose(answers, &options, "m")
                .unwrap_err()
                .to_string()
        };
        let new = CalibrationOptions::new;
        assert!(message(&answers(99, |_| true), new()).contains("at least 100"));
        assert!(
            message(&answers(100, |_| true), new().with_target_risk(0.001))
                .contains("at least 2995")
        );
        for wrong in [0.0, 1.0, f64::NAN, -1.0] {
            assert!(
                message(&answers(100, |_| true), new().with_target_risk(wrong))
                    .contains("target risk")
            );
            assert!(
                message(&answers(100, |_| true), new().with_confidence(wrong))
                    .contains("confidence")
            );
        }
        let mut broken = answers(100, |_| true);
        broken[7].score = f64::NAN;
        assert!(message(&broken, new()).contains("answer 8"));
        // A model that is always wrong shows nothing where not one answer may be wrong.
        let strict = new().with_target_risk(0.03);
        let found = Calibration::choose(&answers(100, |_| false), &strict, "m").unwrap();
        assert_eq!((found.threshold, found.coverage), (None, 0.0));
        assert!(!found.shows(f64::INFINITY));
    }

    #[test]
    fn a_file_belongs_to_its_model() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("calibration.json");
        let mut refusals = answers(200, |at| at > 20);
        refusals[3].score = f64::NEG_INFINITY;
        let made = Calibration::choose(&refusals, &CalibrationOptions::new(), "one").unwrap();
        made.save(&path).unwrap();
        assert_eq!(Calibration::load(&path, "one").unwrap(), made);
        assert!(
            Calibration::load(&path, "two")
                .unwrap_err()
                .to_string()
                .contains("another model")
        );
        let text = std::fs::read_to_string(&path).unwrap();
        for cut in [0, 1, text.len() / 2] {
            std::fs::write(&path, &text[..cut]).unwrap();
            assert!(matches!(
                Calibration::load(&path, "one"),
                Err(CalibrationError::Refused(_))
            ));
        }
        std::fs::write(&path, text.replace("\"answers\"", "\"answer\"")).unwrap();
        assert!(Calibration::load(&path, "one").is_err());
    }

    /// What is promised holds in at least 95 of 100 draws, on a population that no draw has seen.
    #[test]
    fn the_promise_holds_in_200_draws() {
        // A stream of numbers in (0, 1): the test is the same everywhere.
        let mut state = 7u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        for (risk, count) in [(0.05, 150), (0.1, 300), (0.2, 120)] {
            let mut broken = 0;
            for _ in 0..200 {
                // An answer of score s is right with probability s.
                let drawn: Vec<LabelledAnswer> = (0..count)
                    .map(|_| {
                        let score = next();
                        LabelledAnswer {
                            score,
                            right: next() < score,
                        }
                    })
                    .collect();
                let options = CalibrationOptions::new().with_target_risk(risk);
                let found = Calibration::choose(&drawn, &options, "m").unwrap();
                // Shown and wrong: the integral of 1 - s from the threshold to 1.
                let truth = found.threshold.map_or(0.0, |t| (1.0 - t) * (1.0 - t) / 2.0);
                broken += usize::from(truth > risk);
            }
            assert!(broken <= 10, "{broken} of 200 at {risk}");
        }
    }
}
