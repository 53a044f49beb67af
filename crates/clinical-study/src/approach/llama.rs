//! LLaMA and Mistral: classes by how likely their words are after a prompt, as they are or with an adapter.

use std::path::Path;

use asclepius::{Asclepius, LoadOptions};
use burn::module::Module;
use clinical_generate::{Score, score_candidates};
use clinical_prompts::asclepius::{inference, training};
use clinical_tasks::Portion;
use clinical_tasks::mednli::{Label, SentencePair};
use clinical_train::{
    InstructionExample, InstructionPrompt, InstructionSet, InstructionSettings, Recipe, Task,
};

use super::{Approach, Examples as Set, Predicted, no_method, other_recipe};
use crate::data::{Examples, TaskData};
use crate::error::about;
use crate::prediction::Found;
use crate::{Method, Result, SpecError, StudySpec, TaskKind};

/// A decoder that is asked.
pub(crate) struct LlamaApproach<'a> {
    dir: &'a Path,
    data: &'a TaskData,
    options: &'a LoadOptions,
    settings: InstructionSettings,
    prompt: Option<u8>,
}

/// The words of a published zero-shot prompt, in the order of [`Label::ALL`].
pub(super) fn words(number: u8) -> [&'static str; 3] {
    match number {
        0 => ["entailment", "neutral", "contradiction"],
        2 => ["true", "inconclusive", "false"],
        4 => ["always", "sometimes", "never"],
        7 => ["True", "Neither", "False"],
        1 | 3 => ["Yes", "maybe", "No"],
        _ => ["Yes", "It's impossible to say", "No"],
    }
}

/// What Asclepius is asked about the premise, which takes the place of the note.
fn instruction(pair: &SentencePair) -> String {
    let hypothesis = pair.hypothesis.trim();
    format!("Does the note entail, contradict or leave open this sentence: {hypothesis}")
}

impl<'a> LlamaApproach<'a> {
    pub(crate) fn new(
        spec: &'a StudySpec,
        recipe: Option<&Recipe>,
        data: &'a TaskData,
        options: &'a LoadOptions,
    ) -> Result<Self> {
        let kind = spec.task.kind;
        let method = spec.method.unwrap_or(Method::Scoring);
        if (kind, method) != (TaskKind::Mednli, Method::Scoring) {
            let known = "it scores the classes of MedNLI";
            return Err(no_method("LLaMA", kind, method, known));
        }
        let mut settings = InstructionSettings::default();
        settings.prompt = InstructionPrompt::Inference;
        if let Some(recipe) = recipe {
            if spec.prompt.is_some() {
                let (field, why) = ("prompt", "is for models that are not trained: leave it out");
                return Err(SpecError::Setting { field, why }.into());
            }
            match recipe.task {
                None => {}
                Some(Task::Instructions(given)) => settings = given,
                Some(_) => return Err(other_recipe(recipe, "instructions")),
            }
        }
        Ok(Self {
            dir: &spec.model,
            data,
            options,
            settings,
            prompt: spec.prompt,
        })
    }

    /// The prompt, the words of the classes after it, and the token that ends an answer, where it counts.
    fn asked(
        &self,
        asclepius: &Asclepius,
        pair: &SentencePair,
    ) -> Result<(String, [String; 3], Option<u32>)> {
        if let Some(number) = self.prompt {
            let prompt = pair.zero_shot(number, &self.data.options())?;
            return Ok((prompt, words(number).map(|word| format!(" {word}")), None));
        }
        // As `InstructionSet` makes its rows.
        let note = pair.premise.trim_matches('\n');
        let prompt = match self.settings.prompt {
            InstructionPrompt::Training => training(note, &instruction(pair)),
            InstructionPrompt::Inference => inference(note, &instruction(pair)),
        };
        let prompt = about(prompt, || {
            format!("pair {}", clinical_files::shown(&pair.id))
        })?;
        let names = Label::ALL.map(|label| label.name().to_owned());
        Ok((prompt, names, asclepius.end_ids().first().copied()))
    }

    /// The score of each class, and the tokens that were read. Words of a published prompt score by the mean
    /// log-probability of their tokens, since they differ in length; answers with their end by its sum.
    fn scores(
        &self,
        asclepius: &Asclepius,
        pair: &SentencePair,
        name: impl Fn() -> String,
    ) -> Result<(Vec<f64>, u64)> {
        let (prompt, words, end) = self.asked(asclepius, pair)?;
        let ids = |text: &str| about(asclepius.tokenizer().encode(text, true), &name);
        let start = ids(&prompt)?.into_ids();
        let mut whole = Vec::with_capacity(words.len());
        for word in &words {
            let mut ids = ids(&format!("{prompt}{word}"))?.into_ids();
            ids.extend(end);
            whole.push(ids);
        }
        // A tokenizer may join the end of the prompt and the start of a word.
        let alike = |ids: &Vec<u32>| {
            let pairs = ids.iter().zip(&start);
            pairs.take_while(|(a, b)| a == b).count()
        };
        let shared = whole.iter().map(alike).min().unwrap_or(0);
        let candidates: Vec<&[u32]> = whole.iter().map(|ids| &ids[shared..]).collect();
        let tokens = shared + candidates.iter().map(|ids| ids.len()).sum::<usize>();
        let scores = score_candidates(asclepius.model(), &start[..shared], &candidates);
        let scores = about(scores, &name)?;
        let value = |score: &Score| match end {
            Some(_) => score.total(),
            None => score.mean(),
        };
        Ok((scores.iter().map(value).collect(), tokens as u64))
    }
}

impl Approach for LlamaApproach<'_> {
    type Facade = Asclepius;

    fn load(&self, _: u64) -> Result<Asclepius> {
        let name = || self.dir.display().to_string();
        about(Asclepius::load(self.dir, self.options), name)
    }

    fn parameters(&self, asclepius: &Asclepius) -> u64 {
        asclepius.model().num_params() as u64
    }

    fn training(&self, asclepius: &Asclepius, chosen: &[usize]) -> Result<Set<Asclepius>> {
        let mut examples = Vec::new();
        if let Examples::MedNli(pairs) = &self.data.examples {
            for &index in chosen {
                let pair = &pairs.train[index];
                examples.push(InstructionExample {
                    note: pair.premise.clone(),
                    question: instruction(pair),
                    answer: pair.label.name().to_owned(),
                });
            }
        }
        Ok(Box::new(InstructionSet::new(
            asclepius,
            &examples,
            &self.settings,
        )?))
    }

    fn predict(
        &self,
        asclepius: &Asclepius,
        portion: Portion,
        chosen: &[usize],
    ) -> Result<Predicted> {
        let mut found = Predicted::default();
        let Examples::MedNli(pairs) = &self.data.examples else {
            return Ok(found);
        };
        for &index in chosen {
            let pair = &pairs.get(portion)[index];
            let name = || self.data.id(portion, index);
            let (scores, tokens) = self.scores(asclepius, pair, name)?;
            found.tokens += tokens;
            let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            let best = best.and_then(|(at, _)| Label::ALL.get(at));
            let prediction = Found::Class {
                truth: pair.label.name().to_owned(),
                predicted: best.map(|label| label.name().to_owned()),
                scores,
            };
            found.push(self.data, portion, index, prediction);
        }
        Ok(found)
    }
}
