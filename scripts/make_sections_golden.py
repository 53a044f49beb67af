#!/usr/bin/env python3
"""Makes reference sections of random invented notes with the published clinicalBERT splitter.

Usage:
    python scripts/make_sections_golden.py --clinicalbert DIR [--notes 600]

DIR is a checkout of `EmilyAlsentzer/clinicalBERT` (a9d9169); its
`lm_pretraining/heuristic_tokenize.py` is run as published, and with four fixes: the two that its
header names, keeping the lines that follow `Admission Date: ... Discharge Date: ...` in the
same paragraph (the published code drops them, or fails when nothing else follows), and line ends
of all systems, as Python reads them from a file in text mode.

Writes crates/clinical-notes/tests/data/sections_random.jsonl. Python's standard library only.
"""

import argparse
import ast
import json
import random
from pathlib import Path

OUTPUT = Path(__file__).parent.parent / "crates/clinical-notes/tests/data/sections_random.jsonl"

FIXES = [
    (r"'\n\s*%d.'%n", r"'\n\s*%d\.'%n"),
    ("            #else: new_segments.append(segments[i])", "            else: new_segments.append(segments[i])"),
    (
        "m1.groups()))\n        segments = segments[1:]",
        "m1.groups()))\n        segments = list(filter(None, [strip(segments[0][m1.end():])])) + segments[1:]",
    ),
    ("m2 = re.match(", "m2 = segments and re.match("),
    (
        "m2.groups()))\n        segments = segments[1:]",
        "m2.groups()))\n        segments = list(filter(None, [strip(segments[0][m2.end():])])) + segments[1:]",
    ),
]

PARTS = [
    "Admission Date:  2150-1-2              Discharge Date:   2150-1-9\n",
    "Admission Date: a Discharge Date: b Discharge Date: c\n", "Date of Birth:  2090-3-4             Sex:   M\n",
    "Service: MEDICINE\n", "Allergies:\n", "Chief Complaint:\n", "History of Present Illness:\n", "Physical Exam (on discharge):\n",
    "PLAN:\n", "Labs (most recent): fine\n", "Disp:\n", "Disp: 30\n", "lungs: clear\n", "Neck: supple\n", "A:\n", "A: b\n", " :  x\n",
    "Plan of care: rest: \n", "Na: 140 K: 4\n", "Seen By (a) of (b Team: x\n", "\u00c9tat: ok\n", "Q\u00e9: ok\n", "\u2160 I:\n", "O\u01c5: z\n",
    "Mr. X feels well.\n", "He denies fever. Plan: none\n", "second line of prose\n", "and a third line", "stable", " ", "\t", "\n", "\n\n", "\n\n\n",
    "1. alpha\n", "2. beta\n", "3. gamma\n", "4. delta\n", "0. zero\n", "01. padded\n", "10. ten\n", "35 mg daily\n", "1) no\n", "2 more\n",
    "\n  5. five\n", "\u0663. arabic\n", "\uff11. wide\n", "\u00b2. square\n", "1.\n", "12.5 units\n", "1", ".", "99999999999999999999. big\n",
    "100000000000000000000. bigger\n", "---", "-----\n", "___", "______\n", "--", "__", "----___\n", "\r\n", "\x1c", "\u00a0", "\u2028", "\x85", "(", ")", ":", "\U0001f600",
]


def splitter(source, fixes):
    for old, new in fixes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    tree = ast.parse(source)
    tree.body = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.Assign))]
    space = {"re": __import__("re")}
    exec(compile(tree, "heuristic_tokenize.py", "exec"), space)
    return space["sent_tokenize_rules"], space["is_title"]


def unified(note):
    return note.replace("\r\n", "\n").replace("\r", "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clinicalbert", type=Path, required=True)
    parser.add_argument("--notes", type=int, default=600)
    args = parser.parse_args()
    source = (args.clinicalbert / "lm_pretraining/heuristic_tokenize.py").read_text(encoding="utf-8")
    published, is_title = splitter(source, [])
    fixed, _ = splitter(source, FIXES)
    rng = random.Random(7)
    with OUTPUT.open("w", encoding="utf-8", newline="\n") as file:
        for _ in range(args.notes):
            note = "".join(rng.choice(PARTS) for _ in range(rng.randint(1, 16)))
            try:
                sections, error = published(note), None
            except (AttributeError, IndexError) as failure:
                sections, error = None, type(failure).__name__
            row = {"input": note, "sections": sections, "error": error, "sections_fixed": fixed(unified(note))}
            file.write(json.dumps(row, ensure_ascii=True) + "\n")
        for _ in range(args.notes):
            text = "".join(rng.choice("aAbB of on or Disp()():.\u00c9\u00e9\u2160\u01c5\u01c8 \t\n\x1f1-") for _ in range(rng.randint(0, 9))) + ":"
            text = rng.choice([text, text[:-1], "Disp:", "Disp :", text.replace("a", "of ")])
            file.write(json.dumps({"input": text, "is_title": is_title(text)}) + "\n")


if __name__ == "__main__":
    main()
