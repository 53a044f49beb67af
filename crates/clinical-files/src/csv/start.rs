//! What the first bytes of a file say about it.

use super::{CsvOptions, Encoding};
use crate::{Error, Result};

/// Bytes that are looked at: enough of a header to tell UTF-16 without a byte order mark.
pub(super) const START_BYTES: usize = 64;

/// Formats that are often taken for CSV.
const OTHERS: [(&[u8], &str, &str); 8] = [
    (
        b"\x1f\x8b",
        "compressed with gzip",
        "unpack it with gunzip first",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed with zstd",
        "unpack it first",
    ),
    (b"\xfd7zXZ", "compressed with xz", "unpack it first"),
    (b"BZh9", "compressed with bzip2", "unpack it first"),
    (
        b"PK\x03\x04",
        "a zip archive or a spreadsheet",
        "unpack or export it first",
    ),
    (
        b"\xd0\xcf\x11\xe0",
        "a spreadsheet",
        "export it as CSV first",
    ),
    (b"PAR1", "a Parquet file", "export it as CSV first"),
    (b"\xff\xfe\0\0", "UTF-32 text", "convert it to UTF-8 first"),
];

/// How many of the first bytes are a byte order mark. Refuses what is no text, or text of another encoding than was
/// chosen.
pub(super) fn mark_bytes(start: &[u8], options: &CsvOptions) -> Result<usize> {
    if let Some(&(_, found, remedy)) = OTHERS.iter().find(|other| start.starts_with(other.0)) {
        return Err(Error::NotCsv { found, remedy });
    }
    let chosen = options.encoding();
    let as_utf8 = matches!(chosen, Encoding::Utf8 | Encoding::Utf8Lossy);
    let (mark, found) = match start {
        [0xef, 0xbb, 0xbf, ..] => (3, Some(Encoding::Utf8)),
        [0xff, 0xfe, ..] => (2, Some(Encoding::Utf16Le)),
        [0xfe, 0xff, ..] => (2, Some(Encoding::Utf16Be)),
        _ => (0, without_mark(start, chosen)),
    };
    match found {
        Some(found) if found != chosen && !(as_utf8 && found == Encoding::Utf8) => {
            Err(Error::WrongEncoding { chosen, found })
        }
        _ => Ok(mark),
    }
}

/// What text without a byte order mark must be, where that can be told: a header has hardly a character beyond ASCII.
fn without_mark(start: &[u8], chosen: Encoding) -> Option<Encoding> {
    let zeros = |first: usize| {
        start
            .iter()
            .skip(first)
            .step_by(2)
            .filter(|byte| **byte == 0)
    };
    let (even, odd) = (zeros(0).count(), zeros(1).count());
    let most = start.len() / 2 * 3 / 4;
    if start.len() < 4 {
        None
    } else if even == 0 && odd > 0 && odd >= most {
        Some(Encoding::Utf16Le)
    } else if odd == 0 && even > 0 && even >= most {
        Some(Encoding::Utf16Be)
    } else if even + odd == 0
        && start.is_ascii()
        && matches!(chosen, Encoding::Utf16Le | Encoding::Utf16Be)
    {
        Some(Encoding::Utf8)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(start: &[u8], encoding: Encoding) -> Result<usize> {
        mark_bytes(start, &CsvOptions::new().with_encoding(encoding))
    }

    #[test]
    fn marks_are_known_and_the_wrong_choice_is_named() {
        use Encoding::{Latin1, Utf8, Utf8Lossy, Utf16Be, Utf16Le, Windows1252};
        let le: Vec<u8> = "ROW_ID".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = "ROW_ID".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = |mark: &[u8], text: &[u8]| [mark, text].concat();
        let cases = [
            (b"ROW_ID,TEXT".to_vec(), 0, Utf8),
            (marked(b"\xef\xbb\xbf", b"ROW_ID"), 3, Utf8),
            (le.clone(), 0, Utf16Le),
            (marked(b"\xff\xfe", &le), 2, Utf16Le),
            (be.clone(), 0, Utf16Be),
            (marked(b"\xfe\xff", &be), 2, Utf16Be),
        ];
        for (start, mark, right) in cases {
            assert_eq!(read_as(&start, right).unwrap(), mark);
            for chosen in [Utf8, Utf8Lossy, Latin1, Windows1252, Utf16Le, Utf16Be] {
                let may = chosen == right
                    || mark == 0 && right == Utf8 && matches!(chosen, Latin1 | Windows1252)
                    || right == Utf8 && chosen == Utf8Lossy;
                match read_as(&start, chosen) {
                    Ok(found) => assert!(may && found == mark, "{chosen} for {right}"),
                    Err(Error::WrongEncoding { found, .. }) => assert!(!may && found == right),
                    Err(other) => panic!("{other}"),
                }
            }
        }
        for start in [&b""[..], b"a", b"\0\0\0\0", b"a\0b,c\n\0"] {
            assert_eq!(read_as(start, Utf8).unwrap(), 0);
        }
    }

    #[test]
    fn what_is_no_text_is_named() {
        for (start, found, _) in OTHERS {
            let error = read_as(start, Encoding::Utf8).unwrap_err().to_string();
            assert!(error.contains(found), "{error}");
        }
    }
}
