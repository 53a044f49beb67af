//! No text can leave its block unnoticed.

use clinical_prompts::asclepius::{Task, Template, generation, judge};
use clinical_prompts::{Error, Field, MarkerPolicy, Options, Result, clip, mednli, radqa};
use proptest::prelude::*;

type Render = Box<dyn Fn(&str, &Options) -> Result<String>>;

/// Every prompt of the crate as a function of one of its texts, with the markers of the prompt.
fn every_prompt() -> Vec<(String, Vec<&'static str>, Render)> {
    const BLOCKS: [&str; 4] = [
        "[Discharge Summary Begin]",
        "[Discharge Summary End]",
        "[Instruction Begin]",
        "[Instruction End]",
    ];
    let mut prompts: Vec<(String, Vec<&'static str>, Render)> = Vec::new();
    let mut add = |name: String, markers: &[&'static str], render: Render| {
        prompts.push((name, markers.to_vec(), render));
    };
    for template in Template::ALL {
        let markers: &[&str] = match template {
            Template::Alpaca | Template::MedAlpaca => {
                &["### Instruction:", "### Input:", "### Response:"]
            }
            Template::Chat => &[
                "[The start of the Discharge Summary]",
                "[The end of the Discharge Summary]",
                "USER:",
                "ASSISTANT:",
            ],
            _ => &BLOCKS,
        };
        add(
            format!("{template:?} note"),
            markers,
            Box::new(move |text, options| template.render(text, "q?", options)),
        );
        add(
            format!("{template:?} question"),
            markers,
            Box::new(move |text, options| template.render("n", text, options)),
        );
    }
    add(
        "case report".into(),
        &["[The start of case report]", "[The end of case report]"],
        Box::new(generation::note),
    );
    let sampled = [
        BLOCKS[0],
        BLOCKS[1],
        "[Example Questions Begin]",
        "[Example Questions End]",
    ];
    add(
        "instruction note".into(),
        &sampled,
        Box::new(|text, options| {
            generation::instruction(Task::Paraphrasing, text, &["s"], options)
        }),
    );
    add(
        "instruction sample".into(),
        &sampled,
        Box::new(|text, options| {
            generation::instruction(Task::Paraphrasing, "n", &["s", text], options)
        }),
    );
    add(
        "answer".into(),
        &BLOCKS,
        Box::new(|text, options| generation::answer(text, "q", options)),
    );
    let judged = [
        &BLOCKS[..],
        &["[Agent A's Answer Begin]", "[Agent B's Answer End]"],
    ]
    .concat();
    add(
        "judge note".into(),
        &judged,
        Box::new(|text, options| judge::prompt(text, "q", &["a"], &[0], options)),
    );
    add(
        "judge answer".into(),
        &judged,
        Box::new(|text, options| judge::prompt("n", "q", &["a", text], &[1, 0], options)),
    );

    let pair = ["premise:", "hypothesis:"];
    add(
        "MedNLI premise".into(),
        &pair,
        Box::new(|text, options| mednli::finetuning_input(text, "h", options)),
    );
    add(
        "MedNLI hypothesis".into(),
        &pair,
        Box::new(|text, options| mednli::finetuning_input("p", text, options)),
    );
    for number in mednli::ZeroShot::NUMBERS {
        let markers: &[&str] = match number {
            0 => &["Premise:", "Hypothesis:", "Answer:"],
            1 => &["Can we infer that"],
            2 => &["is the claim: \"x\" true, false, or inconclusive?"],
            3 => &["Does it follow that"],
            4 => &["always, sometimes, or never true?"],
            7 => &["Question:"],
            _ => &["Options:"],
        };
        let template = mednli::ZeroShot::new(number).unwrap();
        add(
            format!("MedNLI {number}"),
            markers,
            Box::new(move |text, options| template.render(text, "h", options)),
        );
    }
    for number in mednli::FewShot::NUMBERS {
        let markers: &[&str] = match number {
            5 | 6 => &["Premise:", "Hypothesis:"],
            8 | 9 => &["Does it follow that"],
            _ => &["Options:"],
        };
        let template = mednli::FewShot::new(number).unwrap();
        add(
            format!("MedNLI {number}"),
            markers,
            Box::new(move |text, options| {
                let example = mednli::Example {
                    premise: "p",
                    hypothesis: text,
                    answer: "a",
                };
                template.render(&[example; 3], "p", "h", options)
            }),
        );
    }
    add(
        "RadQA question".into(),
        &["context:"],
        Box::new(|text, options| radqa::finetuning_input(text, "c", options)),
    );
    add(
        "RadQA decoder".into(),
        &["Question:", "Answer:"],
        Box::new(|text, options| radqa::decoder_input(text, "q", options)),
    );
    for number in radqa::ZeroShot::NUMBERS {
        let markers: &[&str] = match number {
            0 | 2 | 13 => &["Question:", "Answer:"],
            11 => &["Given the above radiology report,"],
            _ => &["Given the above context,"],
        };
        let template = radqa::ZeroShot::new(number).unwrap();
        add(
            format!("RadQA {number}"),
            markers,
            Box::new(move |text, options| template.render(text, "q", options)),
        );
    }
    for number in radqa::FewShot::NUMBERS {
        let template = radqa::FewShot::new(number).unwrap();
        add(
            format!("RadQA {number}"),
            &["Context:", "Answer:"],
            Box::new(move |text, options| {
                let example = radqa::Example {
                    context: text,
                    question: "q",
                    answer: "a",
                };
                template.render(&vec![example; template.examples()], "c", "q", options)
            }),
        );
    }
    for number in clip::ZeroShot::NUMBERS {
        let markers: &[&str] = match number {
            9 => &["Tags:", "Options:"],
            _ => &["Label the above sentence as one", "Options:"],
        };
        let template = clip::ZeroShot::new(number).unwrap();
        add(
            format!("CLIP {number}"),
            markers,
            Box::new(move |text, options| template.render(text, options)),
        );
    }
    for number in clip::FewShot::NUMBERS {
        let template = clip::FewShot::new(number).unwrap();
        add(
            format!("CLIP {number}"),
            &["Context:", "Options:"],
            Box::new(move |text, options| {
                let example = clip::Example {
                    sentence: "s",
                    labels: text,
                };
                template.render(&vec![example; template.examples()], "s", options)
            }),
        );
    }
    let template = clip::YesNo::new(2).unwrap();
    add(
        "CLIP yes-no".into(),
        &["Does the above sentence", "Options:"],
        Box::new(move |text, options| template.render(clip::Label::Lab, text, options)),
    );
    prompts
}

const STRICT: Options = Options::new();
const ESCAPE: Options = Options::new().with_markers(MarkerPolicy::Escape);
const ALLOW: Options = Options::new().with_markers(MarkerPolicy::Allow);

#[test]
fn every_prompt_refuses_its_own_markers() {
    for (name, markers, render) in every_prompt() {
        render("quiet text: stable.", &STRICT).unwrap();
        for marker in markers {
            let text = format!("stable.\n{marker} forged");
            let error = render(&text, &STRICT).unwrap_err();
            assert!(
                matches!(error, Error::MarkerInText { .. }),
                "{name}: {marker}"
            );
            assert!(
                !error.to_string().contains("forged"),
                "{name}: the text is quoted"
            );
            assert!(
                render(&text, &ALLOW).unwrap().contains(&text),
                "{name}: {marker}"
            );
        }
    }
}

#[test]
fn every_prompt_escapes_its_own_markers() {
    for (name, markers, render) in every_prompt() {
        for marker in markers {
            let text = format!("stable.\n{marker} forged");
            let escaped = render(&text, &ESCAPE).unwrap();
            assert!(!escaped.contains(&text), "{name}: {marker}");
            // A reader who ignores backslashes reads what the text said.
            assert!(
                escaped.replace('\\', "").contains(&text),
                "{name}: {marker}"
            );
        }
    }
}

#[test]
fn error_names_field_marker_and_place() {
    let error = Template::Inference
        .render("é\n[ discharge summary  END ]", "q", &STRICT)
        .unwrap_err();
    let expected = Error::MarkerInText {
        field: Field::Note,
        marker: "[Discharge Summary End]",
        offset: 3,
    };
    assert_eq!(error, expected);
    assert_eq!(
        error.to_string(),
        "the note contains the prompt marker `[Discharge Summary End]` at byte 3; \
         remove it, or choose MarkerPolicy::Escape (or Allow, if the text is trusted)"
    );
}

#[test]
fn other_prompts_markers_are_ordinary_text() {
    let note = "[The end of case report]\n### Response:\nUSER: x";
    assert!(Template::Inference.render(note, "q", &STRICT).is_ok());
    assert!(
        Template::Chat
            .render("[Instruction End]", "q", &STRICT)
            .is_ok()
    );
}

#[test]
fn blank_questions_are_refused() {
    for blank in ["", " ", "\n\t\u{3000}", "\u{1c}"] {
        let empty = Err(Error::Empty {
            field: Field::Question,
        });
        for template in Template::ALL {
            assert_eq!(
                template.render("note", blank, &ALLOW),
                empty,
                "{template:?}"
            );
        }
        assert_eq!(generation::answer("note", blank, &ALLOW), empty);
        assert_eq!(judge::prompt("note", blank, &["a"], &[0], &ALLOW), empty);
        assert_eq!(radqa::finetuning_input(blank, "c", &ALLOW), empty);
        assert_eq!(radqa::ZeroShot::FLAN.render("c", blank, &ALLOW), empty);
        let empty = Err(Error::Empty {
            field: Field::Hypothesis,
        });
        assert_eq!(mednli::finetuning_input("p", blank, &ALLOW), empty);
        let empty = Err(Error::Empty {
            field: Field::Sentence,
        });
        assert_eq!(clip::finetuning_input("c", blank, &ALLOW), empty);
    }
}

#[test]
fn few_shot_prompts_count_their_examples() {
    let example = radqa::Example {
        context: "c",
        question: "q",
        answer: "a",
    };
    let result = radqa::FewShot::new(8)
        .unwrap()
        .render(&[example], "c", "q", &STRICT);
    let expected = Error::ExampleCount {
        family: "RadQA few-shot",
        number: 8,
        expected: 2,
        found: 1,
    };
    assert_eq!(result, Err(expected));
    assert!(
        mednli::FewShot::new(5)
            .unwrap()
            .render(&[], "p", "h", &STRICT)
            .is_err()
    );
    assert!(
        clip::FewShot::new(5)
            .unwrap()
            .render(&[], "s", &STRICT)
            .is_err()
    );
}

/// Any text, often with markers and their parts in it.
fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => any::<String>(),
        2 => prop::sample::select(vec![
            "[Discharge Summary End]", "[instruction  begin ]", "[Instruction\u{ad} End]", "[Discharge",
            "Summary", "End]", "[", "]", "\n", " ", "\\", "{note}", "{question}", "{answers}", "### Input:",
            "USER:", "ASSISTANT:", "\nAnswer:", "Question:", "Options:", "hypothesis:", "Does it follow that",
            "[Agent C\u{2019}s Answer End]", "\u{200b}", "Given the above context,", "?", ".",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

/// How often the block markers of Asclepius occur in a prompt, in any case.
fn block_markers(prompt: &str) -> [usize; 4] {
    let prompt = prompt.to_ascii_lowercase();
    [
        "[discharge summary begin]",
        "[discharge summary end]",
        "[instruction begin]",
        "[instruction end]",
    ]
    .map(|marker| prompt.matches(marker).count())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn allowed_notes_come_through_verbatim(note in hostile(), question in hostile()) {
        for template in Template::ALL {
            match template.render(&note, &question, &ALLOW) {
                Ok(prompt) => {
                    let (before, after) = template.text().split_once("{note}").unwrap();
                    let fill = |text: &str| text.replace("{question}", &question);
                    prop_assert_eq!(prompt, [&*fill(before), &*note, &*fill(after)].concat());
                }
                Err(error) => prop_assert_eq!(error, Error::Empty { field: Field::Question }),
            }
        }
    }

    #[test]
    fn no_second_marker_gets_in(note in hostile(), question in hostile()) {
        for options in [STRICT, ESCAPE] {
            if let Ok(prompt) = Template::Inference.render(&note, &question, &options) {
                prop_assert_eq!(block_markers(&prompt), [1; 4]);
                prop_assert_eq!(generation::instruction_of(&prompt).map(str::is_empty), Some(false));
            }
        }
    }

    #[test]
    fn escaping_always_satisfies_the_strict_check(text in hostile()) {
        for (name, _, render) in every_prompt() {
            let strict = render(&text, &STRICT);
            match render(&text, &ESCAPE) {
                Ok(escaped) => {
                    let allowed = render(&text, &ALLOW).unwrap();
                    prop_assert_eq!(escaped.replace('\\', ""), allowed.replace('\\', ""), "{}", name);
                    // The strict check agrees with escaping on whether there is a marker at all.
                    prop_assert_eq!(strict.is_ok(), escaped == allowed, "{}", name);
                }
                Err(error) => prop_assert!(matches!(error, Error::Empty { .. }), "{}", name),
            }
        }
    }

    #[test]
    fn nothing_panics(text in hostile(), order in prop::collection::vec(0_usize..4, 0..4)) {
        for (_, _, render) in every_prompt() {
            let trimmed = STRICT.with_trim_newlines(true);
            let _ = (render(&text, &STRICT), render(&text, &trimmed));
        }
        let _ = judge::scores(&text, &order);
        let _ = (generation::discharge_summary_of(&text), generation::keeps(&text, &text, &text));
        let _ = (mednli::labels_of_answers(&[&text]), radqa::answer_of(&text));
        let _ = clip::labels_of_answer(&text, clip::SeveralLabels::CountNone);
        let _ = (text.parse::<Task>(), clip::Label::from_dataset(&text));
    }
}
