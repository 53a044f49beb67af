#!/usr/bin/env python3
"""Checks the stored prompt templates against the published scripts, and renders reference prompts.

Usage:
    python scripts/check_prompts.py --asclepius DIR --clinical-lms DIR [--write]

DIR are checkouts of `starmpcc/Asclepius` (8e019fd) and `elehman16/do-we-still-need-clinical-lms`
(350f9e4). Nothing of them is stored: the functions are taken out of the sources and called with
invented texts. Their few-shot prompts hold patient text, so each is matched as a whole against a
structure with gaps, and only the structure, with invented texts in the gaps, is written.

With --write the result goes to crates/clinical-prompts/tests/data/rendered_golden.jsonl, which the
crate's tests compare with; without it the stored file is compared. Needs numpy only.
"""

import argparse
import ast
import json
import re
import sys
from pathlib import Path

import numpy

DATA = Path(__file__).parent.parent / "crates" / "clinical-prompts" / "tests" / "data"


def load(path, *names):
    """The named top-level functions and variables, or nested functions, of a Python source."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    space = {"np": numpy, "pd": None}
    for node in ast.walk(tree):
        name = getattr(node, "name", None)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        if name not in names or name in space:
            continue
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in node.args.args:
                argument.annotation = None
        exec(compile(ast.Module([node], []), str(path), "exec"), space)
    return [space[name] for name in names]


def fill_gaps(structure, published, texts):
    """`structure` with `texts` in its gaps {0}, {1}, ..., after checking that `published` fits."""
    pattern = re.sub(r"\\\{\d+\\\}", "(.+?)", re.escape(structure))
    if not re.fullmatch(pattern, published, re.DOTALL):
        sys.exit(f"a published few-shot prompt does not fit the structure {structure!r}")
    return re.sub(r"\{(\d+)\}", lambda gap: texts[int(gap[1])], structure)


NOTES = ["Pt admitted with cough.\nCXR clear.", "\n\u00dcbelkeit, T 38.5 \u2103 {question} {note}\n", ""]
QUESTIONS = ["Why was the patient admitted?", "{note}? {samples}\n"]
PREMISES = ["Afebrile overnight.", "Afebrile. ", " No cough", "{sentence2} \u2265 3.", "a\u20ac."]
HYPOTHESES = ["The patient has a fever", " {sentence1} has a fever. \n", "\x1fx\x85"]
CONTEXTS = ["FINAL REPORT\n Small left effusion.", "\n {question} \u00e9 "]
RADQA_QUESTIONS = ["Is there an effusion?", " Effusion", "Why??"]
SENTENCES = ["INR to be checked on Monday .", " {sentence} \u00b5g "]


def mednli(root):
    source = root / "src/zero-shot/mednli/mednli_gpt_3.py"
    (render, mapping) = load(source, "format_single_example", "get_mapping")
    (finetuning,) = load(root / "src/finetuning/preprocess_mednli.py", "format_single_example")
    for s1 in PREMISES:
        for s2 in HYPOTHESES:
            texts = {"premise": s1, "hypothesis": s2}
            yield {"kind": "mednli finetuning", **texts, "output": finetuning(s1, s2)}
            for number in [0, 1, 2, 3, 4, 7, 10, 11, 14]:
                output = render(s1, s2, str(number))
                yield {"kind": "mednli zero-shot", "number": number, **texts, "output": output}

    said = "Answer entailment, contradiction or neutral"
    given = 'Given that "{0}". Does it follow that "{1}" Yes, no, or maybe? '
    typographic = 'Given that "{0}\u201d Does it follow that "{1}\u201d? Yes, no, or maybe? '
    does = 'Does \u201c{0}\u201d mean that "{1}"?\n\nOptions:\n-Yes\n-No\n-It\'s impossible to say \n'
    block = "Premise: {0}\nHypothesis: {1}\nAnswer"
    unsure = "It\u2019s impossible to say"
    shapes = {  # number: header, example, answers in published order, text before the query
        5: (f"{said}.\n", f"{block}: ", ["entailment", "neutral", "contradiction"], "\n\n"),
        6: ("", f"{block}{said[6:]}: ", ["entailment", "neutral", "contradiction"], "\n\n"),
        8: ("", given, ["Yes.", "Maybe.", "No."], "\n\n"),
        9: ("", typographic, ["No.", "Yes.", "Neutral."], ""),
        12: ("", does, ["Yes", "No", unsure], "\n\n"),
        13: ("", does.replace("\nOptions", "\n Options"), ["No", "Yes", unsure], ""),
    }
    shots = [["Lungs clear", "no crackles"], ["{answer}", "b"], ["On warfarin", "anticoagulated"]]
    for number, (header, example, answers, before) in shapes.items():
        for s1, s2 in [("No cough.", "Coughs"), ("No cough. ", " Coughs. ")]:
            query = render(s1, s2, str(number))
            blocks = []
            for i, answer in enumerate(answers):
                gaps = example.replace("{0}", f"{{{2 * i}}}").replace("{1}", f"{{{2 * i + 1}}}")
                blocks.append(gaps + answer)
            shown = fill_gaps(
                header + "\n\n".join(blocks) + before + "{6}",
                query,
                sum(shots, []) + [query_part(query, number)],
            )
            examples = [[*texts, answer] for texts, answer in zip(shots, answers)]
            texts = {"premise": s1, "hypothesis": s2, "examples": examples}
            yield {"kind": "mednli few-shot", "number": number, **texts, "output": shown}

    for word, label in mapping().items():
        yield {"kind": "mednli answer", "answer": word, "output": label}


def query_part(prompt, number):
    """The query at the end of a published few-shot MedNLI prompt: its last opening words."""
    opening = {5: "Premise: ", 6: "Premise: ", 8: "Given that ", 9: "Given that "}
    return prompt[prompt.rindex(opening.get(number, 'Does "')) :]


def radqa(root):
    source = root / "src/zero-shot/radqa/radqa_gpt_3.py"
    render, conversion, precise = load(
        source, "format_single_example", "conversion", "precision_filter"
    )
    (flan,) = load(root / "src/zero-shot/radqa/radqa_zero_shot.py", "format_single_example")
    (seq2seq,) = load(root / "src/finetuning/run_seq2seq_qa.py", "generate_input")
    (decoder,) = load(root / "src/finetuning/preprocess_radqa_gpt.py", "format_single_example")
    for context in CONTEXTS:
        for question in RADQA_QUESTIONS:
            texts = {"context": context, "question": question}
            yield {"kind": "radqa finetuning", **texts, "output": seq2seq(question, context)}
            yield {"kind": "radqa flan", **texts, "output": flan(dict(texts), "0")}
            answers = {"text": ["effusion", "left effusion", "small effusi\u00f6n"], "answer_start": [0, 0, 0]}
            first, second, answer, _ = decoder(None, {**texts, "answers": answers})
            yield {
                "kind": "radqa decoder", **texts, "answers": answers["text"],
                "output": first + second, "target": answer + "</s>",
            }
            for number in [0, 1, 2, 3, 4, 5, 10, 11, 12, 13]:
                output = render(dict(texts), str(number))
                yield {"kind": "radqa zero-shot", "number": number, **texts, "output": output}

    quote = " Answer N/A if there is no answer or give a quote from the context: "
    said = "Context: {0}\nGiven the above context, {1}" + quote + "{2}\n\n"
    inline, lines = "\nQuestion: {1} Answer: {2}\n\n", "\nQuestion: {1}\nAnswer: {2}\n\n"
    header = (
        "Find the answer to the question based on the context below. "
        "Provided a quote from the context, otherwise write N/A.\n\n"
    )
    shapes = {
        6: ("", [said]), 7: ("", [said]), 8: ("", [said] * 2), 9: ("", [said] * 2),
        14: (header, ["Context: {0} {1} Answer: {2}\n\n", "Context: {0}" + inline]),
        15: (header, ["Context: {0}" + lines] * 3),
    }
    shots = [["Clear lungs.", "Which lobe?", "N/A"], ["{question}\nx", "What {answer}?", "b"], ["No mass.", "Where?", "c"]]
    for number, (header, blocks) in shapes.items():
        published = render({"context": "CONTEXT", "question": "QUESTION?"}, str(number))
        query = published[published.rindex("Context: CONTEXT") :]
        structure = header
        for i, shape in enumerate(blocks):
            structure += re.sub(r"\{(\d)\}", lambda gap: f"{{{int(gap[1]) + 3 * i}}}", shape)
        examples = shots[: len(blocks)]
        output = fill_gaps(structure + query, published, sum(examples, []))
        texts = {"context": "CONTEXT", "question": "QUESTION?", "examples": examples}
        yield {"kind": "radqa few-shot", "number": number, **texts, "output": output}

    context = "Small left effusion. N/A"
    for completion in ["N/A", "effusion", "Effusion", "", "n/a", "left effusion."]:
        yield {
            "kind": "radqa answer", "completion": completion, "context": context,
            "output": conversion(completion), "quoted": precise(completion, context),
        }


def clip(root):
    source = root / "src/zero-shot/clip/clip_gpt3.py"
    (render,) = load(source, "prompt_label_type")
    names = load(root / "src/finetuning/preprocess_clip.py", "LABEL_TYPES", "str_tags_to_binary_tensor", "LOWERCASED_TYPES")
    labels, tensor = names[0], names[1]
    tensor.__globals__.update(LABEL_TYPES=labels, LOWERCASED_TYPES=names[2])
    (yes_no,) = load(root / "src/zero-shot/clip/clip_zero_shot.py", "prompt_label_type")
    yes_no.__globals__["LABEL_TYPES"] = labels
    for sentence in SENTENCES:
        for number in [0, 1, 2, 3, 4, 9]:
            output = render(sentence, str(number))
            yield {"kind": "clip zero-shot", "number": number, "sentence": sentence, "output": output}
        for number in range(6):
            for label in labels:
                output = yes_no(sentence, label, str(number))
                yield {"kind": "clip yes-no", "number": number, "label": label, "sentence": sentence, "output": output}

    shots = [["Start iron .", labels[1]], ["{sentence} .", ""], ["INR Monday .", f"{labels[0]}, {labels[3]}"]]
    for number, count in [(5, 1), (6, 3), (7, 3), (8, 3)]:
        published = render("SENTENCE", str(number))
        query = published[published.rindex("Context: SENTENCE") :]
        block = query.replace("SENTENCE", "{0}") + "{1}"
        structure = ""
        for i in range(count):
            structure += re.sub(r"\{(\d)\}", lambda gap: f"{{{int(gap[1]) + 2 * i}}}", block) + "\n\n"
        output = fill_gaps(structure + query, published, sum(shots[:count], []))
        yield {"kind": "clip few-shot", "number": number, "sentence": "SENTENCE", "examples": shots[:count], "output": output}

    for target in [", ".join(labels), labels[1].lower(), "none", "", f"{labels[2]}, x, {labels[3].lower()}", labels[4].upper()]:
        yield {"kind": "clip target", "target": target, "output": tensor(target.split(", ")).tolist()}


def asclepius(root):
    (prompts, ) = load(root / "src/utils.py", "PROMPT_DICT")
    (chooser,) = load(root / "src/utils.py", "get_prompt")
    chooser.__globals__.update(PROMPT_DICT=prompts, print=lambda *_: None)
    (training,) = load(root / "src/instruction_ft.py", "PROMPT")
    (case_report,) = load(root / "preprocessing/pmc_preprocessing.py", "prompt")
    (bootstrap, tasks) = load(root / "preprocessing/bootstraping.py", "global_prompt", "tasks")
    (answer,) = load(root / "preprocessing/postproc_questions.py", "prompt")
    (judging, judge) = load(root / "eval/gpt4_evaluate.py", "prompt", "generate_inst_prompt")
    judge.__globals__["prompt"] = judging
    models = [
        "starmpcc/Asclepius-7B", "decapoda-research/llama-7b-hf", "chavinlo/alpaca-native",
        "medalpaca/medalpaca-7b", "lmsys/vicuna-7b-v1.3", "wanglab/clinical-camel", "zl111/ChatDoctor",
    ]
    for note in NOTES:
        for question in QUESTIONS:
            texts = {"note": note, "question": question}
            yield {"kind": "asclepius training", **texts, "output": training.format_map(texts)}
            for model in models:
                output = chooser(model).format_map(texts)
                yield {"kind": "asclepius model", "model": model, **texts, "output": output}
            yield {"kind": "asclepius answer", **texts, "output": answer.format(**texts)}
            for count in [1, 3]:
                samples = ["Cough.", "{num_samples}\n4", ""][:count]
                output = judge(note, question, samples)[0]["content"]
                yield {"kind": "asclepius judge", **texts, "samples": samples, "output": output}
        if note:
            yield {"kind": "asclepius note", "case_report": note, "output": case_report.format(pmc=note)}
        for task in tasks:
            samples = task["samples"][1:4] + QUESTIONS
            output = bootstrap.format(task=task["task"], note=note, samples="\n".join(samples))
            yield {"kind": "asclepius instruction", "task": task["task"], "note": note, "samples": samples, "output": output}

    source = (root / "preprocessing/make_instruction_dataset.py").read_text(encoding="utf-8")
    expression = re.search(r'r"(\(AI language\).*?)"', source)[1]
    letters = dict(zip("isk", "\u0130\u017f\u212a"))
    phrases = [phrase.strip("()") for phrase in expression.split("|")]
    texts = phrases + [p.upper() for p in phrases] + ["".join(letters.get(c, c) for c in p) for p in phrases]
    for text in texts + ["the  model", "models", "a mode l", "\u0131", "AI", ""]:
        matched = re.search(expression, text, re.IGNORECASE) is not None
        yield {"kind": "asclepius filter", "text": text, "output": matched}

    begin, end = "[Discharge Summary Begin]\n", "\n[Discharge Summary End]"
    pattern = re.search(r'r"(\\\[Discharge.*?)"', source)[1]
    for text in [begin + "a" + end, begin + "a" + end + "b" + end, begin + begin + "\n" + end, begin + end[1:], end + begin, "x" + begin + "\r\n" + end + "y"]:
        found = re.findall(pattern, text, flags=re.DOTALL | re.MULTILINE)
        yield {"kind": "asclepius extract", "text": text, "output": found[0] if found else None}

    for reply, order in [("1 2 3", [2, 0, 1]), ('"4 4"', [1, 0]), ("3\n2\nA was better", [1, 0]), ("3", [0, 1]), ("", [0]), ("'1\x1f2'", [0, 1])]:
        words = reply.strip('"').strip("'").split()
        try:
            scores = [int(words[order.index(i)]) for i in range(len(order))]
        except IndexError:
            scores = [0] * len(order)
        yield {"kind": "asclepius scores", "reply": reply, "order": order, "output": scores}


def check_templates(asclepius_root):
    """The stored templates of Asclepius are the published ones."""
    stored = json.loads((DATA / "prompts.json").read_text(encoding="utf-8"))["asclepius"]
    (prompts,) = load(asclepius_root / "src/utils.py", "PROMPT_DICT")
    (training,) = load(asclepius_root / "src/instruction_ft.py", "PROMPT")
    assert stored["inference_prompts"] == prompts
    assert stored["training_prompt"] == training
    (tasks,) = load(asclepius_root / "preprocessing/bootstraping.py", "tasks")
    assert stored["tasks"] == [{"task": t["task"], "samples": t["samples"]} for t in tasks]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--asclepius", type=Path, required=True)
    parser.add_argument("--clinical-lms", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    check_templates(args.asclepius)
    rows = [*asclepius(args.asclepius), *mednli(args.clinical_lms), *radqa(args.clinical_lms), *clip(args.clinical_lms)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = DATA / "rendered_golden.jsonl"
    if args.write:
        path.write_text(text, encoding="utf-8", newline="\n")
    elif path.read_text(encoding="utf-8") != text:
        sys.exit(f"{path} differs from the published scripts")
    print(f"{len(rows)} rows agree with the published scripts")


if __name__ == "__main__":
    main()
