//! Names in published checkpoints.

use clinical_weights::{FromCheckpoint, KeyMap, PackingPolicy};

use crate::T5;

impl FromCheckpoint for T5 {
    /// How the names of published T5 checkpoints map to this module.
    ///
    /// The embedding table may be stored as `shared`, `encoder.embed_tokens`, `decoder.embed_tokens` and, where the
    /// output layer is tied, `lm_head`, in any selection. The unused bias table of the first cross-attention, which old
    /// files have, is ignored.
    fn key_map(&self) -> KeyMap {
        // For writing the rules are tried backwards: the norms of a sub-layer before its matrices.
        let keys = KeyMap::new()
            .rename("**.layer.0.SelfAttention.**", "**.self_attention.**")
            .rename(
                "**.layer.0.layer_norm.**",
                "**.self_attention.layer_norm.**",
            )
            .rename("**.layer.1.EncDecAttention.**", "**.cross_attention.**")
            .rename(
                "decoder.**.layer.1.layer_norm.**",
                "decoder.**.cross_attention.layer_norm.**",
            )
            .rename(
                "encoder.**.layer.1.DenseReluDense.**",
                "encoder.**.feed_forward.**",
            )
            .rename(
                "decoder.**.layer.2.DenseReluDense.**",
                "decoder.**.feed_forward.**",
            )
            .rename(
                "encoder.**.layer.1.layer_norm.**",
                "encoder.**.feed_forward.layer_norm.**",
            )
            .rename(
                "decoder.**.layer.2.layer_norm.**",
                "decoder.**.feed_forward.layer_norm.**",
            )
            .ignore("decoder.block.*.layer.1.EncDecAttention.relative_attention_bias.weight")
            .with_packing(
                PackingPolicy::new()
                    // Its inputs have outliers: 8-bit activations make T5 talk nonsense (transformers issues 20287,
                    // 14351).
                    .outliers("**.feed_forward.wo.weight")
                    .eight_bits("lm_head.weight"),
            );
        let tables = [
            "shared.weight",
            "encoder.embed_tokens.weight",
            "decoder.embed_tokens.weight",
            "lm_head.weight",
        ];
        let tied = if self.lm_head.is_none() { 4 } else { 3 };
        keys.tied(&tables[..tied])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::T5Config;

    #[test]
    fn there_and_back() {
        let keys = T5Config::t5_base()
            .init(&clinical_kernels::cpu())
            .unwrap()
            .key_map();
        for (checkpoint, module) in [
            ("shared.weight", "shared.weight"),
            (
                "encoder.final_layer_norm.weight",
                "encoder.final_layer_norm.weight",
            ),
            (
                "encoder.block.3.layer.0.SelfAttention.q.weight",
                "encoder.block.3.self_attention.q.weight",
            ),
            (
                "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                "decoder.block.0.self_attention.relative_attention_bias.weight",
            ),
            (
                "encoder.block.0.layer.0.layer_norm.weight",
                "encoder.block.0.self_attention.layer_norm.weight",
            ),
            (
                "encoder.block.0.layer.1.DenseReluDense.wi.weight",
                "encoder.block.0.feed_forward.wi.weight",
            ),
            (
                "encoder.block.0.layer.1.layer_norm.weight",
                "encoder.block.0.feed_forward.layer_norm.weight",
            ),
            (
                "decoder.block.11.layer.1.EncDecAttention.o.weight",
                "decoder.block.11.cross_attention.o.weight",
            ),
            (
                "decoder.block.2.layer.1.layer_norm.weight",
                "decoder.block.2.cross_attention.layer_norm.weight",
            ),
            (
                "decoder.block.2.layer.2.DenseReluDense.wi_0.weight",
                "decoder.block.2.feed_forward.wi_0.weight",
            ),
            (
                "decoder.block.2.layer.2.layer_norm.weight",
                "decoder.block.2.feed_forward.layer_norm.weight",
            ),
        ] {
            assert_eq!(keys.module_name(checkpoint), module);
            assert_eq!(keys.checkpoint_name(module), checkpoint);
        }
    }
}
