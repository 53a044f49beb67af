#!/usr/bin/env python3
"""What the block formats of llama.cpp cost a LLaMA by the rounding of its weights alone, on the text of `examples/perplexity`.

    scripts/simulate_formats.py MODEL notes.csv --column section_text --tokens 5000 --formats q8_0 q4_0 q4_1

Every matrix of the layers is rounded as `ggml` rounds it without an importance matrix (blocks of 32; Q8_0: largest magnitude
to 127; Q4_0: the value of the largest magnitude to -8; Q4_1: smallest and largest value to 0 and 15; scales in f16), the
table to Q8_0, as llama.cpp keeps it; activations stay f32, which is kinder than llama.cpp. Windows, loss and agreement are
those of `clinical_bench::quality`. Needs torch, transformers and tokenizers.
"""

import argparse
import csv
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

WINDOW = 512


def half(values):
    return values.half().float()


def inverse(step):
    return torch.where(step != 0, 1 / step, torch.zeros_like(step))


def q8_0(weight):
    blocks = weight.reshape(-1, 32)
    step = blocks.abs().amax(1, keepdim=True) / 127
    return (torch.round(blocks * inverse(step)) * half(step)).reshape(weight.shape)


def q4_0(weight):
    blocks = weight.reshape(-1, 32)
    step = blocks.gather(1, blocks.abs().argmax(1, keepdim=True)) / -8
    codes = torch.floor(blocks * inverse(step) + 8.5).clamp(0, 15) - 8
    return (codes * half(step)).reshape(weight.shape)


def q4_1(weight):
    blocks = weight.reshape(-1, 32)
    low, high = blocks.amin(1, keepdim=True), blocks.amax(1, keepdim=True)
    step = (high - low) / 15
    codes = torch.floor((blocks - low) * inverse(step) + 0.5).clamp(0, 15)
    return (codes * half(step) + half(low)).reshape(weight.shape)


FORMATS = {"q8_0": q8_0, "q4_0": q4_0, "q4_1": q4_1}


def windows(arguments):
    """Rows of one column in pieces of several thousand characters, cut into windows."""
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    piece, count = "", 0
    with open(arguments.text, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            piece += row[arguments.column] + "\n\n"
            if len(piece.encode()) <= 8000:
                continue
            ids, piece = tokenizer.encode(piece).ids, ""
            for start in range(0, len(ids), WINDOW):
                window = ids[start:start + WINDOW]
                if len(window) > 1:
                    yield torch.tensor([window])
                    count += len(window) - 1
                if count >= arguments.tokens:
                    return


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--column", default="text")
    parser.add_argument("--tokens", type=int, default=5000)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    arguments = parser.parse_args()

    load = lambda: AutoModelForCausalLM.from_pretrained(arguments.model, torch_dtype=torch.float32).eval()
    reference, other = load(), load()
    texts = list(windows(arguments))
    for name in arguments.formats:
        for (_, source), (path, target) in zip(reference.named_parameters(), other.named_parameters()):
            if source.dim() == 2:
                rounding = q8_0 if "embed_tokens" in path or "lm_head" in path else FORMATS[name]
                target.copy_(rounding(source))
        loss, other_loss, same, tokens = 0.0, 0.0, 0, 0
        for ids in texts:
            first, second = reference(ids).logits[0, :-1], other(ids).logits[0, :-1]
            loss += F.cross_entropy(first, ids[0, 1:], reduction="sum").item()
            other_loss += F.cross_entropy(second, ids[0, 1:], reduction="sum").item()
            same += (first.argmax(-1) == second.argmax(-1)).sum().item()
            tokens += ids.shape[1] - 1
        change = math.exp((other_loss - loss) / tokens) - 1
        print(f"{name}: {tokens} tokens, perplexity {math.exp(loss / tokens):.3f} {100 * change:+.3f} %, "
              f"same next token {100 * same / tokens:.2f} %", flush=True)


if __name__ == "__main__":
    main()
