//! What a generation takes is given back: when rows finish, when it is cancelled, when its caller panics, when a
//! session ends. Measured with an allocator that counts.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use asclepius::{AnswerOptions, Asclepius};
use clinical_generate::{Cancel, EndTokens, Generation, generate, generate_many};

mod files;

use files::process::{Counting, live};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Scratch memory that products keep for their next call may come and go.
const SCRATCH: usize = 200_000;

static MODEL: LazyLock<Arc<Asclepius>> = LazyLock::new(|| {
    // A helper that finds no work in the first run, as on a busy machine, would take its scratch memory in the second.
    clinical_kernels::set_threads(1).unwrap();
    Arc::new(Asclepius::embedded().unwrap())
});

/// Runs the same work twice, and checks that the second time leaves nothing behind: what is made at the first use
/// stays.
fn leaves_nothing(work: impl Fn()) {
    static LOCK: Mutex<()> = Mutex::new(());
    let _alone = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    LazyLock::force(&MODEL);
    work();
    let before = live();
    work();
    let left = live().saturating_sub(before);
    assert!(left < SCRATCH, "{left} bytes left");
}

fn prompt(tokens: u32) -> Vec<u32> {
    (0..tokens).map(|i| 300 + i * 37 % 1000).collect()
}

/// Bytes of the keys and values of one position in f32.
fn position() -> usize {
    let config = MODEL.model().config();
    2 * 4 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
}

#[test]
fn a_generation_that_is_given_up_frees_its_memory() {
    // What prompts begin with is read once, so they begin with different tokens.
    let prompts = [prompt(400), prompt(301)[1..].to_vec()];
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let run = |options: &Generation, panics: bool| {
        let before = live();
        let mut held = 0;
        let run = || {
            generate(
                MODEL.model(),
                &prompts,
                &EndTokens::none(),
                options,
                |step| {
                    if step.index < 5 {
                        return ControlFlow::Continue(());
                    }
                    held = live() - before;
                    assert!(!panics, "the caller's own trouble");
                    ControlFlow::Break(Cancel::All)
                },
            )
            .unwrap();
        };
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        let ended = catch_unwind(AssertUnwindSafe(run));
        std::panic::set_hook(hook);
        assert_eq!(ended.is_err(), panics);
        // Two rows of 400 positions; another test's thread may free its scratch memory meanwhile.
        assert!(held > 350 * position(), "{held} held while running");
    };
    for options in [
        Generation::greedy(),
        Generation::sample().with_num_return_sequences(2),
        // Beams show their steps only at the end, where the cache is still there.
        Generation::beam(3),
    ] {
        let options = options.with_max_new_tokens(12);
        leaves_nothing(|| run(&options, false));
        leaves_nothing(|| run(&options, true));
    }
}

#[test]
fn rows_that_end_give_their_memory_back_at_once() {
    // What prompts begin with is read once, so they begin with different tokens.
    let prompts: Vec<Vec<u32>> = (0..8)
        .map(|row| prompt(400 + row)[row as usize..].to_vec())
        .collect();
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    leaves_nothing(|| {
        let before = live();
        let mut held = Vec::new();
        let options = Generation::greedy().with_max_new_tokens(30);
        generate(
            MODEL.model(),
            &prompts,
            &EndTokens::none(),
            &options,
            |step| {
                if step.row == 7 {
                    held.push((live() - before) as f64);
                    return ControlFlow::Continue(());
                }
                match step.index == 3 * step.row {
                    true => ControlFlow::Break(Cancel::Row),
                    false => ControlFlow::Continue(()),
                }
            },
        )
        .unwrap();
        assert_eq!(held.len(), 30);
        // Row 7 alone is left after 21 tokens, beside scratch memory of the kernels.
        assert!(held[29] * 3.0 < held[0], "{} of {}", held[29], held[0]);
    });
}

#[test]
fn a_queue_holds_no_more_than_its_places() {
    let prompts: Vec<Vec<u32>> = (0..40).map(|i| prompt(200 + i * 5)).collect();
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    leaves_nothing(|| {
        let before = live();
        let mut most = 0;
        let options = Generation::greedy().with_max_new_tokens(6);
        generate_many(
            MODEL.model(),
            &prompts,
            &EndTokens::none(),
            &options,
            4,
            |_| {
                most = most.max(live() - before);
                ControlFlow::Continue(())
            },
        )
        .unwrap();
        // Four rows of 400 positions and some room to grow, while caches merge twice.
        assert!(most < 2 * 4 * 700 * position(), "{most}");
    });
}

#[test]
fn a_session_keeps_its_note_and_frees_it() {
    let note = "The patient slept well and had no complaints overnight.\n".repeat(40);
    leaves_nothing(|| {
        let before = live();
        let mut session = MODEL.session(&note, &AnswerOptions::default()).unwrap();
        let kept = session.kept_tokens();
        let head = MODEL.answer("x", "Why?").unwrap().usage.reused_tokens;
        assert!(head > 0 && live() - before > (kept - head) * position());
        let _ = session.ask("How did the patient sleep?").unwrap();
        let after_one = live() - before;
        let _ = session.ask("Were there any complaints?").unwrap();
        assert!(live() - before < after_one + SCRATCH, "nothing piles up");
        assert_eq!(session.kept_tokens(), kept);
    });
}
