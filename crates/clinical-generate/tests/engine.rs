//! The engine's thread: requests from several threads, back-pressure, tickets, failures, and its end.

#[path = "common/chain.rs"]
mod chain;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chain::{BYTES, Chain, Dice, END, ERROR, NAN, PANIC, VOCABULARY};
use clinical_generate::{
    Cancel, CancelFlag, EndTokens, Engine, EngineLoad, EngineOptions, Error, Generated, Generation,
    ModelError, Prefix, Request, Step, StopReason, TextDecoder, TextStream, generate,
};

type Asked = Request<Vec<chain::Row>>;

fn engine(options: EngineOptions) -> (Engine<Chain>, Chain) {
    let model = Chain::default();
    let engine = Engine::new(Arc::new(model.clone()), options).unwrap();
    (engine, model)
}

fn ask(prompt: &[u32], options: &Generation) -> Asked {
    Request::new(prompt.to_vec(), options.clone()).with_end(EndTokens::new([END]))
}

fn alone(model: &Chain, prompt: &[u32], options: &Generation) -> Vec<Generated> {
    let end = EndTokens::new([END]);
    generate(model, &[prompt], &end, options, |_| {
        ControlFlow::Continue(())
    })
    .unwrap()
}

/// Answers of so many tokens.
fn endless(tokens: usize) -> Generation {
    let fails = [END, ERROR, NAN, PANIC];
    Generation::greedy()
        .with_suppress(fails)
        .with_max_new_tokens(tokens)
}

/// A request that runs until it is released: its closure waits at its third token, when the engine has reported that it
/// runs.
fn held(prompt: &[u32], tokens: usize) -> (Asked, Receiver<()>, impl FnOnce() + use<>) {
    let (begun, has_begun) = sync_channel(1);
    let (go, may_go) = sync_channel::<()>(1);
    let request = ask(prompt, &endless(tokens)).with_on_token(move |step| {
        if step.index == 2 {
            begun.send(()).unwrap();
            let _ = may_go.recv();
        }
        ControlFlow::Continue(())
    });
    (request, has_begun, move || drop(go))
}

#[test]
fn requests_from_several_threads_get_what_they_get_alone() {
    let (engine, model) = engine(EngineOptions::new().with_slots(7).with_chunk(8));
    let prefix: Vec<u32> = (0..40).map(|i| 2 + i * 7 % 30).collect();
    let read = Arc::new(Prefix::read(engine.model().as_ref(), &prefix).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (engine, model, read, prefix) = (&engine, &model, &read, &prefix);
            scope.spawn(move || {
                let mut dice = Dice::new(thread);
                for round in 0..40 {
                    let mut prompt: Vec<u32> = (0..1 + dice.below(30))
                        .map(|_| 2 + dice.below(30) as u32)
                        .collect();
                    let options = match round % 4 {
                        0 => endless(1 + dice.below(20)),
                        1 => Generation::sample()
                            .with_seed(round)
                            .with_suppress([ERROR, NAN, PANIC]),
                        2 => endless(9).with_beams(3).with_num_return_sequences(2),
                        _ => endless(6).with_sampling(true).with_num_return_sequences(3),
                    };
                    let mut request = ask(&prompt, &options);
                    if dice.one_in(3) {
                        prompt = [&prefix[..], &prompt].concat();
                        request = ask(&prompt, &options).with_prefix(Arc::clone(read));
                    }
                    let found = engine.admit(request).unwrap().wait().unwrap();
                    assert_eq!(found, alone(model, &prompt, &options));
                }
            });
        }
    });
    assert_eq!(engine.load(), EngineLoad::default());
    drop((engine, read));
    assert_eq!(model.live(), 0, "nothing is left");
}

#[test]
fn a_full_queue_holds_callers_back() {
    let (engine, _) = engine(EngineOptions::new().with_slots(1).with_queue(2));
    let (request, begun, go) = held(&[5], 4);
    let first = engine.admit(request).unwrap();
    begun.recv().unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| engine.try_admit(ask(&[6], &endless(2))).unwrap())
        .collect();
    let full = engine.try_admit(ask(&[7], &endless(2)));
    assert!(matches!(full, Err(Error::QueueFull { waiting: 2 })));
    // A caller that waits for room is released by its own flag and its own deadline.
    let flag = CancelFlag::new();
    flag.cancel();
    let cancelled = engine
        .admit(ask(&[7], &endless(2)).with_cancel(flag))
        .unwrap();
    let soon = Instant::now() + Duration::from_millis(30);
    let late = engine
        .admit(ask(&[7], &endless(2)).with_deadline(soon))
        .unwrap();
    let admitted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let ticket = engine.admit(ask(&[8], &endless(2))).unwrap();
                admitted.fetch_add(1, Ordering::SeqCst);
                assert_eq!(ticket.wait().unwrap()[0].ids.len(), 2);
            });
        }
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(admitted.load(Ordering::SeqCst), 0);
        go();
    });
    assert_eq!(first.wait().unwrap()[0].ids.len(), 4);
    assert!(waiting.into_iter().all(|ticket| ticket.wait().is_ok()));
    assert_eq!(cancelled.wait().unwrap()[0].stop, StopReason::Cancelled);
    assert_eq!(late.wait().unwrap()[0].stop, StopReason::Deadline);
}

#[test]
fn what_can_be_known_is_refused_at_the_door() {
    let (engine, _) = engine(EngineOptions::new().with_slots(2).with_budget(40 * BYTES));
    let refused = |prompt: &[u32], options: Generation| {
        engine.admit(ask(prompt, &options)).map(drop).unwrap_err()
    };
    let greedy = Generation::greedy;
    assert!(matches!(
        refused(&[], greedy()),
        Error::Model(ModelError::EmptyPrompt { .. })
    ));
    let unknown = refused(&[VOCABULARY as u32], greedy());
    assert!(matches!(
        unknown,
        Error::Model(ModelError::TokenOutOfRange { .. })
    ));
    assert!(matches!(
        refused(&[5; 500], greedy()),
        Error::PromptTooLong { .. }
    ));
    assert!(matches!(
        refused(&[5], greedy().with_top_k(3)),
        Error::NeedsSampling { .. }
    ));
    let stops = greedy().with_stop_strings(["###"]);
    assert!(matches!(refused(&[5], stops), Error::StopStringsNeedText));
    let large = refused(&[5; 20], endless(30));
    assert!(matches!(
        large,
        Error::NeverFits {
            needed: 500,
            limit: 400,
            ..
        }
    ));
    assert!(matches!(
        refused(&[5], endless(3).with_beams(3)),
        Error::NeverFits { of: "slots", .. }
    ));
    assert_eq!(engine.load(), EngineLoad::default());
}

#[test]
fn a_request_that_fails_fails_alone() {
    let (engine, model) = engine(EngineOptions::new());
    let options = endless(60);
    let good: Vec<_> = (5..9)
        .map(|id| engine.admit(ask(&[id], &options)).unwrap())
        .collect();
    // Tokens that fail when they are read after others were written.
    let forced = |id: u32| Generation::greedy().with_allowed([vec![4, 5, id, 6, 7]]);
    let broken = [ERROR, NAN, PANIC].map(|id| engine.admit(ask(&[3], &forced(id))).unwrap());
    let panics = ask(&[4], &endless(9)).with_on_token(|step| {
        assert!(step.index < 3, "on purpose");
        ControlFlow::Continue(())
    });
    let panics = engine.admit(panics).unwrap();
    let [error, nan, panic] = broken.map(|ticket| ticket.wait().unwrap_err());
    assert!(
        matches!(error, Error::Model(ModelError::TooLong { .. })),
        "{error}"
    );
    assert!(matches!(nan, Error::NonFinite { step: 4, .. }), "{nan}");
    assert!(matches!(panic, Error::Panicked), "{panic}");
    assert!(matches!(panics.wait(), Err(Error::Panicked)));
    for (id, ticket) in (5..9).zip(good) {
        assert_eq!(ticket.wait().unwrap(), alone(&model, &[id], &options));
    }
    assert_eq!(engine.load(), EngineLoad::default());
    drop(engine);
    assert_eq!(model.live(), 0);
}

#[test]
fn tickets_cancel_and_detach() {
    let (engine, _) = engine(EngineOptions::new());
    let (request, begun, go) = held(&[5], 400);
    let mut ticket = engine.admit(request).unwrap();
    begun.recv().unwrap();
    assert!(ticket.wait_timeout(Duration::from_millis(5)).is_none());
    ticket.cancel();
    go();
    let result = ticket
        .wait_timeout(Duration::from_secs(60))
        .unwrap()
        .unwrap();
    assert_eq!(result[0].stop, StopReason::Cancelled);
    assert!(result[0].ids.len() < 400);
    let twice = ticket.wait_timeout(Duration::ZERO);
    assert!(matches!(twice, Some(Err(Error::EngineStopped))));
    // A dropped ticket ends its request, a detached one does not.
    for detached in [false, true] {
        let last = Arc::new(Mutex::new((0, None)));
        let seen = Arc::clone(&last);
        let (tell, ended) = sync_channel(1);
        let request = ask(&[6], &endless(300)).with_on_token(move |step| {
            *seen.lock().unwrap() = (step.index, step.stop);
            if step.index == 0 || step.stop.is_some() {
                let _ = tell.send(());
            }
            ControlFlow::Continue(())
        });
        let ticket = engine.admit(request).unwrap();
        match detached {
            true => ticket.detach(),
            false => drop(ticket),
        }
        while ended.recv().is_ok() {}
        let expected = match detached {
            true => StopReason::MaxNewTokens,
            false => StopReason::Cancelled,
        };
        let (index, stop) = *last.lock().unwrap();
        // One that was dropped before it began has not one token.
        assert!(
            stop == Some(expected) || (!detached && index == 0),
            "{index} {stop:?}"
        );
    }
}

#[test]
fn the_end_of_the_engine_ends_everything() {
    let (engine, model) = engine(EngineOptions::new().with_slots(2));
    let (request, begun, go) = held(&[5], 300);
    let running = engine.admit(request).unwrap();
    begun.recv().unwrap();
    let waiting: Vec<_> = (0..5)
        .map(|_| engine.admit(ask(&[6], &endless(300))).unwrap())
        .collect();
    assert_eq!(engine.load().waiting, 5);
    let dropping = std::thread::spawn(move || drop(engine));
    std::thread::sleep(Duration::from_millis(20));
    go();
    dropping.join().unwrap();
    let result = running.wait().unwrap();
    assert_eq!(result[0].stop, StopReason::Cancelled);
    assert!(!result[0].ids.is_empty() && result[0].ids.len() < 300);
    for ticket in waiting {
        let result = ticket.wait().unwrap();
        assert_eq!(result[0].stop, StopReason::Cancelled);
    }
    assert_eq!(model.live(), 0);
    // A thread is ended from within, too: its last owner is a closure of its own.
    let engine = Arc::new(Engine::new(Arc::new(Chain::default()), EngineOptions::new()).unwrap());
    let own = Mutex::new(Some(Arc::clone(&engine)));
    let (request, begun, go) = held(&[5], 3);
    let first = engine.admit(request).unwrap();
    begun.recv().unwrap();
    let last = ask(&[6], &endless(3)).with_on_token(move |_| {
        // From inside nobody waits for room.
        if let Some(engine) = own.lock().unwrap().take() {
            engine.admit(ask(&[7], &endless(2))).unwrap().detach();
        }
        ControlFlow::Continue(())
    });
    let last = engine.admit(last).unwrap();
    drop(engine);
    go();
    assert!(first.wait().is_ok() && last.wait().is_ok());
}

struct Letters;

struct LetterStream;

impl TextDecoder for Letters {
    fn stream(&self, _row: usize) -> Box<dyn TextStream> {
        Box::new(LetterStream)
    }
}

impl TextStream for LetterStream {
    fn push(&mut self, id: u32) -> String {
        char::from(b'a' + (id % 26) as u8).to_string()
    }

    fn finish(&mut self) -> String {
        String::new()
    }

    fn fork(&self) -> Box<dyn TextStream> {
        Box::new(LetterStream)
    }
}

#[test]
fn each_request_has_its_own_end_text_and_closure() {
    let (engine, model) = engine(EngineOptions::new());
    let end = EndTokens::new([END]).with_shared_text(Arc::new(Letters));
    let free = alone(&model, &[5, 6], &endless(30));
    let texts: Vec<char> = free[0]
        .ids
        .iter()
        .map(|id| char::from(b'a' + (id % 26) as u8))
        .collect();
    let text: String = texts.iter().collect();
    let stop = &text[10..13];
    let at = text.find(stop).unwrap();
    let shown = Arc::new(Mutex::new(String::new()));
    let piece = Arc::clone(&shown);
    let stopped = Request::new([5, 6], endless(30).with_stop_strings([stop]))
        .with_end(end.clone())
        .with_on_token(move |step: Step<'_>| {
            piece.lock().unwrap().push_str(step.text);
            ControlFlow::Continue(())
        });
    let by_id = Request::new([5, 6], endless(30)).with_end(EndTokens::new([free[0].ids[7]]));
    let by_closure = Request::new([5, 6], endless(30)).with_on_token(|step| match step.index {
        4 => ControlFlow::Break(Cancel::Row),
        _ => ControlFlow::Continue(()),
    });
    let tickets = [stopped, by_id, by_closure].map(|request| engine.admit(request).unwrap());
    let [stopped, by_id, by_closure] = tickets.map(|ticket| ticket.wait().unwrap().remove(0));
    assert_eq!(stopped.stop, StopReason::StopString);
    assert_eq!(stopped.text.as_deref(), Some(&text[..at]));
    assert_eq!(*shown.lock().unwrap(), text[..at]);
    assert_eq!(by_id.stop, StopReason::EndToken);
    assert_eq!(by_id.text, None);
    assert_eq!(
        (by_closure.stop, by_closure.ids.len()),
        (StopReason::Cancelled, 5)
    );
}

#[test]
fn a_model_that_cannot_merge_answers_one_after_another() {
    let model = Chain {
        merges: false,
        ..Chain::default()
    };
    let engine = Engine::new(Arc::new(model.clone()), EngineOptions::new()).unwrap();
    let prompts: Vec<Vec<u32>> = (0..12).map(|i| vec![5, 6 + i]).collect();
    let options = endless(8);
    let tickets: Vec<_> = prompts
        .iter()
        .map(|prompt| engine.admit(ask(prompt, &options)).unwrap())
        .collect();
    for (prompt, ticket) in prompts.iter().zip(tickets) {
        assert_eq!(ticket.wait().unwrap(), alone(&model, prompt, &options));
    }
}
