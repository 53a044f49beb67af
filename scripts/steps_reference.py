"""Makes crates/clinical-train/tests/data/steps: ten steps of each optimiser on whole tiny models, without dropout.

    pip install -r scripts/requirements.txt && pip install jax optax
    git clone https://github.com/PiotrNawrot/nanoT5 /tmp/nanoT5
    python scripts/steps_reference.py /tmp/nanoT5    # after gradients_reference.py

Models are those of crates/*/tests/data, batches those of the files of gradients beside them, losses and gradients those
of `transformers` (f32, CPU), optimisers those of transformers, optax, torch and nanoT5. A file has the losses of the ten
steps (`<optimiser>.loss`) and the parameters after them (`<optimiser>.<name in the checkpoint>`), of each parameter about
64 elements at equal distances. Made with transformers 5.24.0, optax 0.2.8, torch 2.15.0, jax 0.10.2, nanoT5 1375b389.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from transformers.optimization import Adafactor

from gradients_reference import CRATES, load, mask_of
from train_reference import adamw_scale

STEPS, KEPT = 10, 64


def batch_of(crate, case):
    known = load_file(CRATES / crate / "tests/data/gradients" / f"{case}.safetensors")
    return {name.removeprefix("batch."): values.long() for name, values in known.items() if name.startswith("batch.")}


def t5():
    batch = batch_of("clinical-t5", "v1_0")
    mask = mask_of(batch["lengths"].tolist())
    folder = CRATES / "clinical-t5/tests/data/v1_0"
    make = lambda: load(tf.T5ForConditionalGeneration, folder)
    return folder, make, lambda model: model(input_ids=batch["ids"], attention_mask=mask, labels=batch["labels"]).loss


def llama():
    batch = batch_of("clinical-llama", "gqa")
    mask = mask_of(batch["lengths"].tolist())
    folder = CRATES / "clinical-llama/tests/data/gqa"
    make = lambda: load(tf.AutoModelForCausalLM, folder)
    return folder, make, lambda model: model(batch["ids"], attention_mask=mask, labels=batch["labels"]).loss


def bert():
    batch = batch_of("clinical-bert", "bert_pretraining")
    inputs = {"input_ids": batch["ids"], "attention_mask": mask_of(batch["lengths"].tolist())}
    if "types" in batch:
        inputs["token_type_ids"] = batch["types"]
    labels = {"labels": batch["tokens"], "next_sentence_label": batch["is_random_next"]}
    folder = CRATES / "clinical-bert/tests/data/bert_pretraining"
    make = lambda: load(tf.BertForPreTraining, folder)
    return folder, make, lambda model: model(**inputs, **labels).loss


def named(model, folder):
    """Parameters by the names that the file of weights has, tied ones once."""
    stored, found = set(load_file(folder / "model.safetensors")), {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name in stored and all(parameter is not other for other in found.values()):
            found[name] = parameter
    return found


class Optax:
    """An optimiser of optax as torch has them."""

    def __init__(self, parameters, optimizer):
        self.parameters, self.optimizer = list(parameters), optimizer
        self.state = optimizer.init(self.values())

    def values(self):
        return [jnp.asarray(parameter.detach().numpy()) for parameter in self.parameters]

    def step(self):
        grads = [jnp.asarray(parameter.grad.numpy()) for parameter in self.parameters]
        updates, self.state = self.optimizer.update(grads, self.state, self.values())
        with torch.no_grad():
            for parameter, value in zip(self.parameters, optax.apply_updates(self.values(), updates)):
                parameter.copy_(torch.tensor(value.tolist()))


def optimizers(clone):
    scale = adamw_scale(clone)
    inverse_sqrt = lambda step: 2e-2 * jnp.maximum(step, 4) ** -0.5
    return {
        "adafactor-hf": lambda p: Adafactor(p, lr=1e-3, scale_parameter=False, relative_step=False),
        "adafactor-optax": lambda p: Optax(p, optax.adafactor(inverse_sqrt)),
        "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.0),
        "adamw-rms": lambda p: scale(p, lr=2e-2),
    }


def main():
    torch.set_num_threads(1)
    jax.config.update("jax_platforms", "cpu")
    out = CRATES / "clinical-train/tests/data/steps"
    out.mkdir(parents=True, exist_ok=True)
    for kind, (folder, make, loss_of) in {"t5": t5(), "llama": llama(), "bert": bert()}.items():
        found = {}
        for case, optimizer in optimizers(sys.argv[1]).items():
            model = make()
            parameters = named(model, folder)
            assert {id(p) for p in model.parameters()} == {id(p) for p in parameters.values()}
            optimizer, losses = optimizer(list(parameters.values())), []
            for _ in range(STEPS):
                model.zero_grad()
                loss = loss_of(model)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            found[f"{case}.loss"] = torch.stack(losses)
            for name, parameter in parameters.items():
                values = parameter.detach().reshape(-1)
                found[f"{case}.{name}"] = values[::max(1, len(values) // KEPT)].clone()
            print(f"{kind} {case}: {losses[0]:.4f} to {losses[-1]:.4f}")
        path = out / f"{kind}.safetensors"
        save_file(found, path)
        path.chmod(0o644)
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
