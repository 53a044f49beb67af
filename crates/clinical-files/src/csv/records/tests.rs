use proptest::prelude::*;

use super::*;
use crate::csv::Encoding;

/// Reads few bytes at a time.
struct Slow<'b>(&'b [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = self.1.min(buffer.len());
        self.0.read(&mut buffer[..most])
    }
}

type Rows = Vec<Vec<String>>;

fn rows_of<R: Read>(mut records: Records<R>) -> Result<Rows> {
    let mut rows = vec![records.columns().to_vec()];
    loop {
        match records.read()? {
            Step::End => return Ok(rows),
            Step::BlankLine => {}
            Step::Record => rows.push(
                (0..records.fields())
                    .map(|index| records.text(index).map(Cow::into_owned))
                    .collect::<Result<_>>()?,
            ),
        }
    }
}

fn read(file: &str, options: &CsvOptions) -> Result<Rows> {
    rows_of(Records::new(file.as_bytes(), options)?)
}

fn plain(file: &str) -> Result<Rows> {
    read(file, &CsvOptions::new())
}

fn strict() -> CsvOptions {
    CsvOptions::new()
}

#[test]
fn text_after_a_closing_quote_ends_the_reading_and_names_row_and_line() {
    // The closing quote of the first note is missing.
    let file = "id,sex,note\n1,f,\"no pain\n2,m,\"fever\ncough\"\n3,f,\"well\"\n";
    let mut records = Records::new(file.as_bytes(), &strict()).unwrap();
    let error = records.read().unwrap_err();
    assert!(
        matches!(
            error,
            Error::TextAfterQuote {
                at: RowAt { row: 1, line: 2 },
                line: 3,
                backslash: false
            }
        ),
        "{error}"
    );
    assert!(!error.is_about_one_row());
    assert_eq!(
        records.read().unwrap(),
        Step::End,
        "nothing is read after it"
    );
    for file in [
        "a,b\n1,\"x\" \n",
        "a,b\n1,\"x\"y,\n",
        "a,b\n\"\"\"x\"y\"\n",
        "\"a\"b\n",
    ] {
        let error = plain(file).unwrap_err();
        assert!(
            matches!(error, Error::TextAfterQuote { .. }),
            "{file}: {error}"
        );
    }
}

#[test]
fn backslash_escapes_are_named_and_read_when_chosen() {
    let file = "id,note\n1,\"He said \\\"no pain\\\" today [**Name 5**]\"\n";
    let message = plain(file).unwrap_err().to_string();
    assert!(
        message.contains("row 1 ") && message.contains("choose the quoting backslash"),
        "{message}"
    );
    let backslash = CsvOptions::new().with_quoting(Quoting::Backslash);
    let rows = read(file, &backslash).unwrap();
    assert_eq!(rows[1][1], "He said \"no pain\" today [**Name 5**]");
    let file =
        "id,note\n1,\"a\\\\b \\d \"\"c\"\" \\\n\"\n2,\\N\n3,a\\,b\\\nc\n4,\"\\\\\"\n5,\"\"\n";
    let rows = read(file, &backslash).unwrap();
    let notes: Vec<_> = rows[1..].iter().map(|row| row[1].as_str()).collect();
    assert_eq!(notes, ["a\\b \\d \"c\" \n", "", "a,b\nc", "\\", ""]);
}

#[test]
fn a_missing_opening_quote_is_an_error() {
    for file in ["id,note\n1,no pain\nat all\"\n", "id,note\n1,5'10\" tall\n"] {
        let error = plain(file).unwrap_err();
        assert!(matches!(error, Error::OddQuote { .. }), "{error}");
    }
    // Pairs are characters like others, as everywhere.
    let rows = plain("id,note\n1,he said \"no\", then\n").unwrap();
    assert_eq!(rows[1][1], "he said \"no\"");
    let none = CsvOptions::new().with_quoting(Quoting::None);
    let rows = read("id,note\n1,5'10\" tall\n2,\"x\"\n", &none).unwrap();
    assert_eq!((&*rows[1][1], &*rows[2][1]), ("5'10\" tall", "\"x\""));
}

#[test]
fn separators_are_chosen_or_named() {
    for separator in Separator::ALL {
        let by = char::from(separator.byte());
        let file = format!("id{by}TEXT\n7{by}\"a{by}b\"\n");
        let options = CsvOptions::new().with_separator(separator);
        let rows = read(&file, &options).unwrap();
        assert_eq!(rows[1], ["7".to_owned(), format!("a{by}b")]);
        for other in Separator::ALL {
            let options = CsvOptions::new().with_separator(other);
            let records = Records::new(file.as_bytes(), &options).unwrap();
            match records.column("TEXT") {
                Ok(index) => assert!(other == separator && index == 1),
                Err(Error::WrongSeparator { chosen, found }) => {
                    assert_eq!((chosen, found), (other, separator));
                }
                Err(other) => panic!("{other}"),
            }
        }
        // What a spreadsheet writes before the header.
        let file = format!("sep={by}\r\n{file}");
        let mut records = Records::new(file.as_bytes(), &CsvOptions::new()).unwrap();
        assert_eq!(records.column("TEXT").unwrap(), 1);
        assert!(records.preamble().starts_with(b"sep="));
        assert!(records.next_record().unwrap());
        assert_eq!(records.at(), RowAt { row: 1, line: 3 });
    }
    // Another separator in one of the names.
    let records = Records::new(&b"id;TEXT;a,b\n"[..], &CsvOptions::new()).unwrap();
    let error = records.column("TEXT").unwrap_err();
    assert!(matches!(error, Error::WrongSeparator { .. }), "{error}");
}

#[test]
fn columns_that_are_not_there_are_errors() {
    let records = Records::new(&b"id, text\n"[..], &CsvOptions::new()).unwrap();
    let message = records.column("TEXT").unwrap_err().to_string();
    assert!(
        message.ends_with("name one that is there, perhaps text"),
        "{message}"
    );
    assert_eq!(records.column_in_any_case("TEXT"), Some(1));
    let message = records.column("NOTE").unwrap_err().to_string();
    assert!(
        message.contains("2 columns") && !message.contains("text"),
        "{message}"
    );
}

#[test]
fn encodings_are_chosen_or_named() {
    let text = "id,note\n1,37 °C – “well” é\n";
    let utf16 = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
    for (bytes, encoding) in [
        (text.as_bytes().to_vec(), Encoding::Utf8),
        (utf16(u16::to_le_bytes), Encoding::Utf16Le),
        (
            [&b"\xff\xfe"[..], &utf16(u16::to_le_bytes)].concat(),
            Encoding::Utf16Le,
        ),
        (utf16(u16::to_be_bytes), Encoding::Utf16Be),
        (
            b"id,note\n1,37 \xb0C \x96 \x93well\x94 \xe9\n".to_vec(),
            Encoding::Windows1252,
        ),
    ] {
        let options = CsvOptions::new()
            .with_encoding(encoding)
            .with_quoting(Quoting::None);
        let records = Records::new(Slow(&bytes, 5), &options).unwrap();
        assert_eq!(
            rows_of(records).unwrap()[1][1],
            "37 °C – “well” é",
            "{encoding}"
        );
    }
    // The wrong one is an error of its row, and the next one is read.
    let bytes = b"id,note\n1,caf\xe9\n2,ok\n";
    let mut records = Records::new(&bytes[..], &CsvOptions::new()).unwrap();
    assert!(records.next_record().unwrap());
    let error = records.text(1).unwrap_err();
    assert!(error.is_about_one_row());
    let message = error.to_string();
    assert!(
        message.contains("row 1 ") && message.contains("byte 3"),
        "{message}"
    );
    assert!(message.contains("windows-1252"), "{message}");
    assert!(records.next_record().unwrap());
    assert_eq!(records.text(1).unwrap(), "ok");
    let lossy = CsvOptions::new().with_encoding(Encoding::Utf8Lossy);
    let rows = rows_of(Records::new(&bytes[..], &lossy).unwrap()).unwrap();
    assert_eq!(rows[1][1], "caf\u{fffd}");
}

#[test]
fn rows_of_another_width_are_errors_of_their_own() {
    let mut records = Records::new(&b"a,b\n1\n\n1,2,3\n1,2\n"[..], &strict()).unwrap();
    for (row, line, found) in [(1, 2, 1), (2, 4, 3)] {
        let error = records.next_record().unwrap_err();
        assert!(error.is_about_one_row());
        let at = RowAt { row, line };
        assert!(
            matches!(error, Error::RowWidth { at: is, found: has, expected: 2 } if is == at && has == found),
            "{error}"
        );
    }
    assert!(records.next_record().unwrap());
    assert!(!records.next_record().unwrap());
}

#[test]
fn unclosed_quotes_long_records_and_empty_files_are_refused() {
    for file in ["a\n\"b\n", "a\n\"", "\"a"] {
        let error = plain(file).unwrap_err();
        assert!(matches!(error, Error::UnclosedQuote { .. }), "{error}");
    }
    for file in ["", "\n\n", "\u{feff}"] {
        let error = plain(file).unwrap_err();
        assert!(matches!(error, Error::NoHeader), "{error}");
    }
    let short = CsvOptions::new().with_max_row_bytes(5);
    assert!(read("aaaa\nbbbb\n", &short).is_ok());
    let error = read("aaaa\nbbbbb\n", &short).unwrap_err();
    assert!(matches!(
        error,
        Error::RowTooLong {
            at: RowAt { row: 1, line: 2 },
            limit: 5
        }
    ));
}

#[test]
fn lines_are_counted_with_every_line_end() {
    for end in ["\n", "\r\n", "\r"] {
        let file = ["a,b", "1,\"x", "y\"", "", "2,z"].join(end);
        let mut records = Records::new(file.as_bytes(), &strict()).unwrap();
        assert!(records.next_record().unwrap());
        assert_eq!(records.at(), RowAt { row: 1, line: 2 });
        assert!(records.next_record().unwrap());
        assert_eq!(records.at(), RowAt { row: 2, line: 5 }, "{end:?}");
    }
}

#[test]
fn a_failing_source_is_named() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("gone"))
        }
    }
    let mut records = Records::new(b"a\n1\n".chain(Failing), &strict());
    if let Ok(records) = &mut records {
        while records.next_record().unwrap_or(false) {}
    }
    let error = Records::new(Failing, &strict()).unwrap_err();
    assert!(
        error
            .with_input(Path::new("x.csv"))
            .to_string()
            .contains("x.csv")
    );
    assert!(matches!(
        Records::open("missing.csv", &strict()),
        Err(Error::Read { .. })
    ));
}

fn reference(file: &str) -> Rows {
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(file.as_bytes());
    let rows = reader.records().map(Result::unwrap);
    rows.map(|row| row.iter().map(str::to_owned).collect())
        .collect()
}

proptest! {
    /// Whatever is read strictly is what the csv crate reads, from any pieces.
    #[test]
    fn values_are_those_of_the_csv_crate(
        input in "a(\"|\"|,|\n|\r|\r\n|a|é| ){0,40}", step in 1_usize..9
    ) {
        let mut copy = Vec::new();
        let result = Records::new(Slow(input.as_bytes(), step), &strict()).and_then(|mut records| {
            copy.extend_from_slice(records.preamble());
            let mut rows = vec![records.columns().to_vec()];
            loop {
                let step = records.read()?;
                copy.extend_from_slice(records.raw());
                match step {
                    Step::End => return Ok((rows, records.bytes_read())),
                    Step::BlankLine => {}
                    Step::Record => rows.push(
                        (0..records.fields()).map(|at| records.text(at).unwrap().into_owned()).collect(),
                    ),
                }
            }
        });
        match result {
            Ok((rows, bytes)) => {
                prop_assert_eq!(rows, reference(&input));
                prop_assert_eq!(copy, input.as_bytes(), "every byte belongs to a record or a blank line");
                prop_assert_eq!(bytes, input.len() as u64);
            }
            Err(Error::UnclosedQuote { .. } | Error::TextAfterQuote { .. } | Error::OddQuote { .. }) => {
                prop_assert!(input.contains('"'));
            }
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }

    /// A value that is written in a field's place is read again.
    #[test]
    fn values_that_are_written_read_back(
        value in "(\"|,|;|\n|\r|\\\\|a|é|[*]){1,20}", quoted: bool, backslash: bool, semicolon: bool
    ) {
        let mut options = CsvOptions::new();
        if backslash {
            options = options.with_quoting(Quoting::Backslash);
        }
        if semicolon {
            options = options.with_separator(Separator::Semicolon);
        }
        let by = if semicolon { ';' } else { ',' };
        let old = if quoted { "\"o\"" } else { "o" };
        let file = format!("a{by}b{by}c\nx{by}{old}{by}y\n");
        let mut records = Records::new(file.as_bytes(), &options).unwrap();
        prop_assert!(records.next_record().unwrap());
        let mut out = records.preamble().to_vec();
        records.write_with(1, &value, &mut out);
        let rows = rows_of(Records::new(&out[..], &options).unwrap()).unwrap();
        prop_assert_eq!(&rows[1..], [vec!["x".to_owned(), value, "y".to_owned()]]);
    }

    /// Whatever one writes as a row is read again.
    #[test]
    fn rows_that_are_written_read_back(row in prop::collection::vec("(\"|,|\n|\r|a|é){0,5}", 2..5)) {
        let mut out = vec![b'h'; 1];
        out.resize(row.len(), b',');
        out.push(b'\n');
        crate::csv::write_row(&mut out, row.iter().map(Some));
        let rows = rows_of(Records::new(&out[..], &CsvOptions::new()).unwrap()).unwrap();
        prop_assert_eq!(&rows[1..], [row]);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"\",;\n\r\\a\0".to_vec())], 0..200
        ),
        quoting in prop::sample::select(vec![Quoting::Doubled, Quoting::Backslash, Quoting::None]),
        encoding in prop::sample::select(vec![
            Encoding::Utf8, Encoding::Utf8Lossy, Encoding::Latin1, Encoding::Windows1252,
            Encoding::Utf16Le, Encoding::Utf16Be,
        ])
    ) {
        let options = CsvOptions::new().with_quoting(quoting).with_encoding(encoding);
        let _ = Records::new(&bytes[..], &options).and_then(rows_of);
        let _ = Records::new(&[&b"a,b\n"[..], &bytes].concat()[..], &options).and_then(rows_of);
    }
}
