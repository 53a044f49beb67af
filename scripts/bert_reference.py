#!/usr/bin/env python3
"""Seeded tiny BERT, RoBERTa and Megatron-BERT models with their outputs under `transformers` (f32, CPU).

    python scripts/bert_reference.py [NAME...]  # writes crates/clinical-bert/tests/data/<variant>/, all or those named
    python scripts/bert_reference.py facade     # runs transformers' pipelines on these models: .../tests/data/facade.json
    python scripts/bert_reference.py minilm DIR # writes crates/clinical-bert/tests/data/minilm.json from all-MiniLM-L6-v2 in DIR
    python scripts/bert_reference.py pretraining FILE # runs Google's create_pretraining_data.py (github.com/google-research/bert)
                                                # on invented documents: .../tests/data/pretraining.json

Versions: scripts/requirements.txt.
"""

import json
import random
import sys
import tempfile
import types
from pathlib import Path

import torch
import transformers as tf
from safetensors.torch import save_file

DATA = Path(__file__).resolve().parent.parent / "crates/clinical-bert/tests/data"
SIZES = dict(vocab_size=67, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
             max_position_embeddings=40, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
LABELS = ["O", "B-problem", "I-problem", "B-test", "I-test"]
# The 67 tokens of the tiny models, cased: words of small letters become one piece for each letter.
VOCABULARY = (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [chr(c) for c in range(97, 123)]
              + ["##" + chr(c) for c in range(97, 123)] + ["The", "the", "fever", "pain", ".", ",", "-", "0", "##0", "P"])
# Rows of different lengths; the second is a pair.
ROWS = [[2, 5, 9, 33, 60, 3], [2, 7, 3, 11, 12, 13, 14, 15, 66, 3], [2, 3]]
TYPES = [[0] * 6, [0, 0, 0, 1, 1, 1, 1, 1, 1, 1], [0, 0]]


def spread(model):
    """Values far enough from zero that a wrong formula shows: the published initialisation of 0.02 hides most."""
    torch.manual_seed(11)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 2:
                p.normal_(0, 0.25)
            elif name.endswith("weight"):
                p.normal_(1, 0.2)
            else:
                p.normal_(0, 0.2)
    return model.eval()


def batch(rows, types, pad, use_types):
    longest = max(map(len, rows))
    ids = torch.tensor([r + [pad] * (longest - len(r)) for r in rows])
    mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows])
    kinds = torch.tensor([t + [0] * (longest - len(t)) for t in types]) if use_types else None
    return dict(input_ids=ids, attention_mask=mask, token_type_ids=kinds)


def flat(tensor, lengths=None):
    """Values of the real positions, row by row, six digits."""
    rows = tensor if lengths is None else [tensor[i, :n] for i, n in enumerate(lengths)]
    return [[round(float(v), 6) for v in row.reshape(-1)] for row in rows]


def write(name, model, config, outputs, rename=lambda key: key, drop=()):
    folder = DATA / name
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {rename(k): v.detach().clone().contiguous() for k, v in model.state_dict().items()
               if not any(part in k for part in drop)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = config.to_diff_dict() | {"model_type": config.model_type, "architectures": [type(model).__name__]}
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    (folder / "expected.json").write_text(json.dumps(outputs) + "\n")
    if config["model_type"] != "roberta":
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")


def states(base, inputs, lengths):
    out = base(**inputs, output_hidden_states=True)
    found = {"rows": ROWS, "hidden_states": [flat(h, lengths) for h in out.hidden_states]}
    if getattr(out, "pooler_output", None) is not None:
        found["pooled"] = flat(out.pooler_output)
    return found


@torch.no_grad()
def tiny(*names):
    lengths = [len(r) for r in ROWS]
    bert, roberta, megatron = tf.BertConfig, tf.RobertaConfig, tf.MegatronBertConfig
    drop = ("position_ids", "decoder.weight", "decoder.bias")
    like_roberta = SIZES | dict(type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5)
    labels = dict(id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)})
    variants = [
        ("bert_pretraining", tf.BertForPreTraining, bert(**SIZES), True),
        ("bert_sequence", tf.BertForSequenceClassification, bert(**SIZES, num_labels=3), True),
        ("bert_token", tf.BertForTokenClassification, bert(**SIZES, **labels), True),
        ("bert_span", tf.BertForQuestionAnswering, bert(**SIZES, hidden_act="gelu_new"), True),
        ("roberta_masked", tf.RobertaForMaskedLM, roberta(**like_roberta), False),
        ("roberta_sequence", tf.RobertaForSequenceClassification, roberta(**like_roberta, num_labels=4), False),
        ("roberta_token", tf.RobertaForTokenClassification, roberta(**like_roberta, **labels), False),
        ("roberta_span", tf.RobertaForQuestionAnswering, roberta(**like_roberta), False),
        ("megatron_masked", tf.MegatronBertForMaskedLM, megatron(**SIZES), True),
        ("megatron_pretraining", tf.MegatronBertForPreTraining, megatron(**SIZES), True),
        ("megatron_sequence", tf.MegatronBertForSequenceClassification, megatron(**SIZES, num_labels=3), True),
        ("megatron_token", tf.MegatronBertForTokenClassification, megatron(**SIZES, **labels), True),
        ("megatron_span", tf.MegatronBertForQuestionAnswering, megatron(**SIZES), True),
    ]
    for name, kind, config, use_types in variants:
        if names and name not in names:
            continue
        config._attn_implementation = "eager"
        model = spread(kind(config))
        if name.endswith("_token"):  # so that every label occurs
            model.classifier.weight.data *= 6
            model.classifier.bias.data.zero_()
        inputs = batch(ROWS, TYPES, config.pad_token_id, use_types)
        out = model(**inputs)
        base = getattr(model, model.base_model_prefix)
        outputs = states(base, inputs, lengths) | {"types": TYPES if use_types else [[], [], []]}
        if hasattr(out, "prediction_logits"):
            outputs["logits"] = flat(out.prediction_logits, lengths)
            outputs["next_sentence"] = flat(out.seq_relationship_logits)
        elif hasattr(out, "start_logits"):
            outputs["logits"] = flat(torch.stack([out.start_logits, out.end_logits], -1), lengths)
        else:
            outputs["logits"] = flat(out.logits, lengths if out.logits.dim() == 3 else None)
        write(name, model, config, outputs, drop=drop)
    if names and "bert_old" not in names:
        return
    # An encoder alone, as old files have it: no `bert.` prefix, `gamma` and `beta`, the position buffer, a pooler.
    config = bert(**SIZES)
    model = spread(tf.BertModel(config))
    inputs = batch(ROWS, TYPES, 0, True)
    old = lambda k: k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    write("bert_old", model, config, states(model, inputs, lengths) | {"types": TYPES}, rename=old)


@torch.no_grad()
def minilm(folder):
    """First, middle and last values of each token's state, mean vector included, for invented sentences."""
    texts = ["The patient was admitted with chest pain.", "She takes metoprolol 25 mg b.i.d.", "fever",
             "Follow-up with the cardiology clinic in two weeks; CT of the abdomen was negative for obstruction."]
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    model = tf.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    rows = []
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt")
        out = model(**inputs)
        rows.append({"text": text, "ids": inputs["input_ids"][0].tolist(), "last": flat(out.last_hidden_state[0]),
                     "pooled": flat(out.pooler_output)[0], "mean": flat(out.last_hidden_state.mean(1))[0]})
    for row in rows:
        row["last"] = [v[:4] + v[-4:] for v in row["last"]]
    (DATA / "minilm.json").write_text(json.dumps(rows) + "\n")


def in_bytes(text, at):
    return len(text[:at].encode())


def tiny_tokenizer(kind):
    return kind(str(DATA / "bert_token/vocab.txt"), do_lower_case=False, model_max_length=SIZES["max_position_embeddings"])


TEXTS = ["The fever, pain - the ct.", "fever", "pain in the é arm P the\nfever \U0001f915 0000", "", "the P. fever",
         "a quick - brown, fox P jumps 0 the lazy", "00 zebra. pain yonder - the x ray", "P P fever the, the - . . 0 hz vb"]


def tags(tokenizer):
    model = tf.AutoModelForTokenClassification.from_pretrained(DATA / "bert_token")
    found = {}
    for strategy in ["none", "simple", "first", "average", "max"]:
        pipe = tf.pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy=strategy)
        found[strategy] = [[[e.get("entity_group", e.get("entity")), in_bytes(t, e["start"]), in_bytes(t, e["end"]),
                             round(float(e["score"]), 6)] for e in pipe(t)] for t in TEXTS if t]
    return found


@torch.no_grad()
def squad(tokenizer):
    """run_squad's features and n-best lists, without padding, over words of one token (the script moves answers that start
    inside a word)."""
    from transformers.data.metrics import squad_metrics
    from transformers.data.processors import squad as processor
    model = tf.AutoModelForQuestionAnswering.from_pretrained(DATA / "bert_span")
    context = "The fever , pain - the c. P pain - the a, the fever a b c. 0 pain the d e f , the P x y - fever"
    cases = []
    for question, length, stride, answer, best in [("pain the", 40, 8, 4, 20), ("fever", 24, 5, 30, 6), ("a", 16, 3, 2, 3)]:
        example = processor.SquadExample("q", question, context, None, None, "")
        processor.squad_convert_example_to_features_init(tokenizer)
        features = processor.squad_convert_example_to_features(example, length, stride, 64, False, False)
        results = []
        for i, feature in enumerate(features):
            feature.unique_id, feature.example_index = i, 0
            out = model(torch.tensor([feature.input_ids]), token_type_ids=torch.tensor([feature.token_type_ids]))
            results.append(processor.SquadResult(i, out.start_logits[0].tolist(), out.end_logits[0].tolist()))
        with tempfile.TemporaryDirectory() as folder:
            files = [str(Path(folder) / name) for name in ("predictions", "nbest", "odds")]
            squad_metrics.compute_predictions_logits([example], features, results, best, answer, False, *files, False, True,
                                                     0.0, tokenizer)
            nbest = json.loads(Path(files[1]).read_text())["q"]
        cases.append({"question": question, "max_length": length, "stride": stride, "max_answer": answer,
                      "candidates": best, "windows": len(features),
                      "nbest": [[e["text"], round(e["start_logit"] + e["end_logit"], 5), round(e["probability"], 6)]
                                for e in nbest]})
    return {"context": context, "cases": cases}


@torch.no_grad()
def vectors(model, inputs):
    states = model(**inputs).last_hidden_state[0]
    pools = {"cls": states[0], "mean": states.mean(0), "max": states.max(0).values}
    return {name: [round(float(v), 6) for v in vector] for name, vector in pools.items()}


@torch.no_grad()
def roberta_facade():
    """A directory with a byte-level BPE tokenizer: 256 bytes, two merges, RoBERTa's special tokens."""
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode
    folder = DATA / "roberta_facade"
    folder.mkdir(parents=True, exist_ok=True)
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *bytes_to_unicode().values(), "th", "Ġth", "Ġf", "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nĠ th\nĠ f\n")
    config = tf.RobertaConfig(**SIZES | dict(vocab_size=len(tokens)), type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5,
                              problem_type="multi_label_classification", id2label={0: "fever", 1: "pain", 2: "none"},
                              label2id={"fever": 0, "pain": 1, "none": 2})
    config._attn_implementation = "eager"
    model = spread(tf.RobertaForSequenceClassification(config))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    config = config.to_diff_dict() | {"model_type": "roberta", "architectures": ["RobertaForSequenceClassification"]}
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    tokenizer = tf.RobertaTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    score = lambda *texts: [round(float(v), 6) for v in model(**tokenizer(*texts, return_tensors="pt")).logits[0].sigmoid()]
    texts = ["the fever", "pain é \U0001f915", "a"]
    return {"texts": texts, "scores": [score(t) for t in texts], "pair": score("the fever", "pain"),
            "vectors": [vectors(model.roberta, tokenizer(t, return_tensors="pt")) for t in texts]}


@torch.no_grad()
def facade():
    fast, slow = tiny_tokenizer(tf.BertTokenizerFast), tiny_tokenizer(tf.BertTokenizer)
    found = {"texts": TEXTS, "tags": tags(fast), "squad": squad(slow), "roberta": roberta_facade()}
    sequence = tf.AutoModelForSequenceClassification.from_pretrained(DATA / "bert_sequence")
    logits = lambda *texts: sequence(**fast(*texts, return_tensors="pt")).logits[0]
    found["single"] = [flat(logits(t).softmax(-1)[None])[0] for t in TEXTS]
    found["multi"] = [flat(logits(t).sigmoid()[None])[0] for t in TEXTS]
    found["pair"] = flat(logits("the fever", "no pain").softmax(-1)[None])[0]
    found["vectors"] = [vectors(sequence.bert, fast(t, return_tensors="pt")) for t in TEXTS]
    masked = tf.AutoModelForMaskedLM.from_pretrained(DATA / "bert_pretraining")
    text = "The [MASK] in the arm, no [MASK]."
    pipe = tf.pipeline("fill-mask", model=masked, tokenizer=fast, top_k=4)
    found["fill"] = {"text": text, "masks": [[[c["token"], c["token_str"], round(c["score"], 6)] for c in mask]
                                             for mask in pipe(text)]}
    both = tf.BertForPreTraining.from_pretrained(DATA / "bert_pretraining")
    out = both(**fast("the fever", "no pain", return_tensors="pt"))
    found["next_sentence"] = round(float(out.seq_relationship_logits.softmax(-1)[0, 0]), 6)
    (DATA / "facade.json").write_text(json.dumps(found) + "\n")


def pretraining(script):
    """The examples of the published script, run with stand-ins for TensorFlow and for its tokenizer."""
    flags = types.SimpleNamespace(FLAGS=types.SimpleNamespace(do_whole_word_mask=False))
    for kind in ("string", "bool", "integer", "float"):
        setattr(flags, "DEFINE_" + kind, lambda *_: None)
    gfile = types.SimpleNamespace(GFile=open)
    tokenization = types.SimpleNamespace(convert_to_unicode=lambda text: text)
    sys.modules["tensorflow"] = types.SimpleNamespace(flags=flags, gfile=gfile)
    sys.modules["tokenization"] = tokenization
    module = types.ModuleType("create_pretraining_data")
    exec(compile(Path(script).read_text(), script, "exec"), module.__dict__)

    draw = random.Random(6)
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] +
                                                     [f"w{i}" for i in range(5, 60)])}
    words = list(vocabulary)[5:]
    documents = [[" ".join(draw.choices(words, k=draw.choice([1, 3, 8, 13, 40, 150]))) for _ in range(draw.randint(1, 9))]
                 for _ in range(9)]
    tokenizer = types.SimpleNamespace(tokenize=str.split, vocab=vocabulary)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.txt"
        corpus.write_text("\n\n".join("\n".join(d) for d in documents) + "\n")
        for length, dupe, short, prob, most, seed in [(128, 1, 0.1, 0.15, 20, 12345), (32, 2, 0.5, 0.3, 5, 7)]:
            made = module.create_training_instances([str(corpus)], tokenizer, length, dupe, short, prob, most,
                                                    random.Random(seed))
            ids = lambda tokens: [vocabulary[token] for token in tokens]
            runs.append({"max_seq_length": length, "dupe_factor": dupe, "short_seq_prob": short, "masked_lm_prob": prob,
                         "max_predictions": most, "seed": seed,
                         "examples": [{"ids": ids(e.tokens), "types": e.segment_ids, "positions": e.masked_lm_positions,
                                       "labels": ids(e.masked_lm_labels), "random": e.is_random_next} for e in made]})
    found = {"vocabulary": len(vocabulary), "documents": [[[vocabulary[w] for w in s.split()] for s in d] for d in documents],
             "runs": runs}
    (DATA / "pretraining.json").write_text(json.dumps(found, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    jobs = {"facade": facade, "minilm": minilm, "pretraining": pretraining}
    job = jobs.get(sys.argv[1]) if len(sys.argv) > 1 else None
    job(*sys.argv[2:]) if job else tiny(*sys.argv[1:])
