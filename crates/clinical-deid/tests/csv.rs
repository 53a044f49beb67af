//! Converting CSV files: what is kept, what is refused, and what an error leaves behind.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use clinical_deid::csv::{Annotations, Options, Summary, convert, convert_file, convert_or};
use clinical_deid::{Error, Normalizer, UnknownTag};
use clinical_files::Error as Files;
use clinical_files::csv::{CsvOptions, Encoding, Quoting, Separator};

fn run(input: impl AsRef<[u8]>) -> Result<(String, Summary), Error> {
    let mut output = Vec::new();
    let options = Options::new("TEXT");
    let summary = convert(
        input.as_ref(),
        &mut output,
        &Normalizer::mimic_iii(),
        &options,
        |_| (),
    )?;
    Ok((
        String::from_utf8(output).expect("UTF-8 in, UTF-8 out"),
        summary,
    ))
}

fn message(input: impl AsRef<[u8]>) -> String {
    run(input).expect_err("it is refused").to_string()
}

#[test]
fn only_notes_with_tags_change() {
    let input = concat!(
        "\u{feff}\"ROW_ID\",HADM_ID,\"TEXT\",LAST\r\n",
        "1,,\"Line\r\n[**Name 1**], \"\"ok\"\"\",\"\"\r\n",
        "\r\n",
        "\"2\",[**Name 2**],no tag \"here\",'x\r",
        "3,\"a,\"\"b\",[**Name 3**],\n",
        "4,x,[**7-16**] \"q\" [**Hospital**],z",
    );
    let (output, summary) = run(input).expect("it converts");
    let expected = concat!(
        "\u{feff}\"ROW_ID\",HADM_ID,\"TEXT\",LAST\r\n",
        "1,,\"Line\r\n [Name] , \"\"ok\"\"\",\"\"\r\n",
        "\r\n",
        "\"2\",[**Name 2**],no tag \"here\",'x\r",
        "3,\"a,\"\"b\",[Name],\n",
        "4,x,\"7-16  \"\"q\"\"  [Company]\",z",
    );
    assert_eq!(output, expected);
    assert_eq!((summary.rows, summary.tags, summary.untyped), (4, 4, 0));
}

#[test]
fn a_header_alone_is_a_file_without_notes() {
    let (output, summary) = run("ROW_ID,TEXT\n").expect("it converts");
    assert_eq!(
        (output.as_str(), summary),
        ("ROW_ID,TEXT\n", Summary::default())
    );
}

#[test]
fn mimic_iv_removals_are_counted_as_untyped() {
    let mut output = Vec::new();
    let (normalizer, options) = (Normalizer::mimic_iv(), Options::new("text"));
    let input = "note_id,text\n1,___ and ____\n";
    let summary = convert(input.as_bytes(), &mut output, &normalizer, &options, |_| ());
    assert_eq!(summary.map(|summary| summary.untyped).ok(), Some(2));
    assert_eq!(output, b"note_id,text\n1,[MISC]  and  [MISC]\n");
}

#[test]
fn errors_name_the_row_and_quote_nothing() {
    let unknown = message("ID,TEXT\n1,fine\n2,\"two\nlines [**Secret**]\"\n");
    assert!(
        unknown.contains("row 2") && unknown.contains("byte 10"),
        "{unknown}"
    );
    assert!(!unknown.contains("Secret"));

    let encoding = message(b"ID,TEXT\n1,ab\xE9\n");
    assert!(
        encoding.contains("row 1") && encoding.contains("byte 2"),
        "{encoding}"
    );

    let width = message("ID,TEXT\n1,a\n2,b,c\n");
    assert!(
        width.contains("row 2") && width.contains("3 columns"),
        "{width}"
    );

    let quote = message("ID,TEXT\n1,a\n2,\"b\n");
    assert!(
        quote.contains("row 2") && quote.contains("quote"),
        "{quote}"
    );

    let column = message("Secret note,text\n1,2\n");
    assert!(
        column.contains("2 columns") && column.contains("perhaps text"),
        "{column}"
    );
    assert!(!column.contains("Secret"));
    assert!(!message("a,b\n").contains("perhaps"));

    assert!(matches!(run(""), Err(Error::Files(Files::NoHeader))));
    assert!(matches!(
        run("\u{feff}\n\n"),
        Err(Error::Files(Files::NoHeader))
    ));
    assert!(message(b"\x1F\x8B\x08\x00abc").contains("gunzip"));
    assert!(message(b"PK\x03\x04abc").contains("zip"));
    assert!(message(b"\xFF\xFEI\x00D\x00").contains("choose the encoding utf-16le"));
}

/// A file of some size that is made while it is read.
struct Endless {
    left: u64,
    position: usize,
    header: &'static [u8],
    row: Vec<u8>,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.header.is_empty() {
            return self.header.read(buffer);
        }
        if self.left == 0 {
            return Ok(0);
        }
        let part = &self.row[self.position..];
        let length = part.len().min(buffer.len());
        buffer[..length].copy_from_slice(&part[..length]);
        self.position += length;
        if self.position == self.row.len() {
            self.position = 0;
            self.left -= 1;
        }
        Ok(length)
    }
}

#[test]
fn rows_stream_and_progress_counts_the_bytes() {
    let row = format!("7,\"{}[**Name 1**]\"\n", "words, and\nmore ".repeat(100)).into_bytes();
    let total = 8 + 10_000 * row.len() as u64;
    let input = Endless {
        left: 10_000,
        position: 0,
        header: b"ID,TEXT\n",
        row,
    };
    let (mut last, mut calls) = (0, 0);
    let summary = convert(
        input,
        io::sink(),
        &Normalizer::mimic_iii(),
        &Options::new("TEXT"),
        |bytes| {
            assert!(bytes > last);
            (last, calls) = (bytes, calls + 1);
        },
    );
    assert_eq!(
        summary.map(|summary| (summary.rows, summary.tags)).ok(),
        Some((10_000, 10_000))
    );
    assert_eq!((last, calls), (total, 10_000));
}

#[test]
fn a_quote_that_never_closes_does_not_fill_the_memory() {
    let row = b"1,x\n".repeat(1000);
    let input = Endless {
        left: u64::MAX,
        position: 0,
        header: b"ID,TEXT\n1,\"never closed ",
        row,
    };
    let mut options = Options::new("TEXT");
    options.csv = CsvOptions::new().with_max_row_bytes(1 << 20);
    let result = convert(
        input,
        io::sink(),
        &Normalizer::mimic_iii(),
        &options,
        |_| (),
    );
    assert!(
        matches!(result, Err(Error::Files(Files::RowTooLong { at, limit })) if at.row == 1 && limit == 1 << 20)
    );
}

fn files_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("in.csv"), folder.path().join("out.csv"));
    fs::write(&input, "ID,TEXT\n1,[**Name**]\n2,[**Odd**]\n").expect("the input");
    fs::write(&output, "before").expect("the output");
    let (strict, options) = (Normalizer::mimic_iii(), Options::new("TEXT"));

    let error = convert_file(&input, &output, &strict, &options, |_| ()).expect_err("unknown tag");
    assert!(matches!(error, Error::UnknownTag { .. }));
    assert_eq!(fs::read_to_string(&output).expect("the output"), "before");
    assert_eq!(files_in(folder.path()), ["in.csv", "out.csv"]);

    let lenient = strict.with_unknown(UnknownTag::Misc);
    let summary = convert_file(&input, &output, &lenient, &options, |_| ()).expect("it converts");
    assert_eq!((summary.rows, summary.tags, summary.untyped), (2, 2, 1));
    let converted = "ID,TEXT\n1,[Name]\n2,[MISC]\n";
    assert_eq!(fs::read_to_string(&output).expect("the output"), converted);

    assert_eq!(files_in(folder.path()), ["in.csv", "out.csv"]);
}

#[test]
fn the_only_copy_of_the_notes_is_never_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name| folder.path().join(name);
    let text = "ID,TEXT\n1,[**Name**]\n";
    fs::write(path("in.csv"), text).expect("the input");
    let mut options = Options::new("TEXT");
    let refused = |output: &Path, options: &Options| {
        let normalizer = Normalizer::mimic_iii();
        let result = convert_file(&path("in.csv"), output, &normalizer, options, |_| ());
        assert!(matches!(
            result,
            Err(Error::Files(Files::OutputIsInput { .. }))
        ));
        assert_eq!(fs::read_to_string(path("in.csv")).expect("the input"), text);
    };
    refused(&path("in.csv"), &options);
    refused(&path("./in.csv"), &options);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("in.csv", path("link.csv")).expect("a link");
        refused(&path("link.csv"), &options);
    }
    options.rejected = Some(path("in.csv"));
    refused(&path("out.csv"), &options);
}

#[test]
fn bad_rows_can_be_kept_for_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name| folder.path().join(name);
    let input = b"ID,TEXT\n1,[**Name**]\n2,caf\xe9\n3,a,b\r\n4,\"x\n[**Odd**]\"\n5,[**Name**]";
    fs::write(path("in.csv"), input).expect("the input");
    let mut options = Options::new("TEXT");
    options.rejected = Some(path("rejected.csv"));
    let normalizer = Normalizer::mimic_iii();
    let summary = convert_file(
        &path("in.csv"),
        &path("out.csv"),
        &normalizer,
        &options,
        |_| (),
    );
    let summary = summary.expect("it converts");
    assert_eq!((summary.rows, summary.rejected, summary.tags), (2, 3, 2));
    let output = fs::read(path("out.csv")).expect("the output");
    assert_eq!(output, b"ID,TEXT\n1,[Name]\n\n5,[Name]");
    let rejected = fs::read(path("rejected.csv")).expect("the rejected rows");
    let rejected = String::from_utf8_lossy(&rejected).into_owned();
    let lines: Vec<_> = rejected.lines().collect();
    assert_eq!(lines[0], "row,line,cause,record");
    assert!(
        lines[1].starts_with("2,3,") && lines[1].contains("utf-8"),
        "{rejected}"
    );
    assert!(
        lines[2].starts_with("3,4,") && lines[2].ends_with("\"3,a,b\""),
        "{rejected}"
    );
    assert!(
        lines[3].starts_with("4,5,") && lines[3].contains("unknown text tag"),
        "{rejected}"
    );
    assert_eq!(lines[4], "[**Odd**]\"\"\"");
    // Through a closure, which may also stop.
    let mut rows = Vec::new();
    let result = convert_or(
        &input[..],
        io::sink(),
        &normalizer,
        &options,
        |_| (),
        |row| {
            rows.push(row.at.row);
            Ok(rows.len() < 2)
        },
    );
    assert!(matches!(result, Err(Error::Files(Files::RowWidth { .. }))));
    assert_eq!(rows, [2, 3]);
}

#[test]
fn a_missing_or_escaped_quote_ends_the_run_whatever_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name| folder.path().join(name);
    let mut options = Options::new("TEXT");
    options.rejected = Some(path("rejected.csv"));
    for (input, words) in [
        (
            "ID,TEXT\n1,\"no pain\n2,\"fever\"\n",
            "is missing, or not doubled",
        ),
        (
            "ID,TEXT\n1,\"said \\\"no\\\"\"\n",
            "choose the quoting backslash",
        ),
        ("ID,TEXT\n1,no pain\nat all\"\n", "odd number"),
    ] {
        fs::write(path("in.csv"), input).expect("the input");
        let result = convert_file(
            &path("in.csv"),
            &path("out.csv"),
            &Normalizer::mimic_iii(),
            &options,
            |_| (),
        );
        let message = result
            .expect_err("nobody knows where rows begin")
            .to_string();
        assert!(
            message.contains(words) && message.contains("row "),
            "{message}"
        );
        assert_eq!(files_in(folder.path()), ["in.csv"]);
    }
}

#[test]
fn files_are_read_as_they_were_exported() {
    let run = |input: &[u8], csv: CsvOptions| {
        let mut options = Options::new("TEXT");
        options.csv = csv;
        let mut output = Vec::new();
        convert(
            input,
            &mut output,
            &Normalizer::mimic_iii(),
            &options,
            |_| (),
        )?;
        Ok::<_, Error>(String::from_utf8(output).expect("UTF-8"))
    };
    let semicolon = b"ID;TEXT\n1;[**Name**], \xe4\n";
    let csv = CsvOptions::new().with_encoding(Encoding::Latin1);
    let message = run(semicolon, csv.clone())
        .expect_err("no comma")
        .to_string();
    assert!(
        message.contains("choose the separator semicolon"),
        "{message}"
    );
    let csv = csv.with_separator(Separator::Semicolon);
    assert_eq!(
        run(semicolon, csv).expect("it converts"),
        "ID;TEXT\n1;[Name] , ä\n"
    );
    let spark = b"ID,TEXT\n1,\"He said \\\"no pain\\\" today [**Name 5**]\"\n";
    let csv = CsvOptions::new().with_quoting(Quoting::Backslash);
    assert_eq!(
        run(spark, csv).expect("it converts"),
        "ID,TEXT\n1,\"He said \\\"no pain\\\" today  [Name]\"\n"
    );
    let mut utf16 = vec![0xff, 0xfe];
    utf16.extend(
        "ID\tTEXT\n1\té [**Name**]\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes),
    );
    let csv = CsvOptions::new()
        .with_encoding(Encoding::Utf16Le)
        .with_separator(Separator::Tab);
    assert_eq!(
        run(&utf16, csv).expect("it converts"),
        "ID\tTEXT\n1\té  [Name]\n"
    );
    let excel = "\u{feff}sep=;\r\nID;TEXT\r\n1;[**Name**]\r\n".as_bytes();
    assert_eq!(
        run(excel, CsvOptions::new()).expect("it converts"),
        "\u{feff}sep=;\r\nID;TEXT\r\n1;[Name]\r\n"
    );
}

#[test]
fn tags_that_stay_are_counted() {
    let (output, summary) =
        run("ID,TEXT\n1,\"[**Last Name\n7**] [**Name**]\"\n").expect("it converts");
    assert_eq!(output, "ID,TEXT\n1,\"[**Last Name\n7**]  [Name]\"\n");
    assert_eq!((summary.tags, summary.unclosed), (1, 1));
}

#[test]
fn paths_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, missing) = (folder.path().join("in.csv"), folder.path().join("missing"));
    fs::write(&input, "ID,TEXT\n").expect("the input");
    let (normalizer, options) = (Normalizer::mimic_iii(), Options::new("TEXT"));
    let refused = |input: &Path, output: &Path| {
        convert_file(input, output, &normalizer, &options, |_| ())
            .expect_err("refused")
            .to_string()
    };
    let output = folder.path().join("out.csv");
    let message = refused(&missing, &output);
    assert!(
        message.starts_with("cannot read ") && message.contains("missing"),
        "{message}"
    );
    let message = refused(&input, &missing.join("out.csv"));
    assert!(
        message.starts_with("cannot write ") && message.ends_with("check the path"),
        "{message}"
    );
    let message = refused(&input, folder.path());
    assert!(message.contains("not a regular file"), "{message}");
    let message = refused(folder.path(), &output);
    assert!(message.starts_with("cannot read "), "{message}");
    assert_eq!(files_in(folder.path()), ["in.csv"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_permissions_kept() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = tempfile::tempdir().expect("a folder");
    let path = |name| folder.path().join(name);
    fs::write(path("in.csv"), "ID,TEXT\n1,[**Name**]\n").expect("the input");
    fs::write(path("real.csv"), "before").expect("the output");
    fs::set_permissions(path("real.csv"), fs::Permissions::from_mode(0o600)).expect("permissions");
    symlink(path("real.csv"), path("link.csv")).expect("a link");
    let (normalizer, options) = (Normalizer::mimic_iii(), Options::new("TEXT"));

    convert_file(
        &path("in.csv"),
        &path("link.csv"),
        &normalizer,
        &options,
        |_| (),
    )
    .expect("it converts");
    assert!(
        fs::symlink_metadata(path("link.csv"))
            .expect("the link")
            .is_symlink()
    );
    assert_eq!(
        fs::read_to_string(path("real.csv")).expect("the file"),
        "ID,TEXT\n1,[Name]\n"
    );
    let mode = fs::metadata(path("real.csv"))
        .expect("the file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn mimic_iv_annotations_give_the_types() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("discharge_annotation.csv");
    let annotations = "\u{feff}start,note_id,entity_type\r\n0,a,NAME\r\n9,\"b\"\"\",AGE\r\n5,a,DATE\r\n\r\n7,a,NAME";
    fs::write(&path, annotations).expect("it is written");
    let mut options = Options::new("text");
    let annotations = Annotations::open(&path).expect("it is read");
    assert_eq!(annotations.notes(), 2);
    options.annotations = Some(annotations);
    let run = |input: &str, normalizer: &Normalizer| {
        let mut output = Vec::new();
        let summary = convert(input.as_bytes(), &mut output, normalizer, &options, |_| ())?;
        Ok::<_, Error>((String::from_utf8(output).expect("UTF-8"), summary))
    };
    let input = "text,note_id\nMs ___ on ___,a\n___ y/o,\"b\"\"\"\n\"___, ____\",c\n";
    let (output, summary) = run(input, &Normalizer::mimic_iv()).expect("it converts");
    let expected =
        "text,note_id\nMs  [Name]  on  [DR],a\n[Age]  y/o,\"b\"\"\"\n\"[MISC] ,  [MISC]\",c\n";
    assert_eq!(output, expected);
    assert_eq!((summary.rows, summary.tags, summary.untyped), (3, 5, 2));

    assert!(matches!(
        run(input, &Normalizer::mimic_iii()),
        Err(Error::TypesForMimicIii)
    ));
    assert!(matches!(
        run("text\n___\n", &Normalizer::mimic_iv()),
        Err(Error::Files(Files::NoColumn { column, .. })) if column == "note_id"
    ));
    let broken = [
        "",
        "note_id,type\n",
        "entity_type,note_id\nNAME\n",
        "note_id,entity_type\n\"a,NAME\n",
    ];
    for broken in broken {
        fs::write(&path, broken).expect("it is written");
        let message = Annotations::open(&path)
            .expect_err("it is refused")
            .to_string();
        assert!(message.contains("discharge_annotation.csv"), "{message}");
    }
    assert!(Annotations::open(folder.path()).is_err());
    // Types that the published table lacks name the row, in the mode that stops.
    options.annotations =
        Some(Annotations::read(&b"note_id,entity_type\na,SPECIES\n"[..]).expect("it is read"));
    let stopped = convert(
        &b"text,note_id\n___,a\n"[..],
        io::sink(),
        &Normalizer::mimic_iv(),
        &options,
        |_| (),
    );
    let message = stopped.expect_err("it stops").to_string();
    assert!(
        message.contains("SPECIES") && message.contains("row 1"),
        "{message}"
    );
}
