//! Which matrices of a module are packed, and how: the policy of its model.

use clinical_kernels::Packing;

use crate::pattern::Pattern;
use crate::slots::Slot;
use crate::{Error, Precision};

/// What a model says about the precision of its parameters, in patterns over their names in the module (as those of a
/// [`KeyMap`](crate::KeyMap), which carries the policy). Without rules all matrices are treated alike.
///
/// ```
/// use clinical_weights::{KeyMap, PackingPolicy};
///
/// let policy = PackingPolicy::new()
///     .outliers("**.feed_forward.wo.weight")
///     .eight_bits("lm_head.weight");
/// let keys = KeyMap::new().with_packing(policy);
/// # let _ = keys;
/// ```
#[derive(Debug, Clone, Default)]
pub struct PackingPolicy {
    marks: Vec<(Mark, Pattern)>,
    problem: Option<(String, &'static str)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    FullPrecision,
    Outliers,
    Sensitive,
    Half,
    EightBits,
}

/// Matrices with fewer outputs stay f32: those of classifiers, whose few values cost nothing and decide everything.
const MIN_OUTPUTS: usize = 16;

/// Tables with fewer entries stay f32: those of positions, whose values every token meets.
const MIN_ENTRIES: usize = 1024;

impl PackingPolicy {
    /// All matrices alike.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Parameters that stay f32 at any precision; T5's `wo` in half precision, for example.
    #[must_use]
    pub fn full_precision(self, pattern: &str) -> Self {
        self.mark(Mark::FullPrecision, pattern)
    }

    /// Matrices whose inputs have outliers: integer precisions keep them in 8 bits and multiply them by activations of
    /// 8 bits, or 16 where outliers are ([`Packing::Int8Mixed`]).
    #[must_use]
    pub fn outliers(self, pattern: &str) -> Self {
        self.mark(Mark::Outliers, pattern)
    }

    /// Matrices that meet 16-bit activations where they are kept in 8 bits; those of small models, for example.
    #[must_use]
    pub fn sensitive(self, pattern: &str) -> Self {
        self.mark(Mark::Sensitive, pattern)
    }

    /// Matrices that integer precisions keep in IEEE half precision; small ones on which much depends.
    #[must_use]
    pub fn half_precision(self, pattern: &str) -> Self {
        self.mark(Mark::Half, pattern)
    }

    /// Matrices that keep 8 bits where others have 4; output layers, for example.
    #[must_use]
    pub fn eight_bits(self, pattern: &str) -> Self {
        self.mark(Mark::EightBits, pattern)
    }

    /// Whether a parameter stays f32 at any precision.
    pub(crate) fn keeps_f32(&self, path: &str) -> bool {
        self.is(Mark::FullPrecision, path)
    }

    /// How a parameter is packed at this precision, `None` where it is not.
    pub(crate) fn format(&self, slot: &Slot, precision: Precision) -> Option<Packing> {
        let format = precision.packing()?;
        let [outputs, _] = slot.rows_first().try_into().ok()?;
        let least = match (slot.transposed, slot.table) {
            (true, _) => MIN_OUTPUTS,
            (_, true) => MIN_ENTRIES,
            _ => return None,
        };
        if outputs < least || self.keeps_f32(&slot.path) {
            return None;
        }
        Some(match format {
            Packing::Int8 | Packing::Int4Affine if self.is(Mark::Outliers, &slot.path) => {
                Packing::Int8Mixed
            }
            Packing::Int8 | Packing::Int4Affine if self.is(Mark::Half, &slot.path) => Packing::F16,
            Packing::Int4Affine if !slot.table && !self.is(Mark::EightBits, &slot.path) => {
                Packing::Int4Affine
            }
            Packing::Int8 | Packing::Int4Affine if self.is(Mark::Sensitive, &slot.path) => {
                Packing::Int8Wide
            }
            Packing::Int4Affine => Packing::Int8,
            format => format,
        })
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.problem {
            None => Ok(()),
            Some((rule, problem)) => Err(Error::KeyMap {
                rule: rule.clone(),
                problem,
            }),
        }
    }

    fn is(&self, mark: Mark, path: &str) -> bool {
        self.marks
            .iter()
            .any(|(known, pattern)| *known == mark && pattern.matches(path))
    }

    fn mark(mut self, mark: Mark, pattern: &str) -> Self {
        match Pattern::new(pattern) {
            Ok(pattern) => self.marks.push((mark, pattern)),
            Err(Error::KeyMap { rule, problem }) => {
                self.problem.get_or_insert((rule, problem));
            }
            Err(_) => {}
        }
        self
    }
}
