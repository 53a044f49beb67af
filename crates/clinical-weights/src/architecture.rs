//! The one table of the architectures that this library runs, under every name that files have for them.

use std::fmt;

use serde_json::Value;

use crate::Error;
use clinical_files::shown;

/// Which of the facades opens a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[non_exhaustive]
pub enum Facade {
    /// `asclepius::Asclepius`: decoders that answer.
    Asclepius,
    /// `clinical_t5::ClinicalT5`: encoders with a decoder.
    ClinicalT5,
    /// `clinical_bert::ClinicalBert`: encoders.
    ClinicalBert,
    /// `clinical_gpt2::ClinicalGpt2`: decoders that continue, classify or mark a span.
    ClinicalGpt2,
}

/// An architecture, by its names. Errors, `inspect`, `save`, `open` and the facades all read [`ARCHITECTURES`].
///
/// ```
/// use clinical_weights::{Architecture, Facade};
///
/// let config = serde_json::json!({"architectures": ["RobertaForMaskedLM"]});
/// assert_eq!(Architecture::of(&config).unwrap().facade, Facade::ClinicalBert);
/// ```
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Architecture {
    /// `model_type` of `config.json`.
    pub model_type: &'static str,
    /// What the names of its classes begin with in Python: `Llama` of `LlamaForCausalLM`.
    pub class: &'static str,
    /// `general.architecture` of the GGUF files that are read, if any are.
    pub gguf: Option<&'static str>,
    /// Settings that a `config.json` without a name has, and one of another architecture has not.
    settings: &'static [&'static str],
    /// What opens it.
    pub facade: Facade,
}

const fn row(
    model_type: &'static str,
    class: &'static str,
    gguf: Option<&'static str>,
    settings: &'static [&'static str],
    facade: Facade,
) -> Architecture {
    Architecture {
        model_type,
        class,
        gguf,
        settings,
        facade,
    }
}

/// Every architecture. Where several have the same settings, or one name in GGUF, the first counts.
#[rustfmt::skip] // a table
pub const ARCHITECTURES: [Architecture; 8] = [
    row("llama", "Llama", Some("llama"), &["rms_norm_eps", "intermediate_size"], Facade::Asclepius),
    row("mistral", "Mistral", None, &[], Facade::Asclepius),
    row("t5", "T5", None, &["d_model", "d_kv"], Facade::ClinicalT5),
    row("mt5", "MT5", None, &[], Facade::ClinicalT5),
    row("bert", "Bert", Some("bert"), &["type_vocab_size", "hidden_size"], Facade::ClinicalBert),
    row("roberta", "Roberta", None, &[], Facade::ClinicalBert),
    row("megatron-bert", "MegatronBert", None, &[], Facade::ClinicalBert),
    row("gpt2", "GPT2", Some("gpt2"), &["n_embd", "n_layer"], Facade::ClinicalGpt2),
];

/// What stands after [`Architecture::class`] in the name of a class.
const CLASS_ENDS: [&str; 5] = ["For", "Model", "EncoderModel", "WithLMHead", "LMHead"];

impl Architecture {
    /// The architecture that a configuration describes: by its `model_type`; else by its `architectures`; else, as for
    /// old models of BERT, by settings that only one kind has. `None` if it says another name, or nothing.
    #[must_use]
    pub fn of(config: &Value) -> Option<&'static Self> {
        match config.get("model_type").and_then(Value::as_str) {
            Some(name) => Self::by_model_type(name),
            None if class(config).is_some() => Self::by_class(class(config)?),
            None => ARCHITECTURES.iter().find(|one| {
                let has = |name: &&str| config.get(*name).is_some();
                !one.settings.is_empty() && one.settings.iter().all(has)
            }),
        }
    }

    /// By `model_type`.
    #[must_use]
    pub fn by_model_type(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|one| one.model_type == name)
    }

    /// By the name of a Python class. Capital letters do not count: the first LLaMA models say `LLaMAForCausalLM`.
    #[must_use]
    pub fn by_class(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|one| {
            let (start, end) = (name.get(..one.class.len()), name.get(one.class.len()..));
            start.is_some_and(|start| start.eq_ignore_ascii_case(one.class))
                && end.is_some_and(|end| CLASS_ENDS.iter().any(|known| end.starts_with(known)))
        })
    }

    /// By `general.architecture` of a GGUF file.
    #[must_use]
    pub fn by_gguf(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|one| one.gguf == Some(name))
    }

    /// The names of those that are read from GGUF files, for a message.
    pub(crate) fn all_gguf() -> String {
        let names: Vec<&str> = ARCHITECTURES.iter().filter_map(|one| one.gguf).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }
}

/// The first class that a configuration names.
fn class(config: &Value) -> Option<&str> {
    config.get("architectures")?.get(0)?.as_str()
}

impl Facade {
    /// The `model_type`s that it opens.
    pub fn model_types(self) -> impl Iterator<Item = &'static str> {
        ARCHITECTURES
            .iter()
            .filter(move |one| one.facade == self)
            .map(|one| one.model_type)
    }

    /// Checks that a configuration is of one of the architectures that this facade opens, and returns it. One that says
    /// nothing passes as `None`: what it lacks is reported by the reader of the configuration.
    ///
    /// ```
    /// let config = serde_json::json!({"model_type": "roberta", "hidden_size": 768});
    /// let error = clinical_weights::Facade::Asclepius.expect(&config).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "this directory holds a `roberta` model, not `llama` or `mistral`: open it with ClinicalBert"
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ModelType`], which names the facade that opens the model.
    pub fn expect(self, config: &Value) -> Result<Option<&'static Architecture>, Error> {
        let found = Architecture::of(config);
        let name = match (found, config.get("model_type").and_then(Value::as_str)) {
            (Some(found), _) if found.facade == self => return Ok(Some(found)),
            (_, Some(name)) => name,
            (Some(found), None) => found.model_type,
            (None, None) => match class(config) {
                None => return Ok(None),
                Some(class) => class,
            },
        };
        let expected: Vec<String> = self.model_types().map(|one| format!("`{one}`")).collect();
        Err(Error::ModelType {
            found: shown(name),
            expected: listed(&expected),
            advice: match found {
                Some(found) => format!("open it with {}", found.facade),
                None => "this library has no model of that kind".to_owned(),
            },
        })
    }
}

/// `a, b or c`.
fn listed(names: &[String]) -> String {
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

impl fmt::Display for Facade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asclepius => "Asclepius",
            Self::ClinicalT5 => "ClinicalT5",
            Self::ClinicalBert => "ClinicalBert",
            Self::ClinicalGpt2 => "ClinicalGpt2",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(config: Value) -> Option<&'static str> {
        Architecture::of(&config).map(|one| one.model_type)
    }

    #[test]
    fn by_type_then_class_then_settings() {
        for one in &ARCHITECTURES {
            assert_eq!(
                found(json!({"model_type": one.model_type})),
                Some(one.model_type)
            );
        }
        for (class, name) in [
            ("LlamaForCausalLM", Some("llama")),
            ("LLaMAForCausalLM", Some("llama")),
            ("T5EncoderModel", Some("t5")),
            ("T5WithLMHeadModel", Some("t5")),
            ("MT5ForConditionalGeneration", Some("mt5")),
            ("BertModel", Some("bert")),
            ("MegatronBertForMaskedLM", Some("megatron-bert")),
            ("GPT2LMHeadModel", Some("gpt2")),
            ("GPT2ForSequenceClassification", Some("gpt2")),
            ("GPT2ModelForQuestionAnswering", Some("gpt2")),
            ("BertGenerationEncoder", None),
            ("LongT5ForConditionalGeneration", None),
            ("Bert", None),
            ("Ä", None),
        ] {
            assert_eq!(found(json!({"architectures": [class]})), name, "{class}");
        }
        assert_eq!(
            found(json!({"hidden_size": 768, "type_vocab_size": 2})),
            Some("bert")
        );
        assert_eq!(found(json!({"d_model": 768, "d_kv": 64})), Some("t5"));
        assert_eq!(found(json!({"hidden_size": 768})), None);
        // A name that is not known is not guessed around.
        assert_eq!(
            found(json!({"model_type": "gemma", "architectures": ["LlamaForCausalLM"]})),
            None
        );
    }

    #[test]
    fn a_wrong_facade_is_told_the_right_one() {
        for one in &ARCHITECTURES {
            for facade in [
                Facade::Asclepius,
                Facade::ClinicalT5,
                Facade::ClinicalBert,
                Facade::ClinicalGpt2,
            ] {
                let config = json!({"model_type": one.model_type});
                match facade.expect(&config) {
                    Ok(found) => assert_eq!(found, Some(one)),
                    Err(error) => {
                        assert_ne!(facade, one.facade);
                        let advice = format!("open it with {}", one.facade);
                        assert!(error.to_string().ends_with(&advice), "{error}");
                    }
                }
            }
        }
        let unnamed = json!({"hidden_size": 768, "type_vocab_size": 2});
        let error = Facade::ClinicalT5.expect(&unnamed).unwrap_err();
        assert!(
            error.to_string().ends_with("open it with ClinicalBert"),
            "{error}"
        );
        let foreign = json!({"model_type": "gpt_neox"});
        let error = Facade::ClinicalT5.expect(&foreign).unwrap_err();
        assert!(
            error.to_string().contains("no model of that kind"),
            "{error}"
        );
        assert_eq!(Facade::ClinicalT5.expect(&json!({})).unwrap(), None);
    }
}
