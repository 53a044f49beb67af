//! From notes to instructions with answers, as Asclepius' data were made.

use std::path::Path;

use clinical_prompts::MarkerPolicy;
use clinical_prompts::asclepius::{Task, generation};
use serde::{Deserialize, Serialize};

use crate::draw::Draw;
use crate::lines::Run;
use crate::writer::{Ask, Cause, Writer};
use crate::{Error, Instruction, Result};

/// A note that instructions are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceNote {
    /// What it is called in the output: a patient, a `ROW_ID`.
    pub id: String,
    /// Its text, de-identification tags converted.
    pub text: String,
}

impl SourceNote {
    /// A note with an id.
    #[must_use]
    pub fn new(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            text: text.into(),
        }
    }
}

/// What became of a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The row; question or answer are empty where they were never written.
    #[serde(flatten)]
    pub instruction: Instruction,
    /// Why it is no instruction; `None` for one that is.
    pub dropped: Option<Dropped>,
}

/// Why a note gave no instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Dropped {
    /// The note is empty, or holds a marker of the prompts.
    Note,
    /// A prompt is longer than what the model reads.
    TooLong,
    /// The model wrote no question, or one that holds a marker of the prompts.
    Question,
    /// The model wrote no answer.
    Answer,
    /// The published filter: the model speaks about itself, or the answer asks back.
    Filter,
}

/// How far a run is, or what it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// Notes that are done.
    pub notes: usize,
    /// Those that gave an instruction.
    pub kept: usize,
    /// Those that were done by a run before this one.
    pub before: usize,
}

/// Makes one instruction and its answer for each note (`preprocessing/bootstraping.py` of `starmpcc/Asclepius` and what
/// follows it): a random task; a question bootstrapped from three of the task's five seed questions and up to two that
/// were made before; its answer; the published filter.
///
/// Tasks and examples are functions of the seed and the number of the note. The output has one line of JSON for each
/// note, the dropped ones too, with the reason; [`write_instructions`](crate::write_instructions) makes training data
/// of it. A run that is stopped is gone on with by the same call, after the last note that was done.
///
/// ```
/// use std::convert::Infallible;
/// use clinical_instructions::{Ask, Pipeline, SourceNote, named, read_made};
///
/// # let folder = tempfile::tempdir()?;
/// # let output = folder.path().join("made.jsonl");
/// // Any model; this one asks and answers the same thing each time.
/// let mut model = named("toy", |prompt: &str, _: &Ask| {
///     let answers = prompt.contains("[Instruction Begin]");
///     Ok(Some(if answers { "Pneumonia." } else { "What is the diagnosis?" }.to_owned()))
/// });
/// let notes = [SourceNote::new("7", "Discharge Diagnosis: pneumonia")].map(Ok::<_, Infallible>);
/// let done = Pipeline::new(1).run(notes, &output, &mut model, |_| ())?;
/// assert_eq!((done.notes, done.kept), (1, 1));
/// assert_eq!(read_made(&output)?[0].instruction.answer, "Pneumonia.");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pipeline {
    seed: u64,
    tasks: Vec<Task>,
    question_tokens: usize,
    answer_tokens: usize,
    temperature: f64,
    markers: MarkerPolicy,
}

/// Seed questions of a prompt.
const SEEDS: usize = 3;

/// At most so many questions of a prompt were made before.
const MADE: usize = 2;

impl Pipeline {
    /// The published settings: all eight tasks, temperature 1, at most 300 tokens of a question and 400 of an answer.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            tasks: Task::ALL.to_vec(),
            question_tokens: 300,
            answer_tokens: 400,
            temperature: 1.0,
            markers: MarkerPolicy::Error,
        }
    }

    /// The tasks that are drawn from; none means all of them.
    #[must_use]
    pub fn with_tasks(mut self, tasks: impl IntoIterator<Item = Task>) -> Self {
        self.tasks = tasks.into_iter().collect();
        if self.tasks.is_empty() {
            self.tasks = Task::ALL.to_vec();
        }
        self
    }

    /// The most tokens of a question. Default: 300.
    #[must_use]
    pub fn with_question_tokens(mut self, tokens: usize) -> Self {
        self.question_tokens = tokens;
        self
    }

    /// The most tokens of an answer. Default: 400.
    #[must_use]
    pub fn with_answer_tokens(mut self, tokens: usize) -> Self {
        self.answer_tokens = tokens;
        self
    }

    /// How freely the model writes. Default: 1.
    #[must_use]
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// What happens to a marker of the prompts inside a note. Default: the note is dropped.
    #[must_use]
    pub fn with_markers(mut self, policy: MarkerPolicy) -> Self {
        self.markers = policy;
        self
    }

    /// Makes the instructions; see [`Pipeline`].
    ///
    /// # Errors
    ///
    /// [`Error::Input`], [`Error::Writer`], [`Error::OtherInput`], [`Error::Files`]; all that was done is kept.
    pub fn run<E: Into<Cause>>(
        &self,
        notes: impl IntoIterator<Item = Result<SourceNote, E>>,
        output: impl AsRef<Path>,
        writer: &mut impl Writer,
        mut progress: impl FnMut(Progress),
    ) -> Result<Progress> {
        let identity = format!("instructions by {}, {self:?}", writer.name());
        let (mut run, done) = Run::open::<Made>(output.as_ref(), &identity)?;
        let mut questions = Questions::default();
        for made in &done {
            questions.add(made);
        }
        let mut state = Progress {
            notes: done.len(),
            kept: done.iter().filter(|made| made.dropped.is_none()).count(),
            before: done.len(),
        };
        let mut rest = run.rest(notes.into_iter(), |index, note: &SourceNote| {
            let same =
                |made: &Made| made.instruction.id == note.id && made.instruction.note == note.text;
            Ok(done.get(index).is_none_or(same))
        });
        while let Some((index, note)) = rest.next()? {
            let made = self.make(index, note, &questions, writer)?;
            questions.add(&made);
            run.add(index + 1, &made)?;
            state.notes += 1;
            state.kept += usize::from(made.dropped.is_none());
            progress(state);
        }
        run.finish()?;
        Ok(state)
    }

    fn make(
        &self,
        index: usize,
        note: SourceNote,
        questions: &Questions,
        writer: &mut impl Writer,
    ) -> Result<Made> {
        let mut draw = Draw::new(self.seed, index);
        let task = self.tasks[draw.below(self.tasks.len())];
        let mut instruction = Instruction {
            id: note.id,
            note: note.text,
            question: String::new(),
            answer: String::new(),
            task: task.name().to_owned(),
        };
        let reason = self.fill(index, &mut draw, task, &mut instruction, questions, writer)?;
        Ok(Made {
            instruction,
            dropped: reason,
        })
    }

    /// Writes the question and the answer; says why they are not to be used.
    fn fill(
        &self,
        index: usize,
        draw: &mut Draw,
        task: Task,
        row: &mut Instruction,
        questions: &Questions,
        writer: &mut impl Writer,
    ) -> Result<Option<Dropped>> {
        let options = clinical_prompts::Options::new().with_markers(self.markers);
        let seeds = task.seed_instructions();
        let examples = draw.some(seeds.len(), SEEDS).into_iter();
        let mut examples: Vec<&str> = examples.map(|at| seeds[at]).collect();
        examples.extend(questions.some(task, draw));
        if row.note.trim().is_empty() {
            return Ok(Some(Dropped::Note));
        }
        let Ok(prompt) = generation::instruction(task, &row.note, &examples, &options) else {
            return Ok(Some(Dropped::Note));
        };
        let ask = |max_tokens, seed| Ask {
            max_tokens,
            temperature: self.temperature,
            seed,
        };
        let failed = |cause| Error::Writer {
            row: index + 1,
            cause,
        };
        let question = writer
            .write(&prompt, &ask(self.question_tokens, draw.word()))
            .map_err(failed)?;
        let Some(question) = question else {
            return Ok(Some(Dropped::TooLong));
        };
        row.question = question.trim().to_owned();
        if row.question.is_empty() {
            return Ok(Some(Dropped::Question));
        }
        let Ok(prompt) = generation::answer(&row.note, &row.question, &options) else {
            return Ok(Some(Dropped::Question));
        };
        let answer = writer
            .write(&prompt, &ask(self.answer_tokens, draw.word()))
            .map_err(failed)?;
        let Some(answer) = answer else {
            return Ok(Some(Dropped::TooLong));
        };
        row.answer = answer.trim().to_owned();
        if row.answer.is_empty() {
            return Ok(Some(Dropped::Answer));
        }
        let keeps = generation::keeps(&row.note, &row.question, &row.answer);
        Ok((!keeps).then_some(Dropped::Filter))
    }
}

/// The questions that were made, by task.
#[derive(Default)]
struct Questions([Vec<String>; Task::ALL.len()]);

impl Questions {
    /// What was made of a note. Questions of dropped rows are no examples, and neither are those that a prompt would
    /// refuse.
    fn add(&mut self, made: &Made) {
        let question = &made.instruction.question;
        if let (None, Ok(task)) = (made.dropped, made.instruction.task.parse::<Task>())
            && generation::instruction(task, "", &[question], &Default::default()).is_ok()
        {
            self.0[task.index()].push(question.clone());
        }
    }

    fn some(&self, task: Task, draw: &mut Draw) -> Vec<&str> {
        let made = &self.0[task.index()];
        let chosen = draw.some(made.len(), MADE).into_iter();
        chosen.map(|at| made[at].as_str()).collect()
    }
}
