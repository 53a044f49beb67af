//! BERT, RoBERTa, Megatron: a new head for each task.

use std::ops::Range;
use std::path::Path;

use burn::module::Module;
use clinical_bert::{BertModel, BertOptions, ClinicalBert, LoadOptions, SpanOptions, TaskHead};
use clinical_facade::Parts;
use clinical_tasks::metrics::{Decision, Overlap, SquadAnswer, decide, squad_items};
use clinical_tasks::{Portion, WordRow};
use clinical_train::{
    AnswerSet, AnswerSettings, ClassSet, ClassSettings, LabelledText, LabelledWords,
    QuestionExample, Recipe, TagSet, TagSettings, Task,
};

use super::clip::clip_inputs;
use super::fresh::fresh_layers;
use super::numbers::{best, logits, sigmoid, softmax, values};
use super::{Approach, Examples as Set, Predicted, no_method, other_recipe};
use crate::data::{Examples, TaskData, Words, question};
use crate::error::about;
use crate::prediction::{EntityAt, Found};
use crate::{Method, Result, StudySpec, TaskKind};

/// An encoder with a head.
pub(crate) struct BertApproach<'a> {
    dir: &'a Path,
    data: &'a TaskData,
    options: &'a LoadOptions,
    kind: TaskKind,
    head: Head,
    labels: Vec<String>,
    /// CLIP: tokens of an input.
    budget: usize,
}

enum Head {
    Class(Option<usize>),
    Labels(Option<usize>),
    Tags(TagSettings),
    Answers(SpanOptions),
}

impl<'a> BertApproach<'a> {
    pub(crate) fn new(
        spec: &'a StudySpec,
        recipe: &Recipe,
        data: &'a TaskData,
        options: &'a LoadOptions,
    ) -> Result<Self> {
        let kind = spec.task.kind;
        let method = spec.method.unwrap_or(Method::Head);
        if method != Method::Head {
            return Err(no_method("BERT", kind, method, "it has heads"));
        }
        let classes = |several: bool| match recipe.task {
            None => Ok(ClassSettings::default()),
            Some(Task::Classes(settings)) if several || !settings.several => Ok(settings),
            Some(_) => Err(other_recipe(recipe, "classes")),
        };
        let head = match kind {
            TaskKind::Mednli => Head::Class(classes(false)?.max_tokens),
            TaskKind::Clip => Head::Labels(classes(true)?.max_tokens),
            TaskKind::Entities => Head::Tags(match recipe.task {
                None => TagSettings::default(),
                Some(Task::Tags(settings)) => settings,
                Some(_) => return Err(other_recipe(recipe, "tags")),
            }),
            TaskKind::Radqa => Head::Answers(match recipe.task {
                None => AnswerSettings::default().span_options(),
                Some(Task::Answers(settings)) => settings.span_options(),
                Some(_) => return Err(other_recipe(recipe, "answers")),
            }),
        };
        Ok(Self {
            dir: &spec.model,
            data,
            options,
            kind,
            head,
            labels: data.labels(),
            budget: spec.task.max_tokens.unwrap_or(256),
        })
    }

    /// What a sequence head reads of examples.
    fn texts(
        &self,
        bert: &ClinicalBert,
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
            Examples::Clip(_) => {
                let inputs = clip_inputs(
                    self.data,
                    portion,
                    chosen,
                    self.budget.min(bert.max_tokens()),
                    bert.tokenizer(),
                )?;
                let Examples::Clip(notes) = &self.data.examples else {
                    return Ok(Vec::new());
                };
                let inputs = inputs.into_iter().zip(chosen).map(|(input, &index)| {
                    let (note, at) = notes.get(portion, index);
                    row(note.class_row(at, input))
                });
                Ok(inputs.collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn words(&self, portion: Portion, index: usize) -> Option<&Words> {
        match &self.data.examples {
            Examples::Entities(lines) => lines.get(portion).get(index),
            _ => None,
        }
    }

    fn sequences(
        &self,
        bert: &ClinicalBert,
        portion: Portion,
        chosen: &[usize],
        most: Option<usize>,
    ) -> Result<Predicted> {
        let texts = self.texts(bert, portion, chosen)?;
        let mut rows = Vec::with_capacity(texts.len());
        for (text, &index) in texts.iter().zip(chosen) {
            let row = bert.encode_cut(&text.text, None, most);
            rows.push(about(row, || self.data.id(portion, index))?);
        }
        let BertModel::Sequence(model) = bert.model() else {
            return Err(self.wrong_head());
        };
        let logits = logits(&rows, |rows| {
            let logits = about(model.forward(rows), || "a batch".to_owned())?;
            let width = logits.dims()[1];
            Ok((values(logits)?, width))
        })?;
        let mut found = Predicted {
            tokens: rows.iter().map(|row| row.ids.len() as u64).sum(),
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
                        scores: logits
                            .iter()
                            .map(|&logit| sigmoid(f64::from(logit)))
                            .collect(),
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

    fn tags(&self, bert: &ClinicalBert, portion: Portion, chosen: &[usize]) -> Result<Predicted> {
        let BertModel::Token(model) = bert.model() else {
            return Err(self.wrong_head());
        };
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        let mut labels: Vec<Vec<&str>> = Vec::with_capacity(chosen.len());
        for (line, &index) in chosen.iter().enumerate() {
            let Some(words) = self.words(portion, index) else {
                continue;
            };
            labels.push(vec!["O"; words.row.words.len()]);
            for piece in self.pieces(bert, &words.row, portion, index)? {
                let encoded = bert.encode_words(&words.row.words[piece.clone()]);
                let (row, of_words) = about(encoded, || self.data.id(portion, index))?;
                rows.push(row);
                places.push((line, piece.start, of_words));
            }
        }
        let logits = logits(&rows, |rows| {
            let logits = about(model.forward(rows), || "a batch".to_owned())?;
            let [_, longest, classes] = logits.dims();
            Ok((values(logits)?, longest * classes))
        })?;
        let classes = self.labels.len();
        for (logits, (line, start, of_words)) in logits.iter().zip(places) {
            let mut before = None;
            for (token, word) in logits.chunks_exact(classes).zip(of_words) {
                // The first piece of a word speaks for it.
                if let Some(word) = word
                    && before != Some(word)
                    && let Some(label) = self.labels.get(best(token))
                    && let Some(place) = labels[line].get_mut(start + word)
                {
                    *place = label;
                }
                before = word;
            }
        }
        let mut found = Predicted {
            tokens: rows.iter().map(|row| row.ids.len() as u64).sum(),
            ..Predicted::default()
        };
        for (labels, &index) in labels.iter().zip(chosen) {
            let Some(words) = self.words(portion, index) else {
                continue;
            };
            let prediction = Found::Entities {
                words: words.row.words.len(),
                truth: EntityAt::of(&words.row.labels, &words.bytes),
                predicted: EntityAt::of(labels, &words.bytes),
            };
            found.push(self.data, portion, index, prediction);
        }
        Ok(found)
    }

    /// A line in as few parts as the model can read at once.
    fn pieces(
        &self,
        bert: &ClinicalBert,
        row: &WordRow,
        portion: Portion,
        index: usize,
    ) -> Result<Vec<Range<usize>>> {
        let mut pieces = Vec::new();
        let whole: Range<usize> = 0..row.words.len();
        let mut left = vec![whole];
        while let Some(range) = left.pop() {
            match bert.encode_words(&row.words[range.clone()]) {
                Ok(_) => pieces.push(range),
                Err(clinical_bert::Error::TooLong(_)) if range.len() > 1 => {
                    let middle = range.start + range.len() / 2;
                    left.push(middle..range.end);
                    left.push(range.start..middle);
                }
                Err(error) => return about(Err(error), || self.data.id(portion, index)),
            }
        }
        Ok(pieces)
    }

    fn answers(
        &self,
        bert: &ClinicalBert,
        portion: Portion,
        chosen: &[usize],
        options: &SpanOptions,
    ) -> Result<Predicted> {
        let mut found = Predicted::default();
        let Examples::RadQa(reports) = &self.data.examples else {
            return Ok(found);
        };
        for &index in chosen {
            let (report, at) = reports.get(portion, index);
            let question = question(report, at);
            let name = || self.data.id(portion, index);
            let rows = bert.encode_question(&question.question, &report.context, options);
            let rows = about(rows, name)?;
            found.tokens += rows.iter().map(|row| row.row.ids.len() as u64).sum::<u64>();
            let answer = bert.answer_span_with(&question.question, &report.context, options);
            let answer = about(answer, name)?;
            let best = answer.candidates.first();
            let range = best.map(|best| best.range.clone());
            let no_answer = best.map_or(1.0, |best| {
                sigmoid(f64::from(answer.no_answer.score - best.score))
            });
            let text = range.clone().and_then(|range| report.context.get(range));
            let items = squad_items(
                &[SquadAnswer {
                    truth: question.texts(),
                    predicted: Some(text.unwrap_or_default()),
                    no_answer,
                }],
                Overlap::Multiset,
            )?;
            for item in &items {
                let prediction = Found::Answer {
                    truth: question
                        .answers
                        .iter()
                        .map(|one| one.range.clone())
                        .collect(),
                    answered: item.answered,
                    predicted: range.clone(),
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

    fn wrong_head(&self) -> crate::Error {
        no_method("this model", self.kind, Method::Head, "it has another head")
    }
}

/// The layers of a head.
fn is_head(path: &[String]) -> bool {
    path.first().is_some_and(|first| first != "bert")
}

/// The layers of a head, and a pooler that the directory lacks.
fn is_head_or_pooler(path: &[String]) -> bool {
    is_head(path) || path.get(1).is_some_and(|second| second == "pooler")
}

impl Approach for BertApproach<'_> {
    type Facade = ClinicalBert;

    fn load(&self, seed: u64) -> Result<ClinicalBert> {
        let head = match self.head {
            Head::Class(_) | Head::Labels(_) => TaskHead::Sequence,
            Head::Tags(_) => TaskHead::Token,
            Head::Answers(_) => TaskHead::Span,
        };
        let mut options = BertOptions::new().with_new_head(head);
        if !self.labels.is_empty() {
            options = options.with_labels(&self.labels);
        }
        let name = || self.dir.display().to_string();
        let bert = about(
            ClinicalBert::load_with(self.dir, self.options, &options),
            name,
        )?;
        let (model, rest) = bert.into_parts().take_model();
        let rest: Parts<_, ()> = rest;
        let pooler = !rest.report.left_initial.is_empty();
        let model = fresh_layers(
            model,
            if pooler { is_head_or_pooler } else { is_head },
            seed,
        );
        about(ClinicalBert::from_parts(rest.with_model(model)), name)
    }

    fn parameters(&self, bert: &ClinicalBert) -> u64 {
        bert.model().num_params() as u64
    }

    fn training(&self, bert: &ClinicalBert, chosen: &[usize]) -> Result<Set<ClinicalBert>> {
        let portion = Portion::Train;
        Ok(match &self.head {
            Head::Class(most) => {
                let texts = self.texts(bert, portion, chosen)?;
                Box::new(ClassSet::single(bert, &texts, *most)?)
            }
            Head::Labels(most) => {
                let texts = self.texts(bert, portion, chosen)?;
                Box::new(ClassSet::several(bert, &texts, *most)?)
            }
            Head::Tags(settings) => {
                let mut rows = Vec::new();
                for &index in chosen {
                    let Some(words) = self.words(portion, index) else {
                        continue;
                    };
                    let row = &words.row;
                    for piece in self.pieces(bert, row, portion, index)? {
                        rows.push(LabelledWords {
                            words: row.words[piece.clone()].to_vec(),
                            labels: row.labels[piece].to_vec(),
                        });
                    }
                }
                Box::new(TagSet::new(bert, &rows, settings.piece_labels())?)
            }
            Head::Answers(options) => {
                let mut rows = Vec::new();
                if let Examples::RadQa(reports) = &self.data.examples {
                    for &index in chosen {
                        let (report, at) = reports.get(portion, index);
                        let row = report.span_row(question(report, at));
                        rows.push(QuestionExample {
                            question: row.question,
                            context: row.context,
                            answer: row.answer,
                        });
                    }
                }
                Box::new(AnswerSet::new(bert, &rows, options)?)
            }
        })
    }

    fn predict(
        &self,
        bert: &ClinicalBert,
        portion: Portion,
        chosen: &[usize],
    ) -> Result<Predicted> {
        match &self.head {
            Head::Class(most) | Head::Labels(most) => self.sequences(bert, portion, chosen, *most),
            Head::Tags(_) => self.tags(bert, portion, chosen),
            Head::Answers(options) => self.answers(bert, portion, chosen, options),
        }
    }
}
