//! The index of a sharded checkpoint: which file holds which tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::Error;
use crate::file::{Content, HEAD, Root};
use crate::limits::{MAX_INDEX_BYTES, MAX_SHARDS, MAX_TENSORS};
use clinical_files::shown;

/// A checked `*.index.json`.
#[derive(Debug)]
pub(crate) struct Index {
    /// Tensor name to shard name.
    pub(crate) tensors: BTreeMap<String, String>,
    /// All shard names, sorted.
    pub(crate) shards: Vec<String>,
}

impl Index {
    pub(crate) fn read(root: &Root, name: &str) -> Result<Self, Error> {
        let (path, content) = root.read(name, MAX_INDEX_BYTES)?;
        if let kind @ (Content::Lfs | Content::Page) =
            Content::of(&content[..content.len().min(HEAD)])
            && let Some(error) = kind.refuse(&path, "JSON")
        {
            return Err(error);
        }
        Self::parse(&path, &content)
    }

    pub(crate) fn parse(path: &Path, content: &[u8]) -> Result<Self, Error> {
        let file: IndexFile = serde_json::from_slice(content).map_err(|source| Error::Json {
            path: path.to_owned(),
            source,
        })?;
        let WeightMap {
            tensors,
            duplicate,
            too_many,
        } = file.weight_map;
        if too_many {
            return Err(Error::TooMany {
                path: path.to_owned(),
                what: "tensors",
                limit: MAX_TENSORS,
            });
        }
        if let Some(name) = duplicate {
            return Err(Error::IndexDuplicate {
                path: path.to_owned(),
                name: shown(&name),
            });
        }
        if tensors.is_empty() {
            return Err(Error::IndexEmpty {
                path: path.to_owned(),
            });
        }
        let shards: BTreeSet<&String> = tensors.values().collect();
        if shards.len() > MAX_SHARDS {
            return Err(Error::TooMany {
                path: path.to_owned(),
                what: "weight files",
                limit: MAX_SHARDS,
            });
        }
        let shards: Vec<String> = shards.into_iter().cloned().collect();
        for name in &shards {
            check_shard_name(name)?;
        }
        Ok(Self { tensors, shards })
    }
}

/// A shard is one plain file name with an extension that weights have. The index comes from the network; a name such as
/// `../../etc/passwd` must not reach the file system.
fn check_shard_name(name: &str) -> Result<(), Error> {
    let rule = if name.is_empty() {
        Some("is empty")
    } else if name.len() > 255 {
        Some("is longer than a file name can be")
    } else if name.chars().any(char::is_control) {
        Some("has control characters")
    } else if name.contains(['/', '\\']) {
        Some("is a path, not a plain name")
    } else if name.contains(':') {
        Some("has a colon")
    } else if !matches!(
        Path::new(name).extension().and_then(|end| end.to_str()),
        Some("safetensors" | "bin")
    ) {
        Some("ends in neither .safetensors nor .bin")
    } else {
        None
    };
    match rule {
        None => Ok(()),
        Some(rule) => Err(Error::ShardName {
            name: shown(name),
            rule,
        }),
    }
}

#[derive(Deserialize)]
struct IndexFile {
    weight_map: WeightMap,
}

/// `{tensor: file}` that notices duplicates and stops at the limit, which a derived map would not.
struct WeightMap {
    tensors: BTreeMap<String, String>,
    duplicate: Option<String>,
    too_many: bool,
}

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from tensor names to file names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut found = WeightMap {
                    tensors: BTreeMap::new(),
                    duplicate: None,
                    too_many: false,
                };
                while let Some(name) = map.next_key::<String>()? {
                    if found.tensors.len() == MAX_TENSORS {
                        found.too_many = true;
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let file: String = map.next_value()?;
                    if found.tensors.insert(name.clone(), file).is_some() {
                        found.duplicate.get_or_insert(name);
                    }
                }
                Ok(found)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Index, Error> {
        Index::parse(Path::new("model.safetensors.index.json"), text.as_bytes())
    }

    fn with_shard(name: &str) -> Result<Index, Error> {
        parse(&serde_json::json!({"weight_map": {"w": name}}).to_string())
    }

    #[test]
    fn reads_what_transformers_writes() {
        let index = parse(
            r#"{"metadata": {"total_size": 12.0}, "weight_map": {
                "b": "model-00002-of-00002.safetensors", "a": "model-00001-of-00002.safetensors"}}"#,
        )
        .unwrap();
        assert_eq!(index.tensors["a"], "model-00001-of-00002.safetensors");
        assert_eq!(index.shards.len(), 2);
    }

    #[test]
    fn shard_names_stay_in_the_directory() {
        assert!(with_shard("pytorch_model-00001-of-00003.bin").is_ok());
        for name in [
            "",
            "../x.bin",
            "/etc/x.bin",
            "a/b.bin",
            "a/../../x.bin",
            "..",
            ".",
            "..\\x.bin",
            "C:\\x.bin",
            "C:x.bin",
            "x\0.bin",
            "x\n.bin",
            "x.py",
            "x",
            ".bin",
            &format!("{}.bin", "x".repeat(300)),
        ] {
            assert!(
                matches!(with_shard(name), Err(Error::ShardName { .. })),
                "{name:?}"
            );
        }
    }

    #[test]
    fn broken_indexes_have_names() {
        assert!(matches!(
            parse(r#"{"weight_map": {}}"#),
            Err(Error::IndexEmpty { .. })
        ));
        assert!(matches!(
            parse(r#"{"weight_map": {"a": "x.bin", "a": "y.bin"}}"#),
            Err(Error::IndexDuplicate { .. })
        ));
        for text in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"weight_map": {"a": 3}}"#,
            r#"{"weight_map": []}"#,
        ] {
            assert!(matches!(parse(text), Err(Error::Json { .. })), "{text}");
        }
    }

    #[test]
    fn too_many_shards_are_refused() {
        let map: BTreeMap<String, String> = (0..=MAX_SHARDS)
            .map(|i| (format!("t{i}"), format!("model-{i}.bin")))
            .collect();
        let text = serde_json::json!({"weight_map": map}).to_string();
        assert!(matches!(parse(&text), Err(Error::TooMany { .. })));
    }
}
