//! Recipes as files: those of this crate, and every rule about settings.

use clinical_tokenizer::{Tokenizer, UnigramTraining};
use clinical_train::{Error, Recipe, RecipeError, Task, TokenizerRecipe};

const NAMES: [(&str, &str); 9] = [
    ("t5-spans", "spans"),
    ("t5-spans-nanot5", "spans"),
    ("t5-pairs", "pairs"),
    ("llama-notes", "notes"),
    ("llama-instructions", "instructions"),
    ("bert-masked", "masked"),
    ("bert-classes", "classes"),
    ("bert-tags", "tags"),
    ("bert-answers", "answers"),
];

fn published(name: &str) -> Recipe {
    Recipe::from_toml(Recipe::published(name).unwrap()).unwrap()
}

#[test]
fn recipes_of_this_crate_are_read_and_written() {
    for (name, kind) in NAMES {
        let recipe = published(name);
        assert_eq!(
            recipe.task.map(|task: Task| task.to_string()).as_deref(),
            Some(kind)
        );
        let text = recipe.to_toml().unwrap();
        assert_eq!(Recipe::from_toml(&text).unwrap(), recipe, "{name}: {text}");
    }
    assert_eq!(Recipe::published("t5"), None);
}

/// What the published recipes do, in steps of theirs.
#[test]
fn published_rates() {
    let rate = |name: &str, step, total| {
        let recipe = published(name);
        recipe.schedule.rate(recipe.rate, step, total)
    };
    assert!((rate("t5-spans", 0, 1_000_000) - 0.005).abs() < 1e-12);
    assert!((rate("t5-spans", 160_000, 1_000_000) - 0.0025).abs() < 1e-12);
    assert_eq!(rate("t5-pairs", 1234, 5000), 1e-4);
    assert_eq!(rate("llama-notes", 30, 1000), 2e-5);
    assert_eq!(rate("llama-notes", 15, 1000), 1e-5);
    assert!(rate("llama-notes", 999, 1000) < 1e-10);
    assert_eq!(rate("bert-masked", 10_000, 150_000), 5e-5);
}

const LEAST: &str = "rate = 1e-4\noptimizer = { name = \"adamw\" }\n";

fn problem(more: &str) -> Error {
    Recipe::from_toml(&format!("{LEAST}{more}")).unwrap_err()
}

#[test]
fn each_rule_has_its_error() {
    assert!(Recipe::from_toml(&format!("{LEAST}epochs = 1")).is_ok());
    macro_rules! refused {
        ($($more:literal => $pattern:pat),+ $(,)?) => {
            $(
                let found = problem($more);
                assert!(matches!(found, Error::Recipe($pattern)), "{}: {found}", $more);
            )+
        };
    }
    refused!(
        "" => RecipeError::Length,
        "epochs = 1\nsteps = 1" => RecipeError::Length,
        "epochs = 0" => RecipeError::Zero { field: "epochs" },
        "steps = 0" => RecipeError::Zero { field: "steps" },
        "epochs = 1\naccumulate = 0" => RecipeError::Zero { field: "accumulate" },
        "epochs = 1\nkeep = 0" => RecipeError::Zero { field: "keep" },
        "epochs = 1\npatience = 0" => RecipeError::Zero { field: "patience" },
        "epochs = 1\nevaluate = { steps = 0 }" => RecipeError::Zero { field: "evaluate" },
        "epochs = 1\nclip = 0.0" => RecipeError::NotPositive { field: "clip", .. },
        "epochs = 1\nclip = nan" => RecipeError::NotPositive { field: "clip", .. },
        "epochs = 1\ndropout = 1.0" => RecipeError::NotAnAverage { field: "dropout", .. },
        "epochs = 1\nlora = { rank = 0 }" => RecipeError::Zero { field: "lora.rank" },
        "epochs = 1\nlora = { alpha = -1.0 }" => RecipeError::NotPositive { field: "lora.alpha", .. },
        "epochs = 1\nlora = { dropout = -0.1 }" => RecipeError::NotAnAverage { field: "lora.dropout", .. },
    );
    let rate = "epochs = 1\noptimizer = { name = \"adamw\" }\nrate = inf";
    let found = Recipe::from_toml(rate).unwrap_err();
    assert!(matches!(
        found,
        Error::Recipe(RecipeError::NotPositive { field: "rate", .. })
    ));
    let found = problem("epochs = 1\nbatch = { rows = 0 }");
    assert!(matches!(found, Error::Data(_)), "{found}");
}

/// A key that no recipe has is an error with its line, not a setting that is quietly left out.
#[test]
fn unknown_keys_are_named() {
    for (more, key) in [
        ("epochs = 1\nlearning_rate = 1.0", "learning_rate"),
        ("epochs = 1\nlora = { r = 8 }", "`r`"),
        ("epochs = 1\nbatch = { row = 8 }", "row"),
        (
            "epochs = 1\nschedule = { name = \"cosine\", warm = 1 }",
            "warm",
        ),
        ("epochs = 1\nschedule = { name = \"cosinus\" }", "cosinus"),
        (
            "epochs = 1\ntask = { kind = \"pairs\", limit = 1 }",
            "limit",
        ),
        ("epochs = 1\ntask = { kind = \"pair\" }", "pair"),
    ] {
        let found = problem(more);
        assert!(matches!(found, Error::RecipeFile { .. }), "{more}: {found}");
        assert!(found.to_string().contains(key), "{more}: {found}");
    }
}

#[test]
fn recipes_for_tokenizers() {
    for name in ["t5-tokenizer", "bert-tokenizer"] {
        let text = TokenizerRecipe::published(name).unwrap();
        assert!(TokenizerRecipe::is_one(text));
        let recipe = TokenizerRecipe::from_toml(text).unwrap();
        let written = recipe.to_toml().unwrap();
        assert_eq!(TokenizerRecipe::from_toml(&written).unwrap(), recipe);
    }
    assert!(!TokenizerRecipe::is_one(
        Recipe::published("t5-pairs").unwrap()
    ));
    assert_eq!(TokenizerRecipe::published("t5-pairs"), None);
    for wrong in [
        "[tokenizer]\nkind = \"bpe\"",
        "[tokenizer]\nkind = \"unigram\"\nvocabulary = 5",
        "[tokenizer]\nkind = \"unigram\"\n[model]",
        "[tokenizer",
    ] {
        let error = TokenizerRecipe::from_toml(wrong).unwrap_err();
        assert!(matches!(error, Error::RecipeFile { .. }), "{wrong}");
    }
    // The settings are those of the trainings themselves.
    let texts = ["Seen by Dr. [Name] for chest pain.", "No chest pain today."].repeat(60);
    let recipe = "[tokenizer]\nkind = \"unigram\"\nvocab_size = 32\nlower_case = false\n\
                  extra_ids = 10\ndeid_tokens = true\nword_seeds = true";
    let trained = TokenizerRecipe::from_toml(recipe).unwrap();
    let trained = trained.train(texts.iter()).unwrap();
    let expected = UnigramTraining::clinical_t5(false)
        .with_vocab_size(32)
        .with_extra_ids(10)
        .with_added_tokens(clinical_deid::SPECIAL_TOKENS)
        .with_word_seeds();
    let expected = expected.train(texts.iter()).unwrap();
    let ids = |tokenizer: &Tokenizer| {
        tokenizer
            .encode("No chest pain, Dr. [Name]", true)
            .unwrap()
            .into_ids()
    };
    assert_eq!(trained.vocab_size(), 32 + 10 + 15);
    assert_eq!(ids(&trained), ids(&expected));
    assert_eq!(trained.token_to_id("[Name]"), Some(42));
    // Too few texts for so many tokens.
    let published = TokenizerRecipe::published("t5-tokenizer").unwrap();
    let published = TokenizerRecipe::from_toml(published).unwrap();
    assert!(matches!(
        published.train(texts.iter()),
        Err(Error::Model { .. })
    ));
}
