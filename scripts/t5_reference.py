"""Makes the T5 fixtures of crates/clinical-t5/tests/data with Python transformers.

Tiny models with seeded random weights, in f32: `v1_0` (tied, ReLU), `v1_1` (untied, gated GELU, unequal depths,
heads * d_kv != d_model) and `uneven` (one encoder layer, three decoder layers, gated ReLU, other buckets, a tokenizer).
Each folder is a Hugging Face directory plus `expected.safetensors` and `expected.json`: what transformers computes.

    pip install -r scripts/requirements.txt
    python scripts/t5_reference.py
"""

import collections
import json
import math
import os
import pathlib
import re
import shutil

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import T5Config, T5ForConditionalGeneration, T5TokenizerFast

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates" / "clinical-t5" / "tests" / "data"
LENGTHS = [1, 8, 9, 16, 128, 129, 300]
DEID = ["[Name]", "[Reg#]", "[Company]", "[LOC]", "[Age]", "[#]", "[DR]", "[State]", "[CI]", "[Country]", "[URL]", "[YR]",
        "[MO]", "[DAY]", "[MISC]"]
COMMON = dict(pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, dropout_rate=0.1, layer_norm_epsilon=1e-6)
VARIANTS = {
    "v1_0": dict(vocab_size=103, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, feed_forward_proj="relu", **COMMON),
    "v1_1": dict(vocab_size=97, d_model=24, d_kv=10, d_ff=40, num_layers=3, num_decoder_layers=2, num_heads=3,
                 feed_forward_proj="gated-gelu", tie_word_embeddings=False, **COMMON),
    "uneven": dict(vocab_size=None, d_model=16, d_kv=6, d_ff=24, num_layers=1, num_decoder_layers=3, num_heads=2,
                   feed_forward_proj="gated-relu", relative_attention_num_buckets=16, relative_attention_max_distance=40,
                   **COMMON),
}
# Invented text, for the tokenizer and for the text-level expectations.
SENTENCES = [
    "The patient was admitted with chest pain and shortness of breath.",
    "She takes metoprolol 25 mg twice a day and aspirin 81 mg once a day.",
    "Blood pressure was 132 over 78 and the heart rate was 88.",
    "He denies fever, chills, nausea and vomiting.",
    "The chest film shows no effusion and no pneumothorax.",
    "Follow up in the clinic with the primary care doctor in two weeks.",
    "Her creatinine rose from 1.1 to 2.4 and came back to 1.3 with fluids.",
    "The wound is clean and dry, without redness or drainage.",
    "He walks with a cane and lives with his daughter.",
    "Discharged home in stable condition with a low salt diet.",
    "expand: pt c/o sob and cp", "premise: the patient has diabetes hypothesis: the patient is healthy",
]
TEXTS = ["The patient denies chest pain.", "expand: pt c/o sob", "Seen by [Name] at [LOC] on the day of discharge.",
         "Creatinine 1.3,  heart rate 88 .", "a", "The <extra_id_0> walks in <extra_id_1> clinic"]


def tokenizer(folder):
    """A Unigram tokenizer of the kind that Clinical-T5 has: tokenizer.json alone, with sentinels and DEID tokens."""
    # Not trained: the trainer's scores depend on the order of a hash map. Words and pieces of words by their counts.
    words = collections.Counter("▁" + word for line in SENTENCES for word in re.findall(r"[A-Za-z]+", line))
    pieces = collections.Counter({char: 1 for char in "▁.,:/0123456789"})
    for word, count in words.items():
        for size in (1, 2, 3):
            for start in range(len(word) - size + 1):
                pieces[word[start : start + size]] += count
    best = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:60]
    best += sorted(pieces.items(), key=lambda item: (len(item[0]) > 1, -item[1], item[0]))[:100]
    total = sum(count for _, count in best)
    scores = {}
    for piece, count in best:
        scores.setdefault(piece, round(math.log(count / total), 4))
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *scores.items()]
    engine = Tokenizer(models.Unigram(vocab, unk_id=2))
    engine.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    engine.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation(),
    ])
    engine.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    engine.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", 1)])
    fast = T5TokenizerFast(tokenizer_object=engine, extra_ids=100, model_max_length=512)
    fast.add_tokens(DEID)
    fast.save_pretrained(folder)
    return fast


def model(name, config):
    torch.manual_seed(list(VARIANTS).index(name) + 20)
    net = T5ForConditionalGeneration(T5Config(**config)).eval()
    with torch.no_grad():
        for key, value in net.named_parameters():
            # Freshly drawn T5 weights hardly look at positions; make every part count.
            if "relative_attention_bias" in key:
                value.normal_(0.0, 1.5)
            elif key.endswith("layer_norm.weight"):
                value.add_(torch.randn_like(value) * 0.3)
                if key.startswith("decoder.final") and net.config.tie_word_embeddings:
                    value.mul_(8.0)
            elif ".q.weight" in key:
                value.mul_(4.0)
            elif ".wo.weight" in key or ".o.weight" in key:
                value.mul_(2.0)
            elif key == "shared.weight" and net.config.tie_word_embeddings:
                # A token's own vector must not drown what the blocks add, or a tied model repeats its input for ever.
                value.mul_(0.2)
    return net


def main():
    torch.use_deterministic_algorithms(True)
    for name, config in VARIANTS.items():
        folder = OUT / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fast = tokenizer(folder) if name == "uneven" else None
        if fast:
            config["vocab_size"] = len(fast)
        net = model(name, config)
        net.save_pretrained(folder)
        (folder / "generation_config.json").unlink()
        draw = lambda *shape: torch.randint(2, config["vocab_size"], shape)
        tensors, facts = {}, {"transformers": transformers.__version__, "torch": torch.__version__}
        facts["parameters"] = sum(p.numel() for p in net.parameters())

        # A padded batch.
        lengths = [5, 20, 1, 12]
        ids, mask = draw(4, 20), torch.zeros(4, 20, dtype=torch.long)
        for row, length in enumerate(lengths):
            ids[row, length:] = 0
            mask[row, :length] = 1
        decoder = draw(4, 16)
        decoder[:, 0] = 0
        with torch.no_grad():
            out = net(input_ids=ids, attention_mask=mask, decoder_input_ids=decoder)
        tensors |= {"batch.input_ids": ids, "batch.mask": mask, "batch.decoder_ids": decoder,
                    "batch.states": out.encoder_last_hidden_state, "batch.logits": out.logits}
        states, m = out.encoder_last_hidden_state, mask.unsqueeze(-1)
        tensors["batch.mean"] = (states * m).sum(1) / m.sum(1)
        tensors["batch.max"] = states.masked_fill(m == 0, float("-inf")).amax(1)

        # Long decoder inputs, one row: the last logits at each length.
        ids, decoder = draw(1, 20), draw(1, 300)
        decoder[:, 0] = 0
        tensors |= {"long.input_ids": ids, "long.decoder_ids": decoder}
        with torch.no_grad():
            tensors["long.logits"] = torch.cat([net(input_ids=ids, decoder_input_ids=decoder[:, :n]).logits[:, -1] for n in LENGTHS])
        tensors["long.lengths"] = torch.tensor(LENGTHS)

        # A long encoder input.
        ids = draw(1, 300)
        keep = torch.tensor([0, 1, 40, 150, 298, 299])
        with torch.no_grad():
            tensors |= {"encoder.input_ids": ids, "encoder.positions": keep,
                        "encoder.states": net.encoder(input_ids=ids).last_hidden_state[0, keep]}

        # Loss with ignored labels, and its gradients.
        ids, labels = draw(3, 10), draw(3, 9)
        mask = torch.ones_like(ids)
        ids[0, 6:] = 0
        mask[0, 6:] = 0
        labels[0, 4:] = -100
        labels[2, 7:] = -100
        net.zero_grad()
        loss = net(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        tensors |= {"loss.input_ids": ids, "loss.mask": mask, "loss.labels": labels, "loss.value": loss.detach().reshape(1)}
        last = config.get("num_decoder_layers", config["num_layers"]) - 1
        for key in ["shared.weight", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                    "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                    f"decoder.block.{last}.layer.1.EncDecAttention.k.weight", "encoder.final_layer_norm.weight",
                    "encoder.block.0.layer.0.SelfAttention.q.weight"]:
            tensors["grad." + key] = net.get_parameter(key).grad.clone()
        with torch.no_grad():
            logits = net(input_ids=ids, attention_mask=mask, labels=labels).logits
            logp = torch.log_softmax(logits, -1).gather(2, labels.clamp(min=0).unsqueeze(2)).squeeze(2)
            tensors["loss.log_probs"] = logp.masked_fill(labels < 0, 0.0)

        # Greedy decoding of prompts of different lengths. Without its cache: transformers sizes that by the encoder's
        # depth,
        # so a deeper decoder fails there.
        prompts = [draw(length).tolist() for length in (7, 3, 15, 1)]
        width = max(map(len, prompts))
        ids = torch.tensor([p + [0] * (width - len(p)) for p in prompts])
        mask = torch.tensor([[1] * len(p) + [0] * (width - len(p)) for p in prompts])
        out = net.generate(input_ids=ids, attention_mask=mask, max_new_tokens=40, do_sample=False, num_beams=1, use_cache=False,
                           return_dict_in_generate=True, output_logits=True)
        top = torch.stack(out.logits, 1).topk(2, -1).values
        facts["greedy"] = {"prompts": prompts, "max_new_tokens": 40, "ids": trim(out.sequences),
                           "smallest_margin": float((top[..., 0] - top[..., 1]).min())}
        if fast:
            facts["texts"] = texts(net, fast)
            facts["half_errors"] = half_errors(folder, facts["texts"])
        save_file({k: v.contiguous().to(torch.int32) if v.dtype == torch.int64 else v.contiguous() for k, v in tensors.items()},
                  folder / "expected.safetensors")
        for file in folder.glob("*.safetensors"):
            file.chmod(0o644)
        (folder / "expected.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        print(name, facts["parameters"], "parameters, margin", facts["greedy"]["smallest_margin"], "loss", float(loss))


def trim(sequences):
    """Rows of `generate` without the start token, cut behind the end token."""
    rows = []
    for row in sequences.tolist():
        row = row[1:]
        rows.append(row[: row.index(1) + 1] if 1 in row else row)
    return rows


def texts(net, fast):
    """Text in, text and scores out."""
    found = []
    for text in TEXTS:
        ids = fast(text, return_tensors="pt").input_ids
        target = "The patient is stable."
        labels = fast(target, return_tensors="pt").input_ids
        with torch.no_grad():
            loss = net(input_ids=ids, labels=labels).loss
            states = net.encoder(input_ids=ids).last_hidden_state[0]
        out = net.generate(input_ids=ids, max_new_tokens=12, do_sample=False, num_beams=1, use_cache=False)
        row = trim(out)[0]
        found.append({"text": text, "ids": ids[0].tolist(), "output_ids": row, "output": fast.decode(row, skip_special_tokens=True),
                      "target": target, "target_ids": labels[0].tolist(), "loss": float(loss),
                      "mean": [round(float(x), 7) for x in states.mean(0)]})
    return found


@torch.no_grad()
def half_errors(folder, cases):
    """How far transformers' own log-probabilities of the targets in half precision are from its f32: the largest and the mean."""
    def scores(dtype):
        net = T5ForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()
        rows = []
        for case in cases:
            labels = torch.tensor([case["target_ids"]])
            logits = net(input_ids=torch.tensor([case["ids"]]), labels=labels).logits.float()
            rows.append(logits.log_softmax(-1)[0].gather(1, labels[0][:, None])[:, 0])
        return torch.cat(rows)
    exact = scores(torch.float32)
    errors = {"f16": (scores(torch.float16) - exact).abs(), "bf16": (scores(torch.bfloat16) - exact).abs()}
    return {name: {"max": float(error.max()), "mean": float(error.mean())} for name, error in errors.items()}


if __name__ == "__main__":
    main()
