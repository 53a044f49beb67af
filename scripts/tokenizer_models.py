"""Trains the small tokenizer models that the tests of `clinical-tokenizer` use.

    python scripts/tokenizer_models.py            # writes crates/clinical-tokenizer/tests/data/models

The result is committed, so this is needed only when a model is to change. Made with sentencepiece 0.2.3,
tokenizers 0.22.2 and transformers 4.57.6; the training text is invented (tokenizer_text.py).
"""

import io
import json
import os
import pathlib
import re
import tempfile
import unicodedata
from collections import Counter

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import sentencepiece as spm
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizerFast, LlamaTokenizer, LlamaTokenizerFast, PreTrainedTokenizerFast, T5TokenizerFast
from sentencepiece import sentencepiece_model_pb2 as pb2

from tokenizer_text import DEID_TAGS, training_sentences

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates/clinical-tokenizer/tests/data/models"


def train_spm(name, sentences, edit=None, **options):
    buffer = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=buffer, num_threads=1, minloglevel=2,
        shuffle_input_sentence=False, input_sentence_size=0, hard_vocab_limit=False, **options)
    data = buffer.getvalue()
    if edit:
        proto = pb2.ModelProto.FromString(data)
        edit(proto)
        data = proto.SerializeToString()
    (OUT / name).write_bytes(data)


def unuse(step):
    """Marks every `step`-th longer piece as unused: such pieces must be cut up again."""
    def edit(proto):
        proto.normalizer_spec.normalization_rule_tsv = ""  # a temporary path
        normal = [p for p in proto.pieces if p.type == p.NORMAL and len(p.piece) > 2]
        for piece in normal[::step]:
            piece.type = piece.UNUSED
    return edit


def sentencepiece_models(sentences):
    train_spm("t5.model", sentences, model_type="unigram", vocab_size=800, normalization_rule_name="nmt_nfkc",
              pad_id=0, eos_id=1, unk_id=2, bos_id=-1, character_coverage=1.0)
    train_spm("llama.model", sentences, model_type="bpe", vocab_size=800, normalization_rule_name="identity",
              remove_extra_whitespaces=False, byte_fallback=True, allow_whitespace_only_pieces=True, split_digits=True,
              unk_id=0, bos_id=1, eos_id=2, pad_id=-1, character_coverage=1.0)
    odd = dict(user_defined_symbols=["<mask>", "[Dx]", "[D", "x c"], control_symbols=["<cls>", "<sep>"])
    with tempfile.TemporaryDirectory() as tmp:
        # A small charsmap with every kind of rule: one to one, one to many, many to one, removal, to a blank.
        rules = [("É", "E"), ("é", "e"), ("½", "1/2"), ("e\u0301", "é"), ("\t", " "), ("\n", " "), ("\u00a0", " "), ("\u200b", ""),
                 ("q.d.", "daily"), ("▁", " "), ("\u3000", "  "), ("#", "# "), ("a\u030a", "å"), ("a\u030a\u0301", "ǻ")]
        tsv = pathlib.Path(tmp) / "rules.tsv"
        tsv.write_text("".join(
            " ".join(f"{ord(c):X}" for c in old) + "\t" + " ".join(f"{ord(c):X}" for c in new) + "\n" for old, new in rules))
        train_spm("odd_bpe.model", sentences, unuse(7), model_type="bpe", vocab_size=500, normalization_rule_tsv=str(tsv),
                  unk_id=0, bos_id=1, eos_id=2, pad_id=3, unk_surface="??", **odd)
    train_spm("odd_unigram.model", sentences, unuse(5), model_type="unigram", vocab_size=700, normalization_rule_name="identity",
              remove_extra_whitespaces=False, byte_fallback=True, treat_whitespace_as_suffix=True, add_dummy_prefix=True,
              pad_id=0, eos_id=1, unk_id=2, bos_id=-1, **odd)


def bert_vocabularies(sentences):
    """Word pieces picked by count, ties by spelling (the trainers of `tokenizers` do not repeat exactly)."""
    for name, lower in (("bert_cased", False), ("bert_uncased", True)):
        words, pieces = Counter(), Counter()
        for text in sentences:
            text = text.lower() if lower else text
            if lower:
                text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
            for word in re.findall(r"\w+|[^\w\s]", text):
                words[word] += 1
                for length in (1, 2, 3, 4):
                    if len(word) > length:
                        pieces["##" + word[-length:]] += 1
                        pieces[word[:length]] += 1
        alphabet = sorted(set("".join(words)) | set("你世界½²[]#'\u2047") | (set() if lower else set("éåß")))
        vocab = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + alphabet + ["##" + c for c in alphabet]
        for counted, size in ((words, 260), (pieces, 260)):
            best = sorted(counted.items(), key=lambda kv: (-kv[1], kv[0]))
            vocab += [piece for piece, _ in best if piece not in vocab][:size]
        (OUT / f"{name}.vocab.txt").write_text("".join(f"{piece}\n" for piece in vocab))


def fast_t5(sentences):
    """The shape of the Clinical-T5 tokenizers that were trained from scratch (facts: upstream 2.3)."""
    normalize = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Lowercase()])
    buffer = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([normalize.normalize_str(s) for s in sentences]), model_writer=buffer, num_threads=1, minloglevel=2,
        model_type="unigram", vocab_size=500, hard_vocab_limit=False, split_digits=True, shuffle_input_sentence=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_name="identity", character_coverage=1.0)
    proto = pb2.ModelProto.FromString(buffer.getvalue())
    tokenizer = Tokenizer(models.Unigram([(p.piece, p.score) for p in proto.pieces], unk_id=2))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(),
                                                 normalizers.Replace(Regex(" {2,}"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation()])
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A $B", special_tokens=[("</s>", 1)])
    fast = T5TokenizerFast(tokenizer_object=tokenizer, model_max_length=512)
    fast.add_tokens(DEID_TAGS)
    save_fast(fast, "fast_t5")
    added = {tag: fast.convert_tokens_to_ids(tag) for tag in DEID_TAGS}
    (OUT / "fast_t5/added_tokens.json").write_text(json.dumps(dict(sorted(added.items())), indent=2) + "\n")


def bare_t5(sentences):
    """The same kind before anything was added: no sentinels in tokenizer.json, only a model type in config.json."""
    tokenizer = Tokenizer.from_file(str(OUT / "fast_t5/tokenizer.json"))
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["id"] < 3]
    folder = OUT / "bare_t5"
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


CHAT = ("{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
        "{{ message['content'] | trim }}<|eot_id|>{% endfor %}")


def fast_bpe(sentences):
    """The shape of Llama 3: byte-level BPE, its split rule, a begin-of-text token, a chat template."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    split = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(split), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(sentences, trainer)
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                                      special_tokens=[(special[0], tokenizer.token_to_id(special[0]))])])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=special[0], eos_token=special[1], pad_token=special[1],
                                   clean_up_tokenization_spaces=True, model_max_length=8192, chat_template=CHAT)
    save_fast(fast, "fast_bpe")
    # Older files keep the template inside tokenizer_config.json.
    config = json.loads((OUT / "fast_bpe/tokenizer_config.json").read_text())
    config["chat_template"] = CHAT
    (OUT / "fast_bpe/tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    (OUT / "fast_bpe/chat_template.jinja").unlink(missing_ok=True)


def roberta(sentences):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=560, show_progress=False, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(sentences, trainer)
    folder = OUT / "roberta"
    folder.mkdir(exist_ok=True)
    tokenizer.model.save(str(folder))


def fast_conversions():
    """What `transformers` itself writes when it converts a slow tokenizer to a fast one."""
    with tempfile.TemporaryDirectory() as tmp:
        (pathlib.Path(tmp) / "tokenizer.model").write_bytes((OUT / "llama.model").read_bytes())
        slow = LlamaTokenizer.from_pretrained(tmp, legacy=False)
        slow.add_tokens(DEID_TAGS)
        slow.save_pretrained(tmp)
        fast = LlamaTokenizerFast.from_pretrained(tmp, from_slow=True, legacy=False)
        save_fast(fast, "fast_llama")
        # With this key `transformers` converts again from the slow tokenizer, which published directories do not ask
        # for.
        path = OUT / "fast_llama/tokenizer_config.json"
        config = json.loads(path.read_text())
        config.pop("add_prefix_space")
        path.write_text(json.dumps(config, indent=1) + "\n")
    with tempfile.TemporaryDirectory() as tmp:
        (pathlib.Path(tmp) / "vocab.txt").write_bytes((OUT / "bert_uncased.vocab.txt").read_bytes())
        fast = BertTokenizerFast.from_pretrained(tmp)
        fast.backend_tokenizer.enable_truncation(16)
        fast.backend_tokenizer.enable_padding(length=16)
        save_fast(fast, "fast_bert")


def save_fast(fast, name):
    with tempfile.TemporaryDirectory() as tmp:
        fast.save_pretrained(tmp)
        folder = OUT / name
        folder.mkdir(exist_ok=True)
        for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
            path = pathlib.Path(tmp) / file
            if not path.exists():
                continue
            text = path.read_text()
            if file == "tokenizer.json":
                text = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
            (folder / file).write_text(text)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    sentences = training_sentences()
    sentencepiece_models(sentences)
    bert_vocabularies(sentences)
    fast_t5(sentences)
    bare_t5(sentences)
    fast_bpe(sentences)
    roberta(sentences)
    fast_conversions()


if __name__ == "__main__":
    main()
