//! Questions about one note and their single right answers.

use crate::draw::Draw;
use crate::facts::{Facts, join};
use crate::note::Written;
use crate::phrases::*;
use crate::variety::{self, AROUND};
use crate::vocab::{CONDITIONS, DRUGS, FREQUENCIES, LABS, OTHER_ABBREVIATIONS, PROCEDURES};
use crate::{Pair, Task};

/// The answer to every question that the note does not answer.
pub const NOT_MENTIONED: &str = "This is not mentioned in the discharge summary.";

/// Collects pairs; one method per shape of question.
pub(crate) struct Asker<'a> {
    pub facts: &'a Facts,
    pub note: &'a Written,
    pub draw: &'a mut Draw,
    /// Whether questions come in [more wordings](variety::more).
    pub varied: bool,
    pub pairs: Vec<Pair>,
}

/// All pairs that can be asked about this note, in a fixed order.
pub(crate) fn all(facts: &Facts, note: &Written, draw: &mut Draw, varied: bool) -> Vec<Pair> {
    let mut asker = Asker {
        facts,
        note,
        draw,
        varied,
        pairs: Vec::new(),
    };
    asker.entities();
    asker.abbreviations();
    asker.relations();
    asker.times();
    asker.references();
    asker.questions();
    asker.unanswerable();
    asker.plain_words();
    asker.summary();
    asker.pairs
}

impl Asker<'_> {
    /// A wording of a question of a kind.
    pub(crate) fn ask(&mut self, kind: &str, asks: &[&str], about: &str) -> String {
        let more = variety::more(kind);
        let asks = match self.varied && !more.is_empty() && self.draw.chance(50) {
            true => more,
            false => asks,
        };
        let question = self.draw.pick(asks).replace("{x}", about);
        self.around(question)
    }

    /// Where wordings vary, a question may stand inside a longer sentence.
    pub(crate) fn around(&mut self, question: String) -> String {
        if !self.varied || !self.draw.chance(20) {
            return question;
        }
        let mut letters = question.chars();
        let small: String = letters
            .next()
            .map(|first| first.to_ascii_lowercase())
            .into_iter()
            .chain(letters)
            .collect();
        let form = self.draw.pick(AROUND);
        form.replace("{q}", &small).replace("{Q}", &question)
    }

    /// Adds a pair. `answer` holds `{}` where `span`, quoted from the note, goes.
    fn span(&mut self, task: Task, kind: &'static str, asks: &[&str], answer: &str, span: &str) {
        let question = self.ask(kind, asks, "");
        self.add(
            task,
            kind,
            question,
            answer.replace("{}", span),
            Some(span.to_owned()),
        );
    }

    /// Like [`Asker::span`], with `{x}` in the question replaced by `about`.
    fn about(
        &mut self,
        (task, kind): (Task, &'static str),
        asks: &[&str],
        about: &str,
        answer: &str,
        span: &str,
    ) {
        let question = self.ask(kind, asks, about);
        self.add(
            task,
            kind,
            question,
            answer.replace("{}", span),
            Some(span.to_owned()),
        );
    }

    pub(crate) fn add(
        &mut self,
        task: Task,
        kind: &'static str,
        question: String,
        answer: String,
        span: Option<String>,
    ) {
        self.pairs.push(Pair {
            task,
            kind: kind.to_owned(),
            question,
            answer,
            span,
        });
    }

    fn entities(&mut self) {
        let task = Task::NamedEntityRecognition;
        let facts = self.facts;
        let ask = self.ask("medications", ASK_MEDICATIONS, "");
        let answer = format!("The discharge medications are {}.", facts.drug_names());
        self.add(task, "medications", ask, answer, None);
        let answer = "The past medical history includes {}.";
        self.span(task, "history", ASK_HISTORY, answer, &facts.history_list());
        let ask = self.ask("tests", ASK_LABS, "");
        let names = join(facts.labs.iter().map(|(k, _)| LABS[*k].short));
        self.add(
            task,
            "tests",
            ask,
            format!("The reported tests are {names}."),
            None,
        );
        if let Some(p) = &facts.procedure {
            self.span(
                task,
                "procedure",
                ASK_PROCEDURE,
                "The patient underwent {}.",
                p.name,
            );
        }
    }

    fn abbreviations(&mut self) {
        let text = &self.note.text;
        let known = CONDITIONS
            .iter()
            .map(|c| (c.abbreviation, c.full))
            .chain(OTHER_ABBREVIATIONS.iter().copied())
            .chain(LABS.iter().map(|l| (l.short, l.full)))
            .chain(
                FREQUENCIES[1..7]
                    .iter()
                    .flat_map(|f| [(f.0, f.2), (f.1, f.2)]),
            );
        let mut found: Vec<(&str, &str)> = known
            .filter(|(short, _)| contains_word(text, short))
            .collect();
        self.draw.shuffle(&mut found);
        for (short, full) in found.into_iter().take(3) {
            let ask = self.ask("abbreviation", ASK_ABBREVIATION, short);
            let task = Task::AbbreviationExpansion;
            self.add(
                task,
                "abbreviation",
                ask,
                format!("It stands for {full}."),
                None,
            );
        }
    }

    fn relations(&mut self) {
        let task = Task::RelationExtraction;
        let facts = self.facts;
        for m in &facts.medications {
            self.about((task, "dose"), ASK_DOSE, m.name, "The dose is {}.", &m.dose);
            let ask = self.ask("frequency", ASK_FREQUENCY, m.name);
            let answer = format!("It is taken {}.", FREQUENCIES[m.frequency].2);
            self.add(task, "frequency", ask, answer, None);
            let Some(reason) = m.reason else { continue };
            self.about(
                (task, "reason"),
                ASK_REASON,
                m.name,
                "It is prescribed for {}.",
                reason,
            );
            self.about(
                (task, "drug"),
                ASK_DRUG,
                reason,
                "The medication is {}.",
                m.name,
            );
        }
        let (name, drug) = (facts.diagnosis.name, facts.treatment);
        self.about(
            (task, "treatment"),
            ASK_TREATMENT,
            name,
            "It was treated with {}.",
            drug,
        );
        if let Some(p) = &facts.procedure {
            let answer = "It was performed by Dr. {}.";
            self.about((task, "surgeon"), ASK_SURGEON, p.name, answer, p.surgeon);
        }
        if let Some(c) = &facts.consult {
            self.about(
                (task, "advice"),
                ASK_ADVICE,
                c.doctor,
                "Dr. {n} advised {}.",
                c.advice,
            );
            // The name is part of the question, so only the advice is the extracted span.
            if let Some(last) = self.pairs.last_mut() {
                last.answer = last.answer.replace("{n}", c.doctor);
            }
        }
    }

    fn times(&mut self) {
        let task = Task::TemporalInformationExtraction;
        let facts = self.facts;
        let span = &facts.admitted;
        self.span(
            task,
            "admitted",
            ASK_ADMITTED,
            "The admission date is {}.",
            span,
        );
        let span = &facts.discharged;
        self.span(
            task,
            "discharged",
            ASK_DISCHARGED,
            "The discharge date is {}.",
            span,
        );
        let days = format!("{} days", facts.stay);
        self.span(task, "stay", ASK_STAY, "The stay lasted {}.", &days);
        let days = format!("{} days", facts.complaint_days);
        let about = facts.complaint;
        self.about(
            (task, "onset"),
            ASK_ONSET,
            about,
            "The symptoms lasted {}.",
            &days,
        );
        let days = format!("{} days", facts.treatment_days);
        let about = facts.treatment;
        self.about(
            (task, "course"),
            ASK_COURSE,
            about,
            "The treatment lasted {}.",
            &days,
        );
        let span = &facts.follow_up;
        self.span(
            task,
            "follow-up",
            ASK_FOLLOW_UP,
            "The follow-up is in {}.",
            span,
        );
        if let Some(p) = &facts.procedure {
            let answer = "It was performed on {}.";
            self.about(
                (task, "procedure date"),
                ASK_PROCEDURE_DATE,
                p.name,
                answer,
                &p.date,
            );
        }
    }

    fn references(&mut self) {
        let task = Task::CoreferenceResolution;
        let facts = self.facts;
        let who = facts.title();
        let sentence = format!("{} was discharged", facts.pronoun());
        let answer = "It refers to the patient, {}.";
        if contains_word(&self.note.text, &sentence) {
            self.about((task, "patient"), ASK_WHO, &sentence, answer, &who);
        } else {
            let about = "the patient";
            self.about((task, "patient"), ASK_PATIENT_NAME, about, answer, &who);
        }
        if let Some(c) = &facts.consult {
            let sentence = format!("{} advised {}", c.pronoun, c.advice);
            self.about(
                (task, "consultant"),
                ASK_WHO,
                &sentence,
                "It refers to Dr. {}.",
                c.doctor,
            );
        }
        if let (Some(p), Some(sentence)) = (&facts.procedure, self.note.tolerated) {
            let sentence = sentence.trim_end_matches('.');
            self.about(
                (task, "the procedure"),
                ASK_WHAT,
                sentence,
                "It refers to {}.",
                p.name,
            );
        }
    }

    fn questions(&mut self) {
        let task = Task::QuestionAnswering;
        let facts = self.facts;
        for (k, value) in &facts.labs {
            let lab = LABS[*k].full;
            let answer = format!("The {lab} was {{}}.");
            self.about((task, "lab"), ASK_LAB, lab, &answer, value);
        }
        let span = facts.disposition;
        self.span(
            task,
            "disposition",
            ASK_DISPOSITION,
            "The patient went to {}.",
            span,
        );
        let span = facts.complaint;
        self.span(
            task,
            "complaint",
            ASK_COMPLAINT,
            "The chief complaint was {}.",
            span,
        );
        let age = facts.age.to_string();
        self.span(task, "age", ASK_AGE, "The patient is {} years old.", &age);
        self.span(
            task,
            "service",
            ASK_SERVICE,
            "The service was {}.",
            facts.service,
        );
        let span = facts.attending;
        self.span(
            task,
            "attending",
            ASK_ATTENDING,
            "The attending is Dr. {}.",
            span,
        );
        let span = facts.follow_up_doctor;
        self.span(
            task,
            "follow-up doctor",
            ASK_FOLLOW_UP_DOCTOR,
            "It is with Dr. {}.",
            span,
        );
        let span = facts.diagnosis.name;
        self.span(
            task,
            "diagnosis",
            ASK_DIAGNOSIS,
            "The diagnosis was {}.",
            span,
        );
        match facts.allergy {
            Some("NKDA") => {
                let ask = self.ask("allergy", ASK_ALLERGY, "");
                let answer = "The patient has no known drug allergies.".to_owned();
                self.add(task, "allergy", ask, answer, None);
            }
            Some(allergen) => {
                let answer = "The patient is allergic to {}.";
                self.span(task, "allergy", ASK_ALLERGY, answer, allergen);
            }
            None => {}
        }
    }

    fn unanswerable(&mut self) {
        let task = Task::QuestionAnswering;
        let facts = self.facts;
        let mut asks: Vec<(&'static str, String)> = Vec::new();
        let lab = self.draw.below(LABS.len());
        if !facts.labs.iter().any(|(k, _)| *k == lab) {
            asks.push(("no lab", self.ask("no lab", ASK_LAB, LABS[lab].full)));
        }
        let drug = DRUGS[self.draw.below(DRUGS.len())].name;
        if !self.note.text.contains(drug) {
            let forms = self.draw.pick(&[ASK_DOSE, ASK_FREQUENCY, ASK_REASON]);
            asks.push(("no drug", self.ask("no drug", forms, drug)));
        }
        if facts.allergy.is_none() {
            asks.push(("no allergy", self.ask("no allergy", ASK_ALLERGY, "")));
        }
        if facts.procedure.is_none() {
            asks.push(("no procedure", self.ask("no procedure", ASK_PROCEDURE, "")));
        }
        for (kind, ask) in asks {
            self.add(task, kind, ask, NOT_MENTIONED.to_owned(), None);
        }
    }

    fn plain_words(&mut self) {
        let facts = self.facts;
        let mut terms: Vec<(&str, &str)> = facts
            .history
            .iter()
            .map(|h| (h.written, CONDITIONS[h.condition].plain))
            .collect();
        terms.push((facts.diagnosis.name, facts.diagnosis.plain));
        if let Some(p) = &facts.procedure {
            terms.push((p.name, PROCEDURES[p.index].1));
        }
        terms.retain(|(_, plain)| !plain.is_empty());
        self.draw.shuffle(&mut terms);
        for (term, plain) in terms.into_iter().take(2) {
            let ask = self.ask("plain", ASK_PLAIN, term);
            let answer = format!("In plain words, this is {plain}.");
            self.add(Task::Paraphrasing, "plain", ask, answer, None);
        }
    }

    fn summary(&mut self) {
        let f = self.facts;
        let ask = self.ask("summary", ASK_SUMMARY, "");
        let answer = format!(
            "The patient had {}, was treated with {} and went to {}.",
            f.diagnosis.name, f.treatment, f.disposition
        );
        self.add(Task::Summarization, "summary", ask, answer, None);
    }
}

/// Whether `word` occurs in `text` with no letter or digit touching it.
pub(crate) fn contains_word(text: &str, word: &str) -> bool {
    if word.is_empty() {
        return false;
    }
    let touches = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !touches(before.chars().next_back()) && !touches(after.chars().next())
    })
}
