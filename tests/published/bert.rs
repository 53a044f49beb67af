//! Bio_ClinicalBERT.

use clinical_bert::{
    BertOptions, ClinicalBert, LowerCase, Pooling, Remark, TaskHead, TokenizerRemark,
};
use clinical_weights::{Format, LoadOptions};
use serde_json::json;

use crate::files::Directory;
use crate::files::state::State;
use crate::files::tokenizers::bert_words;
use crate::files::torch::legacy;

const WIDTH: usize = 24;
const INNER: usize = 48;
const LAYERS: usize = 12;
const ROWS: usize = 28_996;

fn state() -> State {
    let mut state = State::default();
    let norm = |state: &mut State, at: &str| {
        state.fill(format!("{at}.LayerNorm.weight"), &[WIDTH], 1.0);
        state.fill(format!("{at}.LayerNorm.bias"), &[WIDTH], 0.0);
    };
    let linear = |state: &mut State, at: &str, output: usize, input: usize| {
        state.draw(format!("{at}.weight"), &[output, input]);
        state.draw(format!("{at}.bias"), &[output]);
    };
    let at = "bert.embeddings";
    state.draw(format!("{at}.word_embeddings.weight"), &[ROWS, WIDTH]);
    state.draw(format!("{at}.position_embeddings.weight"), &[512, WIDTH]);
    state.draw(format!("{at}.token_type_embeddings.weight"), &[2, WIDTH]);
    norm(&mut state, at);
    for layer in 0..LAYERS {
        let at = format!("bert.encoder.layer.{layer}");
        for name in ["query", "key", "value"] {
            linear(
                &mut state,
                &format!("{at}.attention.self.{name}"),
                WIDTH,
                WIDTH,
            );
        }
        linear(
            &mut state,
            &format!("{at}.attention.output.dense"),
            WIDTH,
            WIDTH,
        );
        norm(&mut state, &format!("{at}.attention.output"));
        linear(
            &mut state,
            &format!("{at}.intermediate.dense"),
            INNER,
            WIDTH,
        );
        linear(&mut state, &format!("{at}.output.dense"), WIDTH, INNER);
        norm(&mut state, &format!("{at}.output"));
    }
    linear(&mut state, "bert.pooler.dense", WIDTH, WIDTH);
    state.draw("cls.predictions.bias", &[ROWS]);
    linear(&mut state, "cls.predictions.transform.dense", WIDTH, WIDTH);
    norm(&mut state, "cls.predictions.transform");
    state.share(
        "cls.predictions.decoder.weight",
        "bert.embeddings.word_embeddings.weight",
    );
    linear(&mut state, "cls.seq_relationship", 2, WIDTH);
    state
}

/// The files of the main branch that matter: a torch file of before 1.6, a config without a model type, a word list and
/// nothing that says whether text is lower-cased.
pub fn files() -> Directory {
    let mut dir = Directory::default();
    dir.json("config.json", &json!({
        "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": WIDTH,
        "initializer_range": 0.02, "intermediate_size": INNER, "max_position_embeddings": 512,
        "num_attention_heads": 12, "num_hidden_layers": LAYERS, "type_vocab_size": 2, "vocab_size": ROWS
    }));
    dir.add("vocab.txt", bert_words());
    dir.add("pytorch_model.bin", legacy(&state()));
    dir
}

#[test]
fn bio_clinical_bert_keeps_case() {
    let files = files();
    let (_root, path) = files.write("Bio_ClinicalBERT");
    let bert = ClinicalBert::load(&path, &LoadOptions::new()).unwrap();
    assert_eq!(bert.head(), TaskHead::MaskedLanguage);
    assert_eq!(
        bert.report().files,
        [("pytorch_model.bin".to_owned(), Format::TorchLegacy)]
    );
    assert!(bert.report().fits(), "{}", bert.report());
    assert_eq!(
        bert.remarks(),
        [Remark::Tokenizer(TokenizerRemark::CaseFromVocabulary {
            lower_case: false
        })]
    );
    assert!(
        bert.report()
            .notes
            .iter()
            .any(|note| note.contains("do_lower_case"))
    );
    let special = bert.tokenizer().special();
    assert_eq!(
        (special.pad, special.cls, special.sep, special.mask),
        (Some(0), Some(101), Some(102), Some(103))
    );
    let pieces = |bert: &ClinicalBert| {
        let ids = bert.tokens("Abnormality").unwrap();
        ids.into_iter()
            .map(|id| bert.tokenizer().id_to_token(id).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(pieces(&bert), ["Abnormality"]);

    // What `transformers` does with this directory.
    let options = BertOptions::new().with_lower_case(LowerCase::Transformers);
    let lower = ClinicalBert::load_with(&path, &LoadOptions::new(), &options).unwrap();
    assert_eq!(pieces(&lower), ["abnormal", "##ity"]);
    assert_eq!(lower.remarks(), []);

    let texts = ["The fever"];
    let vector = bert.embed(&texts, Pooling::Cls).remove(0).unwrap();
    std::fs::remove_file(path.join("pytorch_model.bin")).unwrap();
    std::fs::write(path.join("model.safetensors"), state().safetensors()).unwrap();
    let again = ClinicalBert::load(&path, &LoadOptions::new()).unwrap();
    assert_eq!(again.embed(&texts, Pooling::Cls).remove(0).unwrap(), vector);
}
