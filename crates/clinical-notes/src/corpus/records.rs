//! Records of a CSV file with named columns, and the values of its fields as databases, R and pandas export them.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use clinical_files::RowAt;
use clinical_files::csv::CsvOptions;

use super::Timestamp;
use crate::{Error, Result};

/// Reads a file record by record.
#[derive(Debug)]
pub(super) struct Records<R> {
    records: clinical_files::csv::Records<R>,
}

/// A column of a file: its name, and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    index: Option<usize>,
}

impl Records<File> {
    pub(super) fn open(path: &Path, options: &CsvOptions) -> Result<Self> {
        let records = clinical_files::csv::Records::open(path, options)?;
        Ok(Self { records })
    }
}

impl<R: Read> Records<R> {
    pub(super) fn new(source: R, options: &CsvOptions) -> Result<Self> {
        let records = clinical_files::csv::Records::new(source, options)?;
        Ok(Self { records })
    }

    /// A column that may be missing. Case does not matter.
    pub(super) fn optional(&self, name: &'static str) -> Column {
        let index = self.records.column_in_any_case(name);
        Column { name, index }
    }

    /// A column that must be there.
    pub(super) fn required(&self, name: &'static str) -> Result<Column> {
        let column = self.optional(name);
        match column.index {
            Some(_) => Ok(column),
            None => Err(self.records.no_column(name).into()),
        }
    }

    /// Reads the next record. After an error that is not about one row, there are no more.
    pub(super) fn advance(&mut self) -> Option<Result<()>> {
        match self.records.next_record() {
            Ok(false) => None,
            Ok(true) => Some(Ok(())),
            Err(error) => Some(Err(error.into())),
        }
    }

    pub(super) fn at(&self) -> RowAt {
        self.records.at()
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.records.bytes_read()
    }

    /// The text of a column, empty when there is no such column.
    pub(super) fn text(&self, column: Column) -> Result<Cow<'_, str>> {
        match column.index {
            Some(index) => Ok(self.records.text(index)?),
            None => Ok(Cow::Borrowed("")),
        }
    }

    /// The text of a column that holds numbers, times or flags; `None` for a missing value.
    fn value(&self, column: Column) -> Result<Option<Cow<'_, str>>> {
        let text = self.text(column)?;
        Ok(Some(text).filter(|text| !is_missing(text.trim())))
    }

    /// A whole number. Data frames with gaps write `3` as `3.0`, and R writes `100000` as `1e+05`.
    pub(super) fn number(&self, column: Column) -> Result<Option<u64>> {
        let Some(text) = self.value(column)? else {
            return Ok(None);
        };
        whole_number(text.trim())
            .map(Some)
            .ok_or_else(|| self.not_a_number(column))
    }

    /// A whole number that must be there.
    pub(super) fn id(&self, column: Column) -> Result<u64> {
        self.number(column)?
            .ok_or_else(|| self.not_a_number(column))
    }

    fn not_a_number(&self, column: Column) -> Error {
        Error::NotANumber {
            at: self.at(),
            column: column.name,
        }
    }

    /// Yes or no; a missing value is no.
    pub(super) fn flag(&self, column: Column) -> Result<bool> {
        let Some(text) = self.value(column)? else {
            return Ok(false);
        };
        flag(text.trim()).ok_or(Error::NotAFlag {
            at: self.at(),
            column: column.name,
        })
    }

    /// A time; empty is `None`.
    pub(super) fn time(&self, column: Column) -> Result<Option<Timestamp>> {
        let Some(text) = self.value(column)? else {
            return Ok(None);
        };
        Timestamp::parse(text.trim())
            .map(Some)
            .ok_or(Error::NotATime {
                at: self.at(),
                column: column.name,
            })
    }
}

/// What stands for a missing number or time: nothing (Postgres, BigQuery), `NA` (R), `NaN`, `NaT`, `None` and `<NA>`
/// (pandas), `NULL` (SQL Server, MySQL), `\N` (MySQL, Postgres), `null` (Spark).
fn is_missing(text: &str) -> bool {
    const MISSING: [&str; 8] = ["", "na", "<na>", "nan", "nat", "null", "none", "\\n"];
    MISSING
        .iter()
        .any(|missing| text.eq_ignore_ascii_case(missing))
}

fn whole_number(text: &str) -> Option<u64> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((mantissa, exponent)) = text.split_once(['e', 'E']) {
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
        // What a double has of a number, and what R writes so.
        let exact = |value: &f64| value.fract() == 0.0 && *value < 9_007_199_254_740_992.0;
        let plain = digits(whole) && digits(fraction) && digits(exponent);
        let value = plain.then(|| text.parse().ok()).flatten().filter(exact)?;
        return Some(value as u64);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let zeros = fraction.bytes().all(|byte| byte == b'0');
    (zeros && digits(whole))
        .then(|| whole.parse().ok())
        .flatten()
}

fn flag(text: &str) -> Option<bool> {
    const YES: [&str; 5] = ["1", "true", "t", "yes", "y"];
    const NO: [&str; 5] = ["0", "false", "f", "no", "n"];
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    let number = whole_number(text);
    match () {
        () if is(&YES) || number == Some(1) => Some(true),
        () if is(&NO) || number == Some(0) => Some(false),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_databases_r_and_pandas_write_them() {
        for (text, value) in [
            ("3", 3),
            ("3.0", 3),
            ("3.", 3),
            ("3.000", 3),
            ("1e+05", 100_000),
            ("2.5e3", 2_500),
            ("007", 7),
        ] {
            assert_eq!(whole_number(text), Some(value), "{text}");
        }
        for text in [
            "", ".", "-1", "+1", "3.5", "1,000", "1e-5", "1e", "e5", "1e30", "inf", "0x10", "1 2",
            "2.55e1",
        ] {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }

    #[test]
    fn missing_values_of_every_system() {
        for text in [
            "", "NA", "NaN", "nan", "NaT", "NULL", "null", "None", "<NA>", "\\N",
        ] {
            assert!(is_missing(text), "{text}");
        }
        for text in ["0", "N", "NAN1", "-", "missing"] {
            assert!(!is_missing(text), "{text}");
        }
    }

    #[test]
    fn flags_that_can_only_mean_one_thing() {
        for text in ["1", "1.0", "TRUE", "True", "t", "Y", "yes"] {
            assert_eq!(flag(text), Some(true), "{text}");
        }
        for text in ["0", "0.0", "FALSE", "f", "N", "no"] {
            assert_eq!(flag(text), Some(false), "{text}");
        }
        for text in ["2", "X", "", "-1", "tr"] {
            assert_eq!(flag(text), None, "{text}");
        }
    }
}
