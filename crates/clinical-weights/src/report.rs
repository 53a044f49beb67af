//! What became of every tensor.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::{Dtype, Format, Precision};
use clinical_files::shown;

/// What a load did, or would have done: every parameter of the model and every tensor of the checkpoint is in one of
/// these lists. `Display` fits a screen.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LoadReport {
    /// The file by which the weights were found.
    pub chosen: String,
    /// The files that were read, with their formats.
    pub files: Vec<(String, Format)>,
    /// Weights that the directory also has and that were not used.
    pub others: Vec<String>,
    /// What was odd about the files and was put right.
    pub notes: Vec<String>,
    /// A sentence about a prefix that all names had and that was taken off; it is among the notes too.
    pub prefix: Option<String>,
    /// The parameters that have a value from the checkpoint, in the module's spelling and order.
    pub applied: Vec<String>,
    /// The number of values in them.
    pub values: u64,
    /// The bytes of all parameters in memory.
    pub bytes: u64,
    /// The precision that was asked for.
    pub precision: Precision,
    /// Parameters without a tensor.
    pub missing: Vec<Missing>,
    /// Tensors without a parameter.
    pub unexpected: Vec<Unexpected>,
    /// Tensors whose shape is not that of their parameter.
    pub mismatched: Vec<Mismatched>,
    /// Tensors that the key map ignores.
    pub ignored: Vec<String>,
    /// Parameters that may be missing, and were: they keep their initial values.
    pub left_initial: Vec<String>,
    /// Tied parameters that were filled under another name, or were there under several.
    pub aliases: Vec<Alias>,
    /// How many tensors were converted from one type to another.
    #[serde(serialize_with = "conversions")]
    pub conversions: BTreeMap<(Dtype, &'static str), usize>,
    /// Parameters in which finite values became infinite, and how many.
    pub overflowed: Vec<(String, u64)>,
}

/// A parameter without a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The parameter, in the module's spelling.
    pub parameter: String,
    /// Its shape as checkpoints hold it.
    pub shape: Vec<usize>,
    /// An unexpected tensor that may have been meant.
    pub nearest: Option<String>,
}

/// A tensor without a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unexpected {
    /// The tensor, in the checkpoint's spelling.
    pub tensor: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// A missing parameter that may have been meant.
    pub nearest: Option<String>,
}

/// A tensor whose shape is not that of its parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatched {
    /// The parameter, in the module's spelling.
    pub parameter: String,
    /// The tensor, in the checkpoint's spelling.
    pub tensor: String,
    /// The shape that the model needs, as checkpoints hold it.
    pub expected: Vec<usize>,
    /// The shape in the checkpoint.
    pub found: Vec<usize>,
}

/// A tied parameter that was filled under another name, or was there under several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alias {
    /// The parameter, in the module's spelling.
    pub parameter: String,
    /// The tensor that filled it.
    pub tensor: String,
    /// Other tensors that hold the same parameter.
    pub duplicates: Vec<String>,
    /// Whether a duplicate holds other values (never in strict mode, where that is an error).
    pub differ: bool,
}

/// Entries of one list that are shown.
const SHOWN: usize = 6;

impl LoadReport {
    /// Whether every parameter has a value and every tensor a place.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.mismatched.is_empty()
    }

    /// One sentence for an error message.
    pub(crate) fn summary(&self) -> String {
        let mut parts = Vec::new();
        for (count, what) in [
            (self.mismatched.len(), "of another shape"),
            (self.missing.len(), "missing"),
            (self.unexpected.len(), "unexpected"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let first = self
            .mismatched
            .first()
            .map(Mismatched::to_string)
            .or_else(|| self.missing.first().map(Missing::to_string))
            .or_else(|| self.unexpected.first().map(Unexpected::to_string));
        // With strict off the rest would be left out, and what is missing left as it was initialised: noise.
        let advice = match self.missing.is_empty() && self.mismatched.is_empty() {
            true => ", or load with strict off to leave out what the model has no parameter for",
            false => "",
        };
        format!(
            "{} (first: {}); compare config.json with the weights{advice}",
            parts.join(", "),
            first.unwrap_or_default()
        )
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.parameter, self.shape)?;
        match &self.nearest {
            Some(nearest) => write!(f, ", perhaps {}", shown(nearest)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", shown(&self.tensor), self.shape)?;
        match &self.nearest {
            Some(nearest) => write!(f, ", perhaps {nearest}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Mismatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} needs {:?}, the checkpoint has {:?}",
            self.parameter, self.expected, self.found
        )
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.parameter, shown(&self.tensor))?;
        if !self.duplicates.is_empty() {
            let names: Vec<String> = self.duplicates.iter().map(|name| shown(name)).collect();
            write!(f, ", also in {}", names.join(", "))?;
        }
        if self.differ {
            f.write_str(" WITH OTHER VALUES")?;
        }
        Ok(())
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = self.files.first().map(|(_, format)| *format);
        write!(f, "{}", self.chosen)?;
        if let Some(format) = format {
            write!(f, ": {format}")?;
        }
        match self.files.len() {
            0 | 1 => writeln!(f)?,
            files => writeln!(f, ", {files} files")?,
        }
        if !self.others.is_empty() {
            writeln!(f, "not used: {}", self.others.join(", "))?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        writeln!(
            f,
            "{} parameters with {} values, {} as {}",
            self.applied.len(),
            self.values,
            size(self.bytes),
            self.precision
        )?;
        let conversions: Vec<String> = self
            .conversions
            .iter()
            .map(|((from, to), count)| format!("{count} from {from} to {to}"))
            .collect();
        if !conversions.is_empty() {
            writeln!(f, "converted: {}", conversions.join(", "))?;
        }
        list(f, "tied", &self.aliases)?;
        list(f, "WRONG SHAPE", &self.mismatched)?;
        list(f, "MISSING", &self.missing)?;
        list(f, "UNEXPECTED", &self.unexpected)?;
        let ignored: Vec<String> = self.ignored.iter().map(|name| shown(name)).collect();
        list(f, "ignored", &ignored)?;
        list(f, "left as initialised", &self.left_initial)?;
        let overflowed: Vec<String> = self
            .overflowed
            .iter()
            .map(|(name, count)| format!("{name}: {count} values"))
            .collect();
        list(f, "BECAME INFINITE", &overflowed)
    }
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, items: &[impl fmt::Display]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title} ({}):", items.len())?;
    for item in items.iter().take(SHOWN) {
        writeln!(f, "  {item}")?;
    }
    match items.len().checked_sub(SHOWN) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(f, "  and {more} more"),
    }
}

/// JSON has no pairs as keys: `[["F16", "F32", 3]]`.
fn conversions<S: Serializer>(
    found: &BTreeMap<(Dtype, &'static str), usize>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(found.iter().map(|((from, to), count)| (from, to, count)))
}

/// Bytes for people: `538 MB`, `26.9 GB` (powers of 1000, as disks are sold).
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if value < 100.0 && unit > 0 {
        format!("{value:.1} {}", units[unit])
    } else {
        format!("{value:.0} {}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(26_950_000_000), "26.9 GB");
        assert_eq!(size(538_000_000), "538 MB");
    }

    #[test]
    fn long_lists_are_cut() {
        let missing = (0..500)
            .map(|i| Missing {
                parameter: format!("layers.{i}.weight"),
                shape: vec![2, 3],
                nearest: None,
            })
            .collect();
        let report = LoadReport {
            missing,
            ..LoadReport::default()
        };
        let text = report.to_string();
        assert!(text.lines().count() < 12, "{text}");
        assert!(text.contains("and 494 more"));
        assert!(!report.fits());
        assert!(report.summary().contains("500 missing"));
    }
}
