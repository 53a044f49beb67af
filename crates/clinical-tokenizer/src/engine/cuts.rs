//! Where a text can be cut so that its parts, encoded one by one, give the tokens of the whole.
//!
//! The engine keeps a record for each byte and each word of a text until the whole text is done: a text of two
//! megabytes encoded in parts takes half the time and a fraction of the memory, and whoever wants the first tokens only
//! need not wait for the others. A cut is made at a blank between two ASCII letters or digits. Whether the parts are
//! independent there is decided by a list of what is known to keep them so; a file with anything else is encoded in one
//! piece.

use serde_json::Value;
use tokenizers::{AddedToken, NormalizedString, Normalizer};

/// Parts are at least this long. Shorter ones are not faster.
const PART_BYTES: usize = 4 << 10;

/// The rules of published byte-level vocabularies. Each ends a token before a blank, and before a line end after a
/// letter or digit.
pub(crate) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(crate) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(crate) const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Where the texts of a tokenizer can be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cuts {
    /// A line end is as good as a blank.
    lines: bool,
    /// The normalizer puts a `▁` in front of every part, which stands for the blank at its start: the part is
    /// encoded without it.
    prepends: bool,
    /// What may stand at both sides of a cut: ASCII letters and digits, as bits.
    letters: u128,
    /// How long a part is at least.
    pub(super) part_bytes: usize,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part<'t> {
    /// What is encoded.
    pub(crate) text: &'t str,
    /// Where it stands in the whole text.
    pub(crate) start: usize,
    /// The byte before it is a blank that belongs to its first token.
    pub(crate) blank: bool,
}

impl Cuts {
    /// The cuts of a tokenizer; `None` where its texts must stay whole. `word_letters` are those between which its
    /// model merges words one by one; 0 if it does not.
    pub(crate) fn of(inner: &tokenizers::Tokenizer, word_letters: u128) -> Option<Self> {
        let normalizer = serde_json::to_value(inner.get_normalizer()).ok()?;
        let pre_tokenizer = serde_json::to_value(inner.get_pre_tokenizer()).ok()?;
        let (normalizer, pre_tokenizer) = (flat(&normalizer), flat(&pre_tokenizer));
        let words = word_letters != 0;
        let prepends = words && pre_tokenizer.is_empty() && is_prepending(&normalizer);
        let metaspace = words && normalizer.is_empty() && is_metaspace(&pre_tokenizer, false);
        let separate = || {
            normalizer.iter().all(|rule| keeps_letters(rule))
                && pre_tokenizer.iter().all(|rule| is_known(rule))
                && pre_tokenizer.iter().any(|rule| ends_words(rule))
        };
        if !(prepends || metaspace || separate() && letters_stay(inner)) {
            return None;
        }
        let this = Self {
            lines: !prepends && !metaspace && pre_tokenizer.iter().all(|rule| ends_lines(rule)),
            prepends,
            letters: if prepends || metaspace {
                word_letters
            } else {
                all_letters()
            },
            part_bytes: PART_BYTES,
        };
        let normalizes = !normalizer.is_empty();
        inner
            .get_added_vocabulary()
            .get_added_tokens_decoder()
            .values()
            .all(|token| this.allows(token, normalizes))
            .then_some(this)
    }

    /// Whether a token is found in the parts of a text as in the whole, and leaves the blank at a cut alone.
    fn allows(self, token: &AddedToken, normalizes: bool) -> bool {
        let text = token.content.as_str();
        let plain = match token.normalized && normalizes {
            true => text.bytes().all(|b| b.is_ascii_graphic()),
            false => !text.contains(char::is_whitespace),
        };
        // A stretch after or before such a token gets a `▁` of its own, beside the blank.
        let at_letter = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            || text.ends_with(|c: char| c.is_ascii_alphanumeric());
        let alone = token.normalized || !at_letter;
        plain && !token.rstrip && (!self.prepends || alone && !token.lstrip && !token.single_word)
    }

    /// The parts of a text, in order. There is at least one.
    pub(crate) fn parts(self, text: &str) -> impl Iterator<Item = Part<'_>> {
        let mut next = Some((0, false));
        std::iter::from_fn(move || {
            let (start, blank) = next?;
            let cut = self.after(text, start + self.part_bytes);
            let end = cut.unwrap_or(text.len());
            next = cut.map(|cut| (cut + usize::from(self.prepends), self.prepends));
            Some(Part {
                text: &text[start..end],
                start,
                blank,
            })
        })
    }

    /// The first cut at `from` or later: the position of the blank.
    fn after(self, text: &str, from: usize) -> Option<usize> {
        let bytes = text.as_bytes();
        let letter = |at: usize| bytes[at] < 128 && self.letters >> bytes[at] & 1 == 1;
        let blank = |at: usize| bytes[at] == b' ' || self.lines && bytes[at] == b'\n';
        (from.max(1)..bytes.len().saturating_sub(1))
            .find(|&at| blank(at) && letter(at - 1) && letter(at + 1))
    }
}

fn letters() -> impl Iterator<Item = u8> {
    (b'0'..=b'z').filter(u8::is_ascii_alphanumeric)
}

fn all_letters() -> u128 {
    letters().fold(0, |bits, letter| bits | 1 << letter)
}

/// The rules of a component, those of a sequence one by one; none for `null`.
fn flat(component: &Value) -> Vec<&Value> {
    let list = ["normalizers", "pretokenizers"]
        .iter()
        .find_map(|key| component.get(key)?.as_array());
    match list {
        Some(list) => list.iter().flat_map(flat).collect(),
        None if component.is_null() => Vec::new(),
        None => vec![component],
    }
}

fn kind(rule: &Value) -> &str {
    rule.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn is(rule: &Value, key: &str, wanted: bool) -> bool {
    rule.get(key).and_then(Value::as_bool) == Some(wanted)
}

/// The normalizer of LLaMA: a `▁` in front, and one for each blank.
fn is_prepending(rules: &[&Value]) -> bool {
    matches!(rules, [first, second]
        if kind(first) == "Prepend" && first["prepend"] == "▁"
            && kind(second) == "Replace" && second["pattern"]["String"] == " " && second["content"] == "▁")
}

fn is_metaspace(rules: &[&Value], split: bool) -> bool {
    matches!(rules, [rule]
        if kind(rule) == "Metaspace" && rule["replacement"] == "▁" && is(rule, "split", split))
}

/// Whether a rule of a normalizer looks at no more than the characters around a letter that belong to it.
fn keeps_letters(rule: &Value) -> bool {
    match kind(rule) {
        "NFC" | "NFD" | "NFKC" | "NFKD" | "Nmt" | "Lowercase" | "StripAccents"
        | "BertNormalizer" | "Precompiled" => true,
        "Replace" => {
            rule["pattern"]["Regex"] == " {2,}"
                && (rule["content"] == " " || rule["content"] == "▁")
        }
        _ => false,
    }
}

/// Whether a normalizer leaves ASCII letters, digits and the blanks between them as they are, but for their case. A
/// charsmap may say what it likes.
fn letters_stay(inner: &tokenizers::Tokenizer) -> bool {
    let Some(normalizer) = inner.get_normalizer() else {
        return true;
    };
    let text: String = letters()
        .flat_map(|letter| [char::from(letter), ' ', char::from(letter)])
        .collect();
    let mut normalized = NormalizedString::from(text.as_str());
    normalizer.normalize(&mut normalized).is_ok() && normalized.get().eq_ignore_ascii_case(&text)
}

/// Whether a pre-tokenizer looks at one word at a time.
fn is_known(rule: &Value) -> bool {
    matches!(kind(rule), "Digits" | "Punctuation" | "ByteLevel") || ends_words(rule)
}

/// Whether a pre-tokenizer ends a word at each blank after a letter or digit.
fn ends_words(rule: &Value) -> bool {
    match kind(rule) {
        "BertPreTokenizer" | "Whitespace" | "WhitespaceSplit" => true,
        "ByteLevel" => is(rule, "use_regex", true),
        "Metaspace" => is_metaspace(&[rule], true),
        "Split" => {
            let pattern = rule["pattern"]["Regex"].as_str().unwrap_or_default();
            [LLAMA3, QWEN2, TEKKEN].contains(&pattern)
                && rule["behavior"] == "Isolated"
                && is(rule, "invert", false)
        }
        _ => false,
    }
}

/// Whether it treats a line end as a blank.
fn ends_lines(rule: &Value) -> bool {
    match kind(rule) {
        "Metaspace" => false,
        "ByteLevel" => is(rule, "add_prefix_space", false),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Cuts = Cuts {
        lines: false,
        prepends: false,
        letters: 0x07ff_fffe_07ff_fffe_03ff_0000_0000_0000,
        part_bytes: PART_BYTES,
    };

    #[test]
    fn parts_are_cut_at_blanks_between_letters() {
        let text = format!("{} - é b  c\nd.e f", "a".repeat(PART_BYTES));
        let found: Vec<Part<'_>> = PLAIN.parts(&text).collect();
        assert_eq!(found.len(), 2);
        assert!(found[0].text.ends_with("d.e") && found[1].text == " f");
        let lines = Cuts {
            lines: true,
            ..PLAIN
        };
        let found: Vec<Part<'_>> = lines.parts(&text).collect();
        assert_eq!(found[1].text, "\nd.e f");
        let prepends = Cuts {
            prepends: true,
            ..PLAIN
        };
        let found: Vec<Part<'_>> = prepends.parts(&text).collect();
        assert_eq!((found[1].text, found[1].blank), ("f", true));
        assert_eq!(found[1].start, text.len() - 1);
    }

    #[test]
    fn texts_without_a_cut_are_one_part() {
        for text in ["", " ", "a", "a ", " a", &"é ".repeat(PART_BYTES)] {
            let found: Vec<Part<'_>> = PLAIN.parts(text).collect();
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].text, found[0].start), (text, 0));
        }
    }

    #[test]
    fn tokens_that_reach_over_a_cut_forbid_it() {
        let token = |content: &str| AddedToken::from(content, false);
        assert!(PLAIN.allows(&token("[Name]"), true));
        assert!(PLAIN.allows(&token("<｜User｜>"), false));
        assert!(!PLAIN.allows(&token("<｜User｜>"), true));
        assert!(!PLAIN.allows(&token("a b"), false));
        assert!(!PLAIN.allows(&token("[Name]").rstrip(true), true));
        assert!(PLAIN.allows(&token("[Name]").lstrip(true), true));
        let prepends = Cuts {
            prepends: true,
            ..PLAIN
        };
        assert!(!prepends.allows(&token("[Name]").lstrip(true), true));
        assert!(prepends.allows(&token("BOS"), true));
        assert!(!prepends.allows(&AddedToken::from("BOS", true), true));
    }
}
