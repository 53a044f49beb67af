//! Examples for a T5 model, drawn from the same patients as the cases.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::Generator;
use crate::draw::Draw;
use crate::facts::{Facts, join};
use crate::note::Written;
use crate::vocab::{
    ALLERGENS, CONDITIONS, DIAGNOSES, DISPOSITIONS, DRUGS, FREQUENCIES, LABS, OTHER_ABBREVIATIONS,
};

/// What a T5 example trains; the input has the form the fine-tuned Clinical-T5 models use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum T5Task {
    /// `expand: {text}` to the text with its abbreviations spelled out.
    #[serde(rename = "expand")]
    Expand,
    /// `mednli premise: {premise} hypothesis: {hypothesis}` to `entailment`, `neutral` or
    /// `contradiction`.
    #[serde(rename = "mednli")]
    MedNli,
    /// Text with `<extra_id_0>`, perhaps `<extra_id_1>`, to the missing spans, each after its
    /// sentinel, closed by the next sentinel. The rest of the text determines them.
    #[serde(rename = "fill")]
    Fill,
    /// `question: {question} context: {section}` to a span of the section, or to an empty text when
    /// the section does not answer it.
    #[serde(rename = "radqa")]
    RadQa,
}

impl T5Task {
    /// All four tasks.
    pub const ALL: [Self; 4] = [Self::Expand, Self::MedNli, Self::Fill, Self::RadQa];
}

/// An input and a target text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The task.
    pub task: T5Task,
    /// Encoder text, one line.
    pub input: String,
    /// Decoder text; empty only for a question that its context does not answer.
    pub target: String,
}

/// Four examples per patient, one of each task, in random order.
pub(crate) struct Examples {
    generator: Generator,
    ready: VecDeque<Example>,
}

impl Examples {
    pub fn new(generator: Generator) -> Self {
        Self {
            generator,
            ready: VecDeque::new(),
        }
    }
}

impl Iterator for Examples {
    type Item = Example;

    fn next(&mut self) -> Option<Example> {
        if self.ready.is_empty() {
            let (facts, note, mut draw) = self.generator.draw();
            let mut made = [
                expand(&facts, &mut draw),
                nli(&facts, &mut draw),
                fill(&facts, &mut draw),
                question(&facts, &note, &mut draw),
            ];
            draw.shuffle(&mut made);
            self.ready.extend(made);
        }
        self.ready.pop_front()
    }
}

fn expand(facts: &Facts, draw: &mut Draw) -> Example {
    let (short, long) = match draw.below(5) {
        0 => {
            let lead = draw.pick(&["PMH", "Past Medical History", "History"]);
            let full = join(facts.history.iter().map(|h| CONDITIONS[h.condition].full));
            let long_lead = if lead == "PMH" {
                "Past Medical History"
            } else {
                lead
            };
            (
                format!("{lead}: {}", facts.history_list()),
                format!("{long_lead}: {full}"),
            )
        }
        1 | 2 => {
            let m = &facts.medications[draw.below(facts.medications.len())];
            let (dotted, capital, words) = FREQUENCIES[m.frequency];
            let (name, dose) = (m.name, &m.dose);
            let short = if draw.chance(50) {
                format!("{name} {dose} p.o. {dotted}")
            } else {
                format!("{name} {dose} PO {capital}")
            };
            (short, format!("{name} {dose} by mouth {words}"))
        }
        3 => {
            let (k, value) = &facts.labs[draw.below(facts.labs.len())];
            let lab = &LABS[*k];
            (
                format!("{} {value}", lab.short),
                format!("{} {value}", lab.full),
            )
        }
        _ => {
            let mut known: Vec<(&str, &str)> = OTHER_ABBREVIATIONS.to_vec();
            known.extend(CONDITIONS.iter().map(|c| (c.abbreviation, c.full)));
            known.extend(LABS.iter().map(|l| (l.short, l.full)));
            known.retain(|(short, _)| !short.is_empty());
            let (short, long) = known[draw.below(known.len())];
            (short.to_owned(), long.to_owned())
        }
    };
    Example {
        task: T5Task::Expand,
        input: format!("expand: {short}"),
        target: long,
    }
}

/// Wanted relation between premise and hypothesis.
pub(crate) const LABELS: [&str; 3] = ["entailment", "neutral", "contradiction"];

/// An item of `all` that `taken` does not hold.
fn other<'a>(draw: &mut Draw, all: &[&'a str], taken: &[&str]) -> &'a str {
    loop {
        let item = draw.pick(all);
        if !taken.contains(&item) {
            return item;
        }
    }
}

fn nli(facts: &Facts, draw: &mut Draw) -> Example {
    let (premise, hypothesis, label) = sentences(facts, draw);
    Example {
        task: T5Task::MedNli,
        input: format!("mednli premise: {premise} hypothesis: {hypothesis}."),
        target: LABELS[label].to_owned(),
    }
}

/// A premise, a hypothesis without its full stop, and the place of their relation in [`LABELS`].
pub(crate) fn sentences(facts: &Facts, draw: &mut Draw) -> (String, String, usize) {
    let label = draw.below(3);
    let he = facts.pronoun();
    let (premise, hypothesis) = match draw.below(5) {
        0 => nli_history(facts, label, draw),
        1 => nli_symptoms(facts, label, draw),
        2 => {
            let place = facts.disposition;
            let hypothesis = match label {
                0 => format!("The patient went to {place}"),
                1 => format!("The patient is allergic to {}", draw.pick(ALLERGENS)),
                _ => format!(
                    "The patient went to {}",
                    other(draw, DISPOSITIONS, &[place])
                ),
            };
            (
                format!("{he} was discharged to {place} after {} days.", facts.stay),
                hypothesis,
            )
        }
        3 => {
            let (k, value) = &facts.labs[draw.below(facts.labs.len())];
            let absent: Vec<usize> = (0..LABS.len())
                .filter(|o| facts.labs.iter().all(|(l, _)| l != o))
                .collect();
            let lab = if label == 1 {
                &LABS[absent[draw.below(absent.len())]]
            } else {
                &LABS[*k]
            };
            let no = if label == 2 { "not " } else { "" };
            let list: Vec<String> = facts
                .labs
                .iter()
                .map(|(k, v)| format!("{} {v}", LABS[*k].short))
                .collect();
            let premise = format!("Labs were {}.", list.join(", "));
            (
                premise,
                format!("The {} was {no}measured, with {value}", lab.full),
            )
        }
        _ => {
            let names: Vec<&str> = facts.medications.iter().map(|m| m.name).collect();
            let all: Vec<&str> = DRUGS.iter().map(|d| d.name).collect();
            let drug = names[draw.below(names.len())];
            let hypothesis = match label {
                0 => format!("The patient takes {drug}"),
                1 => format!("The patient takes {}", other(draw, &all, &names)),
                _ => format!("The patient does not take {drug}"),
            };
            (
                format!("{he} was discharged on {}.", facts.drug_names()),
                hypothesis,
            )
        }
    };
    (premise, hypothesis, label)
}

fn nli_history(facts: &Facts, label: usize, draw: &mut Draw) -> (String, String) {
    let own = &facts.history[draw.below(facts.history.len())];
    let hypothesis = match label {
        0 => format!("The patient has {}", CONDITIONS[own.condition].full),
        1 => {
            let taken: Vec<&str> = facts
                .history
                .iter()
                .map(|h| CONDITIONS[h.condition].full)
                .collect();
            let all: Vec<&str> = CONDITIONS.iter().map(|c| c.full).collect();
            format!("The patient has {}", other(draw, &all, &taken))
        }
        _ => format!("The patient never had {}", CONDITIONS[own.condition].full),
    };
    let (age, noun) = (facts.age, facts.noun());
    let premise = format!(
        "{age} year old {noun} with a history of {}.",
        facts.history_list()
    );
    (premise, hypothesis)
}

fn nli_symptoms(facts: &Facts, label: usize, draw: &mut Draw) -> (String, String) {
    let mut all: Vec<&str> = DIAGNOSES
        .iter()
        .flat_map(|d| d.complaints)
        .copied()
        .collect();
    all.sort_unstable();
    all.dedup();
    let had = facts.complaint;
    let first = other(draw, &all, &[had]);
    let second = other(draw, &all, &[had, first]);
    let asked = match label {
        0 => had,
        1 => other(draw, &all, &[had, first, second]),
        _ => *draw.pick(&[&first, &second]),
    };
    let he = facts.pronoun();
    (
        format!("{he} had {had} but denied {first} and {second}."),
        format!("The patient had {asked}"),
    )
}

fn fill(facts: &Facts, draw: &mut Draw) -> Example {
    let m = &facts.medications[draw.below(facts.medications.len())];
    let (name, dose) = (m.name, &m.dose);
    let he = facts.pronoun();
    let (text, spans): (String, Vec<&str>) = match draw.below(6) {
        0 => {
            let (complaint, days) = (facts.complaint, facts.complaint_days);
            let text = format!(
                "Chief Complaint: {complaint} HPI: {he} presented with <extra_id_0> for {days} days."
            );
            (text, vec![complaint])
        }
        1 => {
            let words = FREQUENCIES[m.frequency];
            let text = format!(
                "{name} {dose} {} means {name} <extra_id_0> taken <extra_id_1> .",
                words.1
            );
            (text, vec![dose, words.2])
        }
        2 => {
            let (age, doctor) = (facts.age, facts.attending);
            let text = format!(
                "{} is a {age} year old <extra_id_0> seen by Dr. {doctor}.",
                facts.title()
            );
            (text, vec![facts.noun()])
        }
        3 => {
            let (dx, drug) = (facts.diagnosis.name, facts.treatment);
            let text = format!(
                "{he} had {dx} and received {drug}. The <extra_id_0> was treated with <extra_id_1> ."
            );
            (text, vec![dx, drug])
        }
        4 => {
            // The patient's own condition when it has a short form, else any.
            let own = facts.history.iter().map(|h| &CONDITIONS[h.condition]);
            let mut short: Vec<_> = own.filter(|c| !c.abbreviation.is_empty()).collect();
            if short.is_empty() {
                short = CONDITIONS
                    .iter()
                    .filter(|c| !c.abbreviation.is_empty())
                    .collect();
            }
            let condition = short[draw.below(short.len())];
            let full = condition.full;
            let text = format!(
                "{} , that is <extra_id_0> , is in the history.",
                condition.abbreviation
            );
            (text, vec![full])
        }
        _ => {
            let place = facts.disposition;
            let text =
                format!("Disposition: {place} Course: {he} went to <extra_id_0> in good health.");
            (text, vec![place])
        }
    };
    let mut target = String::new();
    for (k, span) in spans.iter().enumerate() {
        target.push_str(&format!("<extra_id_{k}> {span} "));
    }
    target.push_str(&format!("<extra_id_{}>", spans.len()));
    Example {
        task: T5Task::Fill,
        input: text,
        target,
    }
}

fn question(facts: &Facts, note: &Written, draw: &mut Draw) -> Example {
    let (ask, context, span): (String, &str, String) = match draw.below(6) {
        0 => {
            let (k, value) = &facts.labs[draw.below(facts.labs.len())];
            (
                format!("What was the {}?", LABS[*k].full),
                &note.labs,
                value.clone(),
            )
        }
        1 => {
            let lab = draw.below(LABS.len());
            let value = facts.labs.iter().find(|(k, _)| *k == lab);
            let value = value.map(|(_, v)| v.clone()).unwrap_or_default();
            (
                format!("What was the {}?", LABS[lab].full),
                &note.labs,
                value,
            )
        }
        2 => {
            let ask = "How long did the symptoms last?".to_owned();
            (
                ask,
                &note.presentation,
                format!("{} days", facts.complaint_days),
            )
        }
        3 => {
            let ask = "What symptom led to the admission?".to_owned();
            (ask, &note.presentation, facts.complaint.to_owned())
        }
        4 => {
            let ask = "What was the patient treated with?".to_owned();
            (ask, &note.course, facts.treatment.to_owned())
        }
        _ => {
            let name = facts
                .procedure
                .as_ref()
                .map(|p| p.name.to_owned())
                .unwrap_or_default();
            (
                "Which procedure was performed?".to_owned(),
                &note.course,
                name,
            )
        }
    };
    let input = format!("question: {ask} context: {context}");
    Example {
        task: T5Task::RadQa,
        input,
        target: span,
    }
}
