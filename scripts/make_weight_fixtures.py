"""Makes the checkpoints that the tests of clinical-weights read, with PyTorch and safetensors.

    python scripts/make_weight_fixtures.py

Writes crates/clinical-weights/tests/data. Every folder is one published layout of the same tiny model; expected.json
holds the values that must arrive, after rounding to each type. Versions: scripts/requirements.txt. The values depend
on the seed alone; the bytes of .bin files may differ between versions of torch.
"""

import collections
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent / "crates" / "clinical-weights" / "tests" / "data"
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "f64": torch.float64}
CONFIG = {"model_type": "t5", "d_model": 4, "vocab_size": 7, "num_layers": 2, "tie_word_embeddings": False}


def tensors(dtype=torch.float32):
    """The model: an embedding, two layers of a dense part with bias and a norm, an untied head, a scalar, some ids."""
    generator = torch.Generator().manual_seed(20230221)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    found = collections.OrderedDict()
    found["shared.weight"] = draw(7, 4)
    for layer in range(2):
        found[f"encoder.block.{layer}.dense.weight"] = draw(6, 4)
        found[f"encoder.block.{layer}.dense.bias"] = draw(6)
        found[f"encoder.block.{layer}.norm.weight"] = draw(4)
    found["lm_head.weight"] = draw(7, 4)
    found["scale"] = draw(1).reshape(())
    found["ids"] = torch.tensor([4, 0, 2, 1, 3], dtype=torch.int64)
    return found


def folder(name, config=None):
    path = ROOT / name
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    text = json.dumps(CONFIG if config is None else config, indent=2)
    (path / "config.json").write_text(text + "\n")
    return path


def write_index(path, name, shards):
    weight_map = {key: file for file, part in shards.items() for key in part}
    total = sum(t.numel() * t.element_size() for part in shards.values() for t in part.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (path / name).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def split(found, pattern, parts=3):
    names = list(found)
    size = -(-len(names) // parts)
    return {
        pattern.format(part + 1, parts): {name: found[name] for name in names[part * size : (part + 1) * size]}
        for part in range(parts)
    }


def main():
    expected = {}
    for name, dtype in TYPES.items():
        found = tensors(dtype)
        expected[name] = {
            key: [float(value) for value in tensor.to(torch.float32).flatten().tolist()] for key, tensor in found.items()
        }
        save_file(dict(found), folder(f"safetensors_{name}") / "model.safetensors", metadata={"format": "pt"})
        torch.save(found, folder(f"bin_{name}") / "pytorch_model.bin")
    found = tensors()

    path = folder("safetensors_sharded")
    shards = split(found, "model-{:05d}-of-{:05d}.safetensors")
    for file, part in shards.items():
        save_file(part, path / file, metadata={"format": "pt"})
    write_index(path, "model.safetensors.index.json", shards)

    path = folder("bin_sharded")
    shards = split(found, "pytorch_model-{:05d}-of-{:05d}.bin")
    for file, part in shards.items():
        torch.save(collections.OrderedDict(part), path / file)
    write_index(path, "pytorch_model.bin.index.json", shards)

    # Before PyTorch 1.6, as Bio_ClinicalBERT's.
    torch.save(found, folder("bin_legacy") / "pytorch_model.bin", _use_new_zipfile_serialization=False)

    # Written under FSDP: a tensor with attributes is saved through _rebuild_from_type_v2, as Asclepius-7B's.
    fsdp = collections.OrderedDict()
    for key, tensor in found.items():
        tensor = tensor.clone()
        tensor._is_sharded = False
        fsdp[key] = tensor
    torch.save(fsdp, folder("bin_fsdp") / "pytorch_model.bin")

    # Parameters, and views into one storage: a transpose, a slice with an offset, a column.
    views = collections.OrderedDict()
    for key, tensor in found.items():
        if key == "ids":
            views[key] = tensor
        elif tensor.dim() == 2:
            views[key] = tensor.t().contiguous().t()
        elif tensor.dim() == 1:
            large = torch.zeros(tensor.numel() + 3, 2)
            large[3:, 1] = tensor
            views[key] = large[3:, 1]
        else:
            views[key] = torch.nn.Parameter(tensor)
    torch.save(views, folder("bin_views") / "pytorch_model.bin")

    # Integers and truth values of every size, also as views with an offset and a stride into one storage.
    integers = collections.OrderedDict()
    for name in ("int64", "int32", "int16", "int8", "uint8"):
        storage = torch.tensor([100, 1, 100, 2, 100, 3], dtype=getattr(torch, name))
        integers[name] = storage
        integers[f"{name}.view"] = storage[1::2]
        integers[f"{name}.turned"] = storage.view(3, 2).t()
    integers["bool"] = torch.tensor([True, False, True])
    torch.save(integers, folder("bin_integers") / "pytorch_model.bin")
    torch.save(integers, folder("bin_integers_legacy") / "pytorch_model.bin", _use_new_zipfile_serialization=False)

    # One storage under several names and shapes, each a part of it.
    storage = torch.arange(24, dtype=torch.float32)
    shared = collections.OrderedDict(
        whole=storage, half=storage[12:], matrix=storage.view(4, 6), turned=storage.view(4, 6).t(), row=storage.view(4, 6)[2],
        column=storage.view(4, 6)[:, 3], block=storage.view(4, 6)[1:3, 2:5])
    torch.save(shared, folder("bin_shared") / "pytorch_model.bin")
    torch.save(shared, folder("bin_shared_legacy") / "pytorch_model.bin", _use_new_zipfile_serialization=False)

    # Tied embeddings, in every direction: whichever name is there.
    body = collections.OrderedDict((k, v) for k, v in found.items() if k not in ("shared.weight", "lm_head.weight"))
    tied = dict(CONFIG, tie_word_embeddings=True)
    for label, key in {
        "shared": "shared.weight",
        "encoder": "encoder.embed_tokens.weight",
        "decoder": "decoder.embed_tokens.weight",
        "head": "lm_head.weight",
    }.items():
        save_file(dict(body, **{key: found["shared.weight"]}), folder(f"tied_{label}", tied) / "model.safetensors")
    names = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"]
    torch.save(
        collections.OrderedDict(body, **{name: found["shared.weight"] for name in names}),
        folder("tied_all", tied) / "pytorch_model.bin",
    )
    save_file(dict(found), folder("tied_differ", tied) / "model.safetensors")

    # Old spellings: gamma, a missing or an additional prefix, buffers that nobody wants.
    old = {}
    for key, tensor in found.items():
        key = key.replace("norm.weight", "norm.gamma")
        old[key if key in ("ids", "scale") else f"model.{key}"] = tensor
    old["model.rotary_emb.inv_freq"] = torch.ones(2)
    save_file(old, folder("old_names") / "model.safetensors")

    (ROOT / "expected.json").write_text(json.dumps(expected, sort_keys=True) + "\n")
    total = sum(file.stat().st_size for file in ROOT.rglob("*") if file.is_file())
    print(f"{total} bytes in {ROOT}")


if __name__ == "__main__":
    main()
