//! Questions that a note does not answer, for training.

use crate::draw::Draw;
use crate::facts::Facts;
use crate::note::Written;
use crate::phrases::*;
use crate::questions::{Asker, NOT_MENTIONED, contains_word};
use crate::variety::*;
use crate::vocab::{CONDITIONS, DRUGS, LABS, PROCEDURES, SURNAMES};
use crate::{Pair, Task};

/// `count` questions about what the note does not tell, beside those of [`all`](crate::questions::all).
pub(crate) fn unanswered(
    facts: &Facts,
    note: &Written,
    draw: &mut Draw,
    count: usize,
) -> Vec<Pair> {
    let mut asker = Asker {
        facts,
        note,
        draw,
        varied: true,
        pairs: Vec::new(),
    };
    while asker.pairs.len() < count {
        if let Some((kind, ask)) = asker.untold() {
            let answer = NOT_MENTIONED.to_owned();
            asker.add(Task::QuestionAnswering, kind, ask, answer, None);
        }
    }
    asker.pairs
}

impl Asker<'_> {
    /// A question about what the note does not tell; `None` where this draw fits the note.
    fn untold(&mut self) -> Option<(&'static str, String)> {
        let (facts, text) = (self.facts, &self.note.text);
        let topics: [(&'static str, &[&str], &[&str]); 3] = [
            ("no measure", ASK_MEASURE, MEASURES),
            ("no examination", ASK_EXAMINATION, EXAMINATIONS),
            ("no personal", ASK_PERSONAL, PERSONAL),
        ];
        let draw = &mut *self.draw;
        let (kind, asks, about) = match draw.below(12) {
            kind @ 0..3 => (topics[kind].0, topics[kind].1, draw.pick(topics[kind].2)),
            3..5 => {
                let ask = draw.pick(NEVER).to_owned();
                return Some(("no topic", self.around(ask)));
            }
            5 => {
                let m = &facts.medications[draw.below(facts.medications.len())];
                ("no more of a drug", ASK_OF_DRUG, m.name)
            }
            6 => (
                "no more of an illness",
                ASK_OF_ILLNESS,
                facts.diagnosis.name,
            ),
            7 => match &facts.procedure {
                Some(done) if draw.chance(50) => {
                    ("no more of a procedure", ASK_OF_PROCEDURE, done.name)
                }
                _ => {
                    let name = PROCEDURES[draw.below(PROCEDURES.len())].0;
                    let kinds = [
                        ("surgeon", ASK_SURGEON),
                        ("procedure date", ASK_PROCEDURE_DATE),
                    ];
                    let (kind, asks) = kinds[draw.below(2)];
                    let ask = self.ask(kind, asks, name);
                    return (!text.contains(name)).then_some(("no such procedure", ask));
                }
            },
            8 => {
                let name = SURNAMES[draw.below(SURNAMES.len())];
                let ask = self.ask("advice", ASK_ADVICE, name);
                return (!contains_word(text, name)).then_some(("no such doctor", ask));
            }
            9 => return self.absent_condition(),
            10 => {
                let lab = &LABS[draw.below(LABS.len())];
                let ask = self.ask("lab", ASK_LAB, lab.full);
                return (!contains_word(text, lab.short)).then_some(("no lab", ask));
            }
            _ => return self.absent_drug(),
        };
        let ask = self.draw.pick(asks).replace("{x}", about);
        Some((kind, self.around(ask)))
    }

    fn absent_drug(&mut self) -> Option<(&'static str, String)> {
        let drug = DRUGS[self.draw.below(DRUGS.len())].name;
        let kinds = [
            ("dose", ASK_DOSE),
            ("frequency", ASK_FREQUENCY),
            ("reason", ASK_REASON),
            ("absent", ASK_ABSENT_DRUG),
        ];
        let (kind, asks) = kinds[self.draw.below(kinds.len())];
        let ask = self.ask(kind, asks, drug);
        (!self.note.text.contains(drug)).then_some(("no drug", ask))
    }

    fn absent_condition(&mut self) -> Option<(&'static str, String)> {
        let condition = &CONDITIONS[self.draw.below(CONDITIONS.len())];
        let text = &self.note.text;
        let is_told = text.contains(condition.full) || contains_word(text, condition.abbreviation);
        let ask = self.ask("drug", ASK_DRUG, condition.full);
        (!is_told).then_some(("no condition", ask))
    }
}
