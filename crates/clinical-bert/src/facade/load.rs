//! Opening a directory.

use std::path::Path;

use clinical_facade::{ModelDir, Remark};
use clinical_tokenizer::{LowerCase, OpenOptions, Tokenizer};
use clinical_weights::{
    Checkpoint, Facade, FromCheckpoint, KeyMap, LoadOptions, LoadReport, TensorInfo,
};

use super::ClinicalBert;
use super::text::Text;
use crate::config::{BertConfig, Family};
use crate::heads::{
    BertForPretraining, BertForQuestionAnswering, BertForSequenceClassification,
    BertForTokenClassification,
};
use crate::model::Bert;
use crate::{BertModel, Error, Result, TaskHead, sentence};

/// How [`ClinicalBert::load_with`] reads a directory, beside [`LoadOptions`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BertOptions {
    lower_case: LowerCase,
    head: Option<TaskHead>,
    new_head: bool,
    labels: Option<Vec<String>>,
}

impl BertOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a `vocab.txt` tokenizer lower-cases. Default: [`LowerCase::Auto`], as the model was trained: what
    /// `tokenizer_config.json` says, and for `vocab.txt` alone cased exactly if the vocabulary has capital letters.
    /// Bio_ClinicalBERT is such a directory; `transformers` lower-cases it, which [`LowerCase::Transformers`] does too.
    #[must_use]
    pub fn with_lower_case(mut self, lower_case: LowerCase) -> Self {
        self.lower_case = lower_case;
        self
    }

    /// The head to load. Default: the one that the config and the weights have.
    #[must_use]
    pub fn with_head(mut self, head: TaskHead) -> Self {
        self.head = Some(head);
        self.new_head = false;
        self
    }

    /// A new head with random weights on the encoder of the directory, to be trained: a classifier on Bio_ClinicalBERT,
    /// for example. [`Self::with_labels`] says how many classes it has. A head that the directory has is left out.
    #[must_use]
    pub fn with_new_head(mut self, head: TaskHead) -> Self {
        self.head = Some(head);
        self.new_head = true;
        self
    }

    /// Names of the classes by index. Default: `id2label` of the config.
    #[must_use]
    pub fn with_labels(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.labels = Some(labels.into_iter().map(Into::into).collect());
        self
    }

    /// How the tokenizer is opened.
    pub(super) fn tokenizer(&self) -> OpenOptions {
        OpenOptions::new().with_lower_case(self.lower_case)
    }
}

impl ClinicalBert {
    /// Opens a Hugging Face directory as it was published. The head is the one that the weights hold.
    ///
    /// # Errors
    ///
    /// As [`load_with`](Self::load_with).
    pub fn load(dir: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        Self::load_with(dir, options, &BertOptions::default())
    }

    /// Opens a Hugging Face directory as it was published, or a GGUF file with its own configuration and tokenizer (the
    /// path of the file, or of a directory with one and no other weights).
    ///
    /// # Errors
    ///
    /// One sentence that says what is wrong with the directory: [`Error::Weights`], one of the rules of
    /// [`BertConfig::validate`], [`Error::Tokenizer`], [`Error::NoHead`] for a head that is not there,
    /// [`Error::LabelCount`].
    pub fn load_with(
        dir: impl AsRef<Path>,
        options: &LoadOptions,
        bert: &BertOptions,
    ) -> Result<Self> {
        let dir = ModelDir::open_as(dir, Facade::ClinicalBert, options)?;
        Self::load_dir_with(dir, options, bert)
    }

    /// [`load`](Self::load) of a directory that is open already.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_dir(dir: ModelDir, options: &LoadOptions) -> Result<Self> {
        Self::load_dir_with(dir, options, &BertOptions::default())
    }

    /// [`load_with`](Self::load_with) of a directory that is open already.
    ///
    /// # Errors
    ///
    /// Those of [`load_with`](Self::load_with).
    pub fn load_dir_with(dir: ModelDir, options: &LoadOptions, bert: &BertOptions) -> Result<Self> {
        let mut opened = Opened::new(dir, options, bert)?;
        let tokenizer = opened.dir.tokenizer(&bert.tokenizer())?;
        // What is wrong with the tokenizer is said before gigabytes are read.
        Text::new(tokenizer.clone(), opened.config.family, false)?;
        let (mut model, report) = opened.model(options, Values::Read)?;
        opened.dir.apply_adapter(&mut model)?;
        Self::from_parts(opened.into_parts(model, tokenizer, report))
    }
}

/// Whether the values of the weights are read, or only compared with the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    Read,
    Leave,
}

/// A directory of which everything but the tokenizer and the values of the weights has been read.
pub(super) struct Opened {
    pub(super) dir: ModelDir,
    /// With the labels that the caller gave, or `LABEL_0` and so on for classes without a name.
    pub(super) config: BertConfig,
    pub(super) head: TaskHead,
    new_head: bool,
}

impl Opened {
    pub(super) fn new(
        mut dir: ModelDir,
        options: &LoadOptions,
        bert: &BertOptions,
    ) -> Result<Self> {
        let mut sentence = sentence::read(dir.top())?;
        let mut config = BertConfig::from_value(dir.config().clone())?;
        if let Some(kind) = config
            .other
            .remove("pooling_type")
            .and_then(|kind| kind.as_u64())
        {
            sentence = sentence::of_gguf(kind);
        }
        config.sentence = sentence.config;
        for remark in sentence.remarks {
            dir.remark(remark);
        }
        let limit = config.max_tokens();
        if limit <= Text::AROUND {
            return Err(Error::NoRoom { limit });
        }
        dir.weights().check_size(config.parameters()?, options)?;
        let head = bert.head.unwrap_or_else(|| detect(&config, dir.weights()));
        if let Some(labels) = &bert.labels {
            config = config.with_labels(labels.iter().cloned());
        }
        let mut opened = Self {
            dir,
            config,
            head,
            new_head: bert.new_head,
        };
        if opened.new_head {
            opened.dir.remark(Remark::Model(format!(
                "{head} was put on the encoder anew: its weights are random until it is trained"
            )));
        }
        opened.name_classes()?;
        Ok(opened)
    }

    /// Gives every class of the head a name.
    fn name_classes(&mut self) -> Result<()> {
        let classes = match (self.head, self.new_head) {
            (TaskHead::Sequence | TaskHead::Token, true) => self.config.classes(),
            (TaskHead::Sequence | TaskHead::Token, false) => classes(self.dir.weights(), self.head)
                .ok_or(Error::NoHead {
                    head: self.head,
                    tensor: "classifier.weight",
                })?,
            _ => return Ok(()),
        };
        self.config.name_classes(classes)
    }

    /// The model, filled with the weights unless they are left, and how they fit it.
    pub(super) fn model(
        &self,
        options: &LoadOptions,
        values: Values,
    ) -> Result<(BertModel, LoadReport)> {
        let (config, device) = (&self.config, &options.device);
        let weights = self.dir.weights();
        let missing = |tensor| Error::NoHead {
            head: self.head,
            tensor,
        };
        if self.new_head {
            return self.new_head(options, values);
        }
        let classes = config.labels.len();
        let fill = Fill {
            weights,
            options,
            values,
        };
        Ok(match self.head {
            TaskHead::Encoder => {
                let pooler = has(weights, "pooler.dense.weight");
                let (model, report) = fill.all(Bert::new(config, pooler, device)?)?;
                (BertModel::Encoder(model), report)
            }
            TaskHead::MaskedLanguage => {
                if !MASKED.iter().any(|name| has(weights, name)) {
                    return Err(missing("cls.predictions.transform.dense.weight"));
                }
                let next =
                    has(weights, "seq_relationship.weight") && has(weights, "pooler.dense.weight");
                let (model, report) = fill.all(BertForPretraining::new(config, next, device)?)?;
                (BertModel::MaskedLanguage(model), report)
            }
            TaskHead::Sequence => {
                let model = BertForSequenceClassification::new(config, classes, device)?;
                let (model, report) = fill.all(model)?;
                (BertModel::Sequence(model), report)
            }
            TaskHead::Token => {
                let model = BertForTokenClassification::new(config, classes, device)?;
                let (model, report) = fill.all(model)?;
                (BertModel::Token(model), report)
            }
            TaskHead::Span => {
                if !has(weights, "qa_outputs.weight") {
                    return Err(missing("qa_outputs.weight"));
                }
                let (model, report) = fill.all(BertForQuestionAnswering::new(config, device)?)?;
                (BertModel::Span(model), report)
            }
        })
    }

    /// The encoder of the directory under a head with random weights. A pooler that is not there is random too.
    fn new_head(&self, options: &LoadOptions, values: Values) -> Result<(BertModel, LoadReport)> {
        let weights = self.dir.weights();
        let pooler = match self.head {
            TaskHead::Sequence => self.config.family != Family::Roberta,
            _ => false,
        };
        let bert = Bert::new(&self.config, pooler, &options.device)?;
        let keys = bert.key_map().optional("pooler.**");
        let fill = Fill {
            weights,
            options,
            values,
        };
        let (bert, report) = fill.with(bert, &keys)?;
        Ok((BertModel::on(bert, &self.config, self.head), report))
    }

    pub(super) fn into_parts(
        self,
        model: BertModel,
        tokenizer: Tokenizer,
        report: LoadReport,
    ) -> clinical_facade::Parts<BertConfig, BertModel> {
        let rows = self.config.vocab_size;
        self.dir
            .into_parts(self.config, model, tokenizer, rows, report)
    }
}

/// How a model gets its values.
struct Fill<'a> {
    weights: &'a Checkpoint,
    options: &'a LoadOptions,
    values: Values,
}

impl Fill<'_> {
    fn all<M: FromCheckpoint>(&self, model: M) -> Result<(M, LoadReport)> {
        let keys = model.key_map();
        self.with(model, &keys)
    }

    fn with<M: FromCheckpoint>(&self, mut model: M, keys: &KeyMap) -> Result<(M, LoadReport)> {
        let report = match self.values {
            Values::Read => {
                clinical_weights::load_from(&mut model, keys, self.weights, self.options)?
            }
            Values::Leave => clinical_weights::plan(&model, keys, self.weights, self.options)?,
        };
        Ok((model, report))
    }
}

/// A tensor whose name ends in this, whatever prefix it has.
fn find<'c>(weights: &'c Checkpoint, suffix: &str) -> Option<&'c TensorInfo> {
    weights.tensor(suffix).or_else(|| {
        weights.tensors().find(|tensor| {
            let before = tensor.name.strip_suffix(suffix);
            before.is_some_and(|before| before.ends_with('.'))
        })
    })
}

fn has(weights: &Checkpoint, suffix: &str) -> bool {
    find(weights, suffix).is_some()
}

/// The classes of a classifier.
fn classes(weights: &Checkpoint, head: TaskHead) -> Option<usize> {
    let roberta = match head {
        TaskHead::Sequence => find(weights, "classifier.out_proj.weight"),
        _ => None,
    };
    let classifier = roberta.or_else(|| find(weights, "classifier.weight"))?;
    classifier.shape.first().copied()
}

/// Tensors of the masked-language-model head, of BERT and of RoBERTa.
const MASKED: [&str; 2] = ["predictions.transform.dense.weight", "lm_head.dense.weight"];

/// The head by the weights, and by `architectures` where the weights fit several.
fn detect(config: &BertConfig, weights: &Checkpoint) -> TaskHead {
    if has(weights, "qa_outputs.weight") {
        return TaskHead::Span;
    }
    if has(weights, "classifier.out_proj.weight") {
        return TaskHead::Sequence;
    }
    if has(weights, "classifier.weight") {
        // A sequence classifier of BERT reads the pooler; without a word from the config, a pooler decides.
        return match config.head() {
            head @ (TaskHead::Token | TaskHead::Sequence) => head,
            _ if has(weights, "pooler.dense.weight") => TaskHead::Sequence,
            _ => TaskHead::Token,
        };
    }
    if MASKED.iter().any(|name| has(weights, name)) {
        return TaskHead::MaskedLanguage;
    }
    TaskHead::Encoder
}
