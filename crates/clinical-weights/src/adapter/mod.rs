//! Adapters (LoRA) as Python's `peft` writes them: read, applied to a model, taken from one, written.

mod attach;
mod config;
mod replace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use clinical_files::{FolderRules, replace_directory};
use clinical_nn::{Adapter, Linears, adapted_layers};
use serde_json::Value;

use crate::convert::{self, Layout};
use crate::nearest::nearest;
use crate::save::{Saved, failed, write};
use crate::{Checkpoint, CheckpointDir, Error, KeyMap};
use clinical_files::shown;

pub use attach::{AdapterOptions, attach_adapters};
pub(crate) use config::CONFIG;
use config::Settings;

const SAFETENSORS: &str = "adapter_model.safetensors";
const TORCH: &str = "adapter_model.bin";

/// What `peft` puts in front of the names of the model that it wraps.
const WRAPPER: &str = "base_model.model.";

const RULES: FolderRules = FolderRules::new()
    .with_gates(&[CONFIG])
    .with_stale(|name| name == TORCH);

/// A LoRA adapter of Python's `peft`: `adapter_config.json` and `adapter_model.safetensors` (or `.bin`).
///
/// Low-rank factors of dense layers are read, whatever their ranks and scales (`rank_pattern`, `alpha_pattern`,
/// `use_rslora`), and whole tensors that were trained beside them (`bias`, `modules_to_save`). Adapters of other kinds,
/// and of embedding tables, are refused by name.
///
/// ```no_run
/// # use burn::module::Module;
/// # use clinical_weights::{AdapterFiles, Error, FromCheckpoint};
/// # fn apply<M: FromCheckpoint + clinical_nn::Linears>(mut model: M) -> Result<(), Error> {
/// let adapter = AdapterFiles::read("path/to/adapter")?;
/// let keys = model.key_map();
/// let layers = adapter.apply(&mut model, &keys)?;
/// println!("{} layers have an adapter", layers.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct AdapterFiles {
    base: Option<String>,
    /// By the layers' names in checkpoints.
    factors: BTreeMap<String, Factors>,
    /// Whole tensors, by their names in checkpoints.
    whole: BTreeMap<String, TensorData>,
}

/// The factors of one layer, as the file has them.
#[derive(Debug, Clone)]
struct Factors {
    /// `[rank, d_input]`.
    a: TensorData,
    /// `[d_output, rank]`.
    b: TensorData,
    scale: f64,
    dropout: f64,
}

impl Factors {
    fn of(adapter: &Adapter) -> Self {
        let data = |factor: &Param<Tensor<2>>| {
            let factor = factor.val().detach().cast(FloatDType::F32);
            factor.transpose().into_data()
        };
        Self {
            a: data(&adapter.a),
            b: data(&adapter.b),
            scale: adapter.scale,
            dropout: adapter.dropout,
        }
    }

    fn adapter(&self, device: &Device) -> Adapter {
        let factor = |data: &TensorData| {
            let factor = Tensor::<2>::from_data(data.clone(), (device, DType::F32));
            Param::from_tensor(factor.transpose())
        };
        Adapter {
            a: factor(&self.a),
            b: factor(&self.b),
            scale: self.scale,
            dropout: self.dropout,
            dropout_seed: None,
        }
    }

    fn rank(&self) -> usize {
        self.a.shape()[0]
    }
}

impl AdapterFiles {
    /// Reads an adapter's directory, which may also be that of a model.
    ///
    /// # Errors
    ///
    /// [`Error::AdapterKind`], [`Error::AdapterConfig`], [`Error::AdapterTensor`], and everything that can be wrong
    /// with a file.
    pub fn read(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Self::read_from(&CheckpointDir::open(dir)?)
    }

    /// [`read`](Self::read) from a directory that is open.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    pub fn read_from(dir: &CheckpointDir) -> Result<Self, Error> {
        let (config, _) = dir.read_python_json(CONFIG)?;
        let settings = Settings::read(&dir.path().join(CONFIG), &config)?;
        let name = if dir.has(SAFETENSORS) || !dir.has(TORCH) {
            SAFETENSORS
        } else {
            TORCH
        };
        let checkpoint = dir.weights_named(name)?;
        let mut halves: BTreeMap<String, [Option<TensorData>; 2]> = BTreeMap::new();
        let mut whole = BTreeMap::new();
        for (name, entry) in &checkpoint.tensors {
            let values = floats(&checkpoint, entry)?;
            match part(name)? {
                Part::Factor(layer, which) => {
                    halves.entry(layer.to_owned()).or_default()[which] = Some(values);
                }
                Part::Whole(name) => {
                    whole.insert(name, values);
                }
            }
        }
        let mut factors = BTreeMap::new();
        for (layer, halves) in halves {
            let one = pair(&layer, halves, &settings)?;
            factors.insert(layer, one);
        }
        if factors.is_empty() && whole.is_empty() {
            return Err(Error::AdapterTensor {
                name: name.to_owned(),
                problem: "holds no tensors".to_owned(),
            });
        }
        Ok(Self {
            base: settings.base,
            factors,
            whole,
        })
    }

    /// The model that the adapter was made for, as its configuration names it.
    #[must_use]
    pub fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// The layers with low-rank factors, by their names in checkpoints.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.factors.keys().map(String::as_str)
    }

    /// Puts the factors beside the weights of a model and the whole tensors into the place of its own, and gives the
    /// paths of the layers that have an adapter now. On an error the model is unchanged.
    ///
    /// # Errors
    ///
    /// [`Error::AdapterLayer`] and [`Error::AdapterFit`] for an adapter of another base model, [`Error::AdapterTwice`]
    /// for a model that has one, [`Error::KeyMap`].
    pub fn apply<M: Module + Linears>(
        &self,
        model: &mut M,
        keys: &KeyMap,
    ) -> Result<Vec<String>, Error> {
        keys.check()?;
        if let Some(layer) = adapted_layers(model).into_iter().next() {
            return Err(Error::AdapterTwice { layer });
        }
        // A clone shares the parameters.
        let mut copy = model.clone();
        let mut paths = BTreeSet::new();
        copy.linears("", &mut |path, _| {
            paths.insert(path.to_owned());
        });
        let mut wanted = BTreeMap::new();
        for (name, factors) in &self.factors {
            let path = find(name, &paths, keys)?;
            if wanted.insert(path, factors).is_some() {
                return Err(Error::AdapterTensor {
                    name: shown(name),
                    problem: "is there under two names".to_owned(),
                });
            }
        }
        let mut problem = None;
        copy.linears("", &mut |path, layer| {
            if let (None, Some(factors)) = (&problem, wanted.get(path)) {
                let adapter = factors.adapter(&layer.weight.lazy_device());
                problem = layer.attach(path, adapter).err();
            }
        });
        if let Some(problem) = problem {
            return Err(problem.into());
        }
        *model = replace::replace(copy, &self.whole, keys)?;
        Ok(wanted.into_keys().collect())
    }

    /// The adapters of a model, to be [written](Self::save).
    ///
    /// # Errors
    ///
    /// [`Error::NoAdapter`], [`Error::KeyMap`].
    pub fn of<M: Module + Linears>(model: &M, keys: &KeyMap) -> Result<Self, Error> {
        keys.check()?;
        let mut factors = BTreeMap::new();
        model.clone().linears("", &mut |path, layer| {
            if let Some(adapter) = &layer.adapter {
                factors.insert(published(path, keys), Factors::of(adapter));
            }
        });
        match factors.is_empty() {
            true => Err(Error::NoAdapter),
            false => Ok(Self {
                base: None,
                factors,
                whole: BTreeMap::new(),
            }),
        }
    }

    /// Names the model that the adapter was made for: a directory, or a name on the Hugging Face Hub.
    #[must_use]
    pub fn with_base(mut self, base: &str) -> Self {
        self.base = Some(base.to_owned());
        self
    }

    /// Writes a directory that [`read`](Self::read) and `peft` open. Other files that are in it stay; an error leaves
    /// what was there.
    ///
    /// # Errors
    ///
    /// [`Error::Write`], [`Error::Files`].
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        replace_directory(dir, &RULES, |part| {
            let path = part.join(SAFETENSORS);
            let mut file = File::create(&path).map_err(|error| failed(&path, &error))?;
            write(&mut file, &path, self.tensors())?;
            let path = part.join(CONFIG);
            let text = format!("{:#}\n", self.config());
            std::fs::write(&path, text).map_err(|error| failed(&path, &error))
        })
    }

    fn tensors(&self) -> Vec<Saved> {
        let factors = self.factors.iter().flat_map(|(name, factors)| {
            [("A", &factors.a), ("B", &factors.b)].map(|(which, data)| {
                let name = format!("{WRAPPER}{name}.lora_{which}.weight");
                Saved::of(name, data.clone())
            })
        });
        let whole = self.whole.iter();
        let whole = whole.map(|(name, data)| Saved::of(format!("{WRAPPER}{name}"), data.clone()));
        factors.chain(whole).collect()
    }

    fn config(&self) -> Value {
        let layers = self.factors.iter().map(|(name, factors)| config::Saved {
            name,
            rank: factors.rank(),
            alpha: factors.scale * factors.rank() as f64,
            dropout: factors.dropout,
        });
        config::write(self.base.as_deref(), &layers.collect::<Vec<_>>())
    }
}

/// What a tensor of an adapter is.
enum Part<'a> {
    /// A factor of this layer: `A` (0) or `B` (1).
    Factor(&'a str, usize),
    /// A whole parameter of this name.
    Whole(String),
}

fn part(name: &str) -> Result<Part<'_>, Error> {
    let inner = name.strip_prefix(WRAPPER).unwrap_or(name);
    for (which, letter) in ["A", "B"].into_iter().enumerate() {
        for end in [".weight", ".default.weight"] {
            let end = format!(".lora_{letter}{end}");
            if let Some(layer) = inner.strip_suffix(&end) {
                return Ok(Part::Factor(layer, which));
            }
        }
    }
    let kind = match inner {
        _ if inner.contains(".lora_embedding_") => Some("factors of an embedding table"),
        _ if inner.contains(".lora_magnitude_vector") => Some("DoRA"),
        _ if inner.contains(".lora_") => Some("an unknown kind of factor"),
        _ if inner.contains(".ia3_") => Some("IA3"),
        _ if inner.starts_with("prompt_") => Some("prompt tuning"),
        _ => None,
    };
    match kind {
        Some(kind) => Err(Error::AdapterKind {
            path: name_only(name),
            kind: kind.to_owned(),
        }),
        None => Ok(Part::Whole(
            inner
                .replace(".modules_to_save.default.", ".")
                .replace(".modules_to_save.", ".")
                .replace(".base_layer.", "."),
        )),
    }
}

fn name_only(name: &str) -> std::path::PathBuf {
    shown(name).into()
}

fn pair(
    layer: &str,
    halves: [Option<TensorData>; 2],
    settings: &Settings,
) -> Result<Factors, Error> {
    let wrong = |problem: String| Error::AdapterTensor {
        name: shown(layer),
        problem,
    };
    let [Some(a), Some(b)] = halves else {
        return Err(wrong(
            "has one of the factors lora_A and lora_B without the other".to_owned(),
        ));
    };
    let (rank, scale) = settings.of(layer);
    let fits =
        a.shape().len() == 2 && b.shape().len() == 2 && [a.shape()[0], b.shape()[1]] == [rank; 2];
    if !fits {
        let (a, b) = (a.shape().to_vec(), b.shape().to_vec());
        return Err(wrong(format!(
            "has factors of {a:?} and {b:?}, and the rank {rank}"
        )));
    }
    Ok(Factors {
        a,
        b,
        scale,
        dropout: settings.dropout,
    })
}

fn floats(checkpoint: &Checkpoint, entry: &crate::table::Entry) -> Result<TensorData, Error> {
    let info = &entry.info;
    if !info.dtype.is_float() {
        return Err(Error::WrongDtype {
            name: shown(&info.name),
            dtype: info.dtype,
            wanted: "floating point numbers",
        });
    }
    let read = |source| Error::ReadTensor {
        name: shown(&info.name),
        source,
    };
    let values = checkpoint.values(entry).map_err(read)?;
    let elements = info.shape.iter().product();
    let layout = Layout::Same { elements };
    let (data, _) =
        convert::floats(&values, info.dtype, DType::F32, layout, &info.shape).map_err(read)?;
    Ok(data)
}

/// A layer's path in the module as checkpoints name it.
fn published(path: &str, keys: &KeyMap) -> String {
    let name = keys.checkpoint_name(&format!("{path}.weight"));
    name.strip_suffix(".weight").unwrap_or(&name).to_owned()
}

/// The path of the layer that an adapter names. Adapters of a model and of the same model under a head differ in
/// leading parts of the names.
fn find(name: &str, paths: &BTreeSet<String>, keys: &KeyMap) -> Result<String, Error> {
    let known = keys.module_name(&format!("{name}.weight"));
    if let Some(path) = known
        .strip_suffix(".weight")
        .and_then(|path| paths.get(path))
    {
        return Ok(path.clone());
    }
    let ends = |name: &str, end: &str| {
        name.strip_suffix(end)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let mut found = paths.iter().filter(|path| {
        let own = published(path, keys);
        ends(&own, name) || ends(name, &own)
    });
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path.clone()),
        _ => {
            let own: Vec<String> = paths.iter().map(|path| published(path, keys)).collect();
            let near = nearest(name, own.iter().map(String::as_str));
            Err(Error::AdapterLayer {
                name: shown(name),
                near: near
                    .map(|near| format!(" (perhaps {near})"))
                    .unwrap_or_default(),
            })
        }
    }
}
