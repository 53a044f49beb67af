//! Examples for LLaMA: notes one after another.

use asclepius::Asclepius;
use clinical_llama::Llama;
use clinical_nn::Loss;
use clinical_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use super::{Sum, TrainingSet};
use crate::objective::causal::{CausalExample, packed};
use crate::{Error, Result, RowPreview};

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
    rows: Vec<CausalExample>,
    tokenizer: Tokenizer,
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
        let rows = stream.by_ref().collect::<Result<_>>()?;
        Ok(Self {
            rows,
            tokenizer: tokenizer.clone(),
            dropped: stream.dropped_tokens(),
        })
    }

    /// Tokens that did not fill a row.
    #[must_use]
    pub fn dropped_tokens(&self) -> u64 {
        self.dropped
    }
}

impl TrainingSet for NoteSet {
    type Model = Llama;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn tokens(&self, example: usize) -> usize {
        self.rows[example].ids.len()
    }

    fn loss(&self, model: &Llama, batch: &[usize], _: u64) -> Result<Loss> {
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
        let mut sum = Sum::new("notes");
        for row in &self.rows {
            sum.ids(&row.ids);
            sum.labels(&row.labels);
        }
        sum.value()
    }
}
