//! What a directory holds, without loading it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::report::size;
use crate::table::{TensorInfo, WeightFile};
use crate::{CheckpointDir, Dtype, Error, Format, Precision};
use clinical_files::shown;

/// The settings of a configuration that decide what a model is, in the order in which they are shown. Models spell
/// some of them differently.
const SETTINGS: [&str; 26] = [
    "model_type",
    "architectures",
    "hidden_size",
    "d_model",
    "intermediate_size",
    "d_ff",
    "d_kv",
    "head_dim",
    "num_hidden_layers",
    "num_layers",
    "num_decoder_layers",
    "num_attention_heads",
    "num_heads",
    "num_key_value_heads",
    "vocab_size",
    "max_position_embeddings",
    "n_positions",
    "rope_theta",
    "rope_scaling",
    "feed_forward_proj",
    "tie_word_embeddings",
    "torch_dtype",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
];

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

/// What a directory holds. `Display` fits a screen.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// The directory.
    pub path: PathBuf,
    /// The file by which the weights were found.
    pub chosen: String,
    /// The weight files.
    pub files: Vec<WeightFile>,
    /// Weights that are also there and would not be used.
    pub others: Vec<String>,
    /// What is odd about the files.
    pub notes: Vec<String>,
    /// Tensors, sorted by name.
    pub tensors: Vec<TensorInfo>,
    /// `config.json`, where there is one.
    pub config: Option<Value>,
    /// The tokenizer's files.
    pub tokenizer_files: Vec<&'static str>,
}

impl Inspection {
    /// Looks at a directory: its configuration, and the headers of its weights.
    ///
    /// # Errors
    ///
    /// Those of [`CheckpointDir::open`], [`CheckpointDir::weights`] and, if there is a `config.json`,
    /// [`CheckpointDir::read_json`].
    pub fn of(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = CheckpointDir::open(dir)?;
        let config = match dir.gguf()? {
            Some(file) => Some(file.config()?),
            None => dir
                .has("config.json")
                .then(|| dir.read_json("config.json"))
                .transpose()?,
        };
        let weights = dir.weights()?;
        Ok(Self {
            path: dir.path().to_owned(),
            chosen: weights.chosen().to_owned(),
            files: weights.files().to_vec(),
            others: weights.others().to_vec(),
            notes: weights.notes().to_vec(),
            tensors: weights.tensors().cloned().collect(),
            config,
            tokenizer_files: TOKENIZER_FILES
                .into_iter()
                .filter(|name| dir.has(name))
                .collect(),
        })
    }

    /// The values of all tensors together. Names that share one storage count each.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.tensors.iter().map(TensorInfo::elements).sum()
    }

    /// How many tensors, values and bytes there are of each type.
    #[must_use]
    pub fn by_dtype(&self) -> BTreeMap<Dtype, (usize, u64, u64)> {
        let mut found = BTreeMap::new();
        for tensor in &self.tensors {
            let (count, values, bytes) = found.entry(tensor.dtype).or_insert((0, 0, 0));
            *count += 1;
            *values += tensor.elements();
            *bytes += tensor.bytes;
        }
        found
    }

    /// The bytes that the weights would take in memory. For the integer precisions this is an estimate: matrices with
    /// a 16-bit scale for every 32 values, everything else as f32.
    #[must_use]
    pub fn memory(&self, precision: Precision) -> u64 {
        self.tensors
            .iter()
            .filter(|tensor| tensor.dtype.is_float())
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

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_FILES: usize = 8;
        writeln!(f, "{}", self.path.display())?;
        match &self.config {
            None => writeln!(f, "config     no config.json")?,
            Some(config) => {
                let settings: Vec<String> = SETTINGS
                    .into_iter()
                    .filter_map(|name| {
                        let value = config.get(name).filter(|value| !value.is_null())?;
                        Some(format!(
                            "{name} {}",
                            shown(&value.to_string().replace('"', ""))
                        ))
                    })
                    .collect();
                writeln!(f, "config     {}", settings.join(", "))?;
            }
        }
        let bytes = self.files.iter().map(|file| file.bytes).sum();
        writeln!(f, "weights    {} ({})", self.chosen, size(bytes))?;
        for file in self.files.iter().take(SHOWN_FILES) {
            let index = self.files.iter().position(|other| other == file);
            let count = self
                .tensors
                .iter()
                .filter(|tensor| Some(tensor.file) == index)
                .count();
            let name = shown(&file.name);
            writeln!(
                f,
                "           {name}: {}, {}, {count} tensors",
                file.format,
                size(file.bytes)
            )?;
        }
        if self.files.len() > SHOWN_FILES {
            writeln!(
                f,
                "           and {} more files",
                self.files.len() - SHOWN_FILES
            )?;
        }
        if !self.others.is_empty() {
            writeln!(f, "not used   {}", self.others.join(", "))?;
        }
        for note in &self.notes {
            writeln!(f, "note       {note}")?;
        }
        for (dtype, (count, values, bytes)) in self.by_dtype() {
            writeln!(
                f,
                "{:<10} {count} tensors, {values} values, {}",
                dtype.name(),
                size(bytes)
            )?;
        }
        let memory: Vec<String> = [
            Precision::F32,
            Precision::F16,
            Precision::BF16,
            Precision::Int8,
            Precision::Int4,
        ]
        .into_iter()
        .map(|precision| {
            let about = match precision {
                Precision::Int8 | Precision::Int4 => "about ",
                _ => "",
            };
            format!("{precision} {about}{}", size(self.memory(precision)))
        })
        .collect();
        // In PyTorch's files several names may share their values (a T5 has four names of one table).
        let shares = self
            .files
            .iter()
            .any(|file| file.format != Format::Safetensors);
        let most = if shares { "at most " } else { "" };
        writeln!(f, "in memory  {most}{}", memory.join(", "))?;
        match self.tokenizer_files.as_slice() {
            [] => writeln!(f, "tokenizer  no tokenizer files"),
            files => writeln!(f, "tokenizer  {}", files.join(", ")),
        }
    }
}
