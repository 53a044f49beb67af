//! GPT-2 (PubMedGPT): a new head for each task, as the study did; without training the words of a prompt are scored.

use std::path::Path;

use burn::module::Module;
use clinical_facade::{BatchLimits, LoadOptions, batches};
use clinical_generate::score_candidates;
use clinical_gpt2::{ClinicalGpt2, Gpt2Options, LongText};
use clinical_tasks::Portion;
use clinical_tasks::mednli::Label;
use clinical_tasks::metrics::{Decision, Overlap, SquadAnswer, decide, squad_items};
use clinical_train::{
    AnswerSettings, ClassSettings, Gpt2AnswerSet, Gpt2ClassSet, LabelledText, QuestionExample,
    Recipe, Task,
};

use super::clip::clip_inputs;
use super::fresh::fresh_layers;
use super::llama::words;
use super::numbers::{best, sigmoid, softmax, values};
use super::{Approach, Examples as Set, Predicted, no_method, other_recipe};
use crate::data::{Examples, TaskData, question};
use crate::error::about;
use crate::prediction::Found;
use crate::{Method, Result, SpecError, StudySpec, TaskKind};

/// Tokens of a row of questions, as BERT's `run_squad.py` has them, where the model reads more.
const ROW: usize = 384;

/// Tokens of a batch of predictions.
const BATCH: usize = 4096;

/// A decoder with a head, or one that is asked.
pub(crate) struct Gpt2Approach<'a> {
    dir: &'a Path,
    data: &'a TaskData,
    options: &'a LoadOptions,
    way: Way,
    labels: Vec<String>,
    /// CLIP: tokens of an input.
    budget: usize,
}

enum Way {
    Class(Option<usize>),
    Labels(Option<usize>),
    /// Tokens between the starts of two windows.
    Answers(usize),
    /// The number of a published prompt.
    Words(u8),
}

impl<'a> Gpt2Approach<'a> {
    pub(crate) fn new(
        spec: &'a StudySpec,
        recipe: Option<&Recipe>,
        data: &'a TaskData,
        options: &'a LoadOptions,
    ) -> Result<Self> {
        let kind = spec.task.kind;
        let usual = match recipe {
            Some(_) => Method::Head,
            None => Method::Scoring,
        };
        let method = spec.method.unwrap_or(usual);
        let refused = |known| Err(no_method("GPT-2", kind, method, known));
        let way = match (method, recipe, kind) {
            (Method::Scoring, None, TaskKind::Mednli) => Way::Words(spec.prompt.unwrap_or(0)),
            (Method::Head, Some(recipe), kind) => {
                if spec.prompt.is_some() {
                    let (field, why) =
                        ("prompt", "is for models that are not trained: leave it out");
                    return Err(SpecError::Setting { field, why }.into());
                }
                let classes = |several: bool| match recipe.task {
                    None => Ok(ClassSettings::default()),
                    Some(Task::Classes(settings)) if several || !settings.several => Ok(settings),
                    Some(_) => Err(other_recipe(recipe, "classes")),
                };
                match (kind, recipe.task) {
                    (TaskKind::Mednli, _) => Way::Class(classes(false)?.max_tokens),
                    (TaskKind::Clip, _) => Way::Labels(classes(true)?.max_tokens),
                    (TaskKind::Radqa, None) => Way::Answers(AnswerSettings::default().stride),
                    (TaskKind::Radqa, Some(Task::Answers(settings))) => {
                        Way::Answers(settings.stride)
                    }
                    (TaskKind::Radqa, Some(_)) => return Err(other_recipe(recipe, "answers")),
                    _ => return refused("it has heads for MedNLI, CLIP and RadQA"),
                }
            }
            _ => return refused("it is trained with a head, or scores the classes of MedNLI"),
        };
        Ok(Self {
            dir: &spec.model,
            data,
            options,
            way,
            labels: data.labels(),
            budget: spec.task.max_tokens.unwrap_or(256),
        })
    }

    /// What a head of classes reads of examples.
    fn texts(
        &self,
        gpt2: &ClinicalGpt2,
        portion: Portion,
        chosen: &[usize],
    ) -> Result<Vec<LabelledText>> {
        let options = self.data.options();
        let row = |row: clinical_tasks::ClassRow| LabelledText {
            text: row.text,
            second: None,
            labels: row.labels,
        };
        match &self.data.examples {
            Examples::MedNli(pairs) => {
                let pairs = chosen.iter().map(|&index| &pairs.get(portion)[index]);
                pairs
                    .map(|pair| Ok(row(pair.class_row(&options)?)))
                    .collect()
            }
            Examples::Clip(notes) => {
                let budget = self.budget.min(gpt2.max_tokens());
                let inputs = clip_inputs(self.data, portion, chosen, budget, gpt2.tokenizer())?;
                let inputs = inputs.into_iter().zip(chosen).map(|(input, &index)| {
                    let (note, at) = notes.get(portion, index);
                    row(note.class_row(at, input))
                });
                Ok(inputs.collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn sequences(
        &self,
        gpt2: &ClinicalGpt2,
        portion: Portion,
        chosen: &[usize],
        most: Option<usize>,
    ) -> Result<Predicted> {
        let texts = self.texts(gpt2, portion, chosen)?;
        let mut options = Gpt2Options::new().with_long_text(LongText::CutEnd);
        if let Some(most) = most {
            options = options.with_max_tokens(most);
        }
        let mut rows = Vec::with_capacity(texts.len());
        for (text, &index) in texts.iter().zip(chosen) {
            let row = gpt2.text_row(&text.text, &options);
            rows.push(about(row, || self.data.id(portion, index))?);
        }
        let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
        let mut logits = vec![Vec::new(); rows.len()];
        for batch in batches(&lengths, BatchLimits::tokens(BATCH)) {
            let ids: Vec<&[u32]> = batch.iter().map(|&row| rows[row].as_slice()).collect();
            let found = about(gpt2.model().classes(&ids), || "a batch".to_owned())?;
            let width = found.dims()[1].max(1);
            for (row, one) in batch.into_iter().zip(values(found)?.chunks_exact(width)) {
                logits[row] = one.to_vec();
            }
        }
        let mut found = Predicted {
            tokens: lengths.iter().map(|&length| length as u64).sum(),
            ..Predicted::default()
        };
        for ((logits, text), &index) in logits.iter().zip(texts).zip(chosen) {
            let prediction = match &self.data.examples {
                Examples::Clip(notes) => {
                    let (note, at) = notes.get(portion, index);
                    let given = decide(logits, Decision::Probability);
                    let given = self.labels.iter().zip(given).filter(|(_, given)| *given);
                    Found::Labels {
                        bytes: note.sentences[at].range.clone(),
                        truth: text.labels,
                        predicted: given.map(|(label, _)| label.clone()).collect(),
                        scores: logits.iter().map(|&x| sigmoid(f64::from(x))).collect(),
                    }
                }
                _ => Found::Class {
                    truth: text.labels.into_iter().next().unwrap_or_default(),
                    predicted: self.labels.get(best(logits)).cloned(),
                    scores: softmax(logits),
                },
            };
            found.push(self.data, portion, index, prediction);
        }
        Ok(found)
    }

    /// As questions and their contexts are read: the next window begins `stride` tokens after the one before.
    fn windows(gpt2: &ClinicalGpt2, stride: usize) -> Gpt2Options {
        let row = ROW.min(gpt2.max_tokens());
        let overlap = row.saturating_sub(stride.max(1));
        Gpt2Options::new()
            .with_max_tokens(row)
            .with_long_text(LongText::Windows { overlap })
    }

    fn answers(
        &self,
        gpt2: &ClinicalGpt2,
        portion: Portion,
        chosen: &[usize],
        stride: usize,
    ) -> Result<Predicted> {
        let mut found = Predicted::default();
        let Examples::RadQa(reports) = &self.data.examples else {
            return Ok(found);
        };
        let options = Self::windows(gpt2, stride);
        for &index in chosen {
            let (report, at) = reports.get(portion, index);
            let question = question(report, at);
            let name = || self.data.id(portion, index);
            let rows = gpt2.question_rows(&question.question, &report.context, &options);
            let rows = about(rows, name)?;
            found.tokens += rows.iter().map(|row| row.ids.len() as u64).sum::<u64>();
            let answer = gpt2.answer_span(&question.question, &report.context, &options);
            let answer = about(answer, name)?;
            let no_answer = sigmoid(f64::from(answer.no_answer - answer.score));
            let text = report.context.get(answer.range.clone());
            let items = squad_items(
                &[SquadAnswer {
                    truth: question.texts(),
                    predicted: Some(text.unwrap_or_default()),
                    no_answer,
                }],
                Overlap::Multiset,
            )?;
            for item in &items {
                let truth = question.answers.iter().map(|one| one.range.clone());
                let prediction = Found::Answer {
                    truth: truth.collect(),
                    answered: item.answered,
                    predicted: Some(answer.range.clone()),
                    no_answer,
                    exact: item.exact,
                    f1: item.f1,
                };
                found.push(self.data, portion, index, prediction);
            }
            found.answers.extend(items);
        }
        Ok(found)
    }

    /// The mean log-probability of the words of each class after a published prompt.
    fn words(
        &self,
        gpt2: &ClinicalGpt2,
        portion: Portion,
        chosen: &[usize],
        number: u8,
    ) -> Result<Predicted> {
        let mut found = Predicted::default();
        let Examples::MedNli(pairs) = &self.data.examples else {
            return Ok(found);
        };
        for &index in chosen {
            let pair = &pairs.get(portion)[index];
            let name = || self.data.id(portion, index);
            let ids = |text: &str| about(gpt2.tokenizer().encode(text, true), name);
            let prompt = ids(&pair.zero_shot(number, &self.data.options())?)?.into_ids();
            let mut classes = Vec::new();
            for word in words(number) {
                classes.push(ids(&format!(" {word}"))?.into_ids());
            }
            let candidates: Vec<&[u32]> = classes.iter().map(Vec::as_slice).collect();
            let scores = score_candidates(gpt2.model(), &prompt, &candidates);
            let scores: Vec<f64> = about(scores, name)?.iter().map(|one| one.mean()).collect();
            found.tokens += (prompt.len() + classes.concat().len()) as u64;
            let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            let best = best.and_then(|(at, _)| Label::ALL.get(at));
            let prediction = Found::Class {
                truth: pair.label.name().to_owned(),
                predicted: best.map(|label| label.name().to_owned()),
                scores,
            };
            found.push(self.data, portion, index, prediction);
        }
        Ok(found)
    }
}

impl Approach for Gpt2Approach<'_> {
    type Facade = ClinicalGpt2;

    fn load(&self, seed: u64) -> Result<ClinicalGpt2> {
        let name = || self.dir.display().to_string();
        let gpt2 = about(ClinicalGpt2::load(self.dir, self.options), name)?;
        let gpt2 = match self.way {
            Way::Words(_) => return Ok(gpt2),
            Way::Class(_) | Way::Labels(_) => {
                let labels: Vec<&str> = self.labels.iter().map(String::as_str).collect();
                about(gpt2.into_classifier(&labels), name)?
            }
            Way::Answers(_) => about(gpt2.into_span_model(), name)?,
        };
        let (model, rest) = gpt2.into_parts().take_model();
        let is_fresh = |path: &[String]| path.first().is_some_and(|first| first != "transformer");
        let model = fresh_layers(model, is_fresh, seed);
        Ok(ClinicalGpt2::from_parts(rest.with_model(model)))
    }

    fn parameters(&self, gpt2: &ClinicalGpt2) -> u64 {
        gpt2.model().num_params() as u64
    }

    fn training(&self, gpt2: &ClinicalGpt2, chosen: &[usize]) -> Result<Set<ClinicalGpt2>> {
        let texts = || self.texts(gpt2, Portion::Train, chosen);
        Ok(match &self.way {
            Way::Class(most) => Box::new(Gpt2ClassSet::single(gpt2, &texts()?, *most)?),
            Way::Labels(most) => Box::new(Gpt2ClassSet::several(gpt2, &texts()?, *most)?),
            Way::Words(_) => Box::new(Gpt2ClassSet::single(gpt2, [], None)?),
            Way::Answers(stride) => {
                let mut rows = Vec::new();
                if let Examples::RadQa(reports) = &self.data.examples {
                    for &index in chosen {
                        let (report, at) = reports.get(Portion::Train, index);
                        let row = report.span_row(question(report, at));
                        rows.push(QuestionExample {
                            question: row.question,
                            context: row.context,
                            answer: row.answer,
                        });
                    }
                }
                Box::new(Gpt2AnswerSet::new(
                    gpt2,
                    &rows,
                    &Self::windows(gpt2, *stride),
                )?)
            }
        })
    }

    fn predict(
        &self,
        gpt2: &ClinicalGpt2,
        portion: Portion,
        chosen: &[usize],
    ) -> Result<Predicted> {
        match &self.way {
            Way::Class(most) | Way::Labels(most) => self.sequences(gpt2, portion, chosen, *most),
            Way::Answers(stride) => self.answers(gpt2, portion, chosen, *stride),
            Way::Words(number) => self.words(gpt2, portion, chosen, *number),
        }
    }
}
