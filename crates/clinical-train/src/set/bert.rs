//! Examples for BERT and RoBERTa: labels of texts and of words, answers in texts, and masked words.

use std::ops::Range;

use clinical_bert::pretraining::{Examples, PretrainingExample, PretrainingOptions};
use clinical_bert::{
    BertModel, ClinicalBert, PieceLabels, Row, SpanOptions, Targets, TokenRow, align_labels,
};
use clinical_nn::Loss;
use clinical_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use super::{Sum, TrainingSet};
use crate::task::MaskedSettings;
use crate::{Error, Result, RowPreview};

/// A text, or a pair of texts, with its labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelledText {
    /// The text, or the first of a pair.
    pub text: String,
    /// The second text of a pair.
    #[serde(default)]
    pub second: Option<String>,
    /// The names of its labels: one, or any number where a text may have several.
    pub labels: Vec<String>,
}

/// Labelled texts for a sequence head.
#[derive(Debug)]
pub struct ClassSet {
    rows: Rows,
    targets: ClassTargets,
    names: Vec<String>,
}

#[derive(Debug)]
enum ClassTargets {
    Single(Vec<i64>),
    Several(Vec<Vec<f32>>),
}

impl ClassSet {
    /// Texts with one label each. What is beyond `max_tokens` is cut off; default: what the model reads.
    ///
    /// # Errors
    ///
    /// [`Error::Label`] for a label that the model does not have, [`Error::LabelCount`] for none or several, and
    /// [`Error::Model`] for a text that cannot be read.
    pub fn single<'a>(
        bert: &ClinicalBert,
        examples: impl IntoIterator<Item = &'a LabelledText>,
        max_tokens: Option<usize>,
    ) -> Result<Self> {
        let (mut rows, mut targets) = (Rows::new(bert), Vec::new());
        for (number, example) in examples.into_iter().enumerate() {
            let [label] = example.labels.as_slice() else {
                return Err(Error::LabelCount {
                    example: number,
                    labels: example.labels.len(),
                });
            };
            targets.push(class_of(bert, label, number)? as i64);
            rows.push_text(bert, example, max_tokens)?;
        }
        Ok(Self {
            rows,
            targets: ClassTargets::Single(targets),
            names: bert.labels().to_vec(),
        })
    }

    /// Texts with any number of labels each.
    ///
    /// # Errors
    ///
    /// [`Error::Label`], [`Error::Model`].
    pub fn several<'a>(
        bert: &ClinicalBert,
        examples: impl IntoIterator<Item = &'a LabelledText>,
        max_tokens: Option<usize>,
    ) -> Result<Self> {
        let (mut rows, mut targets) = (Rows::new(bert), Vec::new());
        for (number, example) in examples.into_iter().enumerate() {
            let mut set = vec![0.0; bert.labels().len()];
            for label in &example.labels {
                set[class_of(bert, label, number)?] = 1.0;
            }
            targets.push(set);
            rows.push_text(bert, example, max_tokens)?;
        }
        Ok(Self {
            rows,
            targets: ClassTargets::Several(targets),
            names: bert.labels().to_vec(),
        })
    }
}

fn class_of(bert: &ClinicalBert, label: &str, example: usize) -> Result<usize> {
    let known = bert.labels();
    let found = known.iter().position(|known| known == label);
    found.ok_or_else(|| Error::Label {
        example,
        label: clinical_files::shown(label),
        known: known.join(", "),
    })
}

impl TrainingSet for ClassSet {
    type Model = BertModel;

    fn len(&self) -> usize {
        self.rows.0.len()
    }

    fn tokens(&self, example: usize) -> usize {
        self.rows.0[example].ids.len()
    }

    fn loss(&self, model: &BertModel, batch: &[usize], _: u64) -> Result<Loss> {
        let rows = self.rows.batch(batch);
        let loss = match &self.targets {
            ClassTargets::Single(labels) => model.loss(&rows, Targets::Classes(&of(batch, labels))),
            ClassTargets::Several(sets) => model.loss(&rows, Targets::ClassSets(&of(batch, sets))),
        };
        loss.map_err(Error::model)
    }

    fn preview(&self, example: usize, _: u64) -> Result<RowPreview> {
        let labels: Vec<&str> = match &self.targets {
            ClassTargets::Single(classes) => vec![&self.names[classes[example] as usize]],
            ClassTargets::Several(sets) => {
                let set = sets[example].iter().zip(&self.names);
                set.filter(|(value, _)| **value > 0.0)
                    .map(|(_, name)| name.as_str())
                    .collect()
            }
        };
        let ids = &self.rows.0[example].ids;
        preview(&self.rows.1, ids, |_| false, &labels)
    }

    fn checksum(&self) -> u64 {
        let mut sum = self.rows.sum("classes");
        match &self.targets {
            ClassTargets::Single(labels) => sum.labels(labels),
            ClassTargets::Several(sets) => {
                for set in sets {
                    sum.add(set.iter().map(|value| u64::from(value.to_bits())));
                }
            }
        }
        sum.value()
    }
}

/// A sentence as words, each with its label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelledWords {
    /// The words.
    pub words: Vec<String>,
    /// A label for each of them (`O`, `B-problem`, ..).
    pub labels: Vec<String>,
}

/// Labelled words for a token head.
#[derive(Debug)]
pub struct TagSet {
    rows: Rows,
    labels: Vec<Vec<i64>>,
}

impl TagSet {
    /// Sentences whose words have labels.
    ///
    /// # Errors
    ///
    /// [`Error::Label`] for a label that the model does not have, [`Error::WordLabels`] for a sentence with more or fewer
    /// labels than words, and [`Error::Model`] for one that the model cannot read at once.
    pub fn new<'a>(
        bert: &ClinicalBert,
        examples: impl IntoIterator<Item = &'a LabelledWords>,
        pieces: PieceLabels,
    ) -> Result<Self> {
        let (mut rows, mut labels) = (Rows::new(bert), Vec::new());
        for (number, example) in examples.into_iter().enumerate() {
            if example.words.len() != example.labels.len() {
                return Err(Error::WordLabels {
                    example: number,
                    words: example.words.len(),
                    labels: example.labels.len(),
                });
            }
            let classes = example.labels.iter();
            let classes = classes.map(|label| Ok(class_of(bert, label, number)? as i64));
            let classes = classes.collect::<Result<Vec<i64>>>()?;
            let (row, words) = bert.encode_words(&example.words).map_err(Error::model)?;
            labels.push(align_labels(&words, &classes, pieces).map_err(Error::model)?);
            rows.0.push(row);
        }
        Ok(Self { rows, labels })
    }
}

impl TrainingSet for TagSet {
    type Model = BertModel;

    fn len(&self) -> usize {
        self.rows.0.len()
    }

    fn tokens(&self, example: usize) -> usize {
        self.rows.0[example].ids.len()
    }

    fn loss(&self, model: &BertModel, batch: &[usize], _: u64) -> Result<Loss> {
        let labels = of(batch, &self.labels);
        model
            .loss(&self.rows.batch(batch), Targets::Tokens(&labels))
            .map_err(Error::model)
    }

    fn preview(&self, example: usize, _: u64) -> Result<RowPreview> {
        let labels = &self.labels[example];
        self.rows.preview(example, |at| labels[at] >= 0)
    }

    fn checksum(&self) -> u64 {
        let mut sum = self.rows.sum("tags");
        self.labels.iter().for_each(|labels| sum.labels(labels));
        sum.value()
    }
}

/// A question about a text, and where its answer stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuestionExample {
    /// The question.
    pub question: String,
    /// The text.
    pub context: String,
    /// The bytes of the answer in the text; `None` where it has none.
    #[serde(default)]
    pub answer: Option<Range<usize>>,
}

/// Questions for a span head, in the windows in which the model reads long texts. A window without the whole answer
/// learns "no answer", as the published `run_qa.py` does.
#[derive(Debug)]
pub struct AnswerSet {
    rows: Rows,
    spans: Vec<Option<(usize, usize)>>,
}

impl AnswerSet {
    /// Questions about texts.
    ///
    /// # Errors
    ///
    /// [`Error::AnswerRange`] for an answer that is not in its text, and [`Error::Model`] for a question or a text that
    /// cannot be read.
    pub fn new<'a>(
        bert: &ClinicalBert,
        examples: impl IntoIterator<Item = &'a QuestionExample>,
        options: &SpanOptions,
    ) -> Result<Self> {
        let (mut rows, mut spans) = (Rows::new(bert), Vec::new());
        for (number, example) in examples.into_iter().enumerate() {
            check_answer(example, number)?;
            let wanted = example.answer.clone();
            let found = bert.encode_question(&example.question, &example.context, options);
            for row in found.map_err(Error::model)? {
                let span = wanted
                    .as_ref()
                    .and_then(|range| tokens_of(&row.bytes, range));
                spans.push(Some(span.unwrap_or((0, 0))));
                rows.0.push(row.row);
            }
        }
        Ok(Self { rows, spans })
    }
}

/// That an answer is a part of its text.
pub(super) fn check_answer(example: &QuestionExample, number: usize) -> Result<()> {
    match &example.answer {
        Some(range) if example.context.get(range.clone()).is_none_or(str::is_empty) => {
            Err(Error::AnswerRange {
                example: number,
                start: range.start,
                end: range.end,
                bytes: example.context.len(),
            })
        }
        _ => Ok(()),
    }
}

/// The first and the last token of a range, if all of it is there.
pub(super) fn tokens_of(
    tokens: &[Option<Range<usize>>],
    range: &Range<usize>,
) -> Option<(usize, usize)> {
    let is_first = |bytes: &Range<usize>| bytes.start <= range.start && range.start < bytes.end;
    let is_last = |bytes: &Range<usize>| bytes.start < range.end && range.end <= bytes.end;
    let at = |fits: &dyn Fn(&Range<usize>) -> bool| {
        let mut all = tokens.iter();
        all.position(|bytes| bytes.as_ref().is_some_and(fits))
    };
    Some((at(&is_first)?, at(&is_last)?))
}

impl TrainingSet for AnswerSet {
    type Model = BertModel;

    fn len(&self) -> usize {
        self.rows.0.len()
    }

    fn tokens(&self, example: usize) -> usize {
        self.rows.0[example].ids.len()
    }

    fn loss(&self, model: &BertModel, batch: &[usize], _: u64) -> Result<Loss> {
        let spans = of(batch, &self.spans);
        model
            .loss(&self.rows.batch(batch), Targets::Spans(&spans))
            .map_err(Error::model)
    }

    fn preview(&self, example: usize, _: u64) -> Result<RowPreview> {
        let span = self.spans[example];
        self.rows.preview(example, |at| {
            span.is_some_and(|(first, last)| (first..=last).contains(&at))
        })
    }

    fn checksum(&self) -> u64 {
        let mut sum = self.rows.sum("answers");
        for (first, last) in self.spans.iter().flatten() {
            sum.add([*first as u64, *last as u64]);
        }
        sum.value()
    }
}

/// Masked words and next sentences, for pretraining.
#[derive(Debug)]
pub struct MaskedSet {
    examples: Vec<PretrainingExample>,
    tokenizer: Tokenizer,
}

impl MaskedSet {
    /// Examples as [`clinical_bert::pretraining::Examples`] makes them.
    #[must_use]
    pub fn new(bert: &ClinicalBert, examples: Vec<PretrainingExample>) -> Self {
        Self {
            examples,
            tokenizer: bert.tokenizer().clone(),
        }
    }

    /// Examples of notes, each a document whose sentences [`clinical_notes::sentences::sentences`] finds.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] for a tokenizer without a mask token, settings without meaning, and a note that the tokenizer
    /// refuses.
    pub fn of_notes<T: AsRef<str>>(
        bert: &ClinicalBert,
        notes: impl IntoIterator<Item = T>,
        settings: &MaskedSettings,
        seed: u64,
    ) -> Result<Self> {
        let vocabulary = bert.vocabulary().map_err(Error::model)?;
        let mut options = PretrainingOptions::default();
        options.max_seq_length = settings.max_tokens.min(bert.max_tokens());
        options.dupe_factor = settings.duplicates;
        options.seed = seed;
        let documents = notes.into_iter().map(|note| {
            let note = note.as_ref();
            let sentences = clinical_notes::sentences::sentences(note).into_iter();
            sentences.map(|range| bert.tokens(&note[range])).collect()
        });
        let examples = Examples::new(documents, vocabulary, options).map_err(Error::model)?;
        let examples = examples.collect::<clinical_bert::Result<Vec<_>>>();
        Ok(Self::new(bert, examples.map_err(Error::model)?))
    }
}

impl TrainingSet for MaskedSet {
    type Model = BertModel;

    fn len(&self) -> usize {
        self.examples.len()
    }

    fn tokens(&self, example: usize) -> usize {
        self.examples[example].ids.len()
    }

    fn loss(&self, model: &BertModel, batch: &[usize], _: u64) -> Result<Loss> {
        let BertModel::MaskedLanguage(model) = model else {
            return Err(Error::NoMaskedHead);
        };
        let loss = model.pretraining_loss(&of(batch, &self.examples));
        Ok(loss.map_err(Error::model)?.total())
    }

    fn preview(&self, example: usize, _: u64) -> Result<RowPreview> {
        let example = &self.examples[example];
        let is_predicted = |at: usize| example.positions.contains(&at);
        let next = match example.is_random_next {
            true => "another text follows",
            false => "the next sentence follows",
        };
        preview(&self.tokenizer, &example.ids, is_predicted, &[next])
    }

    fn checksum(&self) -> u64 {
        let mut sum = Sum::new("masked");
        for example in &self.examples {
            sum.ids(&example.ids);
            sum.ids(&example.types);
            sum.add(example.positions.iter().map(|&at| at as u64));
            sum.ids(&example.labels);
            sum.add([u64::from(example.is_random_next)]);
        }
        sum.value()
    }
}

/// Rows of an encoder.
#[derive(Debug)]
struct Rows(Vec<TokenRow>, Tokenizer);

impl Rows {
    fn new(bert: &ClinicalBert) -> Self {
        Self(Vec::new(), bert.tokenizer().clone())
    }

    fn push_text(
        &mut self,
        bert: &ClinicalBert,
        example: &LabelledText,
        max_tokens: Option<usize>,
    ) -> Result<()> {
        let row = bert.encode_cut(&example.text, example.second.as_deref(), max_tokens);
        self.0.push(row.map_err(Error::model)?);
        Ok(())
    }

    fn batch(&self, batch: &[usize]) -> Vec<Row<'_>> {
        batch.iter().map(|&row| self.0[row].row()).collect()
    }

    fn preview(&self, example: usize, carries: impl Fn(usize) -> bool) -> Result<RowPreview> {
        preview(&self.1, &self.0[example].ids, carries, &[])
    }

    fn sum(&self, kind: &str) -> Sum {
        let mut sum = Sum::new(kind);
        for row in &self.0 {
            sum.ids(&row.ids);
            sum.ids(&row.types);
        }
        sum
    }
}

/// The tokens of a row, and which of them carry loss.
fn preview(
    tokenizer: &Tokenizer,
    ids: &[u32],
    carries: impl Fn(usize) -> bool,
    labels: &[&str],
) -> Result<RowPreview> {
    let decode = |ids: &[u32]| tokenizer.decode(ids, false);
    Ok(RowPreview::encoder(ids, carries, labels, decode)?)
}

fn of<T: Clone>(batch: &[usize], all: &[T]) -> Vec<T> {
    batch.iter().map(|&row| all[row].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_whole_or_not_at_all() {
        let tokens = [None, Some(0..3), Some(4..9), Some(9..10), None];
        assert_eq!(tokens_of(&tokens, &(4..10)), Some((2, 3)));
        assert_eq!(tokens_of(&tokens, &(5..7)), Some((2, 2)));
        assert_eq!(tokens_of(&tokens, &(0..3)), Some((1, 1)));
        assert_eq!(tokens_of(&tokens, &(4..12)), None);
        // White space belongs to no token.
        assert_eq!(tokens_of(&tokens, &(3..9)), None);
    }
}
