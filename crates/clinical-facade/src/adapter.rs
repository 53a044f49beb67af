//! Adapters (LoRA) of a facade's model.

use std::path::Path;

use clinical_files::shown;
use clinical_nn::{Linears, merge_adapters};
use clinical_weights::{AdapterFiles, CheckpointDir, Error, FromCheckpoint, LoadOptions};

use crate::{ModelDir, Remark};

/// What every facade's `with_adapter` does: applies the adapter of a directory, and says so.
///
/// # Errors
///
/// Those of [`AdapterFiles::read`] and [`AdapterFiles::apply`]; the model is then unchanged.
pub fn add_adapter<M: FromCheckpoint + Linears>(
    model: &mut M,
    dir: impl AsRef<Path>,
    options: &LoadOptions,
) -> Result<Remark, Error> {
    let dir = CheckpointDir::open_with(dir.as_ref(), options.allow_links)?;
    apply(model, &dir)
}

/// What every facade's `merge_adapter` does: the model's adapters become a part of its weights. Gives their number.
///
/// # Errors
///
/// [`Error::AdapterFit`] for packed weights, [`Error::NoAdapter`] where there is none; the model is then unchanged.
pub fn merge_adapter<M: FromCheckpoint + Linears>(model: &mut M) -> Result<usize, Error> {
    match merge_adapters(model)? {
        0 => Err(Error::NoAdapter),
        merged => Ok(merged),
    }
}

/// What every facade's `save_adapter` does: writes the model's adapter as Python's `peft` does.
///
/// # Errors
///
/// Those of [`AdapterFiles::of`] and [`AdapterFiles::save`].
pub fn save_adapter<M: FromCheckpoint + Linears>(
    model: &M,
    dir: impl AsRef<Path>,
) -> Result<(), Error> {
    AdapterFiles::of(model, &model.key_map())?.save(dir)
}

fn apply<M: FromCheckpoint + Linears>(model: &mut M, dir: &CheckpointDir) -> Result<Remark, Error> {
    let adapter = AdapterFiles::read_from(dir)?;
    let keys = model.key_map();
    let layers = adapter.apply(model, &keys)?;
    let base = adapter
        .base()
        .map(|base| format!(", made for {}", shown(base)));
    Ok(Remark::Model(format!(
        "a LoRA adapter is applied to {} layers{}",
        layers.len(),
        base.unwrap_or_default()
    )))
}

impl ModelDir {
    /// Applies the LoRA adapter that lies beside the weights, if there is one; a remark says so. A load calls it once
    /// its model is filled.
    ///
    /// # Errors
    ///
    /// Those of [`AdapterFiles::read`] and [`AdapterFiles::apply`]; the model is then unchanged.
    pub fn apply_adapter<M: FromCheckpoint + Linears>(
        &mut self,
        model: &mut M,
    ) -> Result<(), Error> {
        if self.has_adapter() {
            let remark = apply(model, self.files())?;
            self.remark(remark);
        }
        Ok(())
    }
}
