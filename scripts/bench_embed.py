#!/usr/bin/env python3
"""Notes per second of `transformers` for the mean vectors that the example `embed` writes, sorted by length in batches.

    python scripts/bench_embed.py DIR notes.csv [THREADS]   # notes.csv: column TEXT; no note longer than the model reads

Versions: scripts/requirements.txt.
"""

import csv
import sys
import time

import torch
import transformers as tf

folder, notes = sys.argv[1:3]
torch.set_num_threads(int(sys.argv[3]) if len(sys.argv) > 3 else torch.get_num_threads())
tokenizer, model = tf.AutoTokenizer.from_pretrained(folder), tf.AutoModel.from_pretrained(folder).eval()
texts = sorted((row["TEXT"] for row in csv.DictReader(open(notes, newline=""))), key=len)
for size in (8, 32):
    start = time.perf_counter()
    with torch.inference_mode():
        for at in range(0, len(texts), size):
            inputs = tokenizer(texts[at:at + size], padding=True, truncation=True, max_length=512, return_tensors="pt")
            states, mask = model(**inputs).last_hidden_state, inputs["attention_mask"][..., None]
            (states * mask).sum(1) / mask.sum(1)
    print(f"batches of {size}: {len(texts) / (time.perf_counter() - start):.1f} notes per second")
