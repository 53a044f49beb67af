//! MedNLI: does a premise from a note entail, contradict or leave open a hypothesis?
//!
//! Source: Lehman et al., "Do We Still Need Clinical Language Models?" (arXiv 2302.08091),
//! repository `elehman16/do-we-still-need-clinical-lms`; the file is named at each item.

mod prompts;

pub use prompts::{Example, FewShot, ZeroShot};

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use crate::marker::{Marker, guard_required};
use crate::{Error, Field, Options, Result, py};

/// What the premise says about the hypothesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// The hypothesis follows.
    Entailment,
    /// The hypothesis may be true or false.
    Neutral,
    /// The hypothesis is false.
    Contradiction,
}

impl Label {
    /// The labels in the order of the published encoder models
    /// (`src/finetuning/preprocess_mednli_encoder_only.py`).
    pub const ALL: [Self; 3] = [Self::Entailment, Self::Neutral, Self::Contradiction];

    /// The position in [`Label::ALL`], 0 to 2.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word of the data set (`gold_label`), which is also the fine-tuning target.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entailment => "entailment",
            Self::Neutral => "neutral",
            Self::Contradiction => "contradiction",
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Label {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|label| label.name() == name)
            .ok_or(Error::UnknownName {
                kind: "MedNLI label",
            })
    }
}

/// The input of a fine-tuned T5 or encoder (`src/finetuning/preprocess_mednli.py`); the target is
/// [`Label::name`].
///
/// The hypothesis is trimmed, and the input ends in exactly the full stop it has, or gets one.
///
/// # Errors
/// [`Error::Empty`] for a blank text, [`Error::MarkerInText`] for one that contains `premise:` or
/// `hypothesis:`.
///
/// ```
/// use clinical_prompts::{Options, mednli};
///
/// let input = mednli::finetuning_input("Afebrile.", " The patient has a fever ", &Options::new())?;
/// assert_eq!(input, "mednli premise: Afebrile. hypothesis: The patient has a fever.");
/// # Ok::<(), clinical_prompts::Error>(())
/// ```
pub fn finetuning_input(premise: &str, hypothesis: &str, options: &Options) -> Result<String> {
    static MARKERS: [Marker; 2] = [
        Marker::anywhere("premise:"),
        Marker::anywhere("hypothesis:"),
    ];
    let premise = guard_required(Field::Premise, premise, &MARKERS, options)?;
    let hypothesis = guard_required(Field::Hypothesis, hypothesis, &MARKERS, options)?;
    let mut input = format!(
        "mednli premise: {premise} hypothesis: {}",
        py::strip(&hypothesis)
    );
    if !input.ends_with('.') {
        input.push('.');
    }
    Ok(input)
}

/// The words of an answer and the label each stands for (`get_mapping`, all templates together).
pub const ANSWER_MAP: [(&str, Label); 16] = [
    ("yes", Label::Entailment),
    ("no", Label::Contradiction),
    ("maybe", Label::Neutral),
    ("it is not possible to tell", Label::Neutral),
    ("true", Label::Entailment),
    ("false", Label::Contradiction),
    ("inconclusive", Label::Neutral),
    ("always", Label::Entailment),
    ("never", Label::Contradiction),
    ("sometimes", Label::Neutral),
    ("entailment", Label::Entailment),
    ("contradiction", Label::Contradiction),
    ("neutral", Label::Neutral),
    ("neither", Label::Neutral),
    ("it's impossible to say", Label::Neutral),
    ("it is not possible to say", Label::Neutral),
];

/// The label that a whole answer stands for: lower case, trimmed, looked up in [`ANSWER_MAP`].
pub fn label_of_answer(answer: &str) -> Option<Label> {
    let answer = answer.to_lowercase();
    let answer = py::strip(&answer);
    let (_, label) = ANSWER_MAP.iter().find(|(word, _)| *word == answer)?;
    Some(*label)
}

/// The labels of a whole run (`compute_metrics_prompt` of `mednli_zero_shot.py`). When the run has
/// more than three distinct answers, the model says too much, and only the first word of each
/// answer counts. `None` is the published empty string: no label.
///
/// ```
/// use clinical_prompts::mednli::{Label, labels_of_answers};
///
/// let labels = labels_of_answers(&["Yes", "no", "It's impossible to say"]);
/// assert_eq!(labels, [Some(Label::Entailment), Some(Label::Contradiction), Some(Label::Neutral)]);
/// let labels = labels_of_answers(&["Yes it does", "no", "yes", "It's impossible to say"]);
/// assert_eq!(labels, [Some(Label::Entailment), Some(Label::Contradiction), Some(Label::Entailment), None]);
/// ```
pub fn labels_of_answers<S: AsRef<str>>(answers: &[S]) -> Vec<Option<Label>> {
    let distinct: HashSet<&str> = answers.iter().map(AsRef::as_ref).collect();
    let wordy = distinct.len() > 3;
    answers
        .iter()
        .map(AsRef::as_ref)
        .map(|answer| match wordy {
            true => label_of_answer(py::split(answer).next()?),
            false => label_of_answer(answer),
        })
        .collect()
}
