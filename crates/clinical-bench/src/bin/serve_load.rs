//! Measures a server that speaks OpenAI's calls, with real connections on this machine: so many users at a time, each
//! asking one streamed question after another about notes that nobody has asked about before. Works with `serve` and
//! with llama.cpp's `llama-server`, so that both can be measured by the same program.
//!
//! `cargo run --release -p clinical-bench --bin serve_load -- --address 127.0.0.1:8080 --users 1,8,64`
//!
//! Prints a Markdown table: new tokens a second of all users together, time to the first token, time of a whole answer,
//! and what this program itself took of a core.

#[path = "../../../../examples/common/mod.rs"]
mod common;

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use clinical_bench::http::{Client, Events};
use clinical_synth::Generator;
use serde_json::{Value, json};

/// How long a user waits for the next piece.
const PATIENCE: Duration = Duration::from_secs(600);

/// Measure a server with many users
#[derive(Parser)]
struct Arguments {
    /// Where the server listens
    #[arg(long, default_value = "127.0.0.1:8080")]
    address: SocketAddr,
    /// How many users at a time, one measurement each
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    users: Vec<usize>,
    /// Answers of a measurement; at least two for each user
    #[arg(long, default_value_t = 48)]
    answers: usize,
    /// The most tokens of an answer
    #[arg(long, default_value_t = 64)]
    new_tokens: usize,
    /// Invented notes that make the note of a question
    #[arg(long, default_value_t = 1)]
    notes: usize,
    /// The most words of a note: few words and many new tokens show writing, whole notes and few new tokens reading
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    words: usize,
    /// A token that is never chosen (`logit_bias`), such as the one that ends an answer, so that all are equally long
    #[arg(long)]
    forbid: Option<u32>,
    /// Which invented notes
    #[arg(long, default_value_t = 18)]
    seed: u64,
}

/// One answer.
struct Timing {
    first: f64,
    whole: f64,
    new_tokens: u64,
    prompt_tokens: u64,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        arguments.notes > 0 && !arguments.users.contains(&0),
        "give at least one user and one note"
    );
    // A server that loads its model says so.
    let (mut client, start) = (Client::new(arguments.address, PATIENCE), Instant::now());
    while !client.get("/health").is_ok_and(|reply| reply.status == 200) {
        ensure!(
            start.elapsed() < PATIENCE,
            "no server answers at {}",
            arguments.address
        );
        thread::sleep(Duration::from_millis(100));
    }
    let count = |users: usize| arguments.answers.max(2 * users);
    let total: usize = arguments.users.iter().map(|&users| 1 + count(users)).sum();
    // No note comes twice: a server that keeps what it has read of notes has nothing of these.
    let mut bodies = bodies(arguments).take(total);
    common::print(
        "| users | answers | new tokens/s | prompt tokens/s | first token s, p50 / p99 | answer s, p50 / p99 | this program |",
    )?;
    common::print("|---|---|---|---|---|---|---|")?;
    let mut speeds: Vec<(usize, f64)> = Vec::new();
    for &users in &arguments.users {
        let all: Vec<String> = bodies.by_ref().take(1 + count(users)).collect();
        let (warm, all) = all.split_first().context("no question")?;
        ask(&mut Client::new(arguments.address, PATIENCE), warm)?;
        let speed = measure(arguments.address, users, all)?;
        speeds.push((users, speed));
    }
    if let [(one, first), rest @ ..] = &speeds[..] {
        for (users, speed) in rest {
            let times = speed / first;
            common::print(format_args!(
                "{users} users: {times:.2} times the new tokens of {one}"
            ))?;
        }
    }
    Ok(())
}

/// Requests, each about a note of its own.
fn bodies(arguments: &Arguments) -> impl Iterator<Item = String> {
    let (notes, words, new_tokens) = (arguments.notes, arguments.words, arguments.new_tokens);
    let forbid = arguments.forbid;
    let mut cases = Generator::held_out(arguments.seed).with_pairs(1);
    std::iter::from_fn(move || {
        let cases: Vec<_> = cases.by_ref().take(notes).collect();
        let question = cases.first()?.pairs.first()?.question.clone();
        let notes: Vec<&str> = cases.iter().map(|case| case.note.as_str()).collect();
        let note = notes.join("\n\n");
        let note = match note.split_whitespace().nth(words) {
            Some(_) => note
                .split_whitespace()
                .take(words)
                .collect::<Vec<_>>()
                .join(" "),
            None => note,
        };
        let messages = json!([
            {"role": "system", "content": note},
            {"role": "user", "content": question},
        ]);
        let mut body = json!({
            "messages": messages, "max_tokens": new_tokens, "temperature": 0, "stream": true,
            "stream_options": {"include_usage": true},
        });
        if let Some(id) = forbid {
            body["logit_bias"] = json!({id.to_string(): -100});
        }
        Some(body.to_string())
    })
}

/// So many users ask all questions; prints a row and gives the new tokens a second.
fn measure(address: SocketAddr, users: usize, bodies: &[String]) -> Result<f64> {
    let next = AtomicUsize::new(0);
    let timings: Mutex<Vec<Timing>> = Mutex::new(Vec::new());
    let barrier = Barrier::new(users + 1);
    let (seconds, cpu) = thread::scope(|scope| -> Result<(f64, Option<f64>)> {
        let user = || -> Result<()> {
            let mut client = Client::new(address, PATIENCE);
            barrier.wait();
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let timing = ask(&mut client, body)?;
                let mut timings = timings.lock().unwrap_or_else(PoisonError::into_inner);
                timings.push(timing);
            }
            Ok(())
        };
        let threads: Vec<_> = (0..users).map(|_| scope.spawn(user)).collect();
        let before = cpu_seconds();
        barrier.wait();
        let start = Instant::now();
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a user failed"))??;
        }
        let cpu = before.zip(cpu_seconds()).map(|(from, to)| to - from);
        Ok((start.elapsed().as_secs_f64(), cpu))
    })?;
    let timings = timings.into_inner().unwrap_or_else(PoisonError::into_inner);
    let sum = |of: fn(&Timing) -> u64| timings.iter().map(of).sum::<u64>() as f64;
    let new = sum(|timing| timing.new_tokens) / seconds;
    let prompt = sum(|timing| timing.prompt_tokens) / seconds;
    let [first, whole] = [|t: &Timing| t.first, |t: &Timing| t.whole].map(|of| {
        let mut all: Vec<f64> = timings.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        format!("{:.3} / {:.3}", part(&all, 0.5), part(&all, 0.99))
    });
    let own = cpu.map_or("?".to_owned(), |cpu| {
        format!("{:.1} % of a core", 100.0 * cpu / seconds)
    });
    common::print(format_args!(
        "| {users} | {} | {new:.1} | {prompt:.0} | {first} | {whole} | {own} |",
        timings.len()
    ))?;
    Ok(new)
}

/// The value below which this part of sorted ones lies.
fn part(sorted: &[f64], part: f64) -> f64 {
    let at = (part * sorted.len() as f64).ceil() as usize;
    sorted
        .get(at.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// One question.
fn ask(client: &mut Client, body: &str) -> Result<Timing> {
    let start = Instant::now();
    let (mut events, mut first, mut usage) = (Events::default(), None, Value::Null);
    let mut error = String::new();
    let reply = client.stream("POST", "/v1/chat/completions", body, |piece| {
        for data in events.push(piece) {
            let Ok(mut value) = serde_json::from_str::<Value>(&data) else {
                continue;
            };
            let text = value["choices"][0]["delta"]["content"].as_str();
            if first.is_none() && text.is_some_and(|text| !text.is_empty()) {
                first = Some(start.elapsed().as_secs_f64());
            }
            if value["usage"].is_object() {
                usage = value["usage"].take();
            }
        }
        if error.len() < 1000 {
            error += &String::from_utf8_lossy(piece);
        }
        ControlFlow::Continue(())
    })?;
    ensure!(
        reply.status == 200,
        "the server answered {}: {error}",
        reply.status
    );
    let whole = start.elapsed().as_secs_f64();
    let count = |name: &str| usage[name].as_u64().context("the server tells no usage");
    Ok(Timing {
        // An answer without text has none.
        first: first.unwrap_or(whole),
        whole,
        new_tokens: count("completion_tokens")?,
        prompt_tokens: count("prompt_tokens")?,
    })
}

/// The seconds that this process has computed, where Linux tells.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name in brackets: the 14th and 15th fields of all.
    let mut fields = text.rsplit(')').next()?.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}
