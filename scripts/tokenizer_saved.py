"""Opens tokenizers that `clinical-tokenizer` saved with `transformers`, and compares the ids with the expected ones.

    CLINICAL_TOKENIZER_SAVE=DIR cargo test --release -p clinical-tokenizer --test save
    python scripts/tokenizer_saved.py DIR
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import transformers

from tokenizer_corpus import DATA

transformers.logging.set_verbosity_error()


def main():
    lines = json.loads((DATA / "corpus.json").read_text())
    bad = 0
    for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        expected = json.loads((DATA / f"expected/{folder.name}.json").read_text())
        name = json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"]
        tokenizer = getattr(transformers, name).from_pretrained(str(folder))
        differ = [line for line, ids in zip(lines, expected["ids"]) if tokenizer.encode(line) != ids]
        size = max(tokenizer.get_vocab().values()) + 1
        texts = sum(tokenizer.decode(ids, skip_special_tokens=skip) != text
                    for ids, plain, skipped in expected.get("decode", []) for skip, text in ((False, plain), (True, skipped)))
        good = not differ and size == expected["size"] and not texts
        bad += not good
        print(folder.name, name, "same" if good else f"{len(differ)} lines differ {differ[:3]}, {texts} texts, size {size} of {expected['size']}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
