"""Invented clinical-sounding text and hard strings for the tokenizer fixtures.

Everything here is made up by the authors of this repository. Nothing comes from a patient record.
"""

import random

DEID_TAGS = [
    "[#]", "[Age]", "[CI]", "[Company]", "[Country]", "[DAY]", "[DR]", "[LOC]",
    "[MISC]", "[MO]", "[Name]", "[Reg#]", "[State]", "[URL]", "[YR]",
]

_WHO = ["The patient", "She", "He", "This pleasant man", "This young woman", "Mrs Hill", "Mr Stone"]
_DID = ["was admitted with", "presented with", "complained of", "was treated for", "denies", "has a history of",
        "was transferred because of", "was followed for", "recovered from", "reported worsening"]
_WHAT = ["chest pain", "shortness of breath", "atrial fibrillation", "type 2 diabetes mellitus", "pneumonia",
         "hypertension", "acute kidney injury", "a fall at home", "gastrointestinal bleeding", "sepsis",
         "hyperlipidemia", "congestive heart failure", "an elevated troponin", "abdominal pain", "syncope",
         "chronic obstructive pulmonary disease", "hyponatremia", "a left hip fracture", "fever and chills"]
_AND = ["and was started on", "and received", "and continued", "and was discharged on", "and could not tolerate"]
_DRUG = ["metoprolol 25 mg PO BID", "furosemide 40 mg IV daily", "aspirin 81 mg", "heparin drip", "lisinopril 10 mg",
         "insulin glargine 12 units", "vancomycin 1 g q12h", "warfarin with INR goal 2-3", "atorvastatin 80 mg",
         "acetaminophen 650 mg q6h prn", "levofloxacin 750 mg x 5 days", "normal saline 0.9 % at 75 mL/hr"]
_LAB = ["WBC 12.4", "Hgb 9.8", "Na 131", "K 4.1", "Cr 1.7", "glucose 214", "lactate 2.2", "BNP 1,840", "INR 2.6"]
_HEAD = ["Chief Complaint:", "History of Present Illness:", "Hospital Course:", "Discharge Medications:",
         "Physical Exam:", "Pertinent Results:", "Assessment and Plan:", "Discharge Instructions:"]


def sentence(rng: random.Random) -> str:
    kind = rng.randrange(6)
    if kind == 0:
        return f"{rng.choice(_HEAD)} {rng.choice(_WHAT)}."
    if kind == 1:
        return "Labs: " + ", ".join(rng.sample(_LAB, 3)) + f" on day {rng.randrange(1, 15)}."
    if kind == 2:
        return (f"Vitals: T {rng.randrange(96, 103)}.{rng.randrange(10)} BP {rng.randrange(90, 180)}/"
                f"{rng.randrange(50, 100)} HR {rng.randrange(50, 130)} SpO2 {rng.randrange(88, 100)}% on RA.")
    if kind == 3:
        return f"Follow up in {rng.randrange(2, 12)} weeks; call if {rng.choice(_WHAT)} returns."
    end = f" {rng.choice(_AND)} {rng.choice(_DRUG)}" if rng.random() < 0.7 else ""
    return f"{rng.choice(_WHO)} {rng.choice(_DID)} {rng.choice(_WHAT)}{end}."


def training_sentences(count: int = 3000, seed: int = 7) -> list[str]:
    """Plain text for the small models: sentences with accents, digits and a few runs of spaces."""
    rng = random.Random(seed)
    out = []
    for _ in range(count):
        text = sentence(rng)
        if rng.random() < 0.06:
            text = text.replace(" ", "  ", 2)
        if rng.random() < 0.05:
            text += " Café au lait spots, naïve T cells, 37 °C, 5 µg."
        out.append(text)
    return out


# Each group is there for one trap; the comment names it.
_FIXED = [
    # empty and blank
    "", " ", "  ", "   ", "\n", "\t", "\r\n", " \n ", "\n\n\n", "\u00a0", "\u3000", "\u2003\u2009", "\u2028", "\u2029",
    # one character
    "a", "A", ".", "0", "▁", "é", "你", "😀", "\u0301", "\u200b", "\ufeff", "\x00", "\x7f", "\u0085", "\ufffd",
    # leading and trailing blanks, runs of blanks
    " hello", "hello ", "  hello", "hello  ", " hello world ", "a  b", "a   b", "a    b     c", "   lead and   trail   ",
    "tab\tseparated\tvalues", "line one\nline two", "line one\r\nline two\r\n", "para\n\npara\n\n\npara", " \t \n mix \r\n ",
    "a \n b", "a\n b", "a \nb", "wide\u3000space", "nbsp\u00a0here", "thin\u2009space", "zero\u200bwidth", "soft\u00adhyphen",
    "sep\u2028line\u2029para", "vt\x0bff\x0cfs\x1cgs\x1drs\x1eus\x1f", "nel\u0085end", "bom\ufeff inside", "nul\x00inside",
    # the marker of SentencePiece in the text
    "▁", "▁▁", "a▁b", "▁hello", "hello▁", "▁ hello", " ▁hello", "under_score _x_ __init__",
    # NFKC: ligatures, full width, superscripts, compatibility letters
    "ﬁnding of ﬂuid, oﬃce, ﬀ", "ＡＢＣ１２３", "ｆｕｌｌ　ｗｉｄｔｈ", "10⁹/L and m² and H₂O", "½ tablet, ¼ dose, ⅓",
    "Ångström", "A\u030angstro\u0308m", "Å", "№ 5", "℃ vs °C", "µg vs μg", "Ⅳ access Ⅻ", "①②③", "㎎ ㎖ ㏄", "™ ® ©", "ﷺ", "…", "‥",
    "‘single’ “double” „low‟", "–en —em ‐hyphen −minus", "ǆ ǅ Ǆ", "ſharp ẞ ß ŒŒ œ", "ﬅ ﬆ", "ŉ", "İstanbul ı I i", "ΑΣ ΟΔΟΣ σς",
    # combining marks
    "cafe\u0301", "café", "e\u0301\u0301", "n\u0303o", "a\u0328\u0301", "a\u0301\u0328", "\u0301 start", "x\u0338y", "o\u0302\u0323", "ộ",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞", "\u1100\u1161\u11a8", "각", "\u0915\u094d\u0937\u093f", "ก็",
    # emoji
    "😀", "👩‍⚕️", "👨‍👩‍👧‍👦 family", "🏥🚑💉💊", "👍🏽", "🇩🇪🇫🇷", "❤️ vs ❤", "1️⃣", "pain 😢😢 bad",
    # scripts
    "你好，世界", "患者は頭痛を訴えた。", "환자는 두통", "пациент жалуется", "ασθενής", "المريض يعاني", "שלום עולם", "mixed עברית and English",
    "\u202eoverride\u202c", "ไทย", "हिन्दी", "𠀀𠀁 𫠝", "豈更", "𝒜𝓑 𝟘𝟙", "ᏣᎳᎩ", "𐍈𐍉", "\U0010ffff", "\ue000", "\ufdd0",
    # control characters
    "\x01\x02\x03", "bell\x07", "esc\x1b[31m", "del\x7fdel", "c1\x80\x9f",
    # text that looks like special tokens
    "</s>", "<s>", "<s> hello", "hello </s>", "hello</s>world", "<s></s>", "</s></s>", "<unk>", "a <unk> b", "a<unk>b", "<pad>", "<pad><pad>",
    "[CLS] x [SEP]", "[MASK]", "a[MASK]b", "[UNK]", "[cls]", "[PAD] [PAD]", "</S>", "< /s>", "<0x0A>", "<0x41>", "a<0xE4>b",
    "<extra_id_0>", "The <extra_id_0> walks in <extra_id_1> park", "a<extra_id_1>b", "<extra_id_99><extra_id_98>", "<extra_id_100>",
    "  <extra_id_0>  ", "<extra_id_0>\n<extra_id_1>", "<extra_id_>", "<extra_id_5", "extra_id_5>",
    # added tags beside letters, blanks and each other
    "[Name]", "[Name] ", " [Name]", "  [Name]  ", "at [Company]", "at [Company] now", "at[Company]now", "at  [Company]  now", "[Name][Reg#]",
    "[Name] [Reg#]", "[Name]  [Reg#]", "[name]", "[NAME]", "[ Name ]", "[Name", "Name]", "[[Name]]", "[Name]'s", "Dr. [Name], [LOC].",
    "My name is  [Name]", "[#]", "call [#] or [CI]", "[DR]-[DR]", "\n[Name]\n", "\t[YR]\t", "[Name]\u00a0x", "x\u00a0[Name]", "[Reg#",
    "[Name]<extra_id_0>[Age]", "[Name]</s>", "<s>[Name]", "e\u0301[Name]e\u0301", "😀[Name]😀", "[Name]▁[Name]", "[DAY][MO][YR]",
    # user-defined symbols of the odd models
    "<mask>", "a<mask>b", "<cls>x", "[Dx]", "fever[Dx]cough", " [Dx] ", "[Dx][Dx]", "<sep> <cls>",
    # long words, digits, units, punctuation
    "a" * 99, "a" * 100, "a" * 101, "pneumonoultramicroscopicsilicovolcanoconiosis", "x" * 260, "9" * 40, "ab" * 60,
    "-" * 30, "_" * 30, "." * 25, "=" * 12, "!?!?!?", "....", ". . .", "don't can't I'm we've they're it's 'm 's", "( a ) , b . c ; d : e ! f ?",
    "BP 120/80 mmHg, HR 72, T 98.6 F", "WBC 12.4*, Hgb 9.8, plt 231,000", "5mg PO q.d. x3d", "10-20 mL/kg/h", "3+ edema; 2/6 SEM @ LSB",
    "pH 7.35 / pCO2 45 / HCO3- 24", "~50% EF (55-60%)", "O2 sat 98% on 2L NC", "s/p CABG x4 c/b AFib w/ RVR", "#1. CHF: cont. Lasix 40mg IV BID",
    "Abnormality", "ABNORMALITY abnormality", "CAPS lower MiXeD", "12/03/2151 14:05:59", "1,234.56", "1.0e-5", "http://example.org/a?b=c&d=%20", "user@example.org",
    "[Discharge Summary Begin]\nPatient was well.\n[Discharge Summary End]", "[Instruction End] \n", "[Instruction End]\n",
    "mednli premise: He is well hypothesis: He is ill.", "question: What? context: The answer.",
]

_ATOMS = [
    "fever", "Patient", "mg", "120/80", "CHF", "é", "ﬁ", "Å", "😀", "你", "²", "\u0301", "[Name]", "[Reg#]", "[LOC]", "<extra_id_0>", "<extra_id_1>",
    "</s>", "<s>", "<unk>", "[MASK]", "[SEP]", "<mask>", "[Dx]", "▁", ".", ",", "'s", "n't", "-", "/", "\u200d", "\ufe0f", "ß", "İ", "א", "\x00", "\x1f", "hypertension",
    "5", "10", "mmHg", "\u3000", "ＡＢ", "a", "I", "the",
]
_GLUE = ["", "", " ", " ", " ", "  ", "   ", "\n", "\t", "\r\n", "\u00a0", " \n"]


def corpus(combinations: int = 240, seed: int = 20240229) -> list[str]:
    """Hard strings: the fixed ones above, then seeded combinations of atoms, then plain sentences."""
    rng = random.Random(seed)
    out = list(dict.fromkeys(_FIXED))
    for _ in range(combinations):
        parts = [rng.choice(_GLUE)] if rng.random() < 0.3 else []
        for _ in range(rng.randrange(2, 9)):
            parts.append(rng.choice(_ATOMS))
            parts.append(rng.choice(_GLUE))
        if rng.random() < 0.7:
            parts.pop()
        out.append("".join(parts))
    for _ in range(30):
        text = sentence(rng)
        out.append(text.replace("The patient", "[Name]").replace("home", "[LOC]"))
    return out


def long_text(lines: list[str], repeats: int) -> str:
    """One long note, put together in a way that a test can repeat without storing it."""
    return "\n".join(" ".join(lines) for _ in range(repeats))
