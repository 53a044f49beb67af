//! Opening a directory.

use std::path::Path;

use burn::module::Module;
use clinical_tokenizer::{LowerCase, OpenOptions, TokenizerRemark};
use clinical_weights::{Checkpoint, CheckpointDir, FromCheckpoint, LoadOptions, LoadReport};

use super::text::Text;
use super::{BertModel, ClinicalBert, Head};
use crate::Error;
use crate::config::BertConfig;
use crate::heads::{
    BertForPretraining, BertForQuestionAnswering, BertForSequenceClassification,
    BertForTokenClassification,
};
use crate::model::Bert;

/// How [`ClinicalBert::load_with`] reads a directory, beside [`LoadOptions`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BertOptions {
    /// Whether a `vocab.txt` tokenizer lower-cases. Default: [`LowerCase::Auto`], as the model was trained: what
    /// `tokenizer_config.json` says, and for `vocab.txt` alone cased exactly if the vocabulary has capital letters.
    /// Bio_ClinicalBERT is such a directory; `transformers` lower-cases it, which [`LowerCase::Transformers`] does too.
    pub lower_case: LowerCase,
    /// The head to load. Default: the one that the config and the weights have.
    pub head: Option<Head>,
    /// Names of the classes by index. Default: `id2label` of the config.
    pub labels: Option<Vec<String>>,
    /// Most tokens of a batch, padding included. Default: 4096. Large batches need more memory and, on a CPU, are no
    /// faster. On a CPU with several cores, up to four batches are computed at a time.
    pub batch_tokens: usize,
}

impl Default for BertOptions {
    fn default() -> Self {
        Self {
            lower_case: LowerCase::Auto,
            head: None,
            labels: None,
            batch_tokens: 4096,
        }
    }
}

impl BertOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Self::lower_case`].
    #[must_use]
    pub fn with_lower_case(mut self, lower_case: LowerCase) -> Self {
        self.lower_case = lower_case;
        self
    }

    /// Sets [`Self::head`].
    #[must_use]
    pub fn with_head(mut self, head: Head) -> Self {
        self.head = Some(head);
        self
    }

    /// Sets [`Self::labels`].
    #[must_use]
    pub fn with_labels(mut self, labels: Vec<String>) -> Self {
        self.labels = Some(labels);
        self
    }

    /// Sets [`Self::batch_tokens`].
    #[must_use]
    pub fn with_batch_tokens(mut self, tokens: usize) -> Self {
        self.batch_tokens = tokens;
        self
    }
}

impl ClinicalBert {
    /// Opens a Hugging Face directory as it was published. The head is the one that the weights hold.
    ///
    /// # Errors
    ///
    /// As [`load_with`](Self::load_with).
    pub fn load(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<Self, Error> {
        Self::load_with(dir, options, &BertOptions::default())
    }

    /// Opens a Hugging Face directory as it was published, or a GGUF file with its own configuration and tokenizer (the
    /// path of the file, or of a directory with one and no other weights).
    ///
    /// # Errors
    ///
    /// One sentence that says what is wrong with the directory: [`Error::Weights`], [`Error::Config`],
    /// [`Error::Tokenizer`], [`Error::NoHead`] for a head that is not there, [`Error::LabelCount`].
    pub fn load_with(
        dir: impl AsRef<Path>,
        options: &LoadOptions,
        own: &BertOptions,
    ) -> Result<Self, Error> {
        if own.batch_tokens == 0 {
            return Err(Error::Zero {
                option: "batch_tokens",
            });
        }
        let dir = CheckpointDir::open_with(dir.as_ref(), options.allow_links)?;
        let file = dir.gguf()?;
        let config = match &file {
            Some(file) => file.config()?,
            None => dir.read_json("config.json")?,
        };
        let config = BertConfig::from_value(config)?;
        if config.max_length() <= Text::AROUND {
            return Err(Error::NoRoom {
                limit: config.max_length(),
            });
        }
        let checkpoint = dir.weights()?;
        checkpoint.check_size(config.parameters(), options)?;
        let head = match own.head {
            Some(head) => head,
            None => detect(&config, &checkpoint),
        };
        let tokenizer = OpenOptions::new().with_lower_case(own.lower_case);
        let text = Text::new(dir.tokenizer::<Error>(&tokenizer)?, config.family)?;
        let (labels, model, mut report) = build(&config, head, &checkpoint, options, own, true)?;
        let remarks = text.tokenizer.remarks(config.vocab_size);
        report
            .notes
            .extend(remarks.iter().map(TokenizerRemark::to_string));
        Ok(Self {
            config,
            model,
            text,
            labels,
            report,
            remarks,
            batch_tokens: own.batch_tokens,
        })
    }
}

/// A tensor whose name ends in this, whatever prefix it has.
fn find<'c>(checkpoint: &'c Checkpoint, suffix: &str) -> Option<&'c clinical_weights::TensorInfo> {
    checkpoint.tensor(suffix).or_else(|| {
        checkpoint.tensors().find(|tensor| {
            tensor
                .name
                .strip_suffix(suffix)
                .is_some_and(|before| before.ends_with('.'))
        })
    })
}

fn has(checkpoint: &Checkpoint, suffix: &str) -> bool {
    find(checkpoint, suffix).is_some()
}

/// Tensors of the masked-language-model head, of BERT and of RoBERTa.
const MASKED: [&str; 2] = ["predictions.transform.dense.weight", "lm_head.dense.weight"];

/// The head by the weights, and by `architectures` where the weights leave a choice.
pub(super) fn detect(config: &BertConfig, checkpoint: &Checkpoint) -> Head {
    if has(checkpoint, "qa_outputs.weight") {
        return Head::Span;
    }
    if has(checkpoint, "classifier.out_proj.weight") {
        return Head::Sequence;
    }
    if has(checkpoint, "classifier.weight") {
        let says = |what: &str| config.architectures.iter().any(|name| name.contains(what));
        // A sequence classifier of BERT reads the pooler; without a word from the config, a pooler decides.
        return match (
            says("ForTokenClassification"),
            says("ForSequenceClassification"),
        ) {
            (true, false) => Head::Token,
            (false, true) => Head::Sequence,
            _ if has(checkpoint, "pooler.dense.weight") => Head::Sequence,
            _ => Head::Token,
        };
    }
    if MASKED.iter().any(|name| has(checkpoint, name)) {
        return Head::MaskedLanguage;
    }
    Head::Encoder
}

/// The model with random weights, or with `read` those of the checkpoint; its class names and how the checkpoint fits it.
pub(super) fn build(
    config: &BertConfig,
    head: Head,
    checkpoint: &Checkpoint,
    options: &LoadOptions,
    own: &BertOptions,
    read: bool,
) -> Result<(Vec<String>, BertModel, LoadReport), Error> {
    let device = &options.device;
    let missing = |tensor| Error::NoHead { head, tensor };
    Ok(match head {
        Head::Encoder => {
            let pooler = has(checkpoint, "pooler.dense.weight");
            let model = Bert::new(config, pooler, device);
            let (model, report) = filled(model, checkpoint, options, read)?;
            (Vec::new(), BertModel::Encoder(model), report)
        }
        Head::MaskedLanguage => {
            if !MASKED.iter().any(|name| has(checkpoint, name)) {
                return Err(missing("cls.predictions.transform.dense.weight"));
            }
            let next = has(checkpoint, "seq_relationship.weight")
                && has(checkpoint, "pooler.dense.weight");
            let model = BertForPretraining::new(config, next, device);
            let (model, report) = filled(model, checkpoint, options, read)?;
            (Vec::new(), BertModel::MaskedLanguage(model), report)
        }
        Head::Sequence => {
            let classifier = find(checkpoint, "classifier.out_proj.weight")
                .or_else(|| find(checkpoint, "classifier.weight"));
            let classes = classifier
                .and_then(|tensor| tensor.shape.first())
                .ok_or(missing("classifier.weight"))?;
            let labels = labels(config, own, *classes)?;
            let model = BertForSequenceClassification::new(config, *classes, device);
            let (model, report) = filled(model, checkpoint, options, read)?;
            (labels, BertModel::Sequence(model), report)
        }
        Head::Token => {
            let classifier = find(checkpoint, "classifier.weight");
            let classes = classifier
                .and_then(|tensor| tensor.shape.first())
                .ok_or(missing("classifier.weight"))?;
            let labels = labels(config, own, *classes)?;
            let model = BertForTokenClassification::new(config, *classes, device);
            let (model, report) = filled(model, checkpoint, options, read)?;
            (labels, BertModel::Token(model), report)
        }
        Head::Span => {
            if !has(checkpoint, "qa_outputs.weight") {
                return Err(missing("qa_outputs.weight"));
            }
            let model = BertForQuestionAnswering::new(config, device);
            let (model, report) = filled(model, checkpoint, options, read)?;
            (Vec::new(), BertModel::Span(model), report)
        }
    })
}

fn filled<M: FromCheckpoint + Module>(
    mut model: M,
    checkpoint: &Checkpoint,
    options: &LoadOptions,
    read: bool,
) -> Result<(M, LoadReport), Error> {
    let keys = model.key_map();
    let report = if read {
        clinical_weights::load_from(&mut model, &keys, checkpoint, options)?
    } else {
        clinical_weights::plan(&model, &keys, checkpoint, options)?
    };
    Ok((model, report))
}

/// The names of the classes. A config without names gives `LABEL_0`, `LABEL_1` and so on, as in `transformers`.
fn labels(config: &BertConfig, own: &BertOptions, classes: usize) -> Result<Vec<String>, Error> {
    let names = match (&own.labels, &config.id2label) {
        (Some(names), _) => names.clone(),
        (None, Some(_)) => config.labels(),
        (None, None) => (0..classes).map(|class| format!("LABEL_{class}")).collect(),
    };
    if names.len() == classes && classes > 0 {
        Ok(names)
    } else {
        Err(Error::LabelCount {
            names: names.len(),
            classes,
        })
    }
}
