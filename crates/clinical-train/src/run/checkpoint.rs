//! What a run needs to go on as if it had not been stopped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::tensor::{DType, TensorData};
use clinical_files::{FolderRules, replace_directory, write_file};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::parameters::{self, Trained};
use crate::{Error, Result};

const PARAMETERS: &str = "parameters.safetensors";
const OPTIMIZER: &str = "optimizer.bpk";
const STATE: &str = "state.json";
/// The layout of these files. Another one is refused.
const FORMAT: u32 = 1;

/// Where a run is. All randomness is a function of the recipe's seed and of these numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    format: u32,
    /// Optimizer steps made.
    pub(crate) step: u64,
    /// The epoch of the next step, from 0.
    pub(crate) epoch: u64,
    /// Steps of this epoch that have been made.
    pub(crate) position: u64,
    /// Tokens read, padding not counted.
    pub(crate) tokens: u64,
    /// Tokens or rows that carried loss.
    pub(crate) targets: u64,
    /// The best evaluation.
    pub(crate) best: Option<Best>,
    /// Evaluations since the best one.
    pub(crate) waited: u64,
    /// Whether the run has come to its end.
    pub(crate) finished: bool,
    /// A checksum of the examples.
    data: u64,
    /// What the steps were computed with: bitwise equal steps need the same.
    pub(crate) kernels: String,
    /// What the state of the optimizer calls each parameter.
    ids: BTreeMap<String, u64>,
    /// Checksums of the other files.
    sums: BTreeMap<String, u64>,
}

/// An evaluation that was better than those before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    /// After which step.
    pub(crate) step: u64,
    /// The metric, or the loss where there is no metric.
    pub(crate) value: f64,
}

impl State {
    /// The state of a run that has not begun.
    pub(crate) fn new(data: u64) -> Self {
        Self {
            format: FORMAT,
            data,
            kernels: kernels(),
            ..Self::default()
        }
    }
}

/// The instructions that the kernels use.
pub(crate) fn kernels() -> String {
    clinical_kernels::instruction_set().name().to_owned()
}

/// The checkpoints of one run.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    pub(crate) fn new(run: &Path) -> Self {
        Self {
            dir: run.join("checkpoints"),
        }
    }

    pub(crate) fn path(&self, step: u64) -> PathBuf {
        self.dir.join(format!("step-{step:08}"))
    }

    /// The steps that have a checkpoint, in order. Unfinished ones have hidden names.
    pub(crate) fn steps(&self) -> Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::read(&self.dir)(error)),
        };
        let mut steps = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::read(&self.dir))?;
            let name = entry.file_name();
            let step = name.to_str().and_then(|name| name.strip_prefix("step-"));
            steps.extend(step.and_then(|step| step.parse::<u64>().ok()));
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// Writes a checkpoint: it appears when it is complete.
    pub(crate) fn save<M: Module>(
        &self,
        state: &State,
        model: &M,
        optimizer: &ModuleOptimizer,
    ) -> Result<()> {
        let path = self.path(state.step);
        let values = parameters::values(model);
        let mut state = state.clone();
        state.ids = values
            .iter()
            .map(|(path, trained)| (path.clone(), trained.id))
            .collect();
        replace_directory(&path, &FolderRules::new(), |part| {
            let bytes = written(&values, &path)?;
            let record = optimizer
                .to_record()
                .into_bytes()
                .map_err(|error| damaged(&path, error))?;
            for (name, bytes) in [(PARAMETERS, &bytes[..]), (OPTIMIZER, &record[..])] {
                write_file(part.join(name), bytes)?;
                state.sums.insert(name.to_owned(), checksum(bytes));
            }
            let text = serde_json::to_vec_pretty(&state).map_err(|error| damaged(&path, error))?;
            write_file(part.join(STATE), &text).map_err(Error::from)
        })
    }

    /// Removes all checkpoints but the last `keep` and those in `held`.
    pub(crate) fn prune(&self, keep: usize, held: &[u64]) -> Result<()> {
        let steps = self.steps()?;
        let old = steps.len().saturating_sub(keep.max(1));
        for step in steps.iter().take(old).filter(|step| !held.contains(step)) {
            let path = self.path(*step);
            // A run that is killed meanwhile must not find half of it: without the state it is no checkpoint.
            match fs::remove_file(path.join(STATE)) {
                // A run was killed right here.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.map_err(Error::written(&path))?,
            }
            fs::remove_dir_all(&path).map_err(Error::written(&path))?;
        }
        Ok(())
    }

    /// The last checkpoint, if there is one.
    pub(crate) fn last(&self) -> Result<Option<State>> {
        for step in self.steps()?.into_iter().rev() {
            let path = self.path(step);
            match fs::read(path.join(STATE)) {
                Ok(text) => return Self::state(&path, &text).map(Some),
                // It was being removed when the run was stopped.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::read(&path.join(STATE))(error)),
            }
        }
        Ok(None)
    }

    /// The checkpoint after a step.
    pub(crate) fn at(&self, step: u64) -> Result<State> {
        let path = self.path(step);
        let text = fs::read(path.join(STATE)).map_err(Error::read(&path.join(STATE)))?;
        Self::state(&path, &text)
    }

    fn state(path: &Path, text: &[u8]) -> Result<State> {
        let state: State = serde_json::from_slice(text).map_err(|error| damaged(path, error))?;
        match state.format == FORMAT {
            true => Ok(state),
            false => Err(damaged(path, format!("its format is {}", state.format))),
        }
    }

    /// Whether the state belongs to these examples.
    pub(crate) fn check_data(&self, state: &State, data: u64) -> Result<()> {
        match state.data == data {
            true => Ok(()),
            false => Err(Error::OtherData {
                path: self.dir.clone(),
            }),
        }
    }

    /// The model with the weights of a checkpoint.
    pub(crate) fn model<M: Module>(&self, state: &State, model: M) -> Result<M> {
        let path = self.path(state.step);
        let bytes = checked(&path, PARAMETERS, state)?;
        let shapes = parameters::shapes(&model);
        let saved = read(&bytes, state, &path)?;
        let other = |detail: String| Error::OtherModel {
            path: path.clone(),
            detail,
        };
        for (name, shape) in &shapes {
            match saved.get(name).map(|trained| trained.data.shape().to_vec()) {
                Some(found) if found == *shape => {}
                Some(found) => {
                    return Err(other(format!(
                        "{name} is {found:?} there and {shape:?} here"
                    )));
                }
                None => return Err(other(format!("it has no {name}"))),
            }
        }
        if let Some(name) = saved.keys().find(|name| !shapes.contains_key(*name)) {
            return Err(other(format!("it has {name}")));
        }
        Ok(parameters::restore(model, saved))
    }

    /// The optimizer with the state of a checkpoint.
    pub(crate) fn optimizer(
        &self,
        state: &State,
        optimizer: ModuleOptimizer,
    ) -> Result<ModuleOptimizer> {
        let path = self.path(state.step);
        let bytes = checked(&path, OPTIMIZER, state)?;
        let bytes = burn::tensor::Bytes::from_bytes_vec(bytes);
        let record = OptimizerRecord::from_bytes(bytes).map_err(|error| damaged(&path, error))?;
        // The number of its tensors and of its scalars.
        let wanted = format!("{record:?}");
        let optimizer = optimizer.load_record(record);
        // Burn leaves out what it cannot read, and would begin anew there.
        let found = format!("{:?}", optimizer.to_record());
        match found == wanted {
            true => Ok(optimizer),
            false => Err(damaged(
                &path,
                format!("{OPTIMIZER} has {wanted}, of which {found} fit"),
            )),
        }
    }
}

/// A file of a checkpoint whose checksum is right.
fn checked(path: &Path, name: &str, state: &State) -> Result<Vec<u8>> {
    let file = path.join(name);
    let bytes = fs::read(&file).map_err(Error::read(&file))?;
    match state.sums.get(name) == Some(&checksum(&bytes)) {
        true => Ok(bytes),
        false => Err(damaged(path, format!("{name} is not what was written"))),
    }
}

fn damaged(path: &Path, detail: impl ToString) -> Error {
    Error::Checkpoint {
        path: path.to_owned(),
        detail: detail.to_string(),
    }
}

/// FNV-1a over words of eight bytes.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let seed = 0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64;
    words.fold(seed, |sum, word| {
        let mixed = (sum ^ word).wrapping_mul(0x0100_0000_01b3);
        mixed ^ (mixed >> 32)
    })
}

/// Float parameters as safetensors, bit for bit.
fn written(values: &BTreeMap<String, Trained>, path: &Path) -> Result<Vec<u8>> {
    let views = values
        .iter()
        .map(|(name, trained)| {
            let dtype = match trained.data.dtype() {
                DType::F32 | DType::Flex32 => Dtype::F32,
                DType::F16 => Dtype::F16,
                DType::BF16 => Dtype::BF16,
                other => return Err(damaged(path, format!("{name} is {other:?}"))),
            };
            let shape = trained.data.shape().to_vec();
            let view = TensorView::new(dtype, shape, trained.data.as_bytes());
            Ok((name.clone(), view.map_err(|error| damaged(path, error))?))
        })
        .collect::<Result<Vec<_>>>()?;
    safetensors::serialize(views, None).map_err(|error| damaged(path, error))
}

fn read(bytes: &[u8], state: &State, path: &Path) -> Result<BTreeMap<String, Trained>> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(path, error))?;
    file.iter()
        .map(|(name, view)| {
            let id = state.ids.get(name).copied();
            let id = id.ok_or_else(|| damaged(path, format!("{name} has no identity")))?;
            let dtype = match view.dtype() {
                Dtype::F32 => DType::F32,
                Dtype::F16 => DType::F16,
                Dtype::BF16 => DType::BF16,
                other => return Err(damaged(path, format!("{name} is {other:?}"))),
            };
            let data =
                TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
            Ok((name.to_owned(), Trained { id, data }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_sees_every_byte() {
        let bytes: Vec<u8> = (0..37).collect();
        let sum = checksum(&bytes);
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(checksum(&other), sum, "byte {at}");
        }
        assert_ne!(checksum(&bytes[..36]), sum);
        assert_ne!(checksum(&[0]), checksum(&[0, 0]));
    }
}
