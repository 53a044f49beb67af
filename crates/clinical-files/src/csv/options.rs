//! How a CSV file is written.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Default of [`CsvOptions::with_max_row_bytes`]: 64 MiB, some hundred times the longest MIMIC note, and small enough
/// to find an unclosed quote before it fills the memory.
pub const MAX_ROW_BYTES: usize = 64 << 20;

/// How a CSV file is written: its separator, its quotes, its encoding. The defaults are those of RFC 4180: commas,
/// doubled quotes, UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    separator: Option<Separator>,
    quoting: Quoting,
    encoding: Encoding,
    max_row_bytes: usize,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl CsvOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            separator: None,
            quoting: Quoting::Doubled,
            encoding: Encoding::Utf8,
            max_row_bytes: MAX_ROW_BYTES,
        }
    }

    /// What stands between fields. Default: what a first line `sep=;` says, as spreadsheets write it, otherwise commas.
    #[must_use]
    pub const fn with_separator(mut self, separator: Separator) -> Self {
        self.separator = Some(separator);
        self
    }

    /// How a quote inside a quoted field is written. Default: [`Quoting::Doubled`].
    #[must_use]
    pub const fn with_quoting(mut self, quoting: Quoting) -> Self {
        self.quoting = quoting;
        self
    }

    /// What the bytes mean. Default: [`Encoding::Utf8`].
    #[must_use]
    pub const fn with_encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// The longest row that is read, in bytes of UTF-8. Default: [`MAX_ROW_BYTES`].
    #[must_use]
    pub const fn with_max_row_bytes(mut self, bytes: usize) -> Self {
        self.max_row_bytes = bytes;
        self
    }

    /// What [`Self::with_separator`] chose.
    #[must_use]
    pub const fn separator(&self) -> Option<Separator> {
        self.separator
    }

    /// What [`Self::with_quoting`] chose.
    #[must_use]
    pub const fn quoting(&self) -> Quoting {
        self.quoting
    }

    /// What [`Self::with_encoding`] chose.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// What [`Self::with_max_row_bytes`] chose.
    #[must_use]
    pub const fn max_row_bytes(&self) -> usize {
        self.max_row_bytes
    }
}

/// What stands between the fields of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Separator {
    /// `,`
    #[default]
    Comma,
    /// `;`, which spreadsheets write where the comma belongs to numbers.
    Semicolon,
    /// A tab.
    Tab,
    /// `|`
    Pipe,
}

impl Separator {
    /// Every separator.
    pub const ALL: [Self; 4] = [Self::Comma, Self::Semicolon, Self::Tab, Self::Pipe];

    /// The character.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
            Self::Pipe => b'|',
        }
    }

    /// The character in a sentence.
    pub(crate) const fn shown(self) -> &'static str {
        match self {
            Self::Comma => "`,`",
            Self::Semicolon => "`;`",
            Self::Tab => "tab",
            Self::Pipe => "`|`",
        }
    }
}

/// The name that [`FromStr`] reads.
impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Comma => "comma",
            Self::Semicolon => "semicolon",
            Self::Tab => "tab",
            Self::Pipe => "pipe",
        })
    }
}

/// `comma`, `semicolon`, `tab`, `pipe`, or the character itself (`\t` for a tab).
impl FromStr for Separator {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "comma" | "," => Ok(Self::Comma),
            "semicolon" | ";" => Ok(Self::Semicolon),
            "tab" | "\t" | "\\t" => Ok(Self::Tab),
            "pipe" | "|" => Ok(Self::Pipe),
            _ => Err(Error::UnknownChoice {
                what: "separator",
                name: crate::shown(name),
                choices: "comma, semicolon, tab, pipe",
            }),
        }
    }
}

/// How quotes, separators and line ends get into a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Quoting {
    /// The field stands in `"`, and a quote inside it is written twice: RFC 4180, spreadsheets, pandas, R, Postgres,
    /// BigQuery.
    #[default]
    Doubled,
    /// A backslash before a quote, a backslash, a separator or a line end takes its meaning away, as Spark and MySQL
    /// write. Before anything else it stands for itself. A field that is `\N` and nothing more is empty. A doubled
    /// quote is read too.
    Backslash,
    /// Quotes are characters like others, and no field holds a separator or a line end.
    None,
}

/// The name that [`FromStr`] reads.
impl fmt::Display for Quoting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Doubled => "doubled",
            Self::Backslash => "backslash",
            Self::None => "none",
        })
    }
}

/// `doubled`, `backslash`, `none`.
impl FromStr for Quoting {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "doubled" => Ok(Self::Doubled),
            "backslash" => Ok(Self::Backslash),
            "none" => Ok(Self::None),
            _ => Err(Error::UnknownChoice {
                what: "style of quotes",
                name: crate::shown(name),
                choices: "doubled, backslash, none",
            }),
        }
    }
}

/// What the bytes of a file mean. Whatever it is, rows are UTF-8 once they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Encoding {
    /// UTF-8. A field with other bytes is an error of its row.
    #[default]
    Utf8,
    /// UTF-8, where `U+FFFD` stands for what is not: one bad byte then costs one character.
    Utf8Lossy,
    /// ISO 8859-1: each byte is the character of that number.
    Latin1,
    /// Latin-1 as Windows extends it, with curly quotes and the euro sign between 0x80 and 0x9f.
    Windows1252,
    /// UTF-16, the lower byte first, with or without a byte order mark. A broken character is an error of its row.
    Utf16Le,
    /// UTF-16, the higher byte first, with or without a byte order mark. A broken character is an error of its row.
    Utf16Be,
}

/// The name that [`FromStr`] reads.
impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf8 => "utf-8",
            Self::Utf8Lossy => "utf-8-lossy",
            Self::Latin1 => "latin-1",
            Self::Windows1252 => "windows-1252",
            Self::Utf16Le => "utf-16le",
            Self::Utf16Be => "utf-16be",
        })
    }
}

/// `utf-8`, `utf-8-lossy`, `latin-1`, `windows-1252`, `utf-16le`, `utf-16be`, and other usual spellings of these.
impl FromStr for Encoding {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name.to_ascii_lowercase().replace('_', "-").as_str() {
            "utf-8" | "utf8" => Ok(Self::Utf8),
            "utf-8-lossy" => Ok(Self::Utf8Lossy),
            "latin-1" | "latin1" | "iso-8859-1" => Ok(Self::Latin1),
            "windows-1252" | "cp1252" | "cp-1252" => Ok(Self::Windows1252),
            "utf-16le" | "utf-16-le" | "utf16le" => Ok(Self::Utf16Le),
            "utf-16be" | "utf-16-be" | "utf16be" => Ok(Self::Utf16Be),
            _ => Err(Error::UnknownChoice {
                what: "encoding",
                name: crate::shown(name),
                choices: "utf-8, utf-8-lossy, latin-1, windows-1252, utf-16le, utf-16be",
            }),
        }
    }
}
