"""Saves models with the `save` example and opens them in Python's `transformers`.

    cargo build --release --example save
    python scripts/check_saved.py [--bin target/release/examples/save]

For tiny models of every architecture, and for the GGUF files made by scripts/make_gguf_fixtures.py: logits (of an encoder,
hidden states) of the saved directory are those of the original within 1e-6 in f32, in one file and in shards; in bf16
and f16 they are those of the rounded weights. With other numbers of rows the shared logits stay, and new rows are the mean.
Tokenizers give the same ids. Exit status 1 if anything differs. Needs torch, transformers, gguf (scripts/requirements.txt).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parent.parent
CRATES = ROOT / "crates"
T5 = CRATES / "clinical-t5"
LLAMA = CRATES / "clinical-llama" / "tests" / "data"
BERT = CRATES / "clinical-bert" / "tests" / "data"
GGUF = CRATES / "asclepius" / "tests" / "data" / "gguf"
TEXT = "The patient has no pain and was sent home."

transformers.logging.set_verbosity_error()


def model_class(path):
    return getattr(transformers, json.loads((path / "config.json").read_text())["architectures"][0])


def outputs(model):
    """What the model makes of a few ids, whatever its head."""
    ids = torch.tensor([[5, 9, 3, 17, 8, 2]])
    more = {"decoder_input_ids": torch.tensor([[0, 4, 7]])} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        found = model(input_ids=ids, **more)
    values = [value for value in found.to_tuple() if isinstance(value, torch.Tensor)]
    return values


def opened(path, cls=None, **more):
    return (cls or model_class(path)).from_pretrained(path, dtype=torch.float32, **more).eval()


class Check:
    def __init__(self, binary):
        self.binary, self.failed = binary, 0

    def save(self, model, out, *arguments):
        subprocess.run([self.binary, "--model", str(model), "--out", str(out), *map(str, arguments)], check=True)

    def say(self, name, ok, detail=""):
        print(f"{'ok  ' if ok else 'FAIL'} {name} {detail}")
        self.failed += not ok

    def same(self, name, found, expected):
        # Sums may be ordered otherwise where tensors lie otherwise in memory.
        ok = len(found) == len(expected) and all(torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(found, expected))
        worst = max((float((a - b).abs().max()) for a, b in zip(found, expected) if a.shape == b.shape), default=-1.0)
        self.say(name, ok, f"largest difference {worst:.1e}")

    def directory(self, name, source, original, tokenizer=True):
        """One original: in one file, in shards, rounded, grown, shrunk."""
        expected = outputs(original)
        vocabulary = original.config.vocab_size
        with tempfile.TemporaryDirectory() as temporary:
            temporary = Path(temporary)
            one = temporary / "one"
            self.save(source, one)
            self.same(f"{name}: one file", outputs(opened(one)), expected)
            self.say(f"{name}: its names", sorted(p.name for p in one.iterdir() if p.suffix == ".safetensors") == ["model.safetensors"])

            shards = temporary / "shards"
            self.save(source, shards, "--shard-bytes", 20_000)
            count = len(list(shards.glob("model-*-of-*.safetensors")))
            self.same(f"{name}: {count} shards", outputs(opened(shards)), expected)
            self.say(f"{name}: several", count > 1)
            # Over the same directory: the shards go.
            self.save(source, shards)
            self.same(f"{name}: again in one file", outputs(opened(shards)), expected)
            self.say(f"{name}: no shards left", not list(shards.glob("model-*")))

            for precision, dtype in (("bf16", torch.bfloat16), ("f16", torch.float16)):
                out = temporary / precision
                self.save(source, out, "--precision", precision)
                stored = (model_class(out)).from_pretrained(out, dtype="auto")
                own = dict(original.named_parameters())
                # T5 keeps its `wo` in f32 in half precision, here and in transformers.
                ok = all(torch.equal(value.to(dtype), own[key].to(dtype)) for key, value in stored.named_parameters())
                self.say(f"{name}: {precision}", ok and any(p.dtype == dtype for p in stored.parameters()))

            if tokenizer:
                ids = AutoTokenizer.from_pretrained(one)(TEXT)["input_ids"]
                again = temporary / "again"
                self.save(one, again)
                self.say(f"{name}: tokenizer", len(ids) > 3 and ids == AutoTokenizer.from_pretrained(again)(TEXT)["input_ids"])
                if Path(source).is_dir():
                    # transformers lower-cases every vocab.txt that comes alone; this library only those that are
                    # lower-cased.
                    said = json.loads((one / "tokenizer_config.json").read_text())
                    case = {key: said[key] for key in ("do_lower_case",) if key in said}
                    self.say(f"{name}: the same tokenizer", ids == AutoTokenizer.from_pretrained(source, **case)(TEXT)["input_ids"])

            for rows in (vocabulary + 7, vocabulary - 5):
                out = temporary / f"rows{rows}"
                self.save(source, out, "--rows", rows)
                model = opened(out)
                table, old = model.get_input_embeddings().weight, original.get_input_embeddings().weight
                kept = min(rows, vocabulary)
                ok = table.shape[0] == rows == model.config.vocab_size and torch.equal(table[:kept], old[:kept])
                if rows > vocabulary:
                    ok &= torch.allclose(table[vocabulary:], old.mean(0).expand(7, -1), atol=1e-6)
                self.say(f"{name}: {rows} rows", ok)
                found = [value[..., :kept] if value.shape[-1] == rows else value for value in outputs(model)]
                wanted = [value[..., :kept] if value.shape[-1] == vocabulary else value for value in expected]
                # Another number of columns may be summed in another order.
                close = all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, wanted))
                self.say(f"{name}: {rows} rows, the shared logits", close)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default=str(ROOT / "target" / "release" / "examples" / "save"))
    check = Check(parser.parse_args().bin)
    torch.manual_seed(0)

    demo = T5 / "demo"
    check.directory("t5", demo, transformers.T5ForConditionalGeneration.from_pretrained(demo).eval())
    demo = CRATES / "asclepius" / "demo"
    check.directory("llama", demo, transformers.LlamaForCausalLM.from_pretrained(demo).eval())
    for name in ("bert_pretraining", "bert_sequence", "bert_token", "bert_span", "roberta_facade"):
        source = BERT / name
        with tempfile.TemporaryDirectory() as temporary:
            out = Path(temporary) / "class"
            check.save(source, out)
            cls = model_class(out)
        check.directory(name, source, cls.from_pretrained(source, dtype=torch.float32).eval(), tokenizer=name != "bert_pretraining")
    for name in ("sentencepiece", "byte_level"):
        original = transformers.LlamaForCausalLM.from_pretrained(GGUF, gguf_file=f"{name}.gguf", dtype=torch.float32).eval()
        check.directory(f"gguf {name}", GGUF / f"{name}.gguf", original)
    if check.failed:
        print(f"{check.failed} checks failed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
