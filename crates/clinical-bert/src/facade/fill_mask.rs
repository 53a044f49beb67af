//! Tokens for masks.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};

use super::{BertModel, ClinicalBert, Head, finite, softmax};
use crate::Error;

/// One mask of a text and what may stand there.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FilledMask {
    /// Bytes of the mask in the caller's text.
    pub range: Range<usize>,
    /// The likeliest tokens first.
    pub candidates: Vec<Candidate>,
}

/// A token for a mask.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// Its id.
    pub id: u32,
    /// Its spelling: `##ity` continues a word, in byte-level vocabularies ` ity` does not.
    pub token: String,
    /// Its probability over the whole vocabulary. With several masks each is filled as if the others stayed masks.
    pub probability: f32,
}

impl ClinicalBert {
    /// The `top_k` likeliest tokens for every mask of a text, in the order of the masks.
    ///
    /// A mask is written as the tokenizer spells it: `[MASK]`, or `<mask>` for RoBERTa.
    ///
    /// # Errors
    ///
    /// [`Error::Head`] for a model without the masked-language-model head, [`Error::NoMask`], [`Error::TooLong`] for a text
    /// that the model cannot read at once, [`Error::Zero`] for `top_k` 0.
    pub fn fill_mask(&self, text: &str, top_k: usize) -> Result<Vec<FilledMask>, Error> {
        let BertModel::MaskedLanguage(model) = &self.model else {
            return Err(self.no_head("filling masks", Head::MaskedLanguage));
        };
        if top_k == 0 {
            return Err(Error::Zero { option: "top_k" });
        }
        let mask = self
            .text
            .mask
            .ok_or(Error::NoSpecialToken { token: "mask" })?;
        let tokens = self.text.tokens(text, 0)?;
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        let row = self.text.single(&ids);
        self.check_length(0, row.ids.len())?;
        let masks: Vec<usize> = (0..ids.len()).filter(|&at| ids[at] == mask).collect();
        if masks.is_empty() {
            return Err(Error::NoMask {
                mask: self.text.tokenizer.id_to_token(mask).unwrap_or_default(),
            });
        }
        let states = model.bert.forward(&[row.row()])?;
        let device = states.device();
        // Behind the start token.
        let places: Vec<i64> = masks.iter().map(|&at| at as i64 + 1).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [masks.len()]), &device);
        let logits = model.predict(states.select(1, places));
        let vocabulary = logits.dims()[2];
        let logits = finite(logits.into_data())?;
        Ok(masks
            .iter()
            .zip(logits.chunks(vocabulary))
            .map(|(&at, logits)| FilledMask {
                range: tokens[at].bytes.clone(),
                candidates: self.candidates(logits, top_k),
            })
            .collect())
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
