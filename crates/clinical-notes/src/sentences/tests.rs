use super::sentences;

fn split(text: &str) -> Vec<&str> {
    sentences(text)
        .into_iter()
        .map(|range| &text[range])
        .collect()
}

/// Each case is a text whose sentences are separated by `|`.
fn check(cases: &[&str]) {
    for case in cases {
        let expected: Vec<_> = case.split('|').map(str::trim).collect();
        assert_eq!(split(&case.replace('|', "")), expected, "{case}");
    }
}

#[test]
fn stops_and_abbreviations() {
    check(&[
        "Pt seen by Dr. Lee. | No fever.",
        "ASA 81 mg p.o. q.d. | Lasix 20 mg p.o. b.i.d. | He tolerated it.",
        "Na 138. | K 4.5 and Cr 1.2 today. | BP 120/80. | 98% on RA.",
        "Given 2 L i.v. fluids, e.g. Ringer's. | Vs. before, better.",
        "Hepatitis C. | The liver is large.",
        "Seen by J. R. Smith and A. Jones.",
        "Was fever-free (since 5 a.m.). | Will go home!",
        "Worse? | Call us. | ?pneumonia, ? edema.",
        "pt alert. | lungs clear. | abd. soft.",
        "Stable.|He went home.",
        "It hurts... | Then it stops. | and then...it returns.",
    ]);
}

#[test]
fn tags_are_never_cut() {
    check(&[
        "Dr. [**Last Name (un. B. A) 12**] came. | [**2150-1-2**] was quiet.",
        "Seen at [**Hospital 1.\nWest**] today. | Then home.",
        "Call [Name] at [#]. | Seen in [LOC] by [Name] . | [YR] labs ok.",
        "[Reg#] and [State]. | [MISC] is done.",
    ]);
    assert_eq!(split("[** Sent. Bed\n\nHome. Now **]").len(), 4); // no tag: a blank line inside
}

#[test]
fn lines_lists_and_headers() {
    check(&[
        "Service: MEDICINE\n|\nAllergies:\n|Penicillin",
        "Meds:\n|1. Lasix 20 mg.\n|2. ASA\n|3) Iron",
        "Plan:\n|- rest. | Eat.\n|- home",
        "1. Asthma 2 puffs |2. Gout |3. HTN",
        "Admission Date:  [**2150-1-2**]     |  Discharge Date:  [**2150-1-9**]",
        "Aspirin 81 mg\n|Lisinopril 10 mg\n|Atorvastatin 20 mg",
        "-----\n|Signed\n|_____",
    ]);
}

#[test]
fn wrapped_prose_is_joined() {
    check(&[
        "The patient is a 60 year old man with two days of cough and\nfever who was seen by Dr.\nSmith in clinic. | He \
         was given\nlevofloxacin and sent home with close follow up in one week by\nPulmonary medicine.",
        "Lives with wife,\nJane, and\nthe dog",
    ]);
}

#[test]
fn empty_and_blank_texts_have_no_sentences() {
    for text in ["", " ", "\n\n\t", "\u{3000}"] {
        assert!(split(text).is_empty(), "{text:?}");
    }
    assert_eq!(split("."), ["."]);
    assert_eq!(split(" a "), ["a"]);
}

#[test]
fn hostile_texts_take_linear_time() {
    for unit in [
        "[**",
        ".",
        ". ",
        "a.",
        "1.Ab.",
        "(.",
        "\n",
        "\n\n",
        "1. ",
        "A:",
        "A:\n",
        "   A: ",
        ".\"",
        "- ",
        "\t",
        "a\n",
        "Aa. ",
        "[**a**]",
        "[** ",
        "e.g. ",
        "\u{1F600}.",
    ] {
        let text = unit.repeat((1 << 20) / unit.len());
        sentences(&text);
    }
}
