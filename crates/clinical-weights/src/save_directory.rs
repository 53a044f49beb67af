//! Writing a whole model directory, and Burn's own format.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{AllocationProperty, Bytes};
use clinical_files::{FolderRules, replace_directory};
use memmap2::Mmap;
use serde_json::{Value, json};

use crate::save::{Saved, collect, failed, write};
use crate::{Error, FromCheckpoint};

/// How a directory is written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SaveOptions {
    /// Weights of more bytes than this are split into several files with an index. Default: 5 GB, as in `transformers`.
    /// A tensor is never split, so one that is larger has a file of its own.
    pub max_shard_bytes: u64,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self {
            max_shard_bytes: 5_000_000_000,
        }
    }
}

impl SaveOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Self::max_shard_bytes`].
    #[must_use]
    pub fn with_max_shard_bytes(mut self, bytes: u64) -> Self {
        self.max_shard_bytes = bytes;
        self
    }
}

const INDEX: &str = "model.safetensors.index.json";

/// How a directory changes in which weights are saved: one without `config.json` is never taken for a model, and
/// weights of an earlier save go.
pub const SAVED_WEIGHTS: FolderRules = FolderRules::new()
    .with_gates(&["config.json", INDEX])
    .with_stale(are_weights);

/// [`SAVED_WEIGHTS`] for those who save all of a model: old files of its tokenizer, and its end tokens, go too.
pub const SAVED_MODEL: FolderRules =
    SAVED_WEIGHTS.with_stale(|name| are_weights(name) || are_beside_weights(name));

/// Writes a model as a Hugging Face directory that Python's `transformers` opens: `config.json`, and
/// `model.safetensors`, or shards with `model.safetensors.index.json`. `config` is the text of the model's
/// configuration; the type of the weights is added to it.
///
/// All files change at once, as [`clinical_files::replace_directory`] says: an error leaves what was there before.
/// Weights of an earlier save that would be taken for these go.
///
/// # Errors
///
/// [`Error::Write`], [`Error::Files`], [`Error::Unwritable`] for quantised parameters, [`Error::KeyMap`].
pub fn save_pretrained<M: FromCheckpoint>(
    model: &M,
    config: &str,
    dir: impl AsRef<Path>,
    options: &SaveOptions,
) -> Result<(), Error> {
    replace_directory(dir, &SAVED_WEIGHTS, |part| {
        save_model_files(model, config, part, options)
    })
}

/// What [`save_pretrained`] does inside a [`replace_directory`], for facades that write more files ([`SAVED_MODEL`]).
///
/// # Errors
///
/// Those of [`save_pretrained`].
pub fn save_model_files<M: FromCheckpoint>(
    model: &M,
    config: &str,
    dir: &Path,
    options: &SaveOptions,
) -> Result<(), Error> {
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_str(config).map_err(|source| Error::Json {
        path: path.clone(),
        source,
    })?;
    let tensors = collect(model, &model.key_map())?;
    if let (Some(config), Some(dtype)) = (config.as_object_mut(), common_dtype(&tensors)) {
        config.insert("torch_dtype".to_owned(), json!(dtype));
    }
    write_json(&path, &config)?;
    save_weights(tensors, dir, options)
}

fn save_weights(tensors: Vec<Saved>, dir: &Path, options: &SaveOptions) -> Result<(), Error> {
    let mut shards: Vec<Vec<Saved>> = vec![Vec::new()];
    let (mut bytes, mut total) = (0, 0);
    for tensor in tensors {
        let own = tensor.bytes();
        total += own;
        if let Some(last) = shards.last_mut()
            && (last.is_empty() || bytes + own <= options.max_shard_bytes)
        {
            bytes += own;
            last.push(tensor);
        } else {
            bytes = own;
            shards.push(vec![tensor]);
        }
    }
    if let [single] = shards.as_mut_slice() {
        return write_shard(&dir.join("model.safetensors"), std::mem::take(single));
    }
    let count = shards.len();
    let mut places = serde_json::Map::new();
    for (number, shard) in shards.into_iter().enumerate() {
        let name = format!("model-{:05}-of-{count:05}.safetensors", number + 1);
        places.extend(
            shard
                .iter()
                .map(|tensor| (tensor.name().to_owned(), json!(name))),
        );
        write_shard(&dir.join(&name), shard)?;
    }
    let index = json!({"metadata": {"total_size": total}, "weight_map": places});
    write_json(&dir.join(INDEX), &index)
}

fn write_shard(path: &Path, tensors: Vec<Saved>) -> Result<(), Error> {
    let mut file = File::create(path).map_err(|error| failed(path, &error))?;
    write(&mut file, path, tensors)
}

/// What `transformers` calls the type of most values.
fn common_dtype(tensors: &[Saved]) -> Option<&'static str> {
    let largest = tensors.iter().max_by_key(|tensor| tensor.bytes())?;
    largest.torch_dtype()
}

fn write_json(path: &Path, value: &Value) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(path, &error))?;
    fs::write(path, text + "\n").map_err(|error| failed(path, &error))
}

/// Names under which [`save_pretrained`] writes weights.
fn are_weights(name: &str) -> bool {
    if matches!(name, "model.safetensors" | INDEX) {
        return true;
    }
    let numbers = name
        .strip_prefix("model-")
        .and_then(|rest| rest.strip_suffix(".safetensors"))
        .and_then(|rest| rest.split_once("-of-"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(number, count)| digits(number) && digits(count))
}

/// Names of files that tokenizers and end tokens are read from: an old one beside new ones of another kind would be
/// taken for one of them.
fn are_beside_weights(name: &str) -> bool {
    matches!(
        name,
        "tokenizer.json"
            | "tokenizer.model"
            | "spiece.model"
            | "vocab.txt"
            | "vocab.json"
            | "merges.txt"
            | "added_tokens.json"
            | "special_tokens_map.json"
            | "tokenizer_config.json"
            | "chat_template.jinja"
            | "generation_config.json"
            | "modules.json"
            | "sentence_bert_config.json"
            | "config_sentence_transformers.json"
    )
}

/// Writes the parameters in Burn's own format (burnpack, `.bpk`): as they are in memory, under the names of the module,
/// so that nothing is converted or transposed when they are read again. It belongs to this version of the module; for
/// exchange and for keeping use [`save_pretrained`].
///
/// # Errors
///
/// [`Error::Write`].
pub fn save_burnpack<M: Module>(model: &M, path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    let record = model.clone().into_record();
    record.save(path).map_err(|error| failed(path, &error))
}

/// Fills a module from a file of [`save_burnpack`]. Every parameter must be there with its shape; types are those of
/// the file. On an error the module is unchanged.
///
/// On the CPU parameters are used where they lie in the file, which is mapped and must not be changed while the module
/// is used.
///
/// # Errors
///
/// [`Error::Burnpack`], and [`Error::Unreadable`] for a file that cannot be opened.
pub fn load_burnpack<M: Module>(model: &mut M, path: impl AsRef<Path>) -> Result<(), Error> {
    let path = with_extension(path.as_ref());
    let refused = |error: RecordError| Error::Burnpack {
        path: path.clone(),
        detail: clinical_files::shown(&error.to_string()),
    };
    let metadata = fs::metadata(&path).map_err(|source| Error::unreadable(&path, source))?;
    if !metadata.is_file() {
        return Err(Error::NotAFile { path });
    }
    let file = File::open(&path).map_err(|source| Error::unreadable(&path, source))?;
    // SAFETY: the map is read-only and private; the file must not be changed while it is used, as this function says.
    let map = unsafe { Mmap::map(&file) }.map_err(|source| Error::unreadable(&path, source))?;
    let bytes = Bytes::from_shared(bytes::Bytes::from_owner(map), AllocationProperty::File);
    // Read through a file, Burn copies every tensor when it is first used, with the faults of fresh memory.
    let record = ModuleRecord::from_bytes(bytes).map_err(refused)?;
    *model = model.clone().try_load_record(record).map_err(refused)?;
    Ok(())
}

/// The path that Burn writes to when it is given one without extension.
fn with_extension(path: &Path) -> PathBuf {
    match path.extension() {
        None if !path.exists() => path.with_extension("bpk"),
        _ => path.to_owned(),
    }
}
