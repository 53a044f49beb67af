//! The only text this crate sees: what a caller's decoder makes of the new tokens, watched for stop strings.

use std::sync::Arc;

/// Which tokens end an answer, and how ids become text where the options ask for it.
///
/// With a decoder that is borrowed ([`with_text`](Self::with_text)) it lives as long as that; with a shared one
/// ([`with_shared_text`](Self::with_shared_text)), or none, as long as it likes.
#[derive(Clone, Default)]
pub struct EndTokens<'a> {
    pub(crate) ids: Vec<u32>,
    decoder: Option<Decoder<'a>>,
}

#[derive(Clone)]
enum Decoder<'a> {
    Borrowed(&'a dyn TextDecoder),
    Shared(Arc<dyn TextDecoder>),
}

impl<'a> EndTokens<'a> {
    /// The given ids end an answer; there may be several, or none.
    #[must_use]
    pub fn new(ids: impl IntoIterator<Item = u32>) -> Self {
        let mut unique: Vec<u32> = Vec::new();
        for id in ids {
            if !unique.contains(&id) {
                unique.push(id);
            }
        }
        Self {
            ids: unique,
            decoder: None,
        }
    }

    /// No token ends an answer.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Turns new tokens into text with `decoder`: needed for stop strings; fills `Step::text` and `Generated::text`.
    #[must_use]
    pub fn with_text(mut self, decoder: &'a dyn TextDecoder) -> Self {
        self.decoder = Some(Decoder::Borrowed(decoder));
        self
    }

    /// As [`with_text`](Self::with_text) with a decoder that is kept: for requests that outlive the call that makes
    /// them.
    #[must_use]
    pub fn with_shared_text(mut self, decoder: Arc<dyn TextDecoder>) -> Self {
        self.decoder = Some(Decoder::Shared(decoder));
        self
    }

    pub(crate) fn decoder(&self) -> Option<&dyn TextDecoder> {
        self.decoder.as_ref().map(|decoder| match decoder {
            Decoder::Borrowed(decoder) => *decoder,
            Decoder::Shared(decoder) => &**decoder,
        })
    }

    /// The ids that end an answer.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }
}

impl std::fmt::Debug for EndTokens<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndTokens")
            .field("ids", &self.ids)
            .field("text", &self.decoder.is_some())
            .finish()
    }
}

/// Turns ids into text, row by row.
pub trait TextDecoder: Send + Sync {
    /// A decoder for the new tokens of one sequence of the prompt in row `row`. It holds what it needs (a tokenizer in
    /// an [`Arc`]), because a request may outlive the call that made it.
    fn stream(&self, row: usize) -> Box<dyn TextStream>;
}

/// The new tokens of one sequence, decoded as they come.
pub trait TextStream {
    /// Appends a token and returns the text that is now certain: whole characters only. May be empty.
    fn push(&mut self, id: u32) -> String;

    /// The text still held back when no token follows.
    fn finish(&mut self) -> String;

    /// A copy that goes on by itself: beams share a prefix.
    fn fork(&self) -> Box<dyn TextStream>;
}

/// The text of one sequence up to now.
pub(crate) struct Tail {
    stream: Box<dyn TextStream>,
    /// All text that is certain not to belong to a stop string.
    text: String,
    /// Decoded, but perhaps the start of a stop string.
    held: String,
    finished: bool,
}

impl Tail {
    pub(crate) fn new(stream: Box<dyn TextStream>) -> Self {
        Self {
            stream,
            text: String::new(),
            held: String::new(),
            finished: false,
        }
    }

    pub(crate) fn fork(&self) -> Self {
        Self {
            stream: self.stream.fork(),
            text: self.text.clone(),
            held: self.held.clone(),
            finished: self.finished,
        }
    }

    /// How much text was certain before; what [`since`](Self::since) starts from.
    pub(crate) fn mark(&self) -> usize {
        self.text.len()
    }

    /// The certain text from a mark on.
    pub(crate) fn since(&self, mark: usize) -> &str {
        &self.text[mark..]
    }

    /// Appends a token; true if a stop string is now complete. The text then ends where the stop string begins.
    pub(crate) fn push(&mut self, id: u32, stops: &[String]) -> bool {
        let piece = self.stream.push(id);
        self.finished = self.append(&piece, stops);
        self.finished
    }

    /// No token follows: what was held back is certain now, unless the last characters complete a stop string.
    pub(crate) fn finish(&mut self, stops: &[String]) -> bool {
        if std::mem::replace(&mut self.finished, true) {
            return false;
        }
        let piece = self.stream.finish();
        let stopped = self.append(&piece, stops);
        if !stopped {
            let held = std::mem::take(&mut self.held);
            self.text.push_str(&held);
        }
        stopped
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn append(&mut self, piece: &str, stops: &[String]) -> bool {
        if piece.is_empty() {
            return false;
        }
        if stops.is_empty() {
            self.text.push_str(piece);
            return false;
        }
        let before = self.held.len();
        self.held.push_str(piece);
        if let Some(start) = first_stop(&self.held, before, stops) {
            self.text.push_str(&self.held[..start]);
            self.held.clear();
            return true;
        }
        let keep = possible_start(&self.held, stops);
        let certain = self.held.len() - keep;
        self.text.push_str(&self.held[..certain]);
        self.held.drain(..certain);
        false
    }
}

/// Where the stop string begins that is complete first; of several that end together, the longest. That makes the
/// answer independent of where the token borders are. Only ends after byte `seen` count: earlier ones were looked for
/// before.
fn first_stop(text: &str, seen: usize, stops: &[String]) -> Option<usize> {
    let mut best: Option<(usize, usize)> = None;
    for stop in stops {
        // A match that ends after `seen` begins at most `len - 1` bytes before it.
        let mut from = seen.saturating_sub(stop.len().saturating_sub(1));
        while !text.is_char_boundary(from) {
            from -= 1;
        }
        if let Some(at) = text[from..].find(stop.as_str()) {
            let (start, end) = (from + at, from + at + stop.len());
            if best.is_none_or(|(s, e)| (end, start) < (e, s)) {
                best = Some((start, end));
            }
        }
    }
    best.map(|(start, _)| start)
}

/// The length of the longest end of `text` that a stop string begins with.
fn possible_start(text: &str, stops: &[String]) -> usize {
    let longest = stops.iter().map(String::len).max().unwrap_or(0);
    let mut from = text.len().saturating_sub(longest.saturating_sub(1));
    while from < text.len() {
        if text.is_char_boundary(from) {
            let end = &text[from..];
            if stops.iter().any(|stop| stop.starts_with(end)) {
                return end.len();
            }
        }
        from += 1;
    }
    0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A decoder whose token `n` is the `n`-th of a list of pieces.
    pub(crate) struct Pieces(pub(crate) Vec<&'static str>);

    struct PieceStream(Vec<&'static str>);

    impl TextDecoder for Pieces {
        fn stream(&self, _row: usize) -> Box<dyn TextStream> {
            Box::new(PieceStream(self.0.clone()))
        }
    }

    impl TextStream for PieceStream {
        fn push(&mut self, id: u32) -> String {
            self.0.get(id as usize).copied().unwrap_or("?").to_owned()
        }

        fn finish(&mut self) -> String {
            String::new()
        }

        fn fork(&self) -> Box<dyn TextStream> {
            Box::new(PieceStream(self.0.clone()))
        }
    }

    fn run(pieces: &[&'static str], stops: &[&str]) -> (Vec<String>, bool) {
        let decoder = Pieces(pieces.to_vec());
        let stops: Vec<String> = stops.iter().map(|&s| s.to_owned()).collect();
        let mut tail = Tail::new(decoder.stream(0));
        let mut out = Vec::new();
        for id in 0..pieces.len() {
            let mark = tail.mark();
            let stopped = tail.push(id as u32, &stops);
            out.push(tail.since(mark).to_owned());
            if stopped {
                return (out, true);
            }
        }
        let mark = tail.mark();
        let stopped = tail.finish(&stops);
        out.push(tail.since(mark).to_owned());
        (out, stopped)
    }

    #[test]
    fn a_stop_string_is_found_across_tokens_and_never_shown() {
        let (text, stopped) = run(&["no fev", "er #", "#", "# next"], &["###"]);
        assert!(stopped);
        assert_eq!(text.concat(), "no fever ");
        assert_eq!(text, ["no fev", "er ", "", ""]);
    }

    #[test]
    fn held_text_comes_out_when_it_was_no_stop_string() {
        let (text, stopped) = run(&["a#", "#b", "#"], &["###"]);
        assert!(!stopped);
        assert_eq!(text, ["a", "##b", "", "#"]);
    }

    #[test]
    fn the_result_does_not_depend_on_token_borders() {
        let text = "αβ end of note: endnote endn END";
        for stops in [
            vec!["endn"],
            vec!["endnote", "dno"],
            vec!["note", "e:", "of note"],
            vec!["β e", "αβ end"],
            vec!["missing"],
        ] {
            let (whole, stopped) = run(&[text], &stops);
            let letters: Vec<&'static str> = text
                .char_indices()
                .map(|(at, c)| &text[at..at + c.len_utf8()])
                .collect();
            let (parts, parts_stopped) = run(&letters, &stops);
            assert_eq!(parts.concat(), whole.concat(), "{stops:?}");
            assert_eq!(parts_stopped, stopped, "{stops:?}");
            assert_eq!(stopped, stops != ["missing"]);
        }
    }
}
