//! In-context prompts for CLIP that ask about one label at a time
//! (`src/zero-shot/clip/clip_zero_shot.py`).

use super::Label;
use crate::fill::fill;
use crate::marker::{Marker, guard_required};
use crate::{Error, Field, Options, Result};

/// A published set of yes-or-no questions, one per label, by its number
/// (`src/zero-shot/clip/clip_zero_shot.py`).
///
/// ```
/// use clinical_prompts::{Options, clip::{Label, YesNo}};
///
/// let prompt = YesNo::new(5)?.render(Label::Lab, "INR on Monday.", &Options::new())?;
/// assert_eq!(
///     prompt,
///     "Context: INR on Monday.\n\nDoes the above sentence contain any information about \
///      laboratory tests? Options:\n-Yes\n-No"
/// );
/// assert!(YesNo::is_yes("Yes") && !YesNo::is_yes("yes"));
/// # Ok::<(), clinical_prompts::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct YesNo(u8);

impl YesNo {
    /// The published numbers.
    pub const NUMBERS: [u8; 6] = [0, 1, 2, 3, 4, 5];

    /// The set with this number.
    ///
    /// # Errors
    /// [`Error::UnknownTemplate`] for a number that is not in [`YesNo::NUMBERS`].
    pub fn new(number: u8) -> Result<Self> {
        match Self::NUMBERS.contains(&number) {
            true => Ok(Self(number)),
            false => Err(Error::UnknownTemplate {
                family: "CLIP yes-or-no",
                number,
                known: &Self::NUMBERS,
            }),
        }
    }

    /// The published number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The published text for a label, with `{sentence}` in it.
    pub fn text(self, label: Label) -> &'static str {
        QUESTIONS[usize::from(self.0)][label.index()]
    }

    /// The prompt that asks whether a sentence has a label.
    ///
    /// # Errors
    /// [`Error::Empty`] for a blank sentence, [`Error::MarkerInText`] for one with a marker.
    pub fn render(self, label: Label, sentence: &str, options: &Options) -> Result<String> {
        let sentence = guard_required(Field::Sentence, sentence, &MARKERS, options)?;
        Ok(fill(self.text(label), &[("sentence", &sentence)]))
    }

    /// Whether a decoded answer counts as yes: it is `Yes`, exactly.
    pub fn is_yes(answer: &str) -> bool {
        answer == "Yes"
    }
}

// "Treatment options:" is ordinary prose, so `Options:` counts as it is spelled.
static MARKERS: [Marker; 5] = [
    Marker::line("Context:"),
    Marker::anywhere("Is above sentence a"),
    Marker::anywhere("Does this sentence contain any information"),
    Marker::anywhere("Does the above sentence"),
    Marker::exact("Options:"),
];

/// By number, then by label in the order of [`Label::ALL`]. The misspelling `docto` is published.
static QUESTIONS: [[&str; 7]; 6] = [
    [
        "Context: {sentence}\nIs above sentence a Appointment-related followup? Options:\n-Yes\n-No",
        "Context: {sentence}\nIs above sentence a Medication-related followups? Options:\n-Yes\n-No",
        "Context: {sentence}\nIs above sentence a Other helpful contextual information? Options:\n-Yes\n-No",
        "Context: {sentence}\nIs above sentence a Lab-related followup? Options:\n-Yes\n-No",
        "Context: {sentence}\nIs above sentence a Case-specific instructions for patient? Options:\n-Yes\n-No",
        "Context: {sentence}\nIs above sentence a Procedure-related followup? Options:\n-Yes\n-No",
        "Context: {sentence}\nIs above sentence a Imaging-related followup? Options:\n-Yes\n-No",
    ],
    [
        "Does this sentence contain any information about a Appointment-related followup: \"{sentence}\"? Options:\n-Yes\n-No",
        "Does this sentence contain any information about a Medication-related followups: \"{sentence}\"? Options:\n-Yes\n-No",
        "Does this sentence contain any information about a Other helpful contextual information: \"{sentence}\"? Options:\n-Yes\n-No",
        "Does this sentence contain any information about a Lab-related followup: \"{sentence}\"? Options:\n-Yes\n-No",
        "Does this sentence contain any information about a Case-specific instructions for patient: \"{sentence}\"? Options:\n-Yes\n-No",
        "Does this sentence contain any information about a Procedure-related followup: \"{sentence}\"? Options:\n-Yes\n-No",
        "Does this sentence contain any information about a Imaging-related followup: \"{sentence}\"? Options:\n-Yes\n-No",
    ],
    [
        "Context: {sentence}\n\nDoes the above sentence contain any information about an appointment? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about medication instructions? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about any very general followups? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about any lab followups? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about any case-specific instructions? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about any future procedures? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about any future imagings? Options:\n-Yes\n-No",
    ],
    [
        "Context: {sentence}\n\nDoes the above sentence match this description: \"Appointments to be made by the PCP, or monitored to ensure the patient attends them.\"? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence match this description: \"Medications that the PCP either needs to ensure that the patient is taking correctly, e.g. time-limited medications or new medications that may need dose adjustment.\"? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence match this description: \"Other actionable information that is important to relay to the PCP but does not fall under existing aspects\"? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence match this description: \"Laboratory tests that either have results pending or need to be ordered by the PCP.\"? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence match this description: \"Post-discharge instructions that are directed to the patient, so the PCP can ensure the patient understands and performs them.\"? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence match this description: \"Procedures that the PCP needs to either order, ensure another caregiver orders, or ensure the patient undergoes.\"? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence match this description: \"Imaging studies that either have results pending or need to be ordered by the PCP.\"? Options:\n-Yes\n-No",
    ],
    [
        "Context: {sentence}\n\nDoes the above sentence contain information about appointments to be made or monitored by the doctor? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain information about medications that the docto needs to ensure the patient needs to take? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any important actional information? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about laboratory tests that either have results pending or need to be ordered? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about post-discharge instructions? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about procedures? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about imaging studies that are pending or need to be ordered? Options:\n-Yes\n-No",
    ],
    [
        "Context: {sentence}\n\nDoes the above sentence contain information about current or future appointments? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain information about medications? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any important actional information? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about laboratory tests? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about what to do post-discharge? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about procedures (e.g., surgeries)? Options:\n-Yes\n-No",
        "Context: {sentence}\n\nDoes the above sentence contain any information about radiology or imaging? Options:\n-Yes\n-No",
    ],
];
