//! Look-alikes of MedNLI, RadQA, CLIP and the i2b2 2010 concepts: invented examples in exactly the published formats,
//! so that programs that read the real, credentialed files can be tested without them.
//!
//! Labels and answers follow from the texts, so a model can learn them; tags look like those of MIMIC-III. The training
//! part is drawn from the training half of all patients, the other two from the held-out half ([`Split`](crate::Split)).

mod clip;
mod i2b2;
mod mednli;
mod radqa;

use crate::draw::Draw;
use crate::facts::Facts;
use crate::{Case, Generator};

/// A data set of the study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Study {
    /// `mli_train_v1.jsonl`, `mli_dev_v1.jsonl`, `mli_test_v1.jsonl`: a pair of sentences a line.
    MedNli,
    /// `train.json`, `dev.json`, `test.json` in the format of SQuAD 2.0: a report has two sections with three questions
    /// each, about one in four of them without an answer.
    RadQa,
    /// `sentence_level.csv` with `train_ids.csv`, `val_ids.csv`, `test_ids.csv`.
    Clip,
    /// `train/txt/*.txt` with `train/concept/*.con`, `development/`, `test/`; and the same words and labels as
    /// `train.conll`, `dev.conll`, `test.conll`.
    I2b2,
}

/// How much of each part is written: pairs of sentences, reports or notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StudySizes {
    /// For training.
    pub train: usize,
    /// For choosing a model.
    pub development: usize,
    /// For figures.
    pub test: usize,
}

/// A file of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudyFile {
    /// Its path in the folder of the data set, with `/`.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl Study {
    /// All files of a look-alike. The same seed and sizes give the same files.
    ///
    /// ```
    /// use clinical_synth::study::{Study, StudySizes};
    ///
    /// let sizes = StudySizes { train: 3, development: 1, test: 2 };
    /// let files = Study::MedNli.files(7, sizes);
    /// assert_eq!(files[0].name, "mli_train_v1.jsonl");
    /// assert_eq!(files[0].text.lines().count(), 3);
    /// assert!(files[0].text.contains("\"gold_label\": \""));
    /// ```
    pub fn files(self, seed: u64, sizes: StudySizes) -> Vec<StudyFile> {
        let patients = Patients::new(seed, sizes);
        match self {
            Self::MedNli => mednli::files(patients),
            Self::RadQa => radqa::files(patients),
            Self::Clip => clip::files(patients),
            Self::I2b2 => i2b2::files(patients),
        }
    }
}

/// The patients of each part.
struct Patients {
    train: Generator,
    held_out: Generator,
    sizes: StudySizes,
}

impl Patients {
    fn new(seed: u64, sizes: StudySizes) -> Self {
        Self {
            train: Generator::new(seed),
            held_out: Generator::held_out(seed),
            sizes,
        }
    }

    /// Something for each patient of each part: train, development, test.
    fn parts<T>(&mut self, mut make: impl FnMut(&Facts, &mut Draw) -> T) -> [Vec<T>; 3] {
        let mut part = |generator: &mut Generator, count: usize| {
            let patients = (0..count).map(|_| {
                let (facts, _, mut draw) = generator.draw();
                make(&facts, &mut draw)
            });
            patients.collect()
        };
        [
            part(&mut self.train, self.sizes.train),
            part(&mut self.held_out, self.sizes.development),
            part(&mut self.held_out, self.sizes.test),
        ]
    }

    /// The cases of each part.
    fn cases(self) -> [Vec<Case>; 3] {
        let Self {
            train,
            mut held_out,
            sizes,
        } = self;
        [
            train.take(sizes.train).collect(),
            held_out.by_ref().take(sizes.development).collect(),
            held_out.take(sizes.test).collect(),
        ]
    }
}

/// A name as MIMIC-III writes it: its tag, `[**Last Name (un) 4219**]`.
fn name_tag(draw: &mut Draw) -> String {
    let kind = draw.pick(&[
        "Last Name (un)",
        "Last Name (NamePattern1)",
        "First Name8 (NamePattern2)",
        "Doctor Last Name",
    ]);
    format!("[**{kind} {}**]", draw.range(10, 9_999))
}

/// A day as MIMIC-III writes it, `[**2151-7-16**]`.
fn day_tag(draw: &mut Draw) -> String {
    let (year, month, day) = (draw.range(2101, 2199), draw.range(1, 12), draw.range(1, 28));
    format!("[**{year}-{month}-{day}**]")
}

/// Unique numbers that look like ROW_IDs, in the order of the patients.
fn row_id(index: usize, draw: &mut Draw) -> u64 {
    index as u64 * 100 + draw.range(0, 99) + 1_000
}
