//! Vectors for the notes of a CSV file, as a stream (feature `csv`).

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::{ClinicalBert, EmbedOptions, Error, Pooling};

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
/// Until all is written the rows are in `<output>.partial`. A run that finds such a file goes on behind its last complete
/// chunk, and the result is the same to the last digit; it refuses a file that was made with another model width, pooling
/// or input. The columns are called `id`, `mean_0`,
/// `mean_1` and so on, `mean_unit_0` with normalisation. Memory does not grow with the file.
///
/// `progress` is called after every chunk.
///
/// # Errors
///
/// Those of [`ClinicalBert::embed_with`], [`Error::File`], [`Error::Csv`], [`Error::NoColumn`], [`Error::OtherRun`].
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
    let table = |source| Error::Csv {
        path: input.to_owned(),
        source,
    };
    let file = File::open(input).map_err(file_error(input))?;
    let mut notes = ::csv::Reader::from_reader(BufReader::new(file));
    let headers = notes.headers().map_err(table)?.clone();
    let place = |column: &str| {
        headers
            .iter()
            .position(|found| found == column)
            .ok_or_else(|| Error::NoColumn {
                path: input.to_owned(),
                column: column.to_owned(),
            })
    };
    let text = place(&options.column)?;
    let id = options.id.as_deref().map(place).transpose()?;

    let mut partial = Partial::open(output, &header(bert, &options.embed), options.chunk)?;
    let mut found = FileProgress {
        notes: 0,
        resumed: partial.rows,
        bytes: 0,
    };
    let mut records = notes.records();
    let mut ended = false;
    while !ended {
        let (mut names, mut texts) = (Vec::new(), Vec::new());
        while texts.len() < options.chunk {
            let Some(record) = records.next() else {
                ended = true;
                break;
            };
            let record = record.map_err(table)?;
            let field = |place| record.get(place).unwrap_or_default();
            let name = id.map_or_else(|| found.notes.to_string(), |id| field(id).to_owned());
            found.notes += 1;
            if found.notes > partial.rows {
                names.push(name);
                texts.push(field(text).to_owned());
            } else if found.notes == partial.rows && name != partial.last {
                return Err(partial.other());
            }
        }
        if ended && found.notes < partial.rows {
            return Err(partial.other());
        }
        partial.write(&names, &bert.embed_with(&texts, &options.embed)?)?;
        found.bytes = records.reader().position().byte();
        progress(found);
    }
    partial.finish(output)?;
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

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |source| Error::File {
        path: path.to_owned(),
        source,
    }
}

/// The unfinished output.
struct Partial {
    path: PathBuf,
    out: ::csv::Writer<BufWriter<File>>,
    /// Rows that were there already, and the name of the last of them.
    rows: u64,
    last: String,
}

impl Partial {
    fn open(output: &Path, header: &[String], chunk: usize) -> Result<Self, Error> {
        let mut path = output.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        let named = path.clone();
        let error = file_error(&named);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(&error)?;
        let Kept { end, rows, last } = complete_chunks(&mut file, header, chunk as u64, &path)?;
        file.set_len(end).map_err(&error)?;
        file.seek(SeekFrom::End(0)).map_err(&error)?;
        let mut out = ::csv::Writer::from_writer(BufWriter::new(file));
        if end == 0 {
            out.write_record(header).map_err(|source| Error::Csv {
                path: path.clone(),
                source,
            })?;
        }
        Ok(Self {
            path,
            out,
            rows,
            last,
        })
    }

    fn write(&mut self, names: &[String], vectors: &[Vec<f32>]) -> Result<(), Error> {
        for (name, vector) in names.iter().zip(vectors) {
            let values = vector.iter().map(f32::to_string);
            self.out
                .write_record(std::iter::once(name.clone()).chain(values))
                .map_err(|source| Error::Csv {
                    path: self.path.clone(),
                    source,
                })?;
        }
        self.out.flush().map_err(file_error(&self.path))
    }

    fn finish(self, output: &Path) -> Result<(), Error> {
        let error = file_error(&self.path);
        let buffer = self
            .out
            .into_inner()
            .map_err(|failed| error(failed.into_error()))?;
        let file = buffer
            .into_inner()
            .map_err(|failed| error(failed.into_error()))?;
        file.sync_all().map_err(&error)?;
        drop(file);
        fs::rename(&self.path, output).map_err(file_error(output))
    }

    fn other(&self) -> Error {
        Error::OtherRun {
            path: self.path.clone(),
        }
    }
}

/// Where the complete chunks of an unfinished file end.
#[derive(Debug, Default)]
struct Kept {
    /// Byte behind their last row.
    end: u64,
    rows: u64,
    /// The name in their last row.
    last: String,
}

/// The complete chunks of an unfinished file. A chunk that was begun is made again as a whole: in a batch of other rows
/// the last digits of a vector may differ, and a run that was interrupted must give the file of one that was not.
fn complete_chunks(
    file: &mut File,
    header: &[String],
    chunk: u64,
    path: &Path,
) -> Result<Kept, Error> {
    let length = file.metadata().map_err(file_error(path))?.len();
    let mut rows = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(BufReader::new(&mut *file));
    let mut record = ::csv::ByteRecord::new();
    // The end of the last two chunks: a row that was cut off has too few fields, or no line break behind it.
    let (mut last, mut before) = (None, None);
    let mut count = 0u64;
    while rows.read_byte_record(&mut record).unwrap_or(false) {
        if count == 0 && record.iter().ne(header.iter().map(String::as_bytes)) {
            // A header that was cut off is no other run.
            if length <= header.join(",").len() as u64 {
                return Ok(Kept::default());
            }
            return Err(Error::OtherRun {
                path: path.to_owned(),
            });
        }
        if count.is_multiple_of(chunk) {
            before = last.take();
            last = Some(Kept {
                end: rows.position().byte(),
                rows: count,
                last: String::from_utf8_lossy(record.get(0).unwrap_or_default()).into_owned(),
            });
        }
        count += 1;
    }
    drop(rows);
    for kept in [last, before].into_iter().flatten() {
        let mut byte = [0];
        file.seek(SeekFrom::Start(kept.end.saturating_sub(1)))
            .and_then(|_| file.read(&mut byte))
            .map_err(file_error(path))?;
        if byte == *b"\n" {
            return Ok(kept);
        }
    }
    Ok(Kept::default())
}
