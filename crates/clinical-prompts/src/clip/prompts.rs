//! In-context prompts for CLIP that ask for all labels at once (`src/zero-shot/clip/clip_gpt3.py`).

use crate::fill::fill;
use crate::marker::{Marker, guard, guard_required};
use crate::{Error, Field, Options, Result};

static LABELLING: [Marker; 3] = [
    Marker::line("Context:"),
    Marker::anywhere("Label the above sentence as one"),
    Marker::line("Options:"),
];
static TAGGING: [Marker; 3] = [
    Marker::line("Options:"),
    Marker::line("Sentence:"),
    Marker::anywhere("Tags:"),
];

/// A published zero-shot template (`src/zero-shot/clip/clip_gpt3.py`), by its number there.
///
/// ```
/// use clinical_prompts::{Options, clip::ZeroShot};
///
/// let prompt = ZeroShot::new(1)?.render("INR on Monday.", &Options::new())?;
/// assert!(prompt.starts_with("Context: INR on Monday.\nLabel the above sentence"));
/// assert!(prompt.ends_with("\n-Imaging-related followup\n-None of the above"));
/// # Ok::<(), clinical_prompts::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ZeroShot(&'static Template);

#[derive(Debug)]
struct Template {
    number: u8,
    text: &'static str,
}

const fn template(number: u8, text: &'static str) -> Template {
    Template { number, text }
}

const DELIMITED: &str = "Context: {sentence}\nLabel the above sentence as one or more of the following, delimited by comma:\n\nOptions:\n-Appointment-related followup information\n-Medication-related followup information\n-Lab-related followup information\n-Case-specific instructions for the patient\n-Procedure-related followup information\n-Imaging-related followup information\n-None of the above";
const MEDICAL: &str = "Context: {sentence}\nLabel the above sentence as one or more of the following, delimited by comma:\n\nOptions:\n-Appointment-related followup information\n-Medication-related followup information\n-Lab-related followup information\n-Case-specific instructions for the patient\n-Medical procedure-related followup information\n-Medical imaging-related followup information\n-None of the above";

static ZERO_SHOT: [Template; 6] = [
    template(
        0,
        "Context: {sentence}\nLabel the above sentence as one of the following:\n\nOptions:\n-Appointment-related followup\n-Medication-related followup\n-Lab-related followup\n-Case-specific instructions for the patient\n-Procedure-related followup\n-Imaging-related followup\n-Other helpful contextual information for the patient\n-None of the above",
    ),
    template(
        1,
        "Context: {sentence}\nLabel the above sentence as one of the following:\n\nOptions:\n-Appointment-related followup\n-Medication-related followup\n-Lab-related followup\n-Case-specific instructions for the patient\n-Procedure-related followup\n-Imaging-related followup\n-None of the above",
    ),
    template(
        2,
        "Context: {sentence}\nLabel the above sentence as one of the following:\n\nOptions:\n-Appointment-related followup\n-Medication-related Information\n-Lab-related Information\n-Case-specific instructions for the patient\n-Procedure-related followup\n-Imaging-related followup\n-None of the above",
    ),
    template(
        3,
        "Context: {sentence}\nLabel the above sentence as one or more of the following, separated by a comma:\n\nOptions:\n-Appointment-related followup\n-Medication-related Information\n-Lab-related Information\n-Case-specific instructions for the patient\n-Procedure-related followup\n-Imaging-related followup\n-None of the above",
    ),
    template(4, DELIMITED),
    template(
        9,
        "Tag the following sentence as one OR more of the following. If there are multiple options, separate each by a comma.\n\nOptions:\n-Appointment-related followup\n-Medication-related followup\n-Lab-related followup\n-Case-specific instructions for the patient\n-Procedure-related followup\n-Imaging-related followup\n-Other helpful contextual information for the patient\n-None of the above\n\nSentence: {sentence}Tags: ",
    ),
];

impl ZeroShot {
    /// The published numbers; 5 to 8 are [`FewShot`].
    pub const NUMBERS: [u8; 6] = [0, 1, 2, 3, 4, 9];

    /// The template with this number.
    ///
    /// # Errors
    /// [`Error::UnknownTemplate`] for a number that is not in [`ZeroShot::NUMBERS`].
    pub fn new(number: u8) -> Result<Self> {
        let found = ZERO_SHOT.iter().find(|template| template.number == number);
        found.map(Self).ok_or(Error::UnknownTemplate {
            family: "CLIP zero-shot",
            number,
            known: &Self::NUMBERS,
        })
    }

    /// The published number.
    pub fn number(self) -> u8 {
        self.0.number
    }

    /// The published text, with `{sentence}` in it.
    pub fn text(self) -> &'static str {
        self.0.text
    }

    /// The prompt.
    ///
    /// # Errors
    /// [`Error::Empty`] for a blank sentence, [`Error::MarkerInText`] for one with a marker.
    pub fn render(self, sentence: &str, options: &Options) -> Result<String> {
        let markers = match self.0.number {
            9 => &TAGGING,
            _ => &LABELLING,
        };
        let sentence = guard_required(Field::Sentence, sentence, markers, options)?;
        Ok(fill(self.0.text, &[("sentence", &sentence)]))
    }
}

/// A solved example of a [`FewShot`] prompt.
///
/// The published examples are MIMIC text under a data use agreement, so they are not part of this
/// crate; holders of CLIP find them in the source file.
#[derive(Debug, Clone, Copy)]
pub struct Example<'a> {
    /// The sentence.
    pub sentence: &'a str,
    /// Its labels as they are printed, joined with `, `
    /// ([`finetuning_target`](super::finetuning_target) gives the published form).
    pub labels: &'a str,
}

/// A published few-shot template (`src/zero-shot/clip/clip_gpt3.py`), by its number there. The
/// caller supplies the solved examples: one for 5, three for 6, 7 and 8.
///
/// ```
/// use clinical_prompts::{Options, clip::{Example, FewShot}};
///
/// let example = Example { sentence: "INR on Monday.", labels: "Lab-related followup" };
/// let prompt = FewShot::new(5)?.render(&[example], "See Dr. A in May.", &Options::new())?;
/// assert!(prompt.contains("\n-None of the above\nLab-related followup\n\nContext: See Dr. A in May.\n"));
/// assert!(prompt.ends_with("\n-None of the above\n"));
/// # Ok::<(), clinical_prompts::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FewShot(&'static Shots);

#[derive(Debug)]
struct Shots {
    number: u8,
    examples: usize,
    text: &'static str,
}

const fn shots(number: u8, examples: usize, text: &'static str) -> Shots {
    Shots {
        number,
        examples,
        text,
    }
}

static FEW_SHOT: [Shots; 4] = [
    shots(5, 1, DELIMITED),
    shots(6, 3, DELIMITED),
    shots(7, 3, MEDICAL),
    shots(8, 3, MEDICAL),
];

impl FewShot {
    /// The published numbers; the others are [`ZeroShot`].
    pub const NUMBERS: [u8; 4] = [5, 6, 7, 8];

    /// The template with this number.
    ///
    /// # Errors
    /// [`Error::UnknownTemplate`] for a number that is not in [`FewShot::NUMBERS`].
    pub fn new(number: u8) -> Result<Self> {
        let found = FEW_SHOT.iter().find(|shots| shots.number == number);
        found.map(Self).ok_or(Error::UnknownTemplate {
            family: "CLIP few-shot",
            number,
            known: &Self::NUMBERS,
        })
    }

    /// The published number.
    pub fn number(self) -> u8 {
        self.0.number
    }

    /// How many solved examples the template shows.
    pub fn examples(self) -> usize {
        self.0.examples
    }

    /// The prompt: one block per example and one for the sentence, whose labels are left empty (so
    /// the prompt ends in a newline).
    ///
    /// # Errors
    /// [`Error::ExampleCount`] unless there are [`FewShot::examples`] examples, [`Error::Empty`]
    /// for a blank sentence, [`Error::MarkerInText`] for a text with a marker.
    pub fn render(
        self,
        examples: &[Example<'_>],
        sentence: &str,
        options: &Options,
    ) -> Result<String> {
        let Shots {
            number,
            examples: expected,
            text,
        } = *self.0;
        if examples.len() != expected {
            return Err(Error::ExampleCount {
                family: "CLIP few-shot",
                number,
                expected,
                found: examples.len(),
            });
        }
        let mut prompt = String::new();
        for (i, example) in examples.iter().enumerate() {
            let field = Field::Example(i);
            let sentence = guard_required(field, example.sentence, &LABELLING, options)?;
            let labels = guard(field, example.labels, &LABELLING, options)?;
            prompt.push_str(&fill(text, &[("sentence", &sentence)]));
            prompt.extend(["\n", &labels, "\n\n"]);
        }
        let sentence = guard_required(Field::Sentence, sentence, &LABELLING, options)?;
        prompt.push_str(&fill(text, &[("sentence", &sentence)]));
        prompt.push('\n');
        Ok(prompt)
    }
}
