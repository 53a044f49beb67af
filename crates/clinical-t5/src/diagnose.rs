//! Where numbers stop being finite.

use clinical_generate::ModelError;
use clinical_nn::{FirstNonFinite, rows_to_tensor};

use crate::T5;

impl T5 {
    /// The first part whose numbers are not finite while the encoder reads `prompt` and the decoder `answer`, its start
    /// token first.
    pub(crate) fn non_finite_part(&self, prompt: &[u32], answer: &[u32]) -> Option<String> {
        ModelError::check_prompts(&[prompt, answer], self.shared.vocabulary()).ok()?;
        let device = self.device();
        let none = burn::nn::DropoutConfig::new(0.0).init();
        let mut first = FirstNonFinite::default();
        let x = self.shared.forward(rows_to_tensor(&[prompt], 0, &device));
        first.look("token embedding", None, &x);
        let states = self
            .encoder
            .forward_watched(x, None, &none, |part, block, x| {
                first.look(&format!("encoder's {part}"), Some(block), x);
            });
        first.look("encoder's last norm", None, &states);
        let x = self.shared.forward(rows_to_tensor(&[answer], 0, &device));
        let x = self
            .decoder
            .forward_watched(x, states, None, &none, |part, block, x| {
                first.look(&format!("decoder's {part}"), Some(block), x);
            });
        first.look("decoder's last norm", None, &x);
        first.look("output layer", None, &self.project(x));
        first.into_part()
    }
}
