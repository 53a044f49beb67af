"""Opens tokenizers that `clinical-tokenizer` trained with `transformers`, and compares the ids of 200 invented notes.

    CLINICAL_TOKENIZER_TRAINED=DIR cargo test --release --workspace --test tokenizer_training
    python scripts/tokenizer_trained.py DIR
"""

import json
import pathlib
import sys

import transformers

transformers.logging.set_verbosity_error()


def main():
    bad = 0
    for file in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
        expected = json.loads(file.read_text())
        folder = str(file.with_suffix(""))
        model = "t5" if file.name.startswith("t5") else "bert"
        kinds = [transformers.AutoTokenizer]
        # The T5 class of transformers 5 does not read the rules of the file.
        if model == "bert" or transformers.__version__.startswith("4."):
            kinds.append(transformers.T5TokenizerFast if model == "t5" else transformers.BertTokenizerFast)
        for kind in kinds:
            tokenizer = kind.from_pretrained(folder)
            differ = sum(tokenizer.encode(text) != ids for text, ids in zip(expected["texts"], expected["ids"]))
            good = not differ and len(tokenizer) == expected["size"]
            bad += not good
            detail = "same" if good else f"{differ} of {len(expected['texts'])} notes differ, size {len(tokenizer)}"
            print(transformers.__version__, file.stem, kind.__name__, type(tokenizer).__name__, detail)
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
