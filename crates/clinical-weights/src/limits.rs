//! Limits on what a file may ask for, each with its reason. A number in a file never becomes an allocation before it
//! has passed one of these.

/// Largest `config.json` or other small JSON file: 1 MiB. The published ones are below 10 KiB.
pub const MAX_JSON_BYTES: u64 = 1 << 20;

/// Largest shard index: 64 MiB, a thousand times the index of a 70B model.
pub const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Most tensors that an index or all files of a checkpoint together may name: ninety times those of a 70B LLaMA.
pub const MAX_TENSORS: usize = 65_536;

/// Most weight files of one checkpoint. Each stays open, and systems allow about a thousand open files.
pub const MAX_SHARDS: usize = 512;

/// Most names that are read from one directory.
pub const MAX_DIRECTORY_ENTRIES: usize = 10_000;

/// Largest JSON header of a safetensors file: 25 MB, the limit of the Hugging Face Hub, enough for 200,000 tensors.
/// (The format allows 100 MB, but a header takes several times its size while it is parsed.)
pub const MAX_SAFETENSORS_HEADER: u64 = 25_000_000;

/// Largest `data.pkl` of a PyTorch file: 100 MiB, the limit of `pytorch-reader`.
pub const MAX_PICKLE_BYTES: u64 = 100 << 20;

/// Most keys in the metadata of a GGUF file; published ones have about fifty.
pub const MAX_GGUF_KEYS: usize = 65_536;

/// Longest key or name in a GGUF file, as the format has it.
pub const MAX_GGUF_KEY_BYTES: usize = 65_535;

/// Largest alignment of tensors in a GGUF file; published ones have 32 or 64.
pub const MAX_GGUF_ALIGNMENT: u64 = 1 << 20;

/// Deepest nesting of a Flax file; published ones have about ten levels.
pub const MAX_FLAX_DEPTH: usize = 64;

/// Longest tensor name. PyTorch sets no limit; the longest published ones have about 100 bytes.
pub const MAX_NAME_BYTES: usize = 1024;

/// Most layers that a configuration may ask for.
pub const MAX_LAYERS: usize = 1024;

/// Widest hidden, inner or attention dimension that a configuration may ask for.
pub const MAX_WIDTH: usize = 131_072;

/// Largest vocabulary that a configuration may ask for.
pub const MAX_VOCABULARY: usize = 2_000_000;

/// How often the values of one storage may be used: T5 has four names for one.
pub const MAX_SHARING: u64 = 4;

/// Most parameters of a model for each byte of its files: the densest format has four values to a byte (two bits each),
/// and [`MAX_SHARING`] names may share them.
pub const MAX_VALUES_PER_BYTE: u64 = 4 * MAX_SHARING;
