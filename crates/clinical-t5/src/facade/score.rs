//! How likely a text is for a text.

use clinical_generate::Score;

use super::{ClinicalT5, T5Options};
use crate::{Error, Result, Seq2SeqBatch};

impl ClinicalT5 {
    /// Mean cross entropy of a target in nats per token, the end token included: what `transformers` returns as the
    /// loss.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::Model`], [`Error::Loss`], [`Error::Tokenizer`].
    pub fn loss(&self, text: &str, target: &str) -> Result<f32> {
        self.loss_with(text, target, &T5Options::new())
    }

    /// [`Self::loss`] with options.
    ///
    /// # Errors
    ///
    /// Those of [`Self::loss`], and [`Error::NothingLeft`], [`Error::Deid`], [`Error::Cancelled`]; [`Error::NoWindows`]
    /// where a text that is too long was to be read in windows.
    pub fn loss_with(&self, text: &str, target: &str, options: &T5Options) -> Result<f32> {
        let input = self.part_to_score(text, options, "loss")?;
        let target = self.tokenizer.encode(target, true)?.into_ids();
        let pad = self.config().pad_token_id;
        let device = self.model.device();
        let batch = Seq2SeqBatch::from_rows(&[&input], &[&target], pad, &device);
        Ok(self.model.loss(&batch)?.mean.into_scalar())
    }

    /// How likely the model finds each of several targets: the log-probability of each of its tokens, the end token
    /// included. The text is read once.
    ///
    /// ```
    /// let t5 = clinical_t5::ClinicalT5::embedded()?;
    /// let expansions = ["congestive heart failure", "chest pain"];
    /// let scores = t5.score("expand: CHF", &expansions)?;
    /// assert!(scores[0].total() > scores[1].total());
    /// # Ok::<(), clinical_t5::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::Model`], [`Error::Loss`], [`Error::NotFinite`], [`Error::Tokenizer`].
    pub fn score<S: AsRef<str>>(&self, text: &str, targets: &[S]) -> Result<Vec<Score>> {
        self.score_with(text, targets, &T5Options::new())
    }

    /// [`Self::score`] with options.
    ///
    /// # Errors
    ///
    /// Those of [`Self::score`], and [`Error::NothingLeft`], [`Error::Deid`], [`Error::Cancelled`];
    /// [`Error::NoWindows`] where a text that is too long was to be read in windows.
    pub fn score_with<S: AsRef<str>>(
        &self,
        text: &str,
        targets: &[S],
        options: &T5Options,
    ) -> Result<Vec<Score>> {
        let input = self.part_to_score(text, options, "score")?;
        let targets = targets
            .iter()
            .map(|target| Ok(self.tokenizer.encode(target.as_ref(), true)?.into_ids()))
            .collect::<Result<Vec<Vec<u32>>>>()?;
        let targets: Vec<&[u32]> = targets.iter().map(Vec::as_slice).collect();
        let at_once = options.batch();
        let found = self.model.log_probs_of(&input, &targets, at_once)?;
        let mut scores = Vec::with_capacity(targets.len());
        for (target, log_probs) in targets.iter().zip(found) {
            if !log_probs.iter().all(|value| value.is_finite()) {
                return Err(self.not_finite(&input, target));
            }
            scores.push(Score::new(log_probs));
        }
        Ok(scores)
    }

    fn part_to_score(
        &self,
        text: &str,
        options: &T5Options,
        call: &'static str,
    ) -> Result<Vec<u32>> {
        self.model.decoder()?;
        if options.call.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(self.part(text, options, call)?.ids)
    }
}
