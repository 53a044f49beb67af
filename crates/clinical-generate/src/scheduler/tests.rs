//! Random schedules against the same prompts alone, and the rules about slots, bytes, order and failures.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::*;
use crate::{Cancel, EndTokens, Generated, Generation, Processor, Step, StopReason, generate};

#[path = "../../tests/common/chain.rs"]
mod chain;

use chain::{BYTES, Chain, Dice, END, ERROR, NAN, PANIC};

/// What happens to a request while it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Nothing,
    /// Its flag is set after so many steps.
    Flag(usize),
    /// Its deadline has passed before it begins.
    Late,
    /// Its closure panics at this token.
    Panic(usize),
    /// Its closure ends everything at this token.
    Stop(usize),
}

struct Case {
    prompt: Vec<u32>,
    options: Generation,
    fate: Fate,
    with_prefix: bool,
    arrives: usize,
    flag: CancelFlag,
}

fn end() -> EndTokens<'static> {
    EndTokens::new([END])
}

fn options(dice: &mut Dice) -> Generation {
    let options = match dice.below(6) {
        0 => Generation::greedy(),
        1 => Generation::greedy().with_repetition_penalty(1.3),
        2 => Generation::sample().with_seed(dice.below(9) as u64),
        3 => Generation::sample()
            .with_top_p(0.8)
            .with_num_return_sequences(3),
        4 => Generation::beam(3).with_num_return_sequences(2),
        _ => Generation::beam(2).with_sampling(true).with_seed(3),
    };
    let options = match dice.below(5) {
        0 => options.with_allowed([vec![4, 5, 6], vec![4, 7], vec![20]]),
        1 => options.with_suppress([END]),
        2 => options.with_processor(Processor::new(|_, new, scores| {
            scores[2 + new.len() % 30] = f32::NEG_INFINITY;
        })),
        _ => options,
    };
    options
        .with_log_probs(dice.one_in(2))
        .with_max_new_tokens(1 + dice.below(14))
}

fn case(dice: &mut Dice, prefix: &[u32]) -> Case {
    let most = if dice.one_in(4) { 40 } else { 6 };
    let length = 1 + dice.below(most);
    // Some prompts hold a token that fails; answers may come upon one, too.
    let mut prompt: Vec<u32> = (0..length).map(|_| 2 + dice.below(35) as u32).collect();
    if dice.one_in(9) {
        prompt[0] = [ERROR, NAN, PANIC][dice.below(3)];
    }
    let with_prefix = dice.one_in(3);
    if with_prefix {
        prompt = [prefix, &prompt].concat();
    }
    Case {
        prompt,
        options: options(dice),
        fate: match dice.below(12) {
            0 => Fate::Flag(dice.below(12)),
            1 => Fate::Late,
            2 => Fate::Panic(dice.below(5)),
            3 => Fate::Stop(dice.below(5)),
            _ => Fate::Nothing,
        },
        with_prefix,
        arrives: dice.below(20),
        flag: CancelFlag::new(),
    }
}

fn listener(fate: Fate) -> impl FnMut(Step<'_>) -> ControlFlow<Cancel> + Send + 'static {
    move |step| match fate {
        Fate::Panic(index) if step.index >= index => panic!("on purpose"),
        Fate::Stop(index) if step.index >= index => ControlFlow::Break(Cancel::All),
        _ => ControlFlow::Continue(()),
    }
}

/// What the prompt gives by itself.
fn alone(model: &Chain, case: &Case) -> Each {
    let run = || {
        let end = end();
        generate(
            model,
            &[&case.prompt],
            &end,
            &case.options,
            listener(case.fate),
        )
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Error::Panicked))
}

fn request(case: &Case, prefix: &Arc<Prefix<Vec<chain::Row>>>) -> Request<Vec<chain::Row>> {
    let mut request = Request::new(case.prompt.clone(), case.options.clone())
        .with_end(end())
        .with_on_token(listener(case.fate))
        .with_cancel(case.flag.clone());
    if case.fate == Fate::Late {
        request = request.with_deadline(Instant::now());
    }
    if case.with_prefix {
        request = request.with_prefix(Arc::clone(prefix));
    }
    request
}

/// Whether the result is that of the prompt alone, or of as many tokens as its end let it have.
fn check(case: &Case, found: &Each, alone: &Each) {
    if case.fate == Fate::Late {
        let cut = found.as_ref().unwrap();
        assert!(cut.iter().all(|result| result.ids.is_empty()));
        assert!(cut.iter().all(|result| result.stop == StopReason::Deadline));
        return;
    }
    let cancelled = |result: &Generated| result.stop == StopReason::Cancelled;
    if case.options.beams > 1 && case.flag.is_cancelled() {
        // What a search has found until then may be worse.
        return;
    }
    match (found, alone) {
        (Ok(found), _) if case.flag.is_cancelled() && found.iter().any(cancelled) => {
            let Ok(alone) = alone else { return };
            for result in found {
                assert!(alone[result.sequence].ids.starts_with(&result.ids));
            }
        }
        (Ok(found), Ok(alone)) => assert_eq!(found, alone, "{:?}", case.options),
        (Err(found), Err(alone)) => assert_eq!(found.to_string(), alone.to_string()),
        _ => panic!("{found:?} for {alone:?} of {:?}", case.options),
    }
}

fn schedule(seed: u64) -> usize {
    let mut dice = Dice::new(seed);
    let mut model = Chain {
        merges: !dice.one_in(5),
        shares: !dice.one_in(5),
        extends: !dice.one_in(5),
        ..Chain::default()
    };
    let limits = EngineOptions::new()
        .with_slots(3 + dice.below(8))
        .with_budget(BYTES * (400 + dice.below(400) as u64))
        .with_chunk(1 + dice.below(20));
    model.poisoned = !dice.one_in(4);
    let ids: Vec<u32> = (0..30).map(|i| 2 + i * 7 % 30).collect();
    let prefix = Arc::new(Prefix::read(&model, &ids).unwrap());
    let cases: Vec<Case> = (0..1 + dice.below(10))
        .map(|_| case(&mut dice, &ids))
        .collect();
    let expected: Vec<Each> = cases.iter().map(|case| alone(&model, case)).collect();
    let mut found: Vec<Option<Each>> = cases.iter().map(|_| None).collect();
    let mut scheduler = Scheduler::new(&model, limits.clone());
    for step in 0.. {
        for (key, case) in cases.iter().enumerate() {
            if case.arrives == step {
                let asked = request(case, &prefix);
                let mut job = Job::new(&model, &limits, asked, CancelFlag::new()).unwrap();
                job.key = key as u64;
                scheduler.push(job);
            }
            if matches!(case.fate, Fate::Flag(after) if case.arrives + after == step) {
                case.flag.cancel();
            }
        }
        for (key, result) in scheduler.step() {
            assert!(
                found[key as usize].replace(result).is_none(),
                "one end each"
            );
        }
        let (slots, bytes) = scheduler.taken();
        assert!(slots <= limits.slots && bytes <= limits.budget.unwrap());
        assert!(scheduler.batch.rows() <= limits.slots);
        assert!(step < 2_000, "seed {seed} does not end");
        if step >= 20 && scheduler.is_idle() {
            break;
        }
    }
    for ((case, found), expected) in cases.iter().zip(&found).zip(&expected) {
        check(case, found.as_ref().unwrap(), expected);
    }
    assert_eq!(scheduler.taken(), (0, 0));
    assert_eq!(model.live(), 1, "the prefix alone is left");
    drop((scheduler, prefix));
    assert_eq!(model.live(), 0);
    cases.len()
}

#[test]
fn a_thousand_random_schedules_give_what_each_prompt_gives_alone() {
    let requests: usize = (0..1_000).map(schedule).sum();
    assert!(requests > 4_000);
}

fn push(
    scheduler: &mut Scheduler<'_, Chain>,
    key: u64,
    prompt: &[u32],
    options: &Generation,
) -> CancelFlag {
    let request = Request::new(prompt.to_vec(), options.clone()).with_end(end());
    let flag = CancelFlag::new();
    let limits = scheduler.limits.clone();
    let mut job = Job::new(scheduler.model, &limits, request, flag.clone()).unwrap();
    job.key = key;
    scheduler.push(job);
    flag
}

fn all(scheduler: &mut Scheduler<'_, Chain>) -> Vec<(u64, Each)> {
    let mut ended = Vec::new();
    while !scheduler.is_idle() {
        ended.extend(scheduler.step());
    }
    ended
}

/// Answers that do not end by themselves.
fn endless(tokens: usize) -> Generation {
    let fails = [END, ERROR, NAN, PANIC];
    Generation::greedy()
        .with_suppress(fails)
        .with_max_new_tokens(tokens)
}

#[test]
fn a_large_request_is_not_starved_by_small_ones() {
    let model = Chain::default();
    let limits = EngineOptions::new().with_slots(4);
    let mut scheduler = Scheduler::new(&model, limits);
    push(&mut scheduler, 0, &[5], &endless(30));
    push(&mut scheduler, 1, &[6], &endless(5).with_beams(4));
    // Small ones keep coming, and each would fit beside the first.
    for key in 2..12 {
        push(&mut scheduler, key, &[7, key as u32], &endless(5));
        scheduler.step();
        assert_eq!(scheduler.running(), 1, "nobody passes the large one");
    }
    let order: Vec<u64> = all(&mut scheduler).iter().map(|(key, _)| *key).collect();
    assert_eq!(order[..2], [0, 1]);
    assert_eq!(order.len(), 12);
}

#[test]
fn what_does_not_fit_waits_and_what_never_fits_is_refused_with_both_numbers() {
    let model = Chain::default();
    let limits = EngineOptions::new().with_budget(50 * BYTES).with_slots(4);
    let mut scheduler = Scheduler::new(&model, limits.clone());
    push(&mut scheduler, 0, &[5; 10], &endless(20));
    push(&mut scheduler, 1, &[6; 11], &endless(10));
    scheduler.step();
    assert_eq!((scheduler.running(), scheduler.waiting()), (1, 1));
    assert_eq!(scheduler.taken(), (1, 30 * BYTES));
    let ended = all(&mut scheduler);
    assert!(ended.iter().all(|(_, result)| result.is_ok()) && ended.len() == 2);
    let refused = |prompt: Vec<u32>, options: Generation| {
        let request = Request::new(prompt, options);
        Job::new(&model, &limits, request, CancelFlag::new())
            .err()
            .unwrap()
    };
    let bytes = refused(vec![5; 31], endless(20));
    assert!(
        matches!(
            &bytes,
            Error::NeverFits {
                needed: 510,
                limit: 500,
                ..
            }
        ),
        "{bytes}"
    );
    assert!(bytes.to_string().contains("510 bytes") && bytes.to_string().contains("500"));
    let slots = refused(vec![5], Generation::beam(5));
    assert!(
        matches!(
            slots,
            Error::NeverFits {
                of: "slots",
                needed: 5,
                limit: 4
            }
        ),
        "{slots}"
    );
}

#[test]
fn a_shared_prefix_is_counted_once() {
    let model = Chain::default();
    let limits = EngineOptions::new().with_budget(200 * BYTES);
    let mut scheduler = Scheduler::new(&model, limits.clone());
    let prefix = Arc::new(Prefix::read(&model, &[5; 100]).unwrap());
    for key in 0..3 {
        let prompt = [&[5; 100][..], &[6, key as u32]].concat();
        let request = Request::new(prompt, endless(8)).with_prefix(Arc::clone(&prefix));
        let mut job = Job::new(&model, &limits, request, CancelFlag::new()).unwrap();
        job.key = key;
        scheduler.push(job);
    }
    scheduler.step();
    assert_eq!(scheduler.taken(), (3, (100 + 3 * (2 + 8)) * BYTES));
    all(&mut scheduler);
    let request = Request::new(vec![6; 101], endless(8)).with_prefix(prefix);
    let wrong = Job::new(&model, &limits, request, CancelFlag::new()).err();
    assert!(matches!(wrong, Some(Error::PrefixMismatch { tokens: 100 })));
}

#[test]
fn long_prompts_are_read_in_pieces_while_others_go_on() {
    let model = Chain::default();
    let limits = EngineOptions::new().with_chunk(16);
    let mut scheduler = Scheduler::new(&model, limits);
    push(&mut scheduler, 0, &[5, 6], &endless(60));
    scheduler.step();
    let calls = model.calls.load(Ordering::Relaxed);
    let prompt: Vec<u32> = (0..100).map(|i| 2 + i % 30).collect();
    push(&mut scheduler, 1, &prompt, &endless(3));
    // Seven pieces, and a token for the other beside each.
    for _ in 0..7 {
        scheduler.step();
    }
    assert_eq!(model.longest_call.load(Ordering::Relaxed), 16);
    assert_eq!(model.calls.load(Ordering::Relaxed) - calls, 14);
    let ended = all(&mut scheduler);
    let alone = generate(&model, &[&prompt], &end(), &endless(3), |_| {
        ControlFlow::Continue(())
    });
    let (_, long) = ended.iter().find(|(key, _)| *key == 1).unwrap();
    assert_eq!(long.as_ref().unwrap(), &alone.unwrap());
}

#[test]
fn a_model_that_fails_for_several_rows_ends_those_only() {
    let model = Chain {
        fails_together: true,
        ..Chain::default()
    };
    let mut scheduler = Scheduler::new(&model, EngineOptions::new());
    push(&mut scheduler, 0, &[5], &endless(9));
    push(&mut scheduler, 1, &[6], &endless(9));
    let ended = all(&mut scheduler);
    assert!(
        ended
            .iter()
            .all(|(_, result)| matches!(result, Err(Error::Pass { .. })))
    );
    push(&mut scheduler, 2, &[6], &endless(9));
    assert!(all(&mut scheduler).iter().all(|(_, result)| result.is_ok()));
    assert_eq!(model.live(), 0);
}

#[test]
fn requests_that_wait_end_with_their_flag_or_deadline() {
    let model = Chain::default();
    let mut scheduler = Scheduler::new(&model, EngineOptions::new().with_slots(1));
    push(&mut scheduler, 0, &[5], &endless(200));
    let flag = push(&mut scheduler, 1, &[6], &endless(5));
    let late = endless(5).with_deadline(Instant::now() + Duration::from_millis(5));
    push(&mut scheduler, 2, &[7], &late.with_num_return_sequences(1));
    scheduler.step();
    flag.cancel();
    std::thread::sleep(Duration::from_millis(6));
    let ended = scheduler.step();
    let stops: Vec<(u64, StopReason, usize)> = ended
        .iter()
        .map(|(key, result)| (*key, result.as_ref().unwrap()))
        .map(|(key, results)| (key, results[0].stop, results[0].ids.len()))
        .collect();
    let expected = [(1, StopReason::Cancelled, 0), (2, StopReason::Deadline, 0)];
    assert_eq!(stops, expected);
    // What is left ends as it is.
    push(&mut scheduler, 3, &[8], &endless(5));
    let ended = scheduler.cancel();
    assert_eq!(ended.len(), 2);
    for (key, result) in ended {
        let result = &result.unwrap()[0];
        assert_eq!(result.stop, StopReason::Cancelled);
        assert_eq!(result.ids.is_empty(), key == 3);
    }
    assert!(scheduler.is_idle() && model.live() == 0);
}
