#!/usr/bin/env python3
"""Trains the demonstration LLaMA of `asclepius` on synthetic notes (see docs/demo-models.md).

    cargo build --release -p clinical-synth --example synth
    python scripts/train_demo_llama.py train --work /tmp/demo --bf16
    python scripts/train_demo_llama.py save  --work /tmp/demo --out crates/asclepius/demo
    python scripts/train_demo_llama.py evaluate --model crates/asclepius/demo

The text is the published Asclepius inference prompt, byte for byte, then the answer, then `</s>`.
Several questions about one note share one pass over the note: the suffixes stand behind the prefix in
one sequence, each sees the prefix and itself only (a 4D mask), and positions restart after the prefix.
That gives the same numbers as one sequence per question, at a fraction of the cost.
Versions: scripts/requirements.txt.
"""

import argparse
import json
import math
import os
import random
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parent.parent
# Asclepius, inference: the space before the last line feed is in the published code.
PROMPT_HEAD = (
    "You are an intelligent clinical languge model.\n"
    "Below is a snippet of patient's discharge summary and a following instruction from healthcare professional.\n"
    "Write a response that appropriately completes the instruction.\n"
    "The response should provide the accurate answer to the instruction, while being concise.\n"
    "\n[Discharge Summary Begin]\n"
)
PROMPT_MIDDLE = "\n[Discharge Summary End]\n\n[Instruction Begin]\n"
PROMPT_TAIL = "\n[Instruction End] \n"
UNK, BOS, EOS = 0, 1, 2
HIDDEN, LAYERS, HEADS, INTERMEDIATE, PIECES = 192, 4, 6, 512, 2048


def prompt(note, question):
    return PROMPT_HEAD + note + PROMPT_MIDDLE + question + PROMPT_TAIL


def synth(kind, split, seed, count, pairs=8):
    """Runs the generator; needs `cargo build --release -p clinical-synth --example synth` before."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    command = [str(target / "release/examples/synth"), "--kind", kind, "--split", split,
               "--seed", str(seed), "--count", str(count), "--pairs", str(pairs)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


# ---------------------------------------------------------------- tokenizer

def train_tokenizer(cases):
    """A LLaMA-style BPE: `<unk> <s> </s>`, 256 bytes, pieces with a leading `▁`, single digits."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    texts = []
    for case in cases:
        texts.append(case["note"])
        for pair in case["pairs"]:
            texts += [pair["question"], pair["answer"]]
    head = PROMPT_HEAD + PROMPT_MIDDLE + PROMPT_TAIL
    texts += [head] * (len(cases) // 4)
    # Words are split at line ends, spaces and punctuation while learning. The finished tokenizer needs
    # no such step: no learnt piece crosses those borders, so plain merging gives the same pieces.
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split("\n", "removed"),
        pre_tokenizers.Metaspace(prepend_scheme="never"),
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.Split(Regex(r"[^\w▁]"), "isolated"),
    ])
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    digits = [f"▁{d}" for d in range(10)]
    printable = [chr(c) for c in range(0x21, 0x7F)] + ["▁"]
    trainer = trainers.BpeTrainer(vocab_size=PIECES - len(digits), special_tokens=specials,
                                  initial_alphabet=printable, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    learned = json.loads(learner.to_str())["model"]
    vocab, merges = learned["vocab"], [tuple(m) for m in learned["merges"]]
    # `▁` and a digit are one piece: numbers take one token per digit with or without a space before.
    for digit in digits:
        vocab[digit] = len(vocab)
    merges = [("▁", d[1]) for d in digits] + merges
    model = models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", BOS)])
    for token in ("<unk>", "<s>", "</s>"):
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)])
    return tokenizer


def with_echoes(encoded, rng, count=2, length=24, given=3):
    """Adds suffixes that repeat a piece of the note: its first tokens are given, the rest is learnt.
    Copying what followed an earlier occurrence is the skill that all quoting answers need, and it is
    learnt sooner from these."""
    head, note, middle, suffixes = encoded
    echoes = []
    for _ in range(count):
        at = rng.randrange(max(1, len(note) - length))
        piece = note[at:at + length]
        echoes.append((piece[:given], piece[given:], "echo", "echo"))
    return head, note, middle, suffixes + echoes


class Encoder:
    """Token ids of the parts of a prompt. All parts end at a line feed, which never merges."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def part(self, text):
        # After a line feed there is no `▁` before a word: encode one and drop it with the feed.
        return self.tokenizer.encode("\n" + text, add_special_tokens=False).ids[2:]

    def case(self, case):
        head = self.tokenizer.encode(PROMPT_HEAD).ids
        note = self.part(case["note"])
        middle = self.part("|" + PROMPT_MIDDLE)[1:]
        suffixes = []
        for pair in case["pairs"]:
            ask = self.part(pair["question"] + PROMPT_TAIL)
            suffixes.append((ask, self.part(pair["answer"]) + [EOS], pair["kind"], pair["task"]))
        return head, note, middle, suffixes

    def check(self, case):
        head, note, middle, suffixes = self.case(case)
        for pair, (ask, answer, _, _) in zip(case["pairs"], suffixes):
            text = prompt(case["note"], pair["question"]) + pair["answer"]
            assert self.tokenizer.encode(text).ids + [EOS] == head + note + middle + ask + answer
            assert self.tokenizer.decode(answer) == pair["answer"]


def pack(encoded):
    """A batch of packed cases: `[prefix, padding | suffix 1, suffix 2, ..., padding]`.

    Returns ids, positions, the mask of the suffix rows `[batch, 1, suffix query, key]`, labels of the
    answers and of the notes, the suffix that owns each label, and the width of the prefix columns."""
    width = max(len(h) + len(n) + len(m) for h, n, m, _ in encoded)
    longest = width + max(sum(len(a) + len(b) for a, b, _, _ in s) for _, _, _, s in encoded)
    size = len(encoded)
    ids = torch.full((size, longest), EOS)
    positions = torch.zeros((size, longest), dtype=torch.long)
    group = torch.full((size, longest), -1)
    labels = torch.full((size, longest), -100)
    notes = torch.full((size, longest), -100)
    owner = torch.full((size, longest), -1)
    for row, (head, note, middle, suffixes) in enumerate(encoded):
        prefix = head + note + middle
        ids[row, :len(prefix)] = torch.tensor(prefix)
        positions[row, :len(prefix)] = torch.arange(len(prefix))
        group[row, :len(prefix)] = 0
        at, end = len(head), width
        notes[row, at:at + len(note) - 1] = torch.tensor(note[1:])
        for k, (ask, answer, _, _) in enumerate(suffixes):
            both = ask + answer
            stop = end + len(both)
            ids[row, end:stop] = torch.tensor(both)
            positions[row, end:stop] = torch.arange(len(both)) + len(prefix)
            group[row, end:stop] = k + 1
            start = end + len(ask) - 1
            labels[row, start:start + len(answer)] = torch.tensor(answer)
            owner[row, start:start + len(answer)] = k
            end = stop
    order = torch.arange(longest)
    causal = order[None, width:, None] >= order[None, None, :]
    seen = causal & ((group[:, width:, None] == group[:, None, :]) | (group[:, None, :] == 0))
    mask = torch.zeros(seen.shape).masked_fill_(~seen, torch.finfo(torch.float32).min)[:, None]
    return ids, positions, mask, labels, notes, owner


def packed_attention(module, query, key, value, attention_mask, scaling=None, **_):
    """Prefix rows are plainly causal; suffix rows take the mask. `[batch, heads, length, size]` in,
    `[batch, length, heads, size]` out. Padding stands after the prefix, so prefix rows never see it."""
    width = query.size(2) - attention_mask.size(2)
    first = F.scaled_dot_product_attention(
        query[:, :, :width], key[:, :, :width], value[:, :, :width], is_causal=True, scale=scaling)
    second = F.scaled_dot_product_attention(
        query[:, :, width:], key, value, attn_mask=attention_mask.to(query.dtype), scale=scaling)
    return torch.cat([first, second], 2).transpose(1, 2).contiguous(), None


# ---------------------------------------------------------------- model and optimiser

def new_model(vocabulary):
    from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM

    AttentionInterface.register("packed", packed_attention)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=HIDDEN, intermediate_size=INTERMEDIATE, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=2048, rope_theta=10000.0,
        rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=None,
        attn_implementation="packed", use_cache=True)
    return LlamaForCausalLM(config)


@torch.no_grad()
def start_with_induction(model, seed):
    """Sets the initial weights so that the model can already copy what followed an earlier occurrence.

    Such an induction circuit (Olsson et al. 2022, arXiv 2209.11895) forms by itself in training, but
    only after many more tokens than this run sees, and every answer that quotes the note
    needs it. It is only a start: nothing is frozen. Channels: 0 is a constant, 1..95 hold the token,
    96..190 the token before it. Layer 0, heads 0 to 2: a constant query and key whose rotary phases meet
    one position back; they write the previous token. Layer 1: the query is the token, the key the
    previous token, both through the slowest rotary pairs, so that distance hardly matters; the heads
    write the token found. Other output projections start at zero."""
    generator = torch.Generator().manual_seed(seed)
    size, half, scale, middle = HIDDEN // HEADS, HIDDEN // HEADS // 2, 0.2, HIDDEN // 2
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    table = model.model.embed_tokens.weight
    table.zero_()
    table[:, 1:middle] = torch.randn(table.size(0), middle - 1, generator=generator) * scale
    table[:, 0] = 10 * scale
    model.model.norm.weight.fill_(0.25)
    for layer in (0, 1):
        part = model.model.layers[layer].self_attn
        for head in range(3 if layer == 0 else HEADS):
            rows = slice(head * size, (head + 1) * size)
            query, key, value = (w.weight[rows] for w in (part.q_proj, part.k_proj, part.v_proj))
            output = part.o_proj.weight[:, rows]
            query.zero_(), key.zero_(), value.zero_()
            if layer == 0:
                for pair in range(5):
                    angle = 10000.0 ** (-pair / half)
                    query[pair, 0], query[pair + half, 0] = 0.66 * math.cos(angle), -0.66 * math.sin(angle)
                    key[pair, 0] = 0.66
            else:
                mix = torch.randn(12, middle - 1, generator=generator) / math.sqrt(middle - 1)
                slow = [p + o for o in (0, half) for p in range(half - 6, half)]
                query[slow, 1:middle] = 4.5 * mix
                key[slow, middle:HIDDEN - 1] = 4.5 * mix
            for j in range(size):
                channel = (head % 3) * size + j + 1
                if channel < middle:
                    value[j, channel] = 1.0
                    target = middle - 1 + channel if layer == 0 else channel
                    output[target, j] = scale if layer == 0 else 2 * scale


class Muon(torch.optim.Optimizer):
    """Momentum with the update made orthogonal by five Newton-Schulz steps (Jordan et al. 2024)."""

    def __init__(self, parameters, lr=0.02, momentum=0.95):
        super().__init__(parameters, dict(lr=lr, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                    buffer.mul_(group["momentum"]).add_(p.grad)
                    update = p.grad.add(buffer, alpha=group["momentum"])
                    tall = p.size(0) > p.size(1)
                    shapes[(min(p.shape), max(p.shape))].append((p, update.T if tall else update, tall))
            for rows in shapes.values():
                # Matrices of one shape together, and in bfloat16: only the direction matters.
                x = torch.stack([u for _, u, _ in rows])
                x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
                for _ in range(5):
                    a = x @ x.mT
                    x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
                for (p, _, tall), u in zip(rows, x.float()):
                    p.add_(u.T if tall else u, alpha=-group["lr"] * max(1.0, p.size(0) / p.size(1)) ** 0.5)


def optimisers(model):
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    other = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [Muon(hidden, lr=0.02), torch.optim.AdamW(other, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0)]


def hidden_states(model, ids, positions, mask):
    return model.model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).last_hidden_state


def score(model, encoded, batch=16):
    """Exact match by kind and by task. All argmax tokens right under teacher forcing is the same as the
    greedy answer being right, so one packed pass is enough."""
    kinds, tasks = defaultdict(lambda: [0, 0]), defaultdict(lambda: [0, 0])
    model.eval()
    with torch.no_grad():
        for at in range(0, len(encoded), batch):
            part = encoded[at:at + batch]
            ids, positions, mask, labels, _, owner = pack(part)
            state = hidden_states(model, ids, positions, mask)
            where = labels >= 0
            right = torch.zeros_like(ids, dtype=torch.bool)
            right[where] = model.lm_head(state[where]).argmax(-1) == labels[where]
            for row, (_, _, _, suffixes) in enumerate(part):
                for k, (_, _, kind, task) in enumerate(suffixes):
                    ok = bool(right[row][owner[row] == k].all())
                    for table, name in ((kinds, kind), (tasks, task)):
                        table[name][0] += ok
                        table[name][1] += 1
    model.train()
    total = [sum(v[0] for v in tasks.values()), sum(v[1] for v in tasks.values())]
    return total[0] / total[1], kinds, tasks


def train(args):
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    work = Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    from tokenizers import Tokenizer

    if (work / "tokenizer.json").exists():
        tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    else:
        tokenizer = train_tokenizer(synth("asclepius", "train", 1, 4000))
        tokenizer.save(str(work / "tokenizer.json"))
    encoder = Encoder(tokenizer)
    model = new_model(tokenizer.get_vocab_size())
    start_with_induction(model, args.seed)
    model.train()
    optims = optimisers(model)
    step, elapsed = 0, 0.0
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        for optim, state in zip(optims, saved["optims"]):
            optim.load_state_dict(state)
        step, elapsed = saved["step"], saved["elapsed"]
    if args.restart_clock:
        elapsed = 0.0
    base = [[0.02], [args.embedding_lr]]
    dev_cases = synth("asclepius", "held-out", 99, 48)
    for case in dev_cases:
        encoder.check(case)
    dev = [encoder.case(case) for case in dev_cases]
    log = open(work / "log.txt", "a")

    def say(line):
        print(line, flush=True)
        print(line, file=log, flush=True)

    parameters = sum(p.numel() for p in model.parameters())
    say(f"# parameters {parameters} vocabulary {tokenizer.get_vocab_size()} batch {args.batch} pairs {args.pairs} step {step}")
    begin, last_save, last_eval = time.time() - elapsed, time.time(), time.time()
    first_step, started, buffer, running = step, time.time(), [], []
    while True:
        elapsed = time.time() - begin
        progress = max(elapsed / (args.minutes * 60), step / args.steps if args.steps else 0.0)
        if progress >= 1.0:
            break
        if not buffer:
            # Fresh notes all the time: each chunk has its own seed, none is seen twice.
            cases = synth("asclepius", "train", 1000 + step, args.batch * 50, args.pairs)
            rng = random.Random(step)
            echo = 2 if progress < args.echo_until else 0
            buffer = [with_echoes(encoder.case(c), rng, echo) for c in cases]
            buffer.sort(key=lambda e: len(e[1]) + sum(len(a) + len(b) for a, b, _, _ in e[3]))
            buffer = [buffer[i:i + args.batch] for i in range(0, len(buffer), args.batch)]
            rng.shuffle(buffer)
        scale = min(1.0, (step + 1) / 60) * min(1.0, (1.0 - progress) / args.decay)
        for optim, rates in zip(optims, base):
            for group, rate in zip(optim.param_groups, rates):
                group["lr"] = rate * scale * args.lr
        ids, positions, mask, labels, notes, _ = pack(buffer.pop())
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            state = hidden_states(model, ids, positions, mask)
            where = labels >= 0
            loss = F.cross_entropy(model.lm_head(state[where]).float(), labels[where])
            total = loss
            if step < args.note_steps:
                where = notes >= 0
                total = loss + 0.3 * F.cross_entropy(model.lm_head(state[where]).float(), notes[where])
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optim in optims:
            optim.step()
            optim.zero_grad(set_to_none=True)
        step += 1
        running.append(loss.item())
        if step % 20 == 0:
            rate = (time.time() - started) / (step - first_step)
            say(f"step {step} loss {sum(running[-20:]) / len(running[-20:]):.4f} elapsed {time.time() - begin:.0f} s/step {rate:.2f} tokens {ids.numel()}")
        if time.time() - last_eval > args.eval_seconds:
            exact, kinds, _ = score(model, dev)
            table = " ".join(f"{k.replace(' ', '_')}={v[0]}/{v[1]}" for k, v in sorted(kinds.items()))
            say(f"dev step {step} elapsed {time.time() - begin:.0f} exact {exact:.4f} {table}")
            last_eval = time.time()
        if time.time() - last_save > args.save_seconds:
            keep(checkpoint, model, optims, step, time.time() - begin)
            last_save = time.time()
    keep(checkpoint, model, optims, step, elapsed)
    exact, kinds, tasks = score(model, dev)
    say(f"end step {step} elapsed {elapsed:.0f} exact {exact:.4f} " + " ".join(f"{k.replace(' ', '_')}={v[0]}/{v[1]}" for k, v in sorted(kinds.items())))


def keep(path, model, optims, step, elapsed):
    partial = path.with_suffix(".part")
    torch.save({"model": model.state_dict(), "optims": [o.state_dict() for o in optims], "step": step,
                "elapsed": elapsed}, partial)
    partial.replace(path)


# ---------------------------------------------------------------- saving and measuring

def save(args):
    """Writes a Hugging Face directory with float16 weights."""
    from safetensors.torch import save_file
    from tokenizers import Tokenizer
    from transformers import LlamaTokenizerFast

    work, out = Path(args.work), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    model = new_model(tokenizer.get_vocab_size())
    saved = torch.load(work / "checkpoint.pt", weights_only=True)
    model.load_state_dict(saved["model"])
    model.half().generation_config.update(max_new_tokens=64, do_sample=False)
    model.config.dtype = torch.float16
    model.save_pretrained(out)
    wrapped = LlamaTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", legacy=True,
        clean_up_tokenization_spaces=False, model_max_length=2048, add_bos_token=True, add_eos_token=False)
    wrapped.save_pretrained(out)
    text = prompt("Admission Date: 03/14/2151\nK 4.1, Cr 1.2", "What was the potassium?")
    assert wrapped(text)["input_ids"] == tokenizer.encode(text).ids
    for path in sorted(out.iterdir()):
        print(f"{path.name} {path.stat().st_size}")
    print(f"step {saved['step']} elapsed {saved['elapsed']:.0f} s")


def evaluate(args):
    """Greedy decoding of `count` held-out pairs, one per note, float32, with `transformers`."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    table, kinds, wrong = defaultdict(lambda: [0, 0]), defaultdict(lambda: [0, 0]), []
    begin = time.time()
    for case in synth("asclepius", "held-out", args.seed, args.count, 1):
        pair = case["pairs"][0]
        ids = tokenizer(prompt(case["note"], pair["question"]), return_tensors="pt")
        with torch.no_grad():
            made = model.generate(**ids, max_new_tokens=64, do_sample=False, pad_token_id=EOS)
        text = tokenizer.decode(made[0, ids["input_ids"].shape[1]:], skip_special_tokens=True)
        ok = text == pair["answer"]
        for part, name in ((table, pair["task"]), (kinds, pair["kind"])):
            part[name][0] += ok
            part[name][1] += 1
        if not ok:
            wrong.append((pair["kind"], pair["question"], pair["answer"], text))
    for name, (right, count) in sorted(table.items()):
        print(f"{name}: {right}/{count} = {100 * right / count:.1f} %")
    print("by kind:", " ".join(f"{k.replace(' ', '_')}={r}/{n}" for k, (r, n) in sorted(kinds.items())))
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
    p.add_argument("--minutes", type=float, default=70.0, help="wall time; the rate falls to zero at its end")
    p.add_argument("--steps", type=int, default=0, help="also end after so many steps (0: time alone)")
    p.add_argument("--batch", type=int, default=4, help="notes per step")
    p.add_argument("--pairs", type=int, default=14, help="questions per note")
    p.add_argument("--note-steps", type=int, default=200, help="steps with a language-model loss on the note")
    p.add_argument("--echo-until", type=float, default=0.25, help="part of the run with echoes of the note")
    p.add_argument("--embedding-lr", type=float, default=8e-3, help="rate of embeddings and norms (AdamW)")
    p.add_argument("--lr", type=float, default=1.0, help="factor on both learning rates")
    p.add_argument("--decay", type=float, default=0.35, help="last part of the run in which the rate falls")
    p.add_argument("--bf16", action="store_true", help="matrix products in bfloat16 (fast where the CPU has it)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--eval-seconds", type=float, default=180.0)
    p.add_argument("--save-seconds", type=float, default=300.0)
    p.add_argument("--restart-clock", action="store_true", help="go on from the checkpoint with a new schedule")
    p.set_defaults(run=train)
    p = commands.add_parser("save")
    p.add_argument("--work", required=True)
    p.add_argument("--out", default=str(ROOT / "crates/asclepius/demo"))
    p.set_defaults(run=save)
    p = commands.add_parser("evaluate")
    p.add_argument("--model", default=str(ROOT / "crates/asclepius/demo"))
    p.add_argument("--count", type=int, default=500)
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--verbose", action="store_true")
    p.set_defaults(run=evaluate)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
