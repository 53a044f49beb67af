#!/usr/bin/env python3
"""Seeded tiny BERT, RoBERTa and Megatron-BERT models with their outputs under `transformers` (f32, CPU).

    python scripts/bert_reference.py            # writes crates/clinical-bert/tests/data/<variant>/
    python scripts/bert_reference.py minilm DIR # writes crates/clinical-bert/tests/data/minilm.json from all-MiniLM-L6-v2 in DIR

Versions: scripts/requirements.txt.
"""

import json
import sys
from pathlib import Path

import torch
import transformers as tf
from safetensors.torch import save_file

DATA = Path(__file__).resolve().parent.parent / "crates/clinical-bert/tests/data"
SIZES = dict(vocab_size=67, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
             max_position_embeddings=40, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
# Rows of different lengths; the second is a pair.
ROWS = [[2, 5, 9, 33, 60, 3], [2, 7, 3, 11, 12, 13, 14, 15, 66, 3], [2, 3]]
TYPES = [[0] * 6, [0, 0, 0, 1, 1, 1, 1, 1, 1, 1], [0, 0]]


def spread(model):
    """Values far enough from zero that a wrong formula shows: the published initialisation of 0.02 hides most."""
    torch.manual_seed(11)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 2:
                p.normal_(0, 0.25)
            elif name.endswith("weight"):
                p.normal_(1, 0.2)
            else:
                p.normal_(0, 0.2)
    return model.eval()


def batch(rows, types, pad, use_types):
    longest = max(map(len, rows))
    ids = torch.tensor([r + [pad] * (longest - len(r)) for r in rows])
    mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows])
    kinds = torch.tensor([t + [0] * (longest - len(t)) for t in types]) if use_types else None
    return dict(input_ids=ids, attention_mask=mask, token_type_ids=kinds)


def flat(tensor, lengths=None):
    """Values of the real positions, row by row, six digits."""
    rows = tensor if lengths is None else [tensor[i, :n] for i, n in enumerate(lengths)]
    return [[round(float(v), 6) for v in row.reshape(-1)] for row in rows]


def write(name, model, config, outputs, rename=lambda key: key, drop=()):
    folder = DATA / name
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {rename(k): v.detach().clone().contiguous() for k, v in model.state_dict().items()
               if not any(part in k for part in drop)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = config.to_diff_dict() | {"model_type": config.model_type, "architectures": [type(model).__name__]}
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    (folder / "expected.json").write_text(json.dumps(outputs) + "\n")


def states(base, inputs, lengths):
    out = base(**inputs, output_hidden_states=True)
    found = {"rows": ROWS, "hidden_states": [flat(h, lengths) for h in out.hidden_states]}
    if getattr(out, "pooler_output", None) is not None:
        found["pooled"] = flat(out.pooler_output)
    return found


@torch.no_grad()
def tiny():
    lengths = [len(r) for r in ROWS]
    bert, roberta, megatron = tf.BertConfig, tf.RobertaConfig, tf.MegatronBertConfig
    drop = ("position_ids", "decoder.weight", "decoder.bias")
    variants = [
        ("bert_pretraining", tf.BertForPreTraining, bert(**SIZES), True),
        ("bert_sequence", tf.BertForSequenceClassification, bert(**SIZES, num_labels=3), True),
        ("bert_token", tf.BertForTokenClassification, bert(**SIZES, num_labels=5), True),
        ("bert_span", tf.BertForQuestionAnswering, bert(**SIZES, hidden_act="gelu_new"), True),
        ("roberta_masked", tf.RobertaForMaskedLM, roberta(**SIZES, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5), False),
        ("roberta_sequence", tf.RobertaForSequenceClassification,
         roberta(**SIZES, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5, num_labels=4), False),
        ("megatron_masked", tf.MegatronBertForMaskedLM, megatron(**SIZES), True),
    ]
    for name, kind, config, use_types in variants:
        config._attn_implementation = "eager"
        model = spread(kind(config))
        inputs = batch(ROWS, TYPES, config.pad_token_id, use_types)
        out = model(**inputs)
        base = getattr(model, model.base_model_prefix)
        outputs = states(base, inputs, lengths) | {"types": TYPES if use_types else [[], [], []]}
        if hasattr(out, "prediction_logits"):
            outputs["logits"] = flat(out.prediction_logits, lengths)
            outputs["next_sentence"] = flat(out.seq_relationship_logits)
        elif hasattr(out, "start_logits"):
            outputs["logits"] = flat(torch.stack([out.start_logits, out.end_logits], -1), lengths)
        else:
            outputs["logits"] = flat(out.logits, lengths if out.logits.dim() == 3 else None)
        write(name, model, config, outputs, drop=drop)
    # An encoder alone, as old files have it: no `bert.` prefix, `gamma` and `beta`, the position buffer, a pooler.
    config = bert(**SIZES)
    model = spread(tf.BertModel(config))
    inputs = batch(ROWS, TYPES, 0, True)
    old = lambda k: k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    write("bert_old", model, config, states(model, inputs, lengths) | {"types": TYPES}, rename=old)


@torch.no_grad()
def minilm(folder):
    """First, middle and last values of each token's state, mean vector included, for invented sentences."""
    texts = ["The patient was admitted with chest pain.", "She takes metoprolol 25 mg b.i.d.", "fever",
             "Follow-up with the cardiology clinic in two weeks; CT of the abdomen was negative for obstruction."]
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    model = tf.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    rows = []
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt")
        out = model(**inputs)
        rows.append({"text": text, "ids": inputs["input_ids"][0].tolist(), "last": flat(out.last_hidden_state[0]),
                     "pooled": flat(out.pooler_output)[0], "mean": flat(out.last_hidden_state.mean(1))[0]})
    for row in rows:
        row["last"] = [v[:4] + v[-4:] for v in row["last"]]
    (DATA / "minilm.json").write_text(json.dumps(rows) + "\n")


if __name__ == "__main__":
    minilm(sys.argv[2]) if sys.argv[1:2] == ["minilm"] else tiny()
