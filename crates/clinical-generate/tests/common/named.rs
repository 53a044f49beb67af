//! Options by the names that `transformers` gives them.

use clinical_generate::{EarlyStopping, Generation};
use serde_json::Value;

/// Options of `transformers` by the names it gives them.
pub fn options(named: &Value) -> Generation {
    let beams = named["num_beams"].as_u64().unwrap_or(1) as usize;
    let mut options = Generation::beam(beams);
    let Value::Object(named) = named else {
        panic!("options are an object")
    };
    for (name, value) in named {
        let number = value.as_f64().unwrap_or(f64::NAN);
        let count = value.as_u64().unwrap_or(0) as usize;
        options = match name.as_str() {
            "num_beams" | "eos_token_id" => options,
            "num_return_sequences" => options.with_num_return_sequences(count),
            "no_repeat_ngram_size" => options.with_no_repeat_ngram(count),
            "length_penalty" => options.with_length_penalty(number),
            "repetition_penalty" => options.with_repetition_penalty(number),
            "min_new_tokens" => options.with_min_new_tokens(count),
            "bad_words_ids" => options.with_bad_words(lists(value)),
            "suppress_tokens" => options.with_suppress(ids(value)),
            "forced_bos_token_id" => options.with_forced_first(count as u32),
            "forced_eos_token_id" => options.with_forced_last(count as u32),
            "temperature" => options.with_temperature(number),
            "top_k" => options.with_top_k(count),
            "top_p" => options.with_top_p(number),
            "min_p" => options.with_min_p(number),
            "typical_p" => options.with_typical_p(number),
            "early_stopping" => options.with_early_stopping(match value {
                Value::Bool(true) => EarlyStopping::True,
                Value::Bool(false) => EarlyStopping::False,
                _ => EarlyStopping::Never,
            }),
            "sequence_bias" => value
                .as_array()
                .unwrap()
                .iter()
                .fold(options, |options, pair| {
                    options.with_sequence_bias(ids(&pair[0]), pair[1].as_f64().unwrap())
                }),
            other => panic!("unknown option {other}"),
        };
    }
    options
}

/// Token ids.
pub fn ids(value: &Value) -> Vec<u32> {
    let numbers = value.as_array().unwrap().iter();
    numbers.map(|id| id.as_u64().unwrap() as u32).collect()
}

fn lists(value: &Value) -> Vec<Vec<u32>> {
    value.as_array().unwrap().iter().map(ids).collect()
}
