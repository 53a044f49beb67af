//! What does not fit is reported, completely, and nothing is changed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use clinical_weights::{
    CheckpointDir, Error, FromCheckpoint, LoadOptions, PackingPolicy, Precision, load, plan,
};

use crate::files::{copy_of, directory};
use crate::model::{Tiny, data, expected, values};

/// The fixture with tensors renamed or removed (an empty new name).
fn renamed(changes: &[(&str, &str)]) -> tempfile::TempDir {
    let bytes = std::fs::read(data("safetensors_f32").join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let mut header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    for (from, to) in changes {
        header = header.replace(&format!("\"{from}\""), &format!("\"{to}\""));
    }
    let file = [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &bytes[8 + length..],
    ]
    .concat();
    directory(&[("model.safetensors", &file)])
}

#[test]
fn missing_and_unexpected_tensors_come_with_suggestions() {
    let dir = renamed(&[
        ("shared.weight", "transformer.shared.weight"),
        ("encoder.block.1.norm.weight", "encoder.block.1.nrom.weight"),
    ]);
    let mut model = Tiny::new(false);
    let error = load(&mut model, dir.path(), &LoadOptions::new()).unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.missing.len(), 2);
    assert_eq!(
        report.missing[0].nearest.as_deref(),
        Some("transformer.shared.weight")
    );
    assert_eq!(
        report.missing[1].nearest.as_deref(),
        Some("encoder.block.1.nrom.weight")
    );
    assert_eq!(report.unexpected.len(), 2);
    assert_eq!(
        report.unexpected[0].nearest.as_deref(),
        Some("encoder.block.1.norm.weight")
    );
    let message = error.to_string();
    assert!(
        message.contains("2 missing, 2 unexpected") && !message.contains('\n'),
        "{message}"
    );
}

#[test]
fn a_wrong_shape_names_the_tensor_and_both_shapes() {
    let mut model = Tiny::sized(false, 9, &clinical_kernels::cpu());
    let error = load(&mut model, data("bin_f32"), &LoadOptions::new()).unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.mismatched.len(), 2);
    // A matrix of a Linear is reported as the file has it, [d_output, d_input].
    let head = report
        .mismatched
        .iter()
        .find(|entry| entry.parameter == "lm_head.weight")
        .unwrap();
    assert_eq!(
        (head.expected.as_slice(), head.found.as_slice()),
        (&[9, 4][..], &[7, 4][..])
    );
    assert!(
        error
            .to_string()
            .contains("shared.weight needs [9, 4], the checkpoint has [7, 4]"),
        "{error}"
    );
}

#[test]
fn lenient_loading_fills_what_fits() {
    let dir = renamed(&[("lm_head.weight", "other.weight")]);
    let mut model = Tiny::new(false);
    let report = load(
        &mut model,
        dir.path(),
        &LoadOptions::new().with_strict(false),
    )
    .unwrap();
    assert_eq!(
        (
            report.applied.len(),
            report.missing.len(),
            report.unexpected.len()
        ),
        (9, 1, 1)
    );
    assert_eq!(
        values(&model)["shared.weight"],
        expected("f32")["shared.weight"]
    );
    let text = report.to_string();
    assert!(
        text.contains("MISSING (1)") && text.contains("UNEXPECTED (1)"),
        "{text}"
    );
}

#[test]
fn a_failure_leaves_the_model_as_it_was() {
    let mut model = Tiny::new(false);
    load(&mut model, data("safetensors_f32"), &LoadOptions::new()).unwrap();
    let dir = renamed(&[("scale", "scales")]);
    load(&mut model, dir.path(), &LoadOptions::new()).unwrap_err();
    assert_eq!(values(&model), expected("f32"));
}

#[test]
fn optional_parameters_may_be_missing() {
    let dir = renamed(&[("scale", "lm_head.bias")]);
    let model = Tiny::new(false);
    let checkpoint = CheckpointDir::open(dir.path()).unwrap().weights().unwrap();
    let keys = model.key_map().optional("scale").ignore("lm_head.bias");
    let report = plan(&model, &keys, &checkpoint, &LoadOptions::new()).unwrap();
    assert_eq!(report.left_initial, ["scale"]);
    assert_eq!(report.ignored, ["lm_head.bias"]);
    assert!(report.fits());
}

#[test]
fn some_parameters_keep_full_precision() {
    let mut model = Tiny::new(false);
    let checkpoint = CheckpointDir::open(data("safetensors_f32"))
        .unwrap()
        .weights()
        .unwrap();
    let keys = model
        .key_map()
        .with_packing(PackingPolicy::new().full_precision("**.norm.weight"));
    let options = LoadOptions::new().with_precision(Precision::F16);
    clinical_weights::load_from(&mut model, &keys, &checkpoint, &options).unwrap();
    let (full, half) = (expected("f32"), expected("f16"));
    assert_eq!(
        values(&model)["encoder.block.0.norm.weight"],
        full["encoder.block.0.norm.weight"]
    );
    assert_eq!(values(&model)["shared.weight"], half["shared.weight"]);
}

#[test]
fn limits_are_checked_before_anything_is_allocated() {
    // 2^40 rows: if anything were allocated, the test would not survive.
    let device = clinical_kernels::cpu();
    let mut huge = Tiny::sized(false, 1 << 40, &device);
    let error = load(&mut huge, data("safetensors_f32"), &LoadOptions::new()).unwrap_err();
    assert!(matches!(error, Error::DoesNotFit(_)), "{error}");
    let error = load(
        &mut huge,
        data("safetensors_f32"),
        &LoadOptions::new().with_max_bytes(1 << 30),
    )
    .unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { limit, .. } if limit == 1 << 30),
        "{error}"
    );

    let mut overflowing = Tiny::sized(false, usize::MAX / 2, &device);
    let error = load(
        &mut overflowing,
        data("safetensors_f32"),
        &LoadOptions::new(),
    )
    .unwrap_err();
    assert!(matches!(error, Error::SizeOverflow { .. }), "{error}");

    // Nothing of the large model is in the file; lenient loading must not leave it to be initialised.
    let dir = renamed(&[
        ("shared.weight", "x.weight"),
        ("lm_head.weight", "y.weight"),
    ]);
    let error = load(
        &mut huge,
        dir.path(),
        &LoadOptions::new().with_strict(false),
    )
    .unwrap_err();
    assert!(matches!(error, Error::LargerThanFiles { .. }), "{error}");

    let mut model = Tiny::new(false);
    let bytes = load(&mut model, data("safetensors_f32"), &LoadOptions::new())
        .unwrap()
        .bytes;
    load(
        &mut model,
        data("safetensors_f32"),
        &LoadOptions::new().with_max_bytes(bytes),
    )
    .unwrap();
    let error = load(
        &mut model,
        data("safetensors_f32"),
        &LoadOptions::new().with_max_bytes(bytes - 1),
    )
    .unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }));
}

#[test]
fn a_wrong_key_map_is_an_error() {
    let mut model = Tiny::new(false);
    let checkpoint = CheckpointDir::open(data("safetensors_f32"))
        .unwrap()
        .weights()
        .unwrap();
    let keys = model.key_map().rename("a.*", "b.**");
    let error = clinical_weights::load_from(&mut model, &keys, &checkpoint, &LoadOptions::new())
        .unwrap_err();
    assert!(matches!(error, Error::KeyMap { .. }));

    let keys = model
        .key_map()
        .accept("encoder.block.1.**", "encoder.block.0.**");
    let error = clinical_weights::load_from(&mut model, &keys, &checkpoint, &LoadOptions::new())
        .unwrap_err();
    assert!(matches!(error, Error::SameParameter { .. }), "{error}");
}

#[test]
fn progress_reaches_the_total() {
    let calls = Arc::new(AtomicUsize::new(0));
    let last = Arc::new(Mutex::new((0, 0)));
    let (seen, end) = (calls.clone(), last.clone());
    let options = LoadOptions::new().with_progress(move |progress| {
        seen.fetch_add(1, Ordering::Relaxed);
        let mut end = end.lock().unwrap();
        assert!(progress.bytes >= end.0 && progress.bytes <= progress.total);
        *end = (progress.bytes, progress.total);
    });
    load(&mut Tiny::new(false), data("bin_f32"), &options).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 10);
    let (bytes, total) = *last.lock().unwrap();
    assert_eq!(bytes, total);
}

#[test]
fn friendly_errors_for_directories() {
    let load = |path: &std::path::Path| {
        load(&mut Tiny::new(false), path, &LoadOptions::new()).unwrap_err()
    };
    assert!(matches!(
        load(&data("nowhere")),
        Error::DirectoryMissing { .. }
    ));
    assert!(matches!(
        load(&data("expected.json")),
        Error::NotADirectory { .. }
    ));
    let dir = directory(&[("config.json", b"{}"), ("model.onnx", b"ONNX")]);
    let error = load(dir.path());
    assert!(matches!(error, Error::NoWeights { .. }));
    assert!(
        error.to_string().contains("found config.json, model.onnx"),
        "{error}"
    );
    assert!(
        load(directory(&[]).path())
            .to_string()
            .contains("it is empty")
    );
}

#[test]
fn friendly_errors_for_files() {
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    let page = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>";
    for name in ["model.safetensors", "pytorch_model.bin"] {
        let error = |content: &[u8]| {
            let dir = directory(&[(name, content)]);
            let error = load(&mut Tiny::new(false), dir.path(), &LoadOptions::new()).unwrap_err();
            assert!(!error.to_string().contains('\n'));
            error
        };
        assert!(matches!(error(lfs), Error::LfsPointer { .. }));
        assert!(matches!(error(page), Error::WebPage { .. }));
        assert!(matches!(error(b""), Error::EmptyFile { .. }));
        assert!(matches!(
            error(b"{\"error\": \"Repository not found\"}"),
            Error::WrongContent { found: "text", .. }
        ));
        assert!(matches!(
            error(b"GGUF\x03\0\0\0"),
            Error::WrongContent { found: "GGUF", .. }
        ));
    }
    let dir = directory(&[("config.json", lfs)]);
    let error = CheckpointDir::open(dir.path())
        .unwrap()
        .config()
        .unwrap_err();
    assert!(matches!(error, Error::LfsPointer { .. }));
    let dir = directory(&[]);
    let error = CheckpointDir::open(dir.path())
        .unwrap()
        .config()
        .unwrap_err();
    assert!(matches!(error, Error::FileMissing { .. }));
    let dir = directory(&[("config.json", b"{\"model_type\": \"bert\"")]);
    let error = CheckpointDir::open(dir.path())
        .unwrap()
        .config()
        .unwrap_err();
    assert!(matches!(error, Error::Json { .. }));
    let dir = directory(&[("config.json", " ".repeat(2 << 20).as_bytes())]);
    let error = CheckpointDir::open(dir.path())
        .unwrap()
        .config()
        .unwrap_err();
    assert!(matches!(error, Error::FileTooLarge { .. }));
}

#[test]
#[cfg(unix)]
fn unreadable_and_odd_files() {
    use std::os::unix::fs::PermissionsExt;
    let dir = copy_of(&data("safetensors_f32"));
    let path = dir.path().join("model.safetensors");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may read everything.
    if std::fs::File::open(&path).is_err() {
        let error = load(&mut Tiny::new(false), dir.path(), &LoadOptions::new()).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("model.safetensors")).unwrap();
    let error = load(&mut Tiny::new(false), dir.path(), &LoadOptions::new()).unwrap_err();
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
}
