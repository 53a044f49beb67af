//! The examples of a task, numbered.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use clinical_deid::Normalizer;
use clinical_tasks::clip::DischargeNote;
use clinical_tasks::entities::{conll, i2b2};
use clinical_tasks::mednli::SentencePair;
use clinical_tasks::radqa::{RadiologyReport, ReportQuestion};
use clinical_tasks::{Portion, Portions, RowOptions, WordRow, clip, mednli, radqa};

use crate::checksum::Checksum;
use crate::{Result, TaskKind, TaskSpec};

/// The examples of all parts of a task.
pub(crate) struct TaskData {
    pub(crate) examples: Examples,
    deid: bool,
}

pub(crate) enum Examples {
    MedNli(Portions<Vec<SentencePair>>),
    /// Reports, and each question by its report and its place there.
    RadQa(Numbered<RadiologyReport>),
    /// Notes, and each sentence by its note and its place there.
    Clip(Numbered<DischargeNote>),
    Entities(Portions<Vec<Words>>),
}

/// What several examples have in common, and the examples.
pub(crate) struct Numbered<T> {
    pub(crate) of: Portions<Vec<T>>,
    pub(crate) at: Portions<Vec<(usize, usize)>>,
}

impl<T> Numbered<T> {
    fn new(of: Portions<Vec<T>>, count: impl Fn(&T) -> usize) -> Result<Self> {
        let at = Portions::try_from_fn(|portion| {
            let all = of.get(portion).iter().enumerate();
            let at = all.flat_map(|(outer, one)| (0..count(one)).map(move |inner| (outer, inner)));
            Ok::<_, crate::Error>(at.collect())
        })?;
        Ok(Self { of, at })
    }

    /// An example: what it is in, and its place there.
    pub(crate) fn get(&self, portion: Portion, index: usize) -> (&T, usize) {
        let (outer, inner) = self.at.get(portion)[index];
        (&self.of.get(portion)[outer], inner)
    }
}

/// A line of words.
pub(crate) struct Words {
    pub(crate) id: String,
    pub(crate) row: WordRow,
    /// The bytes of each word: in its note, or in the words joined with spaces where there is no note.
    pub(crate) bytes: Vec<Range<usize>>,
}

impl TaskData {
    /// Reads the files of a task.
    pub(crate) fn read(spec: &TaskSpec) -> Result<Self> {
        let folder = &spec.data;
        let examples = match spec.kind {
            TaskKind::Mednli => Examples::MedNli(mednli::read_folder(folder)?),
            TaskKind::Radqa => {
                let mut reports = radqa::read_folder(folder)?;
                if spec.deid {
                    let tags = Normalizer::mimic_iii();
                    reports = Portions::try_from_fn(|portion| {
                        radqa::convert(reports.get(portion), &tags)
                    })?;
                }
                let count = |report: &RadiologyReport| report.questions.len();
                Examples::RadQa(Numbered::new(reports, count)?)
            }
            TaskKind::Clip => {
                let notes = clip::read_folder(folder)?.notes;
                Examples::Clip(Numbered::new(notes, |note| note.sentences.len())?)
            }
            TaskKind::Entities => Examples::Entities(entities(spec)?),
        };
        Ok(Self {
            examples,
            deid: spec.deid,
        })
    }

    /// How texts become rows. RadQA's are converted already.
    pub(crate) fn options(&self) -> RowOptions {
        match (self.deid, &self.examples) {
            (true, Examples::MedNli(_) | Examples::Clip(_)) => {
                RowOptions::new().with_tags(Normalizer::mimic_iii())
            }
            _ => RowOptions::new(),
        }
    }

    pub(crate) fn len(&self, portion: Portion) -> usize {
        match &self.examples {
            Examples::MedNli(pairs) => pairs.get(portion).len(),
            Examples::RadQa(reports) => reports.at.get(portion).len(),
            Examples::Clip(notes) => notes.at.get(portion).len(),
            Examples::Entities(lines) => lines.get(portion).len(),
        }
    }

    /// The name of an example in its files.
    pub(crate) fn id(&self, portion: Portion, index: usize) -> String {
        match &self.examples {
            Examples::MedNli(pairs) => pairs.get(portion)[index].id.clone(),
            Examples::RadQa(reports) => {
                let (report, at) = reports.get(portion, index);
                report.questions[at].id.clone()
            }
            Examples::Clip(notes) => {
                let (note, at) = notes.get(portion, index);
                format!("{}:{at}", note.id)
            }
            Examples::Entities(lines) => lines.get(portion)[index].id.clone(),
        }
    }

    /// The classes or labels: of words (BIO) for entities; none for answers.
    pub(crate) fn labels(&self) -> Vec<String> {
        match &self.examples {
            Examples::MedNli(_) => mednli::Label::ALL
                .map(|label| label.name().to_owned())
                .into(),
            Examples::Clip(_) => clip::Label::ALL.map(|label| label.name().to_owned()).into(),
            Examples::RadQa(_) => Vec::new(),
            Examples::Entities(lines) => {
                let all = lines.train.iter().flat_map(|line| &line.row.labels);
                let mut all: Vec<String> = all.cloned().collect();
                all.push("O".to_owned());
                all.sort_unstable();
                all.dedup();
                all
            }
        }
    }

    /// A checksum of all that the examples are.
    pub(crate) fn checksum(&self) -> String {
        let mut sum = Checksum::default();
        for portion in Portion::ALL {
            sum.add(portion.to_string().as_bytes());
            for index in 0..self.len(portion) {
                sum.add(self.id(portion, index).as_bytes());
                match &self.examples {
                    Examples::MedNli(pairs) => {
                        let pair = &pairs.get(portion)[index];
                        for text in [&*pair.premise, &pair.hypothesis, pair.label.name()] {
                            sum.add(text.as_bytes());
                        }
                    }
                    Examples::RadQa(reports) => {
                        let (report, at) = reports.get(portion, index);
                        let question = &report.questions[at];
                        sum.add(report.context.as_bytes());
                        sum.add(question.question.as_bytes());
                        for answer in &question.answers {
                            sum.add(format!("{:?}", answer.range).as_bytes());
                        }
                    }
                    Examples::Clip(notes) => {
                        let (note, at) = notes.get(portion, index);
                        sum.add(note.sentence(at).unwrap_or_default().as_bytes());
                        sum.add(format!("{:?}", note.sentences[at].labels).as_bytes());
                    }
                    Examples::Entities(lines) => {
                        let row = &lines.get(portion)[index].row;
                        for text in row.words.iter().chain(&row.labels) {
                            sum.add(text.as_bytes());
                        }
                    }
                }
            }
        }
        sum.value()
    }

    /// The most frequent class of the training part (MedNLI).
    pub(crate) fn majority(&self) -> Option<String> {
        let Examples::MedNli(pairs) = &self.examples else {
            return None;
        };
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for pair in &pairs.train {
            *counts.entry(pair.label.name()).or_default() += 1;
        }
        let best = counts.into_iter().max_by_key(|(_, count)| *count);
        best.map(|(label, _)| label.to_owned())
    }
}

/// The question of an example of RadQA.
pub(crate) fn question(report: &RadiologyReport, at: usize) -> &ReportQuestion {
    &report.questions[at]
}

fn entities(spec: &TaskSpec) -> Result<Portions<Vec<Words>>> {
    const CONLL: [&str; 3] = ["train.conll", "dev.conll", "test.conll"];
    let file = |portion: Portion| match &spec.files {
        Some(files) => spec.data.join(&files[portion as usize]),
        None => spec.data.join(CONLL[portion as usize]),
    };
    let folder = |portion: Portion| spec.data.join(portion.to_string());
    let notes =
        spec.files.is_none() && !file(Portion::Train).exists() && folder(Portion::Train).is_dir();
    Portions::try_from_fn(|portion| match notes {
        true => notes_of(&folder(portion)),
        false => Ok(sentences(conll::read(file(portion), None)?)),
    })
}

fn sentences(rows: Vec<WordRow>) -> Vec<Words> {
    let words = |(number, row): (usize, WordRow)| {
        let mut at = 0;
        let bytes = row.words.iter().map(|word| {
            let range = at..at + word.len();
            at = range.end + 1;
            range
        });
        Words {
            id: format!("sentence {}", number + 1),
            bytes: bytes.collect(),
            row,
        }
    };
    rows.into_iter().enumerate().map(words).collect()
}

fn notes_of(folder: &Path) -> Result<Vec<Words>> {
    let mut lines = Vec::new();
    for (name, note) in i2b2::read_folder(folder, None)? {
        let filled = note.lines.iter().enumerate();
        let filled = filled.filter(|(_, words)| !words.is_empty());
        for (row, (line, words)) in note.word_rows().into_iter().zip(filled) {
            lines.push(Words {
                id: format!("{name}:{}", line + 1),
                row,
                bytes: words.clone(),
            });
        }
    }
    Ok(lines)
}
