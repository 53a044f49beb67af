//! The demonstration model: a real Hugging Face directory, compiled in.

use clinical_tokenizer::Tokenizer;

use crate::Error;

/// `config.json`.
pub(crate) const CONFIG: &str = include_str!("../demo/config.json");
/// `model.safetensors`.
pub(crate) const WEIGHTS: &[u8] = include_bytes!("../demo/model.safetensors");

/// `tokenizer.json` with `tokenizer_config.json`.
pub(crate) fn tokenizer() -> Result<Tokenizer, Error> {
    const TOKENIZER: &[u8] = include_bytes!("../demo/tokenizer.json");
    const CONFIG: &[u8] = include_bytes!("../demo/tokenizer_config.json");
    Ok(Tokenizer::from_bytes(TOKENIZER, Some(CONFIG))?)
}
