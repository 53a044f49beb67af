//! Converting CSV files: what is kept, what is refused, and what an error leaves behind.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use clinical_deid::csv::{Annotations, Options, Summary, convert, convert_file, replace_file};
use clinical_deid::{Error, Normalizer, UnknownTag};

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
        column.contains("2 columns") && column.contains("perhaps `text`"),
        "{column}"
    );
    assert!(!column.contains("Secret"));
    assert!(!message("a,b\n").contains("perhaps"));

    assert!(matches!(run(""), Err(Error::NoHeader)));
    assert!(matches!(run("\u{feff}\n\n"), Err(Error::NoHeader)));
    assert!(message(b"\x1F\x8B\x08\x00abc").contains("gunzip"));
    assert!(message(b"PK\x03\x04abc").contains("zip"));
    assert!(message(b"\xFF\xFEI\x00D\x00").contains("UTF-16"));
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
    options.max_row_bytes = 1 << 20;
    let result = convert(
        input,
        io::sink(),
        &Normalizer::mimic_iii(),
        &options,
        |_| (),
    );
    assert!(matches!(result, Err(Error::RowTooLong { row: 1, limit }) if limit == 1 << 20));
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

    // In place.
    convert_file(&input, &input, &lenient, &options, |_| ()).expect("it converts");
    assert_eq!(fs::read_to_string(&input).expect("the input"), converted);
    assert_eq!(files_in(folder.path()), ["in.csv", "out.csv"]);
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
        message.starts_with("cannot write into the folder "),
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
        Err(Error::NoColumn { column, .. }) if column == "note_id"
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

#[test]
fn a_file_is_replaced_when_all_of_the_new_one_is_there() {
    use std::io::Write;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("page.html");
    let full = || Error::Write {
        path: "page".into(),
        cause: io::ErrorKind::StorageFull.into(),
    };
    let entries = || fs::read_dir(folder.path()).expect("it is read").count();
    // Half a file, then no room: nothing is there, or what was there before.
    for before in [None, Some("old")] {
        if let Some(text) = before {
            fs::write(&path, text).expect("it is written");
        }
        let result: Result<(), Error> = replace_file(&path, |file| {
            file.write_all(b"half").expect("it is written");
            Err(full())
        });
        assert!(matches!(result, Err(Error::Write { .. })));
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), before);
        assert_eq!(entries(), usize::from(before.is_some()));
    }
    let length: Result<usize, Error> =
        replace_file(&path, |file| Ok(file.write(b"new").expect("it is written")));
    assert_eq!((length.ok(), entries()), (Some(3), 1));
    assert_eq!(fs::read_to_string(&path).expect("it is read"), "new");
    let folder: Result<(), Error> = replace_file(folder.path(), |_| panic!("nothing is written"));
    assert!(matches!(folder, Err(Error::OutputNotAFile { .. })));
}
