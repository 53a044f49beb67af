//! Checkpoints that were saved from inside something else: `state_dict.model.` of Lightning, `module.` of data-parallel
//! training, `_orig_mod.` of `torch.compile`, `{"model": ..}` of training loops.

use std::collections::BTreeMap;

use crate::checkpoint::Checkpoint;
use crate::key_map::Mark;
use crate::plan::{Names, names};
use crate::slots::Slot;
use crate::{Error, KeyMap};
use clinical_files::shown;

/// Most parts of a prefix, and most prefixes that are tried: wrappers are nested two or three times.
const MAX_PARTS: usize = 6;
const MAX_TRIED: usize = 32;

/// The prefix under which the checkpoint has every parameter that must be there, and the tensors below it; `""` where
/// it has them as they are, or where no prefix helps.
///
/// # Errors
///
/// [`Error::SeveralModels`] for a checkpoint that has them all under two prefixes; [`Error::SameParameter`].
pub(crate) fn find<'c>(
    slots: &[Slot],
    keys: &KeyMap,
    checkpoint: &'c Checkpoint,
) -> Result<(&'c str, Names<'c>), Error> {
    let wanted: Vec<&Slot> = slots
        .iter()
        .filter(|slot| !keys.is(Mark::Optional, &slot.path))
        .collect();
    let plain = names(keys, checkpoint, "")?;
    if fits(&plain, &wanted, keys) {
        return Ok(("", plain));
    }
    // The shortest comes first. A key map may take the last part of a prefix off itself (`bert.`), so a longer one that
    // starts alike is the same model.
    let (mut found, mut refusal) = (None, None);
    for prefix in candidates(&wanted, keys, checkpoint) {
        let below = match names(keys, checkpoint, prefix) {
            Ok(below) if fits(&below, &wanted, keys) => below,
            Ok(_) => continue,
            Err(error) => {
                refusal.get_or_insert(error);
                continue;
            }
        };
        match &found {
            None => found = Some((prefix, below)),
            Some((first, _)) if prefix.starts_with(first) => {}
            Some((first, _)) => {
                return Err(Error::SeveralModels {
                    first: shown(first),
                    second: shown(prefix),
                });
            }
        }
    }
    match (found, refusal) {
        (Some(found), _) => Ok(found),
        (None, Some(refusal)) => Err(refusal),
        (None, None) => Ok(("", plain)),
    }
}

/// Beginnings of names that end in a dot and that enough tensors have.
fn candidates<'c>(wanted: &[&Slot], keys: &KeyMap, checkpoint: &'c Checkpoint) -> Vec<&'c str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in checkpoint.tensors.keys() {
        for (at, _) in name.match_indices('.').take(MAX_PARTS) {
            *counts.entry(&name[..=at]).or_default() += 1;
        }
    }
    // Tied parameters share a tensor.
    let tied = |slot: &&&Slot| keys.tied_with(&slot.path).is_empty();
    let least = wanted.iter().filter(tied).count().max(1);
    let mut found: Vec<&str> = counts
        .into_iter()
        .filter(|(_, count)| *count >= least)
        .map(|(prefix, _)| prefix)
        .collect();
    found.sort_by_key(|prefix| prefix.len());
    found.truncate(MAX_TRIED);
    found
}

/// Whether every wanted parameter has a tensor.
fn fits(names: &Names<'_>, wanted: &[&Slot], keys: &KeyMap) -> bool {
    wanted.iter().all(|slot| {
        let tied = keys.tied_with(&slot.path);
        names.contains_key(&slot.path) || tied.iter().any(|name| names.contains_key(name))
    })
}

/// The sentence about a prefix.
pub(crate) fn remark(prefix: &str, checkpoint: &Checkpoint) -> String {
    let names = checkpoint.tensors.keys();
    let others = names.filter(|name| !name.starts_with(prefix)).count();
    let others = match others {
        0 => String::new(),
        count => format!("; {count} others are not read"),
    };
    format!(
        "the names of the tensors begin with `{}`, which was taken off{others}",
        shown(prefix)
    )
}
