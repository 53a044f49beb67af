//! Examples for LLaMA: notes, and instructions with their answers.

use asclepius::Asclepius;
use clinical_llama::Llama;
use clinical_nn::Loss;
use clinical_prompts::asclepius::training;
use clinical_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use super::{Sum, TrainingSet};
use crate::objective::Truncation;
use crate::objective::causal::{CausalExample, Masking, instruction, packed};
use crate::{Error, Result, RowPreview};

/// A note, an instruction about it, and the answer that the model should give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstructionExample {
    /// The discharge summary.
    pub note: String,
    /// The instruction.
    pub question: String,
    /// What the model should write.
    pub answer: String,
}

/// How instructions become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct InstructionSettings {
    /// Most tokens of a row; the end of a longer one is cut off. Default: 2048, as Asclepius (Llama 2: 4096; Llama 3 and
    /// Mistral: 8192), or what the model reads, if that is less.
    pub max_tokens: usize,
    /// Which tokens carry loss. Default: those of the answer.
    pub masking: Masking,
}

impl Default for InstructionSettings {
    fn default() -> Self {
        Self {
            max_tokens: 2048,
            masking: Masking::default(),
        }
    }
}

/// Instructions in the prompt that Asclepius was trained with.
#[derive(Debug)]
pub struct InstructionSet {
    rows: Rows,
    skipped: u64,
}

impl InstructionSet {
    /// Encodes `prompt + answer + end token`, as `instruction_ft.py` does: line breaks around each text are taken off, and
    /// what is beyond the limit is cut off. An instruction whose prompt fills the row has nothing to learn from, and is
    /// counted in [`skipped`](Self::skipped).
    ///
    /// # Errors
    ///
    /// [`Error::Data`], and [`Error::Model`] for a text that the prompt or the tokenizer refuses.
    pub fn new<'a>(
        asclepius: &Asclepius,
        examples: impl IntoIterator<Item = &'a InstructionExample>,
        settings: &InstructionSettings,
    ) -> Result<Self> {
        let tokenizer = asclepius.tokenizer();
        let special = tokenizer.special();
        let (bos, eos) = (special.bos, special.eos.first().copied());
        let eos = eos.ok_or(Error::NoToken { token: "end" })?;
        let limit = settings.max_tokens.min(asclepius.max_tokens());
        let (mut rows, mut skipped) = (Rows::new(tokenizer), 0);
        for example in examples {
            let [note, question, answer] = [&example.note, &example.question, &example.answer]
                .map(|text| text.trim_matches('\n'));
            let prompt = training(note, question).map_err(Error::model)?;
            let encoded = |text: &str| -> Result<Vec<u32>> {
                Ok(tokenizer
                    .encode(text, true)
                    .map_err(Error::model)?
                    .into_ids())
            };
            let source = encoded(&prompt)?;
            let mut full = encoded(&format!("{prompt}{answer}"))?;
            full.push(eos);
            // The published padding token is the start token.
            let pad = bos.unwrap_or(eos);
            match instruction(&source, &full, pad, limit, settings.masking) {
                Ok(row) => rows.push(row),
                Err(crate::DataError::NoTarget { .. }) => skipped += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { rows, skipped })
    }

    /// Instructions that were left out because their prompt fills the row.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How much was cut off.
    #[must_use]
    pub fn truncation(&self) -> Truncation {
        self.rows.truncation
    }
}

/// How notes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct NoteSettings {
    /// Tokens of a row. Default: 2048, as Asclepius, or what the model reads, if that is less.
    pub length: usize,
    /// Whether each note has two start tokens, as the published stream has. Default: no.
    pub published: bool,
}

impl Default for NoteSettings {
    fn default() -> Self {
        Self {
            length: 2048,
            published: false,
        }
    }
}

/// Notes one after another in rows of one length, for pretraining LLaMA.
#[derive(Debug)]
pub struct NoteSet {
    rows: Rows,
    dropped: u64,
}

impl NoteSet {
    /// Encodes notes and packs them.
    ///
    /// # Errors
    ///
    /// [`Error::Data`], [`Error::NoToken`] for a tokenizer without start or end token, and [`Error::Model`] for a note that
    /// the tokenizer refuses.
    pub fn new<T: AsRef<str>>(
        asclepius: &Asclepius,
        notes: impl IntoIterator<Item = T>,
        settings: &NoteSettings,
    ) -> Result<Self> {
        let tokenizer = asclepius.tokenizer();
        let special = tokenizer.special();
        let bos = special.bos.ok_or(Error::NoToken { token: "start" })?;
        let eos = special.eos.first().copied();
        let eos = eos.ok_or(Error::NoToken { token: "end" })?;
        let notes = notes.into_iter().map(|note| -> Result<Vec<u32>> {
            let encoding = tokenizer.encode(note.as_ref(), true);
            Ok(encoding.map_err(Error::model)?.into_ids())
        });
        let length = settings.length.min(asclepius.max_tokens());
        let mut stream = packed(notes, bos, eos, length, settings.published)?;
        let mut rows = Rows::new(tokenizer);
        for row in stream.by_ref() {
            rows.push(row?);
        }
        Ok(Self {
            rows,
            dropped: stream.dropped_tokens(),
        })
    }

    /// Tokens that did not fill a row.
    #[must_use]
    pub fn dropped_tokens(&self) -> u64 {
        self.dropped
    }
}

/// Rows of a decoder.
#[derive(Debug)]
struct Rows {
    rows: Vec<CausalExample>,
    truncation: Truncation,
    tokenizer: Tokenizer,
}

impl Rows {
    fn new(tokenizer: &Tokenizer) -> Self {
        Self {
            rows: Vec::new(),
            truncation: Truncation::default(),
            tokenizer: tokenizer.clone(),
        }
    }

    fn push(&mut self, row: CausalExample) {
        self.truncation.add_row(&row);
        self.rows.push(row);
    }

    fn loss(&self, model: &Llama, batch: &[usize]) -> Result<Loss> {
        let rows = batch.iter().map(|&row| &self.rows[row]);
        let (ids, labels): (Vec<&[u32]>, Vec<&[i64]>) = rows
            .map(|row| (row.ids.as_slice(), row.labels.as_slice()))
            .unzip();
        model.loss(&ids, &labels).map_err(Error::model)
    }

    fn preview(&self, example: usize) -> Result<RowPreview> {
        let row = &self.rows[example];
        let decode = |ids: &[u32]| self.tokenizer.decode(ids, false);
        Ok(RowPreview::of_row(row, decode)?)
    }

    fn checksum(&self, kind: &str) -> u64 {
        let mut sum = Sum::new(kind);
        for row in &self.rows {
            sum.ids(&row.ids);
            sum.labels(&row.labels);
        }
        sum.value()
    }
}

macro_rules! rows {
    ($set:ty, $kind:literal) => {
        impl TrainingSet for $set {
            type Model = Llama;

            fn len(&self) -> usize {
                self.rows.rows.len()
            }

            fn tokens(&self, example: usize) -> usize {
                self.rows.rows[example].ids.len()
            }

            fn loss(&self, model: &Llama, batch: &[usize], _: u64) -> Result<Loss> {
                self.rows.loss(model, batch)
            }

            fn preview(&self, example: usize, _: u64) -> Result<RowPreview> {
                self.rows.preview(example)
            }

            fn checksum(&self) -> u64 {
                self.rows.checksum($kind)
            }
        }
    };
}

rows!(InstructionSet, "instructions");
rows!(NoteSet, "notes");
