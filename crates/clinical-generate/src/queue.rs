//! Many prompts through a few places: when a row ends, the next prompt takes its place.

use std::cmp::Reverse;
use std::ops::ControlFlow;

use crate::decode::{Decoder, pick, read};
use crate::row::{Row, StopRules, check_prompts};
use crate::{
    Cancel, EndTokens, GenerateError, Generated, Generation, Step, StepModel, StopReason, beam,
};

/// [`generate`](crate::generate) for any number of prompts with at most `places` sequences in flight, so that memory is
/// bounded and the machine stays busy while answers of uneven length end.
///
/// Long prompts are read first, together with prompts of about their length. Where the model can
/// [`merge`](StepModel::merge) caches, new prompts join the rows in flight as soon as a quarter of the places is free;
/// where it cannot, and for beam search, a batch runs to its end before the next begins. Either way the results are those
/// of [`generate`](crate::generate), in the order of the prompts, and `Step::row` is the place in `prompts`. The first
/// prompts are read in any case; one that was never read because the closure, the flag or the deadline ended everything
/// has a result without tokens.
///
/// # Errors
///
/// As [`generate`](crate::generate); every prompt is checked before the first is read.
pub fn generate_many<M: StepModel>(
    model: &M,
    prompts: &[&[u32]],
    end: &EndTokens<'_>,
    options: &Generation,
    places: usize,
    on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
) -> Result<Vec<Generated>, GenerateError> {
    if places == 0 {
        return Err(GenerateError::OutOfRange {
            field: "places",
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
    run(call, places, on_token, |rows, reserve| {
        read(model, &pick(prompts, rows), reserve)
    })
}

/// What is to be generated.
pub(crate) struct Call<'a, M> {
    pub(crate) model: &'a M,
    pub(crate) prompts: &'a [&'a [u32]],
    pub(crate) end: &'a EndTokens<'a>,
    pub(crate) options: &'a Generation,
}

/// [`generate_many`] with the first reading left to `read`: it is given the numbers of the prompts to read and of the new
/// tokens to make room for, and returns the cache and the first logits, `rows * vocabulary` numbers.
pub(crate) fn run<M: StepModel>(
    call: Call<'_, M>,
    places: usize,
    on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    read: impl FnMut(&[usize], usize) -> Result<(M::Cache, Vec<f32>), GenerateError>,
) -> Result<Vec<Generated>, GenerateError> {
    let (prompts, options) = (call.prompts, call.options);
    options.check(call.end, call.model.vocabulary())?;
    check_prompts(call.model, prompts, options)?;
    let span = tracing::debug_span!("generate", prompts = prompts.len(), beams = options.beams);
    let _entered = span.enter();
    let at_once = (places / options.num_return_sequences.max(options.beams)).max(1);
    let mut waiting: Vec<usize> = (0..prompts.len()).collect();
    if prompts.len() > at_once {
        // The last are taken first.
        waiting.sort_by_key(|&row| (prompts[row].len(), Reverse(row)));
    }
    if options.beams > 1 {
        search_many(call, waiting, at_once, on_token, read)
    } else {
        decode_many(call, waiting, at_once, on_token, read)
    }
}

fn decode_many<M: StepModel>(
    call: Call<'_, M>,
    mut waiting: Vec<usize>,
    at_once: usize,
    on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    mut read: impl FnMut(&[usize], usize) -> Result<(M::Cache, Vec<f32>), GenerateError>,
) -> Result<Vec<Generated>, GenerateError> {
    let Call {
        model,
        prompts,
        end,
        options,
    } = call;
    let mut decoder = Decoder::new(model, end, options, on_token);
    loop {
        let started = waiting.len() < prompts.len();
        if let Some(reason) = decoder.ended().filter(|_| started) {
            for row in std::mem::take(&mut waiting) {
                decoder.give_up(row, prompts[row], reason)?;
            }
        }
        let in_flight = decoder.in_flight().div_ceil(options.num_return_sequences);
        let free = at_once.saturating_sub(in_flight);
        if !waiting.is_empty() && free >= at_once.div_ceil(4) && decoder.can_admit() {
            let rows = waiting.split_off(waiting.len().saturating_sub(free));
            let batch = pick(prompts, &rows);
            decoder.admit(&rows, &batch, |reserve| read(&rows, reserve))?;
        } else if !decoder.advance()? && waiting.is_empty() {
            return Ok(decoder.into_results());
        }
    }
}

fn search_many<M: StepModel>(
    call: Call<'_, M>,
    mut waiting: Vec<usize>,
    at_once: usize,
    mut on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    mut read: impl FnMut(&[usize], usize) -> Result<(M::Cache, Vec<f32>), GenerateError>,
) -> Result<Vec<Generated>, GenerateError> {
    let Call {
        model,
        prompts,
        end,
        options,
    } = call;
    let rules = StopRules {
        options,
        end: end.ids(),
    };
    let mut results = Vec::with_capacity(prompts.len());
    let mut cancelled = false;
    while !waiting.is_empty() {
        let started = waiting.len() < prompts.len();
        let ended = cancelled
            .then_some(StopReason::Cancelled)
            .or_else(|| rules.by_caller());
        if let Some(reason) = ended.filter(|_| started) {
            for row in std::mem::take(&mut waiting) {
                let never_read = Row::new(model, row, 0, prompts[row], end, options)?;
                results.push(never_read.finish(reason, &rules));
            }
            break;
        }
        let rows = waiting.split_off(waiting.len().saturating_sub(at_once));
        let batch = pick(prompts, &rows);
        let listen = |step: Step<'_>| {
            let flow = on_token(step);
            cancelled |= flow == ControlFlow::Break(Cancel::All);
            flow
        };
        let read = |reserve| read(&rows, reserve);
        results.extend(beam::search(
            model, &rows, &batch, end, options, listen, read,
        )?);
    }
    results.sort_by_key(|result| (result.row, result.sequence));
    Ok(results)
}
