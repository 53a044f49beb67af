//! Asking a chat model through its own template.

mod budget;

use minijinja::machinery::{self, get_compiled_template};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, Value, context};

use crate::Error;

/// Steps a template may do before it is stopped; published ones need a few thousand.
const FUEL: u64 = 2_000_000;

/// The name under which the template is known to the engine.
const NAME: &str = "chat_template";

/// The `chat_template` of a model directory, in the dialect that `transformers` accepts: Jinja2 with the methods of
/// Python strings, `raise_exception` and loop controls, without multiplication, formats with widths, blocks and includes. It
/// comes from a file, so it runs with a bounded number of steps and of bytes ([`budget`]) and can reach nothing but its
/// arguments.
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
            .map_err(|error| unusable(&error))?;
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        budget::refuse(source, syntax.clone()).map_err(|error| unusable(&error))?;
        environment.set_syntax(syntax);
        budget::limit(&mut environment);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<Value, minijinja::Error> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        environment
            .add_template_owned(NAME, source.to_owned())
            .and_then(|()| check(&environment))
            .map_err(|error| unusable(&error))?;
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
        self.evaluate(context! {
            messages,
            add_generation_prompt => true,
            bos_token => &self.bos,
            eos_token => &self.eos,
        })
        .map_err(|error| template_error(&error))
    }

    fn evaluate(&self, context: Value) -> Result<String, minijinja::Error> {
        let template = self.environment.get_template(NAME)?;
        let compiled = get_compiled_template(&template);
        // Instructions borrow the engine's copy of the source, so those with charges cannot be kept beside it. Making them
        // takes 5 microseconds for Llama 3's template.
        let instructions = budget::charged(&compiled.instructions)?;
        let mut text = String::new();
        machinery::eval(
            &self.environment,
            &instructions,
            context,
            &compiled.blocks,
            &mut machinery::make_string_output(&mut text),
            AutoEscape::None,
        )?;
        Ok(text)
    }
}

/// Refuses what no rendering could do, before the first question.
fn check(environment: &Environment<'_>) -> Result<(), minijinja::Error> {
    let template = environment.get_template(NAME)?;
    let compiled = get_compiled_template(&template);
    if !compiled.blocks.is_empty() {
        let what = "blocks are not supported";
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, what));
    }
    budget::charged(&compiled.instructions).map(drop)
}

/// Before there is a conversation the engine's message can quote the template alone.
fn unusable(error: &minijinja::Error) -> Error {
    let detail = error.detail().unwrap_or_default();
    let detail: String = detail
        .chars()
        .take(100)
        .flat_map(char::escape_debug)
        .collect();
    Error::ChatTemplate {
        reason: format!("{}: {detail}", error.kind()),
        line: error.line(),
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

    /// Each of these would fill any memory.
    #[test]
    fn stops_a_template_that_builds_too_much() {
        for source in [
            // A string that doubles, in a namespace, in a row of variables, in a macro that calls itself, in a capture.
            "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
            &"{% set x = messages[0].content ~ x ~ x %}".repeat(60),
            "{% macro m(x, n) %}{% if n > 0 %}{{ m(x ~ x, n - 1) }}{% else %}{{ x }}{% endif %}{% endmacro %}{{ m('ab', 60) }}",
            "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set y %}{{ n.x }}{{ n.x }}{% endset %}\
             {% set n.x = y %}{% endfor %}",
            // Lists and maps of themselves.
            "{% set n = namespace(x=['a']) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
            "{% set n = namespace(x=['a']) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
            "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = {'a': n.x, 'b': n.x} %}{% endfor %}{{ n.x }}",
            // Filters and methods whose result is much larger than what they are given.
            "{% set n = namespace(x='aaaa') %}{% for i in range(9) %}{% set n.x = n.x | replace('a', n.x) %}{% endfor %}",
            "{% set n = namespace(x='aaaa') %}{% for i in range(9) %}{% set n.x = n.x.replace('a', n.x) %}{% endfor %}",
            "{% set x = range(100000) | join('a') %}{% set y = range(100000) | join(x) %}",
            "{% set x = range(100000) | join('a') %}{% set y = x.join(range(100000) | map('string')) %}",
            "{{ 'a' | indent(2000000000, true) }}",
            "{{ messages | tojson(indent=2000000000) }}",
            "{{ 'a' | batch(2000000000, 'b') | list }}",
            "{{ '%2000000000d' | format(1) }}",
            "{{ '{:2000000000}'.format(1) }}",
            "{{ 'a' * 90000000 }}",
            "{{ 2 ** 100000 }}",
            // Text between the tags.
            &format!(
                "{{% for i in range(100000) %}}{}{{% endfor %}}",
                "a".repeat(10_000)
            ),
        ] {
            let error = ChatTemplate::new(source, "<s>", "</s>")
                .and_then(|template| template.render(None, "x"));
            assert!(
                matches!(error, Err(Error::ChatTemplate { .. })),
                "{}",
                &source[..60.min(source.len())]
            );
        }
    }

    #[test]
    fn the_methods_and_filters_of_published_templates_work() {
        let source = "{{ bos_token }}{% set n = namespace(first=true, text='') %}{% for m in messages[1:] %}\
            {% set c = m['content'].split('</think>')[-1].lstrip('\n') | trim %}\
            {% set n.text = n.text + '[' ~ loop.index0 ~ ':' ~ c | upper ~ ']' %}{% endfor %}{{ n.text }}\
            {{ messages | map(attribute='role') | join(',') }} {{ {'a': [1, 2]} | tojson }} \
            {{ messages | selectattr('role', 'equalto', 'user') | list | length }}\
            {% macro tag(x) %}<{{ x }}>{% endmacro %}{{ tag('end') }}{% if not add_generation_prompt %}no{% endif %}";
        let template = ChatTemplate::new(source, "<s>", "</s>").unwrap();
        assert_eq!(
            template.render(Some("sys"), "a</think>\n b ").unwrap(),
            "<s>[0:B]system,user {\"a\": [1, 2]} 1<end>"
        );
        // A long note passes.
        let note = "word ".repeat(200_000);
        let found = template.render(Some("sys"), &note).unwrap();
        assert!(found.len() > 900_000);
    }

    #[test]
    fn a_refused_template_says_why() {
        let error = ChatTemplate::new("{{ 'a' * 3 }}", "", "").unwrap_err();
        assert!(error.to_string().contains("multiplication"), "{error}");
    }

    #[test]
    fn what_no_rendering_could_do_is_refused_at_once() {
        for source in [
            "{% block a %}x{% endblock %}",
            "{{ 'a' * 3 }}",
            "{% for %}",
            "{% if true %}",
        ] {
            assert!(
                matches!(
                    ChatTemplate::new(source, "", ""),
                    Err(Error::ChatTemplate { .. })
                ),
                "{source}"
            );
        }
    }

    /// The engine recurses over each link of these; a thread's stack is 2 MiB.
    #[test]
    fn refuses_what_nests_too_deeply() {
        let chains: [(&str, &str, &str); 12] = [
            ("{{ ", "not ", "1 }}"),
            ("{{ ", "-", "1 }}"),
            ("{{ a", ".b", " }}"),
            ("{{ a", "[0]", " }}"),
            ("{{ a", "()", " }}"),
            ("{{ 'a'", "|trim", " }}"),
            ("{{ 'a'", "~'a'", " }}"),
            ("{{ 1", "+1", " }}"),
            ("{{ 1", " or 1", " }}"),
            ("{{ 1", " if 1 else 1", " }}"),
            ("{{ 1", " is defined", " }}"),
            ("{% if a %}", "{% elif a %}", "{% endif %}"),
        ];
        for (start, link, end) in chains {
            for count in [10, 100, 400, 1000, 100_000] {
                let source = format!("{start}{}{end}", link.repeat(count));
                // Whatever the engine says to it, in a stack of 1 MiB.
                let small = std::thread::Builder::new().stack_size(1 << 20);
                let template =
                    move || ChatTemplate::new(&source, "", "").map(|t| t.render(None, "x"));
                let result = small.spawn(template).unwrap().join().unwrap();
                if count > 1000 {
                    assert!(matches!(result, Err(Error::ChatTemplate { .. })), "{link}");
                }
            }
        }
        // As long as any published one.
        let long = format!("{{{{ 'a'{} }}}}", " ~ 'a'".repeat(300));
        let template = ChatTemplate::new(&long, "", "").unwrap();
        assert_eq!(template.render(None, "x").unwrap().len(), 301);
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
