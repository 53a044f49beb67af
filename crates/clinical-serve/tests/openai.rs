//! The calls of OpenAI's clients.

mod common;

use asclepius::{AnswerOptions, Generation};
use clinical_serve::{Limits, ServeOptions};
use common::{NOTE, QUESTION, Running, model};
use serde_json::{Value, json};

fn chat() -> Value {
    json!({"model": "demonstration", "messages": [
        {"role": "system", "content": NOTE},
        {"role": "user", "content": QUESTION},
    ]})
}

fn with(mut value: Value, name: &str, more: Value) -> Value {
    value[name] = more;
    value
}

#[test]
fn a_chat_is_the_librarys_answer() {
    let server = Running::new(ServeOptions::new());
    let answer = model().answer(NOTE, QUESTION).unwrap();
    let value = server
        .post(
            "/v1/chat/completions",
            &with(chat(), "logprobs", json!(true)),
        )
        .ok();
    assert_eq!(value["object"], "chat.completion");
    let choice = &value["choices"][0];
    assert_eq!(choice["message"]["content"], answer.text.as_str());
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["finish_reason"], "stop");
    let usage = &value["usage"];
    assert_eq!(usage["prompt_tokens"], answer.usage.prompt_tokens);
    assert_eq!(usage["completion_tokens"], answer.usage.new_tokens);
    let total = answer.usage.prompt_tokens + answer.usage.new_tokens;
    assert_eq!(usage["total_tokens"], total);
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.len(), answer.tokens.len());
    for (token, expected) in tokens.iter().zip(&answer.tokens) {
        assert_eq!(token["token"], expected.text.as_str());
        assert!((token["logprob"].as_f64().unwrap() - f64::from(expected.log_prob)).abs() < 1e-3);
    }
    // Parts of a text are the text.
    let parts = json!([{"type": "text", "text": QUESTION}]);
    let mut body = chat();
    body["messages"][1]["content"] = parts;
    let value = server.post("/v1/chat/completions", &body).ok();
    assert_eq!(
        value["choices"][0]["message"]["content"],
        answer.text.as_str()
    );
}

#[test]
fn a_stream_is_the_same_in_pieces() {
    let server = Running::new(ServeOptions::new());
    let answer = model().answer(NOTE, QUESTION).unwrap();
    let body = with(chat(), "stream", json!(true));
    let body = with(body, "stream_options", json!({"include_usage": true}));
    let reply = server.post("/v1/chat/completions", &with(body, "logprobs", json!(true)));
    assert!(reply.text.trim_end().ends_with("data: [DONE]"));
    let events = reply.events();
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let pieces = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    assert_eq!(pieces.collect::<String>(), answer.text);
    assert!(events.len() > 4, "it came in one piece");
    let last = &events[events.len() - 2]["choices"][0];
    assert_eq!(last["finish_reason"], "stop");
    let tokens = last["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.len(), answer.tokens.len());
    let usage = &events[events.len() - 1];
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], answer.usage.new_tokens);
    for event in &events {
        assert_eq!(event["object"], "chat.completion.chunk");
        assert_eq!(event["id"], events[0]["id"]);
    }
}

#[test]
fn stop_seed_length_and_choices() {
    let server = Running::new(ServeOptions::new());
    let post = |body: &Value| server.post("/v1/chat/completions", body).ok();
    let answer = model().answer(NOTE, QUESTION).unwrap();
    let word = answer.text.split_whitespace().nth(2).unwrap();
    let value = post(&with(chat(), "stop", json!([word])));
    let text = value["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(answer.text.starts_with(text) && !text.contains(word));
    assert_eq!(value["choices"][0]["finish_reason"], "stop");

    let value = post(&with(chat(), "max_tokens", json!(2)));
    assert_eq!(value["choices"][0]["finish_reason"], "length");
    assert_eq!(value["usage"]["completion_tokens"], 2);

    let sampled = with(with(chat(), "temperature", json!(1.5)), "seed", json!(7));
    let (one, again) = (post(&sampled), post(&sampled));
    assert_eq!(one["choices"], again["choices"]);
    let generation = Generation::sample()
        .with_top_k(0)
        .with_temperature(1.5)
        .with_seed(7)
        .with_max_new_tokens(400);
    let options = AnswerOptions::new().with_generation(generation);
    let alone = model().answer_with(NOTE, QUESTION, &options).unwrap();
    assert_eq!(one["choices"][0]["message"]["content"], alone.text.as_str());

    let several = post(&with(sampled, "n", json!(3)));
    let choices = several["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 3);
    assert_eq!(choices[0]["message"], one["choices"][0]["message"]);
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(choice["index"], index);
    }
    // Without sampling all choices are alike, and computed once.
    let alike = post(&with(chat(), "n", json!(2)));
    assert_eq!(
        alike["choices"][0]["message"],
        alike["choices"][1]["message"]
    );
    assert_eq!(alike["usage"]["completion_tokens"], answer.usage.new_tokens);
}

#[test]
fn completions_go_on_with_a_text() {
    let server = Running::new(ServeOptions::new());
    let text = "Discharge Diagnosis:";
    let options = AnswerOptions::new().with_max_new_tokens(8);
    let more = model().complete(text, &options).unwrap();
    let body = json!({"prompt": text, "max_tokens": 8, "logprobs": 0});
    let value = server.post("/v1/completions", &body).ok();
    assert_eq!(value["object"], "text_completion");
    assert_eq!(value["choices"][0]["text"], more.text.as_str());
    let probabilities = value["choices"][0]["logprobs"]["token_logprobs"]
        .as_array()
        .unwrap();
    assert_eq!(probabilities.len(), more.tokens.len());
    let both = json!({"prompt": [text, "Allergies:"], "max_tokens": 8});
    let value = server.post("/v1/completions", &both).ok();
    assert_eq!(value["choices"][0]["text"], more.text.as_str());
    assert_eq!(value["choices"][1]["index"], 1);
    let body = json!({"prompt": text, "max_tokens": 8, "stream": true});
    let events = server.post("/v1/completions", &body).events();
    let pieces = events
        .iter()
        .filter_map(|event| event["choices"][0]["text"].as_str());
    assert_eq!(pieces.collect::<String>(), more.text);
}

#[test]
fn the_likeliest_tokens_are_told_as_openai_does() {
    let server = Running::new(ServeOptions::new());
    let generation = Generation::greedy().with_top_log_probs(3);
    let options = AnswerOptions::new().with_generation(generation.clone());
    let answer = model().answer_with(NOTE, QUESTION, &options).unwrap();
    let told = with(chat(), "logprobs", json!(true));
    let body = with(told.clone(), "top_logprobs", json!(3));
    let whole = server.post("/v1/chat/completions", &body).ok();
    let events = server
        .post(
            "/v1/chat/completions",
            &with(body.clone(), "stream", json!(true)),
        )
        .events();
    let of_stream = &events.last().unwrap()["choices"][0]["logprobs"];
    let near = |value: &Value, expected: f32| {
        let got = value.as_f64().unwrap();
        assert!((got - f64::from(expected)).abs() < 1e-3, "{got} {expected}");
    };
    for log_probs in [&whole["choices"][0]["logprobs"], of_stream] {
        let content = log_probs["content"].as_array().unwrap();
        assert_eq!(content.len(), answer.tokens.len());
        for (token, expected) in content.iter().zip(&answer.tokens) {
            let top = token["top_logprobs"].as_array().unwrap();
            assert_eq!(top.len(), 3);
            // Greedy: the first is the chosen one.
            assert_eq!(top[0]["token"], token["token"]);
            assert_eq!(top[0]["bytes"], token["bytes"]);
            for (likely, expected) in top.iter().zip(&expected.top) {
                near(&likely["logprob"], expected.log_prob);
                let text = likely["token"].as_str().unwrap();
                match likely["bytes"].as_array() {
                    Some(bytes) => {
                        assert!(bytes.iter().eq(text.bytes().collect::<Vec<_>>().iter()));
                    }
                    None => assert_eq!(text, expected.name),
                }
            }
        }
    }
    // None of them, and none without log-probabilities.
    for body in [
        with(told, "top_logprobs", json!(0)),
        with(chat(), "top_logprobs", json!(0)),
    ] {
        let value = server.post("/v1/chat/completions", &body).ok();
        let content = &value["choices"][0]["logprobs"]["content"];
        assert!(content.is_null() || content[0]["top_logprobs"] == json!([]));
    }
    // A sampled token stands beside the likeliest.
    let sampled = with(with(body, "temperature", json!(1.8)), "seed", json!(4));
    let value = server.post("/v1/chat/completions", &sampled).ok();
    let content = &value["choices"][0]["logprobs"]["content"];
    for token in content.as_array().unwrap() {
        let first = token["top_logprobs"][0]["logprob"].as_f64().unwrap();
        assert!(first >= token["logprob"].as_f64().unwrap() - 1e-6);
    }

    let text = "Discharge Diagnosis:";
    let options = AnswerOptions::new().with_generation(generation.with_max_new_tokens(8));
    let more = model().complete(text, &options).unwrap();
    let body = json!({"prompt": text, "max_tokens": 8, "logprobs": 3});
    let whole = server.post("/v1/completions", &body).ok();
    let streamed = with(body.clone(), "stream", json!(true));
    let events = server.post("/v1/completions", &streamed).events();
    for log_probs in [
        &whole["choices"][0]["logprobs"],
        &events.last().unwrap()["choices"][0]["logprobs"],
    ] {
        let top = log_probs["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), more.tokens.len());
        for (top, token) in top.iter().zip(&more.tokens) {
            let top = top.as_object().unwrap();
            assert!((1..=4).contains(&top.len()));
            near(&top[&token.text], token.log_prob);
            let most = top.values().map(|value| value.as_f64().unwrap());
            near(
                &json!(most.fold(f64::NEG_INFINITY, f64::max)),
                token.top[0].log_prob,
            );
        }
        let offsets = log_probs["text_offset"].as_array().unwrap();
        assert_eq!(offsets.len(), more.tokens.len());
    }
    for value in [json!(6), json!(-1), json!(true)] {
        let reply = server.post("/v1/completions", &with(body.clone(), "logprobs", value));
        assert_eq!(reply.json()["error"]["param"], "logprobs");
        assert_eq!(reply.fails(400), "invalid_parameter");
    }
}

#[test]
fn vectors_are_the_librarys() {
    let server = Running::new(ServeOptions::new());
    let texts = ["chest pain", "no fever"];
    let body = json!({"input": texts, "model": "demonstration-bert"});
    let value = server.post("/v1/embeddings", &body).ok();
    let expected = common::bert().embed(&texts, None);
    for (index, vector) in expected.into_iter().enumerate() {
        let data = &value["data"][index];
        assert_eq!(data["index"], index);
        let got: Vec<f32> = serde_json::from_value(data["embedding"].clone()).unwrap();
        let vector = vector.unwrap();
        assert_eq!(got.len(), vector.len());
        assert!(got.iter().zip(&vector).all(|(a, b)| (a - b).abs() < 1e-4));
    }
    assert!(value["usage"]["prompt_tokens"].as_u64().unwrap() > 3);
    let body = json!({"input": "chest pain", "encoding_format": "base64"});
    let value = server.post("/v1/embeddings", &body).ok();
    assert!(value["data"][0]["embedding"].as_str().unwrap().len() > 40);
    let body = json!({"input": [[1, 2]]});
    assert_eq!(
        server.post("/v1/embeddings", &body).fails(400),
        "invalid_parameter"
    );
    let names = server.get("/v1/models").ok();
    assert_eq!(names["data"][0]["id"], "demonstration");
    assert_eq!(names["data"][1]["id"], "demonstration-bert");
}

#[test]
fn what_would_change_an_answer_is_never_ignored() {
    let limits = Limits {
        new_tokens: 50,
        ..Limits::default()
    };
    let server = Running::new(ServeOptions::new().with_limits(limits));
    let fails = |name: &str, value: Value| {
        let reply = server.post("/v1/chat/completions", &with(chat(), name, value));
        assert_eq!(reply.json()["error"]["param"], name, "{}", reply.text);
        reply.fails(400)
    };
    for (name, value) in [
        ("temperature", json!(3)),
        ("temperature", json!("hot")),
        ("top_p", json!(-1)),
        ("n", json!(0)),
        ("n", json!(100)),
        ("seed", json!("x")),
        ("stop", json!([""])),
        ("stop", json!([1])),
        ("max_tokens", json!(51)),
        ("max_tokens", json!(0)),
        ("top_logprobs", json!(3)),
        ("top_logprobs", json!(21)),
        ("top_logprobs", json!(-1)),
        ("top_logprobs", json!("2")),
        ("logprobs", json!(2)),
        ("frequency_penalty", json!(0.5)),
        ("tools", json!([{"type": "function"}])),
        ("logit_bias", json!({"x": 1})),
        ("response_format", json!({"type": "xml"})),
        ("messages", json!([])),
        ("messages", json!([{"role": "user", "content": "only one"}])),
        ("messages", json!([{"role": "tool", "content": "x"}])),
        (
            "messages",
            json!([{"role": "user", "content": [{"type": "image_url"}]}]),
        ),
    ] {
        assert_eq!(fails(name, value), "invalid_parameter", "{name}");
    }
    assert_eq!(fails("mirostat", json!(2)), "unknown_parameter");
    let reply = server.post("/v1/chat/completions", &with(chat(), "model", json!("gpt")));
    assert_eq!(reply.fails(404), "model_not_found");
    for (name, value) in [
        ("user", json!("ward 7")),
        ("frequency_penalty", json!(0)),
        ("tools", json!([])),
        ("temperature", Value::Null),
    ] {
        let value = with(with(chat(), name, value), "max_tokens", json!(1));
        server.post("/v1/chat/completions", &value).ok();
    }
    if !cfg!(feature = "grammar") {
        let format = json!({"type": "json_object"});
        assert_eq!(fails("response_format", format), "invalid_parameter");
    }
    let long = "word ".repeat(4000);
    let mut body = chat();
    body["messages"][0]["content"] = json!(long);
    let reply = server.post("/v1/chat/completions", &body);
    assert_eq!(reply.fails(400), "context_length_exceeded");
    // The same in a stream: an error that is known at once is no stream.
    let reply = server.post("/v1/chat/completions", &with(body, "stream", json!(true)));
    assert_eq!(reply.fails(400), "context_length_exceeded");
}

#[cfg(feature = "grammar")]
#[test]
fn answers_follow_a_schema() {
    let server = Running::new(ServeOptions::new());
    let schema = json!({"type": "object", "required": ["sex"], "additionalProperties": false,
        "properties": {"sex": {"enum": ["male", "female"]}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let value = server
        .post(
            "/v1/chat/completions",
            &with(chat(), "response_format", format),
        )
        .ok();
    let text = value["choices"][0]["message"]["content"].as_str().unwrap();
    let got: Value = serde_json::from_str(text).unwrap();
    assert!(
        ["male", "female"].contains(&got["sex"].as_str().unwrap()),
        "{got}"
    );
    let body = json!({"note": NOTE, "instruction": "Which sex has the patient?", "schema": schema});
    let value = server.post("/v1/extract", &body).ok();
    assert_eq!(value["complete"], true);
    assert!(value["value"]["sex"].is_string());
    let body = with(body, "schema", json!({"type": "nonsense"}));
    assert_eq!(
        server.post("/v1/extract", &body).fails(400),
        "invalid_parameter"
    );
}
