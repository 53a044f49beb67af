//! Checkpoints whose weights are integers of GPTQ, AWQ and their like.

use std::fmt;
use std::path::Path;

use serde_json::Value;

use crate::{Checkpoint, Error};
use clinical_files::shown;

/// How the weights of a checkpoint were quantised, as `config.json` says or as the names of the tensors show.
/// `Display`: `GPTQ, 4 bits`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Quantised {
    /// The scheme.
    pub method: String,
    /// Bits of a weight, where the files say.
    pub bits: Option<u64>,
}

/// Where `config.json` keeps it: Hugging Face, older compressed-tensors, MLX.
const KEYS: [&str; 3] = ["quantization_config", "compression_config", "quantization"];

/// Names that are written another way than the files do.
const METHODS: [(&str, &str); 4] = [
    ("gptq", "GPTQ"),
    ("awq", "AWQ"),
    ("fp8", "FP8"),
    ("exl2", "EXL2"),
];

/// How the names of tensors end that hold packed integers and their scales, and the scheme where nothing else tells it.
const PACKED: [(&str, &str); 13] = [
    (".g_idx", "GPTQ"),
    (".qweight", "GPTQ or AWQ"),
    (".qzeros", "GPTQ or AWQ"),
    (".absmax", "bitsandbytes"),
    (".SCB", "bitsandbytes"),
    (".quant_map", "bitsandbytes"),
    (".weight_packed", "compressed-tensors"),
    (".weight_scale", "compressed-tensors"),
    (".weight_scale_inv", "FP8"),
    (".input_scale", "FP8"),
    (".q_weight", "EXL2"),
    (".W_q", "HQQ"),
    (".scales", "MLX"),
];

impl Quantised {
    /// What `config.json` says.
    ///
    /// ```
    /// let config = serde_json::json!({"quantization_config": {"quant_method": "gptq", "bits": 4}});
    /// assert_eq!(clinical_weights::Quantised::of(&config).unwrap().to_string(), "GPTQ, 4 bits");
    /// ```
    #[must_use]
    pub fn of(config: &Value) -> Option<Self> {
        let (key, found) = KEYS
            .iter()
            .filter_map(|key| Some((*key, config.get(*key)?.as_object()?)))
            .find(|(_, found)| !found.is_empty())?;
        let flag = |name: &str| found.get(name).and_then(Value::as_bool) == Some(true);
        let four = flag("load_in_4bit") || flag("_load_in_4bit");
        let eight = flag("load_in_8bit") || flag("_load_in_8bit");
        let method = match found.get("quant_method").and_then(Value::as_str) {
            Some(name) => METHODS
                .iter()
                .find(|(known, _)| *known == name)
                .map_or_else(|| shown(name), |(_, name)| (*name).to_owned()),
            None if four || eight => "bitsandbytes".to_owned(),
            None if key == "quantization" => "MLX".to_owned(),
            None if key == "compression_config" => "compressed-tensors".to_owned(),
            None => "a scheme without a name".to_owned(),
        };
        let bits = ["bits", "w_bit", "num_bits"]
            .iter()
            .find_map(|name| found.get(*name)?.as_u64());
        let loaded = match (four, eight) {
            (true, _) => Some(4),
            (_, true) => Some(8),
            _ => None,
        };
        Some(Self {
            method,
            bits: bits.or(loaded),
        })
    }

    /// What the names of the tensors show, whatever the configuration says.
    #[must_use]
    pub fn by_tensors(weights: &Checkpoint) -> Option<Self> {
        let names = || weights.tensors().map(|tensor| tensor.name.as_str());
        let (_, method) = PACKED
            .iter()
            .find(|(end, _)| names().any(|name| name.ends_with(end)))?;
        Some(Self {
            method: (*method).to_owned(),
            bits: None,
        })
    }

    /// Refuses weights that are packed integers. A configuration that speaks of quantisation over plain weights
    /// (merged, or to be quantised while loading) is described in a sentence.
    ///
    /// # Errors
    ///
    /// [`Error::Quantised`].
    pub fn check(
        path: &Path,
        config: &Value,
        weights: &Checkpoint,
    ) -> Result<Option<String>, Error> {
        let said = Self::of(config);
        let Some(found) = Self::by_tensors(weights) else {
            return Ok(said.map(|said| {
                format!(
                    "config.json speaks of quantisation ({said}), but the weights are plain: they are read as they \
                     are"
                )
            }));
        };
        Err(Error::Quantised {
            path: path.to_owned(),
            method: said.unwrap_or(found).to_string(),
        })
    }
}

impl fmt::Display for Quantised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.method)?;
        match self.bits {
            Some(bits) => write!(f, ", {bits} bits"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Quantised;

    #[test]
    fn every_scheme_has_its_name() {
        for (config, name) in [
            (
                json!({"quantization_config": {"quant_method": "gptq", "bits": 4}}),
                "GPTQ, 4 bits",
            ),
            (
                json!({"quantization_config": {"quant_method": "awq", "w_bit": 4}}),
                "AWQ, 4 bits",
            ),
            (
                json!({"quantization_config": {"load_in_4bit": true}}),
                "bitsandbytes, 4 bits",
            ),
            (
                json!({"quantization_config": {"quant_method": "bitsandbytes", "_load_in_8bit": true}}),
                "bitsandbytes, 8 bits",
            ),
            (
                json!({"quantization_config": {"quant_method": "fp8"}}),
                "FP8",
            ),
            (
                json!({"quantization_config": {"quant_method": "compressed-tensors"}}),
                "compressed-tensors",
            ),
            (
                json!({"quantization_config": {"quant_method": "hqq\n"}}),
                "hqq\\n",
            ),
            (
                json!({"quantization": {"group_size": 64, "bits": 4}}),
                "MLX, 4 bits",
            ),
        ] {
            assert_eq!(Quantised::of(&config).unwrap().to_string(), name);
        }
        for config in [
            json!({}),
            json!({"quantization_config": null}),
            json!({"quantization_config": {}}),
        ] {
            assert_eq!(Quantised::of(&config), None);
        }
    }
}
