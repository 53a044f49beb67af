//! The label sets of the i2b2 tasks, as the published `run_ner.py` of clinicalBERT has them.

use crate::Error;
use crate::error::unknown;

/// The kinds of spans of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LabelSet {
    /// The task, `i2b2-2010` for example.
    pub name: &'static str,
    /// The kinds of spans, in the published order.
    pub entities: &'static [&'static str],
}

impl std::str::FromStr for LabelSet {
    type Err = Error;

    /// One of the sets in this crate by its name.
    fn from_str(name: &str) -> Result<Self, Error> {
        [I2B2_2006, I2B2_2010, I2B2_2012, I2B2_2014]
            .into_iter()
            .find(|set| set.name == name)
            .ok_or_else(|| {
                unknown(
                    "label set",
                    name,
                    "i2b2-2006, i2b2-2010, i2b2-2012, i2b2-2014",
                )
            })
    }
}

impl LabelSet {
    /// `B-` and `I-` for each kind, then `O`: the labels of a model that is trained with `transformers`.
    #[must_use]
    pub fn bio(&self) -> Vec<String> {
        let mut labels: Vec<String> = self
            .entities
            .iter()
            .flat_map(|kind| [format!("B-{kind}"), format!("I-{kind}")])
            .collect();
        labels.push("O".to_owned());
        labels
    }

    /// The classes of a model that the published script trained: `[PAD]` is class 0, then [`bio`](Self::bio), then `X`
    /// for the later pieces of a word, `[CLS]` and `[SEP]`.
    #[must_use]
    pub fn published(&self) -> Vec<String> {
        let mut labels = vec!["[PAD]".to_owned()];
        labels.extend(self.bio());
        labels.extend(["X", "[CLS]", "[SEP]"].map(str::to_owned));
        labels
    }
}

/// De-identification (Uzuner et al. 2007).
pub const I2B2_2006: LabelSet = LabelSet {
    name: "i2b2-2006",
    entities: &[
        "ID", "HOSPITAL", "PATIENT", "PHONE", "DATE", "DOCTOR", "LOCATION", "AGE",
    ],
};

/// Concepts (Uzuner et al. 2011).
pub const I2B2_2010: LabelSet = LabelSet {
    name: "i2b2-2010",
    entities: &["problem", "treatment", "test"],
};

/// Events of timelines (Sun et al. 2013).
pub const I2B2_2012: LabelSet = LabelSet {
    name: "i2b2-2012",
    entities: &[
        "OCCURRENCE",
        "EVIDENTIAL",
        "TREATMENT",
        "CLINICAL_DEPT",
        "PROBLEM",
        "TEST",
    ],
};

/// De-identification (Stubbs et al. 2015).
pub const I2B2_2014: LabelSet = LabelSet {
    name: "i2b2-2014",
    entities: &[
        "IDNUM",
        "HOSPITAL",
        "PATIENT",
        "PHONE",
        "DATE",
        "DOCTOR",
        "LOCATION-OTHER",
        "AGE",
        "BIOID",
        "STATE",
        "ZIP",
        "HEALTHPLAN",
        "ORGANIZATION",
        "MEDICALRECORD",
        "CITY",
        "STREET",
        "COUNTRY",
        "URL",
        "USERNAME",
        "PROFESSION",
        "FAX",
        "EMAIL",
        "DEVICE",
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_order() {
        assert_eq!(
            I2B2_2010.published(),
            [
                "[PAD]",
                "B-problem",
                "I-problem",
                "B-treatment",
                "I-treatment",
                "B-test",
                "I-test",
                "O",
                "X",
                "[CLS]",
                "[SEP]"
            ]
        );
        // The script gives 20, 16 and 50 labels; class 0 comes on top.
        assert_eq!(I2B2_2006.published().len(), 21);
        assert_eq!(I2B2_2012.published().len(), 17);
        assert_eq!(I2B2_2014.published().len(), 51);
        assert_eq!("i2b2-2012".parse::<LabelSet>().unwrap(), I2B2_2012);
        assert!("i2b2-2009".parse::<LabelSet>().is_err());
        assert_eq!(I2B2_2014.bio()[12], "B-LOCATION-OTHER");
    }
}
