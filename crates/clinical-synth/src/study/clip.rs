//! The look-alike of CLIP.

use clinical_prompts::clip::Label;

use super::{Patients, StudyFile, day_tag, name_tag, row_id};
use crate::draw::Draw;
use crate::facts::Facts;
use crate::vocab::{DRUGS, LABS};

const LISTS: [&str; 3] = ["train_ids.csv", "val_ids.csv", "test_ids.csv"];

/// Sentences that ask for nothing; `{..}` is filled from the patient.
const PLAIN: &[&str] = &[
    "Patient is a {age} year old {noun} who presented with {complaint} .",
    "{He} was treated with {treatment} for {days} days .",
    "Past medical history is notable for {history} .",
    "On {day} , {he} was transferred to the floor in stable condition .",
    "The lungs were clear to auscultation bilaterally .",
    "Labs on admission showed {lab} of {value} .",
    "Chest film showed no acute process .",
    "{He} was seen by Dr. {name} on the day of admission .",
    "{He} tolerated a regular diet and walked without help .",
    "Vital signs remained stable .",
    "Discharge disposition was {place} .",
    "The patient 's pain was well controlled .",
    // The words of those that ask for something, about what has been.
    "{lab} was checked on {day} and was unchanged .",
    "Repeat {lab} within {follow} of admission was normal .",
    "Chest CT on {day} showed a nodule .",
    "MRI of the head was obtained on {day} .",
    "{He} had an appointment with Dr. {name} {follow} before admission .",
    "{He} had been taking {drug} {dose} at home .",
    "The dose of {drug} had been {dose} .",
    "A colonoscopy was done in the past and the sutures were removed .",
    "{He} returned to the hospital with fever and {complaint} .",
    "Cultures drawn on {day} were negative .",
];

/// Sentences that ask for one action, by label.
const ASKING: &[(Label, &[&str])] = &[
    (
        Label::Appointment,
        &[
            "Please follow up with Dr. {name} in {follow} .",
            "You have an appointment with your primary care doctor on {day} .",
            "Call the clinic to schedule a visit in {follow} .",
            "Follow-up is arranged with Dr. {name} at [**Hospital3 {n}**] .",
        ],
    ),
    (
        Label::Medication,
        &[
            "We stopped your {drug} until you see your doctor .",
            "Please take {drug} {dose} for {days} more days .",
            "The dose of {drug} was increased to {dose} .",
            "Do not take {drug} before the next visit .",
        ],
    ),
    (
        Label::Other,
        &[
            "PCP should be aware that the patient lives alone .",
            "The family asked that the outpatient team review goals of care .",
            "Of note , the patient refused placement and this should be revisited .",
            "Cultures were pending at the time of discharge .",
        ],
    ),
    (
        Label::Lab,
        &[
            "Please check {lab} on {day} .",
            "Repeat {lab} within {follow} .",
            "{lab} should be drawn in {follow} and faxed to Dr. {name} .",
            "Outpatient {lab} monitoring is needed .",
        ],
    ),
    (
        Label::CaseSpecific,
        &[
            "Return to the hospital if you have fever or {complaint} .",
            "Do not lift more than ten pounds for {follow} .",
            "Weigh yourself every morning and call if you gain weight .",
            "You should not drive while you take this medicine .",
        ],
    ),
    (
        Label::Procedure,
        &[
            "A colonoscopy should be done in {follow} .",
            "The sutures should be removed in {follow} .",
            "Please arrange an outpatient endoscopy .",
            "{He} will need an elective catheterization in {follow} .",
        ],
    ),
    (
        Label::Imaging,
        &[
            "Repeat chest CT in {follow} to follow the nodule .",
            "An outpatient echocardiogram is recommended .",
            "MRI of the head should be obtained in {follow} .",
            "Please repeat the ultrasound in {follow} .",
        ],
    ),
];

/// Sentences that ask for two actions.
const ASKING_TWICE: &[(Label, Label, &str)] = &[
    (
        Label::Appointment,
        Label::Lab,
        "Please see Dr. {name} in {follow} and have your {lab} checked there .",
    ),
    (
        Label::Medication,
        Label::Lab,
        "Continue {drug} {dose} and check {lab} in {follow} .",
    ),
    (
        Label::Appointment,
        Label::Imaging,
        "Follow up with Dr. {name} after the repeat chest CT in {follow} .",
    ),
];

pub(super) fn files(mut patients: Patients) -> Vec<StudyFile> {
    let mut index = 0;
    let parts = patients.parts(|facts, draw| {
        index += 1;
        (row_id(index, draw), note(facts, draw))
    });
    let mut csv = Vec::new();
    let row = |out: &mut Vec<u8>, fields: [&str; 4]| {
        clinical_files::csv::write_row(out, fields.map(Some));
    };
    row(&mut csv, ["doc_id", "sent_index", "sentence", "labels"]);
    let mut files = Vec::new();
    for (name, notes) in LISTS.into_iter().zip(&parts) {
        let ids: String = notes.iter().map(|(id, _)| format!("{id}\n")).collect();
        files.push(StudyFile {
            name: name.to_owned(),
            text: ids,
        });
        for (id, sentences) in notes {
            for (index, (sentence, labels)) in sentences.iter().enumerate() {
                let words = python_list(sentence.split(' '));
                let tags: Vec<String> = labels.iter().map(|label| format!("I-{label}")).collect();
                let tags = python_list(tags.iter().map(String::as_str));
                row(
                    &mut csv,
                    [&id.to_string(), &index.to_string(), &words, &tags],
                );
            }
        }
    }
    files.push(StudyFile {
        name: "sentence_level.csv".to_owned(),
        text: String::from_utf8(csv).unwrap_or_default(),
    });
    files
}

/// The sentences of a note with their labels: about one in four asks for something, mostly near the end.
fn note(facts: &Facts, draw: &mut Draw) -> Vec<(String, Vec<Label>)> {
    let mut sentences = Vec::new();
    for _ in 0..draw.range(8, 18) {
        sentences.push((filled(draw.pick(PLAIN), facts, draw), Vec::new()));
    }
    for _ in 0..draw.range(2, 6) {
        let asked = match draw.below(8) {
            0 => {
                let (first, second, text) = &ASKING_TWICE[draw.below(ASKING_TWICE.len())];
                (filled(text, facts, draw), vec![*first, *second])
            }
            _ => {
                let (label, texts) = &ASKING[draw.below(ASKING.len())];
                (filled(draw.pick(texts), facts, draw), vec![*label])
            }
        };
        let at = sentences.len() - draw.below(sentences.len() / 2);
        sentences.insert(at, asked);
    }
    sentences
}

fn filled(template: &str, facts: &Facts, draw: &mut Draw) -> String {
    let medication = &facts.medications[draw.below(facts.medications.len())];
    let drug = match draw.chance(50) {
        true => medication.name,
        false => DRUGS[draw.below(DRUGS.len())].name,
    };
    let (lab, value) = &facts.labs[draw.below(facts.labs.len())];
    let values: [(&str, String); 17] = [
        ("{age}", facts.age.to_string()),
        ("{noun}", facts.noun().to_owned()),
        ("{complaint}", facts.complaint.to_owned()),
        ("{He}", facts.pronoun().to_owned()),
        ("{he}", facts.pronoun().to_lowercase()),
        ("{treatment}", facts.treatment.to_owned()),
        ("{days}", facts.treatment_days.to_string()),
        ("{history}", facts.history_list().replace(',', " ,")),
        ("{day}", day_tag(draw)),
        ("{lab}", LABS[*lab].short.to_owned()),
        ("{value}", value.clone()),
        ("{name}", name_tag(draw)),
        ("{place}", facts.disposition.to_owned()),
        ("{follow}", facts.follow_up.clone()),
        ("{n}", draw.range(1, 99).to_string()),
        ("{drug}", drug.to_owned()),
        ("{dose}", medication.dose.clone()),
    ];
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(name, &value);
    }
    text
}

/// A list of texts as Python's `repr` writes it: single quotes, or double ones around an apostrophe.
fn python_list<'t>(items: impl Iterator<Item = &'t str>) -> String {
    let quoted = items.map(|item| match item.contains('\'') {
        true => format!("\"{item}\""),
        false => format!("'{item}'"),
    });
    format!("[{}]", quoted.collect::<Vec<_>>().join(", "))
}
