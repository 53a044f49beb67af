//! Heads on the decoder: classes of a row, and the span of an answer.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};
use clinical_nn::{IGNORED, Linear, Loss, ModelError, cross_entropy};

use crate::{Error, Gpt2, Gpt2Config, Gpt2Head, Result};

/// The logit of a padding position: no part of a softmax, and no infinity in its gradient.
const UNLIKELY: f32 = -1e30;

impl Gpt2 {
    /// The decoder with a fresh head of these classes (`GPT2ForSequenceClassification`), for a fine-tuning. A
    /// configuration without `pad_token_id` gets the end token there, as `transformers` needs one for batches.
    ///
    /// # Errors
    ///
    /// [`Error::Zero`] without any class, [`Error::TooBig`].
    pub fn into_classifier(mut self, labels: &[&str]) -> Result<Self> {
        let mut config = self.config.clone();
        config.labels = labels.iter().map(|&label| label.to_owned()).collect();
        config.pad_token_id = config
            .pad_token_id
            .or_else(|| config.eos_token_id.first().copied());
        self.with_head(config, Gpt2Head::Classes(labels.len()))?;
        Ok(self)
    }

    /// The decoder with a fresh span head (`GPT2ForQuestionAnswering`), for a fine-tuning.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn into_span_model(mut self) -> Result<Self> {
        let config = self.config.clone();
        self.with_head(config, Gpt2Head::Spans)?;
        Ok(self)
    }

    fn with_head(&mut self, mut config: Gpt2Config, head: Gpt2Head) -> Result<()> {
        config.head = head;
        config.validate()?;
        self.config = config;
        let device = self.device();
        self.put_head(&device);
        Ok(())
    }

    /// The logits of each row's classes, `[batch, classes]`: `W h` of its last token. `transformers` takes the last
    /// token that is not `pad_token_id`, so rows come without padding.
    ///
    /// # Errors
    ///
    /// [`Error::Head`] without a head of classes, and [`Error::Model`] for rows that cannot be read.
    pub fn classes(&self, ids: &[&[u32]]) -> Result<Tensor<2>> {
        let score = self.score()?;
        let states = self.hidden_states(ids)?;
        let [_, longest, width] = states.dims();
        let last = ids.iter().enumerate();
        let last: Vec<i64> = last
            .map(|(row, ids)| (row * longest + ids.len() - 1) as i64)
            .collect();
        let last = TensorData::new(last, [ids.len()]);
        let last = Tensor::<1, Int>::from_data(last, &states.device());
        let states = states.reshape([-1, width as i64]).select(0, last);
        Ok(score.forward(states))
    }

    /// Two logits of each token, `[batch, longest, 2]`: as the first and as the last of the answer. Values after the end
    /// of a shorter row mean nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Head`] without a span head, and [`Error::Model`] for rows that cannot be read.
    pub fn spans(&self, ids: &[&[u32]]) -> Result<Tensor<3>> {
        match &self.qa_outputs {
            Some(outputs) => Ok(outputs.forward(self.hidden_states(ids)?)),
            None => Err(self.other_head("a span head")),
        }
    }

    /// The mean cross entropy of each row's class. A negative class does not count.
    ///
    /// # Errors
    ///
    /// [`Error::TargetCount`], [`Error::Loss`] for a class that is not there or when none counts, and those of
    /// [`classes`](Self::classes).
    pub fn class_loss(&self, ids: &[&[u32]], classes: &[i64]) -> Result<Loss> {
        self.score()?;
        check_count(classes.len(), ids.len())?;
        let logits = self.classes(ids)?;
        Ok(cross_entropy(logits.unsqueeze_dim(1), classes)?)
    }

    /// The mean binary cross entropy over all rows and classes (`BCEWithLogitsLoss`), for rows to which several classes
    /// apply: `-y log s(x) - (1 - y) log s(-x)` with the logistic function `s`.
    ///
    /// # Errors
    ///
    /// [`Error::TargetCount`], [`Error::TargetWidth`], [`Error::TargetValue`], and those of [`classes`](Self::classes).
    pub fn class_set_loss(&self, ids: &[&[u32]], sets: &[Vec<f32>]) -> Result<Loss> {
        let classes = self.score()?.dims()[1];
        check_count(sets.len(), ids.len())?;
        for (row, set) in sets.iter().enumerate() {
            if set.len() != classes {
                return Err(Error::TargetWidth {
                    row,
                    values: set.len(),
                    classes,
                });
            }
            if !set.iter().all(|value| (0.0..=1.0).contains(value)) {
                return Err(Error::TargetValue { row });
            }
        }
        let x = self.classes(ids)?.cast(DType::F32);
        let targets = sets.len() * classes;
        let y = TensorData::new(sets.concat(), x.dims());
        let y = Tensor::<2>::from_data(y, (&x.device(), DType::F32));
        // `log s(-x) = log s(x) - x`: no exponential overflows.
        let mean = ((y.neg() + 1.0) * x.clone() - log_sigmoid(x)).mean();
        Ok(Loss { mean, targets })
    }

    /// The mean of the cross entropies of the first and of the last token of the answers, each over the tokens of its
    /// row. A row without an answer does not count. (The study's script normalises over padding as well.)
    ///
    /// # Errors
    ///
    /// [`Error::TargetCount`], [`Error::SpanOutOfRange`], [`Error::Loss`] when no row has an answer, and those of
    /// [`spans`](Self::spans).
    pub fn span_loss(&self, ids: &[&[u32]], spans: &[Option<(usize, usize)>]) -> Result<Loss> {
        check_count(spans.len(), ids.len())?;
        for (row, (ids, span)) in ids.iter().zip(spans).enumerate() {
            let length = ids.len();
            if let Some((first, last)) = *span
                && (first > last || last >= length)
            {
                return Err(Error::SpanOutOfRange { row, length });
            }
        }
        let logits = self.spans(ids)?;
        let [batch, longest, _] = logits.dims();
        let padding: Vec<bool> = ids
            .iter()
            .flat_map(|row| (0..longest).map(|position| position >= row.len()))
            .collect();
        let padding = TensorData::new(padding, [batch, 1, longest]);
        let padding = Tensor::<3, Bool>::from_data(padding, &logits.device());
        let part = |which: usize, of: fn((usize, usize)) -> usize| {
            let labels: Vec<i64> = spans
                .iter()
                .map(|span| span.map_or(IGNORED, |span| of(span) as i64))
                .collect();
            let logits = logits.clone().narrow(2, which, 1).cast(DType::F32);
            let logits = logits.reshape([batch, 1, longest]);
            cross_entropy(logits.mask_fill(padding.clone(), UNLIKELY), &labels)
        };
        let (first, last) = (part(0, |span| span.0)?, part(1, |span| span.1)?);
        Ok(Loss {
            mean: (first.mean + last.mean) / 2.0,
            targets: first.targets,
        })
    }

    fn score(&self) -> Result<&Linear> {
        self.score
            .as_ref()
            .ok_or_else(|| self.other_head("a head of classes"))
    }

    fn other_head(&self, wanted: &'static str) -> Error {
        Error::Head {
            found: self.config.head,
            wanted,
        }
    }

    /// That the model writes texts.
    pub(crate) fn check_writes(&self) -> Result<()> {
        match self.config.head {
            Gpt2Head::Language => Ok(()),
            _ => Err(self.other_head("a language head")),
        }
    }
}

fn check_count(targets: usize, rows: usize) -> Result<()> {
    match (targets == rows, rows) {
        (_, 0) => Err(ModelError::NoRows.into()),
        (true, _) => Ok(()),
        (false, _) => Err(Error::TargetCount { targets, rows }),
    }
}
