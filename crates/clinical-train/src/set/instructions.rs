//! Examples for LLaMA: instructions about notes.

use asclepius::Asclepius;
use clinical_llama::{Branch, Branches, Llama};
use clinical_nn::Loss;
use clinical_prompts::asclepius::{inference, training};
use clinical_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use super::{Sum, TrainingSet};
use crate::objective::Truncation;
use crate::objective::causal::{CausalExample, Masking, instruction};
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

/// Which of the two published prompts instructions are put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstructionPrompt {
    /// The one that Asclepius was trained with.
    #[default]
    Training,
    /// The one that Asclepius is asked with, and this library asks with: its last line ends with a blank.
    Inference,
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
    /// The prompt. Default: that of the published training.
    pub prompt: InstructionPrompt,
    /// How many instructions about one note, which stand one after another among the examples, make one row: the note is
    /// read once, and each instruction sees the note and itself alone. The loss is that of rows of their own, for a part
    /// of the work; but a row is one example of a batch. Default: 1.
    pub share: usize,
}

impl Default for InstructionSettings {
    fn default() -> Self {
        Self {
            max_tokens: 2048,
            masking: Masking::default(),
            prompt: InstructionPrompt::default(),
            share: 1,
        }
    }
}

/// Instructions in one of the published prompts.
#[derive(Debug)]
pub struct InstructionSet {
    rows: Vec<Row>,
    tokenizer: Tokenizer,
    truncation: Truncation,
    skipped: u64,
}

/// Instructions about one note: what they begin with, and what is left of each. Where notes are not shared, a row is one
/// whole instruction.
#[derive(Debug)]
struct Row {
    prefix: Vec<u32>,
    branches: Vec<(Vec<u32>, Vec<i64>)>,
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
        let mut set = Self {
            rows: Vec::new(),
            tokenizer: asclepius.tokenizer().clone(),
            truncation: Truncation::default(),
            skipped: 0,
        };
        let limit = settings.max_tokens.min(asclepius.max_tokens());
        let mut about: Option<&str> = None;
        let mut together = Vec::new();
        for example in examples {
            if about != Some(&example.note) || together.len() >= settings.share {
                set.push(std::mem::take(&mut together), settings.share > 1);
            }
            about = Some(&example.note);
            match encoded(&set.tokenizer, example, settings, limit) {
                Ok(row) => {
                    set.truncation.add_row(&row);
                    together.push(row);
                }
                Err(Error::Data(crate::DataError::NoTarget { .. })) => set.skipped += 1,
                Err(error) => return Err(error),
            }
        }
        set.push(together, settings.share > 1);
        Ok(set)
    }

    fn push(&mut self, rows: Vec<CausalExample>, share: bool) {
        if !rows.is_empty() {
            self.rows.push(Row::of(rows, share));
        }
    }

    /// Instructions that were left out because their prompt fills the row.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How much was cut off.
    #[must_use]
    pub fn truncation(&self) -> Truncation {
        self.truncation
    }
}

fn encoded(
    tokenizer: &Tokenizer,
    example: &InstructionExample,
    settings: &InstructionSettings,
    limit: usize,
) -> Result<CausalExample> {
    let special = tokenizer.special();
    let eos = special.eos.first().copied();
    let eos = eos.ok_or(Error::NoToken { token: "end" })?;
    // The published padding token is the start token.
    let pad = special.bos.unwrap_or(eos);
    let [note, question, answer] =
        [&example.note, &example.question, &example.answer].map(|text| text.trim_matches('\n'));
    let prompt = match settings.prompt {
        InstructionPrompt::Training => training(note, question),
        InstructionPrompt::Inference => inference(note, question),
    };
    let prompt = prompt.map_err(Error::model)?;
    let ids = |text: &str| -> Result<Vec<u32>> {
        let encoding = tokenizer.encode(text, true);
        Ok(encoding.map_err(Error::model)?.into_ids())
    };
    let source = ids(&prompt)?;
    let mut full = ids(&format!("{prompt}{answer}"))?;
    full.push(eos);
    let row = instruction(&source, &full, pad, limit, settings.masking)?;
    Ok(row.without_hidden_start())
}

impl Row {
    /// With the common beginning of the rows as their prefix, as far as nothing of it is learnt.
    fn of(rows: Vec<CausalExample>, share: bool) -> Self {
        let unlearnt = |row: &CausalExample| {
            let learnt = row.labels.iter().skip(1).position(|&label| label >= 0);
            learnt.unwrap_or(0)
        };
        let alike = |row: &CausalExample| {
            let pairs = row.ids.iter().zip(&rows[0].ids);
            pairs.take_while(|(a, b)| a == b).count()
        };
        let shared = match share {
            true => rows.iter().map(|row| unlearnt(row).min(alike(row))).min(),
            false => None,
        };
        let shared = shared.unwrap_or(0);
        Self {
            prefix: rows[0].ids[..shared].to_vec(),
            branches: rows
                .into_iter()
                .map(|row| (row.ids[shared..].to_vec(), row.labels[shared..].to_vec()))
                .collect(),
        }
    }

    fn branches(&self) -> Branches<'_> {
        let branches = self.branches.iter();
        Branches {
            prefix: &self.prefix,
            branches: branches
                .map(|(ids, labels)| Branch { ids, labels })
                .collect(),
        }
    }
}

impl TrainingSet for InstructionSet {
    type Model = Llama;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn tokens(&self, example: usize) -> usize {
        let row = &self.rows[example];
        let branches = row.branches.iter().map(|(ids, _)| ids.len());
        row.prefix.len() + branches.sum::<usize>()
    }

    fn loss(&self, model: &Llama, batch: &[usize], _: u64) -> Result<Loss> {
        let rows = || batch.iter().map(|&row| &self.rows[row]);
        // Notes are not shared.
        if rows().all(|row| row.prefix.is_empty()) {
            let branches = rows().flat_map(|row| &row.branches);
            let (ids, labels): (Vec<&[u32]>, Vec<&[i64]>) = branches
                .map(|(ids, labels)| (ids.as_slice(), labels.as_slice()))
                .unzip();
            return model.loss(&ids, &labels).map_err(Error::model);
        }
        let rows: Vec<Branches<'_>> = rows().map(Row::branches).collect();
        model.branched_loss(&rows).map_err(Error::model)
    }

    fn preview(&self, example: usize, _: u64) -> Result<RowPreview> {
        let row = &self.rows[example];
        let mut ids = row.prefix.clone();
        let mut labels = vec![clinical_nn::IGNORED; ids.len()];
        for branch in &row.branches {
            ids.extend(&branch.0);
            labels.extend(&branch.1);
        }
        let decode = |ids: &[u32]| self.tokenizer.decode(ids, false);
        Ok(RowPreview::decoder_only(&ids, &labels, decode)?)
    }

    fn checksum(&self) -> u64 {
        let mut sum = Sum::new("instructions");
        for row in &self.rows {
            if !row.prefix.is_empty() {
                sum.ids(&row.prefix);
            }
            for (ids, labels) in &row.branches {
                sum.ids(ids);
                sum.labels(labels);
            }
        }
        sum.value()
    }
}
