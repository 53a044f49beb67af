//! Measures what is gained by not doing work twice: slots that never stand empty (`generate_many`) over padded batches,
//! and one note read once for several questions (`Asclepius::session`).
//!
//! `cargo run --release -p clinical-bench --bin reuse`

#[path = "../../../../examples/common/mod.rs"]
mod common;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use asclepius::{AnswerOptions, Asclepius, LoadOptions, PromptStyle};
use clap::Parser;
use clinical_generate::{EndTokens, Generation, generate, generate_many};
use clinical_prompts::asclepius::Template;
use clinical_synth::Generator;

/// How many generated notes make one: half of the notes are short, a few are very long, as among discharge summaries.
const JOINED: [usize; 12] = [1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 5];

/// Measure what a queue of prompts and a session about one note save
#[derive(Parser)]
struct Arguments {
    /// A model directory; without it the demonstration model
    #[arg(long)]
    model: Option<PathBuf>,
    /// Notes
    #[arg(long, default_value_t = 200)]
    notes: usize,
    /// Slots of the running batch
    #[arg(long, default_value_t = 8)]
    slots: usize,
    /// The most new tokens
    #[arg(long, default_value_t = 64)]
    new_tokens: usize,
    /// Notes of the session, of which eight questions are asked each
    #[arg(long, default_value_t = 20)]
    sessions: usize,
    /// Leave out the notes one after another
    #[arg(long)]
    without_alone: bool,
    /// Leave out the batches
    #[arg(long)]
    without_batches: bool,
    /// Threads of the CPU backend; 0 means all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    clinical_kernels::keep_freed_memory();
    clinical_kernels::set_threads(arguments.threads)?;
    let model = Arc::new(match &arguments.model {
        Some(dir) => Asclepius::load(dir, &LoadOptions::default())?,
        None => Asclepius::embedded()?,
    });
    if arguments.notes > 0 {
        queue(&model, arguments)?;
    }
    if arguments.sessions > 0 {
        sessions(&model, arguments)?;
    }
    Ok(())
}

/// A question about each of the notes: through slots that are filled again, one after another, and in batches.
fn queue(model: &Asclepius, arguments: &Arguments) -> Result<()> {
    let mut cases = Generator::held_out(12);
    let prompts = (0..arguments.notes)
        .map(|at| {
            // Lengths without a pattern: 7 and 12 share no factor.
            let joined: Vec<_> = cases.by_ref().take(JOINED[at * 7 % 12]).collect();
            let notes: Vec<&str> = joined.iter().map(|case| case.note.as_str()).collect();
            let pairs = &joined[0].pairs;
            let question = &pairs[at % pairs.len()].question;
            let text =
                Template::Inference.render(&notes.join("\n\n"), question, &Default::default())?;
            Ok(model.tokenizer().encode(&text, true)?.ids().to_vec())
        })
        .collect::<Result<Vec<Vec<u32>>>>()?;
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let end = EndTokens::new(model.end_ids().iter().copied());
    let options = Generation::greedy().with_max_new_tokens(arguments.new_tokens);
    let ask = |rows: &[&[u32]], end: &EndTokens<'_>, options: &Generation| {
        generate(model.model(), rows, end, options, |_| {
            ControlFlow::Continue(())
        })
    };
    ask(&prompts[..1], &end, &options)?;

    let start = Instant::now();
    let many = generate_many(
        model.model(),
        &prompts,
        &end,
        &options,
        arguments.slots,
        |_| ControlFlow::Continue(()),
    )?;
    let base = start.elapsed().as_secs_f64();
    let lengths: Vec<usize> = many.iter().map(|answer| answer.ids.len()).collect();
    say(
        "tokens of a prompt",
        &mut prompts.iter().map(|row| row.len()).collect::<Vec<_>>(),
    )?;
    say("tokens of an answer", &mut lengths.clone())?;
    let told = |name: &str, seconds: f64| {
        let rate = prompts.len() as f64 / seconds;
        let times = seconds / base;
        common::print(format_args!(
            "{name:<56} {seconds:>7.2} s {rate:>7.1} notes/s {times:>6.2}"
        ))
    };
    told("generate_many: slots are filled again", base)?;

    if !arguments.without_alone {
        let start = Instant::now();
        let mut answers = Vec::new();
        for prompt in &prompts {
            answers.extend(ask(&[prompt], &end, &options)?);
        }
        told("one after another", start.elapsed().as_secs_f64())?;
        let pairs = many.iter().zip(&answers);
        let same = pairs.filter(|(a, b)| a.ids == b.ids).count();
        common::print(format_args!(
            "{same} of {} answers are the same tokens",
            many.len()
        ))?;
    }
    if !arguments.without_batches {
        let start = Instant::now();
        for rows in prompts.chunks(arguments.slots) {
            ask(rows, &end, &options)?;
        }
        told(
            "batches without padding, finished rows leave",
            start.elapsed().as_secs_f64(),
        )?;

        // As a padded batch costs it: every prompt is as long as the longest of its batch, and every row is computed
        // until the longest answer ends.
        let start = Instant::now();
        let lengths = lengths.chunks(arguments.slots);
        for (rows, lengths) in prompts.chunks(arguments.slots).zip(lengths) {
            let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
            let filled: Vec<Vec<u32>> = rows
                .iter()
                .map(|row| [&vec![row[0]; longest - row.len()], *row].concat())
                .collect();
            let filled: Vec<&[u32]> = filled.iter().map(Vec::as_slice).collect();
            let most = lengths.iter().copied().max().unwrap_or(1);
            let options = options.clone().with_max_new_tokens(most);
            ask(&filled, &EndTokens::none(), &options)?;
        }
        told(
            "padded batches, all rows to the end of the longest",
            start.elapsed().as_secs_f64(),
        )?;
    }
    Ok(())
}

/// Eight questions about each of some notes: each by itself, in a session, and in a session at once.
fn sessions(model: &Arc<Asclepius>, arguments: &Arguments) -> Result<()> {
    let cases: Vec<_> = Generator::held_out(13).take(arguments.sessions).collect();
    let options = AnswerOptions::new()
        .with_prompt(PromptStyle::Published(Template::Inference))
        .with_max_new_tokens(arguments.new_tokens);
    let generation = Generation::greedy()
        .with_max_new_tokens(arguments.new_tokens)
        .with_log_probs(true);
    let end = EndTokens::new(model.end_ids().iter().copied());
    let mut seconds = [0.0; 4];
    let (mut questions, mut prefix, mut read, mut reused) = (0, 0, 0, 0);
    for case in &cases {
        let asked: Vec<&str> = case
            .pairs
            .iter()
            .map(|pair| pair.question.as_str())
            .collect();
        questions += asked.len();
        let start = Instant::now();
        for question in &asked {
            let text = Template::Inference.render(&case.note, question, &Default::default())?;
            let prompt = model.tokenizer().encode(&text, true)?.into_ids();
            generate(model.model(), &[&prompt], &end, &generation, |_| {
                ControlFlow::Continue(())
            })?;
        }
        seconds[0] += start.elapsed().as_secs_f64();
        let start = Instant::now();
        for question in &asked {
            let answer = model.answer_with(&case.note, question, &options)?;
            prefix += answer.usage.reused_tokens;
        }
        seconds[1] += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let mut session = model.session(&case.note, &options)?;
        for question in &asked {
            let usage = session.ask(question)?.usage;
            read += usage.prompt_tokens;
            reused += usage.reused_tokens;
        }
        seconds[2] += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let mut session = model.session(&case.note, &options)?;
        for answer in session.ask_batch(&asked) {
            answer?;
        }
        seconds[3] += start.elapsed().as_secs_f64();
    }
    common::print(format_args!(
        "{questions} questions about {} notes; of {read} prompt tokens {prefix} are of the shared prefix, and {reused} \
         are not read again in a session",
        cases.len()
    ))?;
    for (name, time) in [
        "each by itself, from its first token",
        "each by itself, after the prefix of the prompt",
        "in a session",
        "in a session, side by side",
    ]
    .iter()
    .zip(seconds)
    {
        common::print(format_args!(
            "{name:<56} {time:>7.2} s {:>25.2}x",
            seconds[0] / time
        ))?;
    }
    Ok(())
}

/// Prints the quartiles.
fn say(name: &str, numbers: &mut [usize]) -> std::io::Result<()> {
    numbers.sort_unstable();
    let at = |share: usize| numbers[(numbers.len() - 1) * share / 4];
    common::print(format_args!(
        "{name:<28} least {} quarter {} half {} three quarters {} most {}",
        at(0),
        at(1),
        at(2),
        at(3),
        at(4)
    ))
}
