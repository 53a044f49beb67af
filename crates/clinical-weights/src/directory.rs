//! The directory of a model: its small files, and which of its files hold the weights.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::checkpoint::missing;
use crate::file::{Content, HEAD, Root, head};
use crate::gguf::{Part, PartName};
use crate::limits::{MAX_DIRECTORY_ENTRIES, MAX_JSON_BYTES, MAX_SHARDS};
use crate::{Checkpoint, Error, Gguf, Quantised, python_json};
use clinical_files::shown;

/// What says that a directory holds a LoRA adapter of Python's peft.
pub(crate) const ADAPTER_CONFIG: &str = crate::adapter::CONFIG;

/// An existing directory with the files of a model, as published; or one GGUF file, which is a whole model.
///
/// Opening it reads the names only. [`Self::weights`] opens the weights.
#[derive(Debug, Clone)]
pub struct CheckpointDir {
    /// What was opened: the directory, or a GGUF file in it.
    path: PathBuf,
    root: Root,
    names: Vec<String>,
}

impl CheckpointDir {
    /// Looks into a directory. The path of a file that ends in `.gguf` stands for that file alone, whatever is beside
    /// it; that of one part (`name-00002-of-00003.gguf`) for all parts.
    ///
    /// # Errors
    ///
    /// [`Error::DirectoryMissing`], [`Error::NotADirectory`], [`Error::DirectoryTooLarge`], [`Error::Unreadable`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path.as_ref(), false)
    }

    /// [`Self::open`], following links that leave the directory if `allow_links` says so.
    ///
    /// # Errors
    ///
    /// Those of [`Self::open`].
    pub fn open_with(path: &Path, allow_links: bool) -> Result<Self, Error> {
        if let Some((folder, name)) = gguf_file(path) {
            return Ok(Self {
                path: path.to_owned(),
                root: Root::open(folder, allow_links)?,
                names: vec![name.to_owned()],
            });
        }
        let root = Root::open(path, allow_links)?;
        let unreadable = |source| Error::unreadable(path, source);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            if names.len() == MAX_DIRECTORY_ENTRIES {
                return Err(Error::DirectoryTooLarge {
                    path: path.to_owned(),
                    limit: MAX_DIRECTORY_ENTRIES,
                });
            }
            // A name that is not Unicode is none that this crate looks for.
            names.extend(entry.map_err(unreadable)?.file_name().into_string());
        }
        names.sort();
        Ok(Self {
            path: path.to_owned(),
            root,
            names,
        })
    }

    /// The path that was opened: that of a directory or of a GGUF file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory itself: that of the GGUF file, if one was opened.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.root.path
    }

    /// The names of everything in the directory, sorted.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether the directory has an entry of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|found| found == name)
    }

    /// Refuses files of these names that another reader must not open: links that leave the directory, folders, pipes,
    /// and empty files. Names that the directory does not have pass.
    ///
    /// # Errors
    ///
    /// [`Error::OutsideDirectory`], [`Error::NotAFile`], [`Error::EmptyFile`], [`Error::Unreadable`].
    pub fn check_files(&self, names: &[&str]) -> Result<(), Error> {
        // A GGUF file that was named stands alone, but the tokenizer beside it may be read.
        let is_there = |name: &str| self.root.path.join(name).symlink_metadata().is_ok();
        let there = names.iter().filter(|name| is_there(name));
        for name in there {
            self.root.open_file(name)?;
        }
        Ok(())
    }

    /// The bytes of one file of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::FileMissing`], [`Error::FileTooLarge`], [`Error::EmptyFile`], [`Error::OutsideDirectory`],
    /// [`Error::NotAFile`], [`Error::Unreadable`].
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Error> {
        Ok(self.root.read(name, limit)?.1)
    }

    /// A JSON file of at most [`MAX_JSON_BYTES`], `config.json` for example.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read`], [`Error::Json`], and [`Error::LfsPointer`] or [`Error::WebPage`] for what is saved
    /// under such names by mistake.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        let (path, content) = self.root.read(name, MAX_JSON_BYTES)?;
        if let kind @ (Content::Lfs | Content::Page) =
            Content::of(&content[..content.len().min(HEAD)])
            && let Some(error) = kind.refuse(&path, "JSON")
        {
            return Err(error);
        }
        // Some Windows tools put a byte order mark in front.
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
        serde_json::from_slice(content).map_err(|source| Error::Json { path, source })
    }

    /// `config.json` with every key that it has, and sentences about what Python writes and JSON does not know: `NaN`
    /// and `Infinity` are read as `null`. The GGUF file's own configuration is [`Gguf::config`].
    ///
    /// # Errors
    ///
    /// Those of [`Self::read_json`]; [`Error::Adapter`] where there is only a LoRA adapter.
    pub fn read_config(&self) -> Result<(Value, Vec<String>), Error> {
        if !self.has("config.json") {
            self.no_adapter()?;
        }
        self.read_python_json("config.json")
    }

    /// A JSON file that Python wrote; [`Self::read_config`] says what that means.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read_json`].
    pub fn read_python_json(&self, name: &str) -> Result<(Value, Vec<String>), Error> {
        match self.read_json(name) {
            Ok(value) => Ok((value, Vec::new())),
            Err(Error::Json { path, source }) => {
                let content = self.read(name, MAX_JSON_BYTES)?;
                match python_json::parse(&content) {
                    Some((value, keys)) => Ok((value, vec![python_json::remark(name, &keys)])),
                    None => Err(Error::Json { path, source }),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// A folder inside this one, such as the `1_Pooling` of sentence-transformers.
    ///
    /// # Errors
    ///
    /// [`Error::NoFolder`] for a name that is a path; those of [`Self::open`]; [`Error::OutsideDirectory`] for one that
    /// lies elsewhere.
    pub fn folder(&self, name: &str) -> Result<Self, Error> {
        let mut parts = Path::new(name).components();
        let (Some(Component::Normal(_)), None) = (parts.next(), parts.next()) else {
            return Err(Error::NoFolder {
                path: self.path.clone(),
                folder: shown(name),
            });
        };
        let path = self.root.path.join(name);
        self.root.check_folder(&path)?;
        Self::open_with(&path, self.root.allow_links)
    }

    /// The folder of the model itself, where the directory has no `config.json` and its `modules.json` names one: models of
    /// sentence-transformers of 2019 and 2020 are laid out so (`0_Transformer`).
    ///
    /// # Errors
    ///
    /// Those of [`Self::folder`], [`Self::read_json`] and [`Self::gguf`].
    pub fn module_folder(&self) -> Result<Option<Self>, Error> {
        const MODULES: &str = "modules.json";
        // A GGUF file is a whole model.
        if self.has("config.json") || !self.has(MODULES) || self.gguf()?.is_some() {
            return Ok(None);
        }
        let modules: Value = self.read_json(MODULES)?;
        match modules[0]["path"].as_str() {
            Some(name) if !name.is_empty() => self.folder(name).map(Some),
            _ => Ok(None),
        }
    }

    /// The tools that quantise give their weights names of their own (`gptq_model-4bit-128g.safetensors`), and lay a
    /// file of their settings beside them.
    fn no_quantised(&self) -> Result<(), Error> {
        for (file, scheme) in [
            ("quantize_config.json", "gptq"),
            ("quant_config.json", "awq"),
        ] {
            if let Some(settings) = self.has(file).then(|| self.read_json::<Value>(file)) {
                let mut settings = settings.unwrap_or_default();
                if settings.get("quant_method").is_none() && settings.is_object() {
                    settings["quant_method"] = scheme.into();
                }
                let found = Quantised::of(&serde_json::json!({ "quantization_config": settings }));
                return Err(Error::Quantised {
                    path: self.path.clone(),
                    method: found.map_or_else(|| scheme.to_uppercase(), |found| found.to_string()),
                });
            }
        }
        Ok(())
    }

    /// The error for an adapter without its model says what it is.
    fn no_adapter(&self) -> Result<(), Error> {
        match self.has(ADAPTER_CONFIG) {
            true => Err(adapter_error(
                &self.root.path,
                self.read_json(ADAPTER_CONFIG).ok(),
            )),
            false => Ok(()),
        }
    }

    /// The configuration: `config.json`, or what the GGUF file says instead where the weights are one, since a
    /// `config.json` beside such a file is often a stub. [`Facade::expect`](crate::Facade::expect) checks its kind.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read_config`], [`Self::gguf`] and [`Gguf::config`].
    pub fn config(&self) -> Result<Value, Error> {
        match self.gguf()? {
            Some(file) => file.config(),
            None => Ok(self.read_config()?.0),
        }
    }

    /// The GGUF file, if [`Self::weights`] would take the weights from one. It holds the configuration and the
    /// tokenizer as well.
    ///
    /// # Errors
    ///
    /// [`Error::SeveralGguf`], [`Error::GgufPart`], and everything that can be wrong with a GGUF file.
    pub fn gguf(&self) -> Result<Option<Gguf>, Error> {
        let choices = self.choices()?;
        match choices.first().map(|chosen| &chosen.files) {
            Some(Files::Gguf(name)) => self.open_gguf(name, &choices).map(Some),
            _ => Ok(None),
        }
    }

    /// Opens a GGUF file, with the other parts if its name is that of one of several. All `choices` are GGUF files.
    fn open_gguf(&self, name: &str, choices: &[Choice]) -> Result<Gguf, Error> {
        self.one_model(choices)?;
        let names = match PartName::of(name) {
            Some(part) if part.parts > MAX_SHARDS => return Err(self.too_many_files()),
            Some(part) => part.all().collect(),
            None => vec![name.to_owned()],
        };
        let mut parts = Vec::with_capacity(names.len());
        for name in &names {
            let file = self.root.open_file(name);
            let file = file.map_err(|error| missing(error, &self.root, name))?;
            let content = Content::of(&head(&file)?);
            if matches!(content, Content::Lfs | Content::Page)
                && let Some(error) = content.refuse(&file.path, "GGUF")
            {
                return Err(error);
            }
            parts.push(Part::open(file)?);
        }
        Gguf::open(parts)
    }

    /// Several GGUF files are several models, unless they are the parts of one.
    fn one_model(&self, choices: &[Choice]) -> Result<(), Error> {
        let mut names = choices.iter().map(|choice| &choice.name);
        let list: Vec<String> = names.by_ref().take(3).map(|name| shown(name)).collect();
        if list.len() < 2 {
            return Ok(());
        }
        let more = if names.next().is_some() { ", ..." } else { "" };
        Err(Error::SeveralGguf {
            path: self.root.path.clone(),
            names: format!("{}{more}", list.join(", ")),
        })
    }

    /// Opens the weights: reads headers, no values.
    ///
    /// The first of these that is there counts, as in Python `transformers`: `model.safetensors`,
    /// `model.safetensors.index.json`, `pytorch_model.bin`, `pytorch_model.bin.index.json`; then a complete set of
    /// shards (`model-00001-of-00003.safetensors`, ...) whose index is missing, then `flax_model.msgpack`, then a file
    /// `*.gguf` or the parts of one.
    ///
    /// # Errors
    ///
    /// [`Error::NoWeights`], and everything that can be wrong with an index or a weight file; [`Error::SeveralGguf`]
    /// and [`Error::GgufPart`] where only GGUF files are there.
    pub fn weights(&self) -> Result<Checkpoint, Error> {
        let choices = self.choices()?;
        let Some((chosen, others)) = choices.split_first() else {
            self.no_adapter()?;
            self.no_quantised()?;
            return Err(Error::NoWeights {
                path: self.root.path.clone(),
                found: self.found(),
            });
        };
        let others = others.iter().map(|choice| choice.name.clone()).collect();
        match &chosen.files {
            Files::One => Checkpoint::single(&self.root, &chosen.name, others),
            Files::Gguf(name) => {
                let file = self.open_gguf(name, &choices)?;
                Checkpoint::gguf(&file, &chosen.name, others)
            }
            Files::Index => Checkpoint::indexed(&self.root, &chosen.name, others),
            Files::Shards(names) => Checkpoint::shards(&self.root, names, &chosen.name, others),
        }
    }

    /// Opens one file of weights by its name.
    pub(crate) fn weights_named(&self, name: &str) -> Result<Checkpoint, Error> {
        Checkpoint::single(&self.root, name, Vec::new())
    }

    /// [`Self::weights`], from the file that [`Self::gguf`] has opened.
    ///
    /// # Errors
    ///
    /// Those of [`Self::weights`].
    pub fn weights_of(&self, file: &Gguf) -> Result<Checkpoint, Error> {
        let names: Vec<String> = self.choices()?.into_iter().map(|one| one.name).collect();
        let chosen = names.first().cloned().unwrap_or_default();
        Checkpoint::gguf(file, &chosen, names.into_iter().skip(1).collect())
    }

    /// Everything that could be opened, the preferred one first.
    fn choices(&self) -> Result<Vec<Choice>, Error> {
        let mut choices = Vec::new();
        for (single, stem, extension) in [
            ("model.safetensors", "model", "safetensors"),
            ("pytorch_model.bin", "pytorch_model", "bin"),
        ] {
            let index = format!("{single}.index.json");
            for (name, files) in [(single, Files::One), (&index, Files::Index)] {
                if self.has(name) {
                    choices.push(Choice {
                        name: name.to_owned(),
                        files,
                    });
                }
            }
            if !self.has(&index) {
                choices.extend(self.loose_shards(stem, extension)?);
            }
        }
        // Shards without an index come after everything that says what it is.
        choices.sort_by_key(|choice| matches!(choice.files, Files::Shards(_)));
        let whole = |name: &String, files| Choice {
            name: name.clone(),
            files,
        };
        let named = |wanted: fn(&str) -> bool| self.names.iter().filter(move |name| wanted(name));
        choices.extend(named(|name| name == "flax_model.msgpack").map(|n| whole(n, Files::One)));
        let mut models = BTreeSet::new();
        for name in named(is_gguf) {
            let together = PartName::of(name).map_or_else(|| name.clone(), PartName::together);
            if models.insert(together.clone()) {
                choices.push(whole(&together, Files::Gguf(name.clone())));
            }
        }
        Ok(choices)
    }

    /// Shards `stem-00001-of-0000N.extension` that no index lists. Their names say which belong together.
    fn loose_shards(&self, stem: &str, extension: &str) -> Result<Option<Choice>, Error> {
        let numbers = |name: &str| -> Option<(usize, usize, usize)> {
            let middle = name
                .strip_prefix(stem)?
                .strip_prefix('-')?
                .strip_suffix(extension)?
                .strip_suffix('.')?;
            let (number, count) = middle.split_once("-of-")?;
            let digits = |text: &str| -> Option<usize> {
                text.bytes()
                    .all(|byte| byte.is_ascii_digit())
                    .then_some(())?;
                text.parse().ok()
            };
            Some((digits(number)?, digits(count)?, number.len()))
        };
        let Some((_, count, width)) = self.names.iter().find_map(|name| numbers(name)) else {
            return Ok(None);
        };
        if count > MAX_SHARDS {
            return Err(self.too_many_files());
        }
        let names: Vec<String> = (1..=count)
            .map(|number| format!("{stem}-{number:0width$}-of-{count:0width$}.{extension}"))
            .collect();
        if let Some(missing) = names.iter().find(|name| !self.has(name)) {
            return Err(Error::ShardMissing {
                path: self.root.path.clone(),
                name: missing.clone(),
            });
        }
        Ok(Some(Choice {
            name: format!("{stem}-*.{extension}"),
            files: Files::Shards(names),
        }))
    }

    fn too_many_files(&self) -> Error {
        Error::TooMany {
            path: self.root.path.clone(),
            what: "weight files",
            limit: MAX_SHARDS,
        }
    }

    /// The first names of the directory, for a message.
    fn found(&self) -> String {
        const SHOWN: usize = 8;
        if self.names.is_empty() {
            return "it is empty".to_owned();
        }
        let names: Vec<String> = self
            .names
            .iter()
            .take(SHOWN)
            .map(|name| shown(name))
            .collect();
        match self.names.len().checked_sub(SHOWN) {
            None | Some(0) => format!("found {}", names.join(", ")),
            Some(more) => format!("found {} and {more} more", names.join(", ")),
        }
    }
}

/// What the error for a directory with an adapter and no model says.
pub(crate) fn adapter_error(path: &Path, config: Option<Value>) -> Error {
    let base = config
        .as_ref()
        .and_then(|config| config.get("base_model_name_or_path")?.as_str());
    Error::Adapter {
        path: path.to_owned(),
        base: match base {
            Some(base) if !base.is_empty() => shown(base),
            _ => "another model".to_owned(),
        },
    }
}

fn is_gguf(name: &str) -> bool {
    name.len() > ".gguf".len() && name.ends_with(".gguf")
}

/// The folder and the name of a path to a GGUF file.
fn gguf_file(path: &Path) -> Option<(&Path, &str)> {
    let name = path.file_name()?.to_str().filter(|name| is_gguf(name))?;
    let folder = match path.parent()? {
        here if here.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    path.is_file().then_some((folder, name))
}

struct Choice {
    name: String,
    files: Files,
}

enum Files {
    One,
    /// One file, or one of the parts of one.
    Gguf(String),
    Index,
    Shards(Vec<String>),
}
