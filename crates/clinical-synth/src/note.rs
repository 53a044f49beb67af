//! Writing the facts down as a short discharge summary.

use std::fmt::Write as _;

use crate::draw::Draw;
use crate::entities::{Label, SynthEntity, mark, plain, unmark};
use crate::facts::Facts;
use crate::vocab::{FREQUENCIES, LABS, NOT_DRUGS, TESTS_IN_ADVICE, TRANSFUSION};

/// A note and what the questions need to know about its wording.
#[derive(Debug)]
pub(crate) struct Written {
    pub text: String,
    /// The section text that holds the hospital course.
    pub course: String,
    /// The section text that holds the blood tests.
    pub labs: String,
    /// One sentence of the history of present illness.
    pub presentation: String,
    /// The sentence after a procedure that has "the procedure" or "it" as its subject.
    pub tolerated: Option<&'static str>,
    /// What stands where in `text`.
    pub entities: Vec<SynthEntity>,
}

/// Writes the note; wording, order and optional sections come from `draw`.
///
/// Each part writes its entities between marks ([`mark`]), which are taken out at the end: where an entity stands is
/// known from the writing.
pub(crate) fn write(facts: &Facts, draw: &mut Draw) -> Written {
    let presentation = presentation(facts, draw);
    let (course, tolerated) = course(facts, draw);
    let labs = labs(facts, draw);

    let mut sections: Vec<String> = Vec::new();
    if draw.chance(80) {
        let heading = draw.pick(&["Chief Complaint", "CC", "Reason for Admission"]);
        sections.push(format!("{heading}: {}", symptom(facts.complaint)));
    }
    let heading = draw.pick(&["HPI", "History of Present Illness"]);
    sections.push(format!("{heading}: {presentation}"));

    let heading = draw.pick(&["PMH", "Past Medical History", "Medical History"]);
    let history: Vec<String> = facts
        .history
        .iter()
        .map(|h| mark(Label::Condition, h.written))
        .collect();
    let mut background = vec![format!("{heading}: {}", history.join(", "))];
    if let Some(allergy) = facts.allergy {
        let allergy = match NOT_DRUGS.contains(&allergy) {
            true => allergy.to_owned(),
            false => mark(Label::Drug, allergy),
        };
        background.push(format!("Allergies: {allergy}"));
    }
    let heading = draw.pick(&["Labs", "Pertinent Results", "Admission Labs"]);
    background.push(format!("{heading}: {labs}"));
    draw.shuffle(&mut background);
    sections.append(&mut background);

    let heading = draw.pick(&["Hospital Course", "Brief Hospital Course", "Course"]);
    sections.push(format!("{heading}: {course}"));

    let mut closing = vec![medications(facts, draw)];
    if draw.chance(80) {
        let diagnosis = mark(Label::Condition, facts.diagnosis.name);
        closing.push(format!("Discharge Diagnosis: {diagnosis}"));
    }
    let heading = draw.pick(&["Disposition", "Discharge Disposition"]);
    closing.push(format!("{heading}: {}", facts.disposition));
    draw.shuffle(&mut closing);
    sections.append(&mut closing);
    let heading = draw.pick(&["Follow-up", "Follow up", "Appointments"]);
    let wording = draw.pick(&["Dr. {d} in {t}", "see Dr. {d} in {t}", "PCP Dr. {d} in {t}"]);
    let follow_up = wording
        .replace("{d}", &mark(Label::Person, facts.follow_up_doctor))
        .replace("{t}", &facts.follow_up);
    sections.push(format!("{heading}: {follow_up}"));

    let (text, entities) = unmark(&format!("{}\n{}", header(facts, draw), sections.join("\n")));
    Written {
        text,
        course: plain(&course),
        labs: plain(&labs),
        presentation: plain(&presentation),
        tolerated,
        entities,
    }
}

fn header(facts: &Facts, draw: &mut Draw) -> String {
    let gap = if draw.chance(50) { " " } else { "\n" };
    let (a, b) = draw_pair(
        draw,
        ("Admission Date", "Discharge Date"),
        ("Admitted", "Discharged"),
    );
    let mut lines = vec![format!(
        "{a}: {}{gap}{b}: {}",
        mark(Label::Date, &facts.admitted),
        mark(Label::Date, &facts.discharged)
    )];
    let mut rest = vec![format!("Service: {}", facts.service)];
    let heading = draw.pick(&["Attending", "Attending Physician"]);
    rest.push(format!(
        "{heading}: Dr. {}",
        mark(Label::Person, facts.attending)
    ));
    draw.shuffle(&mut rest);
    lines.push(rest.join(if draw.chance(50) { " " } else { "\n" }));
    lines.join("\n")
}

fn draw_pair(
    draw: &mut Draw,
    long: (&'static str, &'static str),
    short: (&'static str, &'static str),
) -> (&'static str, &'static str) {
    if draw.chance(60) { long } else { short }
}

/// `Mr.` or `Ms.` with the surname as an entity.
fn title(facts: &Facts) -> String {
    let surname = mark(Label::Person, facts.surname);
    facts.title().replace(facts.surname, &surname)
}

/// A complaint as an entity, its article outside.
fn symptom(complaint: &str) -> String {
    match complaint.strip_prefix("a ") {
        Some(bare) => format!("a {}", mark(Label::Condition, bare)),
        None => mark(Label::Condition, complaint),
    }
}

fn presentation(facts: &Facts, draw: &mut Draw) -> String {
    let who = title(facts);
    let (age, noun) = (facts.age, facts.noun());
    let (complaint, days) = (symptom(facts.complaint), facts.complaint_days);
    match draw.below(4) {
        0 => format!(
            "{who} is a {age} year old {noun} who presented with {complaint} for {days} days."
        ),
        1 => format!(
            "{who} is a {age} year old {noun} who came to the ED with {complaint} for {days} days."
        ),
        2 => format!(
            "{age} year old {noun} with {complaint} for {days} days. {who} came in from home."
        ),
        _ => format!(
            "This {age} year old {noun}, {who}, was admitted with {complaint} for {days} days."
        ),
    }
}

fn course(facts: &Facts, draw: &mut Draw) -> (String, Option<&'static str>) {
    let he = facts.pronoun();
    let subject = if draw.chance(50) {
        title(facts)
    } else {
        "The patient".to_owned()
    };
    let dx = mark(Label::Condition, facts.diagnosis.name);
    let drug = match facts.treatment {
        TRANSFUSION => mark(Label::Procedure, TRANSFUSION),
        drug => mark(Label::Drug, drug),
    };
    let days = facts.treatment_days;
    let mut parts = vec![match draw.below(3) {
        0 => {
            format!("{subject} was found to have {dx} and was treated with {drug} for {days} days.")
        }
        1 => format!("Work-up showed {dx}. {subject} was treated with {drug} for {days} days."),
        _ => format!("{subject} received {drug} for {dx}, for {days} days."),
    }];
    let mut tolerated = None;
    if let Some(p) = &facts.procedure {
        let name = mark(Label::Procedure, p.name);
        let date = mark(Label::Date, &p.date);
        let surgeon = mark(Label::Person, p.surgeon);
        parts.push(match draw.below(3) {
            0 => format!(
                "On {date} {} underwent {name} by Dr. {surgeon}.",
                he.to_lowercase()
            ),
            1 => format!("Dr. {surgeon} performed {name} on {date}."),
            _ => format!("{he} had {name} on {date}, done by Dr. {surgeon}."),
        });
        if draw.chance(75) {
            let sentence = draw.pick(&[
                "The procedure went well.",
                "The procedure was uneventful.",
                "It was well tolerated.",
                "It had no complications.",
            ]);
            parts.push(sentence.to_owned());
            tolerated = Some(sentence);
        }
    }
    if let Some(c) = &facts.consult {
        let mut part = String::new();
        let lead = draw.pick(&[
            "Dr. {d} from {s} was consulted.",
            "Dr. {d} ({s}) was consulted.",
        ]);
        let doctor = mark(Label::Person, c.doctor);
        part.push_str(&lead.replace("{d}", &doctor).replace("{s}", c.specialty));
        let mut advice = c.advice.to_owned();
        for test in TESTS_IN_ADVICE {
            advice = advice.replace(test, &mark(Label::Test, test));
        }
        let _ = write!(part, " {} advised {advice}.", c.pronoun);
        parts.push(part);
    }
    parts.push(match draw.below(3) {
        0 => format!("{he} was discharged after {} days.", facts.stay),
        1 => format!("{he} improved and left after {} days.", facts.stay),
        _ => format!(
            "{he} went to {} after {} days.",
            facts.disposition, facts.stay
        ),
    });
    (parts.join(" "), tolerated)
}

fn labs(facts: &Facts, draw: &mut Draw) -> String {
    let (between, colon) = (draw.chance(50), draw.chance(30));
    let items: Vec<String> = facts
        .labs
        .iter()
        .map(|(k, value)| {
            let test = mark(Label::Test, LABS[*k].short);
            format!("{test}{} {value}", if colon { ":" } else { "" })
        })
        .collect();
    items.join(if between { ", " } else { "; " })
}

fn medications(facts: &Facts, draw: &mut Draw) -> String {
    let heading = draw.pick(&["Discharge Medications", "Medications on Discharge"]);
    let mut text = format!("{heading}:");
    let (dotted, style, bracket) = (draw.chance(60), draw.below(3), draw.chance(30));
    for (row, m) in facts.medications.iter().enumerate() {
        match style {
            0 => {
                let _ = write!(text, "\n{}. ", row + 1);
            }
            1 => text.push_str("\n- "),
            _ => text.push_str(if row == 0 { " " } else { "; " }),
        }
        let (dotted_form, capital_form, _) = FREQUENCIES[m.frequency];
        let (route, frequency) = if dotted {
            ("p.o.", dotted_form)
        } else {
            ("PO", capital_form)
        };
        // Only tablets counted in mg get a route, so that its place is not fixed.
        let route = if m.dose.ends_with("mg") {
            format!(" {route}")
        } else {
            String::new()
        };
        let name = mark(Label::Drug, m.name);
        let dose = mark(Label::Dose, &m.dose);
        let frequency = mark(Label::Frequency, frequency);
        let _ = write!(text, "{name} {dose}{route} {frequency}");
        if let Some(reason) = m.reason {
            let reason = mark(Label::Condition, reason);
            let _ = if bracket {
                write!(text, " ({reason})")
            } else {
                write!(text, " for {reason}")
            };
        }
    }
    text
}
