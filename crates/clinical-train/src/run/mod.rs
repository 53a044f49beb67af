//! A run: a recipe and a folder, in which it can be taken up again.

mod checkpoint;
mod curve;
mod evaluation;
mod learner;
mod lora;
mod metrics;
mod parameters;
mod plan;
mod progress;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::module::Module;
use clinical_files::write_file;

use crate::{Error, Every, Recipe, Result, Trainable, TrainingSet, Weights};
use checkpoint::{State, Store};
pub use evaluation::{Better, Development};
use learner::Learner;
use metrics::Metrics;
use plan::Plan;
pub use progress::{EvaluationReport, Progress, StepReport};

const RECIPE: &str = "recipe.toml";

/// A recipe that is about to be followed.
#[derive(Debug, Clone)]
pub struct FineTune {
    recipe: Recipe,
}

impl FineTune {
    /// Follows this recipe.
    #[must_use]
    pub fn new(recipe: Recipe) -> Self {
        Self { recipe }
    }

    /// Begins a run in a folder, which is made, or takes up the one that is in it.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`]; [`Error::OtherRecipe`] for a folder with a run of another recipe; [`Error::InUse`] while another
    /// process trains in it; [`Error::File`].
    pub fn resume_or_start(self, dir: impl AsRef<Path>) -> Result<Run> {
        let dir = dir.as_ref();
        let text = self.recipe.to_toml()?;
        fs::create_dir_all(dir).map_err(Error::written(dir))?;
        let lock = locked(dir)?;
        let path = dir.join(RECIPE);
        if path.exists() {
            let there = Recipe::open(&path)?;
            if let Some((key, wanted, found)) = self.recipe.difference(&there) {
                return Err(Error::OtherRecipe {
                    path: dir.to_owned(),
                    key,
                    found,
                    wanted,
                });
            }
        } else {
            write_file(&path, text.as_bytes())?;
        }
        Ok(Run {
            recipe: self.recipe,
            dir: dir.to_owned(),
            _lock: lock,
        })
    }
}

/// The lock goes with the process, however it ends.
fn locked(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(Error::written(&path))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::InUse {
            path: dir.to_owned(),
        }),
        // Some network file systems have no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// A run in its folder:
///
/// | file | what it is |
/// |---|---|
/// | `recipe.toml` | the recipe with all settings |
/// | `metrics.jsonl` | a line for each step ([`StepReport`]) and each evaluation ([`EvaluationReport`]) |
/// | `loss.svg`, `loss.png` | the losses over the steps |
/// | `checkpoints/step-*` | trained weights, the state of the optimizer, and where the run is |
///
/// A checkpoint appears when it is complete. Everything that is drawn follows from the seed and the number of the step,
/// so a run that was stopped at any moment ends with the same weights, bit for bit, as one that was left alone, on the
/// same kernels and with as many threads.
#[derive(Debug)]
pub struct Run {
    recipe: Recipe,
    dir: PathBuf,
    _lock: File,
}

impl Run {
    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The recipe.
    #[must_use]
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Trains a facade's model to the end of the recipe, from the last checkpoint if there is one, and gives the facade
    /// with the trained weights; with `[lora]` the weights are as they were and an adapter is beside them
    /// (`save_adapter`, `merge_adapter`).
    ///
    /// A run that has come to its end gives its result again. So does one that `progress` broke off, with the weights of
    /// the last step; it can be taken up.
    ///
    /// # Errors
    ///
    /// [`Error`]; what was saved stays as it is.
    pub fn train<F: Trainable>(
        &self,
        facade: F,
        training: &dyn TrainingSet<Model = F::Model>,
        development: &Development<'_, F>,
        progress: &mut dyn Progress,
    ) -> Result<F> {
        let mut plan = Plan::new(&self.recipe, training)?;
        let store = Store::new(&self.dir);
        let data = training.checksum();
        let (model, mut rest) = facade.into_parts().take_model();
        let model = lora::prepare(model, self.recipe.lora.as_ref(), self.recipe.seed)?;
        let learner = Learner::new(model, &self.recipe, plan.steps())?;
        let (mut learner, mut state) = match store.last()? {
            None => (learner.begun(), State::new(data)),
            Some(state) => {
                store.check_data(&state, data)?;
                let kernels = checkpoint::kernels();
                if state.kernels != kernels {
                    progress.remark(&format!(
                        "the run began with {} kernels and goes on with {kernels}: its weights will differ in the last \
                         bits",
                        state.kernels
                    ));
                }
                (learner.restored(&store, &state)?, state)
            }
        };
        let mut metrics = Metrics::open(&self.dir, state.step)?;
        progress.begin(state.step, plan.steps());
        while !state.finished {
            let Some(batches) = plan.next(&mut state) else {
                // A recipe without a step to make.
                break;
            };
            let report;
            (learner, report) = learner.step::<F>(training, &batches, &mut state, &rest.config)?;
            metrics.write(&report)?;
            let broken = progress.step(&report) == ControlFlow::Break(());
            let is_last = state.step == plan.steps();
            let due = is_last
                || match self.recipe.evaluate {
                    Every::Steps(steps) => state.step.is_multiple_of(steps),
                    Every::Epoch => plan.is_end_of_epoch(&state),
                };
            if due {
                if !development.is_empty() {
                    let report;
                    (rest, report) = development.evaluate(&learner.model, rest, &mut state)?;
                    metrics.write(&report)?;
                    progress.evaluation(&report);
                }
                let patience = self.recipe.patience;
                state.finished =
                    is_last || patience.is_some_and(|patience| state.waited >= patience);
            }
            if due || broken {
                store.save(&state, &learner.model, &learner.optimizer)?;
                let best = state.best.map(|best| best.step);
                store.prune(self.recipe.keep, best.as_slice())?;
                progress.checkpoint(&store.path(state.step));
            }
            if broken {
                break;
            }
        }
        curve::write(&self.dir)?;
        let best = state.best.filter(|best| {
            state.finished && self.recipe.weights == Weights::Best && best.step != state.step
        });
        let mut model = learner.into_model::<F>(&rest.config);
        if let Some(best) = best {
            model = store.model(&store.at(best.step)?, model)?;
        }
        F::from_parts(rest.with_model(model.valid()))
    }
}
