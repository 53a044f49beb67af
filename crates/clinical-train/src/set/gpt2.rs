//! Examples for GPT-2: texts to continue, labels of texts, answers in texts.

use std::ops::Range;

use clinical_gpt2::{ClinicalGpt2, Gpt2, Gpt2Options, LongText};
use clinical_nn::Loss;
use clinical_tokenizer::Tokenizer;

use super::bert::{check_answer, tokens_of};
use super::{LabelledText, QuestionExample, Sum, TextPair, TrainingSet};
use crate::objective::causal::{CausalExample, Masking, instruction};
use crate::{Error, Result, RowPreview};

/// Texts with what follows them: GPT-2 learns the target and the end token after the input. `" yes"` with its blank.
#[derive(Debug)]
pub struct ContinuationSet {
    rows: Vec<CausalExample>,
    tokenizer: Tokenizer,
}

impl ContinuationSet {
    /// Pairs of an input and its target. The end of a row beyond `max_tokens` is cut off; default: what the model reads.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] for a row of which nothing is left to learn, [`Error::NoToken`] for a tokenizer without an end
    /// token, [`Error::Model`] for a text that the tokenizer refuses.
    pub fn new<'a>(
        gpt2: &ClinicalGpt2,
        pairs: impl IntoIterator<Item = &'a TextPair>,
        max_tokens: Option<usize>,
    ) -> Result<Self> {
        let tokenizer = gpt2.tokenizer();
        let end = gpt2.end_ids().first().copied();
        let end = end.ok_or(Error::NoToken { token: "end" })?;
        let limit = max_tokens.map_or(gpt2.max_tokens(), |most| most.min(gpt2.max_tokens()));
        let ids = |text: &str| -> Result<Vec<u32>> {
            let encoding = tokenizer.encode(text, true).map_err(Error::model)?;
            Ok(encoding.into_ids())
        };
        let row = |pair: &TextPair| {
            let input = ids(&pair.input)?;
            let mut whole = input.clone();
            whole.extend(ids(&pair.target)?);
            whole.push(end);
            // No id pads: rows of different lengths need none.
            let pad = u32::MAX;
            Ok(instruction(&input, &whole, pad, limit, Masking::Corrected)?)
        };
        Ok(Self {
            rows: pairs.into_iter().map(row).collect::<Result<_>>()?,
            tokenizer: tokenizer.clone(),
        })
    }
}

impl TrainingSet for ContinuationSet {
    type Model = Gpt2;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn tokens(&self, example: usize) -> usize {
        self.rows[example].ids.len()
    }

    fn loss(&self, model: &Gpt2, batch: &[usize], _: u64) -> Result<Loss> {
        let rows = batch.iter().map(|&row| &self.rows[row]);
        let (ids, labels): (Vec<&[u32]>, Vec<&[i64]>) = rows
            .map(|row| (row.ids.as_slice(), row.labels.as_slice()))
            .unzip();
        model.loss(&ids, &labels).map_err(Error::model)
    }

    fn preview(&self, example: usize, _: u64) -> Result<RowPreview> {
        let decode = |ids: &[u32]| self.tokenizer.decode(ids, false);
        Ok(RowPreview::of_row(&self.rows[example], decode)?)
    }

    fn checksum(&self) -> u64 {
        let mut sum = Sum::new("continuations");
        for row in &self.rows {
            sum.ids(&row.ids);
            sum.labels(&row.labels);
        }
        sum.value()
    }
}

/// Labelled texts for a head of classes on GPT-2, which reads the last token of a text.
#[derive(Debug)]
pub struct Gpt2ClassSet {
    rows: Vec<Vec<u32>>,
    targets: Targets,
    names: Vec<String>,
    tokenizer: Tokenizer,
}

#[derive(Debug)]
enum Targets {
    Single(Vec<i64>),
    Several(Vec<Vec<f32>>),
}

impl Gpt2ClassSet {
    /// Texts with one label each. What is beyond `max_tokens` is cut off; default: what the model reads.
    ///
    /// # Errors
    ///
    /// [`Error::Label`] for a label that the model does not have, [`Error::LabelCount`] for none or several, and
    /// [`Error::Model`] for a text that cannot be read.
    pub fn single<'a>(
        gpt2: &ClinicalGpt2,
        examples: impl IntoIterator<Item = &'a LabelledText>,
        max_tokens: Option<usize>,
    ) -> Result<Self> {
        let (mut set, mut targets) = (Self::empty(gpt2), Vec::new());
        for (number, example) in examples.into_iter().enumerate() {
            let [label] = example.labels.as_slice() else {
                return Err(Error::LabelCount {
                    example: number,
                    labels: example.labels.len(),
                });
            };
            targets.push(set.class_of(label, number)? as i64);
            set.push(gpt2, example, max_tokens)?;
        }
        set.targets = Targets::Single(targets);
        Ok(set)
    }

    /// Texts with any number of labels each.
    ///
    /// # Errors
    ///
    /// [`Error::Label`], [`Error::Model`].
    pub fn several<'a>(
        gpt2: &ClinicalGpt2,
        examples: impl IntoIterator<Item = &'a LabelledText>,
        max_tokens: Option<usize>,
    ) -> Result<Self> {
        let (mut set, mut targets) = (Self::empty(gpt2), Vec::new());
        for (number, example) in examples.into_iter().enumerate() {
            let mut values = vec![0.0; set.names.len()];
            for label in &example.labels {
                values[set.class_of(label, number)?] = 1.0;
            }
            targets.push(values);
            set.push(gpt2, example, max_tokens)?;
        }
        set.targets = Targets::Several(targets);
        Ok(set)
    }

    fn empty(gpt2: &ClinicalGpt2) -> Self {
        Self {
            rows: Vec::new(),
            targets: Targets::Single(Vec::new()),
            names: gpt2.labels(),
            tokenizer: gpt2.tokenizer().clone(),
        }
    }

    fn class_of(&self, label: &str, example: usize) -> Result<usize> {
        let found = self.names.iter().position(|known| known == label);
        found.ok_or_else(|| Error::Label {
            example,
            label: clinical_files::shown(label),
            known: self.names.join(", "),
        })
    }

    /// The second text of a pair follows the first after a blank.
    fn push(
        &mut self,
        gpt2: &ClinicalGpt2,
        example: &LabelledText,
        max_tokens: Option<usize>,
    ) -> Result<()> {
        let mut options = Gpt2Options::new().with_long_text(LongText::CutEnd);
        if let Some(most) = max_tokens {
            options = options.with_max_tokens(most);
        }
        let row = match &example.second {
            None => gpt2.text_row(&example.text, &options),
            Some(second) => gpt2.text_row(&format!("{} {second}", example.text), &options),
        };
        self.rows.push(row.map_err(Error::model)?);
        Ok(())
    }
}

impl TrainingSet for Gpt2ClassSet {
    type Model = Gpt2;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn tokens(&self, example: usize) -> usize {
        self.rows[example].len()
    }

    fn loss(&self, model: &Gpt2, batch: &[usize], _: u64) -> Result<Loss> {
        let ids = of(&self.rows, batch);
        let loss = match &self.targets {
            Targets::Single(all) => {
                let classes: Vec<i64> = batch.iter().map(|&row| all[row]).collect();
                model.class_loss(&ids, &classes)
            }
            Targets::Several(all) => {
                let sets: Vec<Vec<f32>> = batch.iter().map(|&row| all[row].clone()).collect();
                model.class_set_loss(&ids, &sets)
            }
        };
        loss.map_err(Error::model)
    }

    fn preview(&self, example: usize, _: u64) -> Result<RowPreview> {
        let labels: Vec<&str> = match &self.targets {
            Targets::Single(classes) => vec![&self.names[classes[example] as usize]],
            Targets::Several(sets) => {
                let set = sets[example].iter().zip(&self.names);
                set.filter(|(value, _)| **value > 0.0)
                    .map(|(_, name)| name.as_str())
                    .collect()
            }
        };
        let decode = |ids: &[u32]| self.tokenizer.decode(ids, false);
        let ids = &self.rows[example];
        Ok(RowPreview::encoder(ids, |_| false, &labels, decode)?)
    }

    fn checksum(&self) -> u64 {
        let mut sum = Sum::new("gpt2 classes");
        self.rows.iter().for_each(|row| sum.ids(row));
        match &self.targets {
            Targets::Single(classes) => sum.labels(classes),
            Targets::Several(sets) => {
                for set in sets {
                    sum.add(set.iter().map(|value| u64::from(value.to_bits())));
                }
            }
        }
        sum.value()
    }
}

/// Questions for a span head on GPT-2, in the study's layout. A window without the whole answer learns `<|CLS|>`, "no
/// answer".
#[derive(Debug)]
pub struct Gpt2AnswerSet {
    rows: Vec<Vec<u32>>,
    spans: Vec<Option<(usize, usize)>>,
    tokenizer: Tokenizer,
}

impl Gpt2AnswerSet {
    /// Questions about texts, which are read as the options say.
    ///
    /// # Errors
    ///
    /// [`Error::AnswerRange`] for an answer that is not in its text, and [`Error::Model`] for a question or a text that
    /// cannot be read.
    pub fn new<'a>(
        gpt2: &ClinicalGpt2,
        examples: impl IntoIterator<Item = &'a QuestionExample>,
        options: &Gpt2Options,
    ) -> Result<Self> {
        let mut set = Self {
            rows: Vec::new(),
            spans: Vec::new(),
            tokenizer: gpt2.tokenizer().clone(),
        };
        for (number, example) in examples.into_iter().enumerate() {
            check_answer(example, number)?;
            let found = gpt2.question_rows(&example.question, &example.context, options);
            for row in found.map_err(Error::model)? {
                let wanted: Option<&Range<usize>> = example.answer.as_ref();
                let span = wanted.and_then(|range| tokens_of(&row.bytes, range));
                let none = row.ids.len() - 1;
                set.spans.push(Some(span.unwrap_or((none, none))));
                set.rows.push(row.ids);
            }
        }
        Ok(set)
    }
}

impl TrainingSet for Gpt2AnswerSet {
    type Model = Gpt2;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn tokens(&self, example: usize) -> usize {
        self.rows[example].len()
    }

    fn loss(&self, model: &Gpt2, batch: &[usize], _: u64) -> Result<Loss> {
        let spans: Vec<_> = batch.iter().map(|&row| self.spans[row]).collect();
        let loss = model.span_loss(&of(&self.rows, batch), &spans);
        loss.map_err(Error::model)
    }

    fn preview(&self, example: usize, _: u64) -> Result<RowPreview> {
        let span = self.spans[example];
        let carries = |at: usize| span.is_some_and(|(first, last)| (first..=last).contains(&at));
        let decode = |ids: &[u32]| self.tokenizer.decode(ids, false);
        let ids = &self.rows[example];
        Ok(RowPreview::encoder(ids, carries, &[], decode)?)
    }

    fn checksum(&self) -> u64 {
        let mut sum = Sum::new("gpt2 answers");
        self.rows.iter().for_each(|row| sum.ids(row));
        for (first, last) in self.spans.iter().flatten() {
            sum.add([*first as u64, *last as u64]);
        }
        sum.value()
    }
}

fn of<'a>(rows: &'a [Vec<u32>], batch: &[usize]) -> Vec<&'a [u32]> {
    batch.iter().map(|&row| rows[row].as_slice()).collect()
}
