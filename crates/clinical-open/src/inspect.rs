//! What a directory holds and how it would load, without loading it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clinical_facade::{Facade, ModelDir};
use clinical_weights::{
    Architecture, Checkpoint, CheckpointDir, Dtype, LoadOptions, Precision, Quantised, TensorInfo,
    WeightFile,
};
use serde::Serialize;
use serde_json::Value;

use crate::fit::Fit;
use crate::tokenizer::TokenizerFacts;
use crate::{Error, any, sentence, tokenizer};

/// Files that say how text becomes ids.
const TOKENIZER_FILES: [&str; 7] = [
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// What a directory or a GGUF file holds. `Display` fits a screen.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// What was looked at.
    pub path: PathBuf,
    /// `config.json`, or what a GGUF file says instead.
    pub config: Option<Value>,
    /// `generation_config.json`.
    pub generation_config: Option<Value>,
    /// `model_type` of the architecture, if this library has it.
    pub architecture: Option<&'static str>,
    /// What opens it.
    pub facade: Option<Facade>,
    /// The weights, if there are any that can be opened.
    pub weights: Option<Weights>,
    /// How the weights were quantised, by the configuration or by the names of their tensors.
    pub quantised: Option<Quantised>,
    /// The LoRA adapter in the directory, if there is one.
    pub adapter: Option<Adapter>,
    /// The steps of a model of sentence-transformers, in order (`Transformer`, `Pooling`, `Normalize`).
    pub modules: Vec<String>,
    /// How such a model makes one vector of a text (`cls_token`, `mean_tokens`, ..).
    pub pooling: Vec<String>,
    /// Whether the configuration says `is_decoder`: each token then sees those before it alone.
    pub is_decoder: bool,
    /// The files of the tokenizer.
    pub tokenizer_files: Vec<&'static str>,
    /// The tokenizer, if a facade would get that far.
    pub tokenizer: Option<TokenizerFacts>,
    /// How the weights fit the model, if a facade would get that far.
    pub fit: Option<Fit>,
    /// What was noticed about the files.
    pub remarks: Vec<String>,
    /// Why a facade would refuse it; `None` if it would load.
    pub refused: Option<String>,
}

/// Opened weights, of which no value has been read.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Weights {
    /// The file by which they were found.
    pub chosen: String,
    /// The weight files.
    pub files: Vec<WeightFile>,
    /// Weights that are also there and would not be used.
    pub others: Vec<String>,
    /// Tensors, sorted by name.
    pub tensors: Vec<TensorInfo>,
}

/// What `adapter_config.json` of Python's peft says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Adapter {
    /// The kind: `LORA`.
    pub kind: Option<String>,
    /// The model that it belongs to.
    pub base: Option<String>,
    /// Its rank.
    pub rank: Option<u64>,
    /// The layers that it changes.
    pub targets: Vec<String>,
}

/// Looks at a directory or a GGUF file: its configuration, the headers of its weights, its tokenizer, and whether the
/// model that it describes would load. Nothing is loaded.
///
/// Links out of the directory are followed if the options say so, as by the facades.
///
/// ```
/// use clinical_open::{LoadOptions, inspect};
///
/// # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../clinical-t5/demo");
/// let found = inspect(dir, &LoadOptions::default())?;
/// assert_eq!(found.architecture, Some("t5"));
/// assert!(found.refused.is_none());
/// println!("{found}");
/// # Ok::<(), clinical_open::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Weights`] for a path that is no directory or cannot be read. Everything else that is wrong is reported in
/// [`Inspection::refused`].
pub fn inspect(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Inspection, Error> {
    let path = path.as_ref();
    let outer = CheckpointDir::open_with(path, options.allow_links)?;
    let inner = outer.module_folder().ok().flatten();
    let files = inner.as_ref().unwrap_or(&outer);
    let mut found = Inspection {
        path: path.to_owned(),
        modules: sentence::modules(&outer),
        pooling: sentence::pooling(&outer),
        ..seen(files)
    };
    match ModelDir::open(path, options) {
        Ok(dir) => found.read(&dir, options),
        Err(error) => found.refused = Some(error.to_string()),
    }
    Ok(found)
}

/// What can be seen whatever is wrong.
fn seen(files: &CheckpointDir) -> Inspection {
    let gguf = files.gguf().ok().flatten();
    let config = match &gguf {
        Some(file) => file.config().ok(),
        None => files.read_config().ok().map(|(config, _)| config),
    };
    let weights = match &gguf {
        Some(file) => files.weights_of(file).ok(),
        None => files.weights().ok(),
    };
    let architecture = config.as_ref().and_then(Architecture::of);
    let said = config.as_ref().and_then(Quantised::of);
    let quantised = said.or_else(|| weights.as_ref().and_then(Quantised::by_tensors));
    Inspection {
        path: files.path().to_owned(),
        architecture: architecture.map(|one| one.model_type),
        facade: architecture.map(|one| one.facade),
        is_decoder: config
            .as_ref()
            .is_some_and(|config| config["is_decoder"] == true),
        generation_config: read(files, "generation_config.json"),
        quantised,
        adapter: read(files, "adapter_config.json").map(|config| Adapter::of(&config)),
        modules: Vec::new(),
        pooling: Vec::new(),
        tokenizer_files: TOKENIZER_FILES
            .into_iter()
            .filter(|name| files.has(name))
            .collect(),
        remarks: weights
            .iter()
            .flat_map(Checkpoint::notes)
            .cloned()
            .collect(),
        weights: weights.as_ref().map(Weights::of),
        config,
        tokenizer: None,
        fit: None,
        refused: None,
    }
}

pub(crate) fn read(files: &CheckpointDir, name: &str) -> Option<Value> {
    let found = files.has(name).then(|| files.read_python_json(name));
    found?.ok().map(|(value, _)| value)
}

impl Adapter {
    fn of(config: &Value) -> Self {
        let text = |key: &str| config.get(key)?.as_str().map(str::to_owned);
        let targets = config.get("target_modules");
        let list = targets.and_then(Value::as_array).into_iter().flatten();
        let list = list.filter_map(Value::as_str);
        // A pattern instead of a list.
        let pattern = targets.and_then(Value::as_str);
        Self {
            kind: text("peft_type"),
            base: text("base_model_name_or_path"),
            rank: config.get("r").and_then(Value::as_u64),
            targets: list.chain(pattern).map(str::to_owned).collect(),
        }
    }
}

impl Weights {
    fn of(weights: &Checkpoint) -> Self {
        Self {
            chosen: weights.chosen().to_owned(),
            files: weights.files().to_vec(),
            others: weights.others().to_vec(),
            tensors: weights.tensors().cloned().collect(),
        }
    }

    /// The bytes of all files.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The values of all tensors together. Names that share one storage count each.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.tensors
            .iter()
            .map(TensorInfo::elements)
            .fold(0, u64::saturating_add)
    }

    /// How many tensors, values and bytes there are of each type.
    #[must_use]
    pub fn by_dtype(&self) -> BTreeMap<Dtype, (usize, u64, u64)> {
        let mut found = BTreeMap::new();
        for tensor in &self.tensors {
            let (count, values, bytes) = found.entry(tensor.dtype).or_insert((0usize, 0u64, 0u64));
            *count += 1;
            *values = values.saturating_add(tensor.elements());
            *bytes = bytes.saturating_add(tensor.bytes);
        }
        found
    }

    /// The bytes that the weights would take in memory. For the integer precisions this is an estimate: matrices with
    /// a 16-bit scale for every 32 values, everything else as f32.
    #[must_use]
    pub fn memory(&self, precision: Precision) -> u64 {
        let floats = self.tensors.iter().filter(|tensor| tensor.dtype.is_float());
        floats
            .map(|tensor| {
                let values = tensor.elements();
                let is_matrix = tensor.shape.len() == 2;
                match precision {
                    Precision::F32 => values.saturating_mul(4),
                    Precision::F16 | Precision::BF16 => values.saturating_mul(2),
                    Precision::StoredF16 | Precision::StoredBF16 if is_matrix => {
                        values.saturating_mul(2)
                    }
                    // A scale for each block of 32 is half a bit a value.
                    Precision::Int8 if is_matrix => values.saturating_mul(17) / 16,
                    Precision::Int4 if is_matrix => values.saturating_mul(9) / 16,
                    _ => values.saturating_mul(4),
                }
            })
            .fold(0, u64::saturating_add)
    }
}

impl Inspection {
    /// What needs a directory that opens: its tokenizer, and how its weights fit.
    fn read(&mut self, dir: &ModelDir, options: &LoadOptions) {
        self.config = Some(dir.config().clone());
        self.generation_config = dir.generation_config().cloned();
        self.remarks
            .extend(dir.remarks().iter().map(ToString::to_string));
        let fit = match any::fit_of(&self.path, dir, options) {
            Ok(fit) => fit,
            Err(error) => {
                self.refused = Some(error.to_string());
                None
            }
        };
        let rows = fit.as_ref().map_or(usize::MAX, |fit| fit.rows);
        match dir.tokenizer(&Default::default()) {
            Ok(tokenizer) => self.tokenizer = Some(tokenizer::facts(&tokenizer, dir, rows)),
            Err(error) => {
                self.refused.get_or_insert_with(|| error.to_string());
            }
        }
        if let Some(fit) = &fit {
            self.remarks.extend(fit.report.prefix.clone());
            if !fit.report.fits() {
                self.refused
                    .get_or_insert_with(|| "the weights do not fit the model".to_owned());
            }
        } else {
            self.refused
                .get_or_insert_with(|| "this library has no model of that kind".to_owned());
        }
        self.fit = fit;
    }
}
