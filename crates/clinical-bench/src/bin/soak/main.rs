//! An answer server under mixed load for as long as one likes, and whether it is the same at the end: memory flat, no
//! stuck slot, every answer the library's own.
//!
//! `scripts/soak_server 60` builds what is needed and runs it for an hour; see `docs/examples/server.md`.
//!
//! Users ask (whole, in streams, several questions at once, sampled with a seed), leave in the middle, send bodies that
//! are broken, too large or of unknown parameters, read slowly or never, send slowly or stop. Answers are compared with
//! those of the library in this process, computed beforehand; vectors too; tags and de-identified notes with those of
//! the fresh server. One line a minute; exit code 1 if anything is not as it should be.

#[path = "../../../../../examples/common/mod.rs"]
mod common;

mod bad;
mod expected;
mod server;
mod shared;
mod users;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use clap::Parser;

use expected::Expected;
use server::Served;
use shared::Shared;

/// Put an answer server under mixed load
#[derive(Parser)]
struct Arguments {
    /// How long
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The program `serve`; without it the one that was built beside this program
    #[arg(long)]
    serve: Option<PathBuf>,
    /// Milliseconds that a user thinks between two requests, on average
    #[arg(long, default_value_t = 100)]
    pause: u64,
    /// Answers that the server writes at a time
    #[arg(long, default_value_t = 6)]
    slots: usize,
    /// MiB of keys and values that the server keeps of notes: fewer than the notes take, so that some are forgotten
    #[arg(long, default_value_t = 4)]
    kept_notes: u64,
}

/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long the server has to end what clients have left.
const SETTLE: Duration = Duration::from_secs(90);

/// What memory may grow by between the first fifth and the last, beside a twentieth of it: what an allocator keeps. In a
/// short run most of that is still to come.
const SLACK_MIB: f64 = 16.0;
const SLACK_OF_A_SHORT_RUN_MIB: f64 = 96.0;

/// Shorter runs are short.
const LONG: f64 = 10.0;

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    if !(0.1..=10_000.0).contains(&arguments.minutes) {
        bail!("--minutes must be from 0.1 to 10000");
    }
    let mut served = Served::start(
        arguments.serve.as_deref(),
        arguments.slots,
        arguments.kept_notes,
    )?;
    let expected = Expected::new(served.address)?;
    let shared = Shared::new(served.address, expected, arguments.pause);
    let time = Duration::from_secs_f64(arguments.minutes * 60.0);
    let memory = thread::scope(|scope| -> Result<Vec<f64>> {
        let threads: Vec<_> = users::all()
            .into_iter()
            .enumerate()
            .map(|(number, (name, user))| {
                let shared = &shared;
                (name, scope.spawn(move || user(shared, number as u64 + 1)))
            })
            .collect();
        let memory = watch(&shared, &mut served, time);
        shared.stop.store(true, Ordering::Relaxed);
        for (name, thread) in threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => shared.wrong(format!("{name}: {error:#}")),
                Err(_) => shared.wrong(format!("{name} panicked")),
            }
        }
        memory
    })?;
    settle(&shared)?;
    shared.expected.ask_all(&shared)?;
    served.end()?;
    report(&shared, &memory, arguments.minutes)
}

/// Prints a line a minute (or twelve times in a short run) and gives the memory, once a second.
fn watch(shared: &Shared, served: &mut Served, time: Duration) -> Result<Vec<f64>> {
    let every = (time / 12).clamp(Duration::from_secs(5), Duration::from_secs(60));
    let (start, mut next) = (Instant::now(), every);
    let mut memory = Vec::new();
    common::print(
        "| minute | answers | refused as they must be | left or too slow | wrong | MiB | connections | running | waiting | kept notes | /health ms, most |",
    )?;
    common::print("|---|---|---|---|---|---|---|---|---|---|---|")?;
    let mut client = shared.client();
    while start.elapsed() < time {
        thread::sleep(LOOK.min(time.saturating_sub(start.elapsed())));
        served.check_runs()?;
        memory.extend(served.memory_mib());
        if start.elapsed() >= next {
            next += every;
            let metrics = server::metrics(&mut client)?;
            let count = |name: &str| metrics.get(name).copied().unwrap_or(0.0);
            let [answers, refused, left] = [&shared.answers, &shared.refused, &shared.left]
                .map(|count| count.load(Ordering::Relaxed));
            common::print(format_args!(
                "| {:.1} | {answers} | {refused} | {left} | {} | {:.1} | {} | {} | {} | {} | {:.0} |",
                start.elapsed().as_secs_f64() / 60.0,
                shared.wrongs(),
                memory.last().copied().unwrap_or(f64::NAN),
                count("connections"),
                count("running_requests"),
                count("queue_requests"),
                count("kept_notes"),
                shared.take_slowest_health().as_secs_f64() * 1000.0,
            ))?;
        }
    }
    Ok(memory)
}

/// Waits until nothing runs and nothing waits.
fn settle(shared: &Shared) -> Result<()> {
    let mut client = shared.client();
    let start = Instant::now();
    loop {
        let metrics = server::metrics(&mut client)?;
        let names = [
            "running_requests",
            "queue_requests",
            "engine_running",
            "engine_waiting",
        ];
        let busy: Vec<&str> = names
            .into_iter()
            .filter(|name| metrics.get(*name).copied().unwrap_or(0.0) > 0.0)
            .collect();
        // One is this.
        let connections = metrics.get("connections").copied().unwrap_or(0.0);
        if busy.is_empty() && connections <= 1.0 {
            let seconds = start.elapsed().as_secs_f64();
            return Ok(common::print(format_args!(
                "nothing runs, nothing waits, no connection is open, {seconds:.1} s after the last user"
            ))?);
        }
        if start.elapsed() > SETTLE {
            bail!(
                "after {} s there are {connections} connections, and still: {busy:?}",
                SETTLE.as_secs()
            );
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn report(shared: &Shared, memory: &[f64], minutes: f64) -> Result<()> {
    let most = |part: &[f64]| part.iter().copied().fold(f64::NAN, f64::max);
    let fifth = memory.len() / 5;
    let (first, last) = (
        most(&memory[..fifth]),
        most(&memory[memory.len() - fifth..]),
    );
    let growth = last - first;
    common::print(format_args!(
        "memory, most of each fifth: {first:.1} MiB at first, {last:.1} MiB at last ({growth:+.1})"
    ))?;
    let [answers, refused, left] =
        [&shared.answers, &shared.refused, &shared.left].map(|count| count.load(Ordering::Relaxed));
    common::print(format_args!(
        "{answers} answers as they must be, {refused} refusals as they must be, {left} that left or were too slow"
    ))?;
    let wrong = shared.all_wrong();
    if !wrong.is_empty() {
        return Err(anyhow!("{} wrong: {}", shared.wrongs(), wrong.join("; ")));
    }
    let slack = if minutes < LONG {
        SLACK_OF_A_SHORT_RUN_MIB
    } else {
        SLACK_MIB
    };
    if growth > slack + first / 20.0 {
        bail!("memory grew by {growth:.1} MiB");
    }
    Ok(common::print("the server is as it was")?)
}
