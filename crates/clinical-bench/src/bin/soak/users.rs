//! The users: each does one kind of thing until it is over.

use std::io::{ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clinical_bench::http::{Client, Events, Reply, request};
use serde_json::{Value, json};

use crate::bad;
use crate::expected::{Case, LENGTH};
use crate::shared::{Chance, Shared};

type User = fn(&Shared, u64) -> Result<()>;

/// All of them, with names.
pub fn all() -> Vec<(&'static str, User)> {
    let all: [(&'static str, User); 15] = [
        ("asks", asks),
        ("asks", asks),
        ("asks", asks),
        ("chats", chats),
        ("chats", chats),
        ("goes on with texts", completes),
        ("reads texts", texts),
        ("leaves", leaves),
        ("leaves", leaves),
        ("sends what is bad", bad_requests),
        ("reads slowly", reads_slowly),
        ("never reads", never_reads),
        ("sends slowly", sends_slowly),
        ("stops sending", stops_sending),
        ("asks for health", health),
    ];
    all.into()
}

/// The answer, unless the server is busy, for which it waits as it is told.
fn unless_busy(shared: &Shared, reply: std::io::Result<Reply>) -> Result<Option<Reply>> {
    let reply = reply?;
    if reply.status == 429 {
        Shared::count(&shared.refused);
        shared.wait(Duration::from_secs(reply.retry_after.unwrap_or(1)));
        return Ok(None);
    }
    Ok(Some(reply))
}

/// A stream of events, read whole.
fn events(client: &mut Client, path: &str, body: &Value) -> std::io::Result<(Reply, Vec<Value>)> {
    let (mut events, mut all) = (Events::default(), Vec::new());
    let reply = client.stream("POST", path, &body.to_string(), |piece| {
        let new = events.push(piece).into_iter();
        all.extend(new.filter_map(|data| serde_json::from_str(&data).ok()));
        ControlFlow::Continue(())
    })?;
    Ok((reply, all))
}

/// Several questions about a note, whole or in a stream.
fn asks(shared: &Shared, seed: u64) -> Result<()> {
    let (mut client, mut chance) = (shared.client(), Chance::new(seed));
    while shared.goes_on() {
        let Some(case) = chance.pick(&shared.expected.cases) else {
            break;
        };
        let count = 1 + chance.below(case.pairs.len() as u64) as usize;
        let pairs = &case.pairs[..count];
        let questions: Vec<&str> = pairs.iter().map(|(question, _)| &**question).collect();
        let evidence = chance.one_in(5);
        let mut body = json!({"note": case.note, "questions": questions, "evidence": evidence});
        let mut got = vec![String::new(); count];
        if chance.one_in(2) {
            body["stream"] = json!(true);
            let (reply, all) = events(&mut client, "/v1/ask", &body)?;
            if unless_busy(shared, Ok(reply))?.is_none() {
                continue;
            }
            for event in all.iter().filter(|event| event["type"] == "piece") {
                let at = event["question"].as_u64().unwrap_or(0) as usize;
                if let Some(text) = got.get_mut(at) {
                    text.push_str(event["text"].as_str().unwrap_or_default());
                }
            }
        } else {
            let reply = client.post("/v1/ask", &body.to_string());
            let Some(reply) = unless_busy(shared, reply)? else {
                continue;
            };
            let value = reply.json();
            for (at, text) in got.iter_mut().enumerate() {
                let answer = &value["answers"][at]["answer"]["text"];
                answer.as_str().unwrap_or_default().clone_into(text);
            }
        }
        for ((question, expected), got) in pairs.iter().zip(&got) {
            shared.judge(got == expected, || {
                format!("asked {question:?}: {got:?} for {expected:?}")
            });
        }
        shared.think(&mut chance);
    }
    Ok(())
}

fn messages(case: &Case, question: &str) -> Value {
    json!([{"role": "system", "content": case.note}, {"role": "user", "content": question}])
}

/// As OpenAI's clients ask: the likeliest tokens, or sampled ones with a seed.
fn chats(shared: &Shared, seed: u64) -> Result<()> {
    let (mut client, mut chance) = (shared.client(), Chance::new(seed));
    while shared.goes_on() {
        let Some(case) = chance.pick(&shared.expected.cases) else {
            break;
        };
        let Some((question, answer)) = chance.pick(&case.pairs) else {
            break;
        };
        let mut body = json!({"messages": messages(case, question)});
        let mut expected = answer;
        if chance.one_in(3) {
            let (seed, sampled) = &case.sampled;
            body = json!({"temperature": 0.7, "seed": seed, "max_tokens": LENGTH});
            let first = case.pairs.first().map_or("", |(question, _)| question);
            body["messages"] = messages(case, first);
            expected = sampled;
        }
        if chance.one_in(4) {
            body["logprobs"] = json!(true);
            body["top_logprobs"] = json!(5);
        }
        let got = if chance.one_in(2) {
            body["stream"] = json!(true);
            let (reply, all) = events(&mut client, "/v1/chat/completions", &body)?;
            if unless_busy(shared, Ok(reply))?.is_none() {
                continue;
            }
            let pieces = all
                .iter()
                .filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
            pieces.collect::<String>()
        } else {
            let reply = client.post("/v1/chat/completions", &body.to_string());
            let Some(reply) = unless_busy(shared, reply)? else {
                continue;
            };
            let value = reply.json();
            let text = value["choices"][0]["message"]["content"].as_str();
            text.unwrap_or_default().to_owned()
        };
        shared.judge(got == *expected, || {
            format!("a chat: {got:?} for {expected:?}")
        });
        shared.think(&mut chance);
    }
    Ok(())
}

/// Texts that are gone on with.
fn completes(shared: &Shared, seed: u64) -> Result<()> {
    let (mut client, mut chance) = (shared.client(), Chance::new(seed));
    while shared.goes_on() {
        let Some((text, more)) = chance.pick(&shared.expected.texts) else {
            break;
        };
        let body = json!({"prompt": text, "max_tokens": LENGTH, "logprobs": 3});
        let reply = client.post("/v1/completions", &body.to_string());
        if let Some(reply) = unless_busy(shared, reply)? {
            let got = &reply.json()["choices"][0]["text"];
            shared.judge(got == more, || format!("a text: {got} for {more:?}"));
        }
        shared.think(&mut chance);
    }
    Ok(())
}

/// Vectors, labels and de-identified notes.
fn texts(shared: &Shared, seed: u64) -> Result<()> {
    let (mut client, mut chance) = (shared.client(), Chance::new(seed));
    while shared.goes_on() {
        let Some(case) = chance.pick(&shared.expected.cases) else {
            break;
        };
        let [tags, clean] = &case.texts;
        match chance.below(3) {
            0 => {
                let question = case.pairs.first().map_or("", |(question, _)| question);
                let body = json!({"input": [question, "chest pain"]});
                let reply = client.post("/v1/embeddings", &body.to_string());
                if let Some(reply) = unless_busy(shared, reply)? {
                    let vector = &reply.json()["data"][0]["embedding"];
                    shared.judge(case.is_vector(vector), || "another vector".to_owned());
                }
            }
            which => {
                let (path, expected) = match which {
                    1 => ("/v1/tag", tags),
                    _ => ("/v1/deid", clean),
                };
                let body = json!({"note": case.note});
                let reply = client.post(path, &body.to_string());
                if let Some(reply) = unless_busy(shared, reply)? {
                    let got = without_scores(reply.json());
                    let expected = without_scores(expected.clone());
                    shared.judge(got == expected, || format!("another answer of {path}"));
                }
            }
        }
        shared.think(&mut chance);
    }
    Ok(())
}

/// Scores are rounded as the batch has it, and each request has an id.
fn without_scores(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.retain(|name, _| !["id", "score", "scores"].contains(&name.as_str()));
            map.values_mut()
                .for_each(|value| *value = without_scores(value.take()));
        }
        Value::Array(all) => all
            .iter_mut()
            .for_each(|value| *value = without_scores(value.take())),
        _ => {}
    }
    value
}

/// Something that takes long, and is left in the middle: while it waits, is read, or is written.
fn leaves(shared: &Shared, seed: u64) -> Result<()> {
    let mut chance = Chance::new(seed);
    while shared.goes_on() {
        let Some(case) = chance.pick(&shared.expected.cases) else {
            break;
        };
        let question = case.pairs.first().map_or("", |(question, _)| question);
        let mut body = match chance.below(3) {
            0 => {
                json!({"note": case.note, "questions": vec![question; 16], "temperature": 1.9, "max_tokens": 300})
            }
            1 => {
                let note = format!("{}\n", case.note).repeat(40);
                json!({"note": note, "question": question, "long_note": "windows"})
            }
            _ => {
                json!({"note": case.note, "question": question, "temperature": 1.9, "max_tokens": 400})
            }
        };
        body["stream"] = json!(chance.one_in(2));
        let text = request("POST", "/v1/ask", &[], &body.to_string());
        let mut stream = shared.client().raw(text.as_bytes())?;
        stream.set_read_timeout(Some(Duration::from_millis(1 + chance.below(1500))))?;
        let mut left = chance.below(8);
        let mut bytes = [0; 512];
        while left > 0 && stream.read(&mut bytes).is_ok_and(|count| count > 0) {
            left -= 1;
        }
        drop(stream);
        Shared::count(&shared.left);
        shared.think(&mut chance);
    }
    Ok(())
}

/// What must be refused.
fn bad_requests(shared: &Shared, seed: u64) -> Result<()> {
    let (client, mut chance) = (shared.client(), Chance::new(seed));
    let all = bad::all();
    while shared.goes_on() {
        let Some(bad) = chance.pick(&all) else {
            break;
        };
        let reply = client
            .raw(bad.request.as_bytes())
            .and_then(|stream| client.answer(stream));
        match reply {
            Ok(reply) if reply.status == bad.status => Shared::count(&shared.refused),
            Ok(reply) => {
                let head: String = bad.request.chars().take(300).collect();
                shared.wrong(format!("{} for {} to {head:?}", reply.status, bad.status));
            }
            // The server closes while more of it comes, which may cost its answer.
            Err(error) if [413, 431].contains(&bad.status) && was_closed(error.kind()) => {
                Shared::count(&shared.left);
            }
            Err(error) => return Err(error.into()),
        }
        shared.think(&mut chance);
    }
    Ok(())
}

fn was_closed(kind: ErrorKind) -> bool {
    [
        ErrorKind::BrokenPipe,
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionAborted,
        ErrorKind::UnexpectedEof,
    ]
    .contains(&kind)
}

/// A stream that is read a few bytes at a time, and is the same at the end.
fn reads_slowly(shared: &Shared, seed: u64) -> Result<()> {
    let mut chance = Chance::new(seed);
    while shared.goes_on() {
        let Some(case) = chance.pick(&shared.expected.cases) else {
            break;
        };
        let Some((question, expected)) = case.pairs.first() else {
            break;
        };
        let body = json!({"messages": messages(case, question), "stream": true}).to_string();
        let headers = [("Connection", "close")];
        let text = request("POST", "/v1/chat/completions", &headers, &body);
        let mut stream = shared.client().raw(text.as_bytes())?;
        let (mut all, mut bytes) = (Vec::new(), [0; 96]);
        loop {
            let count = stream.read(&mut bytes)?;
            all.extend_from_slice(&bytes[..count]);
            // At the end nobody waits for slow readers.
            if count == 0 || (shared.goes_on() && !shared.wait(Duration::from_millis(20))) {
                break;
            }
        }
        if !shared.goes_on() {
            break;
        }
        let got = Events::default()
            .push(&without_chunks(&all))
            .into_iter()
            .filter_map(|data| serde_json::from_str::<Value>(&data).ok())
            .filter_map(|event| {
                let text = event["choices"][0]["delta"]["content"].as_str();
                text.map(ToOwned::to_owned)
            })
            .collect::<String>();
        shared.judge(got == *expected, || {
            format!("read slowly: {got:?} for {expected:?}")
        });
    }
    Ok(())
}

/// Lines of chunk sizes stand alone, and are no events.
fn without_chunks(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter(|line| line.starts_with("data:"));
    lines
        .flat_map(|line| format!("{line}\n").into_bytes())
        .collect()
}

/// A client that takes nothing, and goes.
fn never_reads(shared: &Shared, seed: u64) -> Result<()> {
    let mut chance = Chance::new(seed);
    while shared.goes_on() {
        let Some(case) = chance.pick(&shared.expected.cases) else {
            break;
        };
        let question = case.pairs.first().map_or("", |(question, _)| question);
        let body = json!({"note": case.note, "questions": vec![question; 8], "stream": true});
        let text = request("POST", "/v1/ask", &[], &body.to_string());
        let stream = shared.client().raw(text.as_bytes())?;
        shared.wait(Duration::from_millis(chance.below(10_000)));
        drop(stream);
        Shared::count(&shared.left);
    }
    Ok(())
}

/// A request that comes a few bytes at a time, and is answered.
fn sends_slowly(shared: &Shared, seed: u64) -> Result<()> {
    let (client, mut chance) = (shared.client(), Chance::new(seed));
    while shared.goes_on() {
        let Some(case) = chance.pick(&shared.expected.cases) else {
            break;
        };
        let Some((question, expected)) = case.pairs.first() else {
            break;
        };
        let body = json!({"note": case.note, "question": question}).to_string();
        let text = request("POST", "/v1/ask", &[("Connection", "close")], &body);
        let mut stream = client.raw(b"")?;
        for piece in text.as_bytes().chunks(text.len() / 40 + 1) {
            stream.write_all(piece)?;
            thread::sleep(Duration::from_millis(50));
        }
        let got = client.answer(stream)?.json();
        let got = &got["answers"][0]["answer"]["text"];
        shared.judge(got == expected, || {
            format!("sent slowly: {got} for {expected:?}")
        });
    }
    Ok(())
}

/// A request that stops in its head or its body: the server ends it.
fn stops_sending(shared: &Shared, seed: u64) -> Result<()> {
    let (client, mut chance) = (shared.client(), Chance::new(seed));
    while shared.goes_on() {
        let body = json!({"note": "x".repeat(1000), "question": "x"}).to_string();
        let text = request("POST", "/v1/ask", &[], &body);
        let cut = chance.below(text.len() as u64) as usize;
        let mut stream = client.raw(&text.as_bytes()[..cut])?;
        // The limits `header_time` and `body_time` are shorter.
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        let (start, mut bytes) = (Instant::now(), [0; 512]);
        let ended = loop {
            match stream.read(&mut bytes) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) if was_closed(error.kind()) => break true,
                Err(_) if !shared.goes_on() => return Ok(()),
                Err(_) if start.elapsed() > Duration::from_secs(120) => break false,
                Err(_) => {}
            }
        };
        match ended {
            true => Shared::count(&shared.left),
            false => shared.wrong("a client that stopped sending is still there".to_owned()),
        }
    }
    Ok(())
}

/// `/health`, again and again.
fn health(shared: &Shared, _seed: u64) -> Result<()> {
    let mut client = shared.client();
    while shared.wait(Duration::from_millis(100)) {
        let start = Instant::now();
        let reply = client.get("/health")?;
        shared.health_took(start.elapsed());
        if reply.status != 200 {
            shared.wrong(format!("/health: {}", reply.status));
        }
    }
    Ok(())
}
