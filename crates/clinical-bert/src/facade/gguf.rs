//! The tokenizer of a GGUF file: `clinical-weights` reads the parts, `clinical-tokenizer` uses them, and neither knows the
//! other.

use clinical_tokenizer::{OpenOptions, Tokenizer, Vocabulary};
use clinical_weights::GgufVocabulary;

pub(super) fn tokenizer(
    parts: GgufVocabulary,
    options: &OpenOptions,
) -> clinical_tokenizer::Result<Tokenizer> {
    let GgufVocabulary {
        model,
        pre,
        tokens,
        scores,
        kinds,
        merges,
        roles,
        add_bos,
        add_eos,
        add_space_prefix,
        chat_template,
        ..
    } = parts;
    let vocabulary = Vocabulary {
        model,
        pre,
        tokens,
        scores,
        kinds,
        merges,
        roles,
        add_bos,
        add_eos,
        add_space_prefix,
        chat_template,
    };
    Tokenizer::from_vocabulary(&vocabulary, options)
}
