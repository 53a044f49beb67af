//! One optimizer step.

use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use clinical_nn::{Dropout, Linears, set_adapter_dropout_seed};

use super::checkpoint::{State, Store};
use super::parameters;
use super::progress::StepReport;
use crate::clip::scaled;
use crate::{
    Error, Recipe, Result, Schedule, Trainable, TrainingSet, clip_by_global_norm, global_norm,
};

/// A model and what changes it.
pub(super) struct Learner<M> {
    pub(super) model: M,
    pub(super) optimizer: ModuleOptimizer,
    schedule: Schedule,
    rate: f64,
    steps: u64,
    clip: Option<f64>,
    dropout: Option<f64>,
    recompute: bool,
    seed: u64,
}

impl<M: Module + Linears> Learner<M> {
    /// `model` stands on a device without autodiff, and is trained where it requires gradients.
    pub(super) fn new(model: M, recipe: &Recipe, steps: u64) -> Result<Self> {
        Ok(Self {
            model: model.train(),
            optimizer: recipe.optimizer.build()?,
            schedule: recipe.schedule,
            rate: recipe.rate,
            steps,
            clip: recipe.clip,
            dropout: recipe.dropout,
            recompute: recipe.recompute,
            seed: recipe.seed,
        })
    }

    /// As a run begins; [`restored`](Self::restored) is how it goes on.
    pub(super) fn begun(self) -> Self {
        Self {
            model: parameters::settled(self.model),
            ..self
        }
    }

    pub(super) fn restored(self, store: &Store, state: &State) -> Result<Self> {
        Ok(Self {
            model: store.model(state, self.model)?,
            optimizer: store.optimizer(state, self.optimizer)?,
            ..self
        })
    }

    /// The model, which drops nothing any more.
    pub(super) fn into_model<F: Trainable<Model = M>>(mut self, config: &F::Config) -> M {
        F::set_dropout(&mut self.model, config, None, None);
        F::set_recompute(&mut self.model, false);
        set_adapter_dropout_seed(&mut self.model, None);
        self.model
    }

    /// A step with the mean gradient over all targets of `batches`.
    pub(super) fn step<F: Trainable<Model = M>>(
        mut self,
        set: &dyn TrainingSet<Model = M>,
        batches: &[Vec<usize>],
        state: &mut State,
        config: &F::Config,
    ) -> Result<(Self, StepReport)> {
        let began = Instant::now();
        let step = state.step + 1;
        F::set_recompute(&mut self.model, self.recompute);
        let mut sum = GradientsAccumulator::new();
        let (mut loss, mut targets, mut tokens) = (0.0, 0usize, 0usize);
        for (number, batch) in batches.iter().enumerate() {
            let seed = Dropout::seed_of(&[self.seed, step, number as u64]);
            F::set_dropout(&mut self.model, config, self.dropout, Some(seed));
            set_adapter_dropout_seed(&mut self.model, seed);
            let found = set.loss(&self.model, batch, state.epoch)?;
            let value = f64::from(found.mean.clone().into_scalar::<f32>());
            check("the loss", value, step)?;
            loss += value * found.targets as f64;
            targets += found.targets;
            tokens += batch.iter().map(|&row| set.tokens(row)).sum::<usize>();
            // Batches weigh by their targets; a single one is the mean already.
            let mean = match batches.len() {
                1 => found.mean,
                _ => found.mean.mul_scalar(found.targets as f64),
            };
            let gradients = GradientsParams::from_grads(mean.backward(), &self.model);
            sum.accumulate(&self.model, gradients);
        }
        let mut gradients = sum.grads();
        if batches.len() > 1 {
            gradients = scaled(gradients, &self.model, 1.0 / targets as f32);
        }
        let norm;
        (gradients, norm) = match self.clip {
            Some(most) => clip_by_global_norm(gradients, &self.model, most),
            None => {
                let norm = global_norm(&gradients, &self.model);
                (gradients, norm)
            }
        };
        check("the norm of the gradient", norm, step)?;
        // Schedules count the steps that were made.
        let rate = self
            .schedule
            .rate(self.rate, state.step as usize, self.steps as usize);
        self.model = self.optimizer.step(rate, self.model, gradients);
        state.step = step;
        state.position += 1;
        state.tokens += tokens as u64;
        state.targets += targets as u64;
        let report = StepReport {
            step,
            steps: self.steps,
            epoch: state.epoch,
            loss: loss / targets as f64,
            gradient_norm: norm,
            rate,
            tokens: tokens as u64,
            targets: targets as u64,
            tokens_per_second: tokens as f64 / began.elapsed().as_secs_f64().max(1e-9),
        };
        Ok((self, report))
    }
}

fn check(what: &'static str, value: f64, step: u64) -> Result<()> {
    match value.is_finite() {
        true => Ok(()),
        false => Err(Error::NotFinite { what, value, step }),
    }
}
