//! What is true of one invented patient, in the words used by the note.

use crate::draw::Draw;
use crate::vocab::{
    ADVICE, ALLERGENS, ANY_DOSE, BPH, CONDITIONS, DIAGNOSES, DISPOSITIONS, DRUGS, Diagnosis,
    FREQUENCIES, LABS, OSTEOPOROSIS, PROCEDURES, SPECIALTIES, SURNAMES,
};

/// A chronic condition as the note writes it.
#[derive(Debug)]
pub(crate) struct History {
    pub condition: usize,
    /// Full name or abbreviation.
    pub written: &'static str,
}

/// One line of the discharge medications.
#[derive(Debug)]
pub(crate) struct Medication {
    pub name: &'static str,
    /// Amount and unit, for example `25 mg`.
    pub dose: String,
    pub frequency: usize,
    /// The reason as written, when the line gives one.
    pub reason: Option<&'static str>,
}

/// A procedure done during the stay.
#[derive(Debug)]
pub(crate) struct Procedure {
    pub index: usize,
    pub name: &'static str,
    /// `MM/DD`.
    pub date: String,
    pub surgeon: &'static str,
}

/// A consultation; the consultant's pronoun is asked for.
#[derive(Debug)]
pub(crate) struct Consult {
    pub doctor: &'static str,
    pub specialty: &'static str,
    pub advice: &'static str,
    /// `He` or `She`.
    pub pronoun: &'static str,
}

/// Everything the note says.
#[derive(Debug)]
pub(crate) struct Facts {
    pub female: bool,
    pub surname: &'static str,
    pub age: u64,
    pub admitted: String,
    pub discharged: String,
    pub stay: u64,
    pub service: &'static str,
    pub attending: &'static str,
    pub complaint: &'static str,
    pub complaint_days: u64,
    pub history: Vec<History>,
    /// `None`: no such section; `Some("NKDA")`: none known.
    pub allergy: Option<&'static str>,
    pub labs: Vec<(usize, String)>,
    pub diagnosis: &'static Diagnosis,
    pub treatment: &'static str,
    pub treatment_days: u64,
    pub procedure: Option<Procedure>,
    pub consult: Option<Consult>,
    pub medications: Vec<Medication>,
    pub disposition: &'static str,
    pub follow_up_doctor: &'static str,
    /// For example `2 weeks`.
    pub follow_up: String,
}

const MONTH_DAYS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// A calendar day; years are in a far future, as in de-identified notes.
#[derive(Debug, Clone, Copy)]
struct Day {
    year: u64,
    month: u64,
    day: u64,
}

impl Day {
    fn plus(mut self, days: u64) -> Self {
        for _ in 0..days {
            self.day += 1;
            if self.day > MONTH_DAYS[(self.month - 1) as usize] {
                self.day = 1;
                self.month += 1;
                if self.month > 12 {
                    self.month = 1;
                    self.year += 1;
                }
            }
        }
        self
    }

    fn full(self) -> String {
        format!("{:02}/{:02}/{}", self.month, self.day, self.year)
    }

    fn short(self) -> String {
        format!("{:02}/{:02}", self.month, self.day)
    }
}

impl Facts {
    /// Draws one patient.
    pub fn draw(draw: &mut Draw) -> Self {
        let female = draw.chance(50);
        let month = draw.range(1, 12);
        let admitted = Day {
            year: draw.range(2101, 2199),
            month,
            day: draw.range(1, MONTH_DAYS[(month - 1) as usize]),
        };
        let stay = draw.range(3, 19);
        let diagnosis = &DIAGNOSES[draw.below(DIAGNOSES.len())];

        // Different people: the answer to "who" must be one name.
        let mut people: Vec<usize> = (0..SURNAMES.len()).collect();
        draw.shuffle(&mut people);
        let person = |k: usize| SURNAMES[people[k]];

        let history = draw_history(draw, female);
        let medications = draw_medications(draw, &history);
        let procedure = (!diagnosis.procedures.is_empty() && draw.chance(70)).then(|| {
            let index = diagnosis.procedures[draw.below(diagnosis.procedures.len())];
            Procedure {
                index,
                name: PROCEDURES[index].0,
                date: admitted.plus(draw.range(0, stay)).short(),
                surgeon: person(2),
            }
        });
        let consult = draw.chance(55).then(|| Consult {
            doctor: person(3),
            specialty: draw.pick(SPECIALTIES),
            advice: draw.pick(ADVICE),
            pronoun: if draw.chance(50) { "He" } else { "She" },
        });
        let allergy = match draw.below(100) {
            0..30 => None,
            30..50 => Some("NKDA"),
            _ => Some(draw.pick(ALLERGENS)),
        };
        let follow_up = match draw.below(3) {
            0 => format!("{} days", draw.range(3, 20)),
            1 => format!("{} weeks", draw.range(2, 9)),
            _ => format!("{} months", draw.range(2, 6)),
        };
        Self {
            female,
            surname: person(0),
            age: draw.range(21, 97),
            admitted: admitted.full(),
            discharged: admitted.plus(stay).full(),
            stay,
            service: draw.pick(diagnosis.services),
            attending: person(1),
            complaint: draw.pick(diagnosis.complaints),
            complaint_days: draw.range(2, 14),
            history,
            allergy,
            labs: draw_labs(draw),
            diagnosis,
            treatment: draw.pick(diagnosis.treatments),
            treatment_days: draw.range(2, stay),
            procedure,
            consult,
            medications,
            disposition: draw.pick(DISPOSITIONS),
            follow_up_doctor: person(4),
            follow_up,
        }
    }

    /// `He` or `She`, the patient.
    pub fn pronoun(&self) -> &'static str {
        if self.female { "She" } else { "He" }
    }

    /// `Mr.` or `Ms.` with the surname.
    pub fn title(&self) -> String {
        format!(
            "{} {}",
            if self.female { "Ms." } else { "Mr." },
            self.surname
        )
    }

    /// `man` or `woman`.
    pub fn noun(&self) -> &'static str {
        if self.female { "woman" } else { "man" }
    }

    /// The names of the discharge drugs, in order.
    pub fn drug_names(&self) -> String {
        join(self.medications.iter().map(|m| m.name))
    }

    /// The history as one written list.
    pub fn history_list(&self) -> String {
        join(self.history.iter().map(|h| h.written))
    }
}

/// Items joined by `, `.
pub(crate) fn join<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn draw_history(draw: &mut Draw, female: bool) -> Vec<History> {
    let count = draw.range(2, 4) as usize;
    let mut order: Vec<usize> = (0..CONDITIONS.len()).collect();
    draw.shuffle(&mut order);
    order.retain(|&k| if female { k != BPH } else { k != OSTEOPOROSIS });
    let mut history = Vec::with_capacity(count);
    for &condition in order.iter().take(count) {
        let entry = &CONDITIONS[condition];
        let short = !entry.abbreviation.is_empty() && draw.chance(65);
        let written = if short {
            entry.abbreviation
        } else {
            entry.full
        };
        history.push(History { condition, written });
    }
    history
}

fn draw_medications(draw: &mut Draw, history: &[History]) -> Vec<Medication> {
    let mut order: Vec<usize> = (0..DRUGS.len()).collect();
    draw.shuffle(&mut order);
    // Drugs for the patient's own conditions first, then any other, at most one per reason.
    let own = |k: &usize| {
        let fits = |h: &History| DRUGS[*k].indications.contains(&h.condition);
        usize::from(!history.iter().any(fits))
    };
    order.sort_by_key(own);
    let count = draw.range(2, 4) as usize;
    let mut used: Vec<usize> = Vec::new();
    let mut medications = Vec::with_capacity(count);
    for k in order {
        let drug = &DRUGS[k];
        let mut reasons: Vec<usize> = drug.indications.to_vec();
        reasons.retain(|r| !used.contains(r));
        reasons.sort_by_key(|r| usize::from(!history.iter().any(|h| h.condition == *r)));
        let Some(&reason) = reasons.first() else {
            continue;
        };
        used.push(reason);
        let written = history.iter().find(|h| h.condition == reason).map_or_else(
            || CONDITIONS[reason].full,
            |h| {
                if draw.chance(50) {
                    h.written
                } else {
                    CONDITIONS[reason].full
                }
            },
        );
        let amount = if drug.unit == "mg" && draw.chance(50) {
            draw.pick(ANY_DOSE)
        } else {
            draw.pick(drug.doses)
        };
        let frequency = if draw.chance(50) {
            drug.frequencies[draw.below(drug.frequencies.len())]
        } else {
            draw.below(FREQUENCIES.len())
        };
        medications.push(Medication {
            name: drug.name,
            dose: format!("{amount} {}", drug.unit),
            frequency,
            reason: draw.chance(85).then_some(written),
        });
        if medications.len() == count {
            break;
        }
    }
    draw.shuffle(&mut medications);
    medications
}

fn draw_labs(draw: &mut Draw) -> Vec<(usize, String)> {
    let count = draw.range(2, 4) as usize;
    let mut order: Vec<usize> = (0..LABS.len()).collect();
    draw.shuffle(&mut order);
    let mut labs = Vec::with_capacity(count);
    for &k in order.iter().take(count) {
        let lab = &LABS[k];
        let value = draw.range(lab.low, lab.high);
        let text = if lab.decimal {
            format!("{}.{}", value / 10, value % 10)
        } else {
            value.to_string()
        };
        labs.push((k, text));
    }
    labs
}
