//! An inspection on one screen.

use std::fmt;

use clinical_files::shown;
use clinical_weights::{Format, Precision};
use serde_json::Value;

use crate::inspect::{Inspection, Weights};

/// The settings of a configuration that decide what a model is, in the order in which they are shown. Models spell
/// some of them differently.
const SETTINGS: [&str; 27] = [
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
    "sliding_window",
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

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.path.display())?;
        match &self.config {
            None => writeln!(f, "config     no config.json")?,
            Some(config) => writeln!(f, "config     {}", settings(config))?,
        }
        match &self.weights {
            None => writeln!(f, "weights    none that can be opened")?,
            Some(weights) => show_weights(weights, f)?,
        }
        if let Some(quantised) = &self.quantised {
            writeln!(f, "quantised  {quantised}")?;
        }
        self.show_adapter(f)?;
        if !self.modules.is_empty() {
            write!(f, "modules    {}", shown(&self.modules.join(", ")))?;
            match self.pooling.is_empty() {
                true => writeln!(f)?,
                false => writeln!(f, "; pooling by {}", shown(&self.pooling.join(", ")))?,
            }
        }
        if self.is_decoder {
            writeln!(
                f,
                "decoder    is_decoder: each token sees those before it alone"
            )?;
        }
        for remark in &self.remarks {
            writeln!(f, "remark     {remark}")?;
        }
        self.show_tokenizer(f)?;
        self.show_model(f)
    }
}

impl Inspection {
    fn show_adapter(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(adapter) = &self.adapter else {
            return Ok(());
        };
        let kind = adapter.kind.as_deref().unwrap_or("of an unnamed kind");
        let base = adapter.base.as_deref().unwrap_or("a model without a name");
        write!(f, "adapter    {} for {}", shown(kind), shown(base))?;
        if let Some(rank) = adapter.rank {
            write!(f, ", rank {rank}")?;
        }
        match adapter.targets.is_empty() {
            true => writeln!(f),
            false => writeln!(f, ", on {}", shown(&adapter.targets.join(", "))),
        }
    }

    fn show_tokenizer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tokenizer_files.as_slice() {
            [] => writeln!(f, "tokenizer  no tokenizer files")?,
            files => writeln!(f, "tokenizer  {}", files.join(", "))?,
        }
        let Some(facts) = &self.tokenizer else {
            return Ok(());
        };
        writeln!(f, "           {}: {}", facts.file, facts.reason)?;
        let special: Vec<String> = facts
            .special
            .iter()
            .map(|(role, id, token)| format!("{role} {id} {}", shown(token)))
            .collect();
        writeln!(f, "special    {}; {} ids", special.join(", "), facts.ids)?;
        let ends: Vec<String> = facts.ends.iter().map(u32::to_string).collect();
        if !ends.is_empty() {
            writeln!(f, "ends       {}", ends.join(", "))?;
        }
        for note in &facts.notes {
            writeln!(f, "remark     {note}")?;
        }
        for correction in &facts.corrections {
            writeln!(f, "corrected  {correction}")?;
        }
        Ok(())
    }

    fn show_model(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fit) = &self.fit {
            for detail in &fit.details {
                writeln!(f, "           {detail}")?;
            }
        }
        match (&self.refused, &self.fit) {
            (None, Some(fit)) => {
                let facade = self
                    .facade
                    .map_or_else(String::new, |facade| format!(" ({facade})"));
                let (bytes, ignored) = (fit.parameters.saturating_mul(4), fit.report.ignored.len());
                writeln!(
                    f,
                    "model      {} parameters ({} in f32, {} in f16){facade}; each has its tensor, {ignored} tensors \
                     ignored",
                    fit.parameters,
                    size(bytes),
                    size(bytes / 2),
                )
            }
            (Some(why), Some(fit)) if !fit.report.fits() => {
                writeln!(
                    f,
                    "model      {} parameters; IT WOULD NOT LOAD: {why}",
                    fit.parameters
                )?;
                write!(f, "{}", fit.report)
            }
            (Some(why), _) => writeln!(f, "model      IT WOULD NOT LOAD: {why}"),
            (None, None) => Ok(()),
        }
    }
}

fn settings(config: &Value) -> String {
    let found = SETTINGS.into_iter().filter_map(|name| {
        let value = config.get(name).filter(|value| !value.is_null())?;
        let value = value.to_string().replace('"', "");
        Some(format!("{name} {}", shown(&value)))
    });
    found.collect::<Vec<_>>().join(", ")
}

fn show_weights(weights: &Weights, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const SHOWN: usize = 8;
    let files = &weights.files;
    writeln!(
        f,
        "weights    {} ({})",
        shown(&weights.chosen),
        size(weights.file_bytes())
    )?;
    for (number, file) in files.iter().enumerate().take(SHOWN) {
        let held = weights
            .tensors
            .iter()
            .filter(|tensor| tensor.file == number);
        let (name, bytes, count) = (shown(&file.name), size(file.bytes), held.count());
        writeln!(
            f,
            "           {name}: {}, {bytes}, {count} tensors",
            file.format
        )?;
    }
    if files.len() > SHOWN {
        writeln!(f, "           and {} more files", files.len() - SHOWN)?;
    }
    if !weights.others.is_empty() {
        writeln!(f, "not used   {}", shown(&weights.others.join(", ")))?;
    }
    for (dtype, (count, values, bytes)) in weights.by_dtype() {
        let bytes = size(bytes);
        writeln!(
            f,
            "{:<10} {count} tensors, {values} values, {bytes}",
            dtype.name()
        )?;
    }
    let memory = [
        (Precision::F32, ""),
        (Precision::F16, ""),
        (Precision::BF16, ""),
        (Precision::Int8, "about "),
        (Precision::Int4, "about "),
    ]
    .map(|(precision, about)| format!("{precision} {about}{}", size(weights.memory(precision))));
    // In PyTorch's files several names may share their values (a T5 has four names of one table).
    let shares = files.iter().any(|file| file.format != Format::Safetensors);
    let most = if shares { "at most " } else { "" };
    writeln!(f, "in memory  {most}{}", memory.join(", "))
}

/// Bytes for people: powers of 1000, as disks are sold.
fn size(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
        1_000_000.. => format!("{:.1} MB", bytes as f64 / 1e6),
        1_000.. => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{bytes} B"),
    }
}
