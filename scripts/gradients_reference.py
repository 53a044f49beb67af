#!/usr/bin/env python3
"""Losses and gradients of the seeded tiny models, by Python `transformers` and `peft` (f32, CPU, no dropout).

    python scripts/gradients_reference.py    # after t5_reference.py, llama_reference.py and bert_reference.py

Reads the model directories in crates/*/tests/data and writes crates/*/tests/data/gradients/<case>.safetensors: the loss
(`loss`), the gradient of every parameter that is trained under its name in the checkpoint (`grad.<name>`, tied weights
once), and the batch (`batch.<name>`, padded rows with `batch.lengths`). The adapter, rank 4 and alpha 8 on two projections
of `gqa`, is written to crates/clinical-llama/tests/data/lora.

Losses that the three other scripts recorded must come out again. Made with torch 2.15.0, transformers 5.24.0, peft 0.21.2.
"""

import json
import shutil
from pathlib import Path

import peft
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

CRATES = Path(__file__).resolve().parent.parent / "crates"
IGNORED = -100


def load(kind, folder, weights=None):
    config = tf.AutoConfig.from_pretrained(folder)
    return kind.from_pretrained(weights or folder, config=config, dtype=torch.float32, attn_implementation="eager").eval()


def pad(rows, value):
    longest = max(map(len, rows))
    return torch.tensor([list(row) + [value] * (longest - len(row)) for row in rows])


def mask_of(lengths):
    return (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()


def gradients(model, weights):
    """The gradients by the names that the file of weights has."""
    stored, names = set(load_file(weights)), {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    found = {}
    for parameter, names in names.items():
        known = [name for name in names if name in stored]
        assert len(known) == 1 and parameter.grad is not None, names
        found[known[0]] = parameter.grad
    return found


def write(crate, case, loss, grads, batch):
    tensors = {"loss": loss.detach().reshape(1)}
    tensors |= {f"grad.{name}": grad.contiguous() for name, grad in grads.items()}
    for name, values in batch.items():
        values = torch.as_tensor(values)
        tensors[f"batch.{name}"] = values if values.is_floating_point() else values.to(torch.int32)
    path = CRATES / crate / "tests/data/gradients" / f"{case}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path)
    path.chmod(0o644)
    smallest = min((grad.abs().max().item(), name) for name, grad in grads.items())
    print(f"{crate} {case}: {path.stat().st_size} bytes, {len(grads)} gradients, loss {loss.item():.6f}, "
          f"least maximum {smallest}")


def same(loss, recorded):
    found, recorded = loss.item(), float(recorded)
    assert abs(found - recorded) < 2e-6 * abs(recorded), (found, recorded)


# ------------------------------------------------------------------------------------------------------ T5

def t5():
    for case in ["v1_0", "v1_1", "uneven"]:
        folder = CRATES / "clinical-t5/tests/data" / case
        model = load(tf.T5ForConditionalGeneration, folder)
        known = load_file(folder / "expected.safetensors")
        ids, mask, labels = (known[f"loss.{name}"].long() for name in ("input_ids", "mask", "labels"))
        same(model(input_ids=ids, attention_mask=mask, labels=labels).loss, known["loss.value"])
        labels[1, 3] = IGNORED  # not only at the ends
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        batch = {"ids": ids, "lengths": mask.sum(1), "labels": labels}
        write("clinical-t5", case, loss, gradients(model, folder / "model.safetensors"), batch)


# --------------------------------------------------------------------------------------------------- LLaMA

LLAMA = CRATES / "clinical-llama/tests/data"


def llama_loss(model, rows, labels):
    lengths = [len(row) for row in rows]
    ids, padded = pad(rows, 0), pad(labels, IGNORED)
    loss = model(ids, attention_mask=mask_of(lengths), labels=padded).loss
    loss.backward()
    return loss, {"ids": ids, "lengths": lengths, "labels": padded}


def llama_batch(case):
    """Two rows: one with a prompt that is not learnt, one with ignored labels here and there."""
    known = json.loads((LLAMA / case / "expected.json").read_text())
    if case != "mistral_window":
        return known["loss"]["ids"], known["loss"]["labels"], known["loss"]["value"]
    rows = [known["ids"][40:104], known["ids"][100:157]]  # longer than the window
    labels = [[IGNORED] * 20 + rows[0][20:], [IGNORED if i % 5 == 0 else token for i, token in enumerate(rows[1])]]
    return rows, labels, None


def llama():
    for case in ["mha", "gqa", "tied", "bias", "mistral_window"]:
        weights = LLAMA / ("mistral" if case == "mistral_window" else case)
        model = load(tf.AutoModelForCausalLM, LLAMA / case, weights)
        rows, labels, recorded = llama_batch(case)
        loss, batch = llama_loss(model, rows, labels)
        if recorded:
            same(loss, recorded)
        write("clinical-llama", case, loss, gradients(model, weights / "model.safetensors"), batch)


def hidden_start():
    """Asclepius' training hides the start token from attention. The batch that is written lacks it."""
    model = load(tf.AutoModelForCausalLM, LLAMA / "gqa")
    rows, labels, _ = llama_batch("gqa")
    rows, labels = [[1, *row] for row in rows], [[IGNORED, IGNORED, *row[1:]] for row in labels]
    lengths = [len(row) for row in rows]
    ids, padded, mask = pad(rows, 0), pad(labels, IGNORED), mask_of(lengths)
    seen = model(ids, attention_mask=mask, labels=padded).loss
    mask[:, 0] = 0
    loss = model(ids, attention_mask=mask, labels=padded).loss
    assert abs(loss - seen) > 1e-3, "the start token matters too little"
    loss.backward()
    batch = {"ids": ids[:, 1:], "lengths": [length - 1 for length in lengths], "labels": padded[:, 1:]}
    write("clinical-llama", "hidden_start", loss, gradients(model, LLAMA / "gqa/model.safetensors"), batch)


def lora():
    model = load(tf.AutoModelForCausalLM, LLAMA / "gqa")
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(31)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(".lora_" in name for name in trained)
    with torch.no_grad():
        for parameter in trained.values():
            parameter.copy_(0.25 * torch.randn(parameter.shape, generator=generator))
    rows, labels, plain = llama_batch("gqa")
    loss, batch = llama_loss(model, rows, labels)
    assert abs(loss.item() - plain) > 0.05, "the adapter changes too little"
    grads = {name.removeprefix("base_model.model.").replace(".default.", "."): p.grad for name, p in trained.items()}
    write("clinical-llama", "lora", loss, grads, batch)

    folder = LLAMA / "lora"
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings |= {"target_modules": sorted(settings["target_modules"]), "base_model_name_or_path": "gqa"}
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")
    (folder / "adapter_model.safetensors").chmod(0o644)


# ---------------------------------------------------------------------------------------------------- BERT

MASKED = [[IGNORED, 8, IGNORED, IGNORED, 60, IGNORED], [IGNORED, 7, IGNORED, 30, IGNORED, 13, IGNORED, IGNORED, 66, IGNORED],
          [IGNORED, IGNORED]]
TAGS = [[IGNORED, 1, 2, 0, 3, IGNORED], [IGNORED, 4, IGNORED, 0, 1, 2, 2, IGNORED, 0, IGNORED], [0, IGNORED]]
SETS = [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.25]]
VALUES = [[0.5, -1.0, 2.0], [0.0, 3.0, -0.25], [1.5, 0.0, -2.0]]
SPANS = [[1, 4], [IGNORED, IGNORED], [0, 0]]

# case -> (directory, class, targets)
BERT = {
    "bert_pretraining": ("bert_pretraining", tf.BertForPreTraining, {"tokens": MASKED, "is_random_next": [0, 1, 1]}),
    "bert_classes": ("bert_sequence", tf.BertForSequenceClassification, {"classes": [2, IGNORED, 0]}),
    "bert_class_sets": ("bert_sequence", tf.BertForSequenceClassification, {"class_sets": SETS}),
    "bert_values": ("bert_sequence", tf.BertForSequenceClassification, {"values": VALUES}),
    "bert_token": ("bert_token", tf.BertForTokenClassification, {"tokens": TAGS}),
    "bert_span": ("bert_span", tf.BertForQuestionAnswering, {"spans": SPANS}),
    "roberta_masked": ("roberta_masked", tf.RobertaForMaskedLM, {"tokens": MASKED}),
    "roberta_classes": ("roberta_sequence", tf.RobertaForSequenceClassification, {"classes": [3, 1, IGNORED]}),
    "roberta_token": ("roberta_token", tf.RobertaForTokenClassification, {"tokens": TAGS}),
    "megatron_pretraining": ("megatron_pretraining", tf.MegatronBertForPreTraining,
                             {"tokens": MASKED, "is_random_next": [1, 0, 1]}),
    "megatron_span": ("megatron_span", tf.MegatronBertForQuestionAnswering, {"spans": SPANS}),
}


def bert_loss(model, rows, types, targets):
    lengths = [len(row) for row in rows]
    inputs = {"input_ids": pad(rows, model.config.pad_token_id), "attention_mask": mask_of(lengths),
              "token_type_ids": pad(types, 0) if any(types) else None}
    if "spans" in targets:
        # transformers normalises over padding too. One row at a time there is none: the mean over rows with an answer.
        losses = []
        for row, length, (first, last) in zip(range(len(rows)), lengths, targets["spans"]):
            if first >= 0:
                alone = {name: values[row:row + 1, :length] for name, values in inputs.items() if values is not None}
                losses.append(model(**alone, start_positions=torch.tensor([first]), end_positions=torch.tensor([last])).loss)
        loss = sum(losses) / len(losses)
    elif "is_random_next" in targets:
        next_sentence = torch.tensor(targets["is_random_next"])
        loss = model(**inputs, labels=pad(targets["tokens"], IGNORED), next_sentence_label=next_sentence).loss
    elif "tokens" in targets:
        loss = model(**inputs, labels=pad(targets["tokens"], IGNORED)).loss
    else:
        kinds = {"classes": "single_label_classification", "class_sets": "multi_label_classification", "values": "regression"}
        (kind, labels), = targets.items()
        model.config.problem_type = kinds[kind]
        loss = model(**inputs, labels=torch.tensor(labels)).loss
    loss.backward()
    batch = {"ids": inputs["input_ids"], "lengths": lengths}
    if any(types):
        batch["types"] = inputs["token_type_ids"]
    for name, values in targets.items():
        batch[name] = pad(values, IGNORED) if name == "tokens" else values
    return loss, batch


def bert():
    for case, (directory, kind, targets) in BERT.items():
        folder = CRATES / "clinical-bert/tests/data" / directory
        known = json.loads((folder / "expected.json").read_text())
        model = load(kind, folder)
        loss, batch = bert_loss(model, known["rows"], known["types"], targets)
        write("clinical-bert", case, loss, gradients(model, folder / "model.safetensors"), batch)


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for crate in ("clinical-t5", "clinical-llama", "clinical-bert"):
        shutil.rmtree(CRATES / crate / "tests/data/gradients", ignore_errors=True)
    t5()
    llama()
    hidden_start()
    lora()
    bert()


if __name__ == "__main__":
    main()
