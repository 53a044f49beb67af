"""Measures `transformers` on the note that `cargo run --release -p clinical-bench --bin tokenizer_speed -- --write-note FILE` writes.

    python scripts/tokenizer_speed.py FILE [ASSETS]
"""

import os
import pathlib
import shutil
import sys
import tempfile
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import transformers

transformers.logging.set_verbosity_error()


def main():
    text = pathlib.Path(sys.argv[1]).read_text()[:100_000]  # the slow tokenizers need minutes for all of it
    assets = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ".cache/assets")
    for name, kind, files in [
        ("SentencePiece BPE, slow", "LlamaTokenizer", {"tokenizer.model": "mistral-common/tokenizer.model.v1"}),
        ("SentencePiece unigram, slow", "T5Tokenizer", {"spiece.model": "seqio/sentencepiece.model"}),
        ("WordPiece, slow", "BertTokenizer", {"vocab.txt": "all-minilm-l6-v2/vocab.txt"}),
        ("tokenizer.json, WordPiece, fast", "BertTokenizerFast", {"tokenizer.json": "all-minilm-l6-v2/tokenizer.json"}),
        ("tokenizer.json, byte-level BPE, fast", "PreTrainedTokenizerFast", {"tokenizer.json": "smollm2-135m-instruct/tokenizer.json"}),
    ]:
        with tempfile.TemporaryDirectory(prefix="tok") as tmp:
            for target, source in files.items():
                shutil.copy(assets / source, pathlib.Path(tmp) / target)
            tokenizer = getattr(transformers, kind).from_pretrained(tmp)
        best = {"encode": 1e9, "decode": 1e9}
        for _ in range(3):
            start = time.thread_time()
            ids = tokenizer.encode(text)
            middle = time.thread_time()
            tokenizer.decode(ids, skip_special_tokens=True)
            best["encode"] = min(best["encode"], middle - start)
            best["decode"] = min(best["decode"], time.thread_time() - middle)
        print(f"{name:40} {len(ids):9} tokens, encode {len(text) / 1e6 / best['encode']:.2f} MB/s, decode {len(text) / 1e6 / best['decode']:.2f} MB/s")


if __name__ == "__main__":
    main()
