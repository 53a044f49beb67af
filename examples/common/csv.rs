//! How a CSV file of notes is written, as flags of the examples that read one.

use clinical_files::csv::{CsvOptions, Encoding, Quoting, Separator};

#[derive(Debug, clap::Args)]
pub struct CsvArgs {
    /// What stands between fields: comma, semicolon, tab or pipe [default: as a first line sep=; says, else comma]
    #[arg(long)]
    separator: Option<Separator>,
    /// How quotes get into quoted fields: doubled, backslash (as Spark and MySQL write), or none
    #[arg(long, default_value = "doubled")]
    quoting: Quoting,
    /// The encoding: utf-8, utf-8-lossy, latin-1, windows-1252, utf-16le or utf-16be
    #[arg(long, default_value = "utf-8")]
    encoding: Encoding,
}

impl CsvArgs {
    pub fn options(&self) -> CsvOptions {
        let options = CsvOptions::new()
            .with_quoting(self.quoting)
            .with_encoding(self.encoding);
        match self.separator {
            Some(separator) => options.with_separator(separator),
            None => options,
        }
    }
}
