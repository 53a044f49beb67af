//! Many continuations of one prefix are those rows one by one.

use burn::tensor::Tensor;
use clinical_llama::{Branch, Branches, Error, Llama};
use clinical_nn::{IGNORED, ModelError};

use crate::common::{VARIANTS, distance, model, values};

/// Prefixes of unequal length, branches of many lengths, and one that learns only its end.
fn rows() -> Vec<(Vec<u32>, Vec<Vec<u32>>)> {
    let ids = |from: u32, count: u32| -> Vec<u32> {
        let id = |at: u32| 3 + (at * 7 + at * at * from) % 40;
        (from..from + count).map(id).collect()
    };
    vec![
        (ids(1, 21), vec![ids(2, 9), ids(3, 4), ids(4, 5), ids(5, 2)]),
        (ids(6, 13), vec![ids(7, 3), ids(8, 12)]),
        (ids(9, 1), vec![ids(10, 6)]),
    ]
}

fn labels(branch: &[u32]) -> Vec<i64> {
    let label = |(at, &id): (usize, &u32)| match at {
        0 | 1 if branch.len() > 4 => IGNORED,
        _ => i64::from(id),
    };
    branch.iter().enumerate().map(label).collect()
}

/// The loss, and the gradients of the embeddings, of the first queries and of the last keys.
fn measured(model: &Llama, loss: clinical_llama::Loss) -> (f32, usize, Vec<Vec<f32>>) {
    let gradients = loss.mean.backward();
    let of = |tensor: Tensor<2>| values(tensor.grad(&gradients).unwrap());
    let layers = &model.model.layers;
    let last = layers.last().unwrap();
    let found = vec![
        of(model.model.embed_tokens.weight.val()),
        of(layers[0].self_attn.q_proj.weight.val()),
        of(last.self_attn.k_proj.weight.val()),
    ];
    (loss.mean.into_scalar::<f32>(), loss.targets, found)
}

#[test]
fn branches_are_whole_rows() {
    for variant in VARIANTS {
        let model = burn::module::Module::train(model(variant));
        let rows = rows();
        let labels: Vec<Vec<Vec<i64>>> = rows
            .iter()
            .map(|(_, branches)| branches.iter().map(|branch| labels(branch)).collect())
            .collect();
        let (mut ids, mut whole) = (Vec::new(), Vec::new());
        for ((prefix, branches), labels) in rows.iter().zip(&labels) {
            for (branch, labels) in branches.iter().zip(labels) {
                ids.push([prefix.as_slice(), branch].concat());
                let mut row = vec![IGNORED; prefix.len() + 1];
                row.extend(&labels[1..]);
                whole.push(row);
            }
        }
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let whole: Vec<&[i64]> = whole.iter().map(Vec::as_slice).collect();
        let expected = measured(&model, model.loss(&ids, &whole).unwrap());

        let branched: Vec<Branches<'_>> = rows
            .iter()
            .zip(&labels)
            .map(|((prefix, branches), labels)| Branches {
                prefix,
                branches: branches
                    .iter()
                    .zip(labels)
                    .map(|(ids, labels)| Branch { ids, labels })
                    .collect(),
            })
            .collect();
        let found = measured(&model, model.branched_loss(&branched).unwrap());
        assert!(
            (found.0 - expected.0).abs() < 1e-5 * expected.0,
            "{variant}"
        );
        assert_eq!(found.1, expected.1);
        for (found, expected) in found.2.iter().zip(&expected.2) {
            let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
            assert!(largest > 0.0);
            let wrong = distance(found, expected);
            assert!(wrong < 1e-4 * largest, "{variant}: {wrong} of {largest}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let model = model("tied");
    let of = |ids: &[u32], labels: &[i64]| {
        let branches = vec![Branch { ids, labels }];
        model.branched_loss(&[Branches {
            prefix: &[3, 4],
            branches,
        }])
    };
    assert!(of(&[5, 6], &[IGNORED, 6]).is_ok());
    assert!(matches!(of(&[5, 6], &[6]), Err(Error::LabelCount { .. })));
    assert!(matches!(of(&[5, 6], &[5, IGNORED]), Err(Error::Loss(_))));
    assert!(matches!(of(&[5], &[5]), Err(Error::Loss(_))));
    let unknown = of(&[5, 1 << 20], &[IGNORED, 6]);
    assert!(matches!(
        unknown,
        Err(Error::Model(ModelError::TokenOutOfRange { .. }))
    ));
    let long = vec![5; 1 << 13];
    assert!(of(&long, &vec![5; 1 << 13]).is_err());
    assert!(model.branched_loss(&[]).is_err());
}
