//! The area under the ROC curve.

use crate::{Error, Result};

use super::comparable;

/// The area under the ROC curve (`roc_auc_score` of scikit-learn): the share of pairs of an example with the label and
/// one without it in which the first has the higher score, equal scores counting one half. `None` where one of the two
/// kinds is missing.
///
/// ```
/// use clinical_tasks::metrics::roc_auc;
///
/// let area = roc_auc(&[false, false, true, true], &[0.1, 0.4, 0.35, 0.8])?;
/// assert_eq!(area, Some(0.75));
/// assert_eq!(roc_auc(&[true, true], &[0.1, 0.4])?, None);
/// # Ok::<(), clinical_tasks::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Nothing`], [`Error::Lengths`], [`Error::NotANumber`].
pub fn roc_auc(truth: &[bool], scores: &[f64]) -> Result<Option<f64>> {
    comparable(truth.len(), scores.len())?;
    if let Some(index) = scores.iter().position(|score| score.is_nan()) {
        return Err(Error::NotANumber { index });
    }
    let mut order: Vec<(f64, bool)> = scores.iter().copied().zip(truth.iter().copied()).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let with: u128 = truth.iter().filter(|&&label| label).count() as u128;
    let without = truth.len() as u128 - with;
    if with == 0 || without == 0 {
        return Ok(None);
    }
    // Twice the number of pairs in the right order, so that equal scores count whole numbers.
    let (mut twice, mut below) = (0_u128, 0_u128);
    // `==`, since 0 and -0 are equal scores.
    for group in order.chunk_by(|a, b| a.0 == b.0) {
        let positive = group.iter().filter(|(_, label)| *label).count() as u128;
        let negative = group.len() as u128 - positive;
        twice += positive * (2 * below + negative);
        below += negative;
    }
    Ok(Some(twice as f64 / (2 * with * without) as f64))
}
