//! Blood tests, names and short lists.

/// A blood test: the short name in the note, the full name in questions, whole and decimal range.
#[derive(Debug)]
pub(crate) struct Lab {
    /// As written in the note.
    pub short: &'static str,
    /// As asked for.
    pub full: &'static str,
    /// Smallest value, in steps of one unit of the last printed digit.
    pub low: u64,
    /// Largest value, same unit.
    pub high: u64,
    /// Whether one decimal is printed.
    pub decimal: bool,
}

const fn l(short: &'static str, full: &'static str, low: u64, high: u64, decimal: bool) -> Lab {
    Lab {
        short,
        full,
        low,
        high,
        decimal,
    }
}

/// Blood tests.
pub(crate) const LABS: &[Lab] = &[
    l("Na", "sodium", 121, 152, false),
    l("K", "potassium", 26, 61, true),
    l("Cr", "creatinine", 5, 58, true),
    l("BUN", "blood urea nitrogen", 7, 89, false),
    l("WBC", "white blood cell count", 21, 248, true),
    l("Hgb", "hemoglobin", 61, 168, true),
    l("Plt", "platelet count", 41, 489, false),
    l("Glu", "glucose", 58, 489, false),
    l("INR", "international normalized ratio", 9, 48, true),
    l("Mg", "magnesium", 11, 29, true),
    l("AST", "aspartate aminotransferase", 11, 389, false),
    l("BNP", "brain natriuretic peptide", 51, 989, false),
];

/// Surnames for patients and clinicians.
pub(crate) const SURNAMES: &[&str] = &[
    "Abbott", "Alvarez", "Archer", "Bailey", "Barker", "Bennett", "Bishop", "Boyd", "Brooks",
    "Carver", "Chan", "Clarke", "Cohen", "Cooper", "Cruz", "Dalton", "Diaz", "Dixon", "Ellis",
    "Evans", "Fischer", "Flores", "Foster", "Garcia", "Gibson", "Grant", "Greene", "Gupta", "Hale",
    "Harper", "Hayes", "Hoffman", "Holt", "Hunter", "Ibarra", "Iyer", "Jensen", "Jordan", "Kaplan",
    "Keller", "Khan", "Kim", "Klein", "Lambert", "Larsen", "Lee", "Lopez", "Marsh", "Mason",
    "Meyer", "Mills", "Moreno", "Murphy", "Nash", "Ng", "Nolan", "Norris", "Olsen", "Ortiz",
    "Osman", "Park", "Parker", "Patel", "Pierce", "Porter", "Quinn", "Ramos", "Reed", "Reyes",
    "Rossi", "Russo", "Santos", "Shah", "Silva", "Singh", "Sloan", "Stone", "Suzuki", "Tanaka",
    "Torres", "Tucker", "Turner", "Vance", "Vargas", "Wagner", "Walsh", "Weber", "Wong", "Yates",
    "Young",
];

/// Substances a patient may be allergic to.
pub(crate) const ALLERGENS: &[&str] = &[
    "penicillin",
    "sulfa",
    "codeine",
    "latex",
    "iodine",
    "shellfish",
    "peanuts",
    "erythromycin",
    "tetracycline",
    "naproxen",
];

/// What may stand in the allergies and is no drug.
pub(crate) const NOT_DRUGS: &[&str] = &["NKDA", "latex", "iodine", "shellfish", "peanuts"];

/// Where the patient goes.
pub(crate) const DISPOSITIONS: &[&str] = &[
    "home",
    "home with services",
    "a rehabilitation center",
    "a skilled nursing facility",
    "home hospice",
    "a long term care facility",
];

/// Consulting specialties.
pub(crate) const SPECIALTIES: &[&str] = &[
    "nephrology",
    "pulmonology",
    "gastroenterology",
    "endocrinology",
    "hematology",
    "psychiatry",
    "urology",
    "infectious disease",
    "physical therapy",
    "nutrition",
];

/// What a consultant may advise.
pub(crate) const ADVICE: &[&str] = &[
    "a low salt diet",
    "daily weights",
    "early ambulation",
    "a repeat chest film",
    "outpatient follow-up",
    "fluid restriction",
    "no further testing",
    "a soft diet",
    "close monitoring",
    "a repeat blood count",
];

/// The tests that [`ADVICE`] speaks of.
pub(crate) const TESTS_IN_ADVICE: &[&str] = &["chest film", "blood count"];

/// Abbreviations that are not conditions, procedures, labs or frequencies: short form, full form.
pub(crate) const OTHER_ABBREVIATIONS: &[(&str, &str)] = &[
    ("NKDA", "no known drug allergies"),
    ("PCP", "primary care physician"),
    ("PMH", "past medical history"),
    ("HPI", "history of present illness"),
    ("ED", "emergency department"),
    ("ICU", "intensive care unit"),
];
