"""Reference values for clinical-tasks: scikit-learn, krippendorff, the script of SQuAD 2.0, seqeval, SciPy, statsmodels.

    python scripts/tasks_reference.py --squad evaluate-v2.0.py --clinical-lms DIR

`--squad` is the official script; `--clinical-lms` a checkout of elehman16/do-we-still-need-clinical-lms (350f9e4).
Nothing of them is stored. Writes into crates/clinical-tasks/tests/data:

* metrics.json: what the reference implementations give for thousands of random cases. The cases are not stored: both
  sides draw them from the same numbers (`Stream` here and in src/random.rs).
* published.jsonl: what the published code makes of invented notes and reports: CLIP's pieces around a sentence, RadQA's
  converted answers, rows of MedNLI.

Versions: scikit-learn 1.9.1, seqeval 1.2.2, SciPy 1.17.1, statsmodels 0.15.0, NumPy 2.4.6, pandas 3.1.1.
"""

import argparse
import ast
import json
import math
import pathlib
import re
import sys
import types
import warnings

import krippendorff
import numpy as np
import scipy.stats
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support as entity_scores
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, precision_recall_fscore_support, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar

warnings.filterwarnings("ignore")
OUT = pathlib.Path(__file__).resolve().parent.parent / "crates/clinical-tasks/tests/data"
CASES = 1500
MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Stream:
    """The same numbers as `Stream` of src/random.rs."""

    def __init__(self, seed, stream):
        fold = lambda a, b: mix(((a ^ b) + GOLDEN) & MASK)
        self.key = fold(fold(0, seed), stream)
        self.next = 0

    def at(self, position):
        return mix((self.key + (position + 1) * GOLDEN) & MASK)

    def below(self, bound):
        """The next number below a bound."""
        self.next += 1
        return (self.at(self.next - 1) * bound) >> 64


def short(value):
    """A number with ten digits after the point; None for one that is undefined."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return [short(one) for one in value]
    return None if value is None or math.isnan(value) else round(float(value), 10)


CLASSES = ["contradiction", "entailment", "neutral", "no", "yes"]


def classes(case):
    draw = Stream(1, case)
    count, kinds = 1 + draw.below(40), 2 + draw.below(4)
    truth, predicted = [], []
    for _ in range(count):
        truth.append(CLASSES[draw.below(kinds)])
        other = CLASSES[draw.below(kinds)]
        predicted.append(truth[-1] if draw.below(2) else other)
    values = [accuracy_score(truth, predicted)]
    for labels in [None, CLASSES[:3]]:
        for average in ["macro", "micro"]:
            values += precision_recall_fscore_support(truth, predicted, average=average, labels=labels)[:3]
    return values + list(f1_score(truth, predicted, average=None))


def multi_label(case):
    draw = Stream(2, case)
    count, kinds, rare = 1 + draw.below(30), 2 + draw.below(6), 2 + draw.below(12)
    truth, predicted, scores = (np.zeros((count, kinds)) for _ in range(3))
    for row in range(count):
        for column in range(kinds):
            truth[row, column] = draw.below(rare) == 0
            wrong = draw.below(4) == 0
            predicted[row, column] = bool(truth[row, column]) ^ wrong
            scores[row, column] = draw.below(9) / 8 + truth[row, column] / 4
    truth, predicted = truth.astype(int), predicted.astype(int)
    values = [accuracy_score(truth, predicted)]
    for average in ["macro", "micro"]:
        values += precision_recall_fscore_support(truth, predicted, average=average)[:3]
    values += list(f1_score(truth, predicted, average=None))
    values += [roc_auc_score(truth, scores, average=average) for average in ["macro", "micro"]]
    return values + list(roc_auc_score(truth, scores, average=None))


TAGS = ["O", "B-problem", "I-problem", "I-test", "B-test", "E-test", "S-problem", "I-LOCATION-OTHER", "B-LOCATION-OTHER"]


def entities(case):
    draw = Stream(3, case)
    truth, predicted = [], []
    tags = 3 + draw.below(len(TAGS) - 2)
    for _ in range(1 + draw.below(4)):
        truth.append([])
        predicted.append([])
        for _ in range(draw.below(9)):
            truth[-1].append(TAGS[draw.below(tags)])
            other = TAGS[draw.below(tags)]
            predicted[-1].append(other if draw.below(3) == 0 else truth[-1][-1])
    values = []
    for average in ["micro", "macro", "weighted"]:
        try:
            values += entity_scores(truth, predicted, average=average)[:3]
        except ZeroDivisionError:  # NumPy's average over no type
            values += [0.0, 0.0, 0.0]
    return values + list(entity_scores(truth, predicted, average=None)[2])


PIECES = [
    "the", "a", "an", "The", "A", "effusion", "effusion", "left", "Pleural", "\u00c9tat", "\ufb01ne", "\u0130", "2.5",
    "cm", "(small)", "b12", "_x_", "a_b", "an'", "na\u00efve", "\u7684", "no", "\u03a3\u0391\u03a3", "\u00bda", "a\u00bd",
    "\u0301a", "a\u0301", "\x1f", "THE", "--", "\u2014a\u2014", "\u00b2", "\u0bbe", "a\u0bbe",
]  # fmt: skip
BETWEEN = [" ", " ", "  ", "-", ", ", "\u00a0", "\n", ""]


def text(draw):
    out = ""
    for _ in range(draw.below(6)):
        out += PIECES[draw.below(len(PIECES))] + BETWEEN[draw.below(len(BETWEEN))]
    return out


def squad_case(case):
    """Questions as `evaluate-v2.0.py` wants them, predictions, probabilities of no answer."""
    draw = Stream(4, case)
    questions, predictions, no_answer = [], {}, {}
    for number in range(1 + draw.below(10)):
        answers = [text(draw) for _ in range(draw.below(4))]
        name = str(number)
        chosen = text(draw)
        copied = draw.below(2)
        if copied and answers:
            chosen = answers[draw.below(len(answers))]
        empty = draw.below(5) == 0
        predictions[name] = "" if empty else chosen
        no_answer[name] = draw.below(9) / 8
        questions.append({"id": name, "answers": [{"text": answer} for answer in answers]})
    return [{"paragraphs": [{"qas": questions}]}], predictions, no_answer


def squad(case, official, published_f1):
    data, predictions, no_answer = squad_case(case)
    has_answer = official.make_qid_to_has_ans(data)
    exact_raw, f1_raw = official.get_raw_scores(data, predictions)
    values = []
    for threshold in [1.0, 0.5]:
        exact = official.apply_no_ans_threshold(exact_raw, no_answer, has_answer, threshold)
        f1 = official.apply_no_ans_threshold(f1_raw, no_answer, has_answer, threshold)
        for wanted in [None, True, False]:
            names = [name for name in has_answer if wanted is None or has_answer[name] == wanted]
            scores = official.make_eval_dict(exact, f1, names) if names else {"exact": math.nan, "f1": math.nan}
            values += [scores["exact"] / 100, scores["f1"] / 100]
    for raw in [exact_raw, f1_raw]:
        best, threshold = official.find_best_thresh(predictions, raw, no_answer, has_answer)
        values += [best / 100, threshold]
    first = data[0]["paragraphs"][0]["qas"][0]
    truth = first["answers"][0]["text"] if first["answers"] else ""
    return values + [published_f1(predictions["0"], truth)]


def bootstrap(case):
    """The interval on the same samples, and SciPy's on its own."""
    draw = Stream(5, case)
    values = np.array([draw.below(5) / 4 for _ in range(2 + draw.below(200))])
    means = []
    for sample in range(1000):
        numbers = Stream(case, sample)
        means.append(np.mean([values[numbers.below(len(values))] for _ in range(len(values))]))
    result = scipy.stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile", rng=case)
    own = result.confidence_interval
    return list(np.quantile(means, [0.025, 0.975])) + [own.low, own.high]


def paired(case):
    """The exact p-value of swapping, and McNemar's."""
    draw = Stream(6, case)
    count = 2 + draw.below(8)
    first, second = ([draw.below(4) / 4 for _ in range(count)] for _ in range(2))
    test = scipy.stats.permutation_test(
        (first, second), lambda x, y: np.mean(x) - np.mean(y), permutation_type="samples", n_resamples=np.inf,
    )  # fmt: skip
    only_first, only_second = draw.below(60), draw.below(60)
    table = [[5, only_first], [only_second, 7]]
    return [test.statistic, test.pvalue, float(only_first), float(only_second), mcnemar(table, exact=True).pvalue]


def agreement(case):
    """Cohen's kappa with each weight, and Krippendorff's alpha on each scale with missing ratings."""
    draw = Stream(7, case)
    units, kinds = 2 + draw.below(30), 1 + draw.below(4)
    first = [draw.below(kinds) for _ in range(units)]
    second = [one if draw.below(2) else draw.below(kinds) for one in first]
    labels = list(range(4))
    values = [cohen_kappa_score(first, second, labels=labels, weights=weights)
              for weights in [None, "linear", "quadratic"]]  # fmt: skip
    raters = 2 + draw.below(3)
    ratings = np.array([[math.nan if draw.below(4) == 0 else float(draw.below(kinds)) for _ in range(units)]
                        for _ in range(raters)])  # fmt: skip
    for scale in ["nominal", "ordinal", "interval"]:
        try:
            values.append(krippendorff.alpha(reliability_data=ratings, level_of_measurement=scale))
        except ValueError:  # nothing that can be compared, or one value alone
            values.append(math.nan)
    return values


def randomized(case):
    """p-values of larger samples, which the sampled test must come near."""
    rng = np.random.default_rng(case)
    first, second = rng.integers(0, 2, 200), rng.integers(0, 2, 200)
    second[: 40 * case] = 0
    test = scipy.stats.permutation_test(
        (first, second), lambda x, y: np.mean(x) - np.mean(y), permutation_type="samples", n_resamples=20000, rng=case,
    )  # fmt: skip
    return {"first": "".join(map(str, first)), "second": "".join(map(str, second)), "p": short(test.pvalue)}


def functions(path, *names, **given):
    """Functions of a Python source, without running the rest of it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    space = dict(given)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in names:
            node.returns = None
            for argument in node.args.args:
                argument.annotation = None
            exec(compile(ast.Module([node], []), str(path), "exec"), space)
    return [space[name] for name in names]


class Words:
    """A tokenizer: each run of letters, and each other sign; with or without tokens at the ends, which stand at 0."""

    def __init__(self, start, end):
        self.start, self.end = start, end

    def __call__(self, text, **_):
        offsets = [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]
        offsets = [(0, 0)] * self.start + offsets + [(0, 0)] * self.end
        return {"offset_mapping": offsets, "input_ids": list(range(len(offsets)))}


def published_clip(root):
    """Pieces around sentences by the published code, with its own exceptions."""
    import pandas as pd

    made = []

    class Recorder(Words):
        def __call__(self, text, **options):
            if "text_target" in options:
                made.append(text)
                return {}
            return super().__call__(text)

    source = root / "src/finetuning/preprocess_clip.py"
    for case in range(150):
        draw = Stream(7, case)
        start, end, most = draw.below(2), draw.below(2), 8 + 2 * draw.below(30)
        words = ["Take", "INR", "\u00e9t\u00e9", "with", "Dr", "[**Name 7**]", "on", "2151-7-16"]
        sentences, note = [], ""
        for _ in range(1 + draw.below(8)):
            sentence = " ".join(words[draw.below(len(words))] for _ in range(1 + draw.below(14))) + " ."
            if draw.below(6) == 0:
                sentence = "Rest"
            sentences.append((len(note), len(note) + len(sentence), ""))
            note += sentence + " "
        rows = []
        for sentence in sentences:
            made.clear()
            (chunks,) = functions(source, "split_into_chunks", pd=pd, tqdm=lambda rows, total: rows,
                                  get_span_indicies=functions(source, "get_span_indicies")[0])  # fmt: skip
            frame = pd.DataFrame({"note_id": [1], "text": [note], "labels": [[sentence]]})
            try:
                chunks(Recorder(start, end), frame, False, most)
                rows.append(made[0])
            except (AssertionError, IndexError):
                rows.append(None)
        yield {"kind": "clip", "start": start, "end": end, "most": most, "note": note,
               "sentences": [sentence[:2] for sentence in sentences], "inputs": rows}  # fmt: skip


def deid(root):
    """The published converter, as the module that the other scripts import."""
    sys.path.insert(0, str(root))
    from preprocessing.replace_deid_tags import replace_list_of_notes

    return replace_list_of_notes


def published_radqa(root):
    """Answers by the published script."""
    import pandas as pd

    convert = deid(root)
    (preprocess,) = functions(root / "preprocessing/radqa_preprocessing.py", "preprocess_answers",
                              replace_list_of_notes=convert, pd=pd)  # fmt: skip
    pieces = ["small effusion", " seen by Dr. ", "[**Last Name (un) 7**]", " on ", "[**2151-7-16**]", ". ", "\u00e9 ", "no "]
    for case in range(300):
        draw = Stream(8, case)
        chosen = [pieces[draw.below(len(pieces))] for _ in range(3 + draw.below(9))]
        context = "".join(chosen)
        edges = [len("".join(chosen[:count])) for count in range(len(chosen) + 1)]
        questions = []
        for _ in range(1 + draw.below(4)):
            answers = {"text": [], "answer_start": []}
            for _ in range(draw.below(3)):
                first = draw.below(len(chosen))
                start, end = edges[first], edges[min(first + 1 + draw.below(3), len(chosen))]
                # One in four cuts what stands there, mostly a tag.
                cut = draw.below(4) == 0
                start, end = (start, max(end - 3, start + 1)) if cut else (start, end)
                if context[start:end].strip():
                    answers["text"].append(context[start:end])
                    answers["answer_start"].append(start)
            questions.append(answers)
        new = convert([context], "mimic-iii")[0]
        frame = pd.DataFrame({"orig_context": context, "context": new, "answers": [repr(one) for one in questions]})
        try:
            converted = list(preprocess(frame)["answers"])
        except (ValueError, UnboundLocalError):
            converted = None
        yield {"kind": "radqa", "context": context, "questions": questions, "converted": converted}


def published_mednli(root):
    convert = deid(root)
    (render,) = functions(root / "src/finetuning/preprocess_mednli.py", "format_single_example")
    premises = ["Seen by Dr. [**Last Name 4**].", "Afebrile on [**2151-7-16**]", " \u00e9 ", "At [**Hospital 7**] "]
    for premise in premises:
        for hypothesis in [" He has a fever ", "Saw [**Name**].", "x"]:
            row = render(premise, hypothesis)
            yield {"kind": "mednli", "premise": premise, "hypothesis": hypothesis, "input": row,
                   "tagged": convert([row], "mimic-iii")[0]}  # fmt: skip


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--squad", type=pathlib.Path, required=True)
    arguments.add_argument("--clinical-lms", type=pathlib.Path, required=True)
    arguments = arguments.parse_args()
    official = types.ModuleType("official")
    exec(compile(arguments.squad.read_text(), str(arguments.squad), "exec"), official.__dict__)
    root = arguments.clinical_lms
    gpt = root / "src/finetuning/preprocess_radqa_gpt.py"
    (normalize,) = functions(gpt, "normalize_text")
    (published_f1,) = functions(gpt, "compute_f1", normalize_text=normalize)

    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / "published.jsonl", "w") as file:
        for kind in [published_clip, published_radqa, published_mednli]:
            for row in kind(root):
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
    cases = {
        "classes": [short(classes(case)) for case in range(CASES)],
        "multi_label": [short(multi_label(case)) for case in range(CASES)],
        "entities": [short(entities(case)) for case in range(CASES)],
        "squad": [short(squad(case, official, published_f1)) for case in range(CASES)],
        "bootstrap": [short(bootstrap(case)) for case in range(40)],
        "paired": [short(paired(case)) for case in range(200)],
        "agreement": [short(agreement(case)) for case in range(CASES)],
        "randomized": [randomized(case) for case in range(6)],
        "stream": [str(Stream(7, 3).at(position)) for position in range(2)],
        "tables": {"classes": CLASSES, "tags": TAGS, "pieces": PIECES, "between": BETWEEN},
    }
    with open(OUT / "metrics.json", "w") as file:
        rows = [f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in values) + "\n]"
                for name, values in cases.items() if isinstance(values, list)]  # fmt: skip
        rows.append(f'"tables": {json.dumps(cases["tables"])}')
        file.write("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
