//! The look-alike of RadQA.

use serde::Serialize;

use super::{Patients, StudyFile, day_tag, name_tag, row_id};
use crate::draw::Draw;

const NAMES: [&str; 3] = ["train.json", "dev.json", "test.json"];

/// What reports speak of: its name, and the questions that are asked about it.
const FINDINGS: &[(&str, [&str; 3])] = &[
    (
        "pleural effusion",
        [
            "Is there a pleural effusion?",
            "Any effusion?",
            "Is there fluid around the lung?",
        ],
    ),
    (
        "pneumothorax",
        [
            "Is there a pneumothorax?",
            "Any pneumothorax?",
            "Has the lung collapsed?",
        ],
    ),
    (
        "consolidation",
        [
            "Is there a consolidation?",
            "Any consolidation?",
            "Are there signs of pneumonia?",
        ],
    ),
    (
        "pulmonary nodule",
        [
            "Is there a nodule?",
            "Any pulmonary nodule?",
            "Are there nodules in the lungs?",
        ],
    ),
    (
        "rib fracture",
        [
            "Is there a rib fracture?",
            "Any fracture?",
            "Are the ribs broken?",
        ],
    ),
    (
        "lymphadenopathy",
        [
            "Is there lymphadenopathy?",
            "Any enlarged nodes?",
            "Are lymph nodes enlarged?",
        ],
    ),
    (
        "pulmonary edema",
        [
            "Is there pulmonary edema?",
            "Any edema?",
            "Are there signs of fluid overload?",
        ],
    ),
    (
        "hiatal hernia",
        [
            "Is there a hiatal hernia?",
            "Any hernia?",
            "Has the stomach moved up?",
        ],
    ),
];

const SIZES: [&str; 5] = ["small", "moderate", "large", "tiny", "new"];
const SIDES: [&str; 4] = ["left", "right", "bilateral", "right apical"];

/// A file in the format of SQuAD 2.0.
#[derive(Serialize)]
struct File {
    data: Vec<Note>,
    version: &'static str,
}

#[derive(Serialize)]
struct Note {
    title: String,
    paragraphs: Vec<Paragraph>,
}

#[derive(Serialize)]
struct Paragraph {
    qas: Vec<Qa>,
    context: String,
    document_id: String,
}

#[derive(Serialize)]
struct Qa {
    question: String,
    id: String,
    answers: Vec<Marked>,
    is_impossible: bool,
}

#[derive(Serialize)]
struct Marked {
    text: String,
    answer_start: usize,
}

/// A section of a report with what can be asked about it.
struct Section {
    text: String,
    /// A question; its answer in the text and a shorter one, which another reader would mark; `None` for no answer.
    asked: Vec<(String, Option<(String, String)>)>,
}

pub(super) fn files(mut patients: Patients) -> Vec<StudyFile> {
    let mut index = 0;
    let parts = patients.parts(|_, draw| {
        index += 1;
        let title = row_id(index, draw).to_string();
        let sections = [findings(draw), impression(draw)];
        (title, sections)
    });
    let files = NAMES.into_iter().zip(parts).enumerate();
    files
        .map(|(part, (name, reports))| {
            // Two readers marked the answers of the parts that are measured.
            let readers = if part == 0 { 1 } else { 2 };
            let reports = reports.iter();
            let data = reports.map(|(title, sections)| report(title, sections, readers));
            let file = File {
                data: data.collect(),
                version: "1.0.0",
            };
            StudyFile {
                name: name.to_owned(),
                text: serde_json::to_string(&file).unwrap_or_default(),
            }
        })
        .collect()
}

fn report(title: &str, sections: &[Section], readers: usize) -> Note {
    let paragraphs = (1..).zip(sections).map(|(number, section)| {
        let qas = (1..)
            .zip(&section.asked)
            .map(|(question, (text, answer))| Qa {
                question: text.clone(),
                id: format!("{title}_{number}_{question}"),
                answers: answers(&section.text, answer.as_ref(), readers),
                is_impossible: answer.is_none(),
            });
        Paragraph {
            qas: qas.collect(),
            context: section.text.clone(),
            document_id: format!("{title}_{number}"),
        }
    });
    Note {
        title: title.to_owned(),
        paragraphs: paragraphs.collect(),
    }
}

fn answers(context: &str, answer: Option<&(String, String)>, readers: usize) -> Vec<Marked> {
    let Some((long, short)) = answer else {
        return Vec::new();
    };
    let texts = [long, short];
    let marked = texts.into_iter().take(readers).filter_map(|text| {
        Some(Marked {
            text: text.clone(),
            // Characters, as Python counts.
            answer_start: context[..context.find(text.as_str())?].chars().count(),
        })
    });
    marked.collect()
}

/// Three of the findings, each seen or not, and one that the section does not speak of.
fn findings(draw: &mut Draw) -> Section {
    let mut order: Vec<usize> = (0..FINDINGS.len()).collect();
    draw.shuffle(&mut order);
    let before = day_tag(draw);
    let mut text = format!("FINDINGS: As compared to the prior study of {before}, ");
    text.push_str(draw.pick(&["the heart is normal in size.", "the heart is enlarged."]));
    let mut asked = Vec::new();
    for &at in &order[..3] {
        let (name, questions) = &FINDINGS[at];
        let (sentence, long, short) = match draw.below(3) {
            0 => (
                format!("There is no {name}."),
                format!("There is no {name}"),
                format!("no {name}"),
            ),
            _ => {
                let (size, side) = (draw.pick(&SIZES), draw.pick(&SIDES));
                let seen = format!("{size} {side} {name}");
                (format!("There is a {seen}."), format!("a {seen}"), seen)
            }
        };
        text.push_str(&format!("\n {sentence}"));
        asked.push((draw.pick(questions).to_owned(), Some((long, short))));
    }
    // A question that is not answered takes the place of an answered one in most reports.
    if draw.chance(75) {
        let (_, questions) = &FINDINGS[order[3]];
        asked[draw.below(3)] = (draw.pick(questions).to_owned(), None);
    }
    Section { text, asked }
}

/// An impression with a doctor and a day behind tags.
fn impression(draw: &mut Draw) -> Section {
    let (name, questions) = &FINDINGS[draw.below(FINDINGS.len())];
    let (size, side) = (draw.pick(&SIZES), draw.pick(&SIDES));
    let seen = format!("{size} {side} {name}");
    let (doctor, day) = (name_tag(draw), day_tag(draw));
    let lead = draw.pick(&["IMPRESSION:", "CONCLUSION:"]);
    let told = draw.pick(&["were discussed with", "were reported by telephone to"]);
    let seen = format!("{}{}", seen[..1].to_uppercase(), &seen[1..]);
    let text = format!("{lead}\n 1. {seen}.\n 2. The findings {told} Dr. {doctor} on {day}.");
    let who = match draw.chance(80) {
        true => (
            "Who was told of the findings?",
            Some((format!("Dr. {doctor}"), doctor)),
        ),
        false => ("Which device is in place?", None),
    };
    let asked = vec![
        (draw.pick(questions).to_owned(), Some((seen.clone(), seen))),
        (who.0.to_owned(), who.1),
        (
            "When were the findings reported?".to_owned(),
            Some((format!("on {day}"), day)),
        ),
    ];
    Section { text, asked }
}
