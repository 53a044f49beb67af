"""Makes the GGUF files that tests read, with Python's `gguf` as the reference.

    python scripts/make_gguf_fixtures.py

Needs torch, transformers, gguf, safetensors, sentencepiece (scripts/requirements.txt). Values depend on seeds alone.

| file                                              | content                                                             |
|---------------------------------------------------|---------------------------------------------------------------------|
| crates/clinical-weights/tests/data/gguf           | one matrix of every type, and what `gguf.quants` makes of each      |
| crates/clinical-llama/tests/data/gguf             | tiny models of crates/clinical-llama/tests/data, converted as       |
|                                                   | llama.cpp's converter does                                          |
| crates/clinical-bert/tests/data/gguf              | the encoder of bert_pretraining, converted likewise                 |
| crates/asclepius/tests/data/gguf                  | a tiny model with a SentencePiece tokenizer, one with byte-level    |
|                                                   | BPE, and what transformers and sentencepiece make of them           |
"""

import json
import struct
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

CRATES = Path(__file__).resolve().parent.parent / "crates"
TYPE = gguf.GGMLQuantizationType


def folder(crate):
    path = CRATES / crate / "tests" / "data" / "gguf"
    path.mkdir(parents=True, exist_ok=True)
    for file in path.iterdir():
        file.unlink()
    return path


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# ------------------------------------------------------------------------------------------------ types

# Where the f16 scales of a block are: anything else in it may be any byte.
SCALES = {
    TYPE.Q4_0: [0], TYPE.Q4_1: [0, 2], TYPE.Q5_0: [0], TYPE.Q5_1: [0, 2], TYPE.Q8_0: [0],
    TYPE.Q2_K: [80, 82], TYPE.Q3_K: [108], TYPE.Q4_K: [0, 2], TYPE.Q5_K: [0, 2], TYPE.Q6_K: [208],
}


def types():
    rng = np.random.default_rng(20231127)
    path = folder("clinical-weights")
    writer = gguf.GGUFWriter(path / "types.gguf", "llama")
    # Every type of value that metadata can have, for the reader.
    writer.add_uint8("test.u8", 200)
    writer.add_int8("test.i8", -100)
    writer.add_uint16("test.u16", 60000)
    writer.add_int16("test.i16", -30000)
    writer.add_uint32("test.u32", 4_000_000_000)
    writer.add_int32("test.i32", -2_000_000_000)
    writer.add_uint64("test.u64", 1 << 60)
    writer.add_int64("test.i64", -(1 << 60))
    writer.add_float32("test.f32", 1e-5)
    writer.add_float64("test.f64", 1e-300)
    writer.add_bool("test.bool", True)
    writer.add_string("test.text", "Größe ▁")
    writer.add_array("test.texts", ["a", "", "ü"])
    writer.add_array("test.numbers", [1, 2, 3])
    writer.add_array("test.floats", [0.5, -1.5])
    expected = {}
    rows, columns = 4, 512
    for kind, places in SCALES.items():
        values, size = gguf.GGML_QUANT_SIZES[kind]
        count = rows * columns // values
        blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
        for place in places:
            scale = (rng.standard_normal(count) * 0.05).astype(np.float16)
            blocks[:, place:place + 2] = scale.view(np.uint8).reshape(count, 2)
        blocks = blocks.reshape(rows, columns // values * size)
        name = f"type.{kind.name}"
        writer.add_tensor(name, blocks, raw_dtype=kind)
        expected[name] = gguf.quants.dequantize(blocks, kind).astype(np.float32)
    plain = rng.standard_normal((rows, columns)).astype(np.float32)
    writer.add_tensor("type.F32", plain)
    expected["type.F32"] = plain
    writer.add_tensor("type.F16", plain.astype(np.float16))
    expected["type.F16"] = plain.astype(np.float16).astype(np.float32)
    half = gguf.quants.quantize(plain, TYPE.BF16)
    writer.add_tensor("type.BF16", half, raw_dtype=TYPE.BF16)
    expected["type.BF16"] = gguf.quants.dequantize(half, TYPE.BF16).astype(np.float32)
    close(writer)
    save_file(expected, path / "types.safetensors")


# ------------------------------------------------------------------------------------------------ conversion

def permute(rows, heads):
    """Query and key rows from Hugging Face's order (halves) to llama.cpp's (pairs side by side)."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def llama_name(name):
    stem, end = name.rsplit(".", 1)
    if stem in WHOLE:
        return f"{WHOLE[stem]}.{end}"
    _, _, layer, stem = stem.split(".", 3)
    return f"blk.{layer}.{LAYER[stem]}.{end}"


def rope_factors(config):
    """The factors that llama.cpp's converter computes for Llama 3.1."""
    scaling, theta, size = config["rope_scaling"], config["rope_theta"], config["head_dim"]
    low, high, old = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["original_max_position_embeddings"]
    factors = []
    for i in range(0, size, 2):
        length = 2 * np.pi * theta ** (i / size)
        if length < old / high:
            factors.append(1.0)
        elif length > old / low:
            factors.append(scaling["factor"])
        else:
            smooth = (old / length - low) / (high - low)
            factors.append(1 / ((1 - smooth) / scaling["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def llama(writer, config, tensors, kind=None):
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_key_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    scaling = config.get("rope_scaling") or {}
    if scaling.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling["factor"])
    if scaling.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_factors(config))
    for name, tensor in tensors.items():
        if "q_proj" in name:
            tensor = permute(tensor, heads)
        elif "k_proj" in name:
            tensor = permute(tensor, kv)
        tensor = np.ascontiguousarray(tensor)
        if kind is not None and tensor.ndim == 2:
            writer.add_tensor(llama_name(name), gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(llama_name(name), tensor)


def llamas():
    path = folder("clinical-llama")
    data = path.parent
    for variant in ("gqa", "bias", "linear"):
        config = json.loads((data / variant / "config.json").read_text())
        writer = gguf.GGUFWriter(path / f"{variant}.gguf", "llama")
        llama(writer, config, load_file(data / variant / "model.safetensors"))
        close(writer)
    # The first again in parts, as llama-gguf-split names them.
    config = json.loads((data / "gqa" / "config.json").read_text())
    writer = gguf.GGUFWriter(path / "parts.gguf", "llama", split_max_tensors=8)
    llama(writer, config, load_file(data / "gqa" / "model.safetensors"))
    close(writer)
    # Metadata alone: the tiny llama3 variant has other numbers than any published model, so it cannot come from GGUF.
    config = json.loads((data / "llama3" / "config.json").read_text())
    config.update(rope_theta=500000.0, head_dim=64, hidden_size=64, num_attention_heads=1, num_key_value_heads=1,
                  vocab_size=32, intermediate_size=32, max_position_embeddings=131072)
    for factor in (8.0, 32.0):
        config["rope_scaling"] = {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0,
                                  "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
        writer = gguf.GGUFWriter(path / f"llama3_{factor:.0f}.gguf", "llama")
        llama(writer, config, {"model.embed_tokens.weight": np.zeros((32, 64), np.float32)})
        close(writer)


BERT_LAYER = {
    "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
}
BERT_WHOLE = {
    "embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
}


def bert():
    path = folder("clinical-bert")
    source = path.parent / "bert_pretraining"
    config = json.loads((source / "config.json").read_text())
    words = (source / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    kinds = [gguf.TokenType.CONTROL if word in special else gguf.TokenType.NORMAL for word in words]

    def phantom(word, kind):
        if kind == gguf.TokenType.CONTROL:
            return word
        return word[2:] if word.startswith("##") else "\u2581" + word

    writer = gguf.GGUFWriter(path / "bert.gguf", "bert")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config.get("layer_norm_eps", 1e-12))
    writer.add_causal_attention(False)
    writer.add_token_type_count(config.get("type_vocab_size", 2))
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list([phantom(word, kind) for word, kind in zip(words, kinds)])
    writer.add_token_types(kinds)
    for role, word in [("unk", "[UNK]"), ("sep", "[SEP]"), ("pad", "[PAD]"), ("bos", "[CLS]"), ("mask", "[MASK]")]:
        getattr(writer, f"add_{role}_token_id")(words.index(word))
    for name, tensor in load_file(source / "model.safetensors").items():
        if not name.startswith("bert.") or "pooler" in name or "position_ids" in name:
            continue
        stem, end = name.removeprefix("bert.").rsplit(".", 1)
        end = {"gamma": "weight", "beta": "bias"}.get(end, end)
        if stem in BERT_WHOLE:
            writer.add_tensor(f"{BERT_WHOLE[stem]}.{end}", tensor)
        else:
            _, _, layer, stem = stem.split(".", 3)
            writer.add_tensor(f"blk.{layer}.{BERT_LAYER[stem]}.{end}", tensor)
    close(writer)


# ------------------------------------------------------------------------------------------------ whole models

TEXTS = [
    "Chief Complaint: chest pain and shortness of breath.",
    "BP 120/80,  HR 72\n\nAssessment:\t1. CHF  2. HTN",
    "Größe 1,80 m; Temp 38.5 °C — naïve 😀 日本",
    " leading and trailing ",
    "",
    "I'll say: it's 2,345.67 mg!!! \r\n\r\n   end",
]


def tiny(vocabulary):
    torch.manual_seed(20231127)
    config = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "vocab_size": vocabulary,
        "max_position_embeddings": 1024,
    }
    names = {"model.embed_tokens.weight": (vocabulary, 32), "lm_head.weight": (vocabulary, 32), "model.norm.weight": (32,)}
    for layer in range(2):
        own = f"model.layers.{layer}."
        names |= {own + "input_layernorm.weight": (32,), own + "post_attention_layernorm.weight": (32,),
                  own + "self_attn.q_proj.weight": (32, 32), own + "self_attn.k_proj.weight": (16, 32),
                  own + "self_attn.v_proj.weight": (16, 32), own + "self_attn.o_proj.weight": (32, 32),
                  own + "mlp.gate_proj.weight": (64, 32), own + "mlp.up_proj.weight": (64, 32),
                  own + "mlp.down_proj.weight": (32, 64)}
    tensors = {name: (torch.randn(shape) * 0.2 + (1.0 if len(shape) == 1 else 0.0)).numpy() for name, shape in names.items()}
    return config, tensors


def logits(path, name, rows):
    model = AutoModelForCausalLM.from_pretrained(path, gguf_file=name, dtype=torch.float32).eval()
    out = []
    with torch.no_grad():
        for row in rows:
            out.append([round(value, 6) for value in model(torch.tensor([row])).logits[0, -1].tolist()])
    return out


def sentence_piece(path):
    """As Asclepius-7B's: SentencePiece BPE with byte fallback; two added tokens behind the pieces."""
    file = CRATES / "clinical-tokenizer" / "tests" / "data" / "models" / "llama.model"
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(file))
    tokens, scores, kinds = [], [], []
    for id in range(pieces.vocab_size()):
        tokens.append(pieces.id_to_piece(id).encode())
        scores.append(pieces.get_score(id))
        kinds.append(gguf.TokenType.UNKNOWN if pieces.is_unknown(id) else gguf.TokenType.CONTROL if pieces.is_control(id)
                     else gguf.TokenType.UNUSED if pieces.is_unused(id) else gguf.TokenType.BYTE if pieces.is_byte(id)
                     else gguf.TokenType.NORMAL)
    for text, kind in [("[Company]", gguf.TokenType.USER_DEFINED), ("<pad>", gguf.TokenType.CONTROL)]:
        tokens.append(text.encode())
        scores.append(-1000.0)
        kinds.append(kind)
    config, tensors = tiny(len(tokens))
    writer = gguf.GGUFWriter(path / "sentencepiece.gguf", "llama")
    writer.add_name("Asclepius tiny")
    llama(writer, config, tensors, TYPE.Q8_0)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(pieces.bos_id())
    writer.add_eos_token_id(pieces.eos_id())
    writer.add_unk_token_id(pieces.unk_id())
    writer.add_pad_token_id(len(tokens) - 1)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    close(writer)
    ids = [[pieces.bos_id(), *pieces.encode(text)] for text in TEXTS]
    return {"texts": TEXTS, "ids": ids, "logits": logits(path, "sentencepiece.gguf", ids[:2])}


def byte_level(path):
    """As Llama 3's: byte-level BPE, a word that is a token is taken whole."""
    file = json.loads((CRATES / "clinical-tokenizer" / "tests" / "data" / "models" / "fast_bpe" / "tokenizer.json").read_text())
    vocabulary, merges = file["model"]["vocab"], file["model"]["merges"]
    tokens = [None] * len(vocabulary)
    for token, id in vocabulary.items():
        tokens[id] = token
    begin, end = len(tokens), len(tokens) + 1
    tokens += ["<|begin_of_text|>", "<|end_of_text|>"]
    kinds = [gguf.TokenType.NORMAL] * begin + [gguf.TokenType.CONTROL] * 2
    rule = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
            r"|\s*[\r\n]+|\s+(?!\S)|\s+")
    reference = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None,
        "added_tokens": [{"id": id, "content": tokens[id], "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for id in (begin, end)],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": rule}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": tokens[begin], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {tokens[begin]: {"id": tokens[begin], "ids": [begin], "tokens": [tokens[begin]]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
                  "vocab": {token: id for id, token in enumerate(tokens)}, "merges": merges},
    }
    written = path / "reference.json"
    written.write_text(json.dumps(reference))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(written))
    written.unlink()
    ids = [tokenizer(text)["input_ids"] for text in TEXTS]
    config, tensors = tiny(len(tokens))
    writer = gguf.GGUFWriter(path / "byte_level.gguf", "llama")
    llama(writer, config, tensors, TYPE.Q4_0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(begin)
    writer.add_eos_token_id(end)
    close(writer)
    return {"texts": TEXTS, "ids": ids, "logits": logits(path, "byte_level.gguf", ids[:2])}


def main():
    types()
    llamas()
    bert()
    path = folder("asclepius")
    expected = {"sentencepiece": sentence_piece(path), "byte_level": byte_level(path)}
    (path / "expected.json").write_text(json.dumps(expected, ensure_ascii=False) + "\n", encoding="utf-8")
    for crate in ("clinical-weights", "clinical-llama", "clinical-bert", "asclepius"):
        for file in sorted((CRATES / crate / "tests" / "data" / "gguf").iterdir()):
            print(f"{file.stat().st_size:>8} {file.relative_to(CRATES)}")


if __name__ == "__main__":
    main()
