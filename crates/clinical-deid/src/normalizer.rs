//! The converter itself.

use crate::error::{Place, TagShape, label};
use crate::normalized::{Normalized, Writer};
use crate::scan::{Runs, Tags};
use crate::{Error, Tag};

/// What to do with a tag that the published converter has no rule for.
///
/// Everything else is converted the same in all three modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum UnknownTag {
    /// Fail, as the published converter does (the default).
    #[default]
    Error,
    /// Keep the tag's body without the brackets, as dates are kept. For the tag type `Ethnicity` this is
    /// what the variant of the converter by Li et al. does. MIMIC-IV underscores with an unknown entity
    /// type stay as they are.
    Keep,
    /// Write `[MISC]`.
    Misc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Dialect {
    MimicIii,
    MimicIv,
}

/// Replaces de-identification tags with the tokens of Clinical-T5.
///
/// The results are byte for byte those of the published converter; see the [crate](crate) documentation
/// for the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Normalizer {
    dialect: Dialect,
    unknown: UnknownTag,
}

impl Normalizer {
    /// For MIMIC-III notes, whose tags look like `[**First Name 123**]`.
    pub const fn mimic_iii() -> Self {
        Self {
            dialect: Dialect::MimicIii,
            unknown: UnknownTag::Error,
        }
    }

    /// For MIMIC-IV notes, where three or more underscores stand for what was removed.
    pub const fn mimic_iv() -> Self {
        Self {
            dialect: Dialect::MimicIv,
            unknown: UnknownTag::Error,
        }
    }

    /// The same normaliser with another way to treat unknown tags.
    #[must_use]
    pub const fn with_unknown(self, unknown: UnknownTag) -> Self {
        Self { unknown, ..self }
    }

    /// Converts one note, in time linear in its length.
    ///
    /// MIMIC-IV underscores become `[MISC]`, as they do in the published code when a note has no
    /// annotations; see [`Normalizer::normalize_with_types`] for notes that have them.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTag`] for the first unknown tag, in the mode [`UnknownTag::Error`].
    pub fn normalize(&self, text: &str) -> Result<Normalized, Error> {
        self.normalize_at(text, Place::Note)
    }

    /// Converts one MIMIC-IV note whose removals have known types.
    ///
    /// The first run of underscores takes the first type, and so on; types are those of the column
    /// `entity_type` of the annotation files, in file order. Runs without a type left become `[MISC]`,
    /// types without a run left are not looked at.
    ///
    /// ```
    /// # use clinical_deid::Normalizer;
    /// let note = Normalizer::mimic_iv().normalize_with_types("Dr. ___ on ___", &["NAME"])?;
    /// assert_eq!(note.text, "Dr.  [Name]  on  [MISC]");
    /// # Ok::<(), clinical_deid::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownEntityType`] for the first type that the published table lacks, in the mode
    /// [`UnknownTag::Error`]; [`Error::TypesForMimicIii`] on a MIMIC-III normaliser.
    pub fn normalize_with_types<S: AsRef<str>>(
        &self,
        text: &str,
        types: &[S],
    ) -> Result<Normalized, Error> {
        match self.dialect {
            Dialect::MimicIii => Err(Error::TypesForMimicIii),
            Dialect::MimicIv => self.mimic_iv_note(text, types, Place::Note),
        }
    }

    /// Converts a list of notes.
    ///
    /// # Errors
    ///
    /// Those of [`Normalizer::normalize`], naming the note by its index.
    pub fn normalize_all<S: AsRef<str>>(&self, notes: &[S]) -> Result<Vec<Normalized>, Error> {
        let places = (0..).map(Place::Item);
        notes
            .iter()
            .zip(places)
            .map(|(note, at)| self.normalize_at(note.as_ref(), at))
            .collect()
    }

    #[cfg(feature = "csv")]
    pub(crate) fn is_mimic_iv(&self) -> bool {
        matches!(self.dialect, Dialect::MimicIv)
    }

    pub(crate) fn normalize_at(&self, text: &str, place: Place) -> Result<Normalized, Error> {
        match self.dialect {
            Dialect::MimicIii => self.mimic_iii_note(text, place),
            Dialect::MimicIv => self.mimic_iv_note::<&str>(text, &[], place),
        }
    }

    fn mimic_iii_note(&self, text: &str, place: Place) -> Result<Normalized, Error> {
        let mut writer = Writer::new(text);
        for found in Tags::new(text) {
            let body = &text[found.body];
            let tag = match (Tag::from_mimic_iii(body), self.unknown) {
                (Some(tag), _) => tag,
                (None, UnknownTag::Keep) => Tag::Unknown,
                (None, UnknownTag::Misc) => Tag::Misc,
                (None, UnknownTag::Error) => {
                    return Err(Error::UnknownTag {
                        place,
                        offset: found.whole.start,
                        shape: TagShape::of(body),
                        length: body.chars().count(),
                    });
                }
            };
            let with = match tag {
                Tag::Blank => "",
                _ => tag.token().unwrap_or(body),
            };
            writer.replace(found.whole, with, tag);
        }
        Ok(writer.finish())
    }

    pub(crate) fn mimic_iv_note<S: AsRef<str>>(
        &self,
        text: &str,
        types: &[S],
        place: Place,
    ) -> Result<Normalized, Error> {
        let mut writer = Writer::new(text);
        for (index, run) in Runs::new(text).enumerate() {
            let tag = match types.get(index).map(AsRef::as_ref) {
                None => Tag::Misc,
                Some(entity_type) => match (Tag::from_entity_type(entity_type), self.unknown) {
                    (Some(tag), _) => tag,
                    (None, UnknownTag::Keep) => Tag::Unknown,
                    (None, UnknownTag::Misc) => Tag::Misc,
                    (None, UnknownTag::Error) => {
                        return Err(Error::UnknownEntityType {
                            place,
                            offset: run.start,
                            index,
                            name: label(entity_type),
                        });
                    }
                },
            };
            let with = tag.token().unwrap_or(&text[run.clone()]);
            writer.replace(run, with, tag);
        }
        Ok(writer.finish())
    }
}

/// Converts MIMIC-III notes like the published function of the same name.
///
/// ```
/// use clinical_deid::replace_list_of_notes;
///
/// let notes = replace_list_of_notes(&["My name is [**FirstName 123**]"])?;
/// assert_eq!(notes, ["My name is  [Name]"]);
/// # Ok::<(), clinical_deid::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::UnknownTag`], with the note's index, where the published function raises; as there, one
/// such tag fails the whole list. [`Normalizer::with_unknown`] has the lenient ways.
pub fn replace_list_of_notes<S: AsRef<str>>(notes: &[S]) -> Result<Vec<String>, Error> {
    let notes = Normalizer::mimic_iii().normalize_all(notes)?;
    Ok(notes.into_iter().map(String::from).collect())
}
