//! Everything that can be wrong with a checkpoint, one variant for each rule.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Dtype, LoadReport, Precision};

/// Why a checkpoint could not be opened, loaded or written.
///
/// Each message is one sentence that says what to do. Names that come from a file are shown escaped and cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // --- the directory -------------------------------------------------------------------------------------------
    /// There is nothing at the path.
    #[error("there is no directory {}: check the path, or download the model first", path.display())]
    DirectoryMissing {
        /// The path that was given.
        path: PathBuf,
    },
    /// The path names a file.
    #[error("{} is a file: give the directory that holds it together with its config.json", path.display())]
    NotADirectory {
        /// The path that was given.
        path: PathBuf,
    },
    /// The directory has more entries than any checkpoint.
    #[error("{} has more than {limit} entries: give the directory of one model", path.display())]
    DirectoryTooLarge {
        /// The directory.
        path: PathBuf,
        /// [`MAX_DIRECTORY_ENTRIES`](crate::limits::MAX_DIRECTORY_ENTRIES).
        limit: usize,
    },
    /// A file that the model needs is not there.
    #[error("{} has no {name}: copy it there from where the model was published", path.display())]
    FileMissing {
        /// The directory.
        path: PathBuf,
        /// The file.
        name: String,
    },
    /// No file in the directory holds weights that this crate reads.
    #[error(
        "{} has no model.safetensors or pytorch_model.bin, single or sharded, no flax_model.msgpack and no .gguf \
         ({found}): convert the model to one of them with `save_pretrained` of Python transformers",
        path.display()
    )]
    NoWeights {
        /// The directory.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },

    /// A setting of the kernels cannot be followed.
    #[error(transparent)]
    Kernels(#[from] clinical_kernels::Error),

    // --- one file ------------------------------------------------------------------------------------------------
    /// The system does not let the file be read.
    #[error("{} cannot be read ({source}): {}", path.display(), advice(source))]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is a folder, a pipe or a device.
    #[error("{} is not a regular file: replace it by the real file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is a link to somewhere else.
    #[error(
        "{} is a link that leaves its directory: copy the file there, or allow links in the load options",
        path.display()
    )]
    OutsideDirectory {
        /// The link.
        path: PathBuf,
    },
    /// A file of the directory names a folder that is none of its own.
    #[error("`{folder}` is no folder inside {}: see what its modules.json names", path.display())]
    NoFolder {
        /// The directory.
        path: PathBuf,
        /// The folder, escaped and cut.
        folder: String,
    },
    /// The file has no bytes.
    #[error("{} is empty: download it again", path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// The file only says where Git-LFS keeps the real one.
    #[error(
        "{} is a Git-LFS pointer, not the file itself: run `git lfs pull` in the directory, or download the file",
        path.display()
    )]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// The file is a web page.
    #[error(
        "{} is a web page that was saved under this name: download the file itself (a gated model needs a login)",
        path.display()
    )]
    WebPage {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something else than its name says.
    #[error("{} does not hold {expected} but {found}: download it again", path.display())]
    WrongContent {
        /// The file.
        path: PathBuf,
        /// What its name promises.
        expected: &'static str,
        /// What it looks like.
        found: &'static str,
    },
    /// The file is larger than its kind may be.
    #[error(
        "{} has {bytes} bytes, more than the {limit} that a file of its kind may have: it is not what its name says",
        path.display()
    )]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit, one of [`limits`](crate::limits).
        limit: u64,
    },
    /// The file is not valid JSON of the expected form.
    #[error("{} is not the JSON it should be ({source}): download it again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and how it fails.
        source: serde_json::Error,
    },
    /// The directory holds another kind of model.
    #[error("this directory holds a `{found}` model, not {expected}: {advice}")]
    ModelType {
        /// `model_type` of its config.json.
        found: String,
        /// What was expected.
        expected: String,
        /// Which facade opens it.
        advice: String,
    },
    /// The directory or file holds a LoRA adapter and no model.
    #[error(
        "{} is a LoRA adapter for {base}, not a whole model: {}",
        path.display(),
        adapter_advice(path)
    )]
    Adapter {
        /// The directory or GGUF file.
        path: PathBuf,
        /// The model that it belongs to, as the file names it.
        base: String,
    },
    /// The weights are integers of a scheme that is not read.
    #[error(
        "{} holds weights quantised by {method}, which are not read: use the model in F32, F16 or BF16 (with \
         `Precision::Int8` or `Int4` it takes as little memory), or a GGUF file of it",
        path.display()
    )]
    Quantised {
        /// The directory.
        path: PathBuf,
        /// The scheme: `GPTQ, 4 bits`.
        method: String,
    },

    // --- shards --------------------------------------------------------------------------------------------------
    /// The index has no entries.
    #[error("{} lists no tensors: download it again", path.display())]
    IndexEmpty {
        /// The index.
        path: PathBuf,
    },
    /// The index names a tensor twice.
    #[error("{} lists the tensor {name} twice: download it again", path.display())]
    IndexDuplicate {
        /// The index.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// The checkpoint has more tensors or files than any model.
    #[error(
        "{} asks for more than {limit} {what}: it is not the checkpoint of a model this library runs",
        path.display()
    )]
    TooMany {
        /// The file.
        path: PathBuf,
        /// What there is too much of.
        what: &'static str,
        /// The limit, one of [`limits`](crate::limits).
        limit: usize,
    },
    /// A shard name is not a plain file name.
    #[error("the shard index names the file {name}, which {rule}: do not use this checkpoint")]
    ShardName {
        /// The name, escaped and cut.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A shard is not there.
    #[error("the shard {name} is missing from {}: download it there", path.display())]
    ShardMissing {
        /// The directory.
        path: PathBuf,
        /// The shard.
        name: String,
    },
    /// The index promises a tensor that no shard holds.
    #[error(
        "no shard holds the tensor {name}, which the index places in {file}: download that file again"
    )]
    TensorNotInShards {
        /// The tensor.
        name: String,
        /// The file that should hold it.
        file: String,
    },
    /// Two files hold a tensor of the same name, and nothing says which one counts.
    #[error(
        "the tensor {name} is in both {first} and {second}: keep the files of one checkpoint only"
    )]
    TensorTwice {
        /// The tensor.
        name: String,
        /// A file that holds it.
        first: String,
        /// Another one.
        second: String,
    },

    // --- safetensors ---------------------------------------------------------------------------------------------
    /// The file ends too early.
    #[error("{} is cut off: it has {found} bytes and should have {expected}: download it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The bytes that its header promises.
        expected: u64,
        /// The bytes it has.
        found: u64,
    },
    /// The file goes on after its last tensor.
    #[error("{} has {extra} bytes after its last tensor: download it again", path.display())]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// How many bytes too many.
        extra: u64,
    },
    /// The header is longer than that of any model.
    #[error(
        "{} declares a header of {bytes} bytes, more than the limit of {limit}: it is damaged or hostile",
        path.display()
    )]
    HeaderTooLarge {
        /// The file.
        path: PathBuf,
        /// The declared length.
        bytes: u64,
        /// [`MAX_SAFETENSORS_HEADER`](crate::limits::MAX_SAFETENSORS_HEADER).
        limit: u64,
    },
    /// The header is not UTF-8 JSON of the safetensors form.
    #[error("{} has no valid safetensors header ({detail}): download it again", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Tensors overlap, leave a gap, or run backwards.
    #[error("{} places the tensor {name} over or away from its neighbour: it is damaged or hostile", path.display())]
    TensorOffsets {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor's bytes cannot be what its shape and type say.
    #[error("{} has a tensor {name} that cannot be right ({detail}): it is damaged or hostile", path.display())]
    TensorBytesOf {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A tensor's bytes are not what its shape and type need.
    #[error("{} gives a tensor bytes that do not fit its shape and type: it is damaged or hostile", path.display())]
    TensorBytes {
        /// The file.
        path: PathBuf,
    },
    /// A shape times its element size overflows.
    #[error(
        "{what} has a shape too large for this machine's address space: it is damaged or hostile"
    )]
    SizeOverflow {
        /// The file or parameter.
        what: String,
    },

    // --- PyTorch -------------------------------------------------------------------------------------------------
    /// The zip archive is damaged or cut off.
    #[error("{} is not a complete PyTorch file ({detail}): download it again", path.display())]
    TorchArchive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The pickle inside is damaged, or holds something else than a dictionary of tensors.
    #[error(
        "{} does not hold a dictionary of tensors ({detail}): save `model.state_dict()`, best as safetensors",
        path.display()
    )]
    TorchPickle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The pickle names a Python function or class that weights do not need. Nothing was run.
    #[error(
        "{} asks Python to run {global}, which weights do not need, so it was refused and nothing was run: do not open \
         this file in Python; ask its publisher for safetensors",
        path.display()
    )]
    ForbiddenPickle {
        /// The file.
        path: PathBuf,
        /// The function or class.
        global: String,
    },
    /// A format that this version does not read.
    #[error(
        "{} is a {format} file, which this version does not read: use safetensors or PyTorch weights",
        path.display()
    )]
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
    },
    /// A tensor's values could not be read.
    #[error("the tensor {name} cannot be read ({source}): download the checkpoint again")]
    ReadTensor {
        /// The tensor.
        name: String,
        /// What the system or the reader said.
        source: io::Error,
    },

    // --- GGUF and Flax -------------------------------------------------------------------------------------------
    /// The file is not built as GGUF files are.
    #[error("{} is not a valid GGUF file ({detail}): download it again", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A key of the metadata is missing or cannot be used.
    #[error(
        "the metadata {key} of the GGUF file {problem}: convert the model again with a current llama.cpp"
    )]
    GgufMetadata {
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A key of the metadata asks for something that the model does not do here.
    #[error(
        "the metadata {key} of the GGUF file {problem}: this library does not compute that, so use the model as \
         safetensors if it was published so, or llama.cpp"
    )]
    GgufSetting {
        /// The key.
        key: String,
        /// What it asks for.
        problem: String,
    },
    /// The file is a GGUF file, and holds no model.
    #[error("{} holds {what}: give the GGUF file of the model itself", path.display())]
    GgufNoModel {
        /// The file.
        path: PathBuf,
        /// What it holds.
        what: String,
    },
    /// The file holds another kind of model.
    #[error(
        "{} holds a model of the architecture {found}: GGUF files of {read} are read",
        path.display()
    )]
    GgufArchitecture {
        /// The file.
        path: PathBuf,
        /// What `general.architecture` says.
        found: String,
        /// The architectures that are read.
        read: String,
    },
    /// A tensor has a quantised type that is not read.
    #[error(
        "the tensor {name} of the GGUF file has the type {kind}, which is not read: use a file in Q2_K to Q8_0, F16 or \
         F32"
    )]
    GgufType {
        /// The tensor.
        name: String,
        /// The name of its type, or the number of one without a name.
        kind: String,
    },
    /// The parts of a model that was split into several GGUF files do not belong together.
    #[error("{} does not fit the other parts of its model ({problem}): download all parts again", path.display())]
    GgufPart {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A directory has several models as GGUF files.
    #[error("{} has several GGUF files ({names}): give the path of the one to open", path.display())]
    SeveralGguf {
        /// The directory.
        path: PathBuf,
        /// The first of them.
        names: String,
    },
    /// The file is not built as Flax files are.
    #[error("{} is not a valid Flax file ({detail}): download it again", path.display())]
    Flax {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },

    // --- model and checkpoint together ---------------------------------------------------------------------------
    /// The tensors of the checkpoint are not those of the model.
    #[error("the checkpoint does not fit the model: {}", .0.summary())]
    DoesNotFit(Box<LoadReport>),
    /// The checkpoint has less than half of the model's values, so the model would be noise, whatever `strict` says.
    #[error(
        "the checkpoint has {found} of the model's {wanted} values, so it is not the checkpoint of this model: {}",
        .report.summary()
    )]
    HardlyAny {
        /// Values that it has.
        found: u64,
        /// Values that the model needs.
        wanted: u64,
        /// Which parameters are missing.
        report: Box<LoadReport>,
    },
    /// The checkpoint has the model twice.
    #[error(
        "the checkpoint has the whole model twice, under {first} and under {second}: keep one of them and save it again"
    )]
    SeveralModels {
        /// A prefix.
        first: String,
        /// Another one.
        second: String,
    },
    /// A tensor has a type that the parameter cannot take.
    #[error(
        "the tensor {name} holds {dtype} values where {wanted} are needed: use a checkpoint in F32, F16 or BF16"
    )]
    WrongDtype {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: Dtype,
        /// What the parameter needs.
        wanted: &'static str,
    },
    /// Two names of one tied parameter hold different values.
    #[error(
        "{first} and {second} are one tied parameter but hold different values: the config's tie_word_embeddings is \
         wrong, or load with strict off to use the first"
    )]
    TiedDisagree {
        /// The name that would be used.
        first: String,
        /// The other one.
        second: String,
    },
    /// Two tensors of the file are the same parameter under the key map.
    #[error(
        "the tensors {first} and {second} are both the parameter {parameter}: remove one of them"
    )]
    SameParameter {
        /// A tensor.
        first: String,
        /// Another one.
        second: String,
        /// The parameter.
        parameter: String,
    },
    /// The parameters need more than [`LoadOptions::max_bytes`](crate::LoadOptions::max_bytes).
    #[error(
        "the model needs {needed} bytes for its parameters, more than the limit of {limit}: raise the limit or choose \
         a smaller precision"
    )]
    TooLarge {
        /// Bytes at the chosen precision.
        needed: u64,
        /// The caller's limit.
        limit: u64,
    },
    /// Parameters without values in the checkpoint need more memory than the whole checkpoint has.
    #[error(
        "config.json describes a model of {needed} bytes, but the files hold {present}: they do not belong together"
    )]
    LargerThanFiles {
        /// Bytes of all parameters.
        needed: u64,
        /// Bytes of all tensors in the files.
        present: u64,
    },
    /// The precision cannot be used on the device.
    #[error("{precision} weights are not supported yet on this device: choose f32 or f16")]
    PrecisionUnsupported {
        /// The precision.
        precision: Precision,
    },
    /// The module holds packed weights from an earlier load.
    #[error("{parameter} is packed already: load into a new model")]
    AlreadyPacked {
        /// The first such parameter.
        parameter: String,
    },
    /// A precision's name is unknown.
    #[error(
        "unknown precision `{name}`: use f32, int8, int4, stored-f16, stored-bf16, f16 or bf16"
    )]
    UnknownPrecision {
        /// The name that was given.
        name: String,
    },
    /// A rule of a key map is wrong (a mistake in a model's code).
    #[error("the key map has a wrong rule `{rule}`: {problem}")]
    KeyMap {
        /// The rule.
        rule: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    // --- saving --------------------------------------------------------------------------------------------------
    /// The file could not be written; what was there before is untouched.
    #[error("{} cannot be written ({detail}): check the folder's permissions and free space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// A file or folder could not be read, written or put in its place.
    #[error(transparent)]
    Files(#[from] clinical_files::Error),
    /// A file in Burn's own format does not fit the module.
    #[error(
        "{} does not fit the module ({detail}): write it again with this version, or load the published directory",
        path.display()
    )]
    Burnpack {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The adapter uses something that is not read.
    #[error(
        "{}: the adapter uses {kind}, which is not read: merge it into its base model with `merge_and_unload` of \
         Python peft",
        path.display()
    )]
    AdapterKind {
        /// The file, or the tensor.
        path: PathBuf,
        /// What it uses.
        kind: String,
    },
    /// A value of `adapter_config.json` is wrong.
    #[error("{}: {key} {problem}: download the adapter again, or save it with a current peft", path.display())]
    AdapterConfig {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What it must be.
        problem: String,
    },
    /// A tensor of an adapter is wrong.
    #[error(
        "the adapter's tensor {name} {problem}: check that its files belong together and to this model"
    )]
    AdapterTensor {
        /// The tensor or layer.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The model has no such layer.
    #[error(
        "the model has no layer {name}{near} that could take an adapter: the adapter belongs to another base model, or \
         to a part that takes none"
    )]
    AdapterLayer {
        /// The layer, as the adapter names it.
        name: String,
        /// A name that the model has, in parentheses.
        near: String,
    },
    /// The factors of an adapter do not fit a layer.
    #[error(transparent)]
    AdapterFit(#[from] clinical_nn::AdapterError),
    /// The model has an adapter already.
    #[error(
        "the layer {layer} has an adapter already: merge it into the weights, or remove it, before another is added"
    )]
    AdapterTwice {
        /// The first such layer.
        layer: String,
    },
    /// There is no adapter to write.
    #[error("the model has no adapter: add one first")]
    NoAdapter,
    /// A model with an adapter was to be written.
    #[error(
        "the layer {layer} has an adapter, which files of a model cannot hold: merge it into the weights, or save it \
         by itself"
    )]
    AdapterInModel {
        /// The first such layer.
        layer: String,
    },
    /// A parameter has a type that safetensors or this crate cannot write.
    #[error(
        "the parameter {name} has the type {dtype}, which cannot be written: convert the model to f32 first"
    )]
    Unwritable {
        /// The parameter.
        name: String,
        /// Its type.
        dtype: String,
    },
}

impl Error {
    /// The full report, when the checkpoint did not fit the model.
    #[must_use]
    pub fn report(&self) -> Option<&LoadReport> {
        match self {
            Self::DoesNotFit(report) | Self::HardlyAny { report, .. } => Some(report),
            _ => None,
        }
    }

    pub(crate) fn unreadable(path: &Path, source: io::Error) -> Self {
        Self::Unreadable {
            path: path.to_owned(),
            source,
        }
    }
}

/// What to do with an adapter alone.
fn adapter_advice(path: &Path) -> &'static str {
    match path.extension().is_some_and(|end| end == "gguf") {
        true => "merge the two with `llama-export-lora` of llama.cpp",
        false => {
            "load the base model and give this directory to `with_adapter`, or copy the adapter's files beside the \
             base model's weights"
        }
    }
}

/// What helps where a file cannot be read.
fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "check its permissions",
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::OutOfMemory => {
            "the process may have no more memory or addresses: raise the limit (ulimit -v), or choose a smaller model"
        }
        // `EMFILE` of Unix systems.
        _ if source.raw_os_error() == Some(24) => "raise the limit of open files (ulimit -n)",
        _ => "check the disk that it lies on",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model under `ulimit -v` has nothing to do with permissions.
    #[test]
    fn the_advice_fits_the_cause() {
        let message = |kind: io::ErrorKind| {
            Error::unreadable(Path::new("model.safetensors"), kind.into()).to_string()
        };
        assert!(message(io::ErrorKind::PermissionDenied).contains("permissions"));
        for kind in [
            io::ErrorKind::OutOfMemory,
            io::ErrorKind::NotFound,
            io::ErrorKind::Other,
        ] {
            assert!(!message(kind).contains("permissions"), "{kind}");
        }
        assert!(message(io::ErrorKind::OutOfMemory).contains("ulimit"));
    }
}
