//! What is minimised, head by head: the formulas of `transformers`, with the number of targets beside the mean.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};
use clinical_nn::{IGNORED, Loss, LossError, cross_entropy};

use crate::pretraining::{PretrainingExample, PretrainingLoss};
use crate::{
    BertForPretraining, BertForQuestionAnswering, BertForSequenceClassification,
    BertForTokenClassification, Error, Result, Row, Targets, TaskHead,
};

impl BertForSequenceClassification {
    /// The loss of a batch:
    ///
    /// - [`Targets::Classes`]: the mean cross entropy over the rows
    /// - [`Targets::ClassSets`]: the mean binary cross entropy over all rows and classes
    ///   (`BCEWithLogitsLoss`: `-y log s(x) - (1 - y) log s(-x)` with the logistic function `s`)
    /// - [`Targets::Values`]: the mean of the squared differences over all rows and outputs
    ///
    /// # Errors
    ///
    /// [`Error::TargetKind`], [`Error::TargetCount`], [`Error::TargetWidth`], [`Error::TargetValue`],
    /// [`Error::ClassOutOfRange`], [`Error::Loss`] when every class is ignored, and those of the model.
    pub fn loss(&self, rows: &[Row<'_>], targets: Targets<'_>) -> Result<Loss> {
        let classes = self.classifier.dims()[1];
        targets.check_rows(rows.len())?;
        match targets {
            Targets::Classes(labels) => {
                check_classes(labels, classes, |at| at)?;
                let logits = self.forward(rows)?;
                Ok(cross_entropy(logits.unsqueeze_dim(1), labels)?)
            }
            Targets::ClassSets(sets) => {
                let wanted = flat(sets, classes, |value| (0.0..=1.0).contains(&value))?;
                Ok(binary_cross_entropy(self.forward(rows)?, wanted))
            }
            Targets::Values(values) => {
                let wanted = flat(values, classes, f32::is_finite)?;
                Ok(squared_error(self.forward(rows)?, wanted))
            }
            _ => Err(targets.refused(TaskHead::Sequence)),
        }
    }
}

impl BertForTokenClassification {
    /// The mean cross entropy over the tokens that have a label ([`Targets::Tokens`]).
    ///
    /// # Errors
    ///
    /// [`Error::TargetKind`], [`Error::TargetCount`], [`Error::TargetLength`], [`Error::ClassOutOfRange`],
    /// [`Error::Loss`] when every label is ignored, and those of the model.
    pub fn loss(&self, rows: &[Row<'_>], targets: Targets<'_>) -> Result<Loss> {
        let Targets::Tokens(labels) = targets else {
            return Err(targets.refused(TaskHead::Token));
        };
        targets.check_rows(rows.len())?;
        check_lengths(rows, labels)?;
        let classes = self.classifier.dims()[1];
        for (row, labels) in labels.iter().enumerate() {
            check_classes(labels, classes, |_| row)?;
        }
        let logits = self.forward(rows)?;
        let longest = logits.dims()[1];
        let padded: Vec<i64> = labels
            .iter()
            .flat_map(|labels| {
                let padding = std::iter::repeat(IGNORED);
                labels.iter().copied().chain(padding).take(longest)
            })
            .collect();
        Ok(cross_entropy(logits, &padded)?)
    }
}

impl BertForQuestionAnswering {
    /// The mean of the cross entropies of the first and of the last token of the answers ([`Targets::Spans`]), each
    /// over the tokens of its row.
    ///
    /// # Errors
    ///
    /// [`Error::TargetKind`], [`Error::TargetCount`], [`Error::SpanOutOfRange`], [`Error::Loss`] when no row has an
    /// answer, and those of the model.
    pub fn loss(&self, rows: &[Row<'_>], targets: Targets<'_>) -> Result<Loss> {
        let Targets::Spans(spans) = targets else {
            return Err(targets.refused(TaskHead::Span));
        };
        targets.check_rows(rows.len())?;
        for (row, (tokens, span)) in rows.iter().zip(spans).enumerate() {
            let length = tokens.ids.len();
            if let Some((first, last)) = *span
                && (first > last || last >= length)
            {
                return Err(Error::SpanOutOfRange { row, length });
            }
        }
        let logits = self.forward(rows)?;
        let [batch, longest, _] = logits.dims();
        let hidden = padding(rows, longest, &logits);
        let part = |which: usize, of: fn((usize, usize)) -> usize| {
            let labels: Vec<i64> = spans
                .iter()
                .map(|span| span.map_or(IGNORED, |span| of(span) as i64))
                .collect();
            let logits = logits.clone().narrow(2, which, 1).cast(DType::F32);
            let logits = logits.reshape([batch, 1, longest]);
            let logits = logits.mask_fill(hidden.clone(), UNLIKELY);
            cross_entropy(logits, &labels)
        };
        let (first, last) = (part(0, |span| span.0)?, part(1, |span| span.1)?);
        Ok(Loss {
            mean: (first.mean + last.mean) / 2.0,
            targets: first.targets,
        })
    }
}

impl BertForPretraining {
    /// The mean cross entropy over the predicted tokens ([`Targets::Tokens`]), and with [`Targets::Pretraining`] that
    /// of next sentence added to it. Logits are computed at the predicted positions alone. [`Loss::targets`] counts
    /// tokens.
    ///
    /// # Errors
    ///
    /// [`Error::TargetKind`] (also for next sentence without that head), [`Error::TargetCount`],
    /// [`Error::TargetLength`], [`Error::ClassOutOfRange`], [`Error::Loss`] when nothing is predicted, and those of the
    /// model.
    pub fn loss(&self, rows: &[Row<'_>], targets: Targets<'_>) -> Result<Loss> {
        targets.check_rows(rows.len())?;
        let (tokens, pairs) = match targets {
            Targets::Tokens(tokens) => (tokens, None),
            Targets::Pretraining {
                tokens,
                is_random_next,
            } if self.next_sentence.is_some() => (tokens, Some(is_random_next)),
            _ => return Err(targets.refused(TaskHead::MaskedLanguage)),
        };
        check_lengths(rows, tokens)?;
        let mut predicted = Vec::new();
        for (row, labels) in tokens.iter().enumerate() {
            let labels = labels.iter().enumerate().filter(|(_, label)| **label >= 0);
            predicted.extend(labels.map(|(position, &label)| (row, position, label)));
        }
        Ok(self.both(rows, &predicted, pairs)?.total())
    }

    /// The two losses of a batch of [`Examples`](crate::pretraining::Examples); of one alone without a head for next
    /// sentence.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] for rows that the model cannot read, [`Error::Predictions`] for positions outside their row,
    /// [`Error::Loss`] when nothing is predicted.
    pub fn pretraining_loss(&self, examples: &[PretrainingExample]) -> Result<PretrainingLoss> {
        let types = self.bert.embeddings.token_type_embeddings.vocabulary();
        let mut predicted = Vec::new();
        for (index, example) in examples.iter().enumerate() {
            let length = example.ids.len();
            let fits = example.positions.len() == example.labels.len()
                && example.positions.iter().all(|&position| position < length);
            if !fits {
                return Err(Error::Predictions { row: index, length });
            }
            let labels = example.positions.iter().zip(&example.labels);
            predicted.extend(labels.map(|(&position, &label)| (index, position, i64::from(label))));
        }
        let rows: Vec<Row<'_>> = examples
            .iter()
            .map(|example| Row {
                ids: &example.ids,
                // RoBERTa has one type.
                types: if types > 1 { &example.types } else { &[] },
            })
            .collect();
        let random: Vec<bool> = examples.iter().map(|one| one.is_random_next).collect();
        let pairs = self.next_sentence.is_some().then_some(random.as_slice());
        self.both(&rows, &predicted, pairs)
    }

    /// The losses of tokens, each with its row and position, and of pairs.
    fn both(
        &self,
        rows: &[Row<'_>],
        predicted: &[(usize, usize, i64)],
        pairs: Option<&[bool]>,
    ) -> Result<PretrainingLoss> {
        let vocabulary = self.bert.vocabulary();
        for &(row, _, label) in predicted {
            check_classes(&[label], vocabulary, |_| row)?;
        }
        let count = predicted.len();
        if count == 0 {
            return Err(LossError::NoTargets.into());
        }
        let states = self.bert.forward(rows)?;
        let [_, longest, width] = states.dims();
        let flat_position = |&(row, position, _): &(usize, usize, i64)| row * longest + position;
        let positions: Vec<i64> = predicted
            .iter()
            .map(|one| flat_position(one) as i64)
            .collect();
        let labels: Vec<i64> = predicted.iter().map(|&(_, _, label)| label).collect();
        let positions = TensorData::new(positions, [count]);
        let positions = Tensor::<1, Int>::from_data(positions, &states.device());
        let flat = states.clone().reshape([-1, width as i64]);
        let chosen = flat.select(0, positions).reshape([1, count, width]);
        let masked = self.predicted(chosen, &labels)?;
        let next_sentence = match pairs.zip(self.next_sentence(states)) {
            None => None,
            Some((pairs, logits)) => {
                let classes: Vec<i64> = pairs.iter().map(|&random| i64::from(random)).collect();
                Some(cross_entropy(logits.unsqueeze_dim(1), &classes)?)
            }
        };
        Ok(PretrainingLoss {
            masked,
            next_sentence,
        })
    }
}

/// The logit of a padding position: no part of a softmax, and no infinity in its gradient.
const UNLIKELY: f32 = -1e30;

/// `[batch, 1, longest]`: which positions are padding.
fn padding(rows: &[Row<'_>], longest: usize, like: &Tensor<3>) -> Tensor<3, Bool> {
    let hidden: Vec<bool> = rows
        .iter()
        .flat_map(|row| (0..longest).map(|position| position >= row.ids.len()))
        .collect();
    let hidden = TensorData::new(hidden, [rows.len(), 1, longest]);
    Tensor::from_data(hidden, &like.device())
}

/// That each row has as many labels as tokens.
fn check_lengths(rows: &[Row<'_>], labels: &[Vec<i64>]) -> Result<()> {
    for (row, (tokens, labels)) in rows.iter().zip(labels).enumerate() {
        if tokens.ids.len() != labels.len() {
            return Err(Error::TargetLength {
                row,
                labels: labels.len(),
                tokens: tokens.ids.len(),
            });
        }
    }
    Ok(())
}

/// That labels are below `classes`; `row` gives the row of the label at an index.
fn check_classes(labels: &[i64], classes: usize, row: impl Fn(usize) -> usize) -> Result<()> {
    let outside = |&label: &i64| label >= 0 && label as u64 >= classes as u64;
    match labels.iter().position(outside) {
        Some(at) => Err(Error::ClassOutOfRange {
            row: row(at),
            label: labels[at],
            classes,
        }),
        None => Ok(()),
    }
}

/// The targets of all rows one after another, `width` for each, every one accepted by `valid`.
fn flat(targets: &[Vec<f32>], width: usize, valid: impl Fn(f32) -> bool) -> Result<Vec<f32>> {
    for (row, targets) in targets.iter().enumerate() {
        if targets.len() != width {
            return Err(Error::TargetWidth {
                row,
                targets: targets.len(),
                classes: width,
            });
        }
        if !targets.iter().all(|&target| valid(target)) {
            return Err(Error::TargetValue { row });
        }
    }
    Ok(targets.concat())
}

/// Targets in the shape of `logits`, and how many there are.
fn beside(logits: &Tensor<2>, wanted: Vec<f32>) -> (Tensor<2>, usize) {
    let count = wanted.len();
    let wanted = TensorData::new(wanted, logits.dims());
    let wanted = Tensor::from_data(wanted, (&logits.device(), DType::F32));
    (wanted, count)
}

/// `-y log s(x) - (1 - y) log s(-x)`, with `log s(-x) = log s(x) - x` written as `(1 - y) x - log s(x)`: no exponential
/// overflows.
fn binary_cross_entropy(logits: Tensor<2>, wanted: Vec<f32>) -> Loss {
    let (y, targets) = beside(&logits, wanted);
    let x = logits.cast(DType::F32);
    let mean = ((y.neg() + 1.0) * x.clone() - log_sigmoid(x)).mean();
    Loss { mean, targets }
}

fn squared_error(outputs: Tensor<2>, wanted: Vec<f32>) -> Loss {
    let (y, targets) = beside(&outputs, wanted);
    let difference = outputs.cast(DType::F32) - y;
    let mean = (difference.clone() * difference).mean();
    Loss { mean, targets }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(logits: [[f32; 2]; 2], loss: impl Fn(Tensor<2>) -> Loss) -> (f32, usize, Vec<f32>) {
        let device = clinical_kernels::cpu().autodiff();
        let x = Tensor::<2>::from_floats(logits, &device).require_grad();
        let Loss { mean, targets } = loss(x.clone());
        let gradients = mean.backward();
        let gradient = x.grad(&gradients).unwrap().try_into_vec_as().unwrap();
        (mean.into_scalar::<f32>(), targets, gradient)
    }

    #[track_caller]
    fn near(found: &[f32], expected: &[f32]) {
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert_eq!(found.len(), expected.len());
        assert!(
            found.iter().zip(expected).all(near),
            "{found:?} {expected:?}"
        );
    }

    /// `BCEWithLogitsLoss` by hand: at 0 each label costs ln 2, and the slope is `s(x) - y`, divided by the four
    /// values.
    #[test]
    fn binary_cross_entropy_by_hand() {
        let wanted = vec![1.0, 0.0, 1.0, 0.0];
        let (mean, targets, slopes) = gradient([[0.0, 0.0], [100.0, -100.0]], |x| {
            binary_cross_entropy(x, wanted.clone())
        });
        assert_eq!(targets, 4);
        near(&[mean], &[2.0 * 2f32.ln() / 4.0]);
        near(&slopes, &[-0.125, 0.125, 0.0, 0.0]);
        let (mean, _, slopes) = gradient([[-100.0, 100.0], [1.0, 2.0]], |x| {
            binary_cross_entropy(x, vec![1.0, 0.0, 0.5, 0.25])
        });
        let cost = |x: f32, y: f32| (1.0 + (-x).exp()).ln() + (1.0 - y) * x;
        near(
            &[mean / 50.0],
            &[(200.0 + cost(1.0, 0.5) + cost(2.0, 0.25)) / 200.0],
        );
        let s = |x: f32| 1.0 / (1.0 + (-x).exp());
        near(
            &slopes,
            &[-0.25, 0.25, (s(1.0) - 0.5) / 4.0, (s(2.0) - 0.25) / 4.0],
        );
    }

    #[test]
    fn squared_error_by_hand() {
        let (mean, targets, slopes) = gradient([[1.0, 2.0], [3.0, 4.0]], |x| {
            squared_error(x, vec![0.0, 2.0, 5.0, 4.0])
        });
        assert_eq!(targets, 4);
        near(&[mean], &[(1.0 + 4.0) / 4.0]);
        near(&slopes, &[0.5, 0.0, -1.0, 0.0]);
    }

    #[test]
    fn targets_of_another_size_or_without_meaning_are_refused() {
        let width = flat(&[vec![1.0]], 2, f32::is_finite);
        assert!(matches!(width, Err(Error::TargetWidth { row: 0, .. })));
        let value = flat(&[vec![1.0, 0.0], vec![f32::NAN, 0.0]], 2, f32::is_finite);
        assert!(matches!(value, Err(Error::TargetValue { row: 1 })));
        let class = check_classes(&[0, -1, 3], 3, |at| at);
        assert!(matches!(class, Err(Error::ClassOutOfRange { row: 2, .. })));
    }
}
