//! The closed vocabulary of the generator: every word in a synthetic note comes from here.
//!
//! All of it was written for this crate. It is meant to look like a discharge summary, not to be
//! correct medicine: doses are often drawn at random so that a model has to read the note.

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

/// A principal diagnosis with what usually belongs to it.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    /// Name, lower case.
    pub name: &'static str,
    /// Plain words, or an empty string.
    pub plain: &'static str,
    /// Symptoms at presentation.
    pub complaints: &'static [&'static str],
    /// Treatments given in hospital.
    pub treatments: &'static [&'static str],
    /// Indices into [`PROCEDURES`].
    pub procedures: &'static [usize],
    /// Services that could have taken care of the patient.
    pub services: &'static [&'static str],
}

const fn x(
    name: &'static str,
    plain: &'static str,
    complaints: &'static [&'static str],
    treatments: &'static [&'static str],
    procedures: &'static [usize],
    services: &'static [&'static str],
) -> Diagnosis {
    Diagnosis {
        name,
        plain,
        complaints,
        treatments,
        procedures,
        services,
    }
}

/// Procedures: name, plain words (may be empty), abbreviation (may be empty).
pub(crate) const PROCEDURES: &[(&str, &str, &str)] = &[
    ("bronchoscopy", "a camera test of the airways", ""),
    ("thoracentesis", "draining fluid around the lung", ""),
    (
        "cardiac catheterization",
        "a tube test of the heart arteries",
        "",
    ),
    (
        "percutaneous coronary intervention",
        "opening a heart artery with a balloon",
        "PCI",
    ),
    (
        "coronary artery bypass grafting",
        "heart bypass surgery",
        "CABG",
    ),
    (
        "electrical cardioversion",
        "a shock to reset the heart rhythm",
        "",
    ),
    ("pacemaker placement", "", ""),
    ("colonoscopy", "a camera test of the colon", ""),
    ("upper endoscopy", "a camera test of the stomach", ""),
    (
        "laparoscopic appendectomy",
        "keyhole removal of the appendix",
        "",
    ),
    (
        "laparoscopic cholecystectomy",
        "keyhole removal of the gallbladder",
        "",
    ),
    ("hip arthroplasty", "hip replacement", ""),
    (
        "open reduction and internal fixation",
        "surgery to fix a broken bone",
        "ORIF",
    ),
    (
        "incision and drainage",
        "cutting open and draining an abscess",
        "",
    ),
    ("lumbar puncture", "a spinal tap", "LP"),
    ("hemodialysis", "cleaning the blood with a machine", ""),
    ("paracentesis", "draining fluid from the belly", ""),
    ("carotid endarterectomy", "cleaning out a neck artery", ""),
    ("cystoscopy", "a camera test of the bladder", ""),
    ("exploratory laparotomy", "open surgery of the belly", ""),
];

const MED: &[&str] = &["MEDICINE"];
const CARD: &[&str] = &["CARDIOLOGY", "MEDICINE"];
const SURG: &[&str] = &["SURGERY"];
const NEURO: &[&str] = &["NEUROLOGY"];
const ORTHO: &[&str] = &["ORTHOPEDICS"];
const ABX: &[&str] = &[
    "ceftriaxone",
    "vancomycin",
    "levofloxacin",
    "cefepime",
    "azithromycin",
];
const BELLY: &[&str] = &["abdominal pain", "nausea", "vomiting"];

/// Principal diagnoses.
pub(crate) const DIAGNOSES: &[Diagnosis] = &[
    x(
        "pneumonia",
        "a lung infection",
        &["cough", "fever", "shortness of breath"],
        ABX,
        &[0, 1],
        MED,
    ),
    x(
        "sepsis",
        "a blood infection",
        &["fever", "confusion", "weakness"],
        ABX,
        &[1, 18],
        MED,
    ),
    x(
        "cellulitis",
        "a skin infection",
        &["leg pain", "leg swelling", "fever"],
        &["cefazolin", "vancomycin", "clindamycin"],
        &[13],
        MED,
    ),
    x(
        "pyelonephritis",
        "a kidney infection",
        &["flank pain", "fever"],
        &["ceftriaxone", "ciprofloxacin", "cefepime"],
        &[18],
        MED,
    ),
    x(
        "acute heart failure",
        "a weak heart",
        &["shortness of breath", "leg swelling", "fatigue"],
        &["torsemide", "bumetanide", "nitroglycerin"],
        &[2, 1],
        CARD,
    ),
    x(
        "unstable angina",
        "chest pain from poor heart blood flow",
        &["chest pain", "jaw pain"],
        &["heparin", "nitroglycerin", "eptifibatide"],
        &[2, 3, 4],
        CARD,
    ),
    x(
        "rapid atrial flutter",
        "a fast heart rhythm",
        &["palpitations", "dizziness"],
        &["amiodarone", "esmolol", "procainamide"],
        &[5],
        CARD,
    ),
    x(
        "complete heart block",
        "",
        &["syncope", "dizziness"],
        &["atropine", "dopamine"],
        &[6],
        CARD,
    ),
    x(
        "gastrointestinal bleeding",
        "bleeding in the gut",
        &["bloody stools", "weakness", "dizziness"],
        &["octreotide", "blood transfusion", "esomeprazole"],
        &[7, 8],
        MED,
    ),
    x(
        "appendicitis",
        "an inflamed appendix",
        BELLY,
        &["cefoxitin", "metronidazole", "ertapenem"],
        &[9],
        SURG,
    ),
    x(
        "cholecystitis",
        "an inflamed gallbladder",
        BELLY,
        &["cefoxitin", "metronidazole", "ertapenem"],
        &[10],
        SURG,
    ),
    x(
        "pancreatitis",
        "an inflamed pancreas",
        BELLY,
        &["morphine", "intravenous fluids", "hydromorphone"],
        &[8],
        &["MEDICINE", "SURGERY"],
    ),
    x(
        "diverticulitis",
        "an inflamed colon",
        BELLY,
        &["metronidazole", "ertapenem", "ciprofloxacin"],
        &[7, 19],
        &["SURGERY", "MEDICINE"],
    ),
    x(
        "small bowel obstruction",
        "a blocked bowel",
        BELLY,
        &["intravenous fluids", "ondansetron"],
        &[19],
        SURG,
    ),
    x(
        "hip fracture",
        "a broken hip",
        &["hip pain", "a fall"],
        &["morphine", "enoxaparin", "hydromorphone"],
        &[11, 12],
        ORTHO,
    ),
    x(
        "ischemic stroke",
        "a blocked brain artery",
        &["weakness", "slurred speech", "facial droop"],
        &["alteplase", "heparin"],
        &[17],
        NEURO,
    ),
    x(
        "meningitis",
        "an infection around the brain",
        &["headache", "neck stiffness", "fever"],
        &["ceftriaxone", "acyclovir", "dexamethasone"],
        &[14],
        NEURO,
    ),
    x(
        "status epilepticus",
        "a long seizure",
        &["seizures", "confusion"],
        &["phenytoin", "valproate", "lacosamide"],
        &[14],
        NEURO,
    ),
    x(
        "acute kidney injury",
        "sudden kidney damage",
        &["fatigue", "nausea", "leg swelling"],
        &["intravenous fluids", "bicarbonate"],
        &[15],
        MED,
    ),
    x(
        "decompensated liver failure",
        "",
        &["abdominal distension", "confusion"],
        &["lactulose", "albumin", "rifaximin"],
        &[16, 8],
        MED,
    ),
    x(
        "diabetic ketoacidosis",
        "dangerously high blood sugar",
        &["nausea", "vomiting", "thirst"],
        &["insulin drip", "intravenous fluids"],
        &[],
        MED,
    ),
    x(
        "pleural effusion",
        "fluid around the lung",
        &["shortness of breath", "cough", "chest pain"],
        &["torsemide", "bumetanide"],
        &[1],
        MED,
    ),
];

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

/// Abbreviations that are not conditions, procedures, labs or frequencies: short form, full form.
pub(crate) const OTHER_ABBREVIATIONS: &[(&str, &str)] = &[
    ("NKDA", "no known drug allergies"),
    ("PCP", "primary care physician"),
    ("PMH", "past medical history"),
    ("HPI", "history of present illness"),
    ("ED", "emergency department"),
    ("ICU", "intensive care unit"),
];
