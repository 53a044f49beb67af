//! The fuzz targets on stable Rust: each gets changed good inputs for some seconds, 140 in all, which are more than 60
//! by the clock on two cores.
//!
//! `CLINICAL_FUZZ_SECONDS` (for each target) and `CLINICAL_FUZZ_SEED` choose otherwise. The seed is printed with a
//! failure, and the input is kept.

#[path = "files/mod.rs"]
mod files;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use files::memory::{Counting, measure};
use files::state::State;
use files::torch::{self, Style};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SECONDS: f64 = 7.0;
const SEED: u64 = 20_230_221;
/// What one small input may take: tokenizers keep tables of some megabytes.
const MOST_BYTES: usize = 64 << 20;
const MOST_TIME: Duration = Duration::from_secs(5);

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    let value = std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok());
    value.unwrap_or(default)
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..(start + 1 + self.below(24)).min(length).max(start)
    }
}

/// Numbers at which sizes go wrong.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    i64::MAX as u64,
    u64::MAX,
];
const TEXTS: [&str; 14] = [
    "-1",
    "0",
    "1e400",
    "18446744073709551616",
    "null",
    "[]",
    "{}",
    "\"\"",
    "true",
    "../x",
    "\\u0000",
    "\"",
    "\r\n",
    "[[[[",
];

/// One change: of a byte, a number, a stretch, or by a stretch of another input.
fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(9) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
        2 => {
            let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
            let width = [1, 2, 4, 8][random.below(4)];
            let end = (at + width).min(bytes.len());
            bytes.splice(at.min(end)..end, number[..width].iter().copied());
        }
        3 => {
            let range = random.range(bytes.len());
            bytes.drain(range);
        }
        4 => {
            let range = random.range(bytes.len());
            let copy = bytes[range].to_vec();
            bytes.splice(
                at..at,
                copy.iter()
                    .copied()
                    .cycle()
                    .take(copy.len() * (1 + random.below(4))),
            );
        }
        5 => {
            let copy = other[random.range(other.len())].to_vec();
            bytes.splice(at..at, copy);
        }
        6 => {
            let text = TEXTS[random.below(TEXTS.len())].bytes();
            let range = random.range(bytes.len());
            bytes.splice(range, text);
        }
        7 => {
            // A number in text becomes another.
            let digits = bytes[at.min(bytes.len())..]
                .iter()
                .position(u8::is_ascii_digit);
            if let Some(start) = digits.map(|digits| at + digits) {
                let count = bytes[start..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_digit())
                    .count();
                let number = NUMBERS[random.below(NUMBERS.len())].to_string();
                bytes.splice(start..start + count, number.bytes());
            }
        }
        _ => bytes.truncate(at),
    }
}

fn fuzz(name: &str, target: fn(&[u8]), seeds: &[Vec<u8>]) {
    let seed: u64 = setting("CLINICAL_FUZZ_SEED", SEED);
    let limit = Duration::from_secs_f64(setting("CLINICAL_FUZZ_SECONDS", SECONDS));
    let mut random = Random(seed | 1);
    let start = Instant::now();
    let mut runs = 0u64;
    while runs < 64 || start.elapsed() < limit {
        let mut input = seeds[random.below(seeds.len())].clone();
        let other = &seeds[random.below(seeds.len())];
        // The first runs are the seeds themselves.
        if runs >= seeds.len() as u64 {
            for _ in 0..=random.below(6) {
                change(&mut input, other, &mut random);
            }
        } else {
            input.clone_from(&seeds[runs as usize]);
        }
        let (result, cost) = measure(|| catch_unwind(|| target(&input)));
        if result.is_err() || cost.bytes > MOST_BYTES || cost.time > MOST_TIME {
            let path = std::env::temp_dir().join(format!("clinical-fuzz-{name}-{seed}-{runs}"));
            std::fs::write(&path, &input).unwrap();
            let what = if result.is_err() {
                "panicked"
            } else {
                "took too much"
            };
            panic!(
                "{name} {what} in run {runs} of seed {seed} ({cost:?}); the input is {}",
                path.display()
            );
        }
        runs += 1;
    }
    println!(
        "{name}: {runs} inputs from seed {seed} in {:?}",
        start.elapsed()
    );
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn state() -> State {
    let mut state = State::default();
    state.draw("shared.weight", &[5, 3]);
    state.share("lm_head.weight", "shared.weight");
    state.fill("encoder.final_layer_norm.weight", &[3], 1.0);
    state
}

#[test]
fn index() {
    let json = serde_json::json!({"metadata": {"total_size": 12}, "weight_map": {
        "a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}});
    let real =
        read("crates/clinical-weights/tests/data/safetensors_sharded/model.safetensors.index.json");
    fuzz("index", targets::index, &[json.to_string().into(), real]);
}

#[test]
fn config() {
    fuzz(
        "config",
        targets::config,
        &[
            read("crates/asclepius/demo/config.json"),
            read("crates/clinical-t5/demo/config.json"),
            read("crates/clinical-bert/tests/data/bert_token/config.json"),
            read("crates/clinical-bert/tests/data/roberta_facade/config.json"),
            read("crates/clinical-llama/tests/data/llama3/config.json"),
            read("crates/clinical-llama/tests/data/mistral_window/config.json"),
        ],
    );
}

#[test]
fn sentencepiece() {
    let models = [
        "t5.model",
        "llama.model",
        "odd_bpe.model",
        "odd_unigram.model",
    ];
    let seeds = models.map(|name| {
        read(&format!(
            "crates/clinical-tokenizer/tests/data/models/{name}"
        ))
    });
    fuzz("sentencepiece", targets::sentencepiece, &seeds);
}

#[test]
fn tokenizer_json() {
    let models = ["fast_t5", "fast_bpe", "fast_llama", "fast_bert", "bare_t5"];
    let seeds = models.map(|name| {
        read(&format!(
            "crates/clinical-tokenizer/tests/data/models/{name}/tokenizer.json"
        ))
    });
    fuzz("tokenizer_json", targets::tokenizer_json, &seeds);
}

#[test]
fn vocabulary() {
    let words = read("crates/clinical-bert/tests/data/bert_token/vocab.txt");
    let parts = |config: &str, map: &str, added: &str| {
        [
            words.as_slice(),
            config.as_bytes(),
            map.as_bytes(),
            added.as_bytes(),
        ]
        .join(&0)
    };
    fuzz(
        "vocabulary",
        targets::vocabulary,
        &[
            words.clone(),
            parts(
                r#"{"do_lower_case": false, "model_max_length": 512}"#,
                r#"{"unk_token": "[UNK]"}"#,
                r#"{"[Name]": 67}"#,
            ),
            parts(
                r#"{"tokenizer_class": "BertTokenizer", "pad_token": {"content": "[PAD]", "lstrip": false, "rstrip": false,
            "single_word": false, "normalized": true}}"#,
                r#"{"additional_special_tokens": ["[A]", "[B]"]}"#,
                "{}",
            ),
        ],
    );
}

#[test]
fn safetensors() {
    let real = read("crates/clinical-weights/tests/data/safetensors_f16/model.safetensors");
    fuzz(
        "safetensors",
        targets::safetensors,
        &[state().safetensors(), real],
    );
}

#[test]
fn gguf() {
    let seeds = [
        read("crates/clinical-weights/tests/data/gguf/types.gguf"),
        read("crates/clinical-llama/tests/data/gguf/llama3_8.gguf"),
        read("crates/clinical-bert/tests/data/gguf/bert.gguf"),
        read("crates/asclepius/tests/data/gguf/byte_level.gguf"),
    ];
    fuzz("gguf", targets::gguf, &seeds);
}

#[test]
fn flax() {
    let seeds = [read(
        "crates/clinical-t5/tests/data/flax_v1_1/flax_model.msgpack",
    )];
    fuzz("flax", targets::flax, &seeds);
}

#[test]
fn pickle() {
    let seeds =
        [Style::Plain, Style::Fsdp, Style::Legacy].map(|style| torch::pickle(&state(), style));
    fuzz("pickle", targets::pickle, &seeds);
}

#[test]
fn torch_zip() {
    let data = "crates/clinical-weights/tests/data";
    fuzz(
        "torch_zip",
        targets::torch_zip,
        &[
            torch::zip(&state(), "archive", Style::Plain),
            torch::zip(&state(), "archive", Style::Fsdp),
            read(&format!("{data}/bin_views/pytorch_model.bin")),
        ],
    );
}

#[test]
fn torch_legacy() {
    let whole = torch::legacy(&state());
    let real = read("crates/clinical-weights/tests/data/bin_legacy/pytorch_model.bin");
    // The target puts the magic number and the version in front.
    fuzz(
        "torch_legacy",
        targets::torch_legacy,
        &[whole[21..].to_vec(), real[21..].to_vec()],
    );
}

const NOTES: &str = "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,DESCRIPTION,CGID,ISERROR,TEXT\n\
    1,10,20.0,2151-07-16,2151-07-16 10:00:00,,Nursing,Report,5,,\"seen by [**First Name 12**]\n\"\"ok\"\"\"\n\
    2,11,,2151-07-17,,,Discharge summary,Report,,1,at [**Hospital 1**]\n";
const NOTES_IV: &str = "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n\
    10-DS-1,10,20,DS,1,2151-07-16 10:00:00,2151-07-16 11:00:00,\"Name: ___\nUnit No: ___\"\n";

#[test]
fn notes_csv() {
    fuzz(
        "notes_csv",
        targets::notes_csv,
        &[NOTES.into(), NOTES_IV.into()],
    );
}

#[test]
fn deid_csv() {
    fuzz(
        "deid_csv",
        targets::deid_csv,
        &[NOTES.into(), NOTES_IV.into()],
    );
}

#[test]
fn records_csv() {
    let seeds: Vec<Vec<u8>> = (0..72)
        .map(|choice| [&[choice][..], NOTES.as_bytes()].concat())
        .collect();
    fuzz("records_csv", targets::records_csv, &seeds);
}

#[test]
fn annotations_csv() {
    let file =
        "note_id,entity_type,start,end\n10-DS-1,NAME,6,9\n10-DS-1,ID,19,22\n11-DS-2,\"DATE\",0,3\n";
    fuzz("annotations_csv", targets::annotations_csv, &[file.into()]);
}

/// Texts with a NUL byte between the two parts of an input.
fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn chat() {
    let golden: serde_json::Value =
        serde_json::from_slice(&read("crates/clinical-chat/tests/data/golden.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    let sources = cases.iter().filter_map(|case| case["template"].as_str());
    let mut seeds: Vec<Vec<u8>> = sources
        .map(|source| format!("{source}\0 A note. \n").into_bytes())
        .collect();
    seeds.dedup();
    for name in ["empty-slice-panic", "messages-rest-reversed", "slow-1s"] {
        seeds.push(read(&format!(
            "crates/clinical-chat/tests/data/chat-{name}.bin"
        )));
    }
    fuzz("chat", targets::chat, &seeds);
}

const NOTE: &str = "Admission Date:  [**2151-7-16**]       Discharge Date: ___\n\nChief Complaint:\nSeen by Dr. [**Last \
    Name (STitle) 12**] at 8 a.m. 1. Fever. 2. Pain.\n\nHospital Course:\n- Mr. [**Known lastname 5**] was well.\r\n\n\
    Discharge Medications:\n1. Aspirin 81 mg p.o. q.d.\n2. [** **]\n";

#[test]
fn deid_text() {
    let odd = "[**Name [**Nested 1**]**] [**unclosed ___ __ [**2151**] é😀 [**Age over 90 **]";
    fuzz("deid_text", targets::deid_text, &texts(&[NOTE, odd]));
}

#[test]
fn note_text() {
    let odd = "A:\nA:\nB.C. d? E!f (1) x\u{301}\u{a0}\t é😀. . . . . . \r\r\n\n\n\n===\n";
    fuzz("note_text", targets::note_text, &texts(&[NOTE, odd]));
}

#[test]
fn prompts() {
    let seeds = [
        "Fever.\0Why was she admitted?",
        "[Discharge Summary Begin] a [Discharge Summary End]\0[Instruction Begin] b [Instruction End]",
        "entailment\0The patient has fever.",
        "Score: 4 8 5\nResult: 1) 4, 2) 3\0x",
        "appointment, lab\0Follow up with Dr. A in 2 weeks.",
    ];
    fuzz("prompts", targets::prompts, &texts(&seeds));
}

#[cfg(feature = "grammar")]
#[test]
fn grammar() {
    let seeds = [
        "\u{3}{\"type\": \"object\", \"properties\": {\"a\": {\"enum\": [\"x\", 12, null]}, \"b\": {\"type\": \"array\", \
         \"items\": {\"type\": \"integer\", \"minimum\": 3}}}, \"required\": [\"a\"], \"additionalProperties\": false}\0\u{1}\u{2}",
        "\u{3}{\"type\": \"string\", \"pattern\": \"^[a-c]{2,5}$\", \"maxLength\": 4}\0abc",
        "\u{1}(the|a+|[0-9]{1,3}) ?é*\0\u{5}\u{9}",
        "\u{2}start: word (\" \" word)*\nword: /[a-z]+/ | \"12\"\n\0xyz",
    ];
    fuzz("grammar", targets::grammar, &texts(&seeds));
}

#[test]
fn model() {
    let seeds = [
        (0, "crates/clinical-t5/tests/data/uneven/config.json"),
        (1, "crates/asclepius/demo/config.json"),
        (2, "crates/clinical-bert/tests/data/bert_token/config.json"),
    ];
    let seeds = seeds.map(|(kind, path)| [vec![kind], read(path)].concat());
    fuzz("model", targets::model, &seeds);
}
