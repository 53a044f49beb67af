//! What `torch.save` writes beside plain float tensors (`scripts/make_weight_fixtures.py`), in both of its formats.

use clinical_weights::{Checkpoint, CheckpointDir, Error, LoadOptions, load};

use crate::files::{copy_of, directory};
use crate::model::{Tiny, data};

fn open(fixture: &str) -> Checkpoint {
    CheckpointDir::open(data(fixture))
        .unwrap()
        .weights()
        .unwrap()
}

/// The values of an integer tensor, whatever its size.
fn integers(checkpoint: &Checkpoint, name: &str) -> Vec<i64> {
    let size = checkpoint.tensor(name).unwrap().dtype.size();
    let bytes = checkpoint.bytes(name).unwrap();
    let wide = |bytes: &[u8]| {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(bytes);
        i64::from_le_bytes(wide)
    };
    bytes.chunks_exact(size).map(wide).collect()
}

#[test]
fn integers_of_every_size_and_views_of_them() {
    for fixture in ["bin_integers", "bin_integers_legacy"] {
        let checkpoint = open(fixture);
        for (name, dtype) in [
            ("int64", "I64"),
            ("int32", "I32"),
            ("int16", "I16"),
            ("int8", "I8"),
            ("uint8", "U8"),
        ] {
            assert_eq!(checkpoint.tensor(name).unwrap().dtype.name(), dtype);
            let read = |name: &str| integers(&checkpoint, name);
            assert_eq!(read(name), [100, 1, 100, 2, 100, 3], "{fixture} {name}");
            assert_eq!(read(&format!("{name}.view")), [1, 2, 3], "{fixture} {name}");
            let turned = format!("{name}.turned");
            assert_eq!(checkpoint.tensor(&turned).unwrap().shape, [2, 3]);
            assert_eq!(read(&turned), [100, 100, 100, 1, 2, 3], "{fixture} {name}");
        }
        assert_eq!(integers(&checkpoint, "bool"), [1, 0, 1]);
    }
}

#[test]
fn one_storage_under_many_names() {
    for fixture in ["bin_shared", "bin_shared_legacy"] {
        let checkpoint = open(fixture);
        let read = |name: &str| -> Vec<u32> {
            let bytes = checkpoint.bytes(name).unwrap();
            let values = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
            values.map(|value| value as u32).collect()
        };
        let all: Vec<u32> = (0..24).collect();
        assert_eq!(read("whole"), all, "{fixture}");
        assert_eq!(read("matrix"), all);
        assert_eq!(read("half"), all[12..]);
        assert_eq!(read("row"), all[12..18]);
        assert_eq!(read("column"), [3, 9, 15, 21]);
        assert_eq!(read("block"), [8, 9, 10, 14, 15, 16]);
        let turned: Vec<u32> = (0..6)
            .flat_map(|c| (0..4).map(move |r| r * 6 + c))
            .collect();
        assert_eq!(read("turned"), turned);
        assert_eq!(checkpoint.tensor("turned").unwrap().shape, [6, 4]);
    }
}

/// Each of the two sharded formats with a shard that is missing, with one that is there twice, and with one that the
/// index does not list.
#[test]
fn shards_missing_doubled_and_unlisted() {
    for (fixture, stem, extension) in [
        ("safetensors_sharded", "model", "safetensors"),
        ("bin_sharded", "pytorch_model", "bin"),
    ] {
        let shard = |number: u32| format!("{stem}-{number:05}-of-00003.{extension}");
        let fill = |dir: &std::path::Path| load(&mut Tiny::new(false), dir, &LoadOptions::new());

        let dir = copy_of(&data(fixture));
        std::fs::remove_file(dir.path().join(shard(2))).unwrap();
        let error = fill(dir.path()).unwrap_err();
        assert!(
            matches!(&error, Error::ShardMissing { name, .. } if *name == shard(2)),
            "{fixture}: {error}"
        );

        // The same tensors under two names, as an interrupted download leaves them: the index decides.
        let dir = copy_of(&data(fixture));
        let copy = format!("{stem}-copy.{extension}");
        std::fs::copy(dir.path().join(shard(2)), dir.path().join(&copy)).unwrap();
        let index = dir.path().join(match extension {
            "bin" => "pytorch_model.bin.index.json",
            _ => "model.safetensors.index.json",
        });
        let text = std::fs::read_to_string(&index).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let places = json["weight_map"].as_object_mut().unwrap();
        let (name, _) = places
            .iter()
            .find(|(_, place)| **place == shard(2).as_str())
            .map(|(name, place)| (name.clone(), place.clone()))
            .unwrap();
        places.insert(name, copy.as_str().into());
        std::fs::write(&index, json.to_string()).unwrap();
        let report = fill(dir.path()).unwrap();
        assert!(
            report.notes.iter().any(|note| note.contains(&copy)),
            "{fixture}: {report}"
        );

        // A file that no index lists is not read: it may be anything.
        let dir = copy_of(&data(fixture));
        std::fs::write(dir.path().join(&copy), "anything").unwrap();
        let report = fill(dir.path()).unwrap();
        assert!(report.notes.is_empty(), "{fixture}: {report}");

        // Without an index, shards of two sets do not mix.
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for number in 1..=3 {
            let bytes = std::fs::read(data(fixture).join(shard(number))).unwrap();
            files.push((shard(number), bytes));
        }
        files.push((
            format!("{stem}-00001-of-00004.{extension}"),
            files[0].1.clone(),
        ));
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        let dir = directory(&files);
        assert!(fill(dir.path()).is_ok(), "{fixture}");
    }
}
