//! New adapters, for training.

use burn::module::Module;
use clinical_nn::{Adapter, Linears, adapted_layers};

use crate::Error;
use crate::pattern::Pattern;
use clinical_files::shown;

/// What new adapters are like; the defaults are those of `peft`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AdapterOptions {
    rank: usize,
    alpha: f64,
    stabilised: bool,
    dropout: f64,
    seed: u64,
}

impl Default for AdapterOptions {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 8.0,
            stabilised: false,
            dropout: 0.0,
            seed: 0,
        }
    }
}

impl AdapterOptions {
    /// The defaults: rank 8, alpha 8, no dropout, seed 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Columns of the first factor, at least one.
    #[must_use]
    pub fn with_rank(mut self, rank: usize) -> Self {
        self.rank = rank.max(1);
        self
    }

    /// The adapter's part of a result is multiplied by `alpha / rank`.
    #[must_use]
    pub fn with_alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// By `alpha / sqrt(rank)` instead.
    #[must_use]
    pub fn with_rank_stabilised(mut self, stabilised: bool) -> Self {
        self.stabilised = stabilised;
        self
    }

    /// The share of inputs that are dropped in training, by [`clinical_nn::set_adapter_dropout_seed`].
    #[must_use]
    pub fn with_dropout(mut self, dropout: f64) -> Self {
        self.dropout = dropout;
        self
    }

    /// Where the random first factors come from.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.stabilised { rank.sqrt() } else { rank }
    }
}

/// Puts new adapters, which change nothing yet, beside dense layers, and gives the paths of these layers. On an error
/// the model is unchanged.
///
/// `layers` are patterns of paths in the module's spelling, in which `*` stands for one part and `**` for any number; a
/// name alone stands for all layers of that name, as in `peft`: `&["q_proj", "v_proj"]`, `&["decoder.**"]`.
///
/// # Errors
///
/// [`Error::KeyMap`] for a wrong pattern, [`Error::AdapterLayer`] for one without a layer, [`Error::AdapterTwice`],
/// [`Error::AdapterFit`] for a scale that is no number.
pub fn attach_adapters<M: Module + Linears>(
    model: &mut M,
    layers: &[&str],
    options: &AdapterOptions,
) -> Result<Vec<String>, Error> {
    if let Some(layer) = adapted_layers(model).into_iter().next() {
        return Err(Error::AdapterTwice { layer });
    }
    let patterns = layers.iter().map(|layer| match layer.contains('.') {
        true => Pattern::new(layer),
        false if *layer == "**" => Pattern::new(layer),
        false => Pattern::new(&format!("**.{layer}")),
    });
    let patterns = patterns.collect::<Result<Vec<_>, _>>()?;
    let mut used = vec![false; patterns.len()];
    let (mut copy, mut attached, mut problem) = (model.clone(), Vec::new(), None);
    copy.linears("", &mut |path, layer| {
        let mut wanted = false;
        for (pattern, used) in patterns.iter().zip(&mut used) {
            if pattern.matches(path) {
                (wanted, *used) = (true, true);
            }
        }
        if wanted && problem.is_none() {
            let mut adapter =
                Adapter::new(layer, path, options.rank, options.scale(), options.seed);
            adapter.dropout = options.dropout;
            problem = layer.attach(path, adapter).err();
            attached.push(path.to_owned());
        }
    });
    if let Some(problem) = problem {
        return Err(problem.into());
    }
    if let Some(unused) = used.iter().position(|used| !used) {
        return Err(Error::AdapterLayer {
            name: shown(layers[unused]),
            near: String::new(),
        });
    }
    *model = copy;
    Ok(attached)
}
