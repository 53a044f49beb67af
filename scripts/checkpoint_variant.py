#!/usr/bin/env python3
"""Writes a variant of an f32 checkpoint, on which what a precision costs can be told apart from where its weights come from.

    scripts/checkpoint_variant.py .cache/assets/smollm2-135m-instruct OUT --off-grid
    scripts/checkpoint_variant.py .cache/assets/smollm2-135m-instruct OUT --round f16

--off-grid: a checkpoint that was unpacked from GGUF (Q4_1, Q8_0) has at most 16 or 255 different values in each block of 32.
A format with the same blocks finds them again without any error, which says nothing about models that were published
as floats. So each value gets an even random part of its block's step, from -1/2 to 1/2: what rounding took away, as far as
anybody can know. The result is a model of its own, a worse one; hold its precisions against itself in f32.

--round f16 or bf16: all values become those that a checkpoint published in this type has.

The directory must have one `model.safetensors` in f32; its other files are copied. Needs Python 3.8 and numpy.
"""

import argparse
import json
import shutil
import struct
from pathlib import Path

import numpy as np

BLOCK = 32


def moved(values, random):
    """`values` `[rows, columns]` with even noise of one step of each block."""
    blocks = values.reshape(-1, BLOCK)
    ordered = np.sort(blocks, axis=1)
    levels = 1 + np.count_nonzero(np.diff(ordered, axis=1) > 0, axis=1)
    four = (ordered[:, -1] - ordered[:, 0]) / 15
    eight = np.abs(blocks).max(axis=1) / 127
    # All blocks of a matrix were rounded in one way: no block of four bits has more than 16 values.
    step = (four if levels.max() <= 16 else eight)[:, None]
    return (blocks + step * (random.random(blocks.shape, dtype=np.float32) - 0.5)).reshape(values.shape)


def rounded(values, kind):
    """`values` with no more precision than an f16 or bf16 has, to nearest even."""
    if kind == "f16":
        return values.astype("<f2").astype("<f4")
    bits = values.view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype("<u4").view("<f4")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", type=Path)
    arguments.add_argument("out", type=Path)
    what = arguments.add_mutually_exclusive_group(required=True)
    what.add_argument("--off-grid", action="store_true")
    what.add_argument("--round", choices=["f16", "bf16"])
    arguments.add_argument("--seed", type=int, default=1)
    arguments = arguments.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=False)
    for file in arguments.model.iterdir():
        if file.is_file():
            shutil.copy(file, arguments.out / file.name)
    random = np.random.default_rng(arguments.seed)
    with open(arguments.out / "model.safetensors", "r+b") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        for name, info in sorted(header.items()):
            if info["dtype"] != "F32":
                raise SystemExit(f"{name} is {info['dtype']}: the checkpoint must be f32")
            if arguments.off_grid and (len(info["shape"]) != 2 or info["shape"][1] % BLOCK):
                continue
            start, end = info["data_offsets"]
            file.seek(8 + size + start)
            values = np.frombuffer(file.read(end - start), "<f4").reshape(info["shape"])
            file.seek(8 + size + start)
            values = moved(values, random) if arguments.off_grid else rounded(values, arguments.round)
            file.write(values.astype("<f4").tobytes())


if __name__ == "__main__":
    main()
