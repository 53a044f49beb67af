//! Which sentences of an invented note show the answer to a question about it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use clinical_notes::sentences::sentences;
use clinical_synth::Pair;

/// Sentences of a note, and for each fact that an answer needs those that show it: any one of them is enough.
pub struct Places {
    sentences: Vec<Range<usize>>,
    facts: Vec<Vec<usize>>,
}

/// `None` for a question without an answer in the note, for one about all of it, and for what an abbreviation or a term
/// means: the note does not tell.
pub fn places(note: &str, pair: &Pair) -> Option<Places> {
    let found = sentences(note);
    let text = |at: usize| &note[found[at].clone()];
    let headed = |heads: &[&str]| -> Vec<usize> {
        let starts = |at: &usize| {
            heads
                .iter()
                .any(|head| text(*at).starts_with(&format!("{head}:")))
        };
        (0..found.len()).filter(starts).collect()
    };
    let with = |words: &[&str]| -> Vec<usize> {
        (0..found.len())
            .filter(|&at| words.iter().all(|word| text(at).contains(word)))
            .collect()
    };
    let any_of = |sentences: Vec<usize>, words: &[&str]| -> Vec<usize> {
        sentences
            .into_iter()
            .filter(|&at| words.iter().any(|word| text(at).contains(word)))
            .collect()
    };
    let item = |at: &usize| {
        let line = text(*at);
        line.starts_with(|c: char| c.is_ascii_digit() || c == '-') || line.contains("Medications")
    };
    let span = pair.span.as_deref().unwrap_or_default();
    let one = match pair.kind.as_str() {
        "medications" => {
            let names = pair
                .answer
                .trim_start_matches("The discharge medications are ")
                .trim_end_matches('.');
            let facts = names
                .split(", ")
                .map(|name| with(&[name]).into_iter().filter(item).collect());
            return Some(Places {
                facts: facts.collect(),
                sentences: found,
            });
        }
        "dose" | "frequency" | "reason" => {
            let named = |at: &usize| {
                let words = pair.question.split(|c: char| !c.is_alphanumeric());
                words.filter(|word| word.len() > 4).any(|word| {
                    text(*at)
                        .split(|c: char| !c.is_alphanumeric())
                        .any(|other| other == word)
                })
            };
            (0..found.len())
                .filter(item)
                .filter(named)
                .filter(|at| text(*at).contains(span))
                .collect()
        }
        "drug" => with(&[span]).into_iter().filter(item).collect(),
        "tests" | "lab" => headed(&["Labs", "Pertinent Results", "Admission Labs"]),
        "history" => headed(&["PMH", "Past Medical History", "Medical History"]),
        "allergy" => headed(&["Allergies"]),
        "admitted" | "discharged" | "disposition" | "diagnosis" | "the procedure" => with(&[span]),
        "complaint" | "patient" => with(&[span]),
        "service" => with(&["Service:", span]),
        "attending" => with(&["Attending", span]),
        "age" => with(&[span, "year old"]),
        "onset" => with(&[span, "year old"]),
        "follow-up" | "follow-up doctor" => headed(&["Follow-up", "Follow up", "Appointments"]),
        "procedure" | "surgeon" | "procedure date" => {
            any_of(with(&[span]), &["underwent", "performed", " had "])
        }
        "treatment" | "course" => any_of(with(&[span]), &["treated", "received"]),
        "stay" => any_of(
            with(&[span]),
            &["discharged after", "left after", "went to"],
        ),
        "advice" => with(&[span, "advised"]),
        "consultant" => with(&[span, "consulted"]),
        _ => return None,
    };
    (!one.is_empty()).then_some(Places {
        sentences: found,
        facts: vec![one],
    })
}

/// What was found of the facts, and what of the evidence was right.
#[derive(Default)]
pub struct Counts {
    facts: (usize, usize),
    evidence: (usize, usize),
    kinds: BTreeMap<String, [usize; 4]>,
}

impl Counts {
    pub fn add(
        &mut self,
        kind: &str,
        places: &Places,
        evidence: impl Iterator<Item = Range<usize>>,
    ) {
        let shown: Vec<Vec<usize>> = evidence
            .map(|range| {
                let touched = |at: &usize| {
                    let sentence = &places.sentences[*at];
                    sentence.start < range.end && range.start < sentence.end
                };
                (0..places.sentences.len()).filter(touched).collect()
            })
            .collect();
        let right = |sentences: &&Vec<usize>| {
            sentences
                .iter()
                .any(|at| places.facts.iter().any(|fact| fact.contains(at)))
        };
        let found = |fact: &&Vec<usize>| {
            shown
                .iter()
                .any(|sentences| sentences.iter().any(|at| fact.contains(at)))
        };
        let new = [
            places.facts.iter().filter(found).count(),
            places.facts.len(),
            shown.iter().filter(right).count(),
            shown.len(),
        ];
        let of_kind = self.kinds.entry(kind.to_owned()).or_default();
        for (sum, new) in of_kind.iter_mut().zip(new) {
            *sum += new;
        }
        self.facts = (self.facts.0 + new[0], self.facts.1 + new[1]);
        self.evidence = (self.evidence.0 + new[2], self.evidence.1 + new[3]);
    }

    pub fn f1(&self) -> f64 {
        let share = |(part, all): (usize, usize)| part as f64 / all.max(1) as f64;
        let (recall, precision) = (share(self.facts), share(self.evidence));
        2.0 * recall * precision / (recall + precision).max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "F1 {:.3}, facts {:?}, evidence {:?}",
            self.f1(),
            self.facts,
            self.evidence
        )?;
        for (kind, [found, facts, right, shown]) in &self.kinds {
            write!(
                f,
                "\n  {kind:16} facts {found}/{facts}  evidence {right}/{shown}"
            )?;
        }
        Ok(())
    }
}
