"""Load time and peak memory of this library against Python's `transformers`, every weight read.

    cargo build --release --workspace --bins
    python scripts/bench_load.py [t5-large] [llama-1b] [--runs 3] [--folder /tmp]
    python scripts/bench_load.py llama-1b --precision float32
    python scripts/bench_load.py t5-large --make /tmp/t5-large; python scripts/bench_load.py t5-large --made /tmp/t5-large

Writes a directory of random weights in the shape of each model (t5-large in f32: 0.74 billion values, 2.95 GB;
llama-1b in bf16: 1.26 billion values, 2.5 GB) as safetensors and as .bin, loads each in a process of its own in the
type of the files or in another, alternating between the two libraries, and prints a Markdown table of medians. "read" is the time from the start of loading until every
weight was read, without the start of the process and the imports; the peak is that of the whole process, and in brackets
without what the process takes before it loads (Python's imports). Files stay in the page cache. Needs torch, transformers.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODELS = {"t5-large": "float32", "llama-1b": "bfloat16"}
SHORT = {"float32": "f32", "bfloat16": "bf16"}


def make(name, dtype, folder):
    import torch
    import transformers

    torch.set_default_dtype(getattr(torch, dtype))
    if name == "t5-large":
        config = transformers.T5Config(vocab_size=32128, d_model=1024, d_kv=64, d_ff=4096, num_layers=24, num_heads=16,
                                       decoder_start_token_id=0)
        with transformers.modeling_utils.no_init_weights():
            model = transformers.T5ForConditionalGeneration(config)
    else:
        config = transformers.LlamaConfig(vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22,
                                          num_attention_heads=32, max_position_embeddings=2048)
        with transformers.modeling_utils.no_init_weights():
            model = transformers.LlamaForCausalLM(config)
    model.tie_weights()
    block = torch.randn(1 << 20, dtype=torch.float32).mul(0.02).to(getattr(torch, dtype))
    with torch.no_grad():
        for parameter in model.parameters():
            flat = parameter.view(-1)
            for start in range(0, flat.numel(), block.numel()):
                part = flat[start:start + block.numel()]
                part.copy_(block[:part.numel()])
    model.save_pretrained(folder / "safetensors", max_shard_size="100GB")
    model.save_pretrained(folder / "bin", max_shard_size="100GB", safe_serialization=False)


def transformers_child(folder, dtype):
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    config = json.loads((folder / "config.json").read_text())
    cls = getattr(transformers, config["architectures"][0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.perf_counter()
    model = cls.from_pretrained(folder, dtype=getattr(torch, dtype))
    loaded = time.perf_counter() - start
    with torch.no_grad():
        total = sum(float(parameter.sum(dtype=torch.float32)) for parameter in model.parameters())
    read = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"load_s": loaded, "read_s": read, "peak_bytes": peak, "before_bytes": before, "sum": total}))


def run(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--bin", default=str(ROOT / "target" / "release" / "load"))
    parser.add_argument("--make", help="only write the directories of the one model into this folder")
    parser.add_argument("--made", help="measure the directories that --make has written, and leave them")
    parser.add_argument("--kinds", nargs="*", default=["safetensors", "bin"])
    parser.add_argument("--precision", choices=list(SHORT), help="the type in memory; default: that of the files")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return transformers_child(Path(arguments.child), arguments.precision)
    if arguments.make:
        return make(arguments.models[0], MODELS[arguments.models[0]], Path(arguments.make))
    print("| directory | library | load s | load and read s | peak MB (without the start) |")
    print("|---|---|---|---|---|")
    for name in arguments.models:
        dtype = arguments.precision or MODELS[name]
        label = f"{name} {SHORT[MODELS[name]]}" + (f" as {SHORT[dtype]}" if dtype != MODELS[name] else "")
        folder = Path(arguments.made or tempfile.mkdtemp(prefix="bench-load-", dir=arguments.folder))
        try:
            if not arguments.made:
                subprocess.run([sys.executable, __file__, name, "--make", folder], check=True)
            for kind in arguments.kinds:
                ours, theirs, turned, pack = [], [], [], []
                file = folder / "model.bpk"
                for _ in range(arguments.runs):
                    theirs.append(run(sys.executable, __file__, "--child", folder / kind, "--precision", dtype))
                    ours.append(run(arguments.bin, folder / kind, SHORT[dtype]))
                    turned.append(run(arguments.bin, folder / kind, SHORT[dtype], "input-major"))
                if kind == "safetensors":
                    # The first run writes the file.
                    run(arguments.bin, folder / kind, SHORT[dtype], file)
                    pack = [run(arguments.bin, folder / kind, SHORT[dtype], file) for _ in range(arguments.runs)]
                    file.unlink()
                for library, found in (("transformers", theirs), ("this library", ours),
                                       ("this library, InputMajor", turned), ("this library, burnpack", pack)):
                    if found:
                        median = {key: statistics.median(one[key] for one in found) for key in found[0]}
                        peak, before = median["peak_bytes"] / 1e6, median.get("before_bytes", 0) / 1e6
                        print(f"| {label} {kind} | {library} | {median['load_s']:.2f} | {median['read_s']:.2f} "
                              f"| {peak:.0f} ({peak - before:.0f}) |", flush=True)
                sums = [one["sum"] for one in (*ours, *theirs, *turned, *pack)]
                if max(sums) - min(sums) > 1e-3 * max(1.0, abs(sums[0])):
                    raise SystemExit(f"the libraries read different values: {sums}")
                if not arguments.made:
                    shutil.rmtree(folder / kind)
        finally:
            if not arguments.made:
                shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
