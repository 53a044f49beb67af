//! Tokens for masks.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};
use clinical_facade::{CallOptions, LongText};
use serde::Serialize;

use super::ClinicalBert;
use super::long::Window;
use super::numbers::{finite, softmax};
use super::options::bert_call_options;
use crate::{BertForPretraining, BertModel, Error, Result, Row, TaskHead};

/// One mask of a text and what may stand there.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FilledMask {
    /// Bytes of the mask in the caller's text; written as `start` and `end`.
    #[serde(flatten)]
    pub range: Range<usize>,
    /// The likeliest tokens first.
    pub candidates: Vec<Candidate>,
}

/// A token for a mask.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Candidate {
    /// Its id.
    pub id: u32,
    /// Its spelling: `##ity` continues a word, in byte-level vocabularies ` ity` does not.
    pub token: String,
    /// Its probability over the whole vocabulary. With several masks each is filled as if the others stayed masks.
    pub probability: f32,
}

/// How [`ClinicalBert::fill_mask_with`] works. A text that is too long is an error unless a policy is given; in windows
/// each mask is filled in the one that has more text around it.
#[derive(Debug, Clone)]
pub struct FillOptions {
    top_k: usize,
    batch_tokens: Option<usize>,
    call: CallOptions,
}

impl Default for FillOptions {
    fn default() -> Self {
        Self {
            top_k: 5,
            batch_tokens: None,
            call: CallOptions::default(),
        }
    }
}

bert_call_options!(FillOptions);

impl FillOptions {
    /// How many tokens are given for each mask. Default: 5.
    #[must_use]
    pub fn with_top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }
}

impl ClinicalBert {
    /// The `top_k` likeliest tokens for every mask of a text, in the order of the masks.
    ///
    /// # Errors
    ///
    /// As [`fill_mask_with`](Self::fill_mask_with).
    pub fn fill_mask(&self, text: &str, top_k: usize) -> Result<Vec<FilledMask>> {
        self.fill_mask_with(text, &FillOptions::new().with_top_k(top_k))
    }

    /// The likeliest tokens for every mask of a text, in the order of the masks.
    ///
    /// A mask is written as the tokenizer spells it: `[MASK]`, or `<mask>` for RoBERTa.
    ///
    /// # Errors
    ///
    /// [`Error::Head`] for a model without the masked-language-model head, [`Error::NoMask`], [`Error::TooLong`] for a
    /// text that the model cannot read at once, [`Error::Zero`] for `top_k` 0, [`Error::NotFinite`],
    /// [`Error::Cancelled`].
    pub fn fill_mask_with(&self, text: &str, options: &FillOptions) -> Result<Vec<FilledMask>> {
        let BertModel::MaskedLanguage(model) = &self.model else {
            return Err(self.no_head("filling masks", TaskHead::MaskedLanguage));
        };
        if options.top_k == 0 {
            return Err(Error::Zero { option: "top_k" });
        }
        let mask = self
            .text
            .mask
            .ok_or(Error::NoSpecialToken { token: "mask" })?;
        let found = self.one(
            (&options.call, options.batch_tokens),
            || {
                let windows = self.token_windows(text, &options.call, Some(LongText::Error))?;
                let windows: Vec<Window> = windows
                    .into_iter()
                    .filter(|window| window.tokens.iter().any(|token| token.id == mask))
                    .collect();
                let row = |window: &Window| {
                    let ids: Vec<u32> = window.tokens.iter().map(|token| token.id).collect();
                    self.text.single(&ids)
                };
                Ok((windows.iter().map(row).collect(), windows))
            },
            |rows: &[Row<'_>]| self.fill_rows(model, rows, mask, options.top_k),
            |windows, found: Vec<Vec<Vec<Candidate>>>| {
                let masks = windows.iter().zip(found).flat_map(|(window, found)| {
                    let masks = window.tokens.iter().filter(|token| token.id == mask);
                    let mut masks: Vec<FilledMask> = masks
                        .zip(found)
                        .map(|(token, candidates)| FilledMask {
                            range: token.bytes.clone(),
                            candidates,
                        })
                        .collect();
                    masks.retain(|mask| window.keep.contains(&mask.range.start));
                    masks
                });
                Ok(masks.collect::<Vec<_>>())
            },
        )?;
        if found.is_empty() {
            return Err(Error::NoMask {
                mask: self.text.tokenizer.id_to_token(mask).unwrap_or_default(),
            });
        }
        Ok(found)
    }

    /// For each row the candidates of its masks.
    fn fill_rows(
        &self,
        model: &BertForPretraining,
        rows: &[Row<'_>],
        mask: u32,
        top_k: usize,
    ) -> Result<Vec<Vec<Vec<Candidate>>>> {
        let states = model.bert.forward(rows)?;
        let device = states.device();
        let mut filled = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let masks = row.ids.iter().enumerate().filter(|(_, id)| **id == mask);
            let masks: Vec<i64> = masks.map(|(at, _)| at as i64).collect();
            let count = masks.len();
            let masks = Tensor::<1, Int>::from_data(TensorData::new(masks, [count]), &device);
            let states = states.clone().narrow(0, index, 1).select(1, masks);
            let logits = model.predict(states);
            let vocabulary = logits.dims()[2];
            let logits = finite(logits.into_data())?;
            let masks = logits.chunks(vocabulary);
            filled.push(masks.map(|logits| self.candidates(logits, top_k)).collect());
        }
        Ok(filled)
    }

    fn candidates(&self, logits: &[f32], top_k: usize) -> Vec<Candidate> {
        let probabilities = softmax(logits);
        let mut order: Vec<u32> = (0..probabilities.len() as u32).collect();
        let top_k = top_k.min(order.len());
        let likelier = |a: &u32, b: &u32| {
            let (p, q) = (probabilities[*a as usize], probabilities[*b as usize]);
            q.total_cmp(&p).then(a.cmp(b))
        };
        if top_k < order.len() {
            order.select_nth_unstable_by(top_k, likelier);
            order.truncate(top_k);
        }
        order.sort_unstable_by(likelier);
        order
            .into_iter()
            .map(|id| Candidate {
                id,
                token: self.spelling(id),
                probability: probabilities[id as usize],
            })
            .collect()
    }

    /// A token as people read it; rows of the table that the tokenizer does not have are empty.
    fn spelling(&self, id: u32) -> String {
        match self.text.tokenizer.decode(&[id], false) {
            Ok(token) if !token.is_empty() => token,
            _ => self.text.tokenizer.id_to_token(id).unwrap_or_default(),
        }
    }
}
