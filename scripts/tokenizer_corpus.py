"""Writes the expected token ids that `clinical-tokenizer` is tested against.

    python scripts/tokenizer_corpus.py                     # small models: tests/data/{corpus,trie}.json, expected/*.json
    python scripts/tokenizer_corpus.py --assets .cache/assets   # real tokenizers (scripts/get_assets): expected/real.json
    python scripts/tokenizer_corpus.py --out DIR --combinations 20000 --seed 5   # another, larger corpus; then
    CLINICAL_TOKENIZER_DATA=DIR cargo test --release -p clinical-tokenizer --test parity

The truth is `transformers` 4.57.6: the slow tokenizers (`use_fast=False`, sentencepiece 0.2.3) for SentencePiece models
and vocab.txt, the fast ones (tokenizers 0.22.2) where a directory has tokenizer.json. A case lists the files of a model
directory, so that Python here and the Rust tests build the very same directory.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import transformers
from transformers.tokenization_utils import Trie

from tokenizer_text import DEID_TAGS, corpus, long_text

transformers.logging.set_verbosity_error()
DATA = pathlib.Path(__file__).resolve().parent.parent / "crates/clinical-tokenizer/tests/data"


def added(first):
    """`added_tokens.json` as `save_pretrained` writes it: ids in order of addition, keys sorted."""
    return {tag: first + i for i, tag in enumerate(DEID_TAGS)}


def token(content, **flags):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False} | flags


def typed(content, **flags):
    return {"__type": "AddedToken"} | token(content, **flags)


LLAMA_STRINGS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
BERT_SPECIAL = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}

# `files`: name in the directory -> file under tests/data/models. `json`: name -> content. `python`: class and
# arguments.
CASES = [
    dict(name="t5_legacy", files={"spiece.model": "t5.model"}, json={}, python=("T5Tokenizer", {}), decode=True),
    dict(name="t5_new", files={"spiece.model": "t5.model"},
         json={"tokenizer_config.json": {"tokenizer_class": "T5Tokenizer", "legacy": False, "extra_ids": 100, "eos_token": "</s>",
                                         "unk_token": "<unk>", "pad_token": "<pad>", "clean_up_tokenization_spaces": True}},
         python=("T5Tokenizer", {}), decode=True),
    dict(name="t5_legacy_tags", files={"spiece.model": "t5.model"},
         json={"added_tokens.json": added(670),
               "special_tokens_map.json": {"eos_token": token("</s>"), "pad_token": "<pad>", "unk_token": "<unk>",
                                           "additional_special_tokens": [f"<extra_id_{i}>" for i in range(100)]},
               "tokenizer_config.json": {"tokenizer_class": "T5Tokenizer", "legacy": True, "model_max_length": 512}},
         python=("T5Tokenizer", {}), decode=True),
    dict(name="t5_new_tags", files={"spiece.model": "t5.model"},
         json={"added_tokens.json": added(670),
               "tokenizer_config.json": {"tokenizer_class": "T5Tokenizer", "legacy": False}}, python=("T5Tokenizer", {}), decode=True),
    dict(name="t5_new_no_prefix", files={"spiece.model": "t5.model"},
         json={"tokenizer_config.json": {"tokenizer_class": "T5Tokenizer", "legacy": False, "add_prefix_space": False}},
         python=("T5Tokenizer", {})),
    dict(name="llama_legacy", files={"tokenizer.model": "llama.model"}, json={}, python=("LlamaTokenizer", {}), decode=True),
    dict(name="llama_new", files={"tokenizer.model": "llama.model"},
         json={"tokenizer_config.json": LLAMA_STRINGS | {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_eos_token": True}},
         python=("LlamaTokenizer", {}), decode=True),
    dict(name="llama_legacy_tags", files={"tokenizer.model": "llama.model"},
         json={"added_tokens.json": added(800) | {"<pad>": 815},
               "special_tokens_map.json": LLAMA_STRINGS | {"pad_token": "<pad>"},
               "tokenizer_config.json": {"tokenizer_class": "LlamaTokenizer", "bos_token": typed("<s>"), "eos_token": typed("</s>"),
                                         "unk_token": typed("<unk>"), "pad_token": None, "add_bos_token": True, "add_eos_token": False,
                                         "sp_model_kwargs": {}, "model_max_length": 2048}},
         python=("LlamaTokenizer", {}), decode=True),
    dict(name="llama_new_tags", files={"tokenizer.model": "llama.model"},
         json={"tokenizer_config.json": LLAMA_STRINGS | {
             "tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": False,
             "added_tokens_decoder": {str(i): token(t, special=True) for i, t in enumerate(["<unk>", "<s>", "</s>"])}
             | {str(i): token(t, special=False, normalized=True) for t, i in added(800).items()}
             | {"815": token("[Dx]", special=False, lstrip=True, rstrip=True), "816": token("CHF", special=False, single_word=True),
                "817": token("mg", special=False, rstrip=True, single_word=True)}}},
         python=("LlamaTokenizer", {}), decode=True),
    dict(name="llama_new_no_prefix", files={"tokenizer.model": "llama.model"},
         json={"added_tokens.json": added(800),
               "tokenizer_config.json": LLAMA_STRINGS | {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_prefix_space": False}},
         python=("LlamaTokenizer", {})),
    # The ids and the empty strings of Asclepius-7B; the truth is the same directory with the contents filled in.
    dict(name="asclepius_7b", files={"tokenizer.model": "llama.model"},
         json={"tokenizer_config.json": {
             "tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False,
             "bos_token": typed("", normalized=True), "eos_token": typed("", normalized=True), "unk_token": typed("", normalized=True),
             "pad_token": None, "model_max_length": 2048, "sp_model_kwargs": {}},
             "special_tokens_map.json": {"bos_token": token("", normalized=True), "eos_token": token(""), "unk_token": ""},
             "config.json": {"model_type": "llama", "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": -1, "vocab_size": 800}},
         python=("LlamaTokenizer", {}), truth_without=["tokenizer_config.json", "special_tokens_map.json"]),
    dict(name="odd_bpe_legacy", files={"tokenizer.model": "odd_bpe.model"},
         json={"tokenizer_config.json": {"tokenizer_class": "LlamaTokenizer", "legacy": True, "add_eos_token": True}},
         python=("LlamaTokenizer", {}), decode=True),
    dict(name="odd_bpe_new", files={"tokenizer.model": "odd_bpe.model"},
         json={"tokenizer_config.json": {"tokenizer_class": "LlamaTokenizer", "legacy": False}}, python=("LlamaTokenizer", {}), decode=True),
    dict(name="odd_unigram_legacy", files={"spiece.model": "odd_unigram.model"},
         json={"tokenizer_config.json": {"tokenizer_class": "T5Tokenizer", "legacy": True, "extra_ids": 5},
               "special_tokens_map.json": {"additional_special_tokens": [token(f"<extra_id_{i}>") for i in range(5)] + ["<mask>"]}},
         python=("T5Tokenizer", {}), decode=True),
    dict(name="odd_unigram_new", files={"spiece.model": "odd_unigram.model"},
         json={"tokenizer_config.json": {"tokenizer_class": "T5Tokenizer", "legacy": False, "extra_ids": 0}},
         python=("T5Tokenizer", {}), decode=True),
    dict(name="bert_cased", files={"vocab.txt": "bert_cased.vocab.txt"}, json={"config.json": {"model_type": "bert"}},
         python=("BertTokenizer", {"do_lower_case": False}), decode=True),
    dict(name="bert_cased_tags", files={"vocab.txt": "bert_cased.vocab.txt"},
         json={"added_tokens.json": added(680), "special_tokens_map.json": BERT_SPECIAL,
               "tokenizer_config.json": {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}},
         python=("BertTokenizer", {}), decode=True),
    dict(name="bert_uncased", files={"vocab.txt": "bert_uncased.vocab.txt"},
         json={"tokenizer_config.json": BERT_SPECIAL | {"do_lower_case": True, "clean_up_tokenization_spaces": False}},
         python=("BertTokenizer", {}), decode=True),
    dict(name="bert_uncased_tags", files={"vocab.txt": "bert_uncased.vocab.txt"},
         json={"added_tokens.json": added(634), "tokenizer_config.json": {"do_lower_case": True}}, python=("BertTokenizer", {}), decode=True),
    dict(name="bert_forced_lower", files={"vocab.txt": "bert_cased.vocab.txt"},
         json={"tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": False}},
         python=("BertTokenizer", {})),
    # The fast tokenizer is the truth for the rest.
    dict(name="fast_t5", files={f: f"fast_t5/{f}" for f in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")},
         json={}, python=("T5TokenizerFast", {}), decode=True),
    dict(name="bare_t5", files={"tokenizer.json": "bare_t5/tokenizer.json"}, json={"config.json": {"model_type": "t5"}},
         python=("T5TokenizerFast", {})),
    dict(name="fast_bpe", files={f: f"fast_bpe/{f}" for f in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")},
         json={}, python=("PreTrainedTokenizerFast", {}), decode=True),
    dict(name="fast_llama", files={f: f"fast_llama/{f}" for f in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")},
         json={}, python=("LlamaTokenizerFast", {}), decode=True),
    dict(name="fast_bert", files={f: f"fast_bert/{f}" for f in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")},
         json={}, python=("BertTokenizerFast", {}), decode=True),
    dict(name="roberta", files={f: f"roberta/{f}" for f in ("vocab.json", "merges.txt")}, json={"config.json": {"model_type": "roberta"}},
         python=("RobertaTokenizerFast", {}), decode=True),
    dict(name="roberta_prefix", files={f: f"roberta/{f}" for f in ("vocab.json", "merges.txt")},
         json={"tokenizer_config.json": {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}, "added_tokens.json": added(560)},
         python=("RobertaTokenizerFast", {})),
    dict(name="gpt2", files={f: f"roberta/{f}" for f in ("vocab.json", "merges.txt")},
         json={"tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}},
         python=("GPT2TokenizerFast", {})),
]


def build(case, folder, models=DATA / "models", truth=False):
    for name, source in case["files"].items():
        shutil.copy(models / source, folder / name)
    for name, content in case["json"].items():
        if not (truth and name in case.get("truth_without", [])):
            (folder / name).write_text(json.dumps(content))


def load(case, folder):
    name, arguments = case["python"]
    return getattr(transformers, name).from_pretrained(str(folder), **arguments)


def fnv(ids):
    """64-bit FNV-1a over the ids as little-endian u32: a long id list in one number."""
    value = 0xCBF29CE484222325
    for i in ids:
        for byte in int(i).to_bytes(4, "little"):
            value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def expectations(case, tokenizer, lines):
    ids = [tokenizer.encode(line) for line in lines]
    bare = [tokenizer.encode(line, add_special_tokens=False) for line in lines[:60]]
    pairs = [[i, j, tokenizer([(lines[i], lines[j])])["input_ids"][0]] for i, j in ((25, 31), (0, 25), (25, 0), (200, 201), (150, 151))]
    long = tokenizer.encode(long_text(lines, 6))
    out = {"size": max(tokenizer.get_vocab().values()) + 1, "ids": ids, "bare": bare, "pairs": pairs, "long": [len(long), fnv(long)],
           "special": {role: getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
                       if getattr(tokenizer, f"{role}_token") is not None}}
    if case.get("decode"):
        rng = random.Random(case["name"])
        present = sorted(set(tokenizer.get_vocab().values()))
        if "model" in next(iter(case["files"])) and not case["name"].startswith("roberta"):
            present = [i for i in present if i < tokenizer.vocab_size] + [i for i in present if i >= tokenizer.vocab_size] * 3
        samples = [ids[i] for i in range(0, len(ids), 9)]
        for n in range(70 if len(lines) < 1000 else len(lines)):
            pool = present if n % 2 else [i for i in present if i < 300] + tokenizer.all_special_ids * 8
            samples.append([rng.choice(pool) for _ in range(rng.randrange(1, 14))])
        samples = [s for s in samples if s]
        out["decode"] = [[s, tokenizer.decode(s), tokenizer.decode(s, skip_special_tokens=True)] for s in samples]
    return out


def trie_cases():
    """The splitting of slow tokenizers on added tokens, with overlapping tokens over a tiny alphabet."""
    rng = random.Random(11)
    out = []
    for n in range(400):
        alphabet = "ab" if n % 3 == 0 else "abcé" if n % 3 == 1 else "[]N a"
        words = sorted({"".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 6))) for _ in range(rng.randrange(1, 7))})
        trie = Trie(words)
        text = "".join(rng.choice(alphabet + "x") for _ in range(rng.randrange(0, 24)))
        out.append([words, text, trie.split(text)])
    return out


def blanks():
    """Every character that Python's `str.isspace` accepts."""
    return [c for c in range(0x110000) if chr(c).isspace()]


def dump(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


# Real tokenizers: files in the asset folder -> name in the directory. Only hashes are stored.
REAL = [
    dict(name="mistral_legacy", files={"tokenizer.model": "mistral-common/tokenizer.model.v1"}, python=("LlamaTokenizer", {}),
         json={"tokenizer_config.json": LLAMA_STRINGS}),
    dict(name="mistral_new", files={"tokenizer.model": "mistral-common/tokenizer.model.v1"}, python=("LlamaTokenizer", {}),
         json={"tokenizer_config.json": LLAMA_STRINGS | {"legacy": False}}),
    dict(name="mistral_legacy_tags", files={"tokenizer.model": "mistral-common/tokenizer.model.v1"}, python=("LlamaTokenizer", {}),
         json={"tokenizer_config.json": LLAMA_STRINGS, "added_tokens.json": added(32000)}),
    dict(name="mistral_new_tags", files={"tokenizer.model": "mistral-common/tokenizer.model.v1"}, python=("LlamaTokenizer", {}),
         json={"tokenizer_config.json": LLAMA_STRINGS | {"legacy": False}, "added_tokens.json": added(32000)}),
    dict(name="mistral_v3_new", files={"tokenizer.model": "mistral-common/mistral_instruct_tokenizer_240323.model.v3"},
         python=("LlamaTokenizer", {}), json={"tokenizer_config.json": LLAMA_STRINGS | {"legacy": False}}),
    dict(name="seqio_legacy", files={"spiece.model": "seqio/sentencepiece.model"}, python=("T5Tokenizer", {}), json={}),
    dict(name="seqio_new_tags", files={"spiece.model": "seqio/sentencepiece.model"}, python=("T5Tokenizer", {}),
         json={"tokenizer_config.json": {"legacy": False}, "added_tokens.json": added(1100)}),
    dict(name="minilm_words", files={"vocab.txt": "all-minilm-l6-v2/vocab.txt"}, python=("BertTokenizer", {}),
         json={"tokenizer_config.json": {"do_lower_case": True}}),
    dict(name="minilm_fast", files={f: f"all-minilm-l6-v2/{f}" for f in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")},
         python=("BertTokenizerFast", {}), json={}),
    dict(name="smollm2", files={f: f"smollm2-135m-instruct/{f}" for f in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")},
         python=("GPT2TokenizerFast", {}), json={}),
]


def real(assets, lines):
    out = []
    for case in REAL:
        with tempfile.TemporaryDirectory() as tmp:
            build(case, pathlib.Path(tmp), models=assets)
            tokenizer = load(case, tmp)
        ids = [tokenizer.encode(line) for line in lines]
        long = tokenizer.encode(long_text(lines, 20))
        decoded = [tokenizer.decode(i, skip_special_tokens=skip) for i in ids if i for skip in (False, True)]
        out.append({"name": case["name"], "files": case["files"], "json": case["json"], "size": max(tokenizer.get_vocab().values()) + 1,
                    "ids": [fnv(i)[:8] for i in ids], "long": [len(long), fnv(long)], "decoded": fnv(b"".join(d.encode() + b"\n" for d in decoded))})
    dump(DATA / "expected/real.json", out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--assets", type=pathlib.Path, help="the folder that scripts/get_assets fills: makes expected/real.json only")
    parser.add_argument("--out", type=pathlib.Path, default=DATA, help="where to write (the committed fixtures by default)")
    parser.add_argument("--combinations", type=int, default=240)
    parser.add_argument("--seed", type=int, default=20240229)
    arguments = parser.parse_args()
    lines = corpus(arguments.combinations, arguments.seed)
    out = arguments.out
    if out != DATA:
        shutil.copytree(DATA / "models", out / "models", dirs_exist_ok=True)
    if arguments.assets:
        return real(arguments.assets, lines)
    dump(out / "corpus.json", lines)
    dump(out / "trie.json", {"splits": trie_cases(), "blanks": blanks()})
    dump(out / "cases.json", [{k: case[k] for k in ("name", "files", "json")} for case in CASES])
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="tok") as tmp:
            folder = pathlib.Path(tmp)
            build(case, folder, truth=True)
            tokenizer = load(case, folder)
            dump(out / f"expected/{case['name']}.json", expectations(case, tokenizer, lines))
        print(case["name"], type(tokenizer).__name__, file=sys.stderr)


if __name__ == "__main__":
    main()
