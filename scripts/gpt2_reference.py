#!/usr/bin/env python3
"""Reference numbers for `clinical-gpt2`, made by Python `transformers` and `peft` (eager attention, f32, CPU).

    python scripts/gpt2_reference.py    # tiny seeded models -> crates/clinical-gpt2/tests/data

| folder              | content                                                                                           |
|---------------------|---------------------------------------------------------------------------------------------------|
| plain, inverse, odd | decoders: config.json, weights as `save_pretrained` writes them, logits, losses, generated tokens |
| classes, spans      | the two heads: their logits                                                                       |
| published           | the directory of BioMedLM rebuilt: its config.json with tiny sizes, pytorch_model.bin, vocab.json  |
| lora                | an adapter of peft on three projections of `inverse`                                              |
| gguf                | `plain` as llama.cpp's converter writes it, in f32 and in 8 bits; `published` with its tokenizer   |
| gradients           | losses and all gradients, as `gradients_reference.py` has them                                    |

Weights are drawn wide enough that logits differ by whole units, so that a wrong mask, scale or head order shows.
Versions: scripts/requirements.txt.
"""

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import peft
import torch
import transformers as tf
from gradients_reference import IGNORED, gradients, mask_of, pad, write
from safetensors.numpy import load_file
from tokenizers import ByteLevelBPETokenizer

CRATE = "clinical-gpt2"
DATA = Path(__file__).resolve().parent.parent / "crates" / CRATE / "tests/data"
LENGTHS = [1, 8, 9, 16, 100, 128]
ROWS = [5, 30, 17, 1]
NEW_TOKENS = 40
# A token is only stored when its lead over the second is this large: far above rounding, so never a coin toss.
LEAD = 2e-3

SHAPE = dict(vocab_size=64, n_positions=128, n_embd=16, n_layer=3, n_head=2, bos_token_id=63, eos_token_id=63)

# name -> (configuration, seed)
VARIANTS = {
    "plain": (tf.GPT2Config(**SHAPE), 1),
    # The weights of `plain`, the scores of layer i divided by i.
    "inverse": (tf.GPT2Config(**SHAPE, scale_attn_by_inverse_layer_idx=True), 1),
    "odd": (tf.GPT2Config(**{**SHAPE, "n_layer": 2, "n_head": 4}, n_inner=20, activation_function="relu",
                          scale_attn_weights=False, reorder_and_upcast_attn=True, layer_norm_epsilon=1e-3,
                          tie_word_embeddings=False), 4),
}


def draw(kind, config, seed):
    """A model with weights of realistic spread."""
    config._attn_implementation = "eager"
    model = kind(config).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        with torch.no_grad():
            noise = torch.randn(weight.shape, generator=generator)
            if "ln_" in name and name.endswith("weight"):
                weight.copy_(1 + 0.2 * noise)
            elif "wte" in name or "wpe" in name:
                weight.copy_(0.5 * noise)
            elif name.endswith("bias"):
                weight.copy_(0.1 * noise)
            else:
                weight.copy_(0.25 * noise)
    model.tie_weights()
    return model


def fresh(name):
    folder = DATA / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def dump(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def rounded(values):
    return [round(value, 6) for value in values.tolist()]


def save(model, folder, weights=True):
    """As `save_pretrained` writes it."""
    if weights:
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        (folder / "model.safetensors").chmod(0o644)
    else:
        model.config.save_pretrained(folder)


def lead_of(logits):
    return min((top - second).item() for top, second in (step[0].topk(2).values for step in logits))


@torch.no_grad()
def greedy(model, prompt, new):
    out = model.generate(prompt[None], attention_mask=torch.ones((1, len(prompt)), dtype=torch.long), do_sample=False,
                         max_new_tokens=new, min_new_tokens=new, eos_token_id=None, pad_token_id=0, output_logits=True,
                         return_dict_in_generate=True)
    lead = lead_of(out.logits)
    assert lead > LEAD, f"a greedy token leads by {lead} only: take another seed"
    return out.sequences[0, len(prompt):].tolist()


@torch.no_grad()
def evaluate(model, seed):
    generator = torch.Generator().manual_seed(1000 + seed)
    ids = torch.randint(0, 63, (max(LENGTHS),), generator=generator)
    logits = []
    for length in LENGTHS:
        out = model(ids[None, :length]).logits[0]
        positions = sorted({0, length // 2, length - 1})
        logits.append({"length": length, "positions": positions, "values": [rounded(out[p]) for p in positions]})
    spread = out.std().item()

    # Two rows, the second shorter; some labels do not count.
    loss_ids = [ids[40:64], ids[100:117]]
    labels = [row.clone() for row in loss_ids]
    labels[0][:9] = IGNORED
    labels[1][[0, 1, 6, 16]] = IGNORED
    lengths = [len(row) for row in loss_ids]
    loss = model(pad(loss_ids, 0), attention_mask=mask_of(lengths), labels=pad(labels, IGNORED)).loss.item()

    # Each row alone; the batch of transformers padded on the left, with its mask, must agree.
    rows = [ids[60 + i:60 + i + length] for i, length in enumerate(ROWS)]
    longest = max(ROWS)
    left = torch.stack([torch.cat([torch.zeros(longest - len(row), dtype=torch.long), row]) for row in rows])
    mask = torch.stack([torch.cat([torch.zeros(longest - len(row)), torch.ones(len(row))]).long() for row in rows])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    together = model(left, attention_mask=mask, position_ids=positions).logits
    last = []
    for i, row in enumerate(rows):
        alone = model(row[None]).logits[0, -1]
        assert (alone - together[i, -1]).abs().max() < 1e-4
        last.append(rounded(alone))
    new = model.generate(left, attention_mask=mask, do_sample=False, max_new_tokens=8, min_new_tokens=8,
                         eos_token_id=None, pad_token_id=0)[:, longest:].tolist()
    for row, tokens in zip(rows, new):
        assert greedy(model, row, 8) == tokens

    prompt = ids[:12]
    beams = model.generate(prompt[None], attention_mask=torch.ones((1, 12), dtype=torch.long), do_sample=False,
                           num_beams=3, max_new_tokens=12, min_new_tokens=12, eos_token_id=None, pad_token_id=0)
    return {
        "ids": ids.tolist(),
        "logits": logits,
        "loss": {"ids": [row.tolist() for row in loss_ids], "labels": [row.tolist() for row in labels], "value": loss},
        "rows": {"ids": [row.tolist() for row in rows], "last": last, "new": new},
        "greedy": {"prompt": 12, "ids": greedy(model, prompt, NEW_TOKENS)},
        "beams": {"prompt": 12, "beams": 3, "ids": beams[0, 12:].tolist()},
    }, spread


def decoder_gradients(model, name, weights, expected):
    rows, labels = expected["loss"]["ids"], expected["loss"]["labels"]
    lengths = [len(row) for row in rows]
    model.zero_grad()
    loss = model(pad(rows, 0), attention_mask=mask_of(lengths), labels=pad(labels, IGNORED)).loss
    loss.backward()
    batch = {"ids": pad(rows, 0), "lengths": lengths, "labels": pad(labels, IGNORED)}
    write(CRATE, name, loss, gradients(model, weights), batch)


def decoders():
    for name, (config, seed) in VARIANTS.items():
        folder = fresh(name)
        model = draw(tf.GPT2LMHeadModel, config, seed)
        expected, spread = evaluate(model, seed)
        dump(folder / "expected.json", expected)
        save(model, folder, name != "inverse")
        weights = DATA / ("plain" if name == "inverse" else name) / "model.safetensors"
        decoder_gradients(model, name, weights, expected)
        print(f"{name}: spread of logits {spread:.2f}")


# --------------------------------------------------------------------------------------------------- heads

HEAD_ROWS = [9, 4, 20]
CLASSES = [2, IGNORED, 0]
SETS = [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.25]]
SPANS = [[3, 6], [IGNORED, IGNORED], [19, 19]]


def head_rows(seed):
    generator = torch.Generator().manual_seed(2000 + seed)
    return [torch.randint(0, 63, (length,), generator=generator) for length in HEAD_ROWS]


def classes():
    folder = fresh("classes")
    names = ["entailment", "neutral", "contradiction"]
    config = tf.GPT2Config(**{**SHAPE, "n_layer": 2}, scale_attn_by_inverse_layer_idx=True, pad_token_id=63,
                           id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)})
    model = draw(tf.GPT2ForSequenceClassification, config, 5)
    rows = head_rows(5)
    inputs = dict(input_ids=pad(rows, 63), attention_mask=mask_of(HEAD_ROWS))
    save(model, folder)
    with torch.no_grad():
        logits = model(**inputs).logits
    dump(folder / "expected.json", {"rows": [row.tolist() for row in rows], "logits": [rounded(row) for row in logits]})
    for case, kind, labels, key in [
        ("classes", "single_label_classification", torch.tensor(CLASSES), "classes"),
        ("class_sets", "multi_label_classification", torch.tensor(SETS), "class_sets"),
    ]:
        model.config.problem_type = kind
        model.zero_grad()
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        batch = {"ids": pad(rows, 63), "lengths": HEAD_ROWS, key: labels}
        write(CRATE, case, loss, gradients(model, folder / "model.safetensors"), batch)


def spans():
    folder = fresh("spans")
    config = tf.GPT2Config(**{**SHAPE, "n_layer": 2})
    model = draw(tf.GPT2ForQuestionAnswering, config, 6)
    rows = head_rows(6)
    save(model, folder)
    model.zero_grad()
    logits, losses = [], []
    for row, (first, last) in zip(rows, SPANS):
        # transformers normalises over padding too. One row at a time there is none.
        alone = dict(input_ids=row[None])
        if first >= 0:
            alone |= dict(start_positions=torch.tensor([first]), end_positions=torch.tensor([last]))
        out = model(**alone)
        logits.append([rounded(out.start_logits[0]), rounded(out.end_logits[0])])
        if first >= 0:
            losses.append(out.loss)
    loss = sum(losses) / len(losses)
    loss.backward()
    dump(folder / "expected.json", {"rows": [row.tolist() for row in rows], "logits": logits})
    batch = {"ids": pad(rows, 0), "lengths": HEAD_ROWS, "spans": torch.tensor(SPANS)}
    write(CRATE, "spans", loss, gradients(model, folder / "model.safetensors"), batch)


# ---------------------------------------------------------------------------------------------------- LoRA

def lora():
    folder = fresh("lora")
    config, seed = VARIANTS["inverse"]
    model = draw(tf.GPT2LMHeadModel, config, seed)
    known = json.loads((DATA / "inverse/expected.json").read_text())["loss"]
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True,
                               task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, settings).eval()
    generator = torch.Generator().manual_seed(31)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(".lora_" in name for name in trained)
    with torch.no_grad():
        for parameter in trained.values():
            parameter.copy_(0.25 * torch.randn(parameter.shape, generator=generator))
    lengths = [len(row) for row in known["ids"]]
    batch = {"ids": pad(known["ids"], 0), "lengths": lengths, "labels": pad(known["labels"], IGNORED)}
    loss = model(batch["ids"], attention_mask=mask_of(lengths), labels=batch["labels"]).loss
    assert abs(loss.item() - known["value"]) > 0.05, "the adapter changes too little"
    loss.backward()
    grads = {name.removeprefix("base_model.model.").replace(".default.", "."): p.grad for name, p in trained.items()}
    write(CRATE, "lora", loss, grads, batch)
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    saved = json.loads((folder / "adapter_config.json").read_text())
    saved |= {"target_modules": sorted(saved["target_modules"]), "base_model_name_or_path": "inverse"}
    (folder / "adapter_config.json").write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n")
    (folder / "adapter_model.safetensors").chmod(0o644)


# ------------------------------------------------------------------------------------------ published layout

# Invented for this script.
TEXT = """The patient was admitted with chest pain and shortness of breath. The chest radiograph showed a consolidation of
the right lower lobe. Ceftriaxone was started, and the fever settled on the third day. Blood cultures stayed negative. The
creatinine rose to 1.9 mg/dL and came back to 1.4 mg/dL. Is there evidence of pneumonia? Yes, there is. The patient has no
history of diabetes. The patient does not smoke. Follow-up with the family doctor in one week."""
PROMPTS = ["The patient was admitted with", "Is there evidence of pneumonia?\n\n", "Größe 1,80 m; Temp 38.5 °C"]


def published():
    folder = fresh("published")
    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator([TEXT], vocab_size=319, min_frequency=2, show_progress=False)
    vocabulary, merges = json.loads(trainer.to_str())["model"]["vocab"], json.loads(trainer.to_str())["model"]["merges"]
    vocabulary = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    end = len(vocabulary)
    vocabulary["<|endoftext|>"] = end
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n", encoding="utf-8")
    special = {role: "<|endoftext|>" for role in ("bos_token", "eos_token", "unk_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"add_prefix_space": False, **special, "model_max_length": 96, "tokenizer_class": "GPT2Tokenizer"}))
    settings = {
        "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": end,
        "embd_pdrop": 0.1, "eos_token_id": end, "gradient_checkpointing": False, "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 96, "n_embd": 16, "n_head": 2, "n_inner": None,
        "n_layer": 2, "n_positions": 96, "reorder_and_upcast_attn": False, "resid_pdrop": 0.1,
        "scale_attn_by_inverse_layer_idx": True, "scale_attn_weights": True, "summary_activation": None,
        "summary_first_dropout": 0.1, "summary_proj_to_labels": True, "summary_type": "cls_index",
        "summary_use_proj": True, "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        "torch_dtype": "float32", "transformers_version": "4.6.0.dev0", "use_cache": False, "vocab_size": end + 1,
    }
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    model = draw(tf.GPT2LMHeadModel, tf.GPT2Config(**{key: settings[key] for key in settings if key not in (
        "architectures", "model_type", "torch_dtype", "transformers_version", "task_specific_params")}), 8)
    weights = dict(model.state_dict())
    # Old files hold the causal mask and the fill of each layer, and the tied projection.
    for layer in range(2):
        weights[f"transformer.h.{layer}.attn.bias"] = torch.tril(torch.ones((96, 96), dtype=torch.uint8))[None, None]
        weights[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    weights["lm_head.weight"] = weights["transformer.wte.weight"]
    torch.save(weights, folder / "pytorch_model.bin")
    tokenizer = tf.GPT2Tokenizer.from_pretrained(folder)
    cases = []
    for text in PROMPTS:
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == text
        new = greedy(model, torch.tensor(ids), 12)
        with torch.no_grad():
            last = rounded(model(torch.tensor([ids])).logits[0, -1])
        cases.append({"text": text, "ids": ids, "last": last, "new": new, "output": tokenizer.decode(new)})
    (folder / "expected.json").write_text(json.dumps(cases, ensure_ascii=False) + "\n", encoding="utf-8")
    return vocabulary, lines, model, settings


# ---------------------------------------------------------------------------------------------------- GGUF

LAYER = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm",
         "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
WHOLE = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}


def to_gguf(path, config, tensors, kind=None, tokenizer=None):
    """As llama.cpp's converter: dense layers are turned, so that each has its outputs first."""
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    if tokenizer:
        vocabulary, merges = tokenizer
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(list(vocabulary))
        end = vocabulary["<|endoftext|>"]
        writer.add_token_types([gguf.TokenType.CONTROL if id == end else gguf.TokenType.NORMAL
                                for id in vocabulary.values()])
        writer.add_token_merges(merges)
        writer.add_bos_token_id(end)
        writer.add_eos_token_id(end)
    for name, tensor in tensors.items():
        stem, last = name.removeprefix("transformer.").rsplit(".", 1)
        if stem in WHOLE:
            new = f"{WHOLE[stem]}.{last}"
        else:
            _, layer, stem = stem.split(".", 2)
            new = f"blk.{layer}.{LAYER[stem]}.{last}"
            if tensor.ndim == 2:
                tensor = tensor.T
        tensor = np.ascontiguousarray(tensor)
        if kind is not None and tensor.ndim == 2 and tensor.shape[1] % 32 == 0:
            writer.add_tensor(new, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(new, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ggufs(vocabulary, merges, model, settings):
    folder = fresh("gguf")
    config = json.loads((DATA / "plain/config.json").read_text())
    tensors = load_file(DATA / "plain/model.safetensors")
    to_gguf(folder / "plain.gguf", config, tensors)
    # Of the small width only `mlp.c_proj` has rows of whole blocks.
    to_gguf(folder / "eight.gguf", config, tensors, gguf.GGMLQuantizationType.Q8_0)
    weights = {name: value.numpy() for name, value in model.state_dict().items() if name != "lm_head.weight"}
    to_gguf(folder / "published.gguf", settings, weights, tokenizer=(vocabulary, merges))


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    shutil.rmtree(DATA / "gradients", ignore_errors=True)
    decoders()
    classes()
    spans()
    lora()
    ggufs(*published())
    size = sum(file.stat().st_size for file in DATA.rglob("*") if file.is_file())
    print(f"{size} bytes in all")


if __name__ == "__main__":
    main()
