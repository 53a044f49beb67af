//! Vectors for texts.

use clinical_facade::{CallOptions, LongText, Pooling, normalize};

use super::ClinicalBert;
use super::numbers::finite;
use super::options::bert_call_options;
use crate::{Error, Result, Row};

/// How [`ClinicalBert::embed_with`] works. Texts that are too long are read in windows without overlap unless a policy
/// is given.
#[derive(Debug, Clone, Default)]
pub struct EmbedOptions {
    pooling: Option<Pooling>,
    normalize: Option<bool>,
    batch_tokens: Option<usize>,
    call: CallOptions,
}

bert_call_options!(EmbedOptions);

impl EmbedOptions {
    /// How the states of a text become one vector. Default: as the directory was trained for (the files of
    /// sentence-transformers); [`Pooling::Mean`] where it does not say.
    #[must_use]
    pub fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = Some(pooling);
        self
    }

    /// Whether each vector is divided by its Euclidean length. Default: as the directory says where its pooling is used
    /// too, else false.
    #[must_use]
    pub fn with_normalize(mut self, normalize: bool) -> Self {
        self.normalize = Some(normalize);
        self
    }
}

impl ClinicalBert {
    /// One vector of `hidden_size` values for each text, of any length; see [`embed_with`](Self::embed_with). Without a
    /// pooling (`None`) that of the directory is used, with its normalisation.
    ///
    /// # Errors
    ///
    /// As [`embed_with`](Self::embed_with).
    pub fn embed<T: AsRef<str>>(
        &self,
        texts: &[T],
        pooling: impl Into<Option<Pooling>>,
    ) -> Vec<Result<Vec<f32>>> {
        let options = EmbedOptions {
            pooling: pooling.into(),
            ..EmbedOptions::default()
        };
        self.embed_with(texts, &options)
    }

    /// One vector of `hidden_size` values for each text.
    ///
    /// A text that fits is one row. A longer one is read in windows, and their vectors become one: the mean weighted by
    /// the tokens of each window for [`Pooling::Mean`] (so without overlap it is the mean over all tokens) and
    /// [`Pooling::Cls`], the largest value for [`Pooling::Max`]. An empty text is the row `[CLS] [SEP]`, as in
    /// `transformers`.
    ///
    /// # Errors
    ///
    /// For each text: [`Error::TooLong`] and [`Error::NothingLeft`] if the options say so, [`Error::Overlap`],
    /// [`Error::Tokenizer`], [`Error::NotFinite`], [`Error::Cancelled`]; [`Error::VectorModule`] without a pooling for
    /// a directory whose own vectors cannot be computed.
    pub fn embed_with<T: AsRef<str>>(
        &self,
        texts: &[T],
        options: &EmbedOptions,
    ) -> Vec<Result<Vec<f32>>> {
        let call = &options.call;
        let windows = LongText::Windows { overlap: 0 };
        self.each(
            texts.len(),
            (call, options.batch_tokens),
            |text| {
                self.pooling(options)?;
                let rows = self.rows(texts[text].as_ref(), call, windows)?;
                let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
                Ok((rows, lengths))
            },
            |rows: &[Row<'_>]| {
                let (pooling, _) = self.pooling(options)?;
                let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
                let pooled = pooling.pool(self.encoder().forward(rows)?, &lengths);
                let width = pooled.dims()[1];
                let values = finite(pooled.into_data())?;
                Ok(values.chunks(width).map(<[f32]>::to_vec).collect())
            },
            |lengths, vectors: Vec<Vec<f32>>| {
                let (pooling, unit) = self.pooling(options)?;
                let mut vector = pooling.combine(&vectors, &lengths);
                if unit {
                    normalize(&mut vector);
                }
                Ok(vector)
            },
        )
    }

    /// The pooling of a call with these options, and whether its vectors are divided by their length.
    ///
    /// # Errors
    ///
    /// [`Error::VectorModule`] without a pooling for a directory whose own vectors cannot be computed.
    pub fn pooling(&self, options: &EmbedOptions) -> Result<(Pooling, bool)> {
        let (pooling, unit) = match (options.pooling, &self.config.sentence) {
            (Some(pooling), _) => (pooling, false),
            (None, None) => (Pooling::default(), false),
            (None, Some(sentence)) => match &sentence.unknown_module {
                None => (sentence.pooling, sentence.normalize),
                Some(module) => {
                    let module = module.clone();
                    return Err(Error::VectorModule { module });
                }
            },
        };
        Ok((pooling, options.normalize.unwrap_or(unit)))
    }
}
