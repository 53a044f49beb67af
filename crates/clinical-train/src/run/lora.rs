//! Which parameters of a model are trained.

use burn::module::Module;
use clinical_nn::{Adapter, Linears, train_adapters_only};

use crate::recipe::Lora;
use crate::{Error, Result};

/// The name of the output layer, which gets no adapter unless it is asked for.
const OUTPUT: &str = "lm_head";

/// The model with what the recipe trains requiring gradients: all of it, or adapters alone. An adapter that is there
/// already is trained on.
pub(super) fn prepare<M: Module + Linears>(
    mut model: M,
    lora: Option<&Lora>,
    seed: u64,
) -> Result<M> {
    let mut packed = false;
    model.linears("", &mut |_, layer| packed |= layer.is_packed());
    let Some(lora) = lora else {
        return match packed {
            true => Err(Error::Packed),
            false => Ok(model),
        };
    };
    let mut known = Vec::new();
    let mut adapted = 0;
    let mut problem = None;
    model.linears("", &mut |path, layer| {
        let name = path.rsplit('.').next().unwrap_or(path);
        if !known.iter().any(|found| found == name) {
            known.push(name.to_owned());
        }
        let wanted = match lora.targets.is_empty() {
            true => name != OUTPUT,
            false => lora.targets.iter().any(|target| target == name),
        };
        if !wanted {
            return;
        }
        adapted += 1;
        if let Some(adapter) = &mut layer.adapter {
            adapter.dropout = lora.dropout;
            return;
        }
        let mut adapter = Adapter::new(layer, path, lora.rank, lora.scale(), seed);
        adapter.dropout = lora.dropout;
        if let Err(error) = layer.attach(path, adapter) {
            problem.get_or_insert(error);
        }
    });
    if let Some(problem) = problem {
        return Err(Error::model(problem));
    }
    let unknown = lora.targets.iter().find(|target| !known.contains(target));
    if adapted == 0 || unknown.is_some() {
        return Err(Error::NoLayer {
            targets: lora.targets.join(", "),
            known: known.join(", "),
        });
    }
    let model = train_adapters_only(model);

    Ok(model)
}
