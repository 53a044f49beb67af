//! Rules of chat templates, one test each.

#[allow(dead_code)]
#[path = "../../../tests/files/memory.rs"]
mod memory;

use clinical_chat::{ChatTemplate, Conversation, Error, LocalTime, Result};
use memory::{LIMIT, measure};
use proptest::prelude::*;

fn new(source: &str) -> Result<ChatTemplate> {
    ChatTemplate::new(source, [("bos_token", "<s>"), ("eos_token", "</s>")])
}

fn render(source: &str, message: &str) -> Result<String> {
    new(source)?.render(&Conversation::new().user(message))
}

const CHATML: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
    {{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% endif %}\
    {{'<|im_start|>' + message['role'] + '\n' + message['content'].strip() + '<|im_end|>' + '\n'}}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

#[test]
fn renders_a_published_kind_of_template() {
    let template = new(CHATML).unwrap();
    assert_eq!(
        template
            .render(&Conversation::new().user(" Why admitted? "))
            .unwrap(),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy admitted?<|im_end|>\n<|im_start|>assistant\n"
    );
    let turns = Conversation::new()
        .system("Short.")
        .user("x")
        .assistant("y");
    let text = template
        .render(&turns.with_generation_prompt(false))
        .unwrap();
    assert!(text.starts_with("<|im_start|>system\nShort."));
    assert!(text.ends_with("<|im_start|>assistant\ny<|im_end|>\n"));
}

#[test]
fn the_methods_and_filters_of_published_templates_work() {
    let source = "{{ bos_token }}{% set n = namespace(first=true, text='') %}{% for m in messages[1:] %}\
        {% set c = m['content'].split('</think>')[-1].lstrip('\n') | trim %}\
        {% set n.text = n.text + '[' ~ loop.index0 ~ ':' ~ c | upper ~ ']' %}{% endfor %}{{ n.text }}\
        {{ messages | map(attribute='role') | join(',') }} {{ {'a': [1, 2]} | tojson }} \
        {{ messages | selectattr('role', 'equalto', 'user') | list | length }}\
        {% macro tag(x) %}<{{ x }}>{% endmacro %}{{ tag('end') }}{% if not add_generation_prompt %}no{% endif %}";
    let template = new(source).unwrap();
    let conversation = Conversation::new().system("sys");
    assert_eq!(
        template
            .render(&conversation.clone().user("a</think>\n b "))
            .unwrap(),
        "<s>[0:B]system,user {\"a\": [1, 2]} 1<end>"
    );
    // A long note passes.
    let note = "word ".repeat(200_000);
    let found = template.render(&conversation.user(&note)).unwrap();
    assert!(found.len() > 900_000);
}

/// What made the engine of before panic has the value that Python gives.
#[test]
fn reversed_slices_of_something_empty_are_empty() {
    assert_eq!(render("{{ messages[1:][::-1] }}", "x").unwrap(), "[]");
    assert_eq!(render("{{ ''[::-1] }}", "x").unwrap(), "");
    assert_eq!(
        render("{{ messages[0].content[5:][::-1] }}|", "x").unwrap(),
        "|"
    );
    assert_eq!(
        render("{{ ()[::-1] }}{{ [][::-1]|length }}", "x").unwrap(),
        "()0"
    );
}

/// The inputs that a fuzzer found, as `fuzz/targets.rs` reads them: a template, a NUL, a message.
#[test]
fn found_inputs_neither_panic_nor_last() {
    let inputs: [(&[u8], Option<&str>); 3] = [
        (
            include_bytes!("data/chat-messages-rest-reversed.bin"),
            Some("[]"),
        ),
        (include_bytes!("data/chat-empty-slice-panic.bin"), None),
        (include_bytes!("data/chat-slow-1s.bin"), None),
    ];
    for (input, expected) in inputs {
        let text = std::str::from_utf8(input).unwrap();
        let (source, message) = text.split_once('\0').unwrap();
        let (result, cost) = measure(|| render(source, message));
        assert_eq!(result.ok().as_deref(), expected, "{source}");
        assert!(cost.time < LIMIT, "{source}: {:?}", cost.time);
    }
}

#[test]
fn stops_a_template_that_never_ends() {
    let endless =
        "{% for i in range(10000) %}{% for j in range(10000) %}{{ i }}{% endfor %}{% endfor %}";
    assert_eq!(render(endless, "x"), Err(Error::TooMuch));
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
        "{% block a %}{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{% endblock %}",
        // Lists and maps of themselves.
        "{% set n = namespace(x=['a']) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=['a']) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x|tojson }}",
        "{% set n = namespace(x=['a']) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x|string }}",
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
        "{{ '%2000000000d' % 1 }}",
        "{{ '{:2000000000}'.format(1) }}",
        "{{ 'a'.ljust(2000000000) ~ 'a'.center(2000000000) ~ 'a'.zfill(2000000000) }}",
        "{{ 'a' | center(2000000000) }}",
        "{{ ('\\t' * 90000).expandtabs(2000000000) }}",
        "{{ 'a' * 90000000 }}",
        "{{ ['a'] * 90000000 }}",
        "{{ 2 ** 100000 }}",
        // Text between the tags.
        &format!(
            "{{% for i in range(100000) %}}{}{{% endfor %}}",
            "a".repeat(10_000)
        ),
    ] {
        let start = &source[..60.min(source.len())];
        let (result, cost) = measure(|| render(source, "x"));
        assert!(result.is_err(), "{start}");
        assert!(cost.time < 2 * LIMIT, "{start}: {:?}", cost.time);
    }
}

#[test]
fn what_no_rendering_could_do_is_refused_at_once() {
    for source in [
        "{% for %}",
        "{% if true %}",
        "{{ a b }}",
        "{% generation %}",
        "{{ 'a",
    ] {
        let error = new(source).unwrap_err();
        assert!(matches!(error, Error::Template { .. }), "{source}: {error}");
    }
}

/// The engine recurses over each link of these; a thread's stack is 2 MiB.
#[test]
fn refuses_what_nests_too_deeply() {
    let chains: [(&str, &str, &str); 14] = [
        ("{{ ", "not ", "1 }}"),
        ("{{ ", "-", "1 }}"),
        ("{{ ", "(", "1 }}"),
        ("{{ ", "[", "1 }}"),
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
            let result = small.spawn(move || render(&source, "x")).unwrap().join();
            if count > 1000 {
                assert!(
                    matches!(result.unwrap(), Err(Error::Template { .. })),
                    "{link}"
                );
            }
        }
    }
    // As long as any published one.
    let long = format!("{{{{ 'a'{} }}}}", " ~ 'a'".repeat(300));
    assert_eq!(render(&long, "x").unwrap().len(), 301);
}

#[test]
fn deep_values_and_macros_end_with_an_error() {
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let sources = [
        "{% set n = namespace(x=[]) %}{% for i in range(9000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=[]) %}{% for i in range(9000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x|tojson }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ];
    let all = move || sources.map(|source| render(source, "x"));
    for result in small.spawn(all).unwrap().join().unwrap() {
        assert!(result.is_err());
    }
}

#[test]
fn an_error_quotes_the_template_alone() {
    let refusing = "{{ raise_exception(messages[0].content) }}";
    assert_eq!(
        render(refusing, "secret"),
        Err(Error::Refused { message: None })
    );
    let refusing = "{{ raise_exception('roles must alternate') }}";
    let message = render(refusing, "x").unwrap_err().to_string();
    assert!(
        message.ends_with("conversation: roles must alternate"),
        "{message}"
    );
    for failing in [
        "{{ messages[0].content + 1 }}",
        "{{ messages[0].content.nope() }}",
        "\n{{ none + messages }}",
    ] {
        let message = render(failing, "secret").unwrap_err().to_string();
        assert!(
            !message.contains("secret") && message.contains("line"),
            "{message}"
        );
    }
}

#[test]
fn the_date_comes_from_the_clock_that_is_given() {
    let template = new("{{ strftime_now('%d %B %Y') }}").unwrap();
    let fixed = LocalTime::new(2031, 2, 3, 4, 5, 6).unwrap();
    let template = template.with_clock(move || fixed);
    assert_eq!(
        template.render(&Conversation::new()).unwrap(),
        "03 February 2031"
    );
    // The clock of this machine.
    let year = render("{{ strftime_now('%Y') }}", "x").unwrap();
    assert!(year.parse::<u32>().unwrap() >= 2024);
}

#[test]
fn variables_are_those_that_transformers_passes() {
    let source = "{{ tools }}|{{ documents is none }}|{{ tools is not none }}|{{ bos_token }}|{{ pad_token is defined }}|{{ x }}";
    assert_eq!(render(source, "x").unwrap(), "None|True|False|<s>|False|");
    let template = new(source).unwrap();
    let given = Conversation::new()
        .with_tools(["a"])
        .with_documents(["d"])
        .with_variable("x", 1.5)
        .with_variable("bos_token", "<other>");
    assert_eq!(
        template.render(&given).unwrap(),
        "['a']|False|True|<other>|False|1.5"
    );
    assert!(
        render("{% for tool in tools %}{% endfor %}", "x").is_err(),
        "None is not iterable"
    );
}

#[test]
fn a_conversation_can_be_json() {
    let json = r#"{"messages": [{"role": "user", "z": 1, "content": "hi"}], "add_generation_prompt": false}"#;
    let template = new("{{ messages|tojson }}{{ add_generation_prompt }}").unwrap();
    assert_eq!(
        template
            .render(&Conversation::from_json(json).unwrap())
            .unwrap(),
        r#"[{"role": "user", "z": 1, "content": "hi"}]False"#
    );
    for wrong in [
        "",
        "[]",
        "{}",
        r#"{"messages": 1}"#,
        r#"{"messages": "ab"}"#,
    ] {
        assert!(
            matches!(
                Conversation::from_json(wrong),
                Err(Error::Conversation { .. })
            ),
            "{wrong}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Slices are Python's, whatever their bounds.
    #[test]
    fn slices_are_those_of_python(
        text in "[a-dé😀]{0,6}", start in proptest::option::of(-8i64..8), stop in proptest::option::of(-8i64..8),
        step in prop_oneof![-3i64..0, 1i64..4],
    ) {
        let characters: Vec<char> = text.chars().collect();
        let length = characters.len() as i64;
        let place = |at: i64| if at < 0 { at + length } else { at };
        // By definition: walk from the start, and take what lies inside.
        let (first, last) = if step > 0 { (0, length) } else { (length - 1, -1) };
        let mut at = start.map_or(first, |at| if step > 0 { place(at).max(0) } else { place(at).min(length - 1) });
        let end = stop.map_or(last, |at| if step > 0 { place(at) } else { place(at).max(-1) });
        let mut expected = String::new();
        while if step > 0 { at < end.min(length) } else { at > end && at >= 0 } {
            expected.push(characters[at as usize]);
            at += step;
        }
        let bound = |at: Option<i64>| at.map_or(String::new(), |at| at.to_string());
        let slice = format!("[{}:{}:{step}]", bound(start), bound(stop));
        let source = format!("{{{{ messages[0].content{slice} }}}}|{{{{ (messages[0].content|list){slice}|join }}}}");
        prop_assert_eq!(render(&source, &text).unwrap(), format!("{expected}|{expected}"));
    }
}
