//! Many prompts through a few slots: when a row ends, the next prompt takes its slot.

use std::cmp::Reverse;
use std::ops::ControlFlow;

use burn::tensor::Tensor;

use crate::beam::Searches;
use crate::decode::{Decoder, pick};
use crate::prefix::Reader;
use crate::row::{Budget, check_prompts};
use crate::{
    Cancel, EndTokens, Error, Generated, Generation, ModelError, Step, StepModel, StopReason,
};

/// A cache is given room for this many new tokens at first, whatever the caller allows; it grows when an answer is longer.
pub(crate) const RESERVE: usize = 256;

/// [`generate`](crate::generate) for any number of prompts with at most `slots` sequences running at a time, so that memory is
/// bounded and the machine stays busy while answers of uneven length end.
///
/// Long prompts are read first. Where the model can [`merge`](StepModel::merge) caches, a prompt joins those that run as soon
/// as another one ends, also in beam search; where it cannot, a batch runs to its end before the next begins. Either way the results are those
/// of [`generate`](crate::generate), in the order of the prompts, and `Step::row` is the index in `prompts`. The first
/// prompts are read in any case; one that was never read because the closure, the flag or the deadline ended everything
/// has a result without tokens.
///
/// The prefix that all prompts share is read once, where the model can read several continuations of one prefix and that saves
/// anything worth a reading of its own.
///
/// # Errors
///
/// As [`generate`](crate::generate); every prompt is checked before the first is read.
pub fn generate_many<M: StepModel>(
    model: &M,
    prompts: &[&[u32]],
    end: &EndTokens<'_>,
    options: &Generation,
    slots: usize,
    on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
) -> Result<Vec<Generated>, Error> {
    if slots == 0 {
        return Err(Error::OutOfRange {
            field: "slots",
            value: 0.0,
            range: "at least 1",
        });
    }
    let call = Call {
        model,
        prompts,
        end,
        options,
    };
    let mut reader = Reader::new(model, prompts);
    run(call, slots, on_token, |rows, reserve| {
        reader.read(rows, reserve)
    })
}

/// What became of one prompt: its sequences, the best first, or why it has none.
pub type Each = Result<Vec<Generated>, Error>;

/// [`generate_many`] where a prompt that cannot be answered (it is empty or too long, has an id without an embedding row, or
/// gives logits that are not finite) costs only itself.
///
/// Returns what became of each prompt, in their order. `on_done` gets each as soon as it is known, with the prompt's index: for
/// progress. [`Generation::cancel`] and [`Generation::deadline`] end everything; a prompt that was never read then has results
/// without tokens.
///
/// An option that breaks a rule is the error of every prompt.
pub fn generate_each<M: StepModel>(
    model: &M,
    prompts: &[&[u32]],
    end: &EndTokens<'_>,
    options: &Generation,
    slots: usize,
    mut on_done: impl FnMut(usize, &Each),
) -> Vec<Each> {
    let silent = |_: Step<'_>| ControlFlow::Continue(());
    each(model, prompts, (end, options), &mut on_done, |rows| {
        let prompts = pick(prompts, rows);
        generate_many(model, &prompts, end, options, slots.max(1), silent)
    })
}

/// [`generate_each`] with the generating left to `run`, which is given the numbers of the prompts.
pub(crate) fn each<M: StepModel>(
    model: &M,
    prompts: &[&[u32]],
    (end, options): (&EndTokens<'_>, &Generation),
    on_done: &mut dyn FnMut(usize, &Each),
    mut run: impl FnMut(&[usize]) -> Each,
) -> Vec<Each> {
    let vocabulary = model.vocabulary();
    let checked = prompts.iter().enumerate().map(|(row, prompt)| {
        options.check(end, vocabulary)?;
        ModelError::check_prompts(&[prompt], vocabulary)?;
        Budget::new(model, row, prompt, options).map(|_| Vec::new())
    });
    let mut each: Vec<Each> = checked.collect();
    let good: Vec<usize> = (0..prompts.len())
        .filter(|&row| each[row].is_ok())
        .collect();
    match run(&good) {
        Ok(found) => {
            for mut result in found {
                result.row = good[result.row];
                if let Ok(results) = &mut each[result.row] {
                    results.push(result);
                }
            }
        }
        Err(_) => {
            for row in good {
                let mut alone = run(&[row]);
                for result in alone.iter_mut().flatten() {
                    result.row = row;
                }
                each[row] = alone;
            }
        }
    }
    for (row, result) in each.iter().enumerate() {
        on_done(row, result);
    }
    each
}

/// What is to be generated.
pub(crate) struct Call<'a, M> {
    pub(crate) model: &'a M,
    pub(crate) prompts: &'a [&'a [u32]],
    pub(crate) end: &'a EndTokens<'a>,
    pub(crate) options: &'a Generation,
}

/// [`generate_many`] with the first reading left to `read`: it is given the numbers of the prompts to read and of the new
/// tokens to make room for, and returns the cache and the first logits, `[rows, vocabulary]`.
pub(crate) fn run<M: StepModel>(
    call: Call<'_, M>,
    slots: usize,
    on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    read: impl FnMut(&[usize], usize) -> Result<(M::Cache, Tensor<2>), Error>,
) -> Result<Vec<Generated>, Error> {
    let (prompts, options) = (call.prompts, call.options);
    options.check(call.end, call.model.vocabulary())?;
    check_prompts(call.model, prompts, options)?;
    let span = tracing::debug_span!("generate", prompts = prompts.len(), beams = options.beams);
    let _entered = span.enter();
    let at_once = (slots / options.num_return_sequences.max(options.beams)).max(1);
    let mut waiting: Vec<usize> = (0..prompts.len()).collect();
    if prompts.len() > at_once {
        // The last are taken first.
        waiting.sort_by_key(|&row| (prompts[row].len(), Reverse(row)));
    }
    let (model, end) = (call.model, call.end);
    if options.beams > 1 {
        let searches = Searches::new(model, end, options, on_token);
        serve(&call, searches, waiting, at_once, read)
    } else {
        let decoder = Decoder::new(model, end, options, on_token);
        serve(&call, decoder, waiting, at_once, read)
    }
}

/// What is generated for the prompts in flight.
pub(crate) trait InFlight<'a, M: StepModel> {
    /// Reads prompts and takes the first step of each. `rows[i]` is the caller's number of `prompts[i]`.
    ///
    /// With prompts in flight the model must be able to merge caches.
    fn admit(
        &mut self,
        rows: &[usize],
        prompts: &[&'a [u32]],
        read: impl FnOnce(usize) -> Result<(M::Cache, Tensor<2>), Error>,
    ) -> Result<(), Error>;

    /// One more token for all in flight.
    fn advance(&mut self) -> Result<(), Error>;

    /// Prompts in flight.
    fn prompts(&self) -> usize;

    /// Why nothing new is to be started: the closure, the flag or the deadline ended everything.
    fn ended(&self) -> Option<StopReason>;

    /// Ends a prompt that was never read.
    fn give_up(&mut self, row: usize, prompt: &'a [u32], reason: StopReason) -> Result<(), Error>;

    /// What was generated, in any order.
    fn into_results(self) -> Vec<Generated>;
}

/// Sends the waiting prompts, the last first, through `at_once` slots.
fn serve<'a, M: StepModel>(
    call: &Call<'a, M>,
    mut in_flight: impl InFlight<'a, M>,
    mut waiting: Vec<usize>,
    at_once: usize,
    mut read: impl FnMut(&[usize], usize) -> Result<(M::Cache, Tensor<2>), Error>,
) -> Result<Vec<Generated>, Error> {
    let (model, prompts) = (call.model, call.prompts);
    loop {
        let started = waiting.len() < prompts.len();
        if let Some(reason) = in_flight.ended().filter(|_| started) {
            for row in std::mem::take(&mut waiting) {
                in_flight.give_up(row, prompts[row], reason)?;
            }
        }
        let free = at_once.saturating_sub(in_flight.prompts());
        let can_admit = in_flight.prompts() == 0 || model.can_merge();
        if !waiting.is_empty() && free > 0 && can_admit {
            let rows = waiting.split_off(waiting.len().saturating_sub(free));
            let batch = pick(prompts, &rows);
            in_flight.admit(&rows, &batch, |tokens| read(&rows, tokens.min(RESERVE)))?;
        } else if in_flight.prompts() > 0 {
            in_flight.advance()?;
        } else if waiting.is_empty() {
            let mut results = in_flight.into_results();
            results.sort_by_key(|result| (result.row, result.sequence));
            return Ok(results);
        }
    }
}
