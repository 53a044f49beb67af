#!/usr/bin/env python3
"""One workload of the program `bench` in PyTorch and transformers: random weights in the same shapes, one JSON line for each way.

    python scripts/gpu_peers.py --model llama-1b --workload decode --batch 1 --length 512 --new-tokens 64

Ways: `eager` (transformers as it comes, scaled dot product attention) and `compiled` (torch.compile, with a static cache where there is
one). Decoding is timed without reading the prompt, as the program `bench` does. On a machine without CUDA it runs on the CPU in f32,
which only shows that the script works.
"""

import argparse
import json
import statistics
import sys
import time

import torch
import transformers as tf

LLAMA = {"llama-1b": (2048, 5632, 22, 32), "llama-7b": (4096, 11008, 32, 32), "llama-13b": (5120, 13824, 40, 40)}
T5 = {"t5-base": (768, 3072, 12, 12), "t5-large": (1024, 4096, 24, 16)}


def build(name, device, dtype):
    torch.set_default_dtype(dtype)
    with torch.device(device):
        if name in LLAMA:
            hidden, inner, layers, heads = LLAMA[name]
            config = tf.LlamaConfig(hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
                                    num_key_value_heads=heads, vocab_size=32000, max_position_embeddings=4096)
            model = tf.LlamaForCausalLM(config)
        else:
            hidden, inner, layers, heads = T5[name]
            config = tf.T5Config(d_model=hidden, d_ff=inner, num_layers=layers, num_heads=heads, d_kv=64, vocab_size=32128,
                                 dropout_rate=0.0, decoder_start_token_id=0)
            model = tf.T5ForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    return model.eval()


def synchronise(device):
    if device == "cuda":
        torch.cuda.synchronize()


def timed(runs, device, work):
    """Seconds of each run, after two that are not timed (the second may still compile)."""
    seconds = []
    for run in range(runs + 2):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        if run > 1:
            seconds.append(time.perf_counter() - start)
    return seconds


@torch.no_grad()
def greedy(args, model, ids, way, device):
    """Seconds of `new_tokens` steps: a run of them less a run of one token."""
    def generate(count):
        extra = {"cache_implementation": "static"} if way == "compiled" else {}
        model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count,
                       do_sample=False, num_beams=1, pad_token_id=0, **extra)
    one = statistics.median(timed(args.runs, device, lambda: generate(1)))
    return [max(s - one, 1e-9) for s in timed(args.runs, device, lambda: generate(args.new_tokens + 1))]


def run(args, model, way, device):
    vocabulary = model.config.vocab_size
    ids = torch.randint(3, vocabulary, (args.batch, args.length), device=device)
    if args.workload == "encode":
        encoder = torch.compile(model.get_encoder()) if way == "compiled" else model.get_encoder()
        with torch.no_grad():
            return timed(args.runs, device, lambda: encoder(input_ids=ids))
    if args.workload == "prefill":
        net = torch.compile(model) if way == "compiled" else model
        with torch.no_grad():
            return timed(args.runs, device, lambda: net(input_ids=ids, use_cache=True, logits_to_keep=1))
    if args.workload == "decode":
        return greedy(args, model, ids, way, device)
    labels = torch.randint(3, vocabulary, (args.batch, args.new_tokens), device=device)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    net = torch.compile(model) if way == "compiled" else model

    def step():
        optimizer.zero_grad()
        net(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
    return timed(args.runs, device, step)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, choices=[*LLAMA, *T5])
    parser.add_argument("--workload", required=True, choices=["encode", "prefill", "decode", "train"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    if args.workload == "encode" and args.model in LLAMA:
        parser.error("encode needs a T5")
    if args.workload == "prefill" and args.model in T5:
        parser.error("prefill needs a LLaMA")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    ways = ["eager"] if device == "cpu" else ["eager", "compiled"]
    for way in ways:
        model = build(args.model, device, dtype)
        try:
            seconds = run(args, model, way, device)
        except Exception as error:  # a way that fails must not hide the other
            print(f"{way}: {error}", file=sys.stderr)
            continue
        tokens = args.new_tokens if args.workload == "decode" else args.length
        median = statistics.median(seconds)
        print(json.dumps({"peer": f"transformers {tf.__version__} torch {torch.__version__}", "way": way, "device": device,
                          "precision": str(dtype).removeprefix("torch."), "model": args.model, "workload": args.workload, "batch": args.batch,
                          "length": args.length, "new_tokens": args.new_tokens, "runs": args.runs, "median_s": median, "min_s": min(seconds),
                          "max_s": max(seconds), "ms_per_token": 1000 * median / tokens}), flush=True)
        del model


if __name__ == "__main__":
    main()
