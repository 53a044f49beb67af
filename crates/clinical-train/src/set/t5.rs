//! Examples for T5: pairs of texts, and notes with missing spans.

use clinical_nn::Loss;
use clinical_t5::{ClinicalT5, Corrupted, Seq2SeqBatch, T5};
use clinical_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use super::{Sum, TrainingSet};
use crate::objective::seq2seq::{PairSettings, Seq2SeqExample};
use crate::objective::span_corruption::{SpanSettings, Spans};
use crate::objective::{Pieces, Truncation};
use crate::{Error, Result, RowPreview};

/// A text and what the model should write about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextPair {
    /// What the model reads.
    pub input: String,
    /// What it should write.
    pub target: String,
}

/// Pairs of texts for fine-tuning T5.
#[derive(Debug)]
pub struct PairSet {
    rows: Vec<Seq2SeqExample>,
    truncation: Truncation,
    pad: u32,
    tokenizer: Tokenizer,
}

impl PairSet {
    /// Encodes pairs with the model's tokenizer, each text with its end token.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] for a target of which nothing is left, [`Error::Model`] for a text that the tokenizer refuses.
    pub fn new<'a>(
        t5: &ClinicalT5,
        pairs: impl IntoIterator<Item = &'a TextPair>,
        settings: &PairSettings,
    ) -> Result<Self> {
        let tokenizer = t5.tokenizer();
        let eos = end_of(t5)?;
        let mut rows = Vec::new();
        let mut truncation = Truncation::default();
        for pair in pairs {
            let [input, target] = [&pair.input, &pair.target].map(|text| ids(tokenizer, text));
            let row = settings.example(&input?, &target?, eos)?;
            truncation.add_pair(&row);
            rows.push(row);
        }
        Ok(Self {
            rows,
            truncation,
            pad: t5.config().pad_token_id,
            tokenizer: tokenizer.clone(),
        })
    }

    /// How much was cut off.
    #[must_use]
    pub fn truncation(&self) -> Truncation {
        self.truncation
    }
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    Ok(tokenizer
        .encode(text, true)
        .map_err(Error::model)?
        .into_ids())
}

/// The end token that T5 was trained with.
fn end_of(t5: &ClinicalT5) -> Result<u32> {
    let special = t5.tokenizer().special().eos.first().copied();
    special.ok_or_else(|| Error::NoToken { token: "end" })
}

fn batch_loss(model: &T5, rows: &[(&[u32], &[u32])], pad: u32) -> Result<Loss> {
    let inputs: Vec<&[u32]> = rows.iter().map(|row| row.0).collect();
    let labels: Vec<&[u32]> = rows.iter().map(|row| row.1).collect();
    let batch = Seq2SeqBatch::from_rows(&inputs, &labels, pad, &model.device());
    model.loss(&batch).map_err(Error::model)
}

fn pair_preview(tokenizer: &Tokenizer, input: &[u32], labels: &[u32]) -> Result<RowPreview> {
    let labels: Vec<i64> = labels.iter().map(|&id| i64::from(id)).collect();
    let decode = |ids: &[u32]| tokenizer.decode(ids, false);
    Ok(RowPreview::encoder_decoder(input, &labels, decode)?)
}

impl TrainingSet for PairSet {
    type Model = T5;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn tokens(&self, example: usize) -> usize {
        let row = &self.rows[example];
        row.input_ids.len().max(row.labels.len())
    }

    fn loss(&self, model: &T5, batch: &[usize], _: u64) -> Result<Loss> {
        let rows: Vec<(&[u32], &[u32])> = batch
            .iter()
            .map(|&row| &self.rows[row])
            .map(|row| (row.input_ids.as_slice(), row.labels.as_slice()))
            .collect();
        batch_loss(model, &rows, self.pad)
    }

    fn preview(&self, example: usize, _: u64) -> Result<RowPreview> {
        let row = &self.rows[example];
        pair_preview(&self.tokenizer, &row.input_ids, &row.labels)
    }

    fn checksum(&self) -> u64 {
        let mut sum = Sum::new("pairs");
        for row in &self.rows {
            sum.ids(&row.input_ids);
            sum.ids(&row.labels);
        }
        sum.value()
    }
}

/// Pieces of notes for pretraining T5: spans are left out, others in every epoch.
#[derive(Debug)]
pub struct SpanSet {
    pieces: Vec<Vec<u32>>,
    spans: Spans,
    seed: u64,
    pad: u32,
    tokenizer: Tokenizer,
    dropped: u64,
}

impl SpanSet {
    /// Encodes notes, joins them and cuts them into pieces, as the published script does: a thousand notes at a time, of
    /// which what does not fill the last piece is left out.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] for settings that give no lengths, [`Error::Model`] for a note that the tokenizer refuses.
    pub fn new<T: AsRef<str>>(
        t5: &ClinicalT5,
        notes: impl IntoIterator<Item = T>,
        settings: &SpanSettings,
        seed: u64,
    ) -> Result<Self> {
        let tokenizer = t5.tokenizer();
        let named = (0..).map_while(|number| tokenizer.sentinel(number));
        let tokens = tokenizer.vocab_size() as u32;
        let sentinels = settings.sentinels().sentinels(named.collect(), tokens);
        let spans = settings.spans(sentinels, end_of(t5)?)?;
        let notes = notes.into_iter().map(|note| ids(tokenizer, note.as_ref()));
        let mut pieces = Pieces::new(notes, spans.tokens_length())?;
        let rows = pieces.by_ref().collect::<Result<Vec<_>>>()?;
        Ok(Self {
            pieces: rows,
            spans,
            seed,
            pad: t5.config().pad_token_id,
            tokenizer: tokenizer.clone(),
            dropped: pieces.dropped_tokens(),
        })
    }

    /// Tokens that did not fill a piece.
    #[must_use]
    pub fn dropped_tokens(&self) -> u64 {
        self.dropped
    }

    fn example(&self, piece: usize, epoch: u64) -> Result<Corrupted> {
        let ids = &self.pieces[piece];
        Ok(self.spans.example(ids, self.seed, epoch, piece as u64)?)
    }
}

impl TrainingSet for SpanSet {
    type Model = T5;

    fn len(&self) -> usize {
        self.pieces.len()
    }

    fn tokens(&self, _: usize) -> usize {
        self.spans.inputs_length()
    }

    fn loss(&self, model: &T5, batch: &[usize], epoch: u64) -> Result<Loss> {
        let rows = batch.iter().map(|&piece| self.example(piece, epoch));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let rows: Vec<(&[u32], &[u32])> = rows
            .iter()
            .map(|row| (row.input_ids.as_slice(), row.labels.as_slice()))
            .collect();
        batch_loss(model, &rows, self.pad)
    }

    fn preview(&self, example: usize, epoch: u64) -> Result<RowPreview> {
        let row = self.example(example, epoch)?;
        pair_preview(&self.tokenizer, &row.input_ids, &row.labels)
    }

    fn checksum(&self) -> u64 {
        let mut sum = Sum::new("spans");
        sum.add([
            self.seed,
            self.spans.inputs_length() as u64,
            self.spans.targets_length() as u64,
        ]);
        self.pieces.iter().for_each(|piece| sum.ids(piece));
        sum.value()
    }
}
