"""Speed of clinical-deid beside the published converter's algorithm in Python, on the same notes.

    python scripts/bench_deid.py

Builds and runs `cargo bench -p clinical-deid`, converts the notes it wrote with
scripts/deid_reference.py, checks that both results are equal byte for byte, and prints both speeds and
their ratio. One thread each; the two are timed in turn, since the machine may be busy.
"""

import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import deid_reference

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5


def rust(notes, converted):
    """Runs the Rust benchmark once; returns its median in MB/s."""
    command = ["cargo", "bench", "--quiet", "-p", "clinical-deid", "--bench", "throughput", "--",
               "--notes", str(notes), "--converted", str(converted)]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return float(re.search(r"median ([0-9.]+) MB/s", out)[1])


def main():
    rust_rates, python_rates = [], []
    with tempfile.TemporaryDirectory() as folder:
        notes, converted = Path(folder) / "notes", Path(folder) / "converted"
        for _ in range(ROUNDS):
            rust_rates.append(rust(notes, converted))
            raw = notes.read_bytes()
            texts = raw.decode().split("\0")[:-1]
            start = time.perf_counter()
            results = [deid_reference.mimic_iii(text) for text in texts]
            seconds = time.perf_counter() - start
            python_rates.append((len(raw) - len(texts)) / 1e6 / seconds)
            if "".join(result + "\0" for result in results).encode() != converted.read_bytes():
                raise SystemExit("the two results differ")
    size = (len(raw) - len(texts)) / 1e6
    ours, theirs = statistics.median(rust_rates), statistics.median(python_rates)
    ratios = sorted(a / b for a, b in zip(rust_rates, python_rates))
    print(f"{len(texts)} notes, {size:.1f} MB, {ROUNDS} rounds, equal results")
    print(f"clinical-deid {ours:.0f} MB/s, Python {theirs:.1f} MB/s (medians)")
    print(f"ratio {statistics.median(ratios):.0f} (from {ratios[0]:.0f} to {ratios[-1]:.0f})")


if __name__ == "__main__":
    main()
