//! `clean_up_tokenization` of `transformers`: removes the blanks before punctuation and English contractions.

/// The replacements, done one after the other over the whole text.
const RULES: [(&str, &str); 10] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

fn clean(text: &str) -> String {
    RULES.iter().fold(text.to_owned(), |text, (old, new)| {
        if text.contains(old) {
            text.replace(old, new)
        } else {
            text
        }
    })
}

/// Cleans a text that comes in parts; the results concatenate to the cleaned whole.
///
/// No rule matches across a character that stands inside no pattern (patterns go on only after a blank, `'`, `n`, `v`
/// or `r`), and the rules remove nothing but blanks. So the text up to the last such character can be cleaned by
/// itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct CleanUp {
    held: String,
}

impl CleanUp {
    pub(crate) fn push(&mut self, text: &str, out: &mut String) {
        self.held.push_str(text);
        let inside = |c: char| matches!(c, ' ' | '\'' | 'n' | 'v' | 'r');
        let certain = self.held.trim_end_matches(inside).len();
        if certain > 0 {
            out.push_str(&clean(&self.held[..certain]));
            self.held.drain(..certain);
        }
    }

    pub(crate) fn finish(&mut self, out: &mut String) {
        out.push_str(&clean(&std::mem::take(&mut self.held)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_concatenate_to_the_whole(parts in prop::collection::vec("[ '.?!,nvtmsrex]{0,5}", 0..12)) {
            let (mut stream, mut out) = (CleanUp::default(), String::new());
            for part in &parts {
                stream.push(part, &mut out);
            }
            stream.finish(&mut out);
            prop_assert_eq!(out, clean(&parts.concat()));
        }
    }

    #[test]
    fn the_rules_run_in_order() {
        assert_eq!(clean("he is n't , well . x  ' mz"), "he isn't, well. x'mz");
    }
}
