//! Making instruction data: the three generation prompts, reading texts back out of a prompt, and
//! the filter for finished rows.
//!
//! The published pipeline asks gpt-3.5-turbo at temperature 1: a note from a case report
//! ([`note`]), an instruction about the note for a random task ([`instruction`]), an answer
//! ([`answer`]). It keeps the prompts, reads note and instruction back with
//! [`discharge_summary_of`] and [`instruction_of`], and drops rows with [`keeps`].

use super::{BLOCKS, Task, text};
use crate::fill::fill;
use crate::marker::{Marker, guard, guard_required};
use crate::{Field, Options, Result};

static CASE_REPORT: [Marker; 2] = [
    Marker::anywhere("[The start of case report]"),
    Marker::anywhere("[The end of case report]"),
];

static INSTRUCTION: [Marker; 4] = [
    Marker::anywhere("[Discharge Summary Begin]"),
    Marker::anywhere("[Discharge Summary End]"),
    Marker::anywhere("[Example Questions Begin]"),
    Marker::anywhere("[Example Questions End]"),
];

/// Asks for a synthetic discharge summary in the style of a case report
/// (`preprocessing/pmc_preprocessing.py`; answer limit 4088 tokens minus the prompt).
///
/// # Errors
/// [`Error::Empty`](crate::Error::Empty) for a blank case report,
/// [`Error::MarkerInText`](crate::Error::MarkerInText) for one that contains a marker.
pub fn note(case_report: &str, options: &Options) -> Result<String> {
    let report = guard_required(Field::CaseReport, case_report, &CASE_REPORT, options)?;
    Ok(fill(text::NOTE_GENERATION, &[("pmc", &report)]))
}

/// Asks for an instruction of `task` about a note (`preprocessing/bootstraping.py`; answer limit
/// 300 tokens).
///
/// The published pipeline shows three random [seed instructions](Task::seed_instructions) and then
/// up to two random ones of those generated so far for the task; `samples` are shown in the given
/// order, one per line.
///
/// # Errors
/// [`Error::MarkerInText`](crate::Error::MarkerInText) for a note or a sample with a marker.
pub fn instruction(task: Task, note: &str, samples: &[&str], options: &Options) -> Result<String> {
    let note = guard(Field::Note, note, &INSTRUCTION, options)?;
    let samples = samples
        .iter()
        .enumerate()
        .map(|(i, sample)| guard(Field::Sample(i), sample, &INSTRUCTION, options))
        .collect::<Result<Vec<_>>>()?
        .join("\n");
    let values = [
        ("task", task.name()),
        ("note", &note),
        ("samples", &samples),
    ];
    Ok(fill(text::INSTRUCTION_GENERATION, &values))
}

/// Asks for the reference answer to an instruction about a note
/// (`preprocessing/postproc_questions.py`; answer limit 400 tokens plus the prompt).
///
/// # Errors
/// [`Error::Empty`](crate::Error::Empty) for a blank question,
/// [`Error::MarkerInText`](crate::Error::MarkerInText) for a text with a marker.
pub fn answer(note: &str, question: &str, options: &Options) -> Result<String> {
    let question = guard_required(Field::Question, question, &BLOCKS, options)?;
    let note = guard(Field::Note, note, &BLOCKS, options)?;
    let values = [("note", &*note), ("question", &*question)];
    Ok(fill(text::ANSWER_GENERATION, &values))
}

/// The case report inside a [`note`] prompt, as `preprocessing/pmc_postprocessing.py` reads it.
pub fn case_report_of(prompt: &str) -> Option<&str> {
    between(
        prompt,
        "[The start of case report]\n",
        "\n[The end of case report]",
    )
}

/// The note inside a prompt, as `preprocessing/make_instruction_dataset.py` reads it: from the
/// first begin marker to the **last** end marker.
///
/// ```
/// use clinical_prompts::asclepius::{generation, inference};
///
/// let prompt = inference("Pt stable.\nHome.", "Is the patient stable?")?;
/// assert_eq!(generation::discharge_summary_of(&prompt), Some("Pt stable.\nHome."));
/// # Ok::<(), clinical_prompts::Error>(())
/// ```
pub fn discharge_summary_of(prompt: &str) -> Option<&str> {
    between(
        prompt,
        "[Discharge Summary Begin]\n",
        "\n[Discharge Summary End]",
    )
}

/// The instruction inside a prompt; see [`discharge_summary_of`].
pub fn instruction_of(prompt: &str) -> Option<&str> {
    between(prompt, "[Instruction Begin]\n", "\n[Instruction End]")
}

/// The first match of the regular expression `begin(.*)end` with greedy `.` over newlines.
fn between<'t>(text: &'t str, begin: &str, end: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(begin)?;
    rest.rfind(end).map(|at| &rest[..at])
}

/// The phrases of the published filter, which show that the generator spoke about itself.
pub const FILTER_PHRASES: [&str; 11] = [
    "AI language",
    "language model",
    "clinical language",
    "recognition model",
    "extraction model",
    "the model",
    "summarization model",
    "clinical model",
    "generation model",
    "AI model",
    "NER model",
];

/// Whether the published filter keeps a row (`preprocessing/make_instruction_dataset.py`): no text
/// contains one of the [`FILTER_PHRASES`] in any case, and the answer does not end in `?`.
///
/// ```
/// use clinical_prompts::asclepius::generation::keeps;
///
/// assert!(keeps("BP 120/80.", "What is the BP?", "120/80."));
/// assert!(!keeps("BP 120/80.", "What is the BP?", "As an ai Language model I cannot say."));
/// assert!(!keeps("BP 120/80.", "What is the BP?", "Which day?"));
/// ```
pub fn keeps(note: &str, question: &str, answer: &str) -> bool {
    !answer.ends_with('?') && ![note, question, answer].into_iter().any(mentions_model)
}

fn mentions_model(text: &str) -> bool {
    let text: String = text.chars().map(fold).collect();
    FILTER_PHRASES
        .iter()
        .any(|phrase| text.contains(&phrase.to_ascii_lowercase()))
}

/// Python's `re.IGNORECASE` for ASCII letters: four other characters match `i`, `k` and `s`.
fn fold(c: char) -> char {
    match c {
        '\u{130}' | '\u{131}' => 'i',
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => c.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extraction_is_greedy() {
        let text = "[Instruction Begin]\na\n[Instruction End]\nb\n[Instruction End]\n";
        assert_eq!(instruction_of(text), Some("a\n[Instruction End]\nb"));
        let twice = "[Instruction Begin]\n[Instruction Begin]\na\n[Instruction End]";
        assert_eq!(instruction_of(twice), Some("[Instruction Begin]\na"));
    }

    #[test]
    fn extraction_needs_both_markers_and_both_newlines() {
        assert_eq!(
            instruction_of("[Instruction Begin]\n[Instruction End]"),
            None
        );
        assert_eq!(
            instruction_of("[Instruction Begin]\n\n[Instruction End]"),
            Some("")
        );
        assert_eq!(
            instruction_of("[Instruction End]\n[Instruction Begin]\na"),
            None
        );
        assert_eq!(
            instruction_of("[instruction begin]\na\n[instruction end]"),
            None
        );
    }

    #[test]
    fn every_text_of_a_row_is_filtered() {
        assert!(!keeps("THE MODEL", "q", "a"));
        assert!(!keeps("n", "ner model", "a"));
        assert!(!keeps("n", "q", "the clin\u{131}cal Model"));
        assert!(!keeps("n", "q", "recogn\u{130}tion model"));
        assert!(keeps("n?", "q?", "a model ship? yes"));
    }
}
