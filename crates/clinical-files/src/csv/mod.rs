//! CSV files of notes as streams, as databases, spreadsheets, R and pandas write them (feature `csv`).
//!
//! The reader is strict where others guess: a character after a closing quote, or an odd number of quotes in a field
//! that does not begin with one, ends the reading with an error that names the row and the line. Either means that a
//! quote is missing or that the file is written in another style, and to go on would join the notes of two patients.
//!
//! ```
//! use clinical_files::csv::{CsvOptions, Records, Separator};
//!
//! let file = "id;note\n7;\"fever;\ncough\"\n";
//! let options = CsvOptions::new().with_separator(Separator::Semicolon);
//! let mut records = Records::new(file.as_bytes(), &options)?;
//! let note = records.column("note")?;
//! assert!(records.next_record()?);
//! assert_eq!(records.text(note)?, "fever;\ncough");
//! assert!(!records.next_record()?);
//! # Ok::<(), clinical_files::Error>(())
//! ```

mod decode;
mod field;
mod options;
mod records;
mod start;

pub use field::write_row;
pub use options::{CsvOptions, Encoding, MAX_ROW_BYTES, Quoting, Separator};
pub use records::{Records, Step};
