#!/usr/bin/env python3
"""Trains the demonstration T5 of `clinical-t5` on synthetic examples (see docs/demo-models.md).

    cargo build --release -p clinical-synth --example synth
    python scripts/train_demo_t5.py train --work /tmp/demo-t5 --bf16
    python scripts/train_demo_t5.py save  --work /tmp/demo-t5 --out crates/clinical-t5/demo
    python scripts/train_demo_t5.py evaluate --model crates/clinical-t5/demo

A T5 v1.0 (ReLU, tied, relative buckets) with a Unigram tokenizer made like the one of Clinical-T5
trained from scratch, but cased: pad 0, </s> 1, <unk> 2, then 100 sentinels and the 15 tags that stand
for removed identifiers. Tasks: the four of the generator, plus a little span corruption.
Versions: scripts/requirements.txt.
"""

import argparse
import json
import math
import random
import re
import time
from collections import Counter, defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F

from train_demo_llama import ROOT, Muon, keep, synth

PAD, EOS, UNK = 0, 1, 2
PIECES, D_MODEL, D_KV, D_FF, HEADS, LAYERS = 1600, 128, 32, 512, 4, 3
TAGS = ["[Name]", "[Reg#]", "[Company]", "[LOC]", "[Age]", "[#]", "[DR]", "[State]", "[CI]", "[Country]",
        "[URL]", "[YR]", "[MO]", "[DAY]", "[MISC]"]


def train_tokenizer(examples):
    """Unigram, with the steps of the published script except lower-casing."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import T5TokenizerFast

    base = Tokenizer(models.Unigram())
    base.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    base.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation()])
    base.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    texts = [t for e in examples for t in (e["input"], e["target"])]
    texts = [re.sub(r" *<extra_id_\d+>", "", text) for text in texts]
    base.train_from_iterator(texts, trainers.UnigramTrainer(
        vocab_size=PIECES // 2, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False,
        initial_alphabet=[chr(c) for c in range(0x21, 0x7F)] + ["▁"]))
    # The trainer takes seeds from the list of different words, where a whole word is found once and is
    # never a seed. So the frequent words are added with their own log-probabilities.
    counts = Counter()
    for text in texts:
        counts.update(w for w, _ in base.pre_tokenizer.pre_tokenize_str(base.normalizer.normalize_str(text)))
    total = sum(counts.values())
    vocab = json.loads(base.to_str())["model"]["vocab"]
    known = {piece for piece, _ in vocab}
    words = [(w, math.log(n / total)) for w, n in sorted(counts.items(), key=lambda i: (-i[1], i[0])) if w not in known]
    vocab = [tuple(v) for v in vocab] + words[:PIECES - len(vocab)]
    base.model = models.Unigram(vocab, unk_id=UNK, byte_fallback=False)
    base.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", EOS)])
    tokenizer = T5TokenizerFast(
        tokenizer_object=base, unk_token="<unk>", eos_token="</s>", pad_token="<pad>", extra_ids=100,
        model_max_length=512, clean_up_tokenization_spaces=False)
    tokenizer.add_tokens(TAGS)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (PAD, EOS, UNK)
    return tokenizer


def new_model(vocabulary):
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=vocabulary, d_model=D_MODEL, d_kv=D_KV, d_ff=D_FF, num_layers=LAYERS, num_decoder_layers=LAYERS,
        num_heads=HEADS, relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0.0,
        feed_forward_proj="relu", tie_word_embeddings=True, decoder_start_token_id=PAD, pad_token_id=PAD,
        eos_token_id=EOS, n_positions=512)
    model = T5ForConditionalGeneration(config)
    torch.nn.init.normal_(model.shared.weight, std=0.3)
    return model


def corrupt(ids, sentinels, rng):
    """Span corruption: 15 % of the ids in spans of about three, sentinels by name, from 0 upwards."""
    count = max(1, round(len(ids) * 0.15 / 3))
    starts = sorted(rng.sample(range(1, max(2, len(ids) - 4), 5), min(count, len(range(1, max(2, len(ids) - 4), 5)))))
    source, target, at = [], [], 0
    for k, start in enumerate(starts):
        stop = min(len(ids), start + rng.randint(2, 4))
        source += ids[at:start] + [sentinels[k]]
        target += [sentinels[k]] + ids[start:stop]
        at = stop
    return source + ids[at:] + [EOS], target + [sentinels[len(starts)], EOS]


class Data:
    """Encoded examples `(task, source ids, target ids)`."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.sentinels = [tokenizer.convert_tokens_to_ids(f"<extra_id_{k}>") for k in range(100)]

    def encode(self, examples, noise=0.0, seed=0):
        rng = random.Random(seed)
        sources = self.tokenizer([e["input"] for e in examples])["input_ids"]
        targets = self.tokenizer([e["target"] for e in examples])["input_ids"]
        out = [(e["task"], s, t) for e, s, t in zip(examples, sources, targets)]
        for example in examples:
            if example["task"] == "radqa" and rng.random() < noise:
                text = example["input"].split("context: ", 1)[1]
                ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
                if len(ids) > 8:
                    out.append(("corruption", *corrupt(ids, self.sentinels, rng)))
        return out


def batch_of(rows):
    wide, long = max(len(s) for _, s, _ in rows), max(len(t) for _, _, t in rows)
    source = torch.full((len(rows), wide), PAD)
    labels = torch.full((len(rows), long), -100)
    for k, (_, s, t) in enumerate(rows):
        source[k, :len(s)] = torch.tensor(s)
        labels[k, :len(t)] = torch.tensor(t)
    return source, (source != PAD).long(), labels


def batches(rows, size, seed):
    rows = sorted(rows, key=lambda r: len(r[1]))
    groups = [rows[i:i + size] for i in range(0, len(rows), size)]
    random.Random(seed).shuffle(groups)
    return groups


def score(model, rows):
    """Exact match per task: all argmax tokens right under teacher forcing means the greedy text is right."""
    table = defaultdict(lambda: [0, 0])
    model.eval()
    with torch.no_grad():
        for part in batches(rows, 64, 0):
            source, mask, labels = batch_of(part)
            made = model(input_ids=source, attention_mask=mask, labels=labels).logits.argmax(-1)
            right = ((made == labels) | (labels < 0)).all(-1)
            for (task, _, _), ok in zip(part, right.tolist()):
                table[task][0] += ok
                table[task][1] += 1
    model.train()
    return " ".join(f"{k}={r}/{n}" for k, (r, n) in sorted(table.items()))


def train(args):
    from transformers import T5TokenizerFast

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    work = Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    if (work / "tokenizer").exists():
        tokenizer = T5TokenizerFast.from_pretrained(work / "tokenizer")
    else:
        tokenizer = train_tokenizer(synth("t5", "train", 1, 20000))
        tokenizer.save_pretrained(work / "tokenizer")
    data = Data(tokenizer)
    model = new_model(len(tokenizer))
    model.train()
    # T5 does not divide the attention scores by sqrt(d_kv): queries and keys must grow slowly, else the
    # softmax saturates and nothing more is learnt.
    groups = {"scores": [], "matrices": [], "rest": []}
    for name, p in model.named_parameters():
        kind = "rest" if p.ndim < 2 or "shared" in name or "relative" in name else "matrices"
        groups["scores" if name.endswith((".q.weight", ".k.weight")) else kind].append(p)
    base, step, elapsed = [0.003, 0.015, 5e-3], 0, 0.0
    optims = [Muon(groups["scores"]), Muon(groups["matrices"]),
              torch.optim.AdamW(groups["rest"], betas=(0.9, 0.98), weight_decay=0.0)]
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        for optim, state in zip(optims, saved["optims"]):
            optim.load_state_dict(state)
        step, elapsed = saved["step"], saved["elapsed"]
    if args.restart_clock:
        elapsed = 0.0
    dev = data.encode(synth("t5", "held-out", 99, 400))
    log = open(work / "log.txt", "a")

    def say(line):
        print(line, flush=True)
        print(line, file=log, flush=True)

    say(f"# parameters {sum(p.numel() for p in model.parameters())} vocabulary {len(tokenizer)} batch {args.batch}")
    begin, last_save, last_eval, queue, running = time.time() - elapsed, time.time(), time.time(), [], []
    while True:
        elapsed = time.time() - begin
        progress = max(elapsed / (args.minutes * 60), step / args.steps if args.steps else 0.0)
        if progress >= 1.0:
            break
        if not queue:
            queue = batches(data.encode(synth("t5", "train", 1000 + step, args.batch * 60), 0.3, step), args.batch, step)
        scale = min(1.0, (step + 1) / 60) * min(1.0, (1.0 - progress) / args.decay) * args.lr
        for optim, rate in zip(optims, base):
            optim.param_groups[0]["lr"] = rate * scale
        source, mask, labels = batch_of(queue.pop())
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            logits = model(input_ids=source, attention_mask=mask, labels=labels).logits
        # Every example counts the same, however long: else the one-word labels would hardly count.
        each = F.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none").sum(1)
        loss = (each / (labels >= 0).sum(1)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optim in optims:
            optim.step()
            optim.zero_grad(set_to_none=True)
        step += 1
        running.append(loss.item())
        if step % 50 == 0:
            say(f"step {step} loss {sum(running[-50:]) / len(running[-50:]):.4f} elapsed {time.time() - begin:.0f}")
        if time.time() - last_eval > args.eval_seconds:
            say(f"dev step {step} elapsed {time.time() - begin:.0f} {score(model, dev)}")
            last_eval = time.time()
        if time.time() - last_save > args.save_seconds:
            keep(checkpoint, model, optims, step, time.time() - begin)
            last_save = time.time()
    keep(checkpoint, model, optims, step, elapsed)
    say(f"end step {step} elapsed {elapsed:.0f} {score(model, dev)}")


def save(args):
    """Writes a Hugging Face directory with float16 weights, laid out like Clinical-T5."""
    from transformers import T5TokenizerFast

    work, out = Path(args.work), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = T5TokenizerFast.from_pretrained(work / "tokenizer")
    model = new_model(len(tokenizer))
    saved = torch.load(work / "checkpoint.pt", weights_only=True)
    model.load_state_dict(saved["model"])
    model.half()
    model.config.dtype = torch.float16
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    tags = {tag: tokenizer.convert_tokens_to_ids(tag) for tag in TAGS}
    (out / "added_tokens.json").write_text(json.dumps(dict(sorted(tags.items())), indent=2) + "\n")
    for path in sorted(out.iterdir()):
        print(f"{path.name} {path.stat().st_size}")
    print(f"step {saved['step']} elapsed {saved['elapsed']:.0f} s")


def evaluate(args):
    """Greedy exact match per task on held-out examples, float32, with `transformers`."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForSeq2SeqLM.from_pretrained(args.model, dtype=torch.float32).eval()
    examples = synth("t5", "held-out", args.seed, args.count)
    examples.sort(key=lambda e: len(e["input"]))
    table, wrong, begin = defaultdict(lambda: [0, 0]), [], time.time()
    for at in range(0, len(examples), 25):
        part = examples[at:at + 25]
        ids = tokenizer([e["input"] for e in part], return_tensors="pt", padding=True)
        with torch.no_grad():
            made = model.generate(**ids, max_new_tokens=64, do_sample=False)
        for example, row in zip(part, made.tolist()):
            row = [t for t in row if t not in (PAD, EOS)]
            expected = [t for t in tokenizer(example["target"])["input_ids"] if t != EOS]
            ok = row == expected
            table[example["task"]][0] += ok
            table[example["task"]][1] += 1
            if not ok:
                wrong.append((example["input"], example["target"], tokenizer.decode(row)))
    for name, (right, count) in sorted(table.items()):
        print(f"{name}: {right}/{count} = {100 * right / count:.1f} %")
    right, count = (sum(v[i] for v in table.values()) for i in (0, 1))
    print(f"all: {right}/{count} = {100 * right / count:.1f} % in {time.time() - begin:.0f} s")
    if args.verbose:
        for row in wrong:
            print(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    p = commands.add_parser("train")
    p.add_argument("--work", required=True, help="folder for the tokenizer, the checkpoint and the log")
    p.add_argument("--minutes", type=float, default=14.0, help="wall time; the rate falls to zero at its end")
    p.add_argument("--steps", type=int, default=0, help="also end after so many steps (0: time alone)")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=1.0, help="factor on both learning rates")
    p.add_argument("--decay", type=float, default=0.5, help="last part of the run in which the rate falls")
    p.add_argument("--bf16", action="store_true", help="matrix products in bfloat16")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--eval-seconds", type=float, default=120.0)
    p.add_argument("--save-seconds", type=float, default=120.0)
    p.add_argument("--restart-clock", action="store_true", help="go on from the checkpoint with a new schedule")
    p.set_defaults(run=train)
    p = commands.add_parser("save")
    p.add_argument("--work", required=True)
    p.add_argument("--out", default=str(ROOT / "crates/clinical-t5/demo"))
    p.set_defaults(run=save)
    p = commands.add_parser("evaluate")
    p.add_argument("--model", default=str(ROOT / "crates/clinical-t5/demo"))
    p.add_argument("--count", type=int, default=1000)
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--verbose", action="store_true")
    p.set_defaults(run=evaluate)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
