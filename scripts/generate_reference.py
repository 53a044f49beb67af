"""Reference outputs for clinical-generate, made with transformers' own `generate` and logits processors.

    python scripts/generate_reference.py

writes two fixtures into crates/clinical-generate/tests/data:

* processors.json: the distribution of the next token after the processors and sampling filters that `generate` builds for
  an option set (`_get_logits_processor`), on seeded logits.
* search.json: what greedy and beam search return for 200 prompts under many option sets. The model is a hash of the last
  three tokens (`TableModel` below); tests/common/mod.rs has the same one in Rust. Its logits are exact in f32.

Versions: scripts/requirements.txt.
"""

import json
import math
import pathlib

import numpy as np
import torch
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput, Seq2SeqLMOutput

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates/clinical-generate/tests/data"
END = 1
VOCABULARY = 32
MASK = 0xFFFFFFFF
# Scores are stored for this many prompts; answers for all.
SCORED = 50


def mix(x):
    """The same integer hash as `mix` in tests/common/mod.rs, on int64 arrays that hold 32-bit numbers."""
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & MASK
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & MASK
    return x ^ (x >> 16)


def logits_of(last, salt, end_bias):
    """`last` is [rows, 3], the newest token at the end; `salt` is [rows]. Returns [rows, VOCABULARY]."""
    last = last.astype(np.int64)
    state = (
        ((last[:, 2] * 0x9E3779B1) & MASK)
        ^ ((last[:, 1] * 0x85EBCA77) & MASK)
        ^ ((last[:, 0] * 0xC2B2AE3D) & MASK)
        ^ salt
    )
    ids = (np.arange(VOCABULARY, dtype=np.int64) * 0x27D4EB2F) & MASK
    row = (mix(mix(state)[:, None] ^ ids[None, :]) >> 12).astype(np.float32) / np.float32(131072.0) - np.float32(4.0)
    row[:, 0] = -20.0
    row[:, END] += np.float32(end_bias)
    return row


class TableConfig(PretrainedConfig):
    model_type = "table"

    def __init__(self, end_bias=0.0, is_encoder_decoder=False, **kwargs):
        self.vocab_size = VOCABULARY
        self.hidden_size = 4
        self.num_hidden_layers = 1
        self.num_attention_heads = 1
        self.end_bias = end_bias
        super().__init__(
            is_encoder_decoder=is_encoder_decoder,
            pad_token_id=0,
            eos_token_id=END,
            decoder_start_token_id=0 if is_encoder_decoder else None,
            **kwargs,
        )


class TableModel(PreTrainedModel, GenerationMixin):
    """A decoder whose next token depends on the last three."""

    config_class = TableConfig
    main_input_name = "input_ids"

    def __init__(self, config):
        super().__init__(config)
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        row = logits_of(input_ids[:, -3:].numpy(), np.zeros(len(input_ids), np.int64), self.config.end_bias)
        return CausalLMOutput(logits=torch.from_numpy(row)[:, None, :])


class Encoder(torch.nn.Module):
    main_input_name = "input_ids"

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        salts = []
        for row in input_ids.numpy():
            salt = np.int64(17)
            for token in row:
                salt = mix(salt ^ np.int64(token))
            salts.append(float(salt))
        # f64 holds a 32-bit hash exactly.
        return BaseModelOutput(last_hidden_state=torch.tensor(salts, dtype=torch.float64)[:, None, None])


class TableEncoderDecoder(TableModel):
    """The same for an answer that starts from token 0; the prompt's hash changes every logit."""

    def __init__(self, config):
        super().__init__(config)
        self.encoder = Encoder()

    def get_encoder(self):
        return self.encoder

    def forward(self, input_ids=None, decoder_input_ids=None, encoder_outputs=None, **kwargs):
        last = decoder_input_ids[:, -3:].numpy()
        last = np.pad(last, ((0, 0), (3 - last.shape[1], 0)))
        salt = encoder_outputs[0][:, 0, 0].numpy().astype(np.int64)
        row = logits_of(last, salt, self.config.end_bias)
        return Seq2SeqLMOutput(logits=torch.from_numpy(row)[:, None, :])


def prompts(count, vocabulary):
    state = np.int64(12345)
    out = []

    def step():
        nonlocal state
        state = (state + 0x9E3779B9) & MASK
        return int(mix(state))

    for _ in range(count):
        length = 3 + step() % 7
        out.append([2 + step() % (vocabulary - 2) for _ in range(length)])
    return out


def searches():
    """Every option set of the beam fixture, as (options for transformers, fields of Generation)."""
    for ngram in (0, 2):
        yield {"num_beams": 1, "no_repeat_ngram_size": ngram}
        for beams in (2, 4, 5):
            for penalty in (0.6, 1.0, 2.0):
                for early in (True, False, "never"):
                    yield {
                        "num_beams": beams,
                        "no_repeat_ngram_size": ngram,
                        "length_penalty": penalty,
                        "early_stopping": early,
                    }
    for early in (True, False, "never"):
        base = {"num_beams": 4, "early_stopping": early, "length_penalty": 1.0}
        yield base | {"num_return_sequences": 4}
        yield base | {"repetition_penalty": 1.3, "num_return_sequences": 2}
        yield base | {"min_new_tokens": 5}
        yield base | {"bad_words_ids": [[3], [7, 9], [20, 21, 22], [END]], "suppress_tokens": [4, 5]}
        yield base | {"forced_bos_token_id": 11, "forced_eos_token_id": END}
        yield base | {"sequence_bias": [[[6], 1.5], [[8, 10], -2.0], [[END], -1.0]]}
        yield base | {"length_penalty": -1.0}
        yield base | {"length_penalty": 0.0}
        yield base | {"eos_token_id": [END, 13], "num_return_sequences": 3}
    yield {"num_beams": 1, "repetition_penalty": 1.2}
    yield {"num_beams": 1, "min_new_tokens": 4, "eos_token_id": [END, 13]}
    yield {"num_beams": 1, "no_repeat_ngram_size": 1, "forced_eos_token_id": END}


def letters(ids):
    return "".join(chr(ord("?") + i) for i in ids)


def run_searches(model, all_prompts, max_new_tokens):
    """For each option set, what each prompt gives: `num_return_sequences` strings of tokens and their scores."""
    runs = []
    by_length = {}
    for number, prompt in enumerate(all_prompts):
        by_length.setdefault(len(prompt), []).append(number)
    for options in searches():
        count = options.get("num_return_sequences", 1)
        ends = options.get("eos_token_id", [END])
        options = dict(options)
        if "forced_bos_token_id" in options and not model.config.is_encoder_decoder:
            # transformers applies it to a context of one token only: to encoder-decoders.
            options.pop("forced_bos_token_id")
        config = GenerationConfig(
            max_new_tokens=max_new_tokens,
            pad_token_id=0,
            do_sample=False,
            use_cache=False,
            output_scores=True,
            return_dict_in_generate=True,
            decoder_start_token_id=0 if model.config.is_encoder_decoder else None,
            **({"eos_token_id": [END]} | options),
        )
        texts, scores = [None] * len(all_prompts), [None] * len(all_prompts)
        for length, numbers in sorted(by_length.items()):
            batch = torch.tensor([all_prompts[n] for n in numbers])
            out = model.generate(batch, generation_config=config)
            new = out.sequences[:, (1 if model.config.is_encoder_decoder else length) :].tolist()
            for place, number in enumerate(numbers):
                rows = new[place * count : (place + 1) * count]
                cut = []
                for row in rows:
                    end = next((i + 1 for i, token in enumerate(row) if token in ends), len(row))
                    # Beam search pads with the end token when the padding token is 0.
                    assert all(token in (0, ends[0]) for token in row[end:]), row
                    cut.append(letters(row[:end]))
                texts[number] = "|".join(cut)
                if options["num_beams"] > 1:
                    got = out.sequences_scores[place * count : (place + 1) * count]
                    scores[number] = [round(float(s), 4) for s in got]
        runs.append({"options": options, "texts": texts, "scores": scores})
        print(model.config.is_encoder_decoder, options, flush=True)
    return runs


def compact(runs):
    """Most option sets give a prompt one of a few answers: each is stored once."""
    count = len(runs[0]["texts"])
    tables = []
    for number in range(count):
        seen = {}
        for run in runs:
            seen.setdefault(run["texts"][number], len(seen))
        tables.append(seen)
    return {
        "answers": [" ".join(table) for table in tables],
        "runs": [
            {
                "options": run["options"],
                "answer": [tables[n][run["texts"][n]] for n in range(count)],
                "scores": [s for row in run["scores"][:SCORED] if row for s in row],
            }
            for run in runs
        ],
    }


def write_searches():
    all_prompts = prompts(200, VOCABULARY)
    families = {}
    for name, kind in (("decoder", TableModel), ("encoder_decoder", TableEncoderDecoder)):
        config = TableConfig(end_bias=0.5, is_encoder_decoder=name != "decoder")
        model = kind(config).eval()
        with torch.no_grad():
            families[name] = compact(run_searches(model, all_prompts, 12))
    out = {"vocabulary": VOCABULARY, "end_bias": 0.5, "max_new_tokens": 12, "prompts": 200, "scored": SCORED, **families}
    (OUT / "search.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")


def write_processors():
    """Option sets crossed with rows of logits; probabilities after `_get_logits_processor` and softmax."""
    rng = np.random.default_rng(20240607)
    size = 48
    rows = []
    for scale, grid in ((1.5, 8), (0.5, 8192), (3.0, 8192), (6.0, 8192)):
        # The first row has equal logits.
        rows.append((np.round(rng.normal(size=size) * scale * grid) / grid).astype(np.float32).tolist())
    context = [5, 9, 9, 14, 30, 5, 9]
    sets = [
        {},
        {"temperature": 0.7},
        {"temperature": 1.7},
        {"top_k": 1},
        {"top_k": 5},
        {"top_k": 20},
        {"top_k": 100},
        {"top_p": 0.1},
        {"top_p": 0.5},
        {"top_p": 0.9},
        {"top_p": 0.999},
        {"min_p": 0.02},
        {"min_p": 0.3},
        {"typical_p": 0.2},
        {"typical_p": 0.6},
        {"typical_p": 0.95},
        {"repetition_penalty": 1.3},
        {"repetition_penalty": 0.8},
        {"no_repeat_ngram_size": 1},
        {"no_repeat_ngram_size": 2},
        {"no_repeat_ngram_size": 3},
        {"bad_words_ids": [[3], [5, 9, 14], [9, 17], [30, 5, 9, 21], [1]]},
        {"suppress_tokens": [0, 7, 8], "min_new_tokens": 20},
        {"sequence_bias": [[[6], 2.5], [[9, 11], -3.0], [[5, 9, 12], 4.0], [[14, 9, 13], 9.0]]},
        {"temperature": 0.7, "top_k": 20, "top_p": 0.8},
        {"temperature": 1.4, "top_k": 12, "top_p": 0.95, "min_p": 0.05},
        {"temperature": 0.9, "top_p": 0.9, "typical_p": 0.7, "repetition_penalty": 1.2},
        {"temperature": 1.2, "min_p": 0.01, "typical_p": 0.9, "no_repeat_ngram_size": 2, "top_k": 30},
    ]
    cases = []
    for options in sets:
        for number, row in enumerate(rows):
            for beams in (1, 3):
                if number == 0 and (beams > 1 or "top_p" in options):
                    # Which of equally likely tokens a filter keeps depends on torch's sort, which is not stable.
                    continue
                config = GenerationConfig(
                    do_sample=True,
                    num_beams=beams,
                    max_new_tokens=30,
                    **({"top_k": 0} | options),
                )
                config._eos_token_tensor = torch.tensor([1])
                model = TableModel(TableConfig())
                processors = model._get_logits_processor(
                    generation_config=config,
                    input_ids_seq_length=4,
                    encoder_input_ids=torch.tensor([context]),
                    device="cpu",
                    model_kwargs={},
                )
                scores = torch.tensor([row])
                if beams > 1:
                    scores = scores.log_softmax(-1)
                probabilities = processors(torch.tensor([context]), scores).softmax(-1)[0].tolist()
                kept = [[i, float(f"{p:.6g}")] for i, p in enumerate(probabilities) if p > 0]
                cases.append({"options": options, "row": number, "beams": beams, "kept": kept})
    out = {"context": context[:4], "new": context[4:], "end": [1], "rows": rows, "cases": cases}
    (OUT / "processors.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write_processors()
    write_searches()
