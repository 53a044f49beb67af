//! Files that are wrong on purpose or by accident. Each rejection has a name, runs nothing, and is quick.

use clinical_weights::{CheckpointDir, Error, Facade, LoadOptions, load};

use crate::files::{copy_of, directory, safetensors, tensor_pickle, torch_zip};
use crate::memory::{LIMIT, measure};
use crate::model::{Tiny, data};

fn error_of(files: &[(&str, &[u8])]) -> Error {
    let dir = directory(files);
    // What Burn sets up once is no cost of a file.
    static WARM: std::sync::Once = std::sync::Once::new();
    WARM.call_once(|| drop(Tiny::new(false)));
    let (result, cost) = measure(|| load(&mut Tiny::new(false), dir.path(), &LoadOptions::new()));
    let error = result.unwrap_err();
    let bytes = files.iter().map(|(_, content)| content.len()).sum();
    cost.check(bytes, &error.to_string());
    error
}

fn torch_error(pickle: &[u8], storages: &[(&str, &[u8])]) -> Error {
    error_of(&[("pytorch_model.bin", &torch_zip(pickle, storages))])
}

#[test]
fn shard_names_that_leave_the_directory() {
    let outside = directory(&[("secret.safetensors", &safetensors("{}", 0))]);
    let absolute = outside.path().join("secret.safetensors");
    for name in [
        "../secret.safetensors",
        "a/b.safetensors",
        "a/../../secret.safetensors",
        absolute.to_str().unwrap(),
        "..\\secret.safetensors",
        "C:\\secret.safetensors",
        "model\0.safetensors",
        "..",
        "",
    ] {
        let index = serde_json::json!({"weight_map": {"shared.weight": name}}).to_string();
        let error = error_of(&[("model.safetensors.index.json", index.as_bytes())]);
        assert!(
            matches!(error, Error::ShardName { .. }),
            "{name:?}: {error}"
        );
    }
}

#[test]
fn indexes_that_promise_too_much() {
    let index = |name: &str| serde_json::json!({"weight_map": {"shared.weight": name}}).to_string();
    let error = error_of(&[(
        "model.safetensors.index.json",
        index("model-00001-of-00001.safetensors").as_bytes(),
    )]);
    assert!(
        matches!(&error, Error::ShardMissing { name, .. } if name == "model-00001-of-00001.safetensors"),
        "{error}"
    );

    // The index names itself: it is no weight file.
    let error = error_of(&[(
        "model.safetensors.index.json",
        index("model.safetensors.index.json").as_bytes(),
    )]);
    assert!(matches!(error, Error::ShardName { .. }), "{error}");

    let file = safetensors(
        r#"{"other":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
        1,
    );
    let error = error_of(&[
        (
            "model.safetensors.index.json",
            index("a.safetensors").as_bytes(),
        ),
        ("a.safetensors", &file),
    ]);
    assert!(
        matches!(&error, Error::TensorNotInShards { name, .. } if name == "shared.weight"),
        "{error}"
    );

    let error = error_of(&[("pytorch_model.bin.index.json", br#"{"weight_map":{}}"#)]);
    assert!(matches!(error, Error::IndexEmpty { .. }), "{error}");
    let error = error_of(&[(
        "model.safetensors.index.json",
        br#"{"weight_map":{"a":"x.bin","a":"x.bin"}}"#,
    )]);
    assert!(matches!(error, Error::IndexDuplicate { .. }), "{error}");
    let error = error_of(&[("model-00001-of-99999.safetensors", &file)]);
    assert!(matches!(error, Error::TooMany { .. }), "{error}");
}

#[test]
fn a_tensor_in_two_shards_without_a_judge() {
    let file = safetensors(
        r#"{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
        1,
    );
    let error = error_of(&[
        ("model-00001-of-00002.safetensors", &file),
        ("model-00002-of-00002.safetensors", &file),
    ]);
    assert!(matches!(error, Error::TensorTwice { .. }), "{error}");
}

#[test]
fn integer_weights_are_refused_by_name() {
    let bytes = std::fs::read(data("safetensors_f32").join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    // The scalar is the only tensor of 4 bytes: as four I8 it fills the same place.
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    let mut header: serde_json::Value = serde_json::from_str(&header).unwrap();
    header["scale"]["dtype"] = "I8".into();
    header["scale"]["shape"] = serde_json::json!([4]);
    let header = header.to_string();
    let file = [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &bytes[8 + length..],
    ]
    .concat();
    let error = error_of(&[("model.safetensors", &file)]);
    assert!(
        matches!(&error, Error::WrongDtype { name, dtype, .. } if name == "scale" && dtype.name() == "I8"),
        "{error}"
    );
}

#[test]
fn every_format_cut_at_64_places() {
    for (fixture, name) in [
        ("safetensors_f32", "model.safetensors"),
        ("bin_f32", "pytorch_model.bin"),
        ("bin_legacy", "pytorch_model.bin"),
        ("safetensors_sharded", "model-00002-of-00003.safetensors"),
        ("bin_sharded", "pytorch_model-00003-of-00003.bin"),
        ("safetensors_sharded", "model.safetensors.index.json"),
    ] {
        let whole = std::fs::read(data(fixture).join(name)).unwrap();
        for part in 0..64 {
            let dir = copy_of(&data(fixture));
            std::fs::write(dir.path().join(name), &whole[..whole.len() * part / 64]).unwrap();
            let (result, cost) =
                measure(|| load(&mut Tiny::new(false), dir.path(), &LoadOptions::new()));
            let error = result.unwrap_err();
            assert!(cost.time < LIMIT, "{:?}", cost.time);
            let named = matches!(
                error,
                Error::EmptyFile { .. }
                    | Error::Truncated { .. }
                    | Error::TorchArchive { .. }
                    | Error::TorchPickle { .. }
                    | Error::WrongContent { .. }
                    | Error::Json { .. }
            );
            assert!(named, "{fixture} {part}/64: {error:?}");
        }
    }
}

#[test]
fn pickles_run_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let command = format!("touch {}", mark.display());
    let length = (command.len() as u32).to_le_bytes();
    let string = [&b"X"[..], &length, command.as_bytes()].concat();
    for (global, pickle) in [
        (
            "posix.system",
            [&b"\x80\x02cposix\nsystem\n"[..], &string, b"\x85R."].concat(),
        ),
        ("os.system", [&b"(ios\nsystem\n"[..], b"."].concat()),
        (
            "builtins.eval",
            [
                &b"\x80\x04\x8c\x08builtins\x94\x8c\x04eval\x94\x93"[..],
                &string,
                b"\x85R.",
            ]
            .concat(),
        ),
        // Hidden inside an otherwise good state dict.
        (
            "subprocess.Popen",
            [
                &b"\x80\x02}X\x01\0\0\0wcsubprocess\nPopen\n"[..],
                &string,
                b"\x85Rs.",
            ]
            .concat(),
        ),
        ("torch.hub.load", b"\x80\x02ctorch.hub\nload\n)R.".to_vec()),
        (
            "__main__.Model",
            b"\x80\x02c__main__\nModel\n)\x81}b.".to_vec(),
        ),
    ] {
        let error = torch_error(&pickle, &[]);
        assert!(
            matches!(&error, Error::ForbiddenPickle { global: found, .. } if found == global),
            "{error}"
        );
        // The same without a zip archive around it.
        let error = error_of(&[("pytorch_model.bin", &pickle)]);
        assert!(
            matches!(
                error,
                Error::ForbiddenPickle { .. } | Error::WrongContent { .. }
            ),
            "{error}"
        );
    }
    assert!(!mark.exists());
}

#[test]
fn pickles_that_want_memory_or_time() {
    // A declared string of 4 GiB.
    let error = torch_error(b"\x80\x02X\xff\xff\xff\xff", &[]);
    assert!(matches!(error, Error::TorchPickle { .. }), "{error}");
    // 100,000 nested tuples, then 100,000 nested lists.
    for open in [b"(".as_slice(), b"]"] {
        let deep = [b"\x80\x02", open.repeat(100_000).as_slice(), b"."].concat();
        assert!(matches!(torch_error(&deep, &[]), Error::TorchPickle { .. }));
    }
    // A list that holds a list twice, thirty times over.
    let mut bomb = b"\x80\x02]q\0".to_vec();
    for i in 0..30u8 {
        bomb.extend([
            b']',
            b'q',
            i + 1,
            b'(',
            b'h',
            i,
            b'h',
            i,
            b'e',
            b'0',
            b'h',
            i + 1,
        ]);
    }
    bomb.push(b'.');
    assert!(matches!(torch_error(&bomb, &[]), Error::TorchPickle { .. }));
    // SETITEM on a list.
    assert!(matches!(
        torch_error(b"\x80\x02]K\0K\x01s.", &[]),
        Error::TorchPickle { .. }
    ));
}

#[test]
fn tensors_that_do_not_fit_their_storage() {
    let storage = [0u8; 16];
    for (what, pickle) in [
        ("more elements than the storage", tensor_pickle(4, 0, 5, 1)),
        ("an offset beyond the storage", tensor_pickle(4, 4, 1, 1)),
        ("a negative offset", tensor_pickle(4, -1, 1, 1)),
        ("a negative stride", tensor_pickle(4, 3, 4, -1)),
        ("a negative size", tensor_pickle(4, 0, -4, 1)),
        ("a stride beyond the storage", tensor_pickle(4, 0, 4, 2)),
        (
            "a view of eight gigabytes",
            tensor_pickle(4, 0, i32::MAX, 0),
        ),
    ] {
        let file = torch_zip(&pickle, &[("0", &storage)]);
        let dir = directory(&[("pytorch_model.bin", &file)]);
        let (opened, cost) = measure(|| CheckpointDir::open(dir.path()).unwrap().weights());
        assert!(cost.time < LIMIT, "{what}: {:?}", cost.time);
        // The reader allows views up to ten gigabytes; what the model needs is compared with the file afterwards.
        match opened {
            Err(Error::TorchPickle { .. }) => {}
            Err(other) => panic!("{what}: {other}"),
            Ok(_) => {
                let (result, cost) =
                    measure(|| load(&mut Tiny::new(false), dir.path(), &LoadOptions::new()));
                let error = result.unwrap_err();
                assert!(matches!(error, Error::DoesNotFit(_)), "{what}: {error}");
                assert!(cost.time < LIMIT, "{what}: {:?}", cost.time);
            }
        }
    }
    // The pickle declares more than the archive holds: noticed when the values are read at the latest.
    let file = torch_zip(&tensor_pickle(1 << 20, 0, 1 << 20, 1), &[("0", &storage)]);
    let dir = directory(&[("pytorch_model.bin", &file)]);
    let error = load(&mut Tiny::new(false), dir.path(), &LoadOptions::new()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TorchPickle { .. } | Error::TorchArchive { .. } | Error::DoesNotFit(_)
        ),
        "{error}"
    );
}

#[test]
fn a_storage_that_is_missing_fails_by_name() {
    // A good state dict for a model of one tensor whose storage is not in the archive.
    use burn::module::{Initializer, Module, Param};
    use burn::tensor::Tensor;
    #[derive(Module, Debug)]
    struct One {
        w: Param<Tensor<1>>,
    }
    let mut one = One {
        w: Initializer::Zeros.init([4], &clinical_kernels::cpu()),
    };
    let file = torch_zip(&tensor_pickle(4, 0, 4, 1), &[]);
    let dir = directory(&[("pytorch_model.bin", &file)]);
    let weights = CheckpointDir::open(dir.path()).unwrap().weights();
    let result = weights.and_then(|weights| {
        clinical_weights::load_from(
            &mut one,
            &clinical_weights::KeyMap::new(),
            &weights,
            &LoadOptions::new(),
        )
    });
    assert!(
        matches!(&result, Err(Error::ReadTensor { name, .. }) if name == "w")
            || matches!(&result, Err(Error::TorchPickle { .. })),
        "{result:?}"
    );

    let values: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0]
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    let file = torch_zip(&tensor_pickle(4, 0, 4, 1), &[("0", &values)]);
    let dir = directory(&[("pytorch_model.bin", &file)]);
    let weights = CheckpointDir::open(dir.path()).unwrap().weights().unwrap();
    clinical_weights::load_from(
        &mut one,
        &clinical_weights::KeyMap::new(),
        &weights,
        &LoadOptions::new(),
    )
    .unwrap();
    assert_eq!(
        one.w.val().into_data().try_to_vec::<f32>().unwrap(),
        [1.0, 2.0, 3.0, 4.0]
    );
}

#[test]
fn a_flipped_byte_in_a_torch_file_is_noticed() {
    // The values of a storage are covered by the archive's checksum.
    let mut file = std::fs::read(data("bin_f32").join("pytorch_model.bin")).unwrap();
    let value = crate::model::expected("f32")["shared.weight"][0].to_le_bytes();
    let at = file.windows(4).position(|window| window == value).unwrap();
    file[at] ^= 1;
    let error = error_of(&[("pytorch_model.bin", &file)]);
    assert!(
        matches!(&error, Error::ReadTensor { name, .. } if name == "shared.weight"),
        "{error}"
    );
}

#[test]
fn names_from_files_cannot_forge_messages() {
    let header = serde_json::json!({"\u{1b}[2Jall is well\n": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).to_string();
    let file = safetensors(&header, 4);
    let error = error_of(&[("model.safetensors", &file)]);
    let dir = directory(&[
        ("model.safetensors", &file),
        ("config.json", b"{\"model_type\": \"\\u001b[2J\"}"),
    ]);
    let texts = [
        error.to_string(),
        error.report().unwrap().to_string(),
        CheckpointDir::open(dir.path())
            .and_then(|dir| Facade::ClinicalT5.expect(&dir.config()?))
            .unwrap_err()
            .to_string(),
    ];
    for text in texts {
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
