//! Which tokens end an answer.

use clinical_tokenizer::Tokenizer;
use serde_json::Value;

/// What published models end a turn or a text with, after the list of llama.cpp (`llama-vocab.cpp`, tokens that end a
/// generation). A tokenizer may call another token the end of a text and still have one of these to end a turn.
const NAMES: [&str; 22] = [
    "</s>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<turn|>",
    "<|tool_response>",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    "<eos>",
    "<EOT>",
    "_<EOT>",
    "< EOT >",
    "[EOT]",
    "[EOS]",
];

/// The ids that end an answer, each once and only those below `rows`, the rows of the embedding table: the tokenizer's
/// end of a text, then those of `generation_config.json` (`eos_token_id`, a number or a list) but its start, then
/// tokens by the names that published models have for an end.
///
/// ```
/// # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../clinical-tokenizer/tests/data/models/fast_t5");
/// # let tokenizer = clinical_tokenizer::Tokenizer::from_dir(dir).unwrap();
/// let config = serde_json::json!({"eos_token_id": [1, 7, 7, 1_000_000]});
/// assert_eq!(clinical_facade::end_ids(&tokenizer, Some(&config), 500), [1, 7]);
/// ```
#[must_use]
pub fn end_ids(tokenizer: &Tokenizer, generation_config: Option<&Value>, rows: usize) -> Vec<u32> {
    let mut said = generation_config.map(ids).unwrap_or_default();
    // Asclepius-7B's says its start token there, which ends nothing.
    said.retain(|&id| Some(id) != tokenizer.special().bos);
    let has = |name: &str| tokenizer.token_to_id(name);
    // In the format of gpt-oss `<|end|>` ends a message, of which an answer has several.
    let messages = has("<|return|>").is_some() && has("<|call|>").is_some();
    let named = NAMES
        .iter()
        .filter(|name| !(messages && **name == "<|end|>"))
        .filter_map(|name| has(name));
    let mut found = Vec::new();
    for id in tokenizer
        .special()
        .eos
        .iter()
        .copied()
        .chain(said)
        .chain(named)
    {
        if (id as usize) < rows && !found.contains(&id) {
            found.push(id);
        }
    }
    found
}

/// `eos_token_id`, a number or a list; what is neither is left out, as `transformers` writes `null` for none.
fn ids(config: &Value) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match config.get("eos_token_id") {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::ids;

    #[test]
    fn one_id_several_or_none() {
        assert_eq!(ids(&json!({"eos_token_id": 2})), [2]);
        assert_eq!(ids(&json!({"eos_token_id": [2, 387]})), [2, 387]);
        for none in [
            json!({}),
            json!({"eos_token_id": null}),
            json!({"eos_token_id": -1}),
            json!({"eos_token_id": "2"}),
            json!({"eos_token_id": [[2], 1.5, u64::MAX]}),
            json!([2]),
        ] {
            assert_eq!(ids(&none), [0u32; 0], "{none}");
        }
    }
}
