//! How the names of a checkpoint become the names of a module.

use crate::Error;
use crate::PackingPolicy;
use crate::pattern::Pattern;

/// The names of a checkpoint and how they map to the parameters of one module.
///
/// Without rules, a tensor fills the parameter whose path in the module is its name. Rules speak in patterns: dotted
/// names in which `*` stands for exactly one part and `**` for any number of parts (also none). In the right side of a
/// rule the stars stand for what they matched on the left, in the same order.
///
/// ```
/// use clinical_weights::KeyMap;
///
/// let keys = KeyMap::new()
///     // A field cannot be called `self` in Rust.
///     .rename("**.attention.self.**", "**.attention.self_attention.**")
///     // Old spellings, understood but never written.
///     .accept("**.LayerNorm.gamma", "**.LayerNorm.weight")
///     .ignore("**.position_ids")
///     .tied(&["shared.weight", "encoder.embed_tokens.weight", "lm_head.weight"]);
/// assert_eq!(
///     keys.module_name("encoder.attention.self.query.weight"),
///     "encoder.attention.self_attention.query.weight"
/// );
/// ```
///
/// Rules are tried in the order in which they were added, each at most once for a name. A mistake in a pattern is
/// reported as [`Error::KeyMap`] by the load that uses it.
#[derive(Debug, Clone, Default)]
pub struct KeyMap {
    rules: Vec<Rule>,
    marks: Vec<(Mark, Pattern)>,
    tied: Vec<Vec<String>>,
    packing: PackingPolicy,
    problem: Option<(String, &'static str)>,
}

/// What a map says about the names that a pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Ignored,
    Optional,
    InputMajor,
}

#[derive(Debug, Clone)]
struct Rule {
    checkpoint: Pattern,
    module: Pattern,
    /// Whether the rule also holds the other way round, for writing.
    both_ways: bool,
}

impl KeyMap {
    /// A map that changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The checkpoint says `checkpoint` where the module says `module`; used for reading and writing.
    #[must_use]
    pub fn rename(self, checkpoint: &str, module: &str) -> Self {
        self.rule(checkpoint, module, true)
    }

    /// Some checkpoints say `legacy` where others say `current`; used for reading only. `current` is in the spelling
    /// that the rules before this one have produced.
    #[must_use]
    pub fn accept(self, legacy: &str, current: &str) -> Self {
        self.rule(legacy, current, false)
    }

    /// Tensors that may be there and are never wanted, in the checkpoint's or the module's spelling.
    #[must_use]
    pub fn ignore(self, pattern: &str) -> Self {
        self.mark(Mark::Ignored, pattern)
    }

    /// Parameters that may be missing, in the module's spelling. They keep their initial values.
    #[must_use]
    pub fn optional(self, pattern: &str) -> Self {
        self.mark(Mark::Optional, pattern)
    }

    /// Matrices of dense layers that checkpoints hold as `[d_input, d_output]`, in the module's spelling: those of GPT-2's
    /// `Conv1D`. All others are `[d_output, d_input]` there.
    ///
    /// ```
    /// # use clinical_weights::KeyMap;
    /// let keys = KeyMap::new().input_major("**.c_proj.weight");
    /// assert!(keys.is_input_major("h.0.mlp.c_proj.weight"));
    /// ```
    #[must_use]
    pub fn input_major(self, pattern: &str) -> Self {
        self.mark(Mark::InputMajor, pattern)
    }

    /// Whether checkpoints hold the matrix of the dense layer that `module` names as `[d_input, d_output]`.
    #[must_use]
    pub fn is_input_major(&self, module: &str) -> bool {
        self.is(Mark::InputMajor, module)
    }

    /// How the model's parameters are packed. Default: all matrices alike.
    #[must_use]
    pub fn with_packing(mut self, policy: PackingPolicy) -> Self {
        self.packing = policy;
        self
    }

    pub(crate) fn packing(&self) -> &PackingPolicy {
        &self.packing
    }

    /// Names of one and the same parameter, the preferred one first, in the module's spelling. Checkpoints keep any
    /// selection of them; whichever is there fills those that the module has.
    #[must_use]
    pub fn tied(mut self, names: &[&str]) -> Self {
        self.tied
            .push(names.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// A checkpoint's name in the module's spelling.
    #[must_use]
    pub fn module_name(&self, checkpoint: &str) -> String {
        let mut name = checkpoint.to_owned();
        for rule in &self.rules {
            if let Some(next) = rule.checkpoint.rewrite(&rule.module, &name) {
                name = next;
            }
        }
        name
    }

    /// A module's parameter in the checkpoint's spelling, for writing.
    #[must_use]
    pub fn checkpoint_name(&self, module: &str) -> String {
        let mut name = module.to_owned();
        for rule in self.rules.iter().rev().filter(|rule| rule.both_ways) {
            if let Some(next) = rule.module.rewrite(&rule.checkpoint, &name) {
                name = next;
            }
        }
        name
    }

    /// Whether a pattern with this mark matches the name.
    pub(crate) fn is(&self, mark: Mark, name: &str) -> bool {
        self.marks
            .iter()
            .any(|(known, pattern)| *known == mark && pattern.matches(name))
    }

    /// All names of the parameter that `module` names, the preferred one first.
    pub(crate) fn tied_with<'a>(&'a self, module: &str) -> &'a [String] {
        self.tied
            .iter()
            .find(|names| names.iter().any(|name| name == module))
            .map_or(&[], Vec::as_slice)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.problem {
            None => self.packing.check(),
            Some((rule, problem)) => Err(Error::KeyMap {
                rule: rule.clone(),
                problem,
            }),
        }
    }

    fn mark(mut self, mark: Mark, pattern: &str) -> Self {
        if let Some(pattern) = self.pattern(pattern) {
            self.marks.push((mark, pattern));
        }
        self
    }

    fn rule(mut self, checkpoint: &str, module: &str, both_ways: bool) -> Self {
        if let (Some(checkpoint), Some(module)) = (self.pattern(checkpoint), self.pattern(module)) {
            if checkpoint.same_stars(&module) {
                self.rules.push(Rule {
                    checkpoint,
                    module,
                    both_ways,
                });
            } else {
                self.note(
                    format!("{} -> {}", checkpoint.text(), module.text()),
                    "both sides need the same stars in the same order",
                );
            }
        }
        self
    }

    fn pattern(&mut self, text: &str) -> Option<Pattern> {
        match Pattern::new(text) {
            Ok(pattern) => Some(pattern),
            Err(Error::KeyMap { rule, problem }) => {
                self.note(rule, problem);
                None
            }
            Err(_) => None,
        }
    }

    fn note(&mut self, rule: String, problem: &'static str) {
        self.problem.get_or_insert((rule, problem));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bert() -> KeyMap {
        KeyMap::new()
            .accept("**.gamma", "**.weight")
            .accept("embeddings.**", "bert.embeddings.**")
            .rename("**.attention.self.**", "**.attention.self_attention.**")
    }

    #[test]
    fn rules_compose_in_order() {
        assert_eq!(
            bert().module_name("embeddings.LayerNorm.gamma"),
            "bert.embeddings.LayerNorm.weight"
        );
    }

    #[test]
    fn writing_undoes_renames_but_not_old_spellings() {
        assert_eq!(
            bert().checkpoint_name("bert.layer.0.attention.self_attention.query.weight"),
            "bert.layer.0.attention.self.query.weight"
        );
        assert_eq!(
            bert().checkpoint_name("bert.embeddings.LayerNorm.weight"),
            "bert.embeddings.LayerNorm.weight"
        );
    }

    #[test]
    fn a_wrong_rule_is_kept_for_the_load() {
        assert!(bert().check().is_ok());
        assert!(matches!(
            KeyMap::new().rename("a.*", "b.**").check(),
            Err(Error::KeyMap { .. })
        ));
        assert!(matches!(
            KeyMap::new().ignore("a*").check(),
            Err(Error::KeyMap { .. })
        ));
    }

    #[test]
    fn tied_names_find_each_other() {
        let keys = KeyMap::new().tied(&["a", "b", "c"]);
        assert_eq!(keys.tied_with("c"), ["a", "b", "c"]);
        assert!(keys.tied_with("d").is_empty());
    }
}
