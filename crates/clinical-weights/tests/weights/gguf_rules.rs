//! Every rule of the GGUF format has its error.

use clinical_weights::Error;

use crate::gguf_file::{Builder, llama, open};

fn refused(builder: &Builder) -> Error {
    builder.open().expect_err("must be refused")
}

/// A file that opens.
fn good() -> Vec<u8> {
    llama().tensor("a", &[8], 0, 0).values(32).build()
}

/// An array of `count` values of this kind, of which none is there.
fn array(kind: u32, count: u64) -> Builder {
    llama().key(
        "k",
        9,
        &[&kind.to_le_bytes()[..], &count.to_le_bytes()].concat(),
    )
}

macro_rules! refuses {
    ($name:ident, $builder:expr, $error:pat $(if $guard:expr)?) => {
        #[test]
        fn $name() {
            let error = refused(&$builder);
            assert!(matches!(&error, $error $(if $guard)?), "{error:?}");
        }
    };
}

#[test]
fn a_good_file_opens() {
    assert!(open(&good()).is_ok());
}

#[test]
fn version_one() {
    let mut file = good();
    file[4] = 1;
    let error = open(&file).unwrap_err();
    assert!(
        matches!(
            error,
            Error::UnsupportedFormat {
                format: "GGUF version 1",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_big_endian_file() {
    let mut file = good();
    file[4..8].copy_from_slice(&[0, 0, 0, 3]);
    let error = open(&file).unwrap_err();
    assert!(
        matches!(
            error,
            Error::UnsupportedFormat {
                format: "big-endian GGUF",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn another_beginning() {
    let mut file = good();
    file[..4].copy_from_slice(b"GGML");
    assert!(matches!(open(&file), Err(Error::Gguf { .. })));
}

#[test]
fn counts_that_the_file_cannot_hold() {
    for (at, count) in [(8, 1u64 << 62), (8, 900_000), (16, 1 << 62), (16, 60_000)] {
        let mut file = good();
        file[at..at + 8].copy_from_slice(&count.to_le_bytes());
        assert!(
            matches!(
                open(&file),
                Err(Error::TooMany { .. }
                    | Error::Truncated { .. }
                    | Error::GgufMetadata { .. }
                    | Error::Gguf { .. })
            ),
            "{count} at {at}"
        );
    }
}

// Metadata.
refuses!(
    an_array_of_too_many_texts,
    array(8, u64::MAX),
    Error::Truncated { .. }
);
refuses!(
    an_array_of_too_many_numbers,
    array(4, u64::MAX / 2),
    Error::Truncated { .. }
);
refuses!(an_array_of_arrays, array(9, 1), Error::GgufMetadata { .. });
refuses!(
    a_text_beyond_the_file,
    llama().key("k", 8, &u64::MAX.to_le_bytes()),
    Error::Truncated { .. }
);
refuses!(
    a_value_of_an_unknown_kind,
    llama().key("k", 77, &[]),
    Error::GgufMetadata { .. }
);
refuses!(
    a_key_twice,
    llama().number("k", 1).number("k", 1),
    Error::GgufMetadata { key, .. } if key == "k"
);
refuses!(
    a_text_that_is_no_text,
    llama().key("k", 8, &[&1u64.to_le_bytes()[..], b"\xff"].concat()),
    Error::Gguf { .. }
);

#[test]
fn alignments() {
    for alignment in [0, 48, 1 << 30] {
        let error = refused(&llama().number("general.alignment", alignment));
        assert!(
            matches!(&error, Error::GgufMetadata { key, .. } if key == "general.alignment"),
            "{error}"
        );
    }
}

// Tensors.
refuses!(
    tensors_that_overlap,
    llama()
        .tensor("a", &[8], 0, 0)
        .tensor("b", &[8], 0, 0)
        .values(64),
    Error::TensorOffsets { .. }
);
refuses!(
    a_tensor_twice,
    llama()
        .tensor("a", &[8], 0, 0)
        .tensor("a", &[8], 0, 32)
        .values(64),
    Error::IndexDuplicate { .. }
);
refuses!(
    a_tensor_out_of_line,
    llama().tensor("a", &[8], 0, 4).values(64),
    Error::TensorBytesOf { .. }
);
refuses!(
    a_row_of_half_a_block,
    llama().tensor("a", &[33], 8, 0).values(640),
    Error::TensorBytesOf { .. }
);
refuses!(
    no_dimension,
    llama().tensor("a", &[], 0, 0).values(64),
    Error::TensorBytesOf { .. }
);
refuses!(
    rows_without_values,
    llama().number("llama.attention.head_count", 2).tensor(
        "blk.0.attn_q.weight",
        &[0, 1 << 40],
        0,
        0
    ),
    Error::TensorBytesOf { .. }
);
refuses!(
    too_many_dimensions,
    llama().tensor("a", &[1; 5], 0, 0).values(64),
    Error::TensorBytesOf { .. }
);
refuses!(
    more_values_than_addresses,
    llama().tensor("a", &[1 << 40, 1 << 40], 0, 0),
    Error::SizeOverflow { .. }
);
refuses!(
    more_values_than_bytes,
    llama().tensor("a", &[1 << 40], 0, 0),
    Error::Truncated { .. }
);
refuses!(
    a_type_that_is_not_read,
    llama().tensor("a", &[32], 23, 0).values(64),
    Error::GgufType { kind, .. } if kind == "IQ4_XS"
);
refuses!(
    rows_that_are_no_heads,
    llama()
        .number("llama.attention.head_count", 3)
        .tensor("blk.0.attn_q.weight", &[8, 8], 0, 0)
        .values(256),
    Error::TensorBytesOf { .. }
);

// Another model.
refuses!(
    another_architecture,
    Builder::default().text("general.architecture", "mamba"),
    Error::GgufArchitecture { found, .. } if found == "mamba"
);
refuses!(
    experts,
    llama().number("llama.expert_count", 8),
    Error::GgufArchitecture { .. }
);
refuses!(
    no_architecture,
    Builder::default(),
    Error::GgufMetadata { .. }
);
refuses!(
    a_part_alone,
    llama().number("split.count", 3),
    Error::GgufPart { .. }
);
refuses!(
    an_adapter_by_its_type,
    llama().text("general.type", "adapter").text("general.base_model.0.name", "Asclepius 7B"),
    Error::Adapter { base, .. } if base == "Asclepius 7B"
);
refuses!(
    an_adapter_by_its_tensors,
    llama().tensor("blk.0.attn_q.weight.lora_a", &[8], 0, 0).values(32),
    Error::Adapter { base, .. } if base == "another model"
);
refuses!(
    an_importance_matrix,
    llama().text("general.type", "imatrix"),
    Error::GgufNoModel { .. }
);
refuses!(
    the_eyes_of_a_model,
    llama().text("general.type", "mmproj"),
    Error::GgufNoModel { .. }
);
