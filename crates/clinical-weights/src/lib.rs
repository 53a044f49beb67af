#![doc = include_str!("../README.md")]

mod adapter;
mod ahead;
mod architecture;
mod checkpoint;
mod config_file;
mod convert;
mod directory;
mod dtype;
mod error;
mod file;
mod flax;
mod gguf;
mod index;
mod key_map;
pub mod limits;
mod load;
mod nearest;
mod options;
mod packing;
mod pattern;
mod pickle;
mod plan;
mod prefix;
mod python_json;
mod quantised;
mod random;
mod report;
mod safetensors_file;
mod save;
mod save_directory;
mod slots;
mod table;
mod tied;
mod tokenizer;
mod torch_file;

pub use adapter::{AdapterFiles, AdapterOptions, attach_adapters};
pub use architecture::{ARCHITECTURES, Architecture, Facade};
pub use checkpoint::Checkpoint;
pub use config_file::read_config;
pub use directory::CheckpointDir;
pub use dtype::Dtype;
pub use error::Error;
pub use gguf::{BlockType, Gguf};
pub use key_map::KeyMap;
pub use load::{FromCheckpoint, load, load_bytes, load_from, plan};
pub use options::{LinearLayout, LoadOptions, Precision, Progress};
pub use packing::PackingPolicy;
pub use quantised::Quantised;
pub use random::with_random_weights;
pub use report::{Alias, LoadReport, Mismatched, Missing, Unexpected};
pub use save::{save_module, save_safetensors};
pub use save_directory::{
    SAVED_MODEL, SAVED_WEIGHTS, SaveOptions, load_burnpack, save_burnpack, save_model_files,
    save_pretrained,
};
pub use table::{Format, TensorInfo, WeightBytes, WeightFile};
