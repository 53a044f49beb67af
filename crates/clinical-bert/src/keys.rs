//! The names of published checkpoints.

use clinical_weights::{FromCheckpoint, KeyMap};

use crate::config::Family;
use crate::heads::{
    BertForPretraining, BertForQuestionAnswering, BertForSequenceClassification,
    BertForTokenClassification,
};
use crate::model::Bert;

/// Rules for an encoder that stands at `at` in the module (`""` or `"bert."`). Directories with and without the `bert.`
/// prefix, with `gamma` and `beta`, with and without pooler and heads are read; written is the published spelling of
/// the family.
pub(crate) fn encoder(bert: &Bert, at: &str) -> KeyMap {
    let prefix = match bert.family {
        Family::Roberta => "roberta.",
        Family::Bert | Family::MegatronBert => "bert.",
    };
    let mut keys = KeyMap::new()
        .accept("**.gamma", "**.weight")
        .accept("**.beta", "**.bias");
    if at.is_empty() {
        keys = keys.accept(&format!("{prefix}**"), "**");
    } else {
        for part in ["embeddings.**", "encoder.**", "pooler.**"] {
            keys = keys.accept(part, &format!("{prefix}{part}"));
        }
        if prefix != at {
            keys = keys.rename(&format!("{prefix}**"), &format!("{at}**"));
        }
    }
    let mut parts = vec![
        ("embeddings.LayerNorm.**", "embeddings.norm.**"),
        ("pooler.dense.**", "pooler.**"),
        ("encoder.ln.**", "last_norm.**"),
        ("encoder.layer.*.attention.self.**", "layers.*.attention.**"),
        (
            "encoder.layer.*.attention.output.dense.**",
            "layers.*.attention.output.**",
        ),
        (
            "encoder.layer.*.intermediate.dense.**",
            "layers.*.feed_forward.intermediate.**",
        ),
        (
            "encoder.layer.*.output.dense.**",
            "layers.*.feed_forward.output.**",
        ),
    ];
    parts.extend(if bert.family == Family::MegatronBert {
        [
            (
                "encoder.layer.*.attention.ln.**",
                "layers.*.attention.norm.**",
            ),
            ("encoder.layer.*.ln.**", "layers.*.feed_forward.norm.**"),
        ]
    } else {
        [
            (
                "encoder.layer.*.attention.output.LayerNorm.**",
                "layers.*.attention.norm.**",
            ),
            (
                "encoder.layer.*.output.LayerNorm.**",
                "layers.*.feed_forward.norm.**",
            ),
        ]
    });
    for (checkpoint, module) in parts {
        keys = keys.rename(&format!("{at}{checkpoint}"), &format!("{at}{module}"));
    }
    keys = keys
        .ignore("**.position_ids")
        .ignore("**.embeddings.token_type_ids");
    if bert.pooler.is_none() {
        keys = keys.ignore(&format!("{at}pooler.**"));
    }
    keys
}

/// [`encoder`] for a model with a head: the pretraining heads are not wanted.
pub(crate) fn under_a_head(bert: &Bert) -> KeyMap {
    encoder(bert, "bert.").ignore("cls.**").ignore("lm_head.**")
}

/// [`encoder`] alone: no head is wanted.
pub(crate) fn alone(bert: &Bert) -> KeyMap {
    encoder(bert, "")
        .ignore("cls.**")
        .ignore("lm_head.**")
        .ignore("classifier.**")
        .ignore("qa_outputs.**")
}

/// [`encoder`] with the pretraining heads.
pub(crate) fn pretraining(bert: &Bert, next_sentence: bool) -> KeyMap {
    let keys = encoder(bert, "bert.");
    let table = "bert.embeddings.word_embeddings.weight";
    match bert.family {
        Family::Roberta => keys
            .rename("lm_head.dense.**", "transform.**")
            .rename("lm_head.layer_norm.**", "norm.**")
            .rename("lm_head.bias", "bias")
            .tied(&[table, "lm_head.decoder.weight"])
            .tied(&["bias", "lm_head.decoder.bias"]),
        Family::Bert | Family::MegatronBert => {
            let keys = keys
                .rename("cls.predictions.transform.dense.**", "transform.**")
                .rename("cls.predictions.transform.LayerNorm.**", "norm.**")
                .rename("cls.predictions.bias", "bias")
                .tied(&[table, "cls.predictions.decoder.weight"])
                .tied(&["bias", "cls.predictions.decoder.bias"]);
            if next_sentence {
                keys.rename("cls.seq_relationship.**", "next_sentence.**")
            } else {
                keys.ignore("cls.seq_relationship.**")
            }
        }
    }
}

impl FromCheckpoint for Bert {
    fn key_map(&self) -> KeyMap {
        alone(self)
    }
}

impl FromCheckpoint for BertForPretraining {
    fn key_map(&self) -> KeyMap {
        pretraining(&self.bert, self.next_sentence.is_some())
    }
}

impl FromCheckpoint for BertForSequenceClassification {
    fn key_map(&self) -> KeyMap {
        let keys = under_a_head(&self.bert);
        if self.dense.is_some() {
            keys.rename("classifier.dense.**", "dense.**")
                .rename("classifier.out_proj.**", "classifier.**")
        } else {
            keys
        }
    }
}

impl FromCheckpoint for BertForTokenClassification {
    fn key_map(&self) -> KeyMap {
        under_a_head(&self.bert)
    }
}

impl FromCheckpoint for BertForQuestionAnswering {
    fn key_map(&self) -> KeyMap {
        under_a_head(&self.bert).rename("qa_outputs.**", "outputs.**")
    }
}
