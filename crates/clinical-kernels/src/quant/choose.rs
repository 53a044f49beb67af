//! Which of the innermost loops this processor runs.

use std::sync::OnceLock;

use super::kernel::Kernels;
use super::packing::Packing;
use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512, avx512_wide};
use crate::InstructionSet;

/// The set that products of packed weights use: the best that this processor has, unless
/// [`LEVEL_VARIABLE`](crate::LEVEL_VARIABLE) asks for less.
#[must_use]
pub fn instruction_set() -> InstructionSet {
    static BEST: OnceLock<InstructionSet> = OnceLock::new();
    *BEST.get_or_init(|| {
        let most = crate::level::most();
        let mut sets = available().into_iter();
        sets.find(|set| *set <= most)
            .unwrap_or(InstructionSet::Portable)
    })
}

/// The sets that this processor has, the best first.
pub(super) fn available() -> Vec<InstructionSet> {
    let mut sets = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
        {
            sets.push(InstructionSet::Avx512);
        }
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            sets.push(InstructionSet::Avx2);
        }
    }
    sets.push(InstructionSet::Portable);
    sets
}

/// The kernels for a packing. The caller answers for the set being there.
pub(super) fn kernels(set: InstructionSet, packing: Packing) -> Kernels {
    match set {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => match packing {
            Packing::Int8 => avx512::INT8,
            Packing::Int8Wide => avx512_wide::INT8_WIDE,
            Packing::Int8Mixed => avx512::INT8_MIXED,
            Packing::Int4 => avx512::INT4,
            Packing::Int4Min => avx512::INT4_MIN,
            Packing::Int4Affine => avx512::INT4_AFFINE,
            Packing::F16 => avx512::F16,
            Packing::BF16 => avx512::BF16,
        },
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => match packing {
            Packing::Int8 | Packing::Int8Wide | Packing::Int8Mixed => avx2::INT8,
            Packing::Int4 => avx2::INT4,
            Packing::Int4Min => avx2::INT4_MIN,
            Packing::Int4Affine => avx2::INT4_AFFINE,
            Packing::F16 => avx2::F16,
            Packing::BF16 => avx2::BF16,
        },
        _ => match packing {
            Packing::Int8 | Packing::Int8Wide | Packing::Int8Mixed => portable::INT8,
            Packing::Int4 => portable::INT4,
            Packing::Int4Min => portable::INT4_MIN,
            Packing::Int4Affine => portable::INT4_AFFINE,
            Packing::F16 => portable::F16,
            Packing::BF16 => portable::BF16,
        },
    }
}
