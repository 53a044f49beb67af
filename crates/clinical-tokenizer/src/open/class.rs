//! The tokenizer classes of `transformers` that matter here.

use crate::config::Config;

/// A tokenizer class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Llama,
    T5,
    Bert,
    Roberta,
    Gpt2,
    /// `PreTrainedTokenizerFast`: no rules of its own.
    Plain,
}

/// The class that the files name, by `tokenizer_class`, else by `model_type`. The second value is a class that is named
/// but not known.
pub(crate) fn class_of(config: &Config) -> (Option<Class>, Option<String>) {
    let by_name = config.class.as_deref().map(|name| match name {
        "LlamaTokenizer" | "CodeLlamaTokenizer" => Ok(Class::Llama),
        "T5Tokenizer" | "MT5Tokenizer" => Ok(Class::T5),
        "BertTokenizer" | "DistilBertTokenizer" | "ElectraTokenizer" | "MobileBertTokenizer" => {
            Ok(Class::Bert)
        }
        "RobertaTokenizer" | "LongformerTokenizer" | "LEDTokenizer" => Ok(Class::Roberta),
        "GPT2Tokenizer" => Ok(Class::Gpt2),
        "PreTrainedTokenizer" | "AutoTokenizer" => Ok(Class::Plain),
        other => Err(other.to_owned()),
    });
    match by_name {
        Some(Ok(class)) => (Some(class), None),
        Some(Err(unknown)) => (None, Some(unknown)),
        None => (
            by_model_type(config.model_type.as_deref().unwrap_or_default()),
            None,
        ),
    }
}

fn by_model_type(model_type: &str) -> Option<Class> {
    match model_type {
        "llama" | "mistral" => Some(Class::Llama),
        "t5" | "mt5" | "umt5" => Some(Class::T5),
        "bert" | "distilbert" | "electra" | "mobilebert" => Some(Class::Bert),
        "roberta" | "longformer" | "led" => Some(Class::Roberta),
        "gpt2" => Some(Class::Gpt2),
        _ => None,
    }
}

impl Class {
    /// The special tokens that the class has when the files name none.
    pub(crate) fn default_roles(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Llama => &[("bos", "<s>"), ("eos", "</s>"), ("unk", "<unk>")],
            Self::T5 => &[("eos", "</s>"), ("unk", "<unk>"), ("pad", "<pad>")],
            Self::Bert => &[
                ("unk", "[UNK]"),
                ("sep", "[SEP]"),
                ("pad", "[PAD]"),
                ("cls", "[CLS]"),
                ("mask", "[MASK]"),
            ],
            Self::Roberta => &[
                ("bos", "<s>"),
                ("eos", "</s>"),
                ("unk", "<unk>"),
                ("sep", "</s>"),
                ("pad", "<pad>"),
                ("cls", "<s>"),
                ("mask", "<mask>"),
            ],
            Self::Gpt2 => &[
                ("bos", "<|endoftext|>"),
                ("eos", "<|endoftext|>"),
                ("unk", "<|endoftext|>"),
            ],
            Self::Plain => &[],
        }
    }
}
