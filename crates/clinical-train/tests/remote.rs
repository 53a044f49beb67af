//! A model on a device of a server, over loopback: `cargo test --release -p clinical-train --features remote --test
//! remote`.

use std::net::TcpListener;

use asclepius::{Asclepius, LoadOptions};
use burn::module::Module;
use burn::optim::AdamConfig;
use burn::server::{RemoteServer, TokenAuthorizer, WebSocketTransport};
use burn::tensor::Device;
use clinical_llama::{Llama, LlamaConfig};
use clinical_train::{DataParallel, Part, Reduction};

const TOKEN: &str = "a token of the test";

/// A server with two devices of this machine, which runs until the test ends.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        RemoteServer::new([clinical_kernels::cpu(), clinical_kernels::cpu()])
            .with_authorizer(TokenAuthorizer::new(TOKEN).unwrap())
            .serve(WebSocketTransport::from_listener(listener))
    });
    url
}

fn device(url: &str, index: usize) -> Device {
    clinical_kernels::remote(url, index, Some(TOKEN)).unwrap()
}

#[test]
fn an_answer_is_that_of_this_machine() {
    let url = server();
    let note = "Chief Complaint: chest pain.\nThe patient was admitted with chest pain and was given aspirin.";
    let question = "Why was the patient admitted?";
    let here = Asclepius::embedded().unwrap();
    let options = LoadOptions::new().with_device(device(&url, 0));
    let there = Asclepius::embedded_with(&options).unwrap();
    assert_eq!(
        there.answer(note, question).unwrap().text,
        here.answer(note, question).unwrap().text
    );
}

#[test]
fn two_devices_of_a_server_train_one_model() {
    let url = server();
    let config = r#"{"model_type": "llama", "vocab_size": 16, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 16, "rms_norm_eps": 1e-6}"#;
    let config = LlamaConfig::from_json(config).unwrap();
    let cpu = clinical_kernels::cpu().autodiff();
    let model: Llama = config.init(&cpu).unwrap();
    let train = |devices: &[Device]| -> Vec<f32> {
        let optimizer = AdamConfig::new().init();
        let mut replicas =
            DataParallel::new::<()>(model.clone(), optimizer, devices, Reduction::Gather).unwrap();
        let rows: [&[u32]; 2] = [&[3, 9, 4, 12], &[7, 5]];
        for _ in 0..3 {
            replicas
                .step(1e-2, |model: &Llama, at| {
                    let labels: Vec<i64> = rows[at].iter().map(|&id| id.into()).collect();
                    let loss = model.loss(&rows[at..=at], &[&labels])?;
                    Ok::<_, clinical_llama::Error>(Part {
                        loss: loss.mean,
                        targets: loss.targets as f64,
                    })
                })
                .unwrap();
        }
        let weight = replicas
            .into_model()
            .valid()
            .model
            .embed_tokens
            .weight
            .val();
        weight.into_data().iter().collect()
    };
    let here = train(&[cpu.clone(), cpu.clone()]);
    let there = train(&[device(&url, 0), device(&url, 1)]);
    let pairs = here.iter().zip(&there);
    let distance = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(distance < 1e-5, "{distance}");
}

#[test]
fn a_device_that_cannot_be_had_is_an_error() {
    let url = server();
    for (url, index, token) in [
        (url.as_str(), 2, TOKEN),
        (url.as_str(), 0, "another token"),
        ("ws://127.0.0.1:1", 0, TOKEN),
    ] {
        let error = clinical_kernels::remote(url, index, Some(token)).unwrap_err();
        assert!(matches!(error, clinical_kernels::Error::Remote { .. }));
        assert!(!error.to_string().contains(token), "{error}");
    }
}
