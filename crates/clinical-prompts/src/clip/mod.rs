//! CLIP: which follow-up actions does a sentence of a discharge note ask for?
//!
//! Source: Lehman et al., "Do We Still Need Clinical Language Models?" (arXiv 2302.08091),
//! repository `elehman16/do-we-still-need-clinical-lms`; the file is named at each item.

mod prompts;
mod yes_no;

pub use prompts::{Example, FewShot, ZeroShot};
pub use yes_no::YesNo;

use std::fmt;
use std::str::FromStr;

use crate::marker::guard_required;
use crate::{Error, Field, Options, Result};

/// A kind of follow-up action. A sentence has any number of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// An appointment to be made or attended.
    Appointment,
    /// A medication to be taken or adjusted.
    Medication,
    /// Other information that the general practitioner should have.
    Other,
    /// A laboratory test that is pending or to be ordered.
    Lab,
    /// Instructions that are meant for the patient.
    CaseSpecific,
    /// A procedure to be ordered or done.
    Procedure,
    /// An imaging study that is pending or to be ordered.
    Imaging,
}

/// Which labels a sentence has, in the order of [`Label::ALL`].
pub type Labels = [bool; Label::ALL.len()];

impl Label {
    /// The labels in published order (`LABEL_TYPES` of `src/finetuning/preprocess_clip.py`).
    pub const ALL: [Self; 7] = [
        Self::Appointment,
        Self::Medication,
        Self::Other,
        Self::Lab,
        Self::CaseSpecific,
        Self::Procedure,
        Self::Imaging,
    ];

    /// The position in [`Label::ALL`], 0 to 6.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The published name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Appointment => "Appointment-related followup",
            Self::Medication => "Medication-related followups",
            Self::Other => "Other helpful contextual information",
            Self::Lab => "Lab-related followup",
            Self::CaseSpecific => "Case-specific instructions for patient",
            Self::Procedure => "Procedure-related followup",
            Self::Imaging => "Imaging-related followup",
        }
    }

    /// Reads a label as the data set writes it: a two-character prefix before the name, for
    /// example `I-Lab-related followup`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] when the rest is not a published name.
    pub fn from_dataset(tag: &str) -> Result<Self> {
        let mut chars = tag.chars();
        chars.nth(1);
        chars.as_str().parse()
    }

    /// The label with this name or its lower-cased name.
    fn of_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|label| label.name() == name || label.name().to_ascii_lowercase() == name)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Label {
    type Err = Error;

    /// Reads the published name, exactly as it is spelled.
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|label| label.name() == name)
            .ok_or(Error::UnknownName { kind: "CLIP label" })
    }
}

/// The input of a fine-tuned model (`src/finetuning/preprocess_clip.py`): a piece of the note
/// around the sentence, then the sentence.
///
/// The separator ` ; ` is ordinary punctuation in clinical text and is not treated as a marker:
/// the sentence is what follows the chunk it was cut from.
///
/// # Errors
/// [`Error::Empty`] for a blank sentence.
///
/// ```
/// use clinical_prompts::{Options, clip};
///
/// let input = clip::finetuning_input("Doing well . INR on Monday . Rest .", "INR on Monday .", &Options::new())?;
/// assert_eq!(input, "Doing well . INR on Monday . Rest . ; INR on Monday .");
/// # Ok::<(), clinical_prompts::Error>(())
/// ```
pub fn finetuning_input(chunk: &str, sentence: &str, options: &Options) -> Result<String> {
    let chunk = crate::marker::guard(Field::Chunk, chunk, &[], options)?;
    let sentence = guard_required(Field::Sentence, sentence, &[], options)?;
    Ok(format!("{chunk} ; {sentence}"))
}

/// The target of a fine-tuned T5 (`src/finetuning/preprocess_clip.py`): the names in alphabetical
/// order, joined with `, `; nothing for a sentence without labels.
///
/// ```
/// use clinical_prompts::clip::{Label, finetuning_target};
///
/// let target = finetuning_target(&[Label::Lab, Label::Appointment]);
/// assert_eq!(target, "Appointment-related followup, Lab-related followup");
/// ```
pub fn finetuning_target(labels: &[Label]) -> String {
    let mut names: Vec<_> = labels.iter().map(|label| label.name()).collect();
    names.sort_unstable();
    names.join(", ")
}

/// The labels in a generated target (`str_tags_to_binary_tensor`): split on `, `, each piece equal
/// to a name or to its lower-cased form; anything else is ignored.
///
/// ```
/// use clinical_prompts::clip::{Label, labels_of_target};
///
/// let labels = labels_of_target("lab-related followup, Imaging-related followup, Lab-Related followup");
/// assert!(labels[Label::Lab.index()] && labels[Label::Imaging.index()]);
/// assert_eq!(labels.iter().filter(|&&set| set).count(), 2);
/// ```
pub fn labels_of_target(target: &str) -> Labels {
    labels_of(target.split(", "))
}

fn labels_of<'a>(names: impl Iterator<Item = &'a str>) -> Labels {
    let mut labels = Labels::default();
    for label in names.filter_map(Label::of_name) {
        labels[label.index()] = true;
    }
    labels
}

/// The option texts of the in-context prompts and the label each stands for (`mapper` of
/// `src/zero-shot/clip/clip_gpt3.py`).
pub const ANSWER_MAP: [(&str, Label); 16] = [
    ("Appointment-related followup", Label::Appointment),
    (
        "Appointment-related followup information",
        Label::Appointment,
    ),
    ("Medication-related followup", Label::Medication),
    ("Medication-related Information", Label::Medication),
    ("Medication-related followup information", Label::Medication),
    ("Lab-related Information", Label::Lab),
    ("Lab-related followup information", Label::Lab),
    ("Lab-related instructions for the patient", Label::Lab),
    (
        "Case-specific instructions for the patient",
        Label::CaseSpecific,
    ),
    ("Procedure-related followup", Label::Procedure),
    ("Imaging-related followup", Label::Imaging),
    ("Procedure-related followup information", Label::Procedure),
    ("Imaging-related followup information", Label::Imaging),
    (
        "Medical procedure-related followup information",
        Label::Procedure,
    ),
    (
        "Medical imaging-related followup information",
        Label::Imaging,
    ),
    ("Other helpful contextual information", Label::Other),
];

/// How an answer with several labels is scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SeveralLabels {
    /// Each label counts.
    #[default]
    Count,
    /// As the published scorer does: an answer with two or more pieces has no label at all,
    /// because it compares the whole joined answer with one name.
    CountNone,
}

/// The labels in an in-context answer (`compute_metrics_prompt` of
/// `src/zero-shot/clip/clip_gpt3.py`): split on `, `, each piece looked up in [`ANSWER_MAP`] and
/// then compared as in [`labels_of_target`].
///
/// ```
/// use clinical_prompts::clip::{Label, SeveralLabels, labels_of_answer};
///
/// let answer = "Lab-related Information, Medical imaging-related followup information";
/// let labels = labels_of_answer(answer, SeveralLabels::Count);
/// assert!(labels[Label::Lab.index()] && labels[Label::Imaging.index()]);
/// assert_eq!(labels_of_answer(answer, SeveralLabels::CountNone), [false; 7]);
/// ```
pub fn labels_of_answer(answer: &str, several: SeveralLabels) -> Labels {
    let mapped = answer.split(", ").map(|piece| {
        match ANSWER_MAP.iter().find(|(option, _)| *option == piece) {
            Some((_, label)) => label.name(),
            None => piece,
        }
    });
    match several {
        SeveralLabels::Count => labels_of(mapped),
        SeveralLabels::CountNone => {
            let joined = mapped.collect::<Vec<_>>().join(", ");
            labels_of(std::iter::once(&*joined))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (i, label) in Label::ALL.into_iter().enumerate() {
            assert_eq!(label.index(), i);
            assert_eq!(label.name().parse(), Ok(label));
            assert_eq!(Label::from_dataset(&format!("I-{label}")), Ok(label));
            let mut labels = Labels::default();
            labels[i] = true;
            assert_eq!(labels_of_target(label.name()), labels);
            assert_eq!(labels_of_target(&label.name().to_lowercase()), labels);
        }
        for tag in ["", "I", "I-", "é-", "Lab-related followup"] {
            assert!(Label::from_dataset(tag).is_err(), "{tag}");
        }
    }

    #[test]
    fn other_spellings_are_ignored() {
        for text in [
            "",
            "LAB-RELATED FOLLOWUP",
            " Lab-related followup",
            "Lab-related followup,",
        ] {
            assert_eq!(labels_of_target(text), [false; 7], "{text}");
        }
    }

    #[test]
    fn published_scoring_reads_single_labels_only() {
        let one = labels_of_answer("Medication-related Information", SeveralLabels::CountNone);
        assert!(one[Label::Medication.index()]);
        let none = "None of the above";
        assert_eq!(labels_of_answer(none, SeveralLabels::Count), [false; 7]);
    }
}
