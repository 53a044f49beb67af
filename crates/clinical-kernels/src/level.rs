//! Which instructions the kernels of the CPU use: the best that the processor has, or fewer where the user asks for
//! that.

use std::sync::OnceLock;

use crate::Error;

/// The environment variable that limits the kernels of the CPU to some instructions: `portable`, `avx2` or `avx512`. It
/// is read once, at the first use. For tests and comparisons; unset or empty, the best that the processor has is used.
///
/// It speaks for the kernels of this crate. Burn's own operations choose by themselves.
pub const LEVEL_VARIABLE: &str = "CLINICAL_KERNELS";

/// Instructions that the kernels of the CPU are written for, each with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum InstructionSet {
    /// What every processor has.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F; products of packed weights also need BW, VL and VNNI, and use AVX2 without.
    Avx512,
}

impl InstructionSet {
    const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The name that [`LEVEL_VARIABLE`] has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The best that this processor has, for kernels of f32.
    pub(crate) fn detected() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            return match is_x86_feature_detected!("avx512f") {
                true => Self::Avx512,
                false => Self::Avx2,
            };
        }
        Self::Portable
    }
}

/// Whether the instructions that [`LEVEL_VARIABLE`] asks for are known and there.
///
/// [`parse`](crate::parse) and every load of a model ask this; a setting that cannot be followed is ignored by kernels
/// that run before.
///
/// # Errors
///
/// [`Error::UnknownLevel`], [`Error::NoSuchLevel`].
pub fn check_level() -> Result<(), Error> {
    limit(wish(), InstructionSet::detected()).map(|_| ())
}

/// The most that kernels may use.
pub(crate) fn most() -> InstructionSet {
    let detected = InstructionSet::detected();
    limit(wish(), detected).unwrap_or(detected)
}

/// The value of [`LEVEL_VARIABLE`] when it was first looked for.
fn wish() -> &'static str {
    static WISH: OnceLock<String> = OnceLock::new();
    WISH.get_or_init(|| {
        let value = std::env::var_os(LEVEL_VARIABLE).unwrap_or_default();
        value.to_string_lossy().into_owned()
    })
}

fn limit(wish: &str, detected: InstructionSet) -> Result<InstructionSet, Error> {
    if wish.is_empty() {
        return Ok(detected);
    }
    let known = InstructionSet::ALL.into_iter();
    match known.into_iter().find(|set| set.name() == wish) {
        None => Err(Error::UnknownLevel {
            name: wish
                .chars()
                .take(40)
                .flat_map(char::escape_default)
                .collect(),
        }),
        Some(set) if set > detected => Err(Error::NoSuchLevel {
            name: set.name(),
            best: detected.name(),
        }),
        Some(set) => Ok(set),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_name_limits_and_an_empty_one_does_not() {
        for detected in InstructionSet::ALL {
            assert_eq!(limit("", detected).unwrap(), detected);
            for set in InstructionSet::ALL
                .into_iter()
                .filter(|set| *set <= detected)
            {
                assert_eq!(limit(set.name(), detected).unwrap(), set);
            }
        }
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        for name in ["AVX2", "sse", " avx2", "avx1024\n"] {
            let error = limit(name, InstructionSet::Avx512).unwrap_err();
            assert!(matches!(error, Error::UnknownLevel { .. }), "{error}");
            assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn more_than_the_processor_has_is_an_error() {
        let error = limit("avx512", InstructionSet::Avx2).unwrap_err();
        assert!(matches!(error, Error::NoSuchLevel { .. }), "{error}");
        assert!(limit("avx2", InstructionSet::Portable).is_err());
    }

    #[test]
    fn kernels_follow_what_was_asked_for() {
        assert!(crate::instruction_set() <= most());
        assert!(crate::float::simd::Level::best().set() <= most());
    }
}
