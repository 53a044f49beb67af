#!/usr/bin/env python3
"""What Python transformers computes in training mode when its dropout draws the masks of `clinical_nn::Dropout`.

    python scripts/dropout_reference.py   # writes crates/clinical-{t5,bert}/tests/data/dropout.json

`torch.nn.functional.dropout` is replaced by the published formula. The sites are listed in the order in which
transformers drops, so a place that is missing, moved or too many on either side changes the logits. The weights are
those of scripts/t5_reference.py and scripts/bert_reference.py. Made with torch 2.15.0 and transformers 5.24.0.
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers as tf

CRATES = Path(__file__).resolve().parent.parent / "crates"
SEED = 20_261_130
GOLDEN = 0x9E3779B97F4A7C15
U64 = (1 << 64) - 1
BERT_RATES = dict(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3, classifier_dropout=0.4)
ROWS = [[2, 5, 9, 33, 60, 3], [2, 7, 3, 11, 12, 13, 14, 15, 66, 3], [2, 3]]


def mix(z):
    """The finaliser of splitmix64, of a number or of an array of uint64."""
    number = isinstance(z, int)
    z = np.array([z], dtype=np.uint64) if number else z
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return int(z[0]) if number else z


def fold(a, b):
    return mix(((a ^ b) + GOLDEN) & U64)


def mask(seed, site, rate, shape):
    count = int(np.prod(shape))
    key = fold(fold(0, seed), site)
    element = np.arange(count, dtype=np.uint64)
    words = mix(np.uint64(key) + (element // np.uint64(2) + np.uint64(1)) * np.uint64(GOLDEN))
    bits = np.where(element % np.uint64(2) == 0, words & np.uint64(0xFFFFFFFF), words >> np.uint64(32))
    kept = bits >= np.uint64(round(rate * 2**32))
    return torch.from_numpy(np.where(kept, 1 / (1 - rate), 0.0).astype(np.float32).reshape(shape))


def with_sites(sites, run):
    """`run()` with these sites one after another, all of which have to be used."""
    left = list(sites)

    def dropout(x, p=0.5, training=True, inplace=False):
        return x * mask(SEED, left.pop(0), p, tuple(x.shape)) if training else x

    plain, torch.nn.functional.dropout = torch.nn.functional.dropout, dropout
    try:
        found = run()
    finally:
        torch.nn.functional.dropout = plain
    assert not left, left
    return found


def digits(tensor):
    return [round(float(value), 6) for value in tensor.reshape(-1)]


def t5_sites(stack, blocks, parts):
    def site(block, part, place):
        return (stack << 32) + (block << 8) + 2 * part + place

    inner = [site(block, part, place) for block in range(blocks) for part in parts for place in (0, 1)]
    return [site(0, 0, 0), *inner, site(0, 0, 1)]


@torch.no_grad()
def t5():
    folder, found = CRATES / "clinical-t5/tests/data", {}
    inputs = torch.tensor([[5, 9, 30, 41, 7, 1], [8, 12, 1, 0, 0, 0]])
    decoder = torch.tensor([[0, 17, 22, 3], [0, 44, 2, 9]])
    for name in ["v1_0", "v1_1", "uneven"]:
        config = tf.T5Config.from_pretrained(folder / name, dropout_rate=0.25)
        net = tf.T5ForConditionalGeneration.from_pretrained(folder / name, config=config, attn_implementation="eager")
        sites = t5_sites(0, config.num_layers, [1, 3]) + t5_sites(1, config.num_decoder_layers, [1, 2, 3])
        args = dict(input_ids=inputs, attention_mask=(inputs != 0).long(), decoder_input_ids=decoder, use_cache=False)
        found[name] = digits(with_sites(sites, lambda: net.train()(**args).logits))
    found |= dict(seed=SEED, rate=0.25, inputs=inputs.tolist(), decoder=decoder.tolist())
    (folder / "dropout.json").write_text(json.dumps(found) + "\n")


@torch.no_grad()
def bert():
    folder, found = CRATES / "clinical-bert/tests/data", {}
    longest = max(map(len, ROWS))
    for name, kind, last in [
        ("bert_pretraining", tf.BertForPreTraining, []),
        ("bert_sequence", tf.BertForSequenceClassification, [1]),
        ("bert_token", tf.BertForTokenClassification, [1]),
        ("bert_span", tf.BertForQuestionAnswering, []),
        ("roberta_sequence", tf.RobertaForSequenceClassification, [1, 2]),
        ("roberta_token", tf.RobertaForTokenClassification, [1]),
        ("megatron_sequence", tf.MegatronBertForSequenceClassification, [1]),
        ("megatron_token", tf.MegatronBertForTokenClassification, [1]),
    ]:
        config = kind.config_class.from_pretrained(folder / name)
        for key, rate in BERT_RATES.items():
            setattr(config, key, rate)
        net = kind.from_pretrained(folder / name, config=config, attn_implementation="eager").train()
        pad = net.config.pad_token_id
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in ROWS])
        seen = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ROWS])
        inner = [4 * (layer + 1) + place for layer in range(net.config.num_hidden_layers) for place in (0, 1, 2)]
        out = with_sites([0, *inner, *last], lambda: net(input_ids=ids, attention_mask=seen))
        if name == "bert_pretraining":
            found[name] = digits(out.seq_relationship_logits)
        elif name == "bert_span":
            both = torch.stack([out.start_logits, out.end_logits], -1)
            found[name] = [value for row, tokens in zip(both, ROWS) for value in digits(row[: len(tokens)])]
        elif name.endswith("_token"):
            found[name] = [value for row, tokens in zip(out.logits, ROWS) for value in digits(row[: len(tokens)])]
        else:
            found[name] = digits(out.logits)
    found = dict(seed=SEED, rows=ROWS, rates=BERT_RATES, logits=found)
    (folder / "dropout.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    print("mask(7, 3, 0.5), eight elements:", mask(7, 3, 0.5, (8,)).tolist())
    print("mask(0, 0, 0.25), seven elements:", mask(0, 0, 0.25, (7,)).tolist())
    print("fold(fold(0, 1), 2) =", hex(fold(fold(0, 1), 2)))
    t5()
    bert()
