//! GGUF files: every type equals Python's `gguf`, and models in parts. The rules of the format stand in `gguf_rules`.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};
use clinical_weights::{
    Checkpoint, CheckpointDir, Dtype, Error, Format, KeyMap, LoadOptions, Precision, load_from,
};

use crate::files::directory;
use crate::gguf_file::{Builder, llama, metadata, open, text};
use crate::model::data;

fn types() -> Checkpoint {
    CheckpointDir::open(data("gguf/types.gguf"))
        .unwrap()
        .weights()
        .unwrap()
}

/// What Python's `gguf.quants.dequantize` gives.
fn reference() -> BTreeMap<String, Vec<f32>> {
    let checkpoint =
        Checkpoint::from_bytes(std::fs::read(data("gguf/types.safetensors")).unwrap()).unwrap();
    let names: Vec<String> = checkpoint.tensors().map(|t| t.name.clone()).collect();
    names
        .into_iter()
        .map(|name| {
            let bytes = checkpoint.bytes(&name).unwrap();
            let values = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
            (name, values.collect())
        })
        .collect()
}

#[test]
fn blocks_decode_to_the_bits_of_the_reference() {
    let (checkpoint, reference) = (types(), reference());
    assert_eq!(checkpoint.files()[0].format, Format::Gguf);
    let mut blocks = 0;
    for (name, expected) in &reference {
        let info = checkpoint.tensor(name).unwrap();
        assert_eq!(info.shape, [4, 512], "{name}");
        let Dtype::Block(block) = info.dtype else {
            continue;
        };
        blocks += 1;
        assert_eq!(format!("type.{}", block.name()), *name);
        let mut found = vec![0.0; expected.len()];
        let bytes = checkpoint.bytes(name).unwrap();
        assert_eq!(bytes.len(), 4 * 512 / block.values() * block.bytes());
        block.decode(&bytes, &mut found);
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert_eq!(found.to_bits(), expected.to_bits(), "{name} at {i}");
        }
    }
    assert_eq!(blocks, 10);
}

#[derive(Module, Debug)]
struct Linear {
    weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct One {
    plain: Param<Tensor<2>>,
    matrix: Linear,
}

/// Loads one tensor twice: as it is, and as the matrix of a `Linear`.
fn loaded(name: &str, precision: Precision) -> (Tensor<2>, Tensor<2>) {
    let device = clinical_kernels::cpu();
    let zeros = burn::module::Initializer::Zeros;
    let mut model = One {
        plain: zeros.init([4, 512], &device),
        matrix: Linear {
            weight: zeros.init([512, 4], &device),
        },
    };
    let keys = KeyMap::new()
        .accept(name, "plain")
        .tied(&["plain", "matrix.weight"]);
    // All the other tensors of the file are unexpected.
    let options = LoadOptions::new()
        .with_precision(precision)
        .with_strict(false);
    let report = load_from(&mut model, &keys, &types(), &options).unwrap();
    assert!(
        report.missing.is_empty() && report.mismatched.is_empty(),
        "{report}"
    );
    (model.plain.val(), model.matrix.weight.val())
}

#[test]
fn every_type_loads_as_any_float() {
    for (name, expected) in reference() {
        let (plain, matrix) = loaded(&name, Precision::F32);
        let values: Vec<f32> = plain.into_data().try_to_vec().unwrap();
        assert_eq!(values, expected, "{name}");
        let values: Vec<f32> = matrix.swap_dims(0, 1).into_data().try_to_vec().unwrap();
        assert_eq!(values, expected, "{name}, transposed");

        let (half, _) = loaded(&name, Precision::F16);
        assert_eq!(half.dtype(), DType::F16);
        let values: Vec<f32> = half.into_data().convert::<f32>().try_to_vec().unwrap();
        for (found, expected) in values.iter().zip(&expected) {
            assert_eq!(*found, burn::tensor::f16::from_f32(*expected).to_f32());
        }
    }
}

#[test]
fn all_kinds_of_metadata_are_read() {
    let file = CheckpointDir::open(data("gguf/types.gguf")).unwrap();
    let file = file.gguf().unwrap().unwrap();
    assert_eq!(file.architecture().unwrap(), "llama");
    assert_eq!(file.number("test.u8"), Some(200));
    assert_eq!(file.number("test.u16"), Some(60_000));
    assert_eq!(file.number("test.u32"), Some(4_000_000_000));
    assert_eq!(file.number("test.u64"), Some(1 << 60));
    assert_eq!(file.number("test.i8"), None, "negative");
    assert_eq!(file.float("test.f32"), Some(1e-5));
    assert_eq!(file.float("test.f64"), Some(1e-300));
    assert_eq!(file.flag("test.bool"), Some(true));
    assert_eq!(file.text("test.text"), Some("Größe ▁"));
    assert_eq!(file.text("test.u8"), None);
    assert!(file.keys().any(|key| key == "test.numbers"));
    // It holds no model.
    let error = file.config().unwrap_err().to_string();
    assert!(error.contains("llama.attention.head_count"), "{error}");
    let error = file.vocabulary().unwrap_err().to_string();
    assert!(error.contains("tokenizer.ggml.model"), "{error}");
}

#[test]
fn a_file_made_by_hand_opens_in_both_versions() {
    let mut file = llama()
        .tensor("output_norm.weight", &[8], 0, 0)
        .tensor("blk.0.attn_v.weight", &[32, 2], 8, 32)
        .values(100)
        .build();
    for version in [2, 3] {
        file[4] = version;
        let checkpoint = open(&file).unwrap();
        assert_eq!(checkpoint.tensor("model.norm.weight").unwrap().shape, [8]);
        let value = checkpoint
            .tensor("model.layers.0.self_attn.v_proj.weight")
            .unwrap();
        assert_eq!((value.shape.as_slice(), value.bytes), (&[2, 32][..], 68));
    }
}

/// A file with one matrix of 48 rows of 64 values in blocks of this type: any integers, scales of either sign.
fn quantised(kind: u32, block: usize) -> Vec<u8> {
    let bytes = 48 * 2 * block;
    let mut file = llama()
        .tensor("blk.0.attn_v.weight", &[64, 48], kind, 0)
        .values(bytes)
        .build();
    let start = file.len() - bytes;
    let mut state = 7u32;
    for block in file[start..].chunks_exact_mut(block) {
        for byte in block.iter_mut() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        // A scale and a minimum below 1.
        for at in [1, 3] {
            block[at] = block[at] & 0x83 | 0x28;
        }
    }
    file
}

#[derive(Module, Debug)]
struct Value {
    v: Linear,
}

/// The matrix of such a file at a precision, with the report.
fn value(file: &[u8], precision: Precision) -> (Linear, clinical_weights::LoadReport) {
    let device = clinical_kernels::cpu();
    let mut model = Value {
        v: Linear {
            weight: burn::module::Initializer::Zeros.init([64, 48], &device),
        },
    };
    let keys = KeyMap::new().accept("model.layers.0.self_attn.v_proj.**", "v.**");
    let options = LoadOptions::new().with_precision(precision);
    let report = load_from(&mut model, &keys, &open(file).unwrap(), &options).unwrap();
    (model.v, report)
}

#[test]
fn integers_that_fit_stay_as_they_are() {
    for (name, kind, block, precision) in [
        ("Q8_0", 8, 34, Precision::Int8),
        ("Q5_0", 6, 22, Precision::Int8),
        ("Q4_0", 2, 18, Precision::Int8),
        ("Q4_0", 2, 18, Precision::Int4),
        ("Q4_1", 3, 20, Precision::Int4),
    ] {
        let file = quantised(kind, block);
        let (linear, report) = value(&file, precision);
        let (reference, _) = value(&file, Precision::F32);
        let reference: Vec<f32> = reference.weight.val().into_data().iter().collect();
        let values: Vec<f32> = linear.weight.val().into_data().iter().collect();
        assert_eq!(values, reference, "{name} as {precision}");
        let report = report.to_string();
        assert!(report.contains("the same integers"), "{report}");

        // The very bytes of the file.
        let matrix = clinical_kernels::packed(&linear.weight).unwrap().matrix();
        let blocks = file[file.len() - 48 * 2 * block..].chunks_exact(block);
        for (i, bytes) in blocks.enumerate() {
            let found = matrix.block(i / 2, i % 2).unwrap();
            // With minima, zero is 8 steps above the least.
            let four = precision == Precision::Int4;
            let least = match name {
                "Q4_1" => half::f16::from_le_bytes([bytes[2], bytes[3]]),
                _ if four => half::f16::from_f32(found.scale.to_f32() * -8.0),
                _ => half::f16::ZERO,
            };
            assert_eq!(found.least, least, "{name} as {precision}");
            assert_eq!(found.scale.to_le_bytes(), bytes[..2], "{name}");
            for (j, integer) in found.integers.into_iter().enumerate() {
                let expected = match name {
                    "Q8_0" => bytes[2 + j] as i8,
                    "Q4_0" if !four => (bytes[2 + j % 16] >> (j / 16 * 4) & 15) as i8 - 8,
                    "Q4_0" => (bytes[2 + j % 16] >> (j / 16 * 4) & 15) as i8,
                    "Q4_1" => (bytes[4 + j % 16] >> (j / 16 * 4) & 15) as i8,
                    _ => {
                        let fifth = bytes[2 + j / 8] >> (j % 8) & 1;
                        (bytes[6 + j % 16] >> (j / 16 * 4) & 15 | fifth << 4) as i8 - 16
                    }
                };
                assert_eq!(integer, expected, "{name} {precision} block {i} value {j}");
            }
        }
    }
}

/// Other types become floats and are packed again.
#[test]
fn blocks_that_do_not_fit_are_packed_again() {
    for (kind, block, precision) in [
        (8, 34, Precision::Int4),
        (3, 20, Precision::Int8),
        (8, 34, Precision::StoredF16),
        (8, 34, Precision::StoredBF16),
    ] {
        let file = quantised(kind, block);
        let (linear, report) = value(&file, precision);
        let (reference, _) = value(&file, Precision::F32);
        assert!(!report.to_string().contains("the same integers"));
        let reference: Vec<f32> = reference.weight.val().into_data().iter().collect();
        let values: Vec<f32> = linear.weight.val().into_data().iter().collect();
        let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
        let off = square(&mut values.iter().zip(&reference).map(|(a, b)| a - b));
        let size = square(&mut reference.iter().copied());
        assert!(off < 0.01 * size, "{precision}: {off} of {size}");
    }
}

/// One of several parts, with one tensor of eight values.
fn part(no: u32, count: u32, total: u32, tensor: &str) -> Builder {
    let head = if no == 0 { llama() } else { Builder::default() };
    head.number("split.no", no)
        .number("split.count", count)
        .number("split.tensors.count", total)
        .tensor(tensor, &[8], 0, 0)
        .values(32)
}

fn open_parts(first: &Builder, second: &Builder) -> Result<Checkpoint, Error> {
    let (first, second) = (first.build(), second.build());
    let dir = directory(&[
        ("m-00001-of-00002.gguf", &first),
        ("m-00002-of-00002.gguf", &second),
    ]);
    CheckpointDir::open(dir.path())?.weights()
}

#[test]
fn parts_are_one_model() {
    let (norm, scale) = ("output_norm.weight", "blk.0.attn_norm.weight");
    let (first, second) = (part(0, 2, 2, norm), part(1, 2, 2, scale));
    let checkpoint = open_parts(&first, &second).unwrap();
    assert_eq!(checkpoint.chosen(), "m-*-of-00002.gguf");
    let names: Vec<_> = checkpoint.files().iter().map(|file| &file.name).collect();
    assert_eq!(names, ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]);
    assert_eq!(checkpoint.tensors().count(), 2);
    let inner = checkpoint.tensor("model.layers.0.input_layernorm.weight");
    assert_eq!(inner.unwrap().file, 1);

    // The path of any part stands for all.
    let dir = directory(&[
        ("m-00001-of-00002.gguf", &first.build()),
        ("m-00002-of-00002.gguf", &second.build()),
        ("other.gguf", &llama().build()),
    ]);
    for name in ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"] {
        let dir = CheckpointDir::open(dir.path().join(name)).unwrap();
        assert_eq!(dir.weights().unwrap().tensors().count(), 2);
        let file = dir.gguf().unwrap().unwrap();
        assert_eq!(file.architecture().unwrap(), "llama");
    }
    // Two models, one of them in parts.
    let error = CheckpointDir::open(dir.path()).unwrap().weights();
    assert!(
        matches!(&error, Err(Error::SeveralGguf { names, .. }) if names == "m-*-of-00002.gguf, other.gguf"),
        "{error:?}"
    );
}

#[test]
fn parts_that_do_not_belong_together() {
    let (norm, scale) = ("output_norm.weight", "blk.0.attn_norm.weight");
    let first = part(0, 2, 2, norm);
    for (what, second) in [
        ("number of parts", part(1, 3, 2, scale)),
        ("the same part twice", part(0, 2, 2, scale)),
        ("number", part(7, 2, 2, scale)),
        ("no part", llama().tensor(scale, &[8], 0, 0).values(32)),
        ("tensors in all", part(1, 2, 5, scale)),
    ] {
        let error = open_parts(&first, &second).unwrap_err();
        assert!(matches!(error, Error::GgufPart { .. }), "{what}: {error}");
    }
    assert!(matches!(
        open_parts(&first, &part(1, 2, 2, norm)),
        Err(Error::TensorTwice { name, first, .. }) if name == norm && first == "m-00001-of-00002.gguf"
    ));
    // The metadata is in the first part alone.
    assert!(matches!(
        open_parts(&part(1, 2, 2, norm), &part(0, 2, 2, scale)),
        Err(Error::GgufPart { .. })
    ));
    let whole = first.build();
    for name in ["m-00001-of-00002.gguf", "m-00001-of-00512.gguf"] {
        let dir = directory(&[(name, &whole)]);
        for path in [dir.path().to_owned(), dir.path().join(name)] {
            let error = CheckpointDir::open(path).unwrap().weights();
            let missing = name.replace("-00001", "-00002");
            match (name, error) {
                ("m-00001-of-00002.gguf", Err(Error::ShardMissing { name, .. })) => {
                    assert_eq!(name, missing);
                }
                ("m-00001-of-00512.gguf", Err(Error::ShardMissing { .. })) => {}
                (_, other) => panic!("{name}: {other:?}"),
            }
        }
    }
    let dir = directory(&[("m-00001-of-00513.gguf", &whole)]);
    assert!(matches!(
        CheckpointDir::open(dir.path()).unwrap().weights(),
        Err(Error::TooMany { .. })
    ));
    // A name of a part and a file that is a whole model.
    let dir = directory(&[("m-00001-of-00001.gguf", &llama().build())]);
    assert!(CheckpointDir::open(dir.path()).unwrap().weights().is_ok());
    // Each part is cut by itself.
    let second = part(1, 2, 2, scale).build();
    for place in 0..64 {
        let dir = directory(&[
            ("m-00001-of-00002.gguf", &whole),
            (
                "m-00002-of-00002.gguf",
                &second[..second.len() * place / 64],
            ),
        ]);
        assert!(CheckpointDir::open(dir.path()).unwrap().weights().is_err());
    }
    // And may lie in the directory only.
    #[cfg(unix)]
    {
        let outside = directory(&[("x.gguf", &second)]);
        let dir = directory(&[("m-00001-of-00002.gguf", &whole)]);
        let link = dir.path().join("m-00002-of-00002.gguf");
        std::os::unix::fs::symlink(outside.path().join("x.gguf"), link).unwrap();
        assert!(matches!(
            CheckpointDir::open(dir.path()).unwrap().weights(),
            Err(Error::OutsideDirectory { .. })
        ));
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let file = std::fs::read(data("gguf/types.gguf")).unwrap();
    for place in 0..64 {
        let cut = file.len() * place / 64;
        let error = open(&file[..cut])
            .err()
            .unwrap_or_else(|| panic!("cut at {cut}"));
        assert!(
            matches!(error, Error::Truncated { .. } | Error::EmptyFile { .. }),
            "cut at {cut}: {error}"
        );
    }
}

#[test]
fn a_directory_or_the_file_itself() {
    let file = llama()
        .tensor("output_norm.weight", &[8], 0, 0)
        .values(32)
        .build();
    let dir = directory(&[
        ("model.gguf", &file),
        ("other.gguf", &file),
        ("config.json", b"{\"model_type\": \"llama\"}"),
    ]);
    let error = CheckpointDir::open(dir.path())
        .unwrap()
        .weights()
        .unwrap_err();
    assert!(
        matches!(&error, Error::SeveralGguf { names, .. } if names == "model.gguf, other.gguf"),
        "{error}"
    );
    let one = CheckpointDir::open(dir.path().join("other.gguf")).unwrap();
    assert_eq!(one.weights().unwrap().chosen(), "other.gguf");
    // The stub of a config beside it does not count.
    assert!(matches!(one.config(), Err(Error::GgufMetadata { .. })));

    // Published weights go first.
    let single = std::fs::read(data("safetensors_f32/model.safetensors")).unwrap();
    let dir = directory(&[("model.gguf", &file), ("model.safetensors", &single)]);
    let dir = CheckpointDir::open(dir.path()).unwrap();
    assert!(dir.gguf().unwrap().is_none());
    let weights = dir.weights().unwrap();
    assert_eq!(weights.chosen(), "model.safetensors");
    assert_eq!(weights.others(), ["model.gguf"]);

    assert!(matches!(
        open(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
        Err(Error::LfsPointer { .. })
    ));
}

#[test]
fn the_tokenizer_is_checked_against_its_tokens() {
    let array = |kind: u32, items: &[Vec<u8>]| {
        [
            &kind.to_le_bytes()[..],
            &(items.len() as u64).to_le_bytes(),
            &items.concat(),
        ]
        .concat()
    };
    let tokens = array(8, &[text("<unk>"), text("a")]);
    let base = || {
        llama()
            .text("tokenizer.ggml.model", "llama")
            .key("tokenizer.ggml.tokens", 9, &tokens)
    };
    let vocabulary = metadata(&base().number("tokenizer.ggml.eos_token_id", 1).build())
        .vocabulary()
        .unwrap();
    assert_eq!(vocabulary.tokens, ["<unk>", "a"]);
    assert_eq!(vocabulary.roles, [("eos", 1)]);

    for broken in [
        base().number("tokenizer.ggml.eos_token_id", 2),
        base().key("tokenizer.ggml.scores", 9, &array(6, &[vec![0; 4]])),
        base().key(
            "tokenizer.ggml.token_type",
            9,
            &array(8, &[text("1"), text("2")]),
        ),
        base().text("tokenizer.ggml.merges", "a b"),
    ] {
        let error = metadata(&broken.build()).vocabulary().unwrap_err();
        assert!(matches!(error, Error::GgufMetadata { .. }), "{error}");
    }
}
