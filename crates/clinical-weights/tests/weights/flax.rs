//! Flax files made by hand: every rule of the reader has its error.

use clinical_weights::{Checkpoint, CheckpointDir, Dtype, Error};

use crate::files::directory;

fn text(text: &str) -> Vec<u8> {
    assert!(text.len() < 32);
    [&[0xa0 | text.len() as u8], text.as_bytes()].concat()
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    assert!(entries.len() < 16);
    let mut out = vec![0x80 | entries.len() as u8];
    for (key, value) in entries {
        out.extend(text(key));
        out.extend(value);
    }
    out
}

/// An array as Flax packs it, with whatever shape and type.
fn array(shape: &[u8], dtype: &str, values: &[u8]) -> Vec<u8> {
    let mut inner = vec![0x93, 0x90 | shape.len() as u8];
    inner.extend(shape);
    inner.extend(text(dtype));
    inner.extend([0xc4, values.len() as u8]);
    inner.extend(values);
    [&[0xc7, inner.len() as u8, 1], inner.as_slice()].concat()
}

fn open(file: &[u8]) -> Result<Checkpoint, Error> {
    let dir = directory(&[("flax_model.msgpack", file)]);
    CheckpointDir::open(dir.path())?.weights()
}

fn good() -> Vec<u8> {
    map(&[
        (
            "dense",
            map(&[
                ("kernel", array(&[2, 3], "float32", &[0; 24])),
                ("bias", array(&[3], "bfloat16", &[0; 6])),
            ]),
        ),
        ("norm", map(&[("scale", array(&[2], "float16", &[0; 4]))])),
        (
            "table",
            map(&[("embedding", array(&[4, 1], "int32", &[0; 16]))]),
        ),
        ("step", vec![7]),
    ])
}

#[test]
fn names_and_shapes_are_those_of_pytorch() {
    let checkpoint = open(&good()).unwrap();
    let found: Vec<_> = checkpoint
        .tensors()
        .map(|t| (t.name.as_str(), t.dtype, t.shape.as_slice()))
        .collect();
    assert_eq!(
        found,
        [
            ("dense.bias", Dtype::BF16, &[3][..]),
            ("dense.weight", Dtype::F32, &[3, 2][..]),
            ("norm.weight", Dtype::F16, &[2][..]),
            ("table.weight", Dtype::I32, &[4, 1][..]),
        ]
    );
    // The bytes of a kernel are the transpose of what its shape says.
    assert!(checkpoint.bytes("dense.weight").is_err());
    assert_eq!(checkpoint.bytes("dense.bias").unwrap().len(), 6);
}

#[test]
fn an_array_in_chunks_is_put_together() {
    let chunked = |chunks: &[(&str, Vec<u8>)]| {
        map(&[(
            "w",
            map(&[
                ("__msgpack_chunked_array__", vec![0xc3]),
                ("shape", map(&[("0", vec![3]), ("1", vec![1])])),
                ("chunks", map(chunks)),
            ]),
        )])
    };
    let chunk = |values: &[u8]| array(&[values.len() as u8 / 2], "float16", values);
    let whole = chunked(&[("1", chunk(&[5, 6])), ("0", chunk(&[1, 2, 3, 4]))]);
    let checkpoint = open(&whole).unwrap();
    assert_eq!(checkpoint.tensor("w").unwrap().shape, [3, 1]);
    assert_eq!(checkpoint.bytes("w").unwrap().as_ref(), [1, 2, 3, 4, 5, 6]);
    for broken in [
        chunked(&[("0", chunk(&[1, 2])), ("1", chunk(&[3, 4, 5, 6]))]),
        chunked(&[("0", chunk(&[1, 2, 3, 4])), ("2", chunk(&[5, 6]))]),
        chunked(&[("0", chunk(&[1, 2, 3, 4])), ("x", chunk(&[5, 6]))]),
        chunked(&[]),
        chunked(&[
            ("0", chunk(&[1, 2, 3, 4])),
            ("1", array(&[2], "int8", &[5, 6])),
        ]),
    ] {
        assert!(matches!(open(&broken), Err(Error::Flax { .. })));
    }
    assert!(matches!(
        open(&chunked(&[("0", chunk(&[1, 2, 3, 4]))])),
        Err(Error::TensorBytesOf { .. })
    ));
}

#[test]
fn each_rule_has_its_error() {
    let invalid = |file: &[u8]| matches!(open(file), Err(Error::Flax { .. }));
    assert!(invalid(&[0x01]));
    assert!(invalid(&[0x81, 0x05, 0x05]), "a key that is no text");
    assert!(
        invalid(&[0x81, 0xa1, 0xff, 0x05]),
        "a key that is not UTF-8"
    );
    assert!(invalid(&[0x81, 0xa1, b'a', 0xc1]));
    assert!(invalid(&map(&[("a", text("text"))])));
    assert!(invalid(&map(&[("a", array(&[2], "complex64", &[0; 16]))])));
    let good = array(&[1], "float32", &[0; 4]);
    assert!(matches!(
        open(&map(&[("a", good.clone()), ("a", good.clone())])),
        Err(Error::IndexDuplicate { .. })
    ));
    assert!(matches!(
        open(&map(&[("a", array(&[2], "float32", &[0; 4]))])),
        Err(Error::TensorBytesOf { .. })
    ));
    assert!(matches!(
        open(&[map(&[("a", good)]), vec![0]].concat()),
        Err(Error::TrailingBytes { extra: 1, .. })
    ));
    // Counts and lengths beyond the file.
    for head in [
        &[0xdf, 0xff, 0xff, 0xff, 0xff][..],
        &[0x81, 0xdb, 0xff, 0xff, 0xff, 0xff],
        &[0x81, 0xa1, b'a', 0xc9, 0xff, 0xff, 0xff, 0xff, 1],
    ] {
        assert!(matches!(open(head), Err(Error::Truncated { .. })));
    }
    // A long name above many small leaves.
    let mut leaves = vec![0xde, 0xff, 0xff];
    for i in 0..0xffffu32 {
        leaves.extend([0xa3, b'a' + (i % 26) as u8]);
        leaves.extend([(i / 26 % 100) as u8, (i / 2600) as u8]);
        leaves.extend(array(&[1], "int8", &[0]));
    }
    let mut tall = leaves;
    for _ in 0..30 {
        tall = [&[0x81, 0xbf][..], &[b'x'; 31], &tall].concat();
    }
    assert!(invalid(&tall));
    // A bomb of maps in maps.
    let mut bomb = Vec::new();
    for _ in 0..100_000 {
        bomb.extend([0x81, 0xa0]);
    }
    assert!(invalid(&bomb));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let file = good();
    for cut in 0..file.len() {
        let error = open(&file[..cut])
            .err()
            .unwrap_or_else(|| panic!("cut at {cut}"));
        assert!(
            matches!(error, Error::Truncated { .. } | Error::EmptyFile { .. }),
            "cut at {cut}: {error}"
        );
    }
}
