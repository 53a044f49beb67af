//! Chronic conditions and the drugs taken for them.

/// A chronic condition that can stand in the history and as the reason for a drug.
#[derive(Debug)]
pub(crate) struct Condition {
    /// The full name, lower case.
    pub full: &'static str,
    /// The abbreviation, or an empty string when there is none in common use.
    pub abbreviation: &'static str,
    /// Plain words for a lay reader, or an empty string.
    pub plain: &'static str,
}

const fn c(full: &'static str, abbreviation: &'static str, plain: &'static str) -> Condition {
    Condition {
        full,
        abbreviation,
        plain,
    }
}

pub(crate) const HTN: usize = 0;
pub(crate) const CHF: usize = 1;
pub(crate) const COPD: usize = 2;
pub(crate) const DM2: usize = 3;
pub(crate) const CAD: usize = 4;
pub(crate) const AF: usize = 5;
pub(crate) const GERD: usize = 6;
pub(crate) const HLD: usize = 7;
pub(crate) const HYPOTHYROIDISM: usize = 8;
pub(crate) const OA: usize = 9;
pub(crate) const BPH: usize = 10;
pub(crate) const DVT: usize = 11;
pub(crate) const CVA: usize = 12;
pub(crate) const PVD: usize = 13;
pub(crate) const GOUT: usize = 14;
pub(crate) const ASTHMA: usize = 15;
pub(crate) const ANEMIA: usize = 16;
pub(crate) const DEPRESSION: usize = 17;
pub(crate) const ANXIETY: usize = 18;
pub(crate) const OSTEOPOROSIS: usize = 19;
pub(crate) const EPILEPSY: usize = 20;
pub(crate) const INSOMNIA: usize = 21;
pub(crate) const NEUROPATHY: usize = 22;
pub(crate) const MIGRAINE: usize = 23;

/// Conditions; the constants above are indices into this table.
pub(crate) const CONDITIONS: &[Condition] = &[
    c("hypertension", "HTN", "high blood pressure"),
    c("congestive heart failure", "CHF", "a weak heart"),
    c(
        "chronic obstructive pulmonary disease",
        "COPD",
        "long-term lung disease",
    ),
    c("type 2 diabetes mellitus", "DM2", "high blood sugar"),
    c("coronary artery disease", "CAD", "narrowed heart arteries"),
    c("atrial fibrillation", "AF", "an irregular heartbeat"),
    c("gastroesophageal reflux disease", "GERD", "acid reflux"),
    c("hyperlipidemia", "HLD", "high cholesterol"),
    c("hypothyroidism", "", "an underactive thyroid"),
    c("osteoarthritis", "OA", "worn joints"),
    c(
        "benign prostatic hyperplasia",
        "BPH",
        "an enlarged prostate",
    ),
    c("deep vein thrombosis", "DVT", "a blood clot in the leg"),
    c("cerebrovascular accident", "CVA", "a stroke"),
    c(
        "peripheral vascular disease",
        "PVD",
        "poor circulation in the legs",
    ),
    c("gout", "", ""),
    c("asthma", "", ""),
    c("anemia", "", "a low red blood cell count"),
    c("depression", "", ""),
    c("anxiety", "", ""),
    c("osteoporosis", "", "weak bones"),
    c("epilepsy", "", "a seizure disorder"),
    c("insomnia", "", "trouble sleeping"),
    c("neuropathy", "", "nerve damage"),
    c("migraine", "", ""),
    c("chronic kidney disease", "CKD", "long-term kidney damage"),
    c(
        "obstructive sleep apnea",
        "OSA",
        "breathing pauses during sleep",
    ),
    c("transient ischemic attack", "TIA", "a mini-stroke"),
    c("myocardial infarction", "MI", "a heart attack"),
    c("pulmonary embolism", "PE", "a blood clot in the lung"),
    c("end stage renal disease", "ESRD", "kidney failure"),
    c("rheumatoid arthritis", "RA", "inflamed joints"),
    c("multiple sclerosis", "MS", "a nerve disease"),
    c("cirrhosis", "", "a scarred liver"),
    c("glaucoma", "", "high eye pressure"),
];

/// A drug that can stand in the discharge medications.
#[derive(Debug)]
pub(crate) struct Drug {
    /// Generic name, lower case.
    pub name: &'static str,
    /// Usual doses in `unit`.
    pub doses: &'static [&'static str],
    /// `mg`, `mcg`, `units` or `puffs`.
    pub unit: &'static str,
    /// Indices into [`CONDITIONS`].
    pub indications: &'static [usize],
    /// Indices into [`FREQUENCIES`].
    pub frequencies: &'static [usize],
}

const fn d(
    name: &'static str,
    doses: &'static [&'static str],
    unit: &'static str,
    indications: &'static [usize],
    frequencies: &'static [usize],
) -> Drug {
    Drug {
        name,
        doses,
        unit,
        indications,
        frequencies,
    }
}

/// How often a drug is taken: dotted form, capital form, plain words.
pub(crate) const FREQUENCIES: &[(&str, &str, &str)] = &[
    ("daily", "daily", "once daily"),
    ("b.i.d.", "BID", "twice daily"),
    ("t.i.d.", "TID", "three times daily"),
    ("q.i.d.", "QID", "four times daily"),
    ("q.h.s.", "QHS", "at bedtime"),
    ("q.6h.", "Q6H", "every 6 hours"),
    ("q.8h.", "Q8H", "every 8 hours"),
    ("weekly", "weekly", "once weekly"),
];

/// Discharge drugs.
pub(crate) const DRUGS: &[Drug] = &[
    d(
        "metoprolol",
        &["12.5", "25", "50", "100"],
        "mg",
        &[HTN, AF, CAD],
        &[0, 1],
    ),
    d(
        "lisinopril",
        &["2.5", "5", "10", "20", "40"],
        "mg",
        &[HTN, CHF],
        &[0],
    ),
    d("amlodipine", &["2.5", "5", "10"], "mg", &[HTN], &[0]),
    d("losartan", &["25", "50", "100"], "mg", &[HTN], &[0]),
    d("hydrochlorothiazide", &["12.5", "25"], "mg", &[HTN], &[0]),
    d("furosemide", &["20", "40", "80"], "mg", &[CHF], &[0, 1]),
    d(
        "carvedilol",
        &["3.125", "6.25", "12.5", "25"],
        "mg",
        &[CHF, HTN],
        &[1],
    ),
    d("spironolactone", &["12.5", "25", "50"], "mg", &[CHF], &[0]),
    d("digoxin", &["125", "250"], "mcg", &[AF, CHF], &[0]),
    d("diltiazem", &["30", "60", "120"], "mg", &[AF], &[0, 3]),
    d(
        "warfarin",
        &["1", "2", "2.5", "5", "7.5"],
        "mg",
        &[AF, DVT],
        &[0, 4],
    ),
    d("apixaban", &["2.5", "5"], "mg", &[AF, DVT], &[1]),
    d("aspirin", &["81", "325"], "mg", &[CAD, CVA], &[0]),
    d("clopidogrel", &["75"], "mg", &[CAD, PVD, CVA], &[0]),
    d(
        "atorvastatin",
        &["10", "20", "40", "80"],
        "mg",
        &[HLD, CAD],
        &[0, 4],
    ),
    d("simvastatin", &["10", "20", "40"], "mg", &[HLD], &[0, 4]),
    d("metformin", &["500", "850", "1000"], "mg", &[DM2], &[0, 1]),
    d("glipizide", &["2.5", "5", "10"], "mg", &[DM2], &[0, 1]),
    d(
        "glargine",
        &["8", "10", "15", "20", "30"],
        "units",
        &[DM2],
        &[0, 4],
    ),
    d(
        "levothyroxine",
        &["25", "50", "75", "100", "125"],
        "mcg",
        &[HYPOTHYROIDISM],
        &[0],
    ),
    d("omeprazole", &["20", "40"], "mg", &[GERD], &[0, 1]),
    d("pantoprazole", &["20", "40"], "mg", &[GERD], &[0, 1]),
    d("albuterol", &["1", "2"], "puffs", &[COPD, ASTHMA], &[5, 6]),
    d("tiotropium", &["18"], "mcg", &[COPD], &[0]),
    d("montelukast", &["10"], "mg", &[ASTHMA], &[0, 4]),
    d(
        "prednisone",
        &["5", "10", "20", "40"],
        "mg",
        &[COPD, ASTHMA, GOUT],
        &[0],
    ),
    d("allopurinol", &["100", "200", "300"], "mg", &[GOUT], &[0]),
    d("colchicine", &["0.6", "1.2"], "mg", &[GOUT], &[0, 1]),
    d("tamsulosin", &["0.4", "0.8"], "mg", &[BPH], &[0, 4]),
    d(
        "sertraline",
        &["25", "50", "100"],
        "mg",
        &[DEPRESSION, ANXIETY],
        &[0],
    ),
    d("citalopram", &["10", "20", "40"], "mg", &[DEPRESSION], &[0]),
    d(
        "lorazepam",
        &["0.5", "1", "2"],
        "mg",
        &[ANXIETY],
        &[1, 2, 4],
    ),
    d("trazodone", &["25", "50", "100"], "mg", &[INSOMNIA], &[4]),
    d(
        "gabapentin",
        &["100", "300", "600"],
        "mg",
        &[NEUROPATHY],
        &[1, 2],
    ),
    d(
        "levetiracetam",
        &["250", "500", "750", "1000"],
        "mg",
        &[EPILEPSY],
        &[1],
    ),
    d(
        "acetaminophen",
        &["325", "500", "650"],
        "mg",
        &[OA],
        &[5, 6],
    ),
    d(
        "ibuprofen",
        &["200", "400", "600"],
        "mg",
        &[OA, MIGRAINE],
        &[2, 6],
    ),
    d("alendronate", &["35", "70"], "mg", &[OSTEOPOROSIS], &[7]),
    d("ferrous sulfate", &["325"], "mg", &[ANEMIA], &[0, 1, 2]),
    d(
        "topiramate",
        &["25", "50", "100"],
        "mg",
        &[MIGRAINE, EPILEPSY],
        &[1],
    ),
];

/// Doses that any drug may be given, so that the dose cannot be guessed from the name.
pub(crate) const ANY_DOSE: &[&str] = &[
    "1", "2", "2.5", "4", "5", "7.5", "8", "10", "12.5", "15", "20", "25", "30", "35", "40", "45",
    "50", "60", "75", "80", "90", "100", "120", "125", "150", "175", "200", "225", "240", "250",
    "300", "350", "400", "450", "500", "550", "600", "650", "700", "750", "800", "900",
];
