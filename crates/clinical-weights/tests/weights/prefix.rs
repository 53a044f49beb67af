//! Checkpoints that were saved from inside something else, and those that have hardly anything of the model.

use clinical_weights::{Error, LoadOptions, load};
use tempfile::TempDir;

use crate::files::directory;
use crate::model::{Tiny, data, expected, values};

/// The fixture with every name changed, and with other tensors of one value each.
fn wrapped(name: impl Fn(&str) -> String, others: &[&str]) -> TempDir {
    let bytes = std::fs::read(data("safetensors_f32").join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut values = bytes[8 + length..].to_vec();
    let mut tensors: serde_json::Map<_, _> = header
        .as_object()
        .unwrap()
        .iter()
        .filter(|(key, _)| *key != "__metadata__")
        .map(|(key, value)| (name(key), value.clone()))
        .collect();
    for other in others {
        let at = values.len();
        values.extend(1.0f32.to_le_bytes());
        let entry = serde_json::json!({"dtype": "F32", "shape": [1], "data_offsets": [at, at + 4]});
        tensors.insert((*other).to_owned(), entry);
    }
    let mut header = serde_json::Value::Object(tensors).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let file = [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &values,
    ]
    .concat();
    directory(&[("model.safetensors", &file)])
}

#[test]
fn wrappers_are_taken_off() {
    for prefix in [
        "state_dict.model.",
        "model.",
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "model_state_dict.",
        "odd name.",
    ] {
        let dir = wrapped(
            |name| format!("{prefix}{name}"),
            &["epoch", "optimizer.state.0"],
        );
        let mut model = Tiny::new(false);
        let report = load(&mut model, dir.path(), &LoadOptions::new()).unwrap();
        assert_eq!(values(&model), expected("f32"), "{prefix}");
        let remark = report.prefix.clone().unwrap();
        assert!(
            remark.contains(&format!("`{prefix}`")) && remark.contains("2 others"),
            "{remark}"
        );
        assert!(report.notes.contains(&remark));
        assert_eq!(report.ignored, ["epoch", "optimizer.state.0"]);
    }
}

#[test]
fn names_that_fit_are_left_alone() {
    let mut model = Tiny::new(false);
    let report = load(&mut model, data("safetensors_f32"), &LoadOptions::new()).unwrap();
    assert_eq!(report.prefix, None);
}

#[test]
fn a_prefix_of_some_names_is_no_wrapper() {
    let partly = |name: &str| match name.starts_with("encoder") {
        true => format!("module.{name}"),
        false => name.to_owned(),
    };
    let dir = wrapped(partly, &[]);
    let error = load(&mut Tiny::new(false), dir.path(), &LoadOptions::new()).unwrap_err();
    assert!(
        matches!(error, Error::DoesNotFit(_) | Error::HardlyAny { .. }),
        "{error}"
    );
    assert!(!error.to_string().contains("strict off"), "{error}");
}

/// Both files of a training that keeps an average of its weights.
#[test]
fn a_model_that_is_there_twice_is_refused() {
    let bytes = std::fs::read(data("safetensors_f32").join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let size = bytes.len() - 8 - length;
    let mut tensors = serde_json::Map::new();
    for (number, prefix) in ["ema", "model"].into_iter().enumerate() {
        for (name, entry) in header.as_object().unwrap() {
            if name != "__metadata__" {
                let mut entry = entry.clone();
                for place in entry["data_offsets"].as_array_mut().unwrap() {
                    *place = (place.as_u64().unwrap() + (number * size) as u64).into();
                }
                tensors.insert(format!("{prefix}.{name}"), entry);
            }
        }
    }
    let header = serde_json::Value::Object(tensors).to_string();
    let values = &bytes[8 + length..];
    let file = [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        values,
        values,
    ]
    .concat();
    let dir = directory(&[("model.safetensors", &file)]);
    let error = load(&mut Tiny::new(false), dir.path(), &LoadOptions::new()).unwrap_err();
    assert!(
        matches!(&error, Error::SeveralModels { first, second } if first == "ema." && second == "model."),
        "{error}"
    );
}

#[test]
fn a_load_of_hardly_anything_is_refused_whatever_strict_says() {
    let dir = wrapped(|name| name.replace("weight", "other"), &[]);
    for strict in [true, false] {
        let options = LoadOptions::new().with_strict(strict);
        let mut model = Tiny::new(false);
        let error = load(&mut model, dir.path(), &options).unwrap_err();
        match strict {
            true => assert!(matches!(error, Error::DoesNotFit(_)), "{error}"),
            false => assert!(
                matches!(error, Error::HardlyAny { found, wanted, .. } if 2 * found < wanted),
                "{error}"
            ),
        }
        assert!(!error.report().unwrap().missing.is_empty());
        assert!(!error.to_string().contains("strict off"), "{error}");
    }
}

#[test]
fn strict_off_is_advised_where_it_does_no_harm() {
    let dir = wrapped(str::to_owned, &["unknown.weight"]);
    let error = load(&mut Tiny::new(false), dir.path(), &LoadOptions::new()).unwrap_err();
    assert!(
        error.to_string().contains("strict off to leave out"),
        "{error}"
    );
    let options = LoadOptions::new().with_strict(false);
    let mut model = Tiny::new(false);
    load(&mut model, dir.path(), &options).unwrap();
    assert_eq!(values(&model), expected("f32"));
}
