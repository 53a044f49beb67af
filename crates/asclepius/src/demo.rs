//! The demonstration model: a real Hugging Face directory, compiled in.

use clinical_tokenizer::Tokenizer;

use crate::Result;

/// [`model_checksum`](crate::model_checksum) of the demonstration model, which has no directory.
#[must_use]
pub fn embedded_checksum() -> String {
    clinical_facade::embedded_checksum(CONFIG, WEIGHTS)
}

/// `config.json`.
pub(crate) const CONFIG: &str = include_str!("../demo/config.json");
/// `generation_config.json`.
pub(crate) const GENERATION: &str = include_str!("../demo/generation_config.json");
/// `model.safetensors`.
pub(crate) const WEIGHTS: &[u8] = include_bytes!("../demo/model.safetensors");

/// `tokenizer.json` with `tokenizer_config.json`.
pub(crate) fn tokenizer() -> Result<Tokenizer> {
    const TOKENIZER: &[u8] = include_bytes!("../demo/tokenizer.json");
    const CONFIG: &[u8] = include_bytes!("../demo/tokenizer_config.json");
    Ok(Tokenizer::from_bytes(TOKENIZER, Some(CONFIG))?)
}
