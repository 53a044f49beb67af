//! One chat template, ready to render.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use clinical_files::shown;
use minijinja::machinery::{self, get_compiled_template};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, Value};
use serde::Serialize;

use crate::conversation::data;
use crate::engine::{self, REFUSED};
use crate::operators::with_python_operators;
use crate::python::OWN;
use crate::{Conversation, Error, LocalTime, Result, source};

/// Steps that a rendering may do, beside [`FACTOR`]. The engine counts an instruction, or 64 bytes that are made, as
/// one; published templates need a few thousand.
const FUEL: u64 = 400_000;

/// Steps for each byte of the conversation: it is trimmed, split, put together and written some twenty times at most.
const FACTOR: u64 = 2;

/// The name under which the template is known to the engine.
const NAME: &str = "chat_template";

/// The chat template of a model, in the dialect that `transformers` gives it: Jinja2 with loop controls, trimmed
/// blocks, `{% generation %}`, `raise_exception`, `strftime_now`, a `tojson` that is Python's `json.dumps`, and the
/// methods of Python's texts, lists and dictionaries.
///
/// It comes from an untrusted file: it can reach nothing but its arguments, and is stopped when it does more steps
/// or builds more bytes than a conversation of that length can need.
pub struct ChatTemplate {
    environment: Environment<'static>,
    specials: BTreeMap<String, Value>,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate")
            .field("specials", &self.specials)
            .finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// Parses a template. `specials` are the named special tokens, as `special_tokens_map` has them: `bos_token` and
    /// its text, `additional_special_tokens` and a list of texts.
    ///
    /// # Errors
    ///
    /// [`Error::Template`] for what no conversation could make right.
    pub fn new<N: Into<String>, V: Serialize>(
        template: &str,
        specials: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self> {
        let refused = |reason: &str| Error::Template {
            reason: reason.to_owned(),
            line: None,
        };
        let template = source::prepare(template).map_err(refused)?;
        // The two settings of `apply_chat_template`.
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|error| unusable(&error))?;
        let mut environment = engine::environment();
        environment.set_syntax(syntax);
        fenced(|| environment.add_template_owned(NAME, template))?
            .map_err(|error| unusable(&error))?;
        let specials = specials
            .into_iter()
            .map(|(name, value)| (name.into(), data(&value)))
            .collect();
        Ok(Self {
            environment,
            specials,
        }
        .with_clock(LocalTime::now))
    }

    /// Takes the time of `strftime_now` from elsewhere than from the clock of this machine.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> LocalTime + Send + Sync + 'static) -> Self {
        self.environment
            .add_function("strftime_now", move |format: &str| clock().strftime(format));
        self
    }

    /// The text of a conversation.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the template refuses the conversation, [`Error::Render`] if it fails on it,
    /// [`Error::TooMuch`] if it builds too much.
    pub fn render(&self, conversation: &Conversation) -> Result<String> {
        let variables = Value::from(conversation.variables(&self.specials));
        let mut environment = self.environment.clone();
        let bytes = weight(&variables, 0);
        environment.set_fuel(Some(FUEL.saturating_add(bytes.saturating_mul(FACTOR))));
        fenced(|| evaluate(&environment, variables))?.map_err(|error| self.told(&error))
    }

    fn told(&self, error: &minijinja::Error) -> Error {
        let refused = error.detail().and_then(|text| text.strip_prefix(REFUSED));
        if let Some(message) = refused {
            let source = self.environment.get_template(NAME).ok();
            let is_literal = source.is_some_and(|template| template.source().contains(message));
            return Error::Refused {
                message: (is_literal && !message.is_empty()).then(|| message.to_owned()),
            };
        }
        match error.kind() {
            ErrorKind::OutOfFuel => Error::TooMuch,
            // The engine's sentences may quote the conversation, so only the kind of failure and its line are passed
            // on.
            kind => Error::Render {
                reason: match error.detail().and_then(|text| text.strip_prefix(OWN)) {
                    Some(own) => own.to_owned(),
                    None => kind.to_string(),
                },
                line: error.line(),
            },
        }
    }
}

fn evaluate(environment: &Environment<'_>, variables: Value) -> Result<String, minijinja::Error> {
    let template = environment.get_template(NAME)?;
    let compiled = get_compiled_template(&template);
    // Instructions borrow the engine's copy of the source, so those with other operators cannot be kept beside it.
    // Making them takes a few microseconds.
    let instructions = with_python_operators(&compiled.instructions)?;
    let blocks = compiled.blocks.iter();
    let blocks = blocks.map(|(name, block)| Ok((*name, with_python_operators(block)?)));
    let blocks = blocks.collect::<Result<BTreeMap<_, _>, minijinja::Error>>()?;
    let mut text = String::new();
    machinery::eval(
        environment,
        &instructions,
        variables,
        &blocks,
        &mut machinery::make_string_output(&mut text),
        AutoEscape::None,
    )?;
    Ok(text)
}

/// Runs the engine inside `catch_unwind`. No template is known to make it panic; its version 3.0 did, at a reversed
/// slice of something empty, and a template must not end the process that answers other questions.
fn fenced<T>(run: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| Error::Engine)
}

/// Before there is a conversation the engine's message can quote the template alone.
fn unusable(error: &minijinja::Error) -> Error {
    let detail = shown(error.detail().unwrap_or_default());
    Error::Template {
        reason: format!("{}: {detail}", error.kind()),
        line: error.line(),
    }
}

/// Bytes of the texts in a value.
fn weight(value: &Value, depth: usize) -> u64 {
    if let Some(text) = value.as_str() {
        return text.len() as u64;
    }
    let Some(items) = value.try_iter().ok().filter(|_| depth < 20) else {
        return 0;
    };
    items
        .map(|item| {
            let entry = value.get_item(&item).unwrap_or_default();
            1 + weight(&item, depth + 1) + weight(&entry, depth + 1)
        })
        .sum()
}
