//! One function for each parser: any bytes give a result or an error, never a panic.
//!
//! The fuzz targets call them, and so does their twin on stable Rust (`tests/fuzz_twins.rs`).
#![allow(dead_code)] // each target uses one

use std::path::{Path, PathBuf};

use clinical_chat::{ChatTemplate, Conversation};
use clinical_deid::csv::{Annotations, Options};
use clinical_deid::{Answer, Normalized, Normalizer, UnknownTag};
use clinical_generate::Generation;
use clinical_notes::sections::{Mode, is_title, outline, split};
use clinical_notes::sentences::sentences;
use clinical_prompts::MarkerPolicy;
use clinical_tokenizer::{SentencePieceModel, SentencePieceOptions, Tokenizer};
use clinical_weights::{Checkpoint, CheckpointDir, Dtype, LoadOptions};

thread_local! {
    /// One folder for each thread, in memory where the system has such a place.
    static FOLDER: tempfile::TempDir = {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        tempfile::tempdir_in(place).expect("a temporary directory")
    };
}

/// A directory with these files alone.
fn directory(files: &[(&str, &[u8])]) -> PathBuf {
    let path = FOLDER.with(|folder| folder.path().to_owned());
    for entry in std::fs::read_dir(&path)
        .expect("the temporary directory")
        .flatten()
    {
        std::fs::remove_file(entry.path()).expect("a temporary file");
    }
    for (name, content) in files {
        std::fs::write(path.join(name), content).expect("a temporary file");
    }
    path
}

/// Values of one tensor that are read.
const MOST_BYTES: u64 = 1 << 20;

/// Everything that can be asked of a directory without a model, and the values of its tensors.
fn inspect(dir: &Path) {
    let inspection = clinical_open::inspect(dir, &LoadOptions::default());
    if let Err(error) = inspection.map(|inspection| inspection.to_string()) {
        let _ = error.to_string();
    }
    let Ok(weights) = CheckpointDir::open(dir).and_then(|dir| dir.weights()) else {
        return;
    };
    for tensor in weights.tensors().filter(|info| info.bytes <= MOST_BYTES) {
        let Ok(bytes) = weights.bytes(&tensor.name) else {
            continue;
        };
        assert_eq!(bytes.len() as u64, tensor.bytes, "all of a tensor");
        if let Dtype::Block(block) = tensor.dtype {
            let mut values = vec![0.0; tensor.elements() as usize];
            block.decode(&bytes, &mut values);
        }
    }
}

/// A tokenizer used in every way that depends on its file.
fn exercise(tokenizer: &Tokenizer) {
    for text in [
        "",
        "The patient  has fever.",
        "[Name] <extra_id_0></s>",
        "é😀\u{301}▁\0",
    ] {
        if let Ok(encoding) = tokenizer.encode(text, true) {
            let _ = tokenizer.decode(encoding.ids(), true);
        }
    }
    let _ = tokenizer.decode(&[0, 1, 2, 3, 999_999, u32::MAX], false);
    let _ = tokenizer.remarks(10);
}

/// `model.safetensors.index.json`.
pub fn index(data: &[u8]) {
    inspect(&directory(&[("model.safetensors.index.json", data)]));
    inspect(&directory(&[("pytorch_model.bin.index.json", data)]));
}

/// `config.json` of every architecture.
pub fn config(data: &[u8]) {
    let _ = clinical_t5::T5Config::from_json(data).map(|config| config.parameters());
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = clinical_llama::LlamaConfig::from_json(text).map(|config| config.parameters());
        let _ = clinical_bert::BertConfig::from_json(text).map(|config| config.parameters());
        let _ = clinical_gpt2::Gpt2Config::from_json(text).map(|config| config.parameters());
    }
    let dir = directory(&[("config.json", data)]);
    let _ = CheckpointDir::open(dir).and_then(|dir| dir.config());
}

/// A SentencePiece model: `tokenizer.model`, `spiece.model`.
pub fn sentencepiece(data: &[u8]) {
    if let Ok(model) = SentencePieceModel::from_bytes(data) {
        let options = SentencePieceOptions::for_model(&model);
        let again = SentencePieceModel::from_bytes(&model.to_bytes());
        assert!(again.is_ok(), "what is written can be read");
        if let Ok(tokenizer) = Tokenizer::from_sentencepiece(model, &options) {
            exercise(&tokenizer);
        }
    }
}

/// `tokenizer.json`.
pub fn tokenizer_json(data: &[u8]) {
    if let Ok(tokenizer) = Tokenizer::from_bytes(data, None) {
        exercise(&tokenizer);
    }
}

/// `vocab.txt`, and the small files beside it: the input is cut at its NUL bytes.
pub fn vocabulary(data: &[u8]) {
    let names = [
        "vocab.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    ];
    let parts = data.split(|byte| *byte == 0);
    let files: Vec<(&str, &[u8])> = names.into_iter().zip(parts).collect();
    let dir = directory(&files);
    if let Ok(tokenizer) = Tokenizer::from_dir(dir) {
        exercise(&tokenizer);
    }
}

/// `model.safetensors`.
pub fn safetensors(data: &[u8]) {
    if let Ok(checkpoint) = Checkpoint::from_bytes(data.to_vec()) {
        let values: u64 = checkpoint.tensors().map(|tensor| tensor.bytes).sum();
        assert!(values <= data.len() as u64, "no tensor beyond the file");
    }
    inspect(&directory(&[("model.safetensors", data)]));
}

/// A GGUF file: its metadata, its vocabulary, its tensors.
pub fn gguf(data: &[u8]) {
    let dir = directory(&[("model.gguf", data)]);
    if let Ok(dir) = CheckpointDir::open(&dir)
        && let Ok(Some(file)) = dir.gguf()
    {
        let _ = (file.config(), file.vocabulary().is_ok());
    }
    inspect(&dir);
}

/// `flax_model.msgpack`.
pub fn flax(data: &[u8]) {
    inspect(&directory(&[("flax_model.msgpack", data)]));
}

/// The pickle of a state dict, in a file of its own and inside a zip archive.
pub fn pickle(data: &[u8]) {
    inspect(&directory(&[("pytorch_model.bin", data)]));
    let archive = stored(&[("archive/data.pkl", data), ("archive/data/0", &[0; 16])]);
    inspect(&directory(&[("pytorch_model.bin", &archive)]));
}

/// A torch file of since 1.6, or whatever else is under its name.
pub fn torch_zip(data: &[u8]) {
    inspect(&directory(&[("pytorch_model.bin", data)]));
}

/// A torch file of before 1.6: what follows its magic number and version.
pub fn torch_legacy(data: &[u8]) {
    let start = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
    inspect(&directory(&[(
        "pytorch_model.bin",
        &[start, data].concat(),
    )]));
}

/// `NOTEEVENTS.csv` and `discharge.csv`.
pub fn notes_csv(data: &[u8]) {
    // The readers end at an error that cannot be skipped; the bound is for those that can.
    let most = data.len() + 2;
    if let Ok(notes) = clinical_notes::corpus::mimic_iii::Notes::new(data) {
        assert!(notes.take(most + 1).count() <= most);
    }
    if let Ok(notes) = clinical_notes::corpus::mimic_iv::Notes::new(data) {
        assert!(notes.take(most + 1).count() <= most);
    }
}

/// A CSV file of notes, converted.
pub fn deid_csv(data: &[u8]) {
    for normalizer in [Normalizer::mimic_iii(), Normalizer::mimic_iv()] {
        for column in ["TEXT", "text"] {
            let mut out = Vec::new();
            let _ = clinical_deid::csv::convert(
                data,
                &mut out,
                &normalizer,
                &Options::new(column),
                |_| (),
            );
        }
    }
}

/// A CSV file of any style: the first byte chooses its options.
pub fn records_csv(data: &[u8]) {
    use clinical_files::csv::{CsvOptions, Encoding, Quoting, Records, Separator, Step};
    let Some((&choice, file)) = data.split_first() else {
        return;
    };
    let encodings = [
        Encoding::Utf8,
        Encoding::Utf8Lossy,
        Encoding::Latin1,
        Encoding::Windows1252,
        Encoding::Utf16Le,
        Encoding::Utf16Be,
    ];
    let quoting = [Quoting::Doubled, Quoting::Backslash, Quoting::None];
    let choice = usize::from(choice);
    let options = CsvOptions::new()
        .with_separator(Separator::ALL[choice % 4])
        .with_quoting(quoting[choice / 4 % 3])
        .with_encoding(encodings[choice / 12 % 6]);
    let Ok(mut records) = Records::new(file, &options) else {
        return;
    };
    while let Ok(Step::Record | Step::BlankLine) = records.read() {
        let fields = records.fields();
        let texts = (0..fields).map(|index| records.text(index).map_or(0, |text| text.len()));
        assert!(
            texts.sum::<usize>() <= records.raw().len(),
            "no text beyond the record"
        );
    }
}

/// The annotation file of MIMIC-IV.
pub fn annotations_csv(data: &[u8]) {
    let _ = Annotations::read(data).map(|annotations| annotations.notes());
}

/// Two texts, cut at the first NUL byte.
fn two(data: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(data).ok()?;
    Some(text.split_once('\0').unwrap_or((text, "note")))
}

/// A chat template and, after a NUL byte, a message.
pub fn chat(data: &[u8]) {
    let Some((template, message)) = two(data) else {
        return;
    };
    let specials = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let conversation = Conversation::new().system("Be brief.").user(message);
    let rendered = ChatTemplate::new(template, specials);
    match rendered.and_then(|template| template.render(&conversation)) {
        Ok(text) => assert!(text.len() <= (32 << 20) + 128 * (message.len() + 200)),
        Err(clinical_chat::Error::Engine) => panic!("the engine panicked"),
        Err(error) => drop(error.to_string()),
    }
}

/// A note, normalized in every way; spans and ranges lie within both texts.
pub fn deid_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for base in [Normalizer::mimic_iii(), Normalizer::mimic_iv()] {
        for unknown in [UnknownTag::Error, UnknownTag::Keep, UnknownTag::Misc] {
            let normalizer = base.with_unknown(unknown);
            if let Ok(found) = normalizer.normalize(&text) {
                check_spans(&text, &found);
            }
            let types = ["NAME", "DATE", "odd", "AGE"];
            if let Ok(found) = normalizer.normalize_with_types(&text, &types) {
                check_spans(&text, &found);
            }
            let cut = data.first().map_or(0, |byte| usize::from(*byte));
            let cut = cut.min(text.len());
            if let Some(answer) = text.get(cut..(cut + 9).min(text.len())) {
                let starts = [text[..cut].chars().count(), cut];
                let answers = starts.map(|start| Answer {
                    text: answer,
                    start,
                });
                let _ = normalizer.normalize_with_answers(&text, &answers);
            }
        }
    }
}

fn check_spans(text: &str, found: &Normalized) {
    let (mut old, mut new) = (0, 0);
    for span in &found.spans {
        assert!(span.old.start >= old && span.new.start >= new, "in order");
        let _ = (&text[span.old.clone()], &found.text[span.new.clone()]);
        (old, new) = (span.old.end, span.new.end);
    }
    let length = text.len();
    for (start, end) in [
        (length / 3, length / 2),
        (length, length),
        (0, 0),
        (length / 4, length),
        (1.min(length), length.saturating_sub(1)),
    ] {
        if let Some(range) = found.map_range(start..end) {
            let _ = &found.text[range];
        }
    }
    assert_eq!(found.map_range(0..length), Some(0..found.text.len()));
}

/// A note, cut into sections, sentences and windows, which cover it.
pub fn note_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for mode in [Mode::Fixed, Mode::Published] {
        let _ = split(&text, mode).map_err(|error| error.to_string());
    }
    let _ = is_title(&text);
    let mut at = 0;
    for section in outline(&text) {
        assert_eq!(section.range.start, at, "no gap");
        at = section.range.end;
        let _ = &text[section.range.clone()];
    }
    assert_eq!(at, text.len());
    let mut at = 0;
    for sentence in sentences(&text) {
        assert!(sentence.start >= at && sentence.end >= sentence.start);
        at = sentence.end;
        let _ = &text[sentence];
    }
    let counts: [fn(&str) -> usize; 4] = [
        |text| text.split_whitespace().count(),
        |text| text.len() + 2,
        |text| text.chars().count().div_ceil(3) + 1,
        |text| text.len() / 4 + 1,
    ];
    for (budget, overlap) in [(5, 0), (7, 6), (40, 8)] {
        for count in counts {
            let counted = |text: &str| Ok::<_, clinical_notes::Error>(count(text));
            let Ok(windows) = clinical_notes::windows(&text, budget, overlap, counted) else {
                continue;
            };
            let mut end = 0;
            for window in &windows {
                assert!(window.range.start <= end, "no gap");
                assert!(window.range.end > end || text.is_empty(), "progress");
                end = window.range.end;
                assert!(
                    count(&text[window.range.clone()]) <= budget,
                    "in the budget"
                );
            }
            assert_eq!(end, text.len());
        }
    }
}

/// A note and a question in every prompt, and an answer read back in every way.
pub fn prompts(data: &[u8]) {
    use clinical_prompts::{asclepius as a, clip, mednli, radqa};
    let Some((one, two)) = two(data) else {
        return;
    };
    let policies = [
        MarkerPolicy::Error,
        MarkerPolicy::Escape,
        MarkerPolicy::Allow,
    ];
    for (markers, trim) in policies
        .into_iter()
        .flat_map(|one| [(one, false), (one, true)])
    {
        let options = clinical_prompts::Options::new()
            .with_markers(markers)
            .with_trim_newlines(trim);
        for template in a::Template::ALL {
            let Ok(prompt) = template.render(one, two, &options) else {
                continue;
            };
            // A text that has been escaped holds no marker any more.
            if markers == MarkerPolicy::Escape && template == a::Template::Inference {
                for marker in ["[Discharge Summary End]", "[Instruction End]"] {
                    let expected = template.text().matches(marker).count();
                    assert_eq!(prompt.matches(marker).count(), expected, "{marker}");
                }
            }
        }
        let _ = a::generation::note(one, &options);
        let _ = a::generation::answer(one, two, &options);
        let _ = a::judge::prompt(one, two, &[one, two], &[1, 0], &options);
        let _ = clip::finetuning_input(one, two, &options);
        let _ = mednli::finetuning_input(one, two, &options);
        let _ = radqa::finetuning_input(one, two, &options);
        let _ = radqa::decoder_input(one, two, &options);
        for number in 0..12 {
            let _ = clip::ZeroShot::new(number).map(|shot| shot.render(one, &options));
            let _ = radqa::ZeroShot::new(number).map(|shot| shot.render(one, two, &options));
            let _ = mednli::ZeroShot::new(number).map(|shot| shot.render(one, two, &options));
        }
    }
    let _ = a::generation::case_report_of(one);
    let _ = a::generation::discharge_summary_of(one);
    let _ = a::generation::instruction_of(one);
    let _ = a::generation::keeps(one, two, one);
    let _ = a::judge::scores(one, &[2, 0, 1]);
    let _ = clip::labels_of_target(one);
    let _ = clip::labels_of_answer(one, clip::SeveralLabels::Count);
    let _ = clip::labels_of_answer(one, clip::SeveralLabels::CountNone);
    let _ = clip::YesNo::is_yes(one);
    let _ = mednli::label_of_answer(one);
    let _ = radqa::answer_of(one);
    let _ = radqa::quoted_answer_of(one, two);
}

#[cfg(feature = "grammar")]
pub use grammars::grammar;

/// Grammars, which `clinical-generate` has with the feature `grammar`.
#[cfg(feature = "grammar")]
mod grammars {
    use std::sync::OnceLock;

    use clinical_generate::{Constraint, Grammar, TokenBytes, TokenMask};

    /// Ids of the vocabulary that grammars are tried with.
    const GRAMMAR_IDS: usize = 280;

    /// All bytes, an end token, and some words that begin alike.
    fn grammar_tokens() -> &'static TokenBytes {
        static TOKENS: OnceLock<TokenBytes> = OnceLock::new();
        TOKENS.get_or_init(|| {
            let mut words: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).collect();
            words.push(Vec::new());
            for word in [
                "the", " the", "true", "false", "null", "\": ", "{\"", "\"}", "12", "é", "😀",
                "aa", "aaaa", "aa", "  ",
            ] {
                words.push(word.into());
            }
            TokenBytes::new(&words).expect("a vocabulary")
        })
    }

    /// A JSON schema, a regular expression or a Lark grammar (by the first byte) and, after a NUL byte, choices among
    /// the tokens that it allows.
    pub fn grammar(data: &[u8]) {
        let Some((kind, rest)) = data.split_first() else {
            return;
        };
        let cut = rest.iter().position(|byte| *byte == 0);
        let (text, choices) = rest.split_at(cut.unwrap_or(rest.len()));
        let Ok(text) = std::str::from_utf8(text) else {
            return;
        };
        let tokens = grammar_tokens();
        let grammar = match kind % 3 {
            0 => Grammar::json_schema(tokens, text),
            1 => Grammar::regex(tokens, text),
            _ => Grammar::lark(tokens, text),
        };
        let Ok(grammar) = grammar else {
            return;
        };
        let mut matcher = grammar.start(0);
        for step in 0..24 {
            let mut mask = TokenMask::new(GRAMMAR_IDS);
            matcher.allow(&mut mask);
            let ids = 0..GRAMMAR_IDS as u32;
            let allowed: Vec<u32> = ids.filter(|id| mask.contains(*id)).collect();
            if allowed.is_empty() || matcher.must_end() {
                break;
            }
            let choice = choices
                .get(step + 1)
                .map_or(step * 7, |byte| usize::from(*byte));
            drop(matcher.fork());
            matcher.accept(allowed[choice % allowed.len()]);
            let _ = matcher.can_end();
        }
    }
}

/// A directory of each kind of model, to be opened with other configurations.
struct Models {
    t5: PathBuf,
    llama: PathBuf,
    bert: PathBuf,
    _folder: tempfile::TempDir,
}

thread_local! {
    static MODELS: Models = {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let copy = |from: &str| {
            // This file is part of a test of the workspace, and of a crate in a folder of it.
            let here = Path::new(env!("CARGO_MANIFEST_DIR"));
            let root = if here.ends_with("fuzz") { here.join("..") } else { here.to_owned() };
            let to = folder.path().join(from.replace('/', "-"));
            std::fs::create_dir(&to).expect("a temporary directory");
            for entry in std::fs::read_dir(root.join(from)).expect("a model of the tests").flatten() {
                std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a file of a model");
            }
            to
        };
        Models {
            t5: copy("crates/clinical-t5/tests/data/uneven"),
            llama: copy("crates/asclepius/demo"),
            bert: copy("crates/clinical-bert/tests/data/bert_token"),
            _folder: folder,
        }
    };
}

/// `config.json` of a T5, a LLaMA or a BERT (by the first byte), beside the weights of a small one: what loads must
/// run.
pub fn model(data: &[u8]) {
    let Some((kind, json)) = data.split_first() else {
        return;
    };
    let options = LoadOptions::new().with_max_bytes(16 << 20);
    let short = Generation::greedy().with_max_new_tokens(2);
    MODELS.with(|models| {
        let dir = [&models.t5, &models.llama, &models.bert][usize::from(kind % 3)];
        std::fs::write(dir.join("config.json"), json).expect("a temporary file");
        match kind % 3 {
            0 => {
                if let Ok(model) = clinical_t5::ClinicalT5::load(dir, &options) {
                    let _ = model.generate("fever", &short);
                }
            }
            1 => {
                if let Ok(model) = asclepius::Asclepius::load(dir, &options) {
                    let short = asclepius::AnswerOptions::new().with_max_new_tokens(2);
                    let _ = model.answer_with("fever", "Why?", &short);
                }
            }
            _ => {
                if let Ok(model) = clinical_bert::ClinicalBert::load(dir, &options) {
                    let _ = model.embed(&["fever and [Name]"], clinical_bert::Pooling::Mean);
                }
            }
        }
    });
}

/// A zip archive with these entries, stored as they are: what the reader needs of the format, without a writer's crate.
pub fn stored(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in entries {
        let offset = file.len() as u32;
        let sizes = (content.len() as u32).to_le_bytes();
        let mut fields = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        fields.extend(crc32(content).to_le_bytes());
        fields.extend(sizes);
        fields.extend(sizes);
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        file.extend(b"PK\x03\x04");
        file.extend(&fields);
        file.extend(name.as_bytes());
        file.extend(*content);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = file.len() as u32;
    let count = (entries.len() as u16).to_le_bytes();
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(count);
    file.extend(count);
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
