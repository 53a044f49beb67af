"""The published MIMIC tag converter in plain Python, and the files clinical-deid makes from Python.

    python scripts/deid_reference.py check      # this file against the golden pairs in the crate
    python scripts/deid_reference.py tables     # writes crates/clinical-deid/src/python/tables.rs
    python scripts/deid_reference.py fixtures   # writes crates/clinical-deid/tests/data/{python_chars,deid_random}.*

Only the standard library is used. The rules are those of `convert_deid_tags.py` of the PhysioNet
release clinical-t5/1.0.0, written again from their description. The tables depend on the Unicode
version of the Python that runs this; the generated files name it.
"""

import json
import random
import re
import sys
import unicodedata
from pathlib import Path

CRATE = Path(__file__).resolve().parent.parent / "crates" / "clinical-deid"
SEED = 20151

# The order decides: the first key found in a body wins.
KEYS = [
    ("First Name", "[Name]"), ("Last Name", "[Name]"), ("Clip Number (Radiology)", "[Reg#]"),
    ("Hospital", "[Company]"), ("Numeric Identifier", "[Reg#]"), ("Location", "[LOC]"),
    ("Initials", "[Name]"), ("Known lastname", "[Name]"), ("Known firstname", "[Name]"),
    ("Age over 90", "[Age]"), ("Medical Record Number", "[Reg#]"), ("Telephone/Fax", "[#]"),
    ("Name", "[Name]"), ("Street Address", "[LOC]"), ("Date Range", "[DR]"),
    ("Date range", "[DR]"), ("Serial Number", "[#]"), ("Social Security Number", "[#]"),
    ("State", "[State]"), ("E-mail address", "[CI]"), ("Company", "[Company]"),
    ("Pager number", "[#]"), ("Country", "[Country]"), ("MD Number", "[Reg#]"),
    ("Wardname", "[LOC]"), ("College", "[Company]"), ("Apartment Address", "[LOC]"),
    ("URL", "[URL]"), ("CC Contact Info", "[CI]"), ("Attending Info", "[CI]"),
    ("Job Number", "[Reg#]"), ("Year", "[YR]"), ("Month", "[MO]"), ("Day", "[DAY]"),
    ("Holiday", "[DAY]"), ("Unit Number", "[Reg#]"), ("PO Box", "[LOC]"),
    ("Dictator Info", "[CI]"), ("Provider Number", "[#]"),
]
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
]
ENTITY_TYPES = {
    "URL": "[URL]", "ORGANIZATION": "[Company]", "AGE": "[Age]", "NAME": "[Name]",
    "PROFESSION": "[MISC]", "ID": "[Reg#]", "EMAIL": "[CI]", "LOCATION": "[LOC]",
    "CONTACT": "[CI]", "DATE": "[DR]", "MISC": "[MISC]",
}
TAG = re.compile(r"\[\*\*(.*?)\*\*\]")
RUN = re.compile(r"____*")


class Unknown(Exception):
    """A tag the published converter has no rule for; `at` is its position in characters."""

    def __init__(self, at=None):
        super().__init__("unknown tag")
        self.at = at


def convert_body(body):
    """What replaces a MIMIC-III tag with this body; raises Unknown where the published code does."""
    for key, token in KEYS:
        if key in body or key.lower() in body:
            return token
    if body.count("-") == 2:
        return body
    if body.strip().isnumeric():
        return "[Reg#]"
    if body.replace("-", "").replace("/", "").isnumeric():
        return body
    if any(month in body for month in MONTHS):
        return body
    if body.strip() == "":
        return ""
    raise Unknown


def splice(text, matches, replace):
    """Replaces the matches; the pieces that are not empty are joined with one space."""
    pieces, last = [], 0
    for index, match in enumerate(matches):
        pieces.append(text[last:match.start()])
        pieces.append(replace(index, match))
        last = match.end()
    pieces.append(text[last:])
    return " ".join(piece for piece in pieces if piece != "")


def mimic_iii(text, unknown="error"):
    """One MIMIC-III note; `unknown` is what to do with an unknown tag: error, keep (body) or misc."""

    def replace(_, match):
        try:
            return convert_body(match[1])
        except Unknown:
            if unknown == "keep":
                return match[1]
            if unknown == "misc":
                return "[MISC]"
            raise Unknown(match.start()) from None

    return splice(text, TAG.finditer(text), replace)


def mimic_iv(text, types):
    """One MIMIC-IV note and the entity types of its underscore runs, in order."""
    return splice(
        text, RUN.finditer(text),
        lambda i, _: ENTITY_TYPES[types[i]] if i < len(types) else "[MISC]",
    )


def check():
    """Compares this file with the golden pairs made by running the published code."""
    total = 0
    for line in (CRATE / "tests/data/deid_golden.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        try:
            if "input_list" in case:
                got, want = [mimic_iii(note) for note in case["input_list"]], case["output_list"]
            elif case["mode"] == "tag":
                got, want = convert_body(case["input"]), case["output"]
            elif case["mode"] == "mimic-iv":
                got, want = mimic_iv(case["input"], case["entity_types"]), case["output"]
            else:
                got, want = mimic_iii(case["input"]), case["output"]
        except (Unknown, KeyError):
            got, want = None, case["output"]
        if got != want:
            raise SystemExit(f"golden case differs: {line}")
        total += 1
    print(f"{total} golden cases agree")


def ranges(accept):
    """Inclusive ranges of the code points that `accept` takes."""
    found = []
    for code in range(sys.maxunicode + 1):
        if accept(chr(code)):
            if found and found[-1][1] == code - 1:
                found[-1][1] = code
            else:
                found.append([code, code])
    return found


def rust_table(name, doc, found):
    """A Rust constant of inclusive ranges, in rustfmt's own layout."""
    rows = "".join(f"    (0x{low:04X}, 0x{high:04X}),\n" for low, high in found)
    return f"/// {doc}\npub(super) const {name}: [(u32, u32); {len(found)}] = [\n{rows}];\n"


def tables():
    """Writes the Rust table of Python's `str.isnumeric`."""
    version = unicodedata.unidata_version
    text = (
        "// Generated by `python scripts/deid_reference.py tables`; do not edit.\n"
        f"// Python's own tables, Unicode {version}, as inclusive ranges of code points.\n\n"
        + rust_table("NUMERIC", "Characters that `str.isnumeric` accepts.", ranges(str.isnumeric))
    )
    (CRATE / "src/python/tables.rs").write_text(text, encoding="utf-8", newline="\n")


def random_note(rng):
    """A short hostile string of tag parts, keys, numbers and odd characters."""
    keys = [key for key, _ in KEYS]
    parts = ["[**", "**]", "[**", "**]", "[**", "**]", "[", "]", "*", "**", " ", " ", "\n", "\r",
             "\x0b", "\x1c", "\x85", "\u2028", "\u00a0", "-", "-", "/", "7", "16", "2151", "\u00bd",
             "\u4e00", "\u0663", "\u2167", "\U0001d7d8", "\u5146", "e\u0301", "\U0001f3e5", "(un)",
             "patient", "Ethnicity", "___", "_", ".", ":", "x", "X"]
    out = []
    for _ in range(rng.randint(1, 14)):
        kind = rng.random()
        if kind < 0.25:
            body = rng.choice([
                rng.choice(keys), rng.choice(keys).lower(), rng.choice(keys).upper(),
                rng.choice(MONTHS) + " 5", rng.choice(MONTHS).lower(), " ", "", "7-16", "2151-7-16",
                "12/2151", "\u00bd", " 44 ", "\x1f9\x1c", "Ethnicity 3", "7.16", "Sept 5", "-",
            ])
            out.append(f"[**{body}{rng.choice(['', ' ', ' 12', '(1) 5'])}**]")
        else:
            out.append(rng.choice(parts))
    return "".join(out)


def fixtures():
    """Writes the list of Python's character classes and random notes with their results."""
    data = CRATE / "tests/data"
    lines = [f"# Unicode {unicodedata.unidata_version}: code points accepted by Python, one a line"]
    for name, accept in [("isnumeric", str.isnumeric), ("isspace", str.isspace)]:
        lines.append(f"# {name}")
        lines += [f"{code:X}" for code in range(sys.maxunicode + 1) if accept(chr(code))]
    (data / "python_chars.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")

    rng = random.Random(SEED)
    with open(data / "deid_random.jsonl", "w", encoding="utf-8", newline="\n") as out:
        for _ in range(600):
            note = random_note(rng)

            def byte(at):
                return len(note[:at].encode())

            case = {"input": note, "output": None, "error_at": None}
            try:
                case["output"] = mimic_iii(note)
            except Unknown as error:
                case["error_at"] = byte(error.at)
            case["keep"] = mimic_iii(note, "keep")
            case["misc"] = mimic_iii(note, "misc")
            case["mimic_iv"] = mimic_iv(note, ["NAME", "DATE"])
            case["tags"] = [[byte(m.start()), byte(m.end())] for m in TAG.finditer(note)]
            out.write(json.dumps(case) + "\n")


if __name__ == "__main__":
    commands = {"check": check, "tables": tables, "fixtures": fixtures}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        raise SystemExit(__doc__)
    commands[sys.argv[1]]()
