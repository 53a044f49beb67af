//! T5: texts to texts.

use std::path::Path;

use burn::module::Module;
use clinical_facade::LongText;
use clinical_t5::{ClinicalT5, LoadOptions, T5Options};
use clinical_tasks::metrics::{Overlap, SquadAnswer, squad_items};
use clinical_tasks::{Portion, WritingRow, clip, mednli};
use clinical_train::objective::seq2seq::PairSettings;
use clinical_train::{PairSet, Recipe, Task, TextPair};

use super::clip::clip_inputs;
use super::locate::locate;
use super::numbers::sigmoid;
use super::{Approach, Examples as Set, Predicted, no_method, other_recipe};
use crate::data::{Examples, TaskData, question};
use crate::error::about;
use crate::prediction::Found;
use crate::{Method, Result, StudySpec, TaskKind};

/// An encoder with a decoder, which writes.
pub(crate) struct T5Approach<'a> {
    dir: &'a Path,
    data: &'a TaskData,
    options: &'a LoadOptions,
    settings: PairSettings,
    method: Method,
    labels: Vec<String>,
    /// CLIP: tokens of an input.
    budget: usize,
}

impl<'a> T5Approach<'a> {
    pub(crate) fn new(
        spec: &'a StudySpec,
        recipe: Option<&Recipe>,
        data: &'a TaskData,
        options: &'a LoadOptions,
    ) -> Result<Self> {
        let kind = spec.task.kind;
        let method = spec.method.unwrap_or(Method::Generation);
        let known =
            "it writes answers for MedNLI, RadQA and CLIP, and scores those of MedNLI and RadQA";
        match (kind, method) {
            (TaskKind::Mednli | TaskKind::Radqa | TaskKind::Clip, Method::Generation)
            | (TaskKind::Mednli | TaskKind::Radqa, Method::Scoring) => {}
            _ => return Err(no_method("T5", kind, method, known)),
        }
        let settings = match (recipe, recipe.and_then(|recipe| recipe.task)) {
            (_, Some(Task::Pairs(settings))) => settings,
            (_, None) => PairSettings::default(),
            (Some(recipe), Some(_)) => return Err(other_recipe(recipe, "pairs")),
            (None, Some(_)) => PairSettings::default(),
        };
        // "No answer" and "no label" are published as empty targets.
        let empty = settings.empty_targets() || kind != TaskKind::Mednli;
        Ok(Self {
            dir: &spec.model,
            data,
            options,
            settings: settings.with_empty_targets(empty),
            method,
            labels: data.labels(),
            budget: spec.task.max_tokens.unwrap_or(256),
        })
    }

    fn rows(&self, t5: &ClinicalT5, portion: Portion, chosen: &[usize]) -> Result<Vec<WritingRow>> {
        let options = self.data.options();
        match &self.data.examples {
            Examples::MedNli(pairs) => {
                let pairs = chosen.iter().map(|&index| &pairs.get(portion)[index]);
                pairs.map(|pair| Ok(pair.writing_row(&options)?)).collect()
            }
            Examples::RadQa(reports) => {
                let rows = chosen.iter().map(|&index| {
                    let (report, at) = reports.get(portion, index);
                    Ok(report.writing_row(question(report, at), &options)?)
                });
                rows.collect()
            }
            Examples::Clip(notes) => {
                let budget = self.budget.min(self.settings.input_limit());
                let inputs = clip_inputs(self.data, portion, chosen, budget, t5.tokenizer())?;
                let inputs = inputs.into_iter().zip(chosen).map(|(input, &index)| {
                    let (note, at) = notes.get(portion, index);
                    note.writing_row(at, input)
                });
                Ok(inputs.collect())
            }
            Examples::Entities(_) => Ok(Vec::new()),
        }
    }

    fn call(&self) -> T5Options {
        T5Options::new()
            .with_long_text(LongText::CutEnd)
            .with_max_tokens(self.settings.input_limit())
            .with_max_new_tokens(self.settings.target_limit())
    }

    fn scored(
        &self,
        t5: &ClinicalT5,
        portion: Portion,
        chosen: &[usize],
        rows: Vec<WritingRow>,
    ) -> Result<Predicted> {
        let mut found = Predicted::default();
        for (row, &index) in rows.into_iter().zip(chosen) {
            let name = || self.data.id(portion, index);
            found.tokens += self.tokens(t5, &row.input)?;
            let scores = about(t5.score_with(&row.input, &self.labels, &self.call()), name)?;
            let tokens = scores.iter().map(|score| score.log_probs.len() as u64);
            found.tokens += tokens.sum::<u64>();
            let scores: Vec<f64> = scores.iter().map(|score| score.total()).collect();
            let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            let prediction = Found::Class {
                truth: row.target,
                predicted: best.and_then(|(at, _)| self.labels.get(at).cloned()),
                scores,
            };
            found.push(self.data, portion, index, prediction);
        }
        Ok(found)
    }

    fn tokens(&self, t5: &ClinicalT5, text: &str) -> Result<u64> {
        let count = about(t5.tokenizer().encode(text, true), || "an input".to_owned())?;
        Ok(count.into_ids().len().min(self.settings.input_limit()) as u64)
    }

    /// What an answer that was written says.
    fn found(
        &self,
        t5: &ClinicalT5,
        (portion, index): (Portion, usize),
        row: &WritingRow,
        written: &str,
        found: &mut Predicted,
    ) -> Result<Found> {
        Ok(match &self.data.examples {
            Examples::Clip(notes) => {
                let (note, at) = notes.get(portion, index);
                let labels = clip::labels_of_target(written);
                let given = clip::Label::ALL
                    .iter()
                    .filter(|label| labels[label.index()]);
                Found::Labels {
                    bytes: note.sentences[at].range.clone(),
                    truth: note.sentences[at].label_names(),
                    predicted: given.map(|label| label.name().to_owned()).collect(),
                    scores: Vec::new(),
                }
            }
            Examples::RadQa(reports) => {
                let (report, at) = reports.get(portion, index);
                let question = question(report, at);
                let no_answer = match self.method {
                    Method::Scoring if !written.is_empty() => {
                        let candidates = ["", written];
                        let scores = t5.score_with(&row.input, &candidates, &self.call());
                        let scores = about(scores, || self.data.id(portion, index))?;
                        let total = |at: usize| scores.get(at).map_or(0.0, |score| score.total());
                        found.tokens += self.tokens(t5, &row.input)?;
                        sigmoid(total(0) - total(1))
                    }
                    Method::Scoring => 1.0,
                    _ => 0.0,
                };
                let items = squad_items(
                    &[SquadAnswer {
                        truth: question.texts(),
                        predicted: Some(written),
                        no_answer,
                    }],
                    Overlap::Multiset,
                )?;
                let item = items.first().ok_or(clinical_tasks::Error::Nothing)?;
                let prediction = Found::Answer {
                    truth: question
                        .answers
                        .iter()
                        .map(|one| one.range.clone())
                        .collect(),
                    answered: item.answered,
                    predicted: locate(&report.context, written),
                    no_answer,
                    exact: item.exact,
                    f1: item.f1,
                };
                found.answers.extend(items);
                prediction
            }
            _ => Found::Class {
                truth: row.target.clone(),
                predicted: mednli::label_of_answer(written).map(|label| label.name().to_owned()),
                scores: Vec::new(),
            },
        })
    }
}

impl Approach for T5Approach<'_> {
    type Facade = ClinicalT5;

    fn load(&self, _: u64) -> Result<ClinicalT5> {
        let name = || self.dir.display().to_string();
        about(ClinicalT5::load(self.dir, self.options), name)
    }

    fn parameters(&self, t5: &ClinicalT5) -> u64 {
        t5.model().num_params() as u64
    }

    fn training(&self, t5: &ClinicalT5, chosen: &[usize]) -> Result<Set<ClinicalT5>> {
        let rows = self.rows(t5, Portion::Train, chosen)?.into_iter();
        let pairs = rows.map(|row| TextPair {
            input: row.input,
            target: row.target,
        });
        let pairs: Vec<TextPair> = pairs.collect();
        Ok(Box::new(PairSet::new(t5, &pairs, &self.settings)?))
    }

    fn predict(&self, t5: &ClinicalT5, portion: Portion, chosen: &[usize]) -> Result<Predicted> {
        let rows = self.rows(t5, portion, chosen)?;
        if let (Method::Scoring, Examples::MedNli(_)) = (self.method, &self.data.examples) {
            return self.scored(t5, portion, chosen, rows);
        }
        let inputs: Vec<&str> = rows.iter().map(|row| row.input.as_str()).collect();
        let outputs = t5.generate_batch(&inputs, &self.call());
        let mut found = Predicted::default();
        for ((output, row), &index) in outputs.into_iter().zip(&rows).zip(chosen) {
            let output = about(output, || self.data.id(portion, index))?;
            let written = output.text.trim();
            found.tokens += self.tokens(t5, &row.input)? + self.tokens(t5, written)?;
            let prediction = self.found(t5, (portion, index), row, written, &mut found)?;
            found.push(self.data, portion, index, prediction);
            found.written.push(written.to_owned());
        }
        Ok(found)
    }
}
