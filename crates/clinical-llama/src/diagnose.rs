//! Where numbers stop being finite.

use clinical_nn::{FirstNonFinite, rows_to_tensor};

use crate::Llama;

impl Llama {
    /// The first part whose numbers are not finite while these tokens are read in one pass.
    pub(crate) fn non_finite_part(&self, ids: &[u32]) -> Option<String> {
        self.check(&[ids]).ok()?;
        let device = self.device();
        let mut first = FirstNonFinite::default();
        let x = self
            .model
            .embed_tokens
            .forward(rows_to_tensor(&[ids], 0, &device));
        first.look("token embedding", None, &x);
        let context = self.context(0, ids.len(), &[ids.len()], &device);
        let x = self
            .model
            .layers_watched(x, &context, None, |part, layer, x| {
                first.look(part, Some(layer), x);
            });
        let x = self.model.norm.forward(x.narrow(1, ids.len() - 1, 1));
        first.look("last norm", None, &x);
        first.look("output layer", None, &self.logits(x));
        first.into_part()
    }
}
