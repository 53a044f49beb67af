//! Rows that share and copy blocks.

use super::*;

fn read(blocks: &mut Blocks, counts: &[usize]) {
    let total = counts.iter().sum();
    let new = Tensor::<4>::ones([1, 2, total, 4], &crate::cpu());
    blocks.append(counts, &new, &new);
}

fn rows(count: usize) -> Blocks {
    let mut blocks = Blocks::new(&crate::cpu(), DType::F32, 2, 4, false).unwrap();
    blocks.add_rows(count);
    blocks
}

fn places(row: &Row) -> Vec<*const Block> {
    row.blocks
        .iter()
        .map(|filled| Arc::as_ptr(&filled.block))
        .collect()
}

fn room(row: &Row) -> usize {
    row.blocks.iter().map(|filled| filled.block.capacity).sum()
}

#[test]
fn a_row_grows_without_being_copied() {
    let mut blocks = rows(2);
    read(&mut blocks, &[100, 7]);
    let mut before = blocks.rows.iter().map(places).collect::<Vec<_>>();
    for _ in 0..300 {
        read(&mut blocks, &[1, 1]);
        for (row, before) in blocks.rows.iter().zip(&mut before) {
            let now = places(row);
            assert!(now.starts_with(before), "a block has moved");
            assert!(room(row) < row.len + BLOCK, "{} for {}", room(row), row.len);
            *before = now;
        }
    }
}

#[test]
fn rows_that_part_copy_only_an_unfinished_block() {
    // The end of a long block stays shared and each row goes on in a block of its own.
    let mut blocks = rows(1);
    read(&mut blocks, &[100]);
    let whole = places(&blocks.rows[0]);
    blocks.select(&[0, 0, 0]);
    read(&mut blocks, &[1, 1, 1]);
    let ends: Vec<_> = blocks.rows.iter().map(|row| places(row)[1]).collect();
    assert!(blocks.rows.iter().all(|row| places(row)[..1] == whole[..]));
    assert!(ends[0] != ends[1] && ends[1] != ends[2] && ends[0] != ends[2]);
    // A short one is copied for all but one.
    read(&mut blocks, &[4, 0, 0]);
    let own = places(&blocks.rows[0])[1];
    blocks.select(&[0, 0]);
    read(&mut blocks, &[1, 1]);
    let ends: Vec<_> = blocks.rows.iter().map(|row| places(row)[1]).collect();
    assert!(ends.contains(&own) && ends[0] != ends[1]);
    assert!(
        blocks
            .rows
            .iter()
            .all(|row| row.len == 106 && room(row) == 160)
    );
    // Rows that are alone again write in place.
    let before = places(&blocks.rows[1]);
    blocks.select(&[1]);
    read(&mut blocks, &[20]);
    assert_eq!(places(&blocks.rows[0]), before);
}

#[test]
fn other_types_and_gradients_have_no_blocks() {
    let device = crate::cpu();
    assert!(Blocks::new(&device, DType::F16, 2, 4, false).is_none());
    assert!(Blocks::new(&device.clone().autodiff(), DType::F32, 2, 4, true).is_none());
    assert!(Blocks::new(&device, DType::F32, 0, 4, false).is_none());
}

#[test]
fn what_is_finite_stays_finite_in_halves() {
    let values = [1.0, -0.5, 70_000.0, -1e30, f32::INFINITY, f32::NAN, 1e-9];
    let mut halves = [f16::ZERO; 7];
    narrow(&values, &mut halves);
    let found = halves.map(f16::to_f32);
    assert_eq!(found[..5], [1.0, -0.5, 65_504.0, -65_504.0, f32::INFINITY]);
    assert!(found[5].is_nan() && found[6] == 0.0);
}
