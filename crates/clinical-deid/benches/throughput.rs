//! Speed of the converter in MB/s on invented notes.
//!
//! `cargo bench -p clinical-deid -- [--notes FILE] [--converted FILE]` also writes the notes and what they
//! were converted to, each with a zero byte after it, for `scripts/bench_deid.py`.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use clinical_deid::replace_list_of_notes;

const NOTES: usize = 2000;
const RUNS: usize = 15;

/// SplitMix64: the notes are the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const SENTENCES: [&str; 12] = [
    "The patient slept well and had no complaints overnight.",
    "Blood pressure was stable, and the dose was left as it was.",
    "He walked the length of the hall twice with a cane.",
    "Chest film showed clear lungs and a heart of normal size.",
    "Plan: continue present drugs, repeat the potassium in the morning, and discuss discharge.",
    "Abdomen soft, not tender, bowel sounds present in all four quadrants.",
    "She denies fever, chills, cough, or pain on breathing.",
    "Wound clean and dry; sutures to be taken out at the next visit.",
    "Labs: Na 139, K 4.1, Cl 103, CO2 25, BUN 18, creat 0.9.",
    "Family was told of the plan and agreed with it.",
    "Sodium was low on arrival and came up with fluid restriction.",
    "Oxygen saturation 97 % on room air.",
];

const TAGS: [&str; 16] = [
    "[**Last Name (STitle) 4821**]",
    "[**First Name8 (NamePattern2) **]",
    "[**Hospital1 18**]",
    "[**2151-7-16**]",
    "[**2151-12-3**]",
    "[**7-16**]",
    "[**Known lastname 77**]",
    "[**Telephone/Fax (1) 3310**]",
    "[**Location (un) 620**]",
    "[**Age over 90 **]",
    "[**Medical Record Number 5**]",
    "[**Month/Year (2) 1204**]",
    "[**Doctor Last Name 12**]",
    "[**MD Number(1) 904**]",
    "[**19**]",
    "[**Date range (1) 63**]",
];

/// Notes of about 4,000 bytes with a tag in every 150 or so, and a few that are longer.
fn notes() -> Vec<String> {
    let mut random = Random(20151);
    (0..NOTES)
        .map(|index| {
            let length = if index % 50 == 0 {
                30_000
            } else {
                1_000 + random.below(6_000)
            };
            let mut note = String::new();
            while note.len() < length {
                note.push_str(random.pick(&SENTENCES));
                note.push_str(random.pick(&[" ", " ", " ", "\n", "\n\n"]));
                if random.below(5) < 2 {
                    note.push_str(random.pick(&["Seen by Dr. ", "Seen at ", "On ", "Call "]));
                    note.push_str(random.pick(&TAGS));
                    note.push_str(random.pick(&[".", ", ", " ", "\n"]));
                }
            }
            note
        })
        .collect()
}

fn write(path: Option<PathBuf>, notes: &[String]) -> std::io::Result<()> {
    match path {
        Some(path) => std::fs::write(
            path,
            notes
                .iter()
                .map(|note| format!("{note}\0"))
                .collect::<String>(),
        ),
        None => Ok(()),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut notes_path, mut converted_path) = (None, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--notes" => notes_path = args.next().map(PathBuf::from),
            "--converted" => converted_path = args.next().map(PathBuf::from),
            // What cargo itself passes.
            "--bench" => {}
            other => return Err(format!("unknown argument {other}").into()),
        }
    }

    let notes = notes();
    let bytes: usize = notes.iter().map(String::len).sum();
    let converted = replace_list_of_notes(&notes)?;
    write(notes_path, &notes)?;
    write(converted_path, &converted)?;

    let mut seconds = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let start = Instant::now();
        black_box(replace_list_of_notes(black_box(&notes))?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
    println!(
        "clinical-deid: {} notes, {:.1} MB, {RUNS} runs: median {:.1} MB/s, best {:.1}, worst {:.1}",
        notes.len(),
        bytes as f64 / 1e6,
        rate(seconds[RUNS / 2]),
        rate(seconds[0]),
        rate(seconds[RUNS - 1]),
    );
    Ok(())
}
