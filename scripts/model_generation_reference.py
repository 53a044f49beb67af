"""What transformers' `generate` returns for trained models: tests/generation.rs compares.

    cargo build --release -p clinical-synth --example synth
    python scripts/model_generation_reference.py llama t5    # the demonstration LLaMA, the T5 of tests/data/trained_t5
    python scripts/model_generation_reference.py smollm2     # SmolLM2-135M-Instruct (scripts/get_assets), 34 prompts

Prompts come from clinical-synth (held out, seed 31), so the fixtures of these two models store their lengths and a
hash instead of their tokens. Prompts of different lengths share a batch: left padding for a decoder, right padding for an
encoder. Each answer is computed twice with different rounding (SDPA and eager attention for a decoder, float64 and float32
for T5). Where transformers itself gives two answers, two candidates are nearly equal and no answer is the right one: the
fixture has null there.

Versions: scripts/requirements.txt.
"""

import argparse
import json
import os
import pathlib
import subprocess

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "tests/data"
SEED = 31
PROMPTS = 200
MAX_NEW_TOKENS = 24


# Asclepius, inference: the space before the last line feed is in the published code.
PROMPT = (
    "You are an intelligent clinical languge model.\n"
    "Below is a snippet of patient's discharge summary and a following instruction from healthcare professional.\n"
    "Write a response that appropriately completes the instruction.\n"
    "The response should provide the accurate answer to the instruction, while being concise.\n"
    "\n[Discharge Summary Begin]\n{note}\n[Discharge Summary End]\n\n"
    "[Instruction Begin]\n{question}\n[Instruction End] \n"
)


def prompt(note, question):
    return PROMPT.format(note=note, question=question)


def synth(kind, split, seed, count, pairs=8):
    """Runs the generator; needs `cargo build --release -p clinical-synth --example synth` before."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    command = [str(target / "release/examples/synth"), "--kind", kind, "--split", split,
               "--seed", str(seed), "--count", str(count), "--pairs", str(pairs)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def full_sets(every):
    """Option sets, and which prompts take them: all, or where that takes too long each `every`-th."""
    for ngram in (0, 3):
        yield {"num_beams": 1, "no_repeat_ngram_size": ngram}, 0, 1
    number = 0
    for beams in (2, 4, 5):
        for penalty in (0.6, 1.0, 2.0):
            for early in (True, False, "never"):
                options = {"num_beams": beams, "length_penalty": penalty, "early_stopping": early}
                yield options, number % every, every
                number += 1
        yield {"num_beams": beams, "no_repeat_ngram_size": 3}, number % every, every
    yield {"num_beams": 4, "num_return_sequences": 4}, 0, every
    yield {"num_beams": 4, "repetition_penalty": 1.2, "min_new_tokens": 4}, 1 % every, every


def short_sets():
    yield {"num_beams": 1}, 0, 1
    yield {"num_beams": 1, "no_repeat_ngram_size": 3}, 0, 1
    yield {"num_beams": 2, "length_penalty": 0.6, "early_stopping": True}, 0, 1
    yield {"num_beams": 4, "length_penalty": 1.0, "early_stopping": False}, 0, 1
    yield {"num_beams": 4, "length_penalty": 2.0, "early_stopping": "never"}, 0, 1
    yield {"num_beams": 5, "no_repeat_ngram_size": 3}, 0, 1


def fnv(ids):
    """FNV-1a over the ids' bytes, as in tests/generation.rs."""
    value = 0xCBF29CE484222325
    for byte in b"".join(i.to_bytes(4, "little") for i in ids):
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def padded(rows, pad, left):
    longest = max(map(len, rows))
    gap = [longest - len(row) for row in rows]
    ids = [[pad] * g + row if left else row + [pad] * g for g, row in zip(gap, rows)]
    mask = [[0] * g + [1] * len(row) if left else [1] * len(row) + [0] * g for g, row in zip(gap, rows)]
    return torch.tensor(ids), torch.tensor(mask)


@torch.no_grad()
def search(model, rows, options, ends, pad, batch, max_new_tokens):
    """For each prompt: its sequences (up to the end token, included) and their scores."""
    decoder = not model.config.is_encoder_decoder
    count = options.get("num_return_sequences", 1)
    config = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=pad, eos_token_id=ends, use_cache=True,
        output_scores=True, return_dict_in_generate=True,
        decoder_start_token_id=None if decoder else model.config.decoder_start_token_id, **options)
    found = []
    for start in range(0, len(rows), batch):
        ids, mask = padded(rows[start:start + batch], pad, decoder)
        out = model.generate(ids, attention_mask=mask, generation_config=config)
        new = out.sequences[:, ids.shape[1] if decoder else 1:].tolist()
        scores = out.sequences_scores.tolist() if options["num_beams"] > 1 else [None] * len(new)
        new = [row[:next((i + 1 for i, token in enumerate(row) if token in ends), len(row))] for row in new]
        found += [(new[i:i + count], scores[i:i + count]) for i in range(0, len(new), count)]
    return found


def compare(models, rows, sets, ends, pad, batch, max_new_tokens=MAX_NEW_TOKENS):
    first, second = [model.eval() for model in models]
    tables, runs, unsettled, asked = [{} for _ in rows], [], 0, 0
    for options, start, step in sets:
        arguments = (rows[start::step], options, ends, pad, batch, max_new_tokens)
        answers, scores = [], []
        pairs = zip(tables[start::step], search(first, *arguments), search(second, *arguments))
        for table, (wanted, numbers), (other, _) in pairs:
            settled = wanted == other
            unsettled, asked = unsettled + (not settled), asked + 1
            answers.append(table.setdefault(json.dumps(wanted), len(table)) if settled else None)
            scores += [None if x is None or not settled else round(x, 6) for x in numbers]
        runs.append({"options": options, "start": start, "step": step, "answers": answers,
                     "scores": scores if options["num_beams"] > 1 else []})
        print(options, sum(a is None for a in answers), "left out", flush=True)
    print(f"{unsettled} of {asked} answers left out")
    return {"sequences": [[json.loads(text) for text in table] for table in tables], "runs": runs}


def write(name, data):
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / name).write_text(json.dumps(data, separators=(",", ":")) + "\n")


def summary(rows):
    return {"seed": SEED, "max_new_tokens": MAX_NEW_TOKENS, "tokens": [len(row) for row in rows],
            "hash": fnv(sum(rows, []))}


def some_lines(note, number):
    """About a third of a note; tests/generation.rs does the same."""
    return "\n".join(note.split("\n")[number % 3::2][:6])


def decoders(directory):
    return [AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation=kind)
            for kind in ("sdpa", "eager")]


def llama():
    directory = ROOT / "crates/asclepius/demo"
    tokenizer = AutoTokenizer.from_pretrained(directory)
    rows = []
    for i, case in enumerate(synth("asclepius", "held-out", SEED, PROMPTS)):
        question = case["pairs"][i % len(case["pairs"])]["question"]
        rows.append(tokenizer(prompt(some_lines(case["note"], i), question)).input_ids)
    write("generation_llama.json", summary(rows) | compare(decoders(directory), rows, full_sets(3), [2], 0, 34))


def t5():
    directory = ROOT / "tests/data/trained_t5"
    tokenizer = AutoTokenizer.from_pretrained(directory)
    rows = [tokenizer(case["input"]).input_ids for case in synth("t5", "held-out", SEED, PROMPTS)]
    models = [AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=dtype) for dtype in (torch.float64, torch.float32)]
    write("generation_t5.json", summary(rows) | compare(models, rows, full_sets(1), [1], 0, 50))


def smollm2():
    directory = ROOT / ".cache/assets/smollm2-135m-instruct"
    tokenizer = AutoTokenizer.from_pretrained(directory)
    rows = []
    for i, case in enumerate(synth("asclepius", "held-out", SEED, 34)):
        text = some_lines(case["note"], i) + "\n\n" + case["pairs"][i % 8]["question"]
        message = [{"role": "user", "content": text}]
        rows.append(tokenizer.apply_chat_template(message, add_generation_prompt=True))
    ends = [tokenizer.convert_tokens_to_ids("<|im_end|>")]
    out = {"max_new_tokens": 16, "end": ends, "prompts": rows}
    found = compare(decoders(directory), rows, short_sets(), ends, tokenizer.pad_token_id, 6, 16)
    write("generation_smollm2.json", out | found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", choices=["llama", "t5", "smollm2"])
    torch.set_num_threads(1)
    for name in parser.parse_args().models:
        {"llama": llama, "t5": t5, "smollm2": smollm2}[name]()
