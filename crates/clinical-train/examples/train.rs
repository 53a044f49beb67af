//! Trains a model by a recipe, and saves it.
//!
//! `cargo run --release -p clinical-train --example train -- --recipe t5-pairs --model DIR --train pairs.jsonl
//! --development dev.jsonl --run RUN --out OUT` begins a run in the folder RUN, or goes on with the one that is there,
//! and writes the trained model to OUT. `--preview 3` prints three examples as the model reads them, with what carries
//! loss, and trains nothing. `--print-recipe` prints the recipe, to be changed and given as a file. `--recipe
//! t5-tokenizer --train notes.jsonl --out OUT` trains a tokenizer.

#[path = "../../../examples/common/mod.rs"]
mod common;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use asclepius::Asclepius;
use clap::Parser;
use clinical_bert::{BertOptions, ClinicalBert, LoadOptions, Precision, TaskHead, device};
use clinical_t5::{ClinicalT5, T5Options};
use clinical_train::{
    AnswerSet, Better, ClassSet, Development, EvaluationReport, FineTune, InstructionExample,
    InstructionSet, LabelledText, LabelledWords, MaskedSet, NoteSet, NoteText, PairSet, Progress,
    QuestionExample, Recipe, SpanSet, StepReport, TagSet, Task, TextPair, TokenizerRecipe,
    Trainable, TrainingSet, metric, read_examples,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;

/// Train a model by a recipe.
#[derive(Parser)]
struct Args {
    /// The recipe: a TOML file, or t5-spans, t5-spans-nanot5, t5-pairs, llama-notes, llama-instructions, bert-masked,
    /// bert-classes, bert-tags, bert-answers; for a tokenizer (--train and --out) t5-tokenizer, bert-tokenizer
    #[arg(long)]
    recipe: String,
    /// Print the recipe and end
    #[arg(long)]
    print_recipe: bool,
    /// The model's directory; not for a tokenizer
    #[arg(long)]
    model: Option<PathBuf>,
    /// The training examples: one JSON object a line
    #[arg(long, required_unless_present = "print_recipe")]
    train: Option<PathBuf>,
    /// The development examples, by which the best weights are found
    #[arg(long)]
    development: Option<PathBuf>,
    /// Print so many training examples as the model reads them, and end
    #[arg(long)]
    preview: Option<usize>,
    /// The folder of the run
    #[arg(long)]
    run: Option<PathBuf>,
    /// Where the trained model goes; with [lora] in the recipe only the adapter
    #[arg(long, required_unless_present_any = ["print_recipe", "preview"])]
    out: Option<PathBuf>,
    /// The weights in memory: f32; for an adapter also int8, int4, stored-f16 or stored-bf16
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Where to run: cpu, ndarray, cuda, cuda:N or ws://HOST:PORT/N
    #[arg(long, default_value = "cpu")]
    device: String,
}

fn main() -> ExitCode {
    common::exit(start(&Args::parse()))
}

fn start(args: &Args) -> Result<()> {
    let name = args.recipe.as_str();
    let published = Recipe::published(name).or_else(|| TokenizerRecipe::published(name));
    if let (Some(text), true) = (published, args.print_recipe) {
        return Ok(common::print(text.trim_end())?);
    }
    if let Some(recipe) = tokenizer_recipe(name)? {
        return tokenizer(args, &recipe);
    }
    let recipe = match Recipe::published(name) {
        Some(text) => Recipe::from_toml(text)?,
        None => Recipe::open(name)?,
    };
    if args.print_recipe {
        return Ok(common::print(recipe.to_toml()?.trim_end())?);
    }
    device::keep_freed_memory();
    let task = recipe.task;
    let task = task.context("the recipe has no task: add `task = { kind = \"..\" }`")?;
    let (Some(model), Some(train)) = (&args.model, &args.train) else {
        bail!("--model and --train are missing");
    };
    if args.preview.is_none() && args.run.is_none() {
        bail!("--run is missing: give the folder of the run");
    }
    let job = Job {
        args,
        recipe,
        model,
        train,
    };
    let seed = job.recipe.seed;
    match task {
        Task::Spans(settings) => job.run(t5(&job)?, |t5, path| {
            Ok(SpanSet::new(t5, texts(path)?, &settings, seed)?)
        }),
        Task::Pairs(settings) => job.run_by(t5(&job)?, exact_match, |t5, path| {
            let pairs = read_examples::<TextPair>(path)?;
            Ok(PairSet::new(t5, &pairs, &settings)?)
        }),
        Task::Notes(settings) => job.run(llama(&job)?, |asclepius, path| {
            Ok(NoteSet::new(asclepius, texts(path)?, &settings)?)
        }),
        Task::Instructions(settings) => job.run(llama(&job)?, |asclepius, path| {
            let examples = read_examples::<InstructionExample>(path)?;
            Ok(InstructionSet::new(asclepius, &examples, &settings)?)
        }),
        Task::Masked(settings) => {
            let options = BertOptions::new().with_head(TaskHead::MaskedLanguage);
            job.run(bert(&job, &options)?, |bert, path| {
                Ok(MaskedSet::of_notes(bert, texts(path)?, &settings, seed)?)
            })
        }
        Task::Classes(settings) => {
            let labels = job.labels(|text: LabelledText| text.labels)?;
            let options = BertOptions::new().with_new_head(TaskHead::Sequence);
            let bert = bert(&job, &options.with_labels(labels))?;
            let metric = if settings.several {
                no_metric
            } else {
                accuracy
            };
            job.run_by(bert, metric, |bert, path| {
                let texts = read_examples::<LabelledText>(path)?;
                Ok(match settings.several {
                    true => ClassSet::several(bert, &texts, settings.max_tokens)?,
                    false => ClassSet::single(bert, &texts, settings.max_tokens)?,
                })
            })
        }
        Task::Tags(settings) => {
            let labels = job.labels(|words: LabelledWords| words.labels)?;
            let options = BertOptions::new().with_new_head(TaskHead::Token);
            job.run(bert(&job, &options.with_labels(labels))?, |bert, path| {
                let sentences = read_examples::<LabelledWords>(path)?;
                Ok(TagSet::new(bert, &sentences, settings.piece_labels())?)
            })
        }
        Task::Answers(settings) => {
            let options = BertOptions::new().with_new_head(TaskHead::Span);
            job.run(bert(&job, &options)?, |bert, path| {
                let questions = read_examples::<QuestionExample>(path)?;
                Ok(AnswerSet::new(bert, &questions, &settings.span_options())?)
            })
        }
        other => bail!("this program has no task `{other}`"),
    }
}

/// The recipe of this name or path, if it is for a tokenizer.
fn tokenizer_recipe(name: &str) -> Result<Option<TokenizerRecipe>> {
    if let Some(text) = TokenizerRecipe::published(name) {
        return Ok(Some(TokenizerRecipe::from_toml(text)?));
    }
    let is_one = Recipe::published(name).is_none()
        && std::fs::read_to_string(name).is_ok_and(|text| TokenizerRecipe::is_one(&text));
    Ok(is_one.then(|| TokenizerRecipe::open(name)).transpose()?)
}

/// A tokenizer from the texts of `--train`, saved with its recipe in `--out`.
fn tokenizer(args: &Args, recipe: &TokenizerRecipe) -> Result<()> {
    let written = recipe.to_toml()?;
    if args.print_recipe {
        return Ok(common::print(written.trim_end())?);
    }
    let (Some(train), Some(out)) = (&args.train, &args.out) else {
        bail!("--train and --out are missing");
    };
    let tokenizer = recipe.train(texts(train)?.iter())?;
    tokenizer.save(out)?;
    let path = out.join("recipe.toml");
    clinical_files::write_file(&path, written.as_bytes())?;
    let size = tokenizer.vocab_size();
    Ok(common::print(format_args!(
        "saved {size} tokens in {}",
        out.display()
    ))?)
}

fn t5(job: &Job<'_>) -> Result<ClinicalT5> {
    Ok(ClinicalT5::load(job.model, &job.load()?)?)
}

fn llama(job: &Job<'_>) -> Result<Asclepius> {
    Ok(Asclepius::load(job.model, &job.load()?)?)
}

fn bert(job: &Job<'_>, options: &BertOptions) -> Result<ClinicalBert> {
    Ok(ClinicalBert::load_with(job.model, &job.load()?, options)?)
}

/// The texts of a file of notes.
fn texts(path: &Path) -> Result<Vec<String>> {
    let notes = read_examples::<NoteText>(path)?.into_iter();
    Ok(notes.map(|note| note.text).collect())
}

/// The best weights are those with the lowest loss.
fn no_metric<'a, F: Trainable>(
    development: Development<'a, F>,
    _: &Path,
) -> Result<Development<'a, F>> {
    Ok(development)
}

fn exact_match<'a>(
    development: Development<'a, ClinicalT5>,
    path: &Path,
) -> Result<Development<'a, ClinicalT5>> {
    let pairs = read_examples::<TextPair>(path)?;
    Ok(
        development.with_metric("exact match", Better::Higher, move |t5| {
            Ok(metric::exact_match(t5, &pairs, &T5Options::default())?)
        }),
    )
}

fn accuracy<'a>(
    development: Development<'a, ClinicalBert>,
    path: &Path,
) -> Result<Development<'a, ClinicalBert>> {
    let texts = read_examples::<LabelledText>(path)?;
    Ok(
        development.with_metric("accuracy", Better::Higher, move |bert| {
            Ok(metric::accuracy(bert, &texts)?)
        }),
    )
}

struct Job<'a> {
    args: &'a Args,
    recipe: Recipe,
    model: &'a Path,
    train: &'a Path,
}

impl Job<'_> {
    fn load(&self) -> Result<LoadOptions> {
        let device = device::parse(&self.args.device)?;
        let options = LoadOptions::new().with_device(device);
        Ok(options.with_precision(self.args.precision))
    }

    /// The labels of the training examples, sorted.
    fn labels<T: DeserializeOwned>(&self, of: impl Fn(T) -> Vec<String>) -> Result<Vec<String>> {
        let examples = read_examples(self.train)?.into_iter();
        let mut labels: Vec<String> = examples.flat_map(of).collect();
        labels.sort_unstable();
        labels.dedup();
        Ok(labels)
    }

    fn run<F: Trainable, S: TrainingSet<Model = F::Model>>(
        &self,
        facade: F,
        set: impl Fn(&F, &Path) -> Result<S>,
    ) -> Result<()> {
        self.run_by(facade, no_metric, set)
    }

    fn run_by<F: Trainable, S: TrainingSet<Model = F::Model>>(
        &self,
        facade: F,
        metric: for<'a> fn(Development<'a, F>, &Path) -> Result<Development<'a, F>>,
        set: impl Fn(&F, &Path) -> Result<S>,
    ) -> Result<()> {
        let training = set(&facade, self.train)?;
        if let Some(count) = self.args.preview {
            for example in 0..count.min(training.len()) {
                common::print(format_args!("{}\n", training.preview(example, 0)?))?;
            }
            return Ok(());
        }
        let (Some(folder), Some(out)) = (&self.args.run, &self.args.out) else {
            bail!("--run and --out are missing");
        };
        let path = self.args.development.as_deref();
        let held_out = path.map(|path| set(&facade, path)).transpose()?;
        let development = match (&held_out, path) {
            (Some(set), Some(path)) => metric(Development::loss(set), path)?,
            _ => Development::none(),
        };
        let run = FineTune::new(self.recipe.clone()).resume_or_start(folder)?;
        let mut bar = Bar::new()?;
        let trained = run.train(facade, &training, &development, &mut bar)?;
        bar.0.finish_and_clear();
        trained.save_trained(out, self.recipe.lora.is_some())?;
        common::print(format_args!("saved {}", out.display()))?;
        Ok(())
    }
}

/// A bar with the loss, the norm of the gradient, the rate, tokens a second and the time left; and a line for each
/// evaluation.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Result<Self> {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {eta} left")?;
        Ok(Self(ProgressBar::new(0).with_style(style)))
    }
}

impl Progress for Bar {
    fn begin(&mut self, done: u64, steps: u64) {
        self.0.set_length(steps);
        self.0.set_position(done);
        self.0.reset_eta();
    }

    fn remark(&mut self, remark: &str) {
        self.0.println(remark);
    }

    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.0.set_position(report.step);
        self.0.set_message(format!(
            "loss {:.4}, gradient {:.3}, rate {:.2e}, {:.0} tokens/s",
            report.loss, report.gradient_norm, report.rate, report.tokens_per_second
        ));
        ControlFlow::Continue(())
    }

    fn evaluation(&mut self, report: &EvaluationReport) {
        let metric = report.metric.as_ref();
        let metric = metric.map(|(name, value)| format!(", {name} {value:.4}"));
        let loss = report.development_loss.unwrap_or(f64::NAN);
        let best = if report.best { ", the best so far" } else { "" };
        let line = format!(
            "step {}: development loss {loss:.4}{}{best}",
            report.step,
            metric.unwrap_or_default()
        );
        // `println` of the bar prints nothing where there is no terminal.
        let _ = self.0.suspend(|| common::print(line));
    }
}
