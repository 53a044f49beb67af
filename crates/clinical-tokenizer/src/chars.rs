//! Character classes as the Python tokenizers see them.

use unicode_properties::{GeneralCategory as Category, UnicodeGeneralCategory};

pub(crate) use clinical_files::is_space as is_py_space;

/// White space of BERT's basic tokenizer.
pub(crate) fn is_bert_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
        || (!c.is_ascii() && c.general_category() == Category::SpaceSeparator)
}

/// Characters that BERT's basic tokenizer removes: every category that begins with `C` (also private and unassigned).
pub(crate) fn is_bert_control(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r');
    }
    matches!(
        c.general_category(),
        Category::Control
            | Category::Format
            | Category::Surrogate
            | Category::PrivateUse
            | Category::Unassigned
    )
}

/// Punctuation of BERT's basic tokenizer: all ASCII that is no letter, digit, blank or control, and category `P`.
pub(crate) fn is_bert_punctuation(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_punctuation();
    }
    matches!(
        c.general_category(),
        Category::ConnectorPunctuation
            | Category::DashPunctuation
            | Category::OpenPunctuation
            | Category::ClosePunctuation
            | Category::InitialPunctuation
            | Category::FinalPunctuation
            | Category::OtherPunctuation
    )
}

/// Ideographs that BERT's basic tokenizer sets apart (the blocks of the original BERT code).
pub(crate) fn is_bert_ideograph(c: char) -> bool {
    matches!(c as u32,
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F | 0x2B740..=0x2B81F
        | 0x2B820..=0x2CEAF | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F)
}

/// Category `Mn`, removed with the accents.
pub(crate) fn is_nonspacing_mark(c: char) -> bool {
    !c.is_ascii() && c.general_category() == Category::NonspacingMark
}
