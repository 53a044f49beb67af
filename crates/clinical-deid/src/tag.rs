//! The kinds of tag, their tokens and the published tables that choose between them.

/// The 15 tokens that Clinical-T5 adds to its vocabulary for de-identification tags.
///
/// The order here is that of the published tables. It is **not** the order of their ids: the published
/// script adds them in Python set order, so the ids stand only in the tokenizer files.
pub const SPECIAL_TOKENS: [&str; 15] = [
    "[Name]",
    "[Reg#]",
    "[Company]",
    "[LOC]",
    "[Age]",
    "[#]",
    "[DR]",
    "[State]",
    "[CI]",
    "[Country]",
    "[URL]",
    "[YR]",
    "[MO]",
    "[DAY]",
    "[MISC]",
];

/// What a tag was converted to.
///
/// The first fifteen kinds have a token, see [`Tag::token`]; the last three leave the tag's own text,
/// or nothing, in the note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Tag {
    /// `[Name]`: a person's name or initials (and, as published, a ward's name).
    Name,
    /// `[Reg#]`: a record, unit, job or other identifier; also a bare number.
    RegNumber,
    /// `[Company]`: a hospital, company, college or organisation.
    Company,
    /// `[LOC]`: a place or an address.
    Location,
    /// `[Age]`: an age over 90 (MIMIC-IV: any removed age).
    Age,
    /// `[#]`: a telephone, pager, serial, social security or provider number.
    Number,
    /// `[DR]`: a range of dates (MIMIC-IV: any date).
    DateRange,
    /// `[State]`: a state.
    State,
    /// `[CI]`: contact information.
    ContactInfo,
    /// `[Country]`: a country.
    Country,
    /// `[URL]`: a web address.
    Url,
    /// `[YR]`: a year.
    Year,
    /// `[MO]`: a month.
    Month,
    /// `[DAY]`: a day or a holiday.
    Day,
    /// `[MISC]`: a MIMIC-IV removal of no particular type, or an unknown tag under
    /// [`UnknownTag::Misc`](crate::UnknownTag::Misc).
    Misc,
    /// The body stays without its brackets: two dashes (`2151-7-16`), digits with dashes or slashes
    /// (`12/2151`), or an English month name (`July 16`).
    Date,
    /// A body of white space only: the tag vanishes.
    Blank,
    /// An unknown tag whose text stays, under [`UnknownTag::Keep`](crate::UnknownTag::Keep).
    Unknown,
}

impl Tag {
    /// The token that stands for this kind in the new text, or `None` where the tag's own text, or
    /// nothing, stands there.
    pub const fn token(self) -> Option<&'static str> {
        // The discriminants of the kinds with a token count up from 0 in the order of the tokens.
        let index = self as usize;
        if index < SPECIAL_TOKENS.len() {
            Some(SPECIAL_TOKENS[index])
        } else {
            None
        }
    }

    /// The kind of a MIMIC-III tag with this body (the text between `[**` and `**]`), by the published
    /// rules; `None` where the published converter fails.
    ///
    /// ```
    /// # use clinical_deid::Tag;
    /// assert_eq!(Tag::from_mimic_iii("Last Name (STitle) 8620"), Some(Tag::Name));
    /// assert_eq!(Tag::from_mimic_iii("2151-7-16"), Some(Tag::Date));
    /// assert_eq!(Tag::from_mimic_iii("Ethnicity"), None);
    /// ```
    pub fn from_mimic_iii(body: &str) -> Option<Self> {
        crate::body::classify(body)
    }

    /// The kind of a MIMIC-IV entity type of the annotation files (`NAME`, `DATE`, ...); `None` for a
    /// type that the published table lacks. Case counts.
    pub fn from_entity_type(entity_type: &str) -> Option<Self> {
        Some(match entity_type {
            "URL" => Self::Url,
            "ORGANIZATION" => Self::Company,
            "AGE" => Self::Age,
            "NAME" => Self::Name,
            "PROFESSION" | "MISC" => Self::Misc,
            "ID" => Self::RegNumber,
            "EMAIL" | "CONTACT" => Self::ContactInfo,
            "LOCATION" => Self::Location,
            "DATE" => Self::DateRange,
            _ => return None,
        })
    }
}

/// The published MIMIC-III table. The first key that occurs in a body decides, so the order matters:
/// `Wardname` is never reached, because the `name` in it is found first.
pub(crate) const KEYS: [(&str, Tag); 39] = [
    ("First Name", Tag::Name),
    ("Last Name", Tag::Name),
    ("Clip Number (Radiology)", Tag::RegNumber),
    ("Hospital", Tag::Company),
    ("Numeric Identifier", Tag::RegNumber),
    ("Location", Tag::Location),
    ("Initials", Tag::Name),
    ("Known lastname", Tag::Name),
    ("Known firstname", Tag::Name),
    ("Age over 90", Tag::Age),
    ("Medical Record Number", Tag::RegNumber),
    ("Telephone/Fax", Tag::Number),
    ("Name", Tag::Name),
    ("Street Address", Tag::Location),
    ("Date Range", Tag::DateRange),
    ("Date range", Tag::DateRange),
    ("Serial Number", Tag::Number),
    ("Social Security Number", Tag::Number),
    ("State", Tag::State),
    ("E-mail address", Tag::ContactInfo),
    ("Company", Tag::Company),
    ("Pager number", Tag::Number),
    ("Country", Tag::Country),
    ("MD Number", Tag::RegNumber),
    ("Wardname", Tag::Location),
    ("College", Tag::Company),
    ("Apartment Address", Tag::Location),
    ("URL", Tag::Url),
    ("CC Contact Info", Tag::ContactInfo),
    ("Attending Info", Tag::ContactInfo),
    ("Job Number", Tag::RegNumber),
    ("Year", Tag::Year),
    ("Month", Tag::Month),
    ("Day", Tag::Day),
    ("Holiday", Tag::Day),
    ("Unit Number", Tag::RegNumber),
    ("PO Box", Tag::Location),
    ("Dictator Info", Tag::ContactInfo),
    ("Provider Number", Tag::Number),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_belongs_to_one_kind() {
        let kinds = [
            (Tag::Name, "[Name]"),
            (Tag::RegNumber, "[Reg#]"),
            (Tag::Company, "[Company]"),
            (Tag::Location, "[LOC]"),
            (Tag::Age, "[Age]"),
            (Tag::Number, "[#]"),
            (Tag::DateRange, "[DR]"),
            (Tag::State, "[State]"),
            (Tag::ContactInfo, "[CI]"),
            (Tag::Country, "[Country]"),
            (Tag::Url, "[URL]"),
            (Tag::Year, "[YR]"),
            (Tag::Month, "[MO]"),
            (Tag::Day, "[DAY]"),
            (Tag::Misc, "[MISC]"),
        ];
        for ((tag, token), listed) in kinds.iter().zip(SPECIAL_TOKENS) {
            assert_eq!(tag.token(), Some(*token));
            assert_eq!(*token, listed);
        }
        for tag in [Tag::Date, Tag::Blank, Tag::Unknown] {
            assert_eq!(tag.token(), None);
        }
    }

    #[test]
    fn entity_types_are_matched_with_their_case() {
        assert_eq!(Tag::from_entity_type("PROFESSION"), Some(Tag::Misc));
        assert_eq!(Tag::from_entity_type("EMAIL"), Some(Tag::ContactInfo));
        assert_eq!(Tag::from_entity_type("name"), None);
        assert_eq!(Tag::from_entity_type(""), None);
    }
}
