"""Makes the Flax checkpoints that tests read, from the tiny T5 models of crates/clinical-t5/tests/data.

    python scripts/make_flax_fixtures.py

Needs numpy, msgpack, safetensors. The bytes are those of `flax.serialization.msgpack_serialize` (flax 0.8): a leaf is the
extension type 1 with `(shape, dtype name, bytes)`, a leaf above the chunk size a map with the mark
`__msgpack_chunked_array__`. Names and transpositions are those of `FlaxT5ForConditionalGeneration.save_pretrained`
(transformers, modeling_flax_pytorch_utils.py): `kernel` is the transpose of PyTorch's `weight`, `embedding` is a table.
"""

import json
from pathlib import Path

import msgpack
import numpy as np
from safetensors.numpy import load_file

DATA = Path(__file__).resolve().parent.parent / "crates" / "clinical-t5" / "tests" / "data"
TABLES = ("shared", "relative_attention_bias")


def leaf(array):
    packed = msgpack.packb((array.shape, array.dtype.name, array.tobytes("C")), use_bin_type=True)
    return msgpack.ExtType(1, packed)


def chunked(array, limit):
    flat = array.reshape(-1)
    size = max(1, limit // array.dtype.itemsize)
    chunks = [flat[i:i + size] for i in range(0, flat.size, size)]
    return {
        "__msgpack_chunked_array__": True,
        "shape": {str(i): extent for i, extent in enumerate(array.shape)},
        "chunks": {str(i): leaf(chunk) for i, chunk in enumerate(chunks)},
    }


def tree(tensors, limit):
    root = {}
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        if last == "weight" and path[-1] in TABLES:
            last = "embedding"
        elif last == "weight" and tensor.ndim == 2:
            last, tensor = "kernel", np.ascontiguousarray(tensor.T)
        place = root
        for part in path:
            place = place.setdefault(part, {})
        place[last] = leaf(tensor) if tensor.nbytes <= limit else chunked(tensor, limit)
    return root


def main():
    for variant, limit in (("v1_0", 1 << 30), ("v1_1", 1000)):
        tensors = load_file(DATA / variant / "model.safetensors")
        tensors = {name: tensor for name, tensor in tensors.items() if "embed_tokens" not in name}
        out = DATA / f"flax_{variant}"
        out.mkdir(exist_ok=True)
        (out / "flax_model.msgpack").write_bytes(msgpack.packb(tree(tensors, limit), strict_types=True))
        config = json.loads((DATA / variant / "config.json").read_text())
        (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        print((out / "flax_model.msgpack").stat().st_size, out)


if __name__ == "__main__":
    main()
