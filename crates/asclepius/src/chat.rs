//! Asking a chat model through its own template.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};

use crate::Error;

/// Work a template may do before it is stopped; published ones need a few thousand steps.
const FUEL: u64 = 2_000_000;

/// The name under which the template is known to the engine.
const NAME: &str = "chat_template";

/// The `chat_template` of a model directory, in the dialect that `transformers` accepts: Jinja2 with the methods of
/// Python strings, `raise_exception` and loop controls. It comes from a file, so it runs with a bounded amount of work
/// and can reach nothing but its arguments.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Parses a template. `bos` and `eos` are the texts of the special tokens, empty where there is none.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, Error> {
        // The two settings of `apply_chat_template`.
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|error| template_error(&error))?;
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_syntax(syntax);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<Value, minijinja::Error> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| template_error(&error))?;
        Ok(Self {
            environment,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
        })
    }

    /// The text of a conversation of one user message, ending where the model answers.
    pub fn render(&self, system: Option<&str>, message: &str) -> Result<String, Error> {
        let mut messages = Vec::new();
        if let Some(system) = system {
            messages.push(context! { role => "system", content => system });
        }
        messages.push(context! { role => "user", content => message });
        self.environment
            .get_template(NAME)
            .and_then(|template| {
                template.render(context! {
                    messages,
                    add_generation_prompt => true,
                    bos_token => &self.bos,
                    eos_token => &self.eos,
                })
            })
            .map_err(|error| template_error(&error))
    }
}

/// The engine's messages may quote the conversation, so only the kind of failure and its line are passed on.
fn template_error(error: &minijinja::Error) -> Error {
    Error::ChatTemplate {
        reason: error.kind().to_string(),
        line: error.line(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
        {{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% endif %}\
        {{'<|im_start|>' + message['role'] + '\n' + message['content'].strip() + '<|im_end|>' + '\n'}}{% endfor %}\
        {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    #[test]
    fn renders_a_published_kind_of_template() {
        let template = ChatTemplate::new(CHATML, "<s>", "</s>").unwrap();
        assert_eq!(
            template.render(None, " Why admitted? ").unwrap(),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy admitted?<|im_end|>\n<|im_start|>assistant\n"
        );
        assert!(
            template
                .render(Some("Short."), "x")
                .unwrap()
                .starts_with("<|im_start|>system\nShort.")
        );
    }

    #[test]
    fn stops_a_template_that_never_ends() {
        let endless =
            "{% for i in range(10000) %}{% for j in range(10000) %}{{ i }}{% endfor %}{% endfor %}";
        let template = ChatTemplate::new(endless, "", "").unwrap();
        assert!(matches!(
            template.render(None, "x"),
            Err(Error::ChatTemplate { .. })
        ));
    }

    #[test]
    fn a_broken_template_is_an_error_that_quotes_nothing() {
        assert!(matches!(
            ChatTemplate::new("{% for %}", "", ""),
            Err(Error::ChatTemplate { .. })
        ));
        let refusing =
            ChatTemplate::new("{{ raise_exception(messages[0].content) }}", "", "").unwrap();
        let message = refusing.render(None, "secret").unwrap_err().to_string();
        assert!(!message.contains("secret"), "{message}");
    }
}
