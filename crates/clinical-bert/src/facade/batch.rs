//! Many texts at once: a result for each, computed in batches of rows of similar length.

use std::sync::Arc;

use clinical_facade::{BatchLimits, BatchProgress, CallOptions, in_batches};

use super::ClinicalBert;
use super::options::BATCH_TOKENS;
use crate::{Error, Result, Row, TokenRow};

/// Texts that are held as tokens at a time, so that memory does not grow with their number. Rows are sorted by length
/// within.
const HELD: usize = 256;

impl ClinicalBert {
    /// A result for each of `items` items. `prepare` gives the rows of an item and what `finish` needs of it beside the
    /// values of its rows; `run` gives one value for each row of a batch.
    pub(super) fn each<P, V, T>(
        &self,
        items: usize,
        (call, batch_tokens): (&CallOptions, Option<usize>),
        prepare: impl Fn(usize) -> Result<(Vec<TokenRow>, P)>,
        run: impl Fn(&[Row<'_>]) -> Result<Vec<V>>,
        finish: impl Fn(P, Vec<V>) -> Result<T>,
    ) -> Vec<Result<T>> {
        let limits = BatchLimits::tokens(batch_tokens.unwrap_or(BATCH_TOKENS));
        let run = |rows: &[&TokenRow]| {
            let longest = rows.iter().map(|row| row.ids.len()).max();
            let span = tracing::debug_span!("batch", rows = rows.len(), longest);
            let _entered = span.enter();
            let rows: Vec<Row<'_>> = rows.iter().map(|row| row.row()).collect();
            run(&rows)
        };
        let mut results = Vec::with_capacity(items);
        for start in (0..items).step_by(HELD) {
            let (mut rows, mut plans) = (Vec::new(), Vec::new());
            for item in start..items.min(start + HELD) {
                let prepared = match call.is_cancelled() {
                    true => Err(Error::Cancelled),
                    false => prepare(item),
                };
                let (found, plan) = match prepared {
                    Ok((found, plan)) => (Ok(found), Some(plan)),
                    Err(error) => (Err(error), None),
                };
                rows.push(found);
                plans.push(plan);
            }
            let part = part_of(call, start, items);
            let length = |row: &TokenRow| row.ids.len();
            let values = in_batches(rows, limits, &part, length, || Error::Cancelled, run);
            results.extend(values.into_iter().zip(plans).map(|(values, plan)| {
                // What has no plan has an error.
                let (values, plan) = (values?, plan.ok_or(Error::Cancelled)?);
                finish(plan, values)
            }));
        }
        results
    }

    /// [`Self::each`] for one item.
    pub(super) fn one<P, V, T>(
        &self,
        call: (&CallOptions, Option<usize>),
        prepare: impl Fn() -> Result<(Vec<TokenRow>, P)>,
        run: impl Fn(&[Row<'_>]) -> Result<Vec<V>>,
        finish: impl Fn(P, Vec<V>) -> Result<T>,
    ) -> Result<T> {
        let mut results = self.each(1, call, |_| prepare(), run, finish);
        results.pop().unwrap_or(Err(Error::Cancelled))
    }
}

/// The options of a call for a part of its items that begins at `start`.
fn part_of(call: &CallOptions, start: usize, items: usize) -> CallOptions {
    let mut part = call.clone();
    if let Some(tell) = call.progress.clone() {
        let tell = move |progress: BatchProgress| {
            tell(BatchProgress::new(start + progress.done, items));
        };
        part.progress = Some(Arc::new(tell));
    }
    part
}
