//! Decoding by the `decoder` of a `tokenizer.json`, token by token.
//!
//! The steps are those of the `tokenizers` crate; written again here because its own `decode` needs all ids at once,
//! panics on some decoders (`Strip` of an empty text), and its stream does not always concatenate to the whole.

use serde_json::Value;

/// One step of a decoder. The steps before [`Step::Fuse`] or [`Step::ByteLevel`] work on single tokens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Replaces a string in each token.
    Replace { pattern: String, content: String },
    /// Turns runs of `<0xNN>` tokens into text.
    ByteFallback,
    /// Joins all tokens.
    Fuse,
    /// Removes up to `start` and `stop` characters `content` at the ends of a token.
    Strip {
        content: char,
        start: usize,
        stop: usize,
    },
    /// Turns the marker into a blank, and drops it at the very start.
    Metaspace { marker: char, drop_first: bool },
    /// Turns the letters that stand for bytes back into bytes.
    ByteLevel,
    /// Joins word pieces.
    WordPiece { prefix: String, clean: bool },
    /// Turns the suffix into a blank, except on the last token.
    Suffix { suffix: String },
    /// Puts a blank between tokens (a file without a decoder).
    Blanks,
}

/// The decoder of a file, if it is one whose text can be written as the tokens come.
pub(crate) fn steps(decoder: Option<&Value>) -> Option<Vec<Step>> {
    let mut steps = match decoder {
        None | Some(Value::Null) => vec![Step::Blanks],
        Some(decoder) => flatten(decoder)?,
    };
    // After the tokens are joined, only stripping of the whole remains possible.
    let joins = |step: &Step| matches!(step, Step::Fuse | Step::ByteLevel);
    match steps.iter().position(joins) {
        Some(at)
            if steps[at + 1..]
                .iter()
                .all(|s| matches!(s, Step::Strip { .. } | Step::Fuse)) => {}
        Some(_) => return None,
        None => steps.push(Step::Fuse),
    }
    Some(steps)
}

fn flatten(decoder: &Value) -> Option<Vec<Step>> {
    let text = |key: &str| decoder.get(key)?.as_str().map(str::to_owned);
    let one = |step| Some(vec![step]);
    match decoder.get("type")?.as_str()? {
        "Sequence" => {
            let parts = decoder
                .get("decoders")?
                .as_array()?
                .iter()
                .map(flatten)
                .collect::<Option<Vec<_>>>()?;
            Some(parts.concat())
        }
        "Replace" => {
            let pattern = decoder.get("pattern")?.get("String")?.as_str()?.to_owned();
            (!pattern.is_empty()).then_some(())?;
            one(Step::Replace {
                pattern,
                content: text("content")?,
            })
        }
        "ByteFallback" => one(Step::ByteFallback),
        "Fuse" => one(Step::Fuse),
        "Strip" => one(Step::Strip {
            content: text("content")?.chars().next()?,
            start: decoder.get("start")?.as_u64()? as usize,
            stop: decoder.get("stop")?.as_u64()? as usize,
        }),
        "Metaspace" => {
            let never = decoder.get("prepend_scheme").and_then(Value::as_str) == Some("never")
                || decoder.get("add_prefix_space").and_then(Value::as_bool) == Some(false);
            one(Step::Metaspace {
                marker: text("replacement")?.chars().next()?,
                drop_first: !never,
            })
        }
        "ByteLevel" => one(Step::ByteLevel),
        "WordPiece" => one(Step::WordPiece {
            prefix: text("prefix")?,
            clean: decoder.get("cleanup")?.as_bool()?,
        }),
        "BPEDecoder" => one(Step::Suffix {
            suffix: text("suffix")?,
        }),
        _ => None,
    }
}

/// The state of one decoding.
#[derive(Debug, Clone)]
pub(crate) struct FastDecoder {
    states: Vec<State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// Tokens seen by this step.
    seen: usize,
    /// Bytes that are not decided yet.
    bytes: Vec<u8>,
    /// Text that is not decided yet.
    held: String,
    /// Characters removed at the start so far; `usize::MAX` when no more may go.
    stripped: usize,
}

impl FastDecoder {
    pub(crate) fn new(steps: &[Step]) -> Self {
        Self {
            states: vec![State::default(); steps.len()],
        }
    }

    pub(crate) fn push(&mut self, steps: &[Step], token: &str, out: &mut String) {
        run(steps, &mut self.states, token, false, out);
    }

    pub(crate) fn finish(&mut self, steps: &[Step], out: &mut String) {
        for i in 0..steps.len() {
            end(&steps[i..], &mut self.states[i..], out);
        }
    }
}

/// Sends a token (or, after a joining step, a part of the one text) through the steps.
fn run(steps: &[Step], states: &mut [State], token: &str, joined: bool, out: &mut String) {
    let (Some((step, steps)), Some((state, states))) =
        (steps.split_first(), states.split_first_mut())
    else {
        return out.push_str(token);
    };
    let first = state.seen == 0;
    state.seen += 1;
    match step {
        Step::Replace { pattern, content } => {
            run(steps, states, &token.replace(pattern, content), joined, out)
        }
        Step::ByteFallback => match byte_token(token) {
            Some(byte) => state.bytes.push(byte),
            None => {
                if let Some(text) = take_run(&mut state.bytes) {
                    run_each(steps, states, text, out);
                }
                run(steps, states, token, joined, out);
            }
        },
        Step::Fuse => run(steps, states, token, true, out),
        Step::Strip {
            content,
            start,
            stop,
        } if joined => {
            let text = strip_part(state, token, *content, *start, *stop);
            run(steps, states, &text, joined, out);
        }
        Step::Strip {
            content,
            start,
            stop,
        } => run(
            steps,
            states,
            strip_token(token, *content, *start, *stop),
            joined,
            out,
        ),
        Step::Metaspace { marker, drop_first } => {
            let chars = token.chars().filter_map(|c| match c == *marker {
                true if first && *drop_first => None,
                true => Some(' '),
                false => Some(c),
            });
            run(steps, states, &chars.collect::<String>(), joined, out);
        }
        Step::ByteLevel => {
            let mut bytes = Vec::with_capacity(token.len());
            let known = token
                .chars()
                .all(|c| byte_of_letter(c).map(|byte| bytes.push(byte)).is_some());
            state
                .bytes
                .extend_from_slice(if known { &bytes } else { token.as_bytes() });
            let text = take_whole(&mut state.bytes, false);
            run(steps, states, &text, true, out);
        }
        Step::WordPiece { prefix, clean } => {
            let mut text = match token.strip_prefix(prefix.as_str()) {
                _ if first => token.to_owned(),
                Some(rest) => rest.to_owned(),
                None => format!(" {token}"),
            };
            if *clean {
                text = clean_word(text);
            }
            run(steps, states, &text, joined, out);
        }
        Step::Suffix { suffix } => {
            if !first {
                let before = std::mem::take(&mut state.held).replace(suffix.as_str(), " ");
                run(steps, states, &before, joined, out);
            }
            state.held = token.to_owned();
        }
        Step::Blanks => {
            if !first {
                run(steps, states, " ", joined, out);
            }
            run(steps, states, token, joined, out);
        }
    }
}

fn run_each(steps: &[Step], states: &mut [State], tokens: Vec<String>, out: &mut String) {
    for token in tokens {
        run(steps, states, &token, false, out);
    }
}

/// Ends the first of the steps.
fn end(steps: &[Step], states: &mut [State], out: &mut String) {
    let (Some((step, steps)), Some((state, states))) =
        (steps.split_first(), states.split_first_mut())
    else {
        return;
    };
    match step {
        Step::ByteFallback => {
            if let Some(text) = take_run(&mut state.bytes) {
                run_each(steps, states, text, out);
            }
        }
        Step::ByteLevel => {
            let text = take_whole(&mut state.bytes, true);
            run(steps, states, &text, true, out);
        }
        Step::Suffix { suffix } if state.seen > 0 => {
            let last = std::mem::take(&mut state.held).replace(suffix.as_str(), "");
            run(steps, states, &last, false, out);
        }
        Step::Strip { content, stop, .. } if !state.held.is_empty() => {
            // What was held back may be cut at the end of the text: up to `stop` characters.
            let held = std::mem::take(&mut state.held);
            let text = strip_token(&held, *content, 0, *stop);
            run(steps, states, text, true, out);
        }
        _ => {}
    }
}

/// `<0xNN>` as the `tokenizers` crate reads it.
fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// A run of byte tokens becomes one text if it is valid as a whole, else one U+FFFD for each byte.
fn take_run(bytes: &mut Vec<u8>) -> Option<Vec<String>> {
    if bytes.is_empty() {
        return None;
    }
    let bytes = std::mem::take(bytes);
    let count = bytes.len();
    Some(match String::from_utf8(bytes) {
        Ok(text) => vec![text],
        Err(_) => vec!["\u{fffd}".to_owned(); count],
    })
}

/// The text of the bytes so far, as `String::from_utf8_lossy` writes it; an unfinished character stays unless `at_end`.
fn take_whole(bytes: &mut Vec<u8>, at_end: bool) -> String {
    let mut out = String::new();
    let mut rest = &bytes[..];
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                out.push_str(text);
                rest = &[];
                break;
            }
            Err(error) => {
                let (valid, after) = rest.split_at(error.valid_up_to());
                out.push_str(std::str::from_utf8(valid).unwrap_or_default());
                rest = after;
                match error.error_len() {
                    Some(length) => rest = &rest[length..],
                    None if at_end => rest = &[],
                    None => break,
                }
                out.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }
    let left = rest.len();
    bytes.drain(..bytes.len() - left);
    out
}

fn strip_token(token: &str, content: char, start: usize, stop: usize) -> &str {
    let count = token
        .chars()
        .take(start)
        .take_while(|&c| c == content)
        .count();
    let mut text = &token[count * content.len_utf8()..];
    for _ in 0..stop {
        match text.strip_suffix(content) {
            Some(rest) => text = rest,
            None => break,
        }
    }
    text
}

/// Strips a text that comes in parts: at the start at once, at the end by holding back what may have to go.
fn strip_part(state: &mut State, part: &str, content: char, start: usize, stop: usize) -> String {
    let mut part = part;
    while state.stripped < start {
        match part.strip_prefix(content) {
            Some(rest) => {
                part = rest;
                state.stripped += 1;
            }
            None if part.is_empty() => break,
            None => state.stripped = usize::MAX,
        }
    }
    if stop == 0 {
        return part.to_owned();
    }
    state.held.push_str(part);
    let kept = state.held.trim_end_matches(content).len();
    let blanks = state.held[kept..].chars().count();
    let surplus = blanks.saturating_sub(stop) * content.len_utf8();
    state.held.drain(..kept + surplus).collect()
}

/// The clean-up of the `tokenizers` crate's word piece decoder, which looks at single tokens.
fn clean_word(text: String) -> String {
    const RULES: [(&str, &str); 11] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    RULES.iter().fold(text, |text, (old, new)| {
        if text.contains(old) {
            text.replace(old, new)
        } else {
            text
        }
    })
}

/// The byte that a letter of a byte-level vocabulary stands for: printable Latin-1 stands for itself, the 68 other
/// bytes for U+0100 and up, in order.
fn byte_of_letter(c: char) -> Option<u8> {
    match c as u32 {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
