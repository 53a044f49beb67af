#!/usr/bin/env python3
"""Reference numbers for `clinical-llama`, made by Python `transformers` (eager attention, f32, CPU).

    python scripts/llama_reference.py             # tiny seeded models -> crates/clinical-llama/tests/data/<variant>/
    python scripts/llama_reference.py --smollm2   # SmolLM2-135M-Instruct, after scripts/get_assets

Weights are drawn wide enough that logits differ by whole units, so that a wrong mask, angle or head order shows.
Versions: scripts/requirements.txt.
"""

import argparse
import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "crates/clinical-llama/tests/data"
ASSETS = Path(os.environ.get("CLINICAL_LM_CACHE") or ROOT / ".cache" / "assets")
LENGTHS = [1, 8, 9, 16, 128, 129, 300]
ROWS = [5, 30, 17, 1]
NEW_TOKENS = 64
# A greedy token is only stored when its lead over the second is this large: far above rounding, so never a coin toss.
LEAD = 2e-3

SHAPE = dict(vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
             max_position_embeddings=512, rms_norm_eps=1e-5)

# name -> (configuration, tokens of the greedy prompt, seed)
VARIANTS = {
    # Written like Asclepius-7B's file: no key/value heads, no theta, two names for the length, wrong ids.
    "mha": (LlamaConfig(**{**SHAPE, "rms_norm_eps": 1e-6}), 12, 1),
    "gqa": (LlamaConfig(**SHAPE, num_key_value_heads=2), 12, 2),
    "tied": (LlamaConfig(**SHAPE, num_key_value_heads=1, tie_word_embeddings=True), 12, 3),
    "llama3": (LlamaConfig(**SHAPE, num_key_value_heads=2, rope_theta=500000.0, rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}), 12, 4),
    "linear": (LlamaConfig(**{**SHAPE, "max_position_embeddings": 128},
                           rope_scaling={"type": "linear", "factor": 4.0}), 12, 15),
    # Greedy decoding starts below the trained length and ends above it.
    "dynamic": (LlamaConfig(**{**SHAPE, "max_position_embeddings": 128},
                            rope_scaling={"type": "dynamic", "factor": 4.0}), 100, 6),
    "mistral": (MistralConfig(**{**SHAPE, "num_attention_heads": 3}, num_key_value_heads=1, head_dim=16,
                              rope_theta=1e6, sliding_window=None), 12, 7),
    "bias": (LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True, initializer_range=0.05), 12, 8),
    # The weights of `mistral`, every token seeing 48 positions.
    "mistral_window": (MistralConfig(**{**SHAPE, "num_attention_heads": 3}, num_key_value_heads=1, head_dim=16,
                                     rope_theta=1e6, sliding_window=48), 40, 7),
}


def draw(config, seed):
    """A model with weights of realistic spread."""
    kind = MistralForCausalLM if config.model_type == "mistral" else LlamaForCausalLM
    config._attn_implementation = "eager"
    model = kind(config).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        with torch.no_grad():
            noise = torch.randn(weight.shape, generator=generator)
            if "norm" in name:
                weight.copy_(1 + 0.2 * noise)
            elif "embed" in name:
                weight.copy_(0.5 * noise)
            else:
                weight.copy_(0.25 * noise)
    model.tie_weights()
    return model


def fresh(model):
    """The model without what `dynamic` scaling remembers of earlier calls."""
    rotary = model.model.rotary_emb
    rotary.inv_freq = rotary.original_inv_freq
    rotary.max_seq_len_cached = rotary.original_max_seq_len
    return model


def rounded(values):
    return [round(value, 6) for value in values.tolist()]


@torch.no_grad()
def evaluate(model, prompt_tokens, seed):
    generator = torch.Generator().manual_seed(1000 + seed)
    ids = torch.randint(0, model.config.vocab_size, (max(LENGTHS),), generator=generator)
    logits = []
    for length in LENGTHS:
        out = fresh(model)(ids[None, :length]).logits[0]
        positions = sorted({0, length // 2, length - 1})
        logits.append({"length": length, "positions": positions, "values": [rounded(out[p]) for p in positions]})
    spread = out.std().item()

    # Two rows, the second shorter; some labels do not count.
    loss_ids = [ids[40:64], ids[100:117]]
    labels = [row.clone() for row in loss_ids]
    labels[0][:9] = -100
    labels[1][[0, 1, 6, 16]] = -100
    width = len(loss_ids[0])
    padded = torch.zeros((2, width), dtype=torch.long)
    padded_labels = torch.full((2, width), -100)
    mask = torch.zeros((2, width), dtype=torch.long)
    for row, (row_ids, row_labels) in enumerate(zip(loss_ids, labels)):
        padded[row, :len(row_ids)], padded_labels[row, :len(row_ids)] = row_ids, row_labels
        mask[row, :len(row_ids)] = 1
    loss = fresh(model)(padded, attention_mask=mask, labels=padded_labels).loss.item()

    # Each row alone; the padded batch of transformers must agree, or one of the two is wrong.
    rows = [ids[200 + i:200 + i + length] for i, length in enumerate(ROWS)]
    batch = torch.zeros((len(rows), max(ROWS)), dtype=torch.long)
    mask = torch.zeros_like(batch)
    for i, row in enumerate(rows):
        batch[i, :len(row)], mask[i, :len(row)] = row, 1
    together = fresh(model)(batch, attention_mask=mask).logits
    last = []
    for i, row in enumerate(rows):
        alone = fresh(model)(row[None]).logits[0, -1]
        assert (alone - together[i, len(row) - 1]).abs().max() < 1e-4
        last.append(rounded(alone))

    out = fresh(model).generate(
        ids[None, :prompt_tokens], attention_mask=torch.ones((1, prompt_tokens), dtype=torch.long), do_sample=False,
        max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, eos_token_id=None, pad_token_id=0,
        output_logits=True, return_dict_in_generate=True)
    leads = [step[0].topk(2).values for step in out.logits]
    lead = min((top - second).item() for top, second in leads)
    assert lead > LEAD, f"a greedy token leads by {lead} only: take another seed"
    greedy = out.sequences[0, prompt_tokens:].tolist()
    return {
        "ids": ids.tolist(),
        "logits": logits,
        "loss": {"ids": [row.tolist() for row in loss_ids], "labels": [row.tolist() for row in labels], "value": loss},
        "rows": {"ids": [row.tolist() for row in rows], "last": last},
        "greedy": {"prompt": prompt_tokens, "ids": greedy},
    }, spread, lead


def tiny():
    for name, (config, prompt_tokens, seed) in VARIANTS.items():
        out = DATA / name
        out.mkdir(parents=True, exist_ok=True)
        model = draw(config, seed)
        expected, spread, lead = evaluate(model, prompt_tokens, seed)
        (out / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
        settings = json.loads(config.to_json_string())
        weights = {key: value.contiguous() for key, value in model.state_dict().items()}
        if config.tie_word_embeddings:
            del weights["lm_head.weight"]
        if name == "mha":
            for key in ("num_key_value_heads", "rope_theta", "rope_scaling", "head_dim", "mlp_bias"):
                settings.pop(key, None)
            settings.update(max_sequence_length=512, bos_token_id=0, eos_token_id=1, pad_token_id=-1)
            # Old files hold this buffer.
            for layer in range(config.num_hidden_layers):
                weights[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = model.model.rotary_emb.inv_freq.clone()
        (out / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
        if name != "mistral_window":
            save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
        size = sum(file.stat().st_size for file in out.iterdir())
        print(f"{name}: {size} bytes, spread of logits {spread:.2f}, smallest lead {lead:.4f}")


# ------------------------------------------------------------------------------------------------ SmolLM2

# Invented for this script. No patient, hospital or date in them is real.
PARAGRAPHS = {
    "admission": "Admission: 68-year-old woman with hypertension and type 2 diabetes, brought in after three days of "
                 "productive cough, fever to 38.9 C and shortness of breath when climbing one flight of stairs.",
    "history": "Past medical history: hypertension since 2009, type 2 diabetes treated with metformin 850 mg twice daily, "
               "mild chronic kidney disease (baseline creatinine 1.3 mg/dL), cholecystectomy, osteoarthritis of both knees.",
    "exam": "Examination: temperature 38.6 C, heart rate 104/min, blood pressure 132/78 mmHg, respiratory rate 24/min, "
            "oxygen saturation 90% on room air. Crackles over the right lower lobe. No oedema. Abdomen soft.",
    "labs": "Laboratory: WBC 15.8 x10^9/L, haemoglobin 11.9 g/dL, platelets 288, sodium 133 mmol/L, potassium 4.2 mmol/L, "
            "creatinine 1.6 mg/dL, glucose 211 mg/dL, CRP 146 mg/L, procalcitonin 1.8 ng/mL, lactate 1.4 mmol/L.",
    "imaging": "Chest radiograph: consolidation of the right lower lobe with a small parapneumonic effusion. No pneumothorax. "
               "Heart size normal. Ultrasound on day 3: effusion of 1.2 cm, simple, not drained.",
    "course": "Hospital course: ceftriaxone 2 g daily and azithromycin 500 mg daily were started in the emergency department. "
              "Supplemental oxygen at 3 L/min was needed for two days. Fever settled on day 3. Blood cultures stayed negative; "
              "urinary pneumococcal antigen was positive, so azithromycin was stopped on day 3.",
    "kidney": "Renal function: creatinine rose to 1.9 mg/dL on day 2, was thought to be prerenal, and came back to 1.4 mg/dL "
              "after intravenous fluids. Lisinopril and metformin were held and restarted on day 5.",
    "diabetes": "Glucose: readings between 180 and 260 mg/dL while febrile; covered with a sliding scale of insulin aspart. "
                "HbA1c 7.8%. Discharged on metformin alone; the family doctor will review whether a second agent is needed.",
    "heart": "Cardiology: one run of atrial fibrillation lasting four hours on day 2, rate up to 128/min, converted without "
             "treatment. Echocardiogram: ejection fraction 58%, left atrium mildly dilated, no valve disease. Anticoagulation "
             "with apixaban 5 mg twice daily was begun after discussion of the benefits and risks.",
    "therapy": "Physiotherapy: walks 60 metres with a rollator, climbs ten steps with one rail. Swallowing was assessed and is "
               "safe for a normal diet. She lives with her daughter, who will help with shopping and tablets.",
    "medication": "Discharge medication: amoxicillin 1 g three times daily for 4 more days, apixaban 5 mg twice daily (new), "
                  "lisinopril 10 mg daily, metformin 850 mg twice daily, paracetamol 500 mg as needed, vitamin D 800 IU daily.",
    "plan": "Follow-up: family doctor in one week with creatinine and potassium; chest radiograph in six weeks to prove "
            "resolution; cardiology clinic in two months. Return at once for chest pain, bleeding, or breathlessness at rest.",
}
EVENTS = ("08:10 observations stable, pain 2/10. 12:30 ate half of lunch, walked to the bathroom with one person. "
          "16:45 temperature 37.{t} C, saturation 9{s}% on {o} L/min. 21:00 settled, call bell in reach.")
QUESTIONS = [
    # (paragraphs, nursing days, question)
    (["admission"], 0, "Why was the patient brought to hospital? Answer in one sentence."),
    (["exam"], 0, "List the vital signs."),
    (["labs"], 0, "Which laboratory values are abnormal?"),
    (["admission", "imaging", "course"], 0, "What was found on the chest radiograph?"),
    (["history", "medication"], 0, "Which medication is new?"),
    (["admission", "history", "exam", "labs", "imaging"], 0, "Summarise this note in two sentences."),
    (["admission", "course", "kidney", "diabetes", "heart"], 1, "What happened to the kidney function?"),
    (list(PARAGRAPHS), 0, "Write a short discharge summary for the family doctor."),
    (list(PARAGRAPHS), 4, "When should the patient return to hospital?"),
    (list(PARAGRAPHS), 8, "Explain the heart problem in plain words."),
]


def note(paragraphs, days):
    lines = [PARAGRAPHS[name] for name in paragraphs]
    lines += [f"Nursing, day {day}: " + EVENTS.format(t=(day * 3) % 9, s=(day * 2) % 8, o=max(0, 3 - day))
              for day in range(1, days + 1)]
    return "\n\n".join(lines)


@torch.no_grad()
def smollm2():
    directory = ASSETS / "smollm2-135m-instruct"
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    cases = []
    for paragraphs, days, question in QUESTIONS:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": note(paragraphs, days) + "\n\n" + question}],
            add_generation_prompt=True, tokenize=False)
        ids = tokenizer(text, return_tensors="pt").input_ids
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=32,
                             output_logits=True, return_dict_in_generate=True)
        new = out.sequences[0, ids.shape[1]:].tolist()
        leads = [(top - second).item() for top, second in (step[0].topk(2).values for step in out.logits)]
        print(f"{ids.shape[1]} tokens, {len(new)} new, smallest lead {min(leads):.4f}: {tokenizer.decode(new)!r}")
        assert min(leads) > 0.01, "two tokens are nearly equal: change the question"
        cases.append({"text": text, "ids": ids[0].tolist(), "new": new})
    (DATA / "smollm2_greedy.json").write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n",
                                              encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smollm2", action="store_true", help="real weights instead of the tiny models")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    smollm2() if arguments.smollm2 else tiny()


if __name__ == "__main__":
    main()
