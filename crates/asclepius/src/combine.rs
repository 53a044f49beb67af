//! One answer from those of several windows.

use crate::answer::Answer;
use crate::options::AnswerOptions;

/// The index of the answer with the highest mean log-probability, among those that found something if there are any.
pub(crate) fn best(answers: &[Answer], options: &AnswerOptions) -> usize {
    let found = |answer: &Answer| !options.is_no_answer(&answer.text);
    let any = answers.iter().any(found);
    let mut best: Option<(usize, f64)> = None;
    for (at, answer) in answers.iter().enumerate() {
        let score = answer.log_prob / answer.usage.new_tokens.max(1) as f64;
        // The earlier of two equals.
        if (!any || found(answer)) && best.is_none_or(|(_, highest)| score > highest) {
            best = Some((at, score));
        }
    }
    best.map_or(0, |(at, _)| at)
}

/// The index of the first answer that found something; 0 if none did.
pub(crate) fn first_found(answers: &[Answer], options: &AnswerOptions) -> usize {
    let found = |answer: &Answer| !options.is_no_answer(&answer.text);
    answers.iter().position(found).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Usage;
    use clinical_generate::StopReason;

    fn answer(text: &str, log_prob: f64, new_tokens: usize) -> Answer {
        Answer {
            text: text.to_owned(),
            stop: StopReason::EndToken,
            usage: Usage {
                prompt_tokens: 1,
                reused_tokens: 0,
                new_tokens,
                evidence_tokens: 0,
            },
            log_prob,
            tokens: Vec::new(),
            style: crate::Style::Text,
            windows: Vec::new(),
            window: None,
            evidence: Vec::new(),
            unsupported: Vec::new(),
            support: None,
            shown: None,
        }
    }

    #[test]
    fn the_best_mean_wins_and_no_answer_counts_last() {
        let options = AnswerOptions::default();
        let none = answer("This is not mentioned in the summary.", -0.1, 10);
        let long = answer("pneumonia of the left lung", -2.0, 10);
        let short = answer("fever", -1.0, 2);
        assert_eq!(
            best(&[none.clone(), short.clone(), long.clone()], &options),
            2
        );
        assert_eq!(best(&[none.clone(), none.clone()], &options), 0);
        assert_eq!(first_found(&[none.clone(), short, long], &options), 1);
        assert_eq!(first_found(&[none], &options), 0);
    }
}
