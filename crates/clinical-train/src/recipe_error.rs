/// Why a description of a training run cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// It does not say how long the run is, or says it twice.
    #[error("give either `epochs` or `steps`")]
    Length,
    /// A number of things is zero.
    #[error("`{field}` is 0: give at least 1, or leave it out")]
    Zero {
        /// The field.
        field: &'static str,
    },
    /// A setting cannot be written as TOML.
    #[error("the recipe cannot be written as TOML: {detail}")]
    NotToml {
        /// What the writer said.
        detail: String,
    },
    /// A factor of a moving average, or a share, is not in [0, 1).
    #[error("`{field}` is {value}: it must be at least 0 and below 1")]
    NotAnAverage {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: f64,
    },
    /// A number must be above zero.
    #[error("`{field}` is {value}: it must be above 0 and finite")]
    NotPositive {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: f64,
    },
    /// A number must not be below zero.
    #[error("`{field}` is {value}: it must be 0 or above, and finite")]
    Negative {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: f64,
    },
    /// A part of the peak rate is not in [0, 1].
    #[error("`{field}` is {value}: it is a part of the peak rate, from 0 to 1")]
    NotAPart {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: f64,
    },
    /// A ratio of warm-up is not in [0, 1).
    #[error(
        "`warmup` is {ratio}: a ratio is at least 0 and below 1, and steps are a whole number without a point"
    )]
    WarmupRatio {
        /// What it holds.
        ratio: f64,
    },
    /// The option exists in `transformers` only.
    #[error("`{field}` belongs to `flavour = \"hugging-face\"`: leave it out")]
    OnlyHuggingFace {
        /// The field.
        field: &'static str,
    },
    /// The option exists in `optax` only.
    #[error("`{field}` belongs to `flavour = \"optax\"`: leave it out")]
    OnlyOptax {
        /// The field.
        field: &'static str,
    },
    /// `warmup_init` says how the relative step begins.
    #[error("`warmup_init` needs `relative_step = true`")]
    WarmupWithoutRelativeStep,
    /// A pattern for names of parameters cannot be read.
    #[error("`{field}` has the pattern `{pattern}`, which is not a regular expression")]
    Pattern {
        /// The field.
        field: &'static str,
        /// The pattern.
        pattern: String,
    },
}

/// [`RecipeError::NotAnAverage`] unless `value` is in [0, 1).
pub(crate) fn average(field: &'static str, value: f64) -> Result<(), RecipeError> {
    match (0.0..1.0).contains(&value) {
        true => Ok(()),
        false => Err(RecipeError::NotAnAverage { field, value }),
    }
}

/// [`RecipeError::NotPositive`] unless `value` is in (0, infinity).
pub(crate) fn positive(field: &'static str, value: f64) -> Result<(), RecipeError> {
    match value > 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(RecipeError::NotPositive { field, value }),
    }
}

/// [`RecipeError::Negative`] unless `value` is in [0, infinity).
pub(crate) fn not_negative(field: &'static str, value: f64) -> Result<(), RecipeError> {
    match value >= 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(RecipeError::Negative { field, value }),
    }
}
