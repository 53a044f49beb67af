//! Principal diagnoses and procedures.

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

/// Procedures: name, plain words (may be empty).
pub(crate) const PROCEDURES: &[(&str, &str)] = &[
    ("bronchoscopy", "a camera test of the airways"),
    ("thoracentesis", "draining fluid around the lung"),
    (
        "cardiac catheterization",
        "a tube test of the heart arteries",
    ),
    (
        "percutaneous coronary intervention",
        "opening a heart artery with a balloon",
    ),
    ("coronary artery bypass grafting", "heart bypass surgery"),
    (
        "electrical cardioversion",
        "a shock to reset the heart rhythm",
    ),
    ("pacemaker placement", ""),
    ("colonoscopy", "a camera test of the colon"),
    ("upper endoscopy", "a camera test of the stomach"),
    (
        "laparoscopic appendectomy",
        "keyhole removal of the appendix",
    ),
    (
        "laparoscopic cholecystectomy",
        "keyhole removal of the gallbladder",
    ),
    ("hip arthroplasty", "hip replacement"),
    (
        "open reduction and internal fixation",
        "surgery to fix a broken bone",
    ),
    (
        "incision and drainage",
        "cutting open and draining an abscess",
    ),
    ("lumbar puncture", "a spinal tap"),
    ("hemodialysis", "cleaning the blood with a machine"),
    ("paracentesis", "draining fluid from the belly"),
    ("carotid endarterectomy", "cleaning out a neck artery"),
    ("cystoscopy", "a camera test of the bladder"),
    ("exploratory laparotomy", "open surgery of the belly"),
];

/// The one treatment that is a procedure and not a drug.
pub(crate) const TRANSFUSION: &str = "blood transfusion";

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
        &["octreotide", TRANSFUSION, "esomeprazole"],
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
