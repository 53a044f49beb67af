//! Examples in files: one JSON object a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Longest line of a file of examples, 64 MiB: a file without line ends must not fill the memory.
const LONGEST_LINE: u64 = 64 << 20;

/// A note, as files of notes have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoteText {
    /// The note.
    pub text: String,
}

/// Reads a file with one example a line (JSON Lines): [`TextPair`](crate::TextPair),
/// [`InstructionExample`](crate::InstructionExample), [`LabelledText`](crate::LabelledText),
/// [`LabelledWords`](crate::LabelledWords), [`QuestionExample`](crate::QuestionExample), [`NoteText`]. Empty lines are
/// passed over.
///
/// # Errors
///
/// [`Error::File`], and [`Error::Line`] with the place of a line that is no such example. Nothing of the line is in it.
pub fn read_examples<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<Vec<T>> {
    let path = path.as_ref();
    let mut file = BufReader::new(File::open(path).map_err(Error::read(path))?);
    let (mut examples, mut number) = (Vec::new(), 0);
    loop {
        let mut line = Vec::new();
        let mut limited = file.by_ref().take(LONGEST_LINE + 1);
        let read = limited
            .read_until(b'\n', &mut line)
            .map_err(Error::read(path))?;
        if read == 0 {
            return Ok(examples);
        }
        number += 1;
        let problem = |column, problem| Error::Line {
            path: path.to_owned(),
            line: number,
            column,
            problem,
        };
        if read as u64 > LONGEST_LINE {
            return Err(problem(0, "it is longer than 64 MiB"));
        }
        // A byte order mark, as Windows writes it.
        let text = match number {
            1 => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line),
            _ => &line,
        };
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        // A list of the fields' values would be read as well, in whatever order.
        if text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(problem(1, "it is not a JSON object"));
        }
        let example = serde_json::from_slice(text).map_err(|error| {
            let what = match error.classify() {
                serde_json::error::Category::Data => "its fields are not those of such an example",
                serde_json::error::Category::Eof => "it ends inside the object",
                _ => "it is not JSON",
            };
            problem(error.column(), what)
        })?;
        examples.push(example);
    }
}
