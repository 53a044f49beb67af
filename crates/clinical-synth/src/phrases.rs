//! The wordings of each question; `{x}` is what it asks about.

pub(crate) const ASK_MEDICATIONS: &[&str] = &[
    "Which medications was the patient discharged on?",
    "List all discharge medications.",
    "Identify the medications prescribed at discharge.",
    "What are the discharge medications?",
];
pub(crate) const ASK_HISTORY: &[&str] = &[
    "List the conditions in the past medical history.",
    "What is the past medical history?",
    "Identify the past medical conditions.",
    "Which chronic conditions does the patient have?",
];
pub(crate) const ASK_LABS: &[&str] = &[
    "Which lab tests were reported?",
    "List the lab tests in the summary.",
    "Identify the laboratory tests.",
];
pub(crate) const ASK_PROCEDURE: &[&str] = &[
    "Which procedure was performed?",
    "Identify the procedure that the patient underwent.",
    "Name the procedure done during the stay.",
    "What procedure did the patient have?",
];
pub(crate) const ASK_ABBREVIATION: &[&str] = &[
    "What does '{x}' stand for?",
    "Expand the abbreviation '{x}'.",
    "What is the full form of '{x}'?",
    "What is the meaning of the abbreviation '{x}'?",
];
pub(crate) const ASK_DOSE: &[&str] = &[
    "What is the dose of {x}?",
    "What dose of {x} was prescribed?",
    "How much {x} should the patient take?",
    "Which dose is given for {x}?",
];
pub(crate) const ASK_FREQUENCY: &[&str] = &[
    "How often is {x} taken?",
    "What is the frequency of {x}?",
    "How often should the patient take {x}?",
];
pub(crate) const ASK_REASON: &[&str] = &[
    "What is {x} prescribed for?",
    "Why does the patient take {x}?",
    "What is the indication for {x}?",
    "Which condition is treated with {x}?",
];
pub(crate) const ASK_DRUG: &[&str] = &[
    "Which medication is prescribed for {x}?",
    "Which drug does the patient take for {x}?",
    "What medication is used for {x}?",
];
pub(crate) const ASK_TREATMENT: &[&str] = &[
    "How was the {x} treated?",
    "What was given for the {x}?",
    "Which treatment was used for the {x}?",
];
pub(crate) const ASK_SURGEON: &[&str] = &[
    "Who performed the {x}?",
    "Which doctor did the {x}?",
    "By whom was the {x} performed?",
];
pub(crate) const ASK_ADVICE: &[&str] = &[
    "What did Dr. {x} advise?",
    "What was the advice of Dr. {x}?",
    "What did the consultant Dr. {x} recommend?",
];
pub(crate) const ASK_ADMITTED: &[&str] = &[
    "When was the patient admitted?",
    "What is the admission date?",
    "On which date did the admission take place?",
];
pub(crate) const ASK_DISCHARGED: &[&str] = &[
    "When was the patient discharged?",
    "What is the discharge date?",
    "On which date was the discharge?",
];
pub(crate) const ASK_STAY: &[&str] = &[
    "How long was the hospital stay?",
    "How many days did the patient stay in the hospital?",
    "What was the length of stay?",
];
pub(crate) const ASK_ONSET: &[&str] = &[
    "How long did the patient have {x} before admission?",
    "For how many days was {x} present at admission?",
    "What was the duration of {x} before admission?",
];
pub(crate) const ASK_COURSE: &[&str] = &[
    "How long was {x} given?",
    "For how many days did the patient receive {x}?",
    "What was the duration of treatment with {x}?",
];
pub(crate) const ASK_FOLLOW_UP: &[&str] = &[
    "When is the follow-up appointment?",
    "When should the patient be seen again?",
    "How soon is the follow-up?",
];
pub(crate) const ASK_PROCEDURE_DATE: &[&str] = &[
    "When was the {x} performed?",
    "On which date was the {x} done?",
    "What is the date of the {x}?",
];
pub(crate) const ASK_WHO: &[&str] = &[
    "Who is meant in '{x}'?",
    "Who does the pronoun refer to in '{x}'?",
    "In '{x}', who does the pronoun refer to?",
];
pub(crate) const ASK_PATIENT_NAME: &[&str] = &[
    "Who does 'the patient' refer to?",
    "Who is meant by 'the patient'?",
    "To whom does '{x}' refer in the summary?",
];
pub(crate) const ASK_WHAT: &[&str] = &[
    "What is meant in '{x}'?",
    "In '{x}', what does the subject refer to?",
    "What does the subject refer to in '{x}'?",
];
pub(crate) const ASK_LAB: &[&str] = &[
    "What was the {x}?",
    "What is the value of the {x}?",
    "Give the {x} result.",
    "What was the result for {x}?",
];
pub(crate) const ASK_DISPOSITION: &[&str] = &[
    "Where did the patient go at discharge?",
    "What was the discharge disposition?",
    "Where was the patient discharged to?",
];
pub(crate) const ASK_COMPLAINT: &[&str] = &[
    "What was the chief complaint?",
    "Why did the patient come to the hospital?",
    "What symptom led to the admission?",
];
pub(crate) const ASK_AGE: &[&str] = &[
    "How old is the patient?",
    "What is the age of the patient?",
    "State the patient's age.",
];
pub(crate) const ASK_SERVICE: &[&str] = &[
    "Which service cared for the patient?",
    "What was the hospital service?",
    "Which service was the patient admitted to?",
];
pub(crate) const ASK_ATTENDING: &[&str] = &[
    "Who was the attending physician?",
    "Who is the attending?",
    "Name the attending doctor.",
];
pub(crate) const ASK_FOLLOW_UP_DOCTOR: &[&str] = &[
    "Who will see the patient after discharge?",
    "With whom is the follow-up?",
    "Which doctor will follow the patient?",
];
pub(crate) const ASK_DIAGNOSIS: &[&str] = &[
    "What was the main diagnosis?",
    "What was the patient found to have?",
    "Which diagnosis led to the treatment?",
];
pub(crate) const ASK_ALLERGY: &[&str] = &[
    "What is the patient allergic to?",
    "Which allergies does the patient have?",
    "List the allergies.",
];
pub(crate) const ASK_PLAIN: &[&str] = &[
    "Rephrase '{x}' in plain words.",
    "How would you explain '{x}' to the patient?",
    "What does '{x}' mean in simple language?",
];
pub(crate) const ASK_SUMMARY: &[&str] = &[
    "Summarize the hospital stay in one sentence.",
    "Give a one sentence summary.",
    "Briefly summarize the case.",
];
