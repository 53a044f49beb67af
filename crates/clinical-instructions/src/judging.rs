//! Scores of answers by a judge, as Asclepius was evaluated (`eval/gpt4_evaluate.py`).

use std::fmt::Write as _;
use std::path::Path;

use clinical_prompts::MarkerPolicy;
use clinical_prompts::asclepius::judge;
use clinical_tasks::metrics::{KappaWeights, Scale, cohen_kappa, krippendorff_alpha};
use serde::{Deserialize, Serialize};

use crate::draw::Draw;
use crate::lines::{Run, lines};
use crate::writer::{Ask, Cause, Writer};
use crate::{Error, Result};

/// Answers of several models to one question about a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToJudge {
    /// What it is called in the output.
    pub id: String,
    /// The note.
    pub note: String,
    /// The question.
    pub question: String,
    /// One answer of each model, in the order of the models.
    pub answers: Vec<String>,
}

/// The scores of one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// Of the item.
    pub id: String,
    /// The order in which the answers were shown: `order[0]` is the model that was Agent A.
    pub order: Vec<usize>,
    /// From 1 (unacceptable) to 4 (excellent), one a model; `None` where there are none.
    pub scores: Option<Vec<u8>>,
    /// Why there are no scores.
    pub missing: Option<Missing>,
}

/// Why an item has no scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Missing {
    /// A text holds a marker of the prompt, or the question is empty.
    Prompt,
    /// The prompt is longer than what the judge reads.
    TooLong,
    /// The judge gave fewer words than there are models. The published script writes 0 for each then.
    Refused,
    /// One of the words is no score. The published script keeps any word.
    NotAScore,
}

/// Asks a judge for the scores of the models' answers, in a random order that the seed fixes, so that no model profits
/// from its place.
///
/// The output has one line of JSON an item, without any text of it. A run that is stopped is gone on with by the same
/// call.
///
/// ```
/// use std::convert::Infallible;
/// use clinical_instructions::{Ask, Judging, ToJudge, named};
///
/// # let folder = tempfile::tempdir()?;
/// let items = [ToJudge {
///     id: "7".into(),
///     note: "Discharge Diagnosis: pneumonia".into(),
///     question: "What is the diagnosis?".into(),
///     answers: vec!["Pneumonia.".into(), "Unknown.".into()],
/// }];
/// // A judge that likes an answer that names the disease.
/// let mut model = named("toy", |prompt: &str, _: &Ask| {
///     let first = prompt.split("[Agent A's Answer Begin]\n").nth(1).unwrap_or_default();
///     Ok(Some(if first.starts_with("Pneumonia") { "4 1" } else { "1 4" }.to_owned()))
/// });
/// let judging = Judging::new(["ours", "theirs"]);
/// let found = judging.run(items.map(Ok::<_, Infallible>), folder.path().join("scores.jsonl"), &mut model, |_| ())?;
/// assert_eq!(found[0].scores, Some(vec![4, 1]));
/// let report = judging.report(&found)?;
/// assert_eq!(report.models[0].mean, Some(4.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Judging {
    models: Vec<String>,
    seed: u64,
    max_tokens: usize,
    markers: MarkerPolicy,
}

/// The most models of one prompt: agents are letters.
const MODELS: usize = 26;

impl Judging {
    /// Of the answers of these models; temperature 0 and at most 2,048 tokens, as published.
    pub fn new<S: Into<String>>(models: impl IntoIterator<Item = S>) -> Self {
        Self {
            models: models.into_iter().map(Into::into).collect(),
            seed: 0,
            max_tokens: 2048,
            markers: MarkerPolicy::Error,
        }
    }

    /// Of the orders in which answers are shown. Default: 0.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The most tokens of a reply. Default: 2,048.
    #[must_use]
    pub fn with_max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = tokens;
        self
    }

    /// What happens to a marker of the prompt in a text. Default: the item has no scores.
    #[must_use]
    pub fn with_markers(mut self, policy: MarkerPolicy) -> Self {
        self.markers = policy;
        self
    }

    /// How a judge is asked about item `index`.
    #[must_use]
    pub fn ask(&self, index: usize) -> Ask {
        Ask {
            max_tokens: self.max_tokens,
            temperature: 0.0,
            seed: self.seed.wrapping_add(index as u64),
        }
    }

    /// The judgements of all items, in their order; see [`Judging`]. `progress` gets the number of those that are done.
    ///
    /// # Errors
    ///
    /// [`Error::ModelCount`], [`Error::AnswerCount`], [`Error::Input`], [`Error::Writer`], [`Error::OtherInput`],
    /// [`Error::Files`]; all that was done is kept.
    pub fn run<E: Into<Cause>>(
        &self,
        items: impl IntoIterator<Item = Result<ToJudge, E>>,
        output: impl AsRef<Path>,
        judge: &mut impl Writer,
        mut progress: impl FnMut(usize),
    ) -> Result<Vec<Judgement>> {
        if !(1..=MODELS).contains(&self.models.len()) {
            return Err(Error::ModelCount {
                found: self.models.len(),
            });
        }
        let identity = format!("judgements by {}, {self:?}", judge.name());
        let (mut run, mut done) = Run::open::<Judgement>(output.as_ref(), &identity)?;
        let mut new = Vec::new();
        let mut rest = run.rest(items.into_iter(), |index, item: &ToJudge| {
            let (found, models) = (item.answers.len(), self.models.len());
            if found != models {
                let row = index + 1;
                return Err(Error::AnswerCount { row, found, models });
            }
            Ok(done
                .get(index)
                .is_none_or(|one: &Judgement| one.id == item.id))
        });
        while let Some((index, item)) = rest.next()? {
            let judgement = self.judge(index, item, judge)?;
            run.add(index + 1, &judgement)?;
            new.push(judgement);
            progress(done.len() + new.len());
        }
        run.finish()?;
        done.extend(new);
        Ok(done)
    }

    fn judge(&self, index: usize, item: ToJudge, model: &mut impl Writer) -> Result<Judgement> {
        let order = Draw::new(self.seed, index).order(self.models.len());
        let options = clinical_prompts::Options::new().with_markers(self.markers);
        let answers: Vec<&str> = item.answers.iter().map(String::as_str).collect();
        let prompt = judge::prompt(&item.note, &item.question, &answers, &order, &options);
        let found = match prompt {
            Err(_) => Err(Missing::Prompt),
            Ok(prompt) => {
                let reply = model.write(&prompt, &self.ask(index));
                let reply = reply.map_err(|cause| Error::Writer {
                    row: index + 1,
                    cause,
                })?;
                let reply = reply.as_deref().map(str::trim);
                // As published, the scores stand on the first line.
                let line = reply.map(|reply| reply.lines().next().unwrap_or_default());
                match line.map(|line| judge::scores(line, &order)) {
                    None => Err(Missing::TooLong),
                    Some(Ok(scores)) if scores.contains(&0) => Err(Missing::Refused),
                    Some(Ok(scores)) => Ok(scores),
                    Some(Err(_)) => Err(Missing::NotAScore),
                }
            }
        };
        Ok(Judgement {
            id: item.id,
            order,
            missing: found.as_ref().err().copied(),
            scores: found.ok(),
        })
    }

    /// What the judgements say of the models.
    ///
    /// # Errors
    ///
    /// [`Error::AnswerCount`] for judgements of another number of models.
    pub fn report(&self, judgements: &[Judgement]) -> Result<JudgeReport> {
        let models = self.models.len();
        let mut of: Vec<[usize; 4]> = vec![[0; 4]; models];
        let mut pairs = Vec::new();
        for (row, judgement) in judgements.iter().enumerate() {
            let Some(scores) = &judgement.scores else {
                continue;
            };
            let (row, found) = (row + 1, scores.len());
            if found != models {
                return Err(Error::AnswerCount { row, found, models });
            }
            for (counts, score) in of.iter_mut().zip(scores) {
                let place = usize::from(*score).wrapping_sub(1);
                *counts.get_mut(place).ok_or(Error::NotTheSame)? += 1;
            }
        }
        let scores = || judgements.iter().filter_map(|one| one.scores.as_ref());
        for first in 0..models {
            for second in first + 1..models {
                let mut pair = PairResult {
                    first: self.models[first].clone(),
                    second: self.models[second].clone(),
                    wins: 0,
                    ties: 0,
                    losses: 0,
                };
                for scores in scores() {
                    match scores[first].cmp(&scores[second]) {
                        std::cmp::Ordering::Greater => pair.wins += 1,
                        std::cmp::Ordering::Equal => pair.ties += 1,
                        std::cmp::Ordering::Less => pair.losses += 1,
                    }
                }
                pairs.push(pair);
            }
        }
        let missing = |kind| {
            let of_kind = judgements.iter().filter(|one| one.missing == Some(kind));
            of_kind.count()
        };
        Ok(JudgeReport {
            items: judgements.len(),
            refused: missing(Missing::Refused),
            not_a_score: missing(Missing::NotAScore),
            no_prompt: missing(Missing::Prompt) + missing(Missing::TooLong),
            models: self
                .models
                .iter()
                .zip(of)
                .map(|(name, counts)| ModelResult::new(name, counts))
                .collect(),
            pairs,
        })
    }
}

/// What a judge said of several models.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JudgeReport {
    /// Items, those without scores included.
    pub items: usize,
    /// Items for which the judge gave too few scores.
    pub refused: usize,
    /// Items for which the judge wrote something else than scores.
    pub not_a_score: usize,
    /// Items whose texts no prompt may hold, or whose prompt is too long.
    pub no_prompt: usize,
    /// Of each model.
    pub models: Vec<ModelResult>,
    /// Of each two models, item by item.
    pub pairs: Vec<PairResult>,
}

/// The scores of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelResult {
    /// The model.
    pub name: String,
    /// How often it got 1, 2, 3 and 4.
    pub counts: [usize; 4],
    /// The mean score; `None` without one. Items without scores do not count, where the published script counts 0.
    pub mean: Option<f64>,
}

impl ModelResult {
    fn new(name: &str, counts: [usize; 4]) -> Self {
        let all: usize = counts.iter().sum();
        let sum: usize = counts.iter().enumerate().map(|(at, n)| (at + 1) * n).sum();
        Self {
            name: name.to_owned(),
            counts,
            mean: (all > 0).then(|| sum as f64 / all as f64),
        }
    }
}

/// How often one model was scored higher than another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PairResult {
    /// One model.
    pub first: String,
    /// The other.
    pub second: String,
    /// Items on which the first has the higher score.
    pub wins: usize,
    /// Items with equal scores.
    pub ties: usize,
    /// Items on which the second has the higher score.
    pub losses: usize,
}

impl JudgeReport {
    /// The report as Markdown, without any text of an item.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = format!(
            "{} items; the judge refused {}, wrote no score for {}, and could not be asked about {}.\n\n\
             | model | mean | 1 | 2 | 3 | 4 |\n|---|---|---|---|---|---|\n",
            self.items, self.refused, self.not_a_score, self.no_prompt
        );
        let cell = |name: &str| clinical_files::shown(name).replace('|', "\\|");
        for model in &self.models {
            let mean = model
                .mean
                .map_or("none".to_owned(), |mean| format!("{mean:.2}"));
            let [one, two, three, four] = model.counts;
            let name = cell(&model.name);
            let _ = writeln!(
                text,
                "| {name} | {mean} | {one} | {two} | {three} | {four} |"
            );
        }
        if !self.pairs.is_empty() {
            text.push_str("\n| first | second | wins | ties | losses |\n|---|---|---|---|---|\n");
        }
        for pair in &self.pairs {
            let (first, second) = (cell(&pair.first), cell(&pair.second));
            let (wins, ties, losses) = (pair.wins, pair.ties, pair.losses);
            let _ = writeln!(text, "| {first} | {second} | {wins} | {ties} | {losses} |");
        }
        text
    }
}

/// How far two judges of the same answers agree, over all items and models that both scored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Agreement {
    /// Scores that both gave.
    pub scores: usize,
    /// The part of them that are equal.
    pub equal: f64,
    /// Cohen's kappa with quadratic weights; `None` where chance alone agrees fully.
    pub kappa: Option<f64>,
    /// Krippendorff's alpha for ordered values; `None` where all scores are one.
    pub alpha: Option<f64>,
}

/// Compares two judges.
///
/// # Errors
///
/// [`Error::NotTheSame`] for other items or models, [`Error::Metrics`] if they have no scored item in common.
pub fn agreement(first: &[Judgement], second: &[Judgement]) -> Result<Agreement> {
    if first.len() != second.len() || first.iter().zip(second).any(|(a, b)| a.id != b.id) {
        return Err(Error::NotTheSame);
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (a, b) in first.iter().zip(second) {
        if let (Some(a), Some(b)) = (&a.scores, &b.scores) {
            if a.len() != b.len() {
                return Err(Error::NotTheSame);
            }
            ours.extend(a.iter().map(|&score| usize::from(score)));
            theirs.extend(b.iter().map(|&score| usize::from(score)));
        }
    }
    // Category 0 is never given.
    let kappa = cohen_kappa(&ours, &theirs, 5, KappaWeights::Quadratic)?;
    let ratings = |scores: &[usize]| scores.iter().map(|&one| Some(one as f64)).collect();
    let (a, b): (Vec<_>, Vec<_>) = (ratings(&ours), ratings(&theirs));
    let alpha = krippendorff_alpha(&[&a, &b], Scale::Ordinal)?;
    let equal = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
    Ok(Agreement {
        scores: ours.len(),
        equal: equal as f64 / ours.len() as f64,
        kappa,
        alpha,
    })
}

/// Reads the output of [`Judging::run`].
///
/// # Errors
///
/// [`Error::Files`], [`Error::Line`].
pub fn read_judgements(path: impl AsRef<Path>) -> Result<Vec<Judgement>> {
    let path = path.as_ref();
    lines(path, &clinical_files::read_file(path, 1 << 30)?)
}
