//! Vocabularies of the published sizes, made of invented pieces.

use std::collections::HashMap;

use clinical_tokenizer::{Piece, PieceKind, SentencePieceKind, SentencePieceModel};
use serde_json::{Map, Value, json};

/// The 15 tokens of `clinical-deid`, in an order that no source tells.
pub const TAGS: [&str; 15] = [
    "[Reg#]",
    "[MISC]",
    "[Name]",
    "[URL]",
    "[DAY]",
    "[LOC]",
    "[CI]",
    "[State]",
    "[#]",
    "[DR]",
    "[Company]",
    "[YR]",
    "[Age]",
    "[MO]",
    "[Country]",
];

/// `count` different pieces of text: characters, then short syllables with and without a blank in front.
fn syllables(count: usize) -> Vec<String> {
    let mut found: Vec<String> = (33u8..127)
        .map(|byte| char::from(byte).to_string())
        .collect();
    found.insert(0, "▁".to_owned());
    let letters = || ('a'..='z').chain('A'..='Z');
    for first in letters() {
        for second in letters() {
            found.push(format!("{first}{second}"));
            found.push(format!("▁{first}{second}"));
        }
    }
    'all: for first in letters() {
        for second in letters() {
            for third in letters() {
                if found.len() >= count {
                    break 'all;
                }
                found.push(format!("{first}{second}{third}"));
            }
        }
    }
    found.truncate(count);
    assert_eq!(found.len(), count);
    found
}

/// A SentencePiece model like LLaMA's: `<unk>`, `<s>`, `</s>`, then `controls`, 256 bytes, pieces.
pub fn llama_model(size: usize, controls: &[&str]) -> SentencePieceModel {
    let piece = |text: String, kind, score| Piece { text, score, kind };
    let mut pieces = vec![
        piece("<unk>".into(), PieceKind::Unknown, 0.0),
        piece("<s>".into(), PieceKind::Control, 0.0),
        piece("</s>".into(), PieceKind::Control, 0.0),
    ];
    pieces.extend(
        controls
            .iter()
            .map(|name| piece((*name).to_owned(), PieceKind::Control, 0.0)),
    );
    pieces.extend((0..=255).map(|byte| piece(format!("<0x{byte:02X}>"), PieceKind::Byte, 0.0)));
    let rest = syllables(size - pieces.len());
    pieces.extend(
        rest.into_iter()
            .enumerate()
            .map(|(rank, text)| piece(text, PieceKind::Normal, -(rank as f32))),
    );
    SentencePieceModel::from_pieces(SentencePieceKind::Bpe, pieces, true).unwrap()
}

fn added(id: usize, content: &str, special: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": !special, "special": special})
}

fn template(before: &[(&str, usize)], after: &[(&str, usize)]) -> Value {
    let token = |(name, _): &(&str, usize)| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let mut single: Vec<Value> = before.iter().map(token).collect();
    single.push(json!({"Sequence": {"id": "A", "type_id": 0}}));
    single.extend(after.iter().map(token));
    let mut pair = single.clone();
    pair.push(json!({"Sequence": {"id": "B", "type_id": 1}}));
    let specials: Map<String, Value> = before
        .iter()
        .chain(after)
        .map(|(name, id)| {
            let token = json!({"id": name, "ids": [id], "tokens": [name]});
            ((*name).to_owned(), token)
        })
        .collect();
    json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": specials})
}

/// `tokenizer.json` of a LLaMA-2 tokenizer, converted from its SentencePiece model.
pub fn llama_json(model: &SentencePieceModel, more: &[(usize, &str)]) -> Value {
    let ids: HashMap<&str, usize> = model
        .pieces()
        .iter()
        .enumerate()
        .map(|(id, piece)| (piece.text.as_str(), id))
        .collect();
    let mut merges = Vec::new();
    for piece in model.pieces() {
        if piece.kind == PieceKind::Normal {
            let borders = piece.text.char_indices().skip(1).map(|(at, _)| at);
            let halves = borders.map(|at| piece.text.split_at(at));
            merges.extend(
                halves
                    .filter(|(a, b)| ids.contains_key(a) && ids.contains_key(b))
                    .map(|(a, b)| format!("{a} {b}")),
            );
        }
    }
    let mut tokens = vec![
        added(0, "<unk>", true),
        added(1, "<s>", true),
        added(2, "</s>", true),
    ];
    tokens.extend(more.iter().map(|(id, name)| added(*id, name, true)));
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": tokens,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "post_processor": template(&[("<s>", 1)], &[]),
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": ids, "merges": merges}})
}

/// `tokenizer.json` of a LLaMA-3 tokenizer: 128,000 byte-level pieces and 256 special tokens.
pub fn llama3_json() -> Value {
    // The characters that stand for bytes: printable ones for themselves, the others from U+0100 on.
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut shifted = 256..;
    let bytes = (0..256u32).map(|byte| {
        let code = if printable(byte) {
            byte
        } else {
            shifted.next().unwrap()
        };
        char::from_u32(code).unwrap().to_string()
    });
    let mut pieces: Vec<String> = bytes.collect();
    pieces.extend(
        syllables(130_000)
            .into_iter()
            .filter(|piece| piece.chars().count() > 1)
            .map(|piece| piece.replace('▁', "Ġ"))
            .take(128_000 - pieces.len()),
    );
    let merges: Vec<String> = pieces[256..2000]
        .iter()
        .filter(|piece| piece.chars().count() == 2)
        .map(|piece| {
            let second = piece.char_indices().nth(1).unwrap().0;
            format!("{} {}", &piece[..second], &piece[second..])
        })
        .collect();
    let names = (0..256).map(|number| match number {
        0 => "<|begin_of_text|>".to_owned(),
        1 => "<|end_of_text|>".to_owned(),
        9 => "<|eot_id|>".to_owned(),
        number => format!("<|reserved_special_token_{number}|>"),
    });
    let tokens: Vec<Value> = names
        .enumerate()
        .map(|(at, name)| added(128_000 + at, &name, true))
        .collect();
    let vocab: Map<String, Value> = pieces
        .into_iter()
        .enumerate()
        .map(|(id, piece)| (piece, id.into()))
        .collect();
    assert_eq!(vocab.len(), 128_000);
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": tokens, "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": template(&[("<|begin_of_text|>", 128_000)], &[]),
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": true,
            "vocab": vocab, "merges": merges}})
}

/// `tokenizer.json` of a T5 tokenizer: 32,000 unigram pieces, 100 sentinels, and the tags after them.
pub fn t5_json(lower_case: bool, first_sentinel_last: bool, tags: bool) -> Value {
    let mut vocab = vec![
        json!(["<pad>", 0.0]),
        json!(["</s>", 0.0]),
        json!(["<unk>", 0.0]),
    ];
    vocab.extend(
        syllables(32_000 - 3)
            .into_iter()
            .enumerate()
            .map(|(rank, text)| json!([text, -2.0 - rank as f64 / 4096.0])),
    );
    let mut tokens = vec![
        added(0, "<pad>", true),
        added(1, "</s>", true),
        added(2, "<unk>", true),
    ];
    for at in 0..100 {
        let number = if first_sentinel_last { 99 - at } else { at };
        tokens.push(added(32_000 + at, &format!("<extra_id_{number}>"), true));
    }
    if tags {
        let tags = TAGS.iter().enumerate();
        tokens.extend(tags.map(|(at, tag)| added(32_100 + at, tag, false)));
    }
    let mut normalizers = vec![
        json!({"type": "Nmt"}),
        json!({"type": "NFKC"}),
        json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}),
    ];
    if lower_case {
        normalizers.push(json!({"type": "Lowercase"}));
    }
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": tokens,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
            {"type": "Digits", "individual_digits": true}, {"type": "Punctuation", "behavior": "Isolated"}]},
        "post_processor": template(&[], &[("</s>", 1)]),
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": false}})
}

/// `vocab.txt` of BERT-cased: 28,996 lines.
pub fn bert_words() -> String {
    let mut words = vec!["[PAD]".to_owned()];
    words.extend((1..100).map(|number| format!("[unused{number}]")));
    words.extend(["[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned));
    words.extend(["Abnormality", "The", "the", "abnormal", "##ity", "fever"].map(str::to_owned));
    let rest = syllables(40_000);
    let letters: Vec<String> = rest
        .into_iter()
        .filter(|piece| !piece.starts_with('▁'))
        .flat_map(|piece| match piece.chars().all(char::is_alphanumeric) {
            true => vec![format!("##{piece}"), piece],
            false => vec![piece],
        })
        .filter(|word| !words.contains(word))
        .take(28_996 - words.len())
        .collect();
    words.extend(letters);
    assert_eq!(words.len(), 28_996);
    words.join("\n") + "\n"
}
