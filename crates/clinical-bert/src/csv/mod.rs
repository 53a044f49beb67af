//! Vectors for the notes of a CSV file, as a stream (feature `csv`), in CSV or Parquet (feature `parquet`).

mod notes;
#[cfg(feature = "parquet")]
mod parquet;
mod partial;

use std::path::Path;

use crate::{ClinicalBert, EmbedOptions, Error, Pooling};
use notes::Notes;
use partial::Partial;

/// How [`embed_file`] works.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileOptions {
    /// The column of the notes.
    pub column: String,
    /// The column that names a note in the output. `None`, the default: its number, from 0.
    pub id: Option<String>,
    /// How a note becomes a vector.
    pub embed: EmbedOptions,
    /// Notes that are held at a time: sorted by length within, and written when all are done. Default: 256.
    pub chunk: usize,
}

impl FileOptions {
    /// The defaults for notes in this column.
    #[must_use]
    pub fn new(column: impl Into<String>) -> Self {
        Self {
            column: column.into(),
            id: None,
            embed: EmbedOptions::default(),
            chunk: 256,
        }
    }
}

/// How far [`embed_file`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileProgress {
    /// Notes that have a vector in the output.
    pub notes: u64,
    /// Those of them that an earlier, interrupted run wrote.
    pub resumed: u64,
    /// Bytes of the input that were read.
    pub bytes: u64,
}

/// Writes one row for each note of `input` to `output`: its name, then the values of its vector.
///
/// An output whose name ends in `.parquet` has two columns instead, `id` (string) and `vector` (list of floats).
///
/// Until all is written the rows are in `<output>.partial`, as CSV. A run that finds such a file goes on behind its last complete
/// chunk, and the result is the same to the last digit; it refuses a file that was made with another input or pooling, or
/// whose last vector comes out differently now (another model, casing or precision). The columns are called `id`, `mean_0`,
/// `mean_1` and so on, `mean_unit_0` with normalisation. Memory does not grow with the file.
///
/// `progress` is called after every chunk.
///
/// # Errors
///
/// Those of [`ClinicalBert::embed_with`], [`Error::File`], [`Error::Csv`], [`Error::NoHeader`], [`Error::NoColumn`],
/// [`Error::OtherRun`], [`Error::Output`] for an output that is a folder, the input or, in a build without Parquet, a Parquet
/// file. What can be known of the paths is checked before the first note is read.
pub fn embed_file(
    bert: &ClinicalBert,
    input: &Path,
    output: &Path,
    options: &FileOptions,
    mut progress: impl FnMut(FileProgress),
) -> Result<FileProgress, Error> {
    if options.chunk == 0 {
        return Err(Error::Zero { option: "chunk" });
    }
    let format = Format::of(input, output)?;
    let mut notes = Notes::open(input, options)?;
    let mut partial = Partial::open(output, &header(bert, &options.embed), options.chunk)?;
    let mut found = FileProgress {
        notes: 0,
        resumed: partial.rows,
        bytes: 0,
    };
    let mut ended = false;
    while !ended {
        let (mut names, mut texts) = (Vec::new(), Vec::new());
        while texts.len() < options.chunk {
            let Some((name, text)) = notes.next()? else {
                ended = true;
                break;
            };
            found.notes += 1;
            if found.notes > partial.rows {
                names.push(name);
                texts.push(text);
            } else if found.notes == partial.rows {
                let again = &bert.embed_with(&[text], &options.embed)?[0];
                if !partial.last.is(&name, again) {
                    return Err(partial.other());
                }
            }
        }
        if ended && found.notes < partial.rows {
            return Err(partial.other());
        }
        partial.write(&names, &bert.embed_with(&texts, &options.embed)?)?;
        found.bytes = notes.bytes();
        progress(found);
    }
    partial.finish(output, format)?;
    Ok(found)
}

fn header(bert: &ClinicalBert, options: &EmbedOptions) -> Vec<String> {
    let pooling = match options.pooling {
        Pooling::Cls => "cls",
        Pooling::Mean => "mean",
        Pooling::Max => "max",
    };
    let unit = if options.normalize { "_unit" } else { "" };
    let values = (0..bert.config().hidden_size).map(|at| format!("{pooling}{unit}_{at}"));
    std::iter::once("id".to_owned()).chain(values).collect()
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Format {
    /// By the name of the output, which must be one that can be written.
    fn of(input: &Path, output: &Path) -> Result<Self, Error> {
        let refused = |what| Error::Output {
            path: output.to_owned(),
            what,
        };
        if output.is_dir() {
            return Err(refused("a folder"));
        }
        let place = |path: &Path| path.canonicalize().ok();
        if place(output).is_some_and(|output| place(input) == Some(output)) {
            return Err(refused("the file of the notes"));
        }
        if output.extension().is_none_or(|kind| kind != "parquet") {
            return Ok(Self::Csv);
        }
        #[cfg(feature = "parquet")]
        return Ok(Self::Parquet);
        #[cfg(not(feature = "parquet"))]
        Err(refused(
            "a Parquet file, which this build cannot write (build with `--features parquet`)",
        ))
    }
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |cause| Error::File {
        path: path.to_owned(),
        cause,
    }
}

fn csv_error(path: &Path) -> impl Fn(::csv::Error) -> Error + '_ {
    move |cause| match cause.kind() {
        // The system's own: a full disk, for example.
        ::csv::ErrorKind::Io(error) if error.raw_os_error().is_some() => {
            file_error(path)(cause.into())
        }
        _ => Error::Csv {
            path: path.to_owned(),
            cause,
        },
    }
}
