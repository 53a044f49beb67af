//! The note files of MIMIC-III and MIMIC-IV as streams, and the rules by which the published
//! corpora were chosen from them (feature `csv`).
//!
//! Readers hold one record at a time. They take any [`std::io::Read`], so a progress bar or a
//! decompressor can stand between them and the file. [`CsvOptions`] says how the file is written.
//!
//! ```
//! use clinical_notes::corpus::{Duplicates, mimic_iii};
//!
//! let file = "ROW_ID,SUBJECT_ID,CHARTTIME,STORETIME,CATEGORY,CGID,TEXT\n\
//!             1,7,2150-01-01 08:00:00,2150-01-01 08:05:00,Nursing,3,\"draft,\nline 2\"\n\
//!             2,7,2150-01-01 08:00:00,2150-01-01 09:00:00,Nursing,3,final\n";
//! let duplicates = Duplicates::find(mimic_iii::Notes::new(file.as_bytes())?)?;
//! let notes = mimic_iii::Notes::new(file.as_bytes())?.with_category("Nursing");
//! let kept: Result<Vec<_>, _> = notes
//!     .filter(|note| note.as_ref().map_or(true, |note| !duplicates.drops(note.row_id)))
//!     .collect();
//! assert_eq!(kept?[0].text, "final");
//! # Ok::<(), clinical_notes::Error>(())
//! ```

pub mod mimic_iii;
pub mod mimic_iv;

mod duplicates;
mod records;
mod select;
mod timestamp;

pub use duplicates::Duplicates;
pub use select::{PretrainingPatients, is_asclepius_r_note, row_ids};
pub use timestamp::Timestamp;

pub use clinical_files::RowAt;
pub use clinical_files::csv::{CsvOptions, Encoding, Quoting, Separator};
