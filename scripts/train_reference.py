"""Makes the fixtures of crates/clinical-train/tests/data/train: ten steps of each optimiser, schedules, a clipped norm.

Optimisers come from transformers, optax, torch and nanoT5 (whose file is read from a clone of it, not copied).
Parameters and gradients are a hash of the element's number that the Rust tests compute as well, so only results are
stored: every 211th element of the large tensors, every 5th of the small matrix, all of the vector.
Made with transformers 5.24.0, optax 0.2.8, torch 2.15.0, jax 0.10.2 and nanoT5 1375b389.

    pip install -r scripts/requirements.txt && pip install jax optax
    git clone https://github.com/PiotrNawrot/nanoT5 /tmp/nanoT5
    python scripts/train_reference.py /tmp/nanoT5
"""

import ast
import json
import math
import pathlib
import sys
import types
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from safetensors.numpy import save_file
from transformers import TrainingArguments, get_scheduler
from transformers.optimization import Adafactor

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates" / "clinical-train" / "tests" / "data" / "train"
# name: shape, stride of the elements that are stored. optax factors `matrix` and dimensions 0 and 2 of `cube`.
SHAPES = {
    "matrix": ((256, 160), 211),
    "small": ((32, 12), 5),
    "vector": ((48,), 1),
    "cube": ((130, 3, 140), 211),
}
KEPT = (1, 2, 10)


def noise(seed, shape):
    """In [-1, 1), exact in f32: a hash of the element's number."""
    with np.errstate(over="ignore"):
        x = np.arange(math.prod(shape), dtype=np.uint32) + np.uint32(seed * 0x9E3779B9 & 0xFFFFFFFF)
        x = (x ^ x >> 16) * np.uint32(0x7FEB352D)
        x = (x ^ x >> 15) * np.uint32(0x846CA68B)
        x = x ^ x >> 16
    return (((x >> 8).astype(np.float32) - np.float32(2**23)) / np.float32(2**23)).reshape(shape)


def parameters():
    """`small` has a root mean square below the 1e-3 of scale_parameter; `vector` is a norm's weight."""
    scale = {"matrix": 2**-4, "small": 2**-11, "vector": 2**-4, "cube": 2**-3}
    found = {}
    for at, (name, (shape, _)) in enumerate(SHAPES.items()):
        found[name] = noise(at, shape) * np.float32(scale[name]) + np.float32(name == "vector")
    return found


def gradients(step):
    """Of unequal size in each element; step 3 is an outlier, whose update is clipped."""
    found = {}
    for at, (name, (shape, _)) in enumerate(SHAPES.items()):
        uneven = np.float32(2.0) ** -(np.arange(math.prod(shape)) % 7).astype(np.float32)
        scale = np.float32(16 if step == 3 else 0.125)
        found[name] = noise(100 + 10 * step + at, shape) * uneven.reshape(shape) * scale
    return found


def kept(case, step, values, into):
    for name, (_, stride) in SHAPES.items():
        into[f"{case}.{step}.{name}"] = np.asarray(values[name]).reshape(-1)[::stride].copy()


def with_torch(case, make, into):
    weights = {name: torch.nn.Parameter(torch.from_numpy(value.copy())) for name, value in parameters().items()}
    optimizer = make(list(weights.values()))
    for step in range(10):
        for name, grad in gradients(step).items():
            weights[name].grad = torch.from_numpy(grad)
        optimizer.step()
        if step + 1 in KEPT:
            kept(case, step + 1, {name: value.detach().numpy() for name, value in weights.items()}, into)


def with_optax(case, optimizer, into):
    weights = {name: jnp.asarray(value) for name, value in parameters().items()}
    state = optimizer.init(weights)
    for step in range(10):
        grads = {name: jnp.asarray(value) for name, value in gradients(step).items()}
        updates, state = optimizer.update(grads, state, weights)
        weights = optax.apply_updates(weights, updates)
        if step + 1 in KEPT:
            kept(case, step + 1, weights, into)


def adamw_scale(clone):
    """The class `AdamWScale` of nanoT5, without the imports of its file."""
    source = (pathlib.Path(clone) / "nanoT5" / "utils" / "copied_utils.py").read_text()
    [node] = [node for node in ast.parse(source).body if getattr(node, "name", None) == "AdamWScale"]
    names = dict(torch=torch, nn=torch.nn, math=math, Optimizer=torch.optim.Optimizer, Iterable=typing.Iterable,
                 Tuple=typing.Tuple)
    exec(compile(ast.Module([node], []), "copied_utils.py", "exec"), names)
    return names["AdamWScale"]


def optimizers(clone):
    found = {}
    fixed = dict(lr=1e-3, relative_step=False)
    with_torch("hf", lambda p: Adafactor(p, scale_parameter=False, **fixed), found)
    with_torch("hf-relative", lambda p: Adafactor(p, scale_parameter=True, relative_step=True), found)
    warmup = dict(scale_parameter=False, relative_step=True, warmup_init=True)
    with_torch("hf-warmup-init", lambda p: Adafactor(p, **warmup), found)
    with_torch("hf-momentum", lambda p: Adafactor(p, scale_parameter=True, beta1=0.9, weight_decay=0.1, **fixed), found)
    with_torch("hf-decay", lambda p: Adafactor(p, scale_parameter=False, weight_decay=0.1, **fixed), found)

    def rate(step):
        return jnp.maximum(step, 4) ** -0.5

    with_optax("optax", optax.adafactor(rate), found)
    with_optax("optax-momentum", optax.adafactor(rate, momentum=0.9, weight_decay_rate=1e-3), found)
    with_torch("adamw", lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.0), found)
    with_torch("adamw-decay", lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.1), found)
    scale = adamw_scale(clone)
    with_torch("adamw-rms", lambda p: scale(p, lr=2e-2), found)
    with_torch("adamw-rms-decay", lambda p: scale(p, lr=2e-2, weight_decay=0.1), found)
    save_file(found, OUT / "optimizers.safetensors")


def muon():
    """torch.optim.Muon for the matrices, as `[outputs, inputs]`, and AdamW for the rest. Its bfloat16 is float64 here."""
    found = {}
    for case, decay, nesterov in (("muon", 0.0, True), ("muon-decay", 0.1, False)):
        weights = {name: torch.nn.Parameter(torch.from_numpy(value.T.copy() if value.ndim == 2 else value.copy()))
                   for name, value in parameters().items()}
        matrices = [weight for weight in weights.values() if weight.ndim == 2]
        others = [weight for weight in weights.values() if weight.ndim != 2]
        optimizers = [torch.optim.Muon(matrices, lr=1e-3, weight_decay=decay, nesterov=nesterov),
                      torch.optim.AdamW(others, lr=1.5e-4, betas=(0.9, 0.95), weight_decay=0.0)]
        for step in range(10):
            for name, grad in gradients(step).items():
                weights[name].grad = torch.from_numpy(grad.T.copy() if grad.ndim == 2 else grad)
            half, torch.bfloat16 = torch.bfloat16, torch.float64
            for optimizer in optimizers:
                optimizer.step()
            torch.bfloat16 = half
            if step + 1 in KEPT:
                values = {name: value.detach().numpy() for name, value in weights.items()}
                kept(case, step + 1, {n: v.T if v.ndim == 2 else v for n, v in values.items()}, found)
    save_file(found, OUT / "muon.safetensors")


def rates(scheduler, optimizer, total):
    found = []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def schedules():
    cases = []

    def case(config, peak, total, found):
        cases.append(dict(config=config, peak=peak, total=total, rates=found))

    def transformers(name, config, peak, total, warmup, **special):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
        # A ratio, as TrainingArguments resolves it.
        steps = TrainingArguments.get_warmup_steps(types.SimpleNamespace(warmup_steps=warmup), total)
        scheduler = get_scheduler(name, optimizer, steps, total, special or None)
        warmup = {} if warmup == 0 else dict(warmup=warmup)
        case(dict(**config, **warmup), peak, total, rates(scheduler, optimizer, total))

    transformers("constant", dict(name="constant"), 1e-4, 5, 0)
    transformers("constant_with_warmup", dict(name="constant"), 1e-4, 20, 7)
    for warmup in (0, 7, 0.06, 0.1, 97):
        transformers("linear", dict(name="linear"), 5e-5, 97, warmup)
        transformers("cosine", dict(name="cosine"), 3e-4, 97, warmup)
    transformers("cosine_with_min_lr", dict(name="cosine", minimum=1e-5), 3e-4, 60, 10, min_lr=1e-5)

    # nanoT5, utils/model_utils.py, get_lr_scheduler, with its defaults but fewer steps.
    peak, warmup, total = 2e-2, 20, 120
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = torch.optim.lr_scheduler
    rising = scheduler.LinearLR(optimizer, start_factor=0.5, end_factor=1, total_iters=warmup, last_epoch=-1)
    falling = scheduler.CosineAnnealingLR(optimizer, T_max=total - warmup, eta_min=1e-5)
    both = scheduler.SequentialLR(optimizer, schedulers=[rising, falling], milestones=[warmup])
    config = dict(name="cosine", warmup=warmup, warmup_start=0.5, minimum=1e-5)
    case(config, peak, total, rates(both, optimizer, total))

    # The lambda given to optax, in f64, and that optax's own f32 is the same.
    for warmup in (10, 40):
        found = [float(np.maximum(step, warmup) ** -0.5) for step in range(100)]
        own = [float(jnp.maximum(step, warmup) ** -0.5) for step in range(100)]
        np.testing.assert_allclose(own, found, rtol=1e-6)
        case(dict(name="inverse-sqrt", warmup=warmup), 1.0, 100, found)
    (OUT / "schedules.json").write_text("[\n" + ",\n".join(json.dumps(one) for one in cases) + "\n]\n")


def clipping():
    cases = []
    for largest in (1.0, 1e6):
        weights = [torch.nn.Parameter(torch.from_numpy(value)) for value in parameters().values()]
        for weight, grad in zip(weights, gradients(0).values()):
            weight.grad = torch.from_numpy(grad.copy())
        norm = torch.nn.utils.clip_grad_norm_(weights, largest)
        cases.append(dict(max=largest, norm=norm.item(), vector=weights[2].grad.tolist()))
    (OUT / "clipping.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_platforms", "cpu")
    optimizers(sys.argv[1])
    muon()
    schedules()
    clipping()
