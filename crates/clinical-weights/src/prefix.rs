//! Checkpoints that were saved from inside something else: `state_dict.model.` of Lightning, `module.` of data-parallel
//! training, `_orig_mod.` of `torch.compile`, `{"model": ..}` of training loops.

use std::collections::{BTreeMap, HashSet};

use crate::checkpoint::Checkpoint;
use crate::key_map::Mark;
use crate::slots::Slot;
use crate::{Error, KeyMap};
use clinical_files::shown;

/// Most parts of a prefix, and most prefixes that are tried: wrappers are nested two or three times.
const MAX_PARTS: usize = 6;
const MAX_TRIED: usize = 32;

/// The prefix under which the checkpoint has every parameter that must be there; `""` where it has them as they are, or where no
/// prefix helps.
///
/// # Errors
///
/// [`Error::SeveralModels`] for a checkpoint that has them all under two prefixes.
pub(crate) fn find(
    slots: &[Slot],
    keys: &KeyMap,
    checkpoint: &Checkpoint,
) -> Result<String, Error> {
    let wanted: Vec<&Slot> = slots
        .iter()
        .filter(|slot| !keys.is(Mark::Optional, &slot.path))
        .collect();
    if wanted.is_empty() || fits("", &wanted, keys, checkpoint) {
        return Ok(String::new());
    }
    let found: Vec<&str> = candidates(&wanted, keys, checkpoint)
        .into_iter()
        .filter(|prefix| fits(prefix, &wanted, keys, checkpoint))
        .collect();
    // A key map may take the last part of a prefix off itself (`bert.`): then the shorter one is the wrapper.
    let Some(first) = found.iter().min_by_key(|prefix| prefix.len()) else {
        return Ok(String::new());
    };
    match found.iter().find(|other| !other.starts_with(*first)) {
        None => Ok((*first).to_owned()),
        Some(other) => Err(Error::SeveralModels {
            first: shown(first),
            second: shown(other),
        }),
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

/// Whether every wanted parameter has a tensor under this prefix.
fn fits(prefix: &str, wanted: &[&Slot], keys: &KeyMap, checkpoint: &Checkpoint) -> bool {
    let names: HashSet<String> = checkpoint
        .tensors
        .keys()
        .filter_map(|name| name.strip_prefix(prefix))
        .map(|name| keys.module_name(name))
        .collect();
    wanted.iter().all(|slot| {
        let tied = keys.tied_with(&slot.path);
        names.contains(&slot.path) || tied.iter().any(|name| names.contains(name))
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
