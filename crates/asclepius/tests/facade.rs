//! What the files of a model and the texts of a caller may do to an answer, on copies of the demonstration model.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use asclepius::{
    AddedToken, AnswerOptions, Asclepius, CancelFlag, Combine, Error, Generation, LoadOptions,
    LongText, MarkerPolicy, PromptStyle, SaveOptions, Style, Template,
};
use serde_json::{Value, json};

static MODEL: LazyLock<Asclepius> = LazyLock::new(|| Asclepius::embedded().unwrap());

const NOTE: &str = include_str!("../../../examples/data/note.txt");
const QUESTION: &str = "What is the discharge diagnosis?";
const ANSWER: &str = "The diagnosis was ischemic stroke.";

fn options() -> AnswerOptions {
    AnswerOptions::new().with_max_new_tokens(40)
}

/// A copy of the demonstration model under `name`, with keys of its JSON files changed.
fn copy(parent: &Path, name: &str, changes: &[(&str, Value)]) -> PathBuf {
    let dir = parent.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    for entry in std::fs::read_dir(demo).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
    }
    for (file, values) in changes {
        let path = dir.join(file);
        let mut content: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for (key, value) in values.as_object().unwrap() {
            content[key] = value.clone();
        }
        std::fs::write(path, content.to_string()).unwrap();
    }
    dir
}

fn load(dir: &Path) -> Asclepius {
    Asclepius::load(dir, &LoadOptions::default()).unwrap()
}

fn with_template(parent: &Path, name: &str, template: &str) -> PathBuf {
    let change = json!({"chat_template": template});
    copy(parent, name, &[("tokenizer_config.json", change)])
}

const TEMPLATE: &str = "{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}";

fn chat() -> AnswerOptions {
    options().with_prompt(PromptStyle::Chat { system: None })
}

fn style_remark(model: &Asclepius) -> String {
    model.remarks().last().unwrap().to_string()
}

/// `generation_config.json` says that `▁was` ends an answer, too: transformers stops there.
#[test]
fn end_tokens_of_generation_config_end_an_answer() {
    let parent = tempfile::tempdir().unwrap();
    let change = json!({"eos_token_id": [2, 387], "note": "kept"});
    let dir = copy(parent.path(), "ends", &[("generation_config.json", change)]);
    let model = load(&dir);
    assert_eq!(model.end_ids(), [2, 387]);
    let answer = model.answer_with(NOTE, QUESTION, &options()).unwrap();
    assert_eq!(answer.text, "The diagnosis was");
    // A save keeps them, and what else the file says.
    let saved = parent.path().join("saved");
    model.save(&saved, &SaveOptions::default()).unwrap();
    assert_eq!(load(&saved).end_ids(), [2, 387]);
    let file = std::fs::read_to_string(saved.join("generation_config.json")).unwrap();
    assert!(
        file.contains("kept") && file.contains("max_new_tokens"),
        "{file}"
    );
}

#[test]
fn a_path_decides_no_prompt() {
    let parent = tempfile::tempdir().unwrap();
    for name in ["llama-chat", "asclepius-eval/llama-chat", "Asclepius-7B"] {
        let model = load(&with_template(parent.path(), name, TEMPLATE));
        let answer = model.answer_with(NOTE, QUESTION, &options()).unwrap();
        assert_eq!(
            (answer.style, answer.usage.prompt_tokens),
            (Style::Chat, 306),
            "{name}"
        );
        assert!(style_remark(&model).contains("chat template"));
        assert!(model.report().to_string().contains(&style_remark(&model)));
    }
}

/// What `transformers` writes into `config.json` is the files' word, its folders are not.
#[test]
fn the_name_in_the_files_decides() {
    let parent = tempfile::tempdir().unwrap();
    for (name, style) in [
        (
            "starmpcc/Asclepius-Llama3-8B",
            Style::Published(Template::Inference),
        ),
        ("/srv/asclepius/llama-chat", Style::Chat),
        ("meta-llama/Meta-Llama-3-8B-Instruct", Style::Chat),
    ] {
        let dir = copy(
            parent.path(),
            "model",
            &[
                ("tokenizer_config.json", json!({"chat_template": TEMPLATE})),
                ("config.json", json!({"_name_or_path": name})),
            ],
        );
        let model = load(&dir);
        let answer = model.answer_with(NOTE, QUESTION, &options()).unwrap();
        assert_eq!(answer.style, style, "{name}");
        // Either way the caller may choose.
        let asked = model.answer_with(NOTE, QUESTION, &chat()).unwrap();
        assert_eq!((asked.style, asked.usage.prompt_tokens), (Style::Chat, 306));
        // Taken apart and saved it is the same model.
        let model = Asclepius::from_parts(model.into_parts());
        assert_eq!(
            model.answer_with(NOTE, QUESTION, &options()).unwrap(),
            answer
        );
        let saved = parent.path().join("saved");
        model.save(&saved, &SaveOptions::default()).unwrap();
        assert_eq!(
            load(&saved)
                .answer_with(NOTE, QUESTION, &options())
                .unwrap()
                .style,
            style
        );
    }
}

#[test]
fn a_template_that_cannot_be_used_keeps_no_model_from_loading() {
    let parent = tempfile::tempdir().unwrap();
    for template in [
        "{% for %}",
        "{% nonsense %}{{ messages[0].content }}",
        "{{ raise_exception('never') }}",
        "{{ no_such_function(messages) }}",
        "{% if messages[0].role != 'system' %}{{ raise_exception('a system message is due') }}{% endif %}x",
    ] {
        let model = load(&with_template(parent.path(), "model", template));
        let answer = model.answer_with(NOTE, QUESTION, &options()).unwrap();
        assert_eq!(answer.text, ANSWER, "{template}");
        assert_eq!(answer.style, Style::Published(Template::Inference));
        assert!(
            style_remark(&model).contains("cannot be used"),
            "{}",
            style_remark(&model)
        );
        let refused = model.answer_with(NOTE, QUESTION, &chat());
        assert!(
            matches!(refused, Err(Error::ChatTemplate { .. })),
            "{template}"
        );
    }
    // The last one only needs a system message.
    let model = load(&parent.path().join("model"));
    let system = PromptStyle::Chat {
        system: Some("Be brief.".to_owned()),
    };
    assert!(
        model
            .answer_with(NOTE, QUESTION, &options().with_prompt(system))
            .is_ok()
    );
    let none = MODEL.answer_with(NOTE, QUESTION, &chat());
    assert!(matches!(none, Err(Error::NoChatTemplate)));
}

/// Models that were trained on converted notes have the tags as special tokens.
#[test]
fn tags_of_deidentification_are_text() {
    let mut model = Asclepius::embedded().unwrap();
    let tags: Vec<AddedToken> = clinical_deid::SPECIAL_TOKENS
        .map(AddedToken::special)
        .into();
    assert_eq!(model.add_tokens(&tags).unwrap(), 15);
    let note = NOTE.replace("Mr. Patel", "Mr. [Name]");
    for policy in [MarkerPolicy::Error, MarkerPolicy::Escape] {
        let options = options().with_markers(policy);
        let answer = model.answer_with(&note, QUESTION, &options).unwrap();
        assert_eq!(answer.text, ANSWER);
        let refused = note.replace("76 year", "</s>");
        let answer = model.answer_with(&refused, QUESTION, &options);
        assert_eq!(answer.is_err(), policy == MarkerPolicy::Error);
    }
    let name = model.tokenizer().token_to_id("[Name]").unwrap();
    let ids = model.tokenizer().encode(&note, false).unwrap().into_ids();
    assert!(ids.contains(&name));
}

#[test]
fn a_cut_that_leaves_nothing_is_an_error() {
    let word = "x".repeat(12_000);
    let image = format!("{NOTE}\n{}", "iVBORw0KGgoAAAANSUhEUg".repeat(1_200));
    let ask =
        |note: &str, policy| MODEL.answer_with(note, QUESTION, &options().with_long_text(policy));
    for (note, policy) in [
        (&word, LongText::CutStart),
        (&word, LongText::CutEnd),
        (&image, LongText::CutStart),
    ] {
        let answer = ask(note, policy);
        assert!(matches!(answer, Err(Error::NothingLeft)), "{answer:?}");
    }
    let answer = ask(&image, LongText::CutEnd).unwrap();
    assert_eq!(answer.text, ANSWER);
    assert_eq!(answer.windows[0].range, 0..NOTE.len() + 1);
}

/// More than the tokenizer reads of one text.
#[test]
fn notes_of_any_size_are_cut_and_read_in_windows() {
    let line = "The patient slept well, BP 120/80, and had no complaints overnight.\n";
    let long = line.repeat((5 << 20) / line.len());
    let (first, last) = (format!("{NOTE}\n{long}"), format!("{long}\n{NOTE}"));
    let ask = |note: &str, policy| {
        let options = options().with_combine(Combine::FirstFound);
        MODEL
            .answer_with(note, QUESTION, &options.with_long_text(policy))
            .unwrap()
    };
    // The toy answers nothing sensible about so much text, but the same as about the part alone.
    let alone = |text: &str| ask(text, LongText::Error).text;
    let end = ask(&first, LongText::CutEnd);
    assert_eq!(end.windows[0].range.start, 0);
    assert_eq!(end.text, alone(&first[end.windows[0].range.clone()]));
    let start = ask(&last, LongText::CutStart);
    assert_eq!(start.windows[0].range.end, last.len());
    assert_eq!(start.text, alone(&last[start.windows[0].range.clone()]));
    let windows = ask(&first, LongText::Windows { overlap: 16 });
    assert_eq!(windows.window, Some(0));
    assert_eq!(
        windows.text,
        alone(&first[windows.windows[0].range.clone()])
    );
    assert_eq!(windows.windows.last().unwrap().range.end, first.len());
    assert!(
        windows.windows[1..]
            .iter()
            .all(|window| window.answer.is_none())
    );
    assert!(matches!(
        MODEL.answer(&first, QUESTION),
        Err(Error::TooLong(error)) if error.tokens > error.limit && error.reserved == 64
    ));
}

#[test]
fn tokens_and_words_tell_how_sure_the_model_was() {
    for generation in [
        Generation::greedy(),
        Generation::beam(3),
        Generation::greedy().with_stop_strings(["stroke"]),
    ] {
        let options = options().with_generation(generation);
        let answer = MODEL.answer_with(NOTE, QUESTION, &options).unwrap();
        assert_eq!(answer.tokens.len(), answer.usage.new_tokens);
        let mut at = 0;
        for token in &answer.tokens {
            assert_eq!(token.range.start, at);
            assert_eq!(token.text, answer.text[token.range.clone()]);
            at = token.range.end;
        }
        assert_eq!(at, answer.text.len());
        let sum: f64 = answer
            .tokens
            .iter()
            .map(|token| f64::from(token.log_prob))
            .sum();
        assert!((sum - answer.log_prob).abs() < 1e-6);
        let words = answer.words();
        let texts: Vec<&str> = words
            .iter()
            .map(|word| &answer.text[word.range.clone()])
            .collect();
        assert_eq!(texts, answer.text.split_whitespace().collect::<Vec<_>>());
        assert!(
            words
                .iter()
                .all(|word| (0.0..=1.0).contains(&word.probability()))
        );
    }
}

#[test]
fn the_likeliest_tokens_stand_beside_the_chosen_ones() {
    let generation = Generation::greedy().with_top_log_probs(4);
    let with_top = options().with_generation(generation);
    let answer = MODEL.answer_with(NOTE, QUESTION, &with_top).unwrap();
    let plain = MODEL.answer_with(NOTE, QUESTION, &options()).unwrap();
    assert_eq!(answer.text, plain.text);
    assert!(plain.tokens.iter().all(|token| token.top.is_empty()));
    for token in &answer.tokens {
        assert_eq!(token.top.len(), 4);
        assert!(
            token
                .top
                .windows(2)
                .all(|pair| pair[0].log_prob >= pair[1].log_prob)
        );
        // The likeliest was chosen, and writes what it has written.
        assert_eq!(token.top[0].id, token.id);
        assert_eq!(token.top[0].log_prob, token.log_prob);
        assert!(token.text.is_empty() || token.top[0].text == token.text);
        for likely in &token.top {
            let name = MODEL.tokenizer().id_to_token(likely.id).unwrap();
            assert_eq!(likely.name, name);
        }
    }
    let end = answer.tokens.last().unwrap();
    assert_eq!((end.top[0].text.as_str(), &*end.top[0].name), ("", "</s>"));
    // Another token at the first place is the first of another answer.
    let other = &answer.tokens[0].top[1];
    let forced = Generation::greedy().with_forced_first(other.id);
    let forced = options().with_generation(forced.with_max_new_tokens(3));
    let forced = MODEL.answer_with(NOTE, QUESTION, &forced).unwrap();
    assert!(forced.text.starts_with(other.text.trim()));
    assert!((forced.tokens[0].log_prob - other.log_prob).abs() < 1e-4);
}

#[test]
fn a_text_goes_on_without_a_seam() {
    let text = "Discharge Diagnosis: ischemic stroke\nThe diagnosis";
    let mut pieces = String::new();
    let more = MODEL
        .complete_streaming(text, &options(), |piece| {
            pieces.push_str(piece);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(pieces, more.text);
    assert_eq!(more, MODEL.complete(text, &options()).unwrap());
    assert_eq!(more.style, Style::Text);
    // What the tokenizer makes of all tokens together.
    let mut ids = MODEL.tokenizer().encode(text, true).unwrap().into_ids();
    assert_eq!(more.usage.prompt_tokens, ids.len());
    ids.extend(more.tokens.iter().map(|token| token.id));
    assert_eq!(
        MODEL.tokenizer().decode(&ids, true).unwrap(),
        format!("{text}{}", more.text)
    );
    let tokens: String = more
        .tokens
        .iter()
        .map(|token| token.text.as_str())
        .collect();
    assert_eq!(tokens, more.text);
    let refused = MODEL.complete("a </s>", &options());
    assert!(matches!(
        refused,
        Err(Error::SpecialToken { field: "text", .. })
    ));
    assert!(matches!(
        MODEL.complete(" ", &options()),
        Err(Error::NothingLeft)
    ));
    let long = format!("{} {text}", "word ".repeat(5_000));
    let cut = MODEL
        .complete(&long, &options().with_long_text(LongText::CutStart))
        .unwrap();
    assert_eq!(cut.windows[0].range.end, long.len());
}

#[test]
fn a_batch_tells_how_far_it_is_and_can_be_ended() {
    let bad = "x ".repeat(9_000);
    let asked = [
        (NOTE, QUESTION),
        (&bad, QUESTION),
        (NOTE, " "),
        (NOTE, "How old is the patient?"),
        ("", QUESTION),
    ];
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let tell = options().with_progress(move |progress| {
        log.lock().unwrap().push((progress.done, progress.total));
    });
    let answers = MODEL.answer_batch(&asked, &tell);
    assert_eq!(answers[0].as_ref().unwrap().text, ANSWER);
    assert!(matches!(answers[1], Err(Error::TooLong(_))));
    assert!(matches!(answers[2], Err(Error::Prompt(_))));
    assert!(answers[3].is_ok() && matches!(answers[4], Err(Error::NothingLeft)));
    assert_eq!(*told.lock().unwrap(), [(3, 5), (4, 5), (5, 5)]);

    // Ended before it began, and after the first answer.
    let flag = CancelFlag::new();
    let cancelled = options().with_cancel(flag.clone()).with_batch(1);
    let ends = cancelled.clone().with_progress({
        let flag = flag.clone();
        move |_| flag.cancel()
    });
    let asked = [(NOTE, QUESTION); 3];
    let answers = MODEL.answer_batch(&asked, &ends);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(_) | Err(Error::Cancelled)))
    );
    let answers = MODEL.answer_batch(&asked, &cancelled);
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Err(Error::Cancelled)))
    );
    let one = MODEL.answer_with(NOTE, QUESTION, &cancelled);
    assert!(matches!(one, Err(Error::Cancelled)));
}

#[test]
fn long_notes_of_a_batch_are_read_in_windows() {
    let other = "The patient slept well and had no complaints overnight.\n".repeat(200);
    let long = format!("{other}\n{NOTE}\n\n{other}");
    let options = options().with_long_text(LongText::Windows { overlap: 16 });
    let asked = [(NOTE, QUESTION), (&long, QUESTION), (NOTE, QUESTION)];
    let answers = MODEL.answer_batch(&asked, &options);
    for ((note, question), answer) in asked.iter().zip(&answers) {
        let alone = MODEL.answer_with(note, question, &options).unwrap();
        let answer = answer.as_ref().unwrap();
        assert_eq!(
            (&answer.text, &answer.windows),
            (&alone.text, &alone.windows)
        );
    }
    assert!(answers[1].as_ref().unwrap().windows.len() > 2);
}

#[test]
fn a_limit_of_the_callers() {
    let whole = MODEL.prompt_tokens(NOTE, QUESTION, &options()).unwrap();
    assert_eq!(
        whole,
        MODEL.answer(NOTE, QUESTION).unwrap().usage.prompt_tokens
    );
    let fits = options().with_max_tokens(whole);
    assert_eq!(
        MODEL.answer_with(NOTE, QUESTION, &fits).unwrap().text,
        ANSWER
    );
    let less = fits.with_max_tokens(whole - 1);
    assert!(matches!(
        MODEL.answer_with(NOTE, QUESTION, &less),
        Err(Error::TooLong(error)) if error.limit == whole - 1
    ));
    let cut = less.with_long_text(LongText::CutStart);
    let answer = MODEL.answer_with(NOTE, QUESTION, &cut).unwrap();
    assert!(answer.usage.prompt_tokens < whole && answer.windows[0].range.start > 0);
}

#[test]
fn an_answer_is_json() {
    let answer = MODEL.answer_with(NOTE, QUESTION, &options()).unwrap();
    let value = serde_json::to_value(&answer).unwrap();
    assert_eq!(value["text"], ANSWER);
    assert_eq!(
        (&value["stop"], &value["style"]),
        (&json!("end token"), &json!("asclepius"))
    );
    let first = &value["tokens"][0];
    assert_eq!(
        first["range"],
        json!({"start": 0, "end": first["text"].as_str().unwrap().len()})
    );
    assert_eq!(value["usage"]["new_tokens"], answer.tokens.len());
}

#[test]
fn apart_and_together_again() {
    let model = Asclepius::embedded().unwrap();
    let (remarks, notes) = (model.remarks().to_vec(), model.report().notes.clone());
    let expected = model.answer_with(NOTE, QUESTION, &options()).unwrap();
    let parts = model.into_parts();
    assert_eq!(parts.config, *parts.model.config());
    let mut model = Asclepius::from_parts(parts);
    assert_eq!(
        model.answer_with(NOTE, QUESTION, &options()).unwrap(),
        expected
    );
    assert_eq!(
        (model.remarks(), &model.report().notes),
        (&remarks[..], &notes)
    );
    // New tokens change no old answer, and are kept by a save.
    let rows = model.config().vocab_size;
    assert_eq!(model.add_tokens(&[AddedToken::new("[Device]")]).unwrap(), 1);
    assert_eq!(
        (model.config().vocab_size, model.tokenizer().vocab_size()),
        (rows + 1, rows + 1)
    );
    assert_eq!(
        model.answer_with(NOTE, QUESTION, &options()).unwrap().text,
        ANSWER
    );
    let parent = tempfile::tempdir().unwrap();
    model
        .save(parent.path().join("saved"), &SaveOptions::default())
        .unwrap();
    let again = load(&parent.path().join("saved"));
    assert_eq!(again.tokenizer().token_to_id("[Device]"), Some(rows as u32));
    assert_eq!(again.max_tokens(), model.max_tokens());
    assert_eq!(again.device(), model.device());
}
