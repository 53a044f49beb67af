//! The eight tasks.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// One of the eight tasks that Asclepius was trained on.
///
/// The order is the published one (`preprocessing/bootstraping.py`): `Task::ALL[i].index() == i`,
/// and the data sets name tasks by [`Task::name`].
///
/// ```
/// use clinical_prompts::asclepius::Task;
///
/// let task: Task = "Abbreviation Expansion".parse()?;
/// assert_eq!(task.index(), 1);
/// assert_eq!(task.seed_instructions()[1], "Could you decode all the abbreviations?");
/// # Ok::<(), clinical_prompts::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Find and classify the entities of a note.
    NamedEntityRecognition,
    /// Write abbreviations out.
    AbbreviationExpansion,
    /// Say how two things of a note are related.
    RelationExtraction,
    /// Find dates, times and durations.
    TemporalInformationExtraction,
    /// Say what an expression refers to.
    CoreferenceResolution,
    /// Say the same in other words.
    Paraphrasing,
    /// Say the same in fewer words.
    Summarization,
    /// Answer a question about a note.
    QuestionAnswering,
}

impl Task {
    /// The tasks in published order.
    pub const ALL: [Self; 8] = [
        Self::NamedEntityRecognition,
        Self::AbbreviationExpansion,
        Self::RelationExtraction,
        Self::TemporalInformationExtraction,
        Self::CoreferenceResolution,
        Self::Paraphrasing,
        Self::Summarization,
        Self::QuestionAnswering,
    ];

    /// The position in [`Task::ALL`], 0 to 7.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The published name, for example `Named Entity Recognition`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NamedEntityRecognition => "Named Entity Recognition",
            Self::AbbreviationExpansion => "Abbreviation Expansion",
            Self::RelationExtraction => "Relation Extraction",
            Self::TemporalInformationExtraction => "Temporal Information Extraction",
            Self::CoreferenceResolution => "Coreference Resolution",
            Self::Paraphrasing => "Paraphrasing",
            Self::Summarization => "Summarization",
            Self::QuestionAnswering => "Question Answering",
        }
    }

    /// The five expert-verified instructions that data generation starts from
    /// (`preprocessing/bootstraping.py`).
    pub const fn seed_instructions(self) -> &'static [&'static str; 5] {
        &SEEDS[self as usize]
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Task {
    type Err = Error;

    /// Reads the published name, exactly as it is spelled.
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|task| task.name() == name)
            .ok_or(Error::UnknownName {
                kind: "Asclepius task",
            })
    }
}

/// In the order of [`Task::ALL`].
static SEEDS: [[&str; 5]; 8] = [
    [
        "Can you identify and categorize all the medical conditions?",
        "Could you extract all medications prescribed and their corresponding dosages?",
        "What were the diagnostic tests and their results?",
        "Identify all the medical procedures.",
        "Can you recognize and list any life style factors such as smoking, alcohol consumption, or exercise habits?",
    ],
    [
        "What is the expanded form of the abbreviation 'COPD'?",
        "Could you decode all the abbreviations?",
        "'HTN' has been mentioned frequently in this report. Could you clarify what it means?",
        "In this medical report, what would 'CAD' typically stand for?",
        "I see 'DM' used here in relation to a patient's condition, could you provide the full term?",
    ],
    [
        "Identify the connection between the medication 'Metformin' and the patient's diagnosed condition 'Type 2 diabetes'.",
        "Establish the relation between the prescribed dosage of 'Lisinopril' and the patient's 'hypertension' management.",
        "Can you find the link between the use of 'antibiotics' and the patient's 'post-operative infection'?",
        "Determine the association between the patient's lifestyle modifications, specifically 'diet and exercise', and the improvement in 'cholesterol levels'.",
        "Decipher the relationship between the 'radiation therapy' administered and the progress of the patient's 'breast cancer'.",
    ],
    [
        "Can you extract the duration of the patient's treatment?",
        "Identify the duration of the hospital stay mentioned in the discharge summary.",
        "Retrieve the timestamps of any surgical procedures.",
        "Extract the date and time of the last medication administration.",
        "Identify any temporal references to follow-up appointments or scheduled tests in the summary.",
    ],
    [
        "Which medication does 'it' refer to in the line mentioning 'it should be taken twice daily' in the medication instructions section?",
        "Please clarify what 'this procedure' refers to in the surgeon's notes section of the discharge summary.",
        "Identify the coreferents for the pronouns used in the second paragraph.",
        "In the patient education section, when 'these exercises' are mentioned, what specific exercises are being referred to?",
        "Who does 'he' refer to in the sentence 'He is expected to recover fully' in the prognosis section?",
    ],
    [
        "The discharge summary states that the patient suffered from 'an anomalous blockage in the coronary artery.' Could you paraphrase this medical term into simpler language that the patient might understand?",
        "How would you rephrase the line in the discharge summary, 'Patient exhibits signs of acute rhinosinusitis,' to make it easier for a non-medical professional to grasp?",
        "In this discharge summary, it mentions 'diabetes mellitus type 2 with hyperglycemia.' Can you provide a paraphrase that might be more straightforward for the patient and their family?",
        "The term 'post-operative seroma' appears in the patient's discharge summary. Can you paraphrase this to a less clinical terminology?",
        "Could you translate the sentence, 'The patient's condition was complicated by acute renal failure due to ischemia,' into more common terms to aid in communicating the situation to the patient?",
    ],
    [
        "Can you provide a succinct summary of the key clinical findings and treatment recommendations outlined in this discharge summary?",
        "Can you identify and condense any lifestyle and medication modifications recommended in the patient's discharge summary?",
        "Given the patient's discharge summary, can you extract the diagnosis and prognosis information and summarize it in layman's terms for the patient's understanding?",
        "Could you extract and summarize the patient's progress during hospitalization, as well as key notes regarding her discharge planning?",
        "What were the key findings from the lab tests, imaging, and other diagnostic procedures? Please summarize these in simple terms.",
    ],
    [
        "Considering the 'uncontrolled diabetes' statement in the hospital release notes, what lifestyle changes and medication revisions can be recommended?",
        "Identify all the instances suggesting 'adverse reactions' from drugs mentioned in the discharge synopsis.",
        "In light of the 'congestive heart failure' diagnosis in the patient's discharge summary, what are the subsequent tests and procedures that need to be arranged?",
        "Locate all references to 'dietary restrictions' in the discharge document and provide an explanation for each constraint.",
        "Based on the 'chronic kidney disease' mention in the discharge documents, what routine follow-up strategy and patient awareness should be put into action?",
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_the_position() {
        for (i, task) in Task::ALL.into_iter().enumerate() {
            assert_eq!(task.index(), i);
            assert_eq!(task.name().parse(), Ok(task));
        }
        let error = "question answering".parse::<Task>().unwrap_err();
        assert!(matches!(error, Error::UnknownName { .. }));
    }
}
