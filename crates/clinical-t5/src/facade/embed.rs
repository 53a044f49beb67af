//! Vectors for texts.

use clinical_facade::{BatchLimits, Pooling, in_batches};
use clinical_nn::ModelError;

use super::reading::Part;
use super::{ClinicalT5, T5Options};
use crate::{Error, Result};

impl ClinicalT5 {
    /// One vector of `d_model` values for each text: its pooled encoder states. There is one result for each text, in
    /// their order; a text that cannot be read costs the others nothing.
    ///
    /// # Errors
    ///
    /// For each text [`Error::TooLong`], [`Error::Model`], [`Error::Tokenizer`], [`Error::NotFinite`].
    pub fn embed<S: AsRef<str>>(&self, texts: &[S], pooling: Pooling) -> Vec<Result<Vec<f32>>> {
        self.embed_with(texts, pooling, &T5Options::new())
    }

    /// [`Self::embed`] with options: [`with_batch`](T5Options::with_batch) texts or windows are computed at once (8,
    /// unless they say otherwise). A text that is read in windows has the vector of all of them together:
    /// [`Pooling::combine`].
    ///
    /// # Errors
    ///
    /// For each text those of [`Self::embed`], and [`Error::NothingLeft`], [`Error::Windows`], [`Error::Deid`]; and
    /// [`Error::Cancelled`] for those that were not computed when the flag was set.
    pub fn embed_with<S: AsRef<str>>(
        &self,
        texts: &[S],
        pooling: Pooling,
        options: &T5Options,
    ) -> Vec<Result<Vec<f32>>> {
        let items = texts
            .iter()
            .map(|text| self.parts_to_embed(text.as_ref(), options));
        let run = |parts: &[&Part]| self.vectors(parts, pooling);
        let found = in_batches(
            items.collect(),
            BatchLimits::rows(options.batch()),
            &options.call,
            |part| part.ids.len(),
            || Error::Cancelled,
            run,
        );
        let combined = |windows: Vec<(Vec<f32>, usize)>| {
            let (vectors, tokens): (Vec<_>, Vec<_>) = windows.into_iter().unzip();
            pooling.combine(&vectors, &tokens)
        };
        found.into_iter().map(|item| item.map(combined)).collect()
    }

    fn parts_to_embed(&self, text: &str, options: &T5Options) -> Result<Vec<Part>> {
        if options.call.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let parts = self.parts(text, options)?;
        for part in &parts {
            ModelError::check_prompts(&[&part.ids], self.model.shared.vocabulary())?;
        }
        Ok(parts)
    }

    /// The vector of each of a batch of checked rows, with the row's number of tokens.
    fn vectors(&self, parts: &[&Part], pooling: Pooling) -> Result<Vec<(Vec<f32>, usize)>> {
        let rows: Vec<&[u32]> = parts.iter().map(|part| part.ids.as_slice()).collect();
        let pooled = self.model.embed(&rows, pooling)?;
        let width = pooled.dims()[1];
        let values: Vec<f32> = pooled.into_data().iter::<f32>().collect();
        let vectors = values.chunks_exact(width).zip(&rows);
        let finite = |(vector, row): (&[f32], &&[u32])| match vector.iter().all(|v| v.is_finite()) {
            true => Ok((vector.to_vec(), row.len())),
            false => Err(self.not_finite(row, &[])),
        };
        vectors.map(finite).collect()
    }

    /// The first part that gives a number that is not finite while `row` is read and `target` is written.
    pub(super) fn not_finite(&self, row: &[u32], target: &[u32]) -> Error {
        let answer = [&[self.model.start()], target].concat();
        let layer = self.model.non_finite_part(row, &answer);
        Error::NotFinite {
            layer: layer.unwrap_or_else(|| "output layer".to_owned()),
        }
    }
}
