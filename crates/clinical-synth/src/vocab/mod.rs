//! The closed vocabulary of the generator: every word in a synthetic note comes from here.
//!
//! All of it was written for this crate. It is meant to look like a discharge summary, not to be
//! correct medicine: doses are often drawn at random so that a model has to read the note.

mod hospital;
mod outpatient;
mod words;

pub(crate) use hospital::{DIAGNOSES, Diagnosis, PROCEDURES, TRANSFUSION};
pub(crate) use outpatient::{ANY_DOSE, BPH, CONDITIONS, DRUGS, FREQUENCIES, OSTEOPOROSIS};
pub(crate) use words::{
    ADVICE, ALLERGENS, DISPOSITIONS, LABS, NOT_DRUGS, OTHER_ABBREVIATIONS, SPECIALTIES, SURNAMES,
    TESTS_IN_ADVICE,
};
