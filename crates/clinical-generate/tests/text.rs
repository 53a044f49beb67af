//! Text while it is generated: pieces add up, stop strings end an answer wherever the token borders are.

mod common;

use std::ops::ControlFlow;

use clinical_generate::{
    EndTokens, Generated, Generation, Step, StopReason, TextDecoder, TextStream, generate,
};
use common::{END, TableModel, prompts, slices};

/// Token `n` is the `n`-th of these. Some are half a character, some half a word.
const PIECES: [&[u8]; 16] = [
    b"", b"</s>", b" no", b" fe", b"ver", b" co", b"ugh", b".", b"\n", b"#", b"##", b" \xc3",
    b"\xa9", b"n", b" pain", b"o",
];

struct Bytes;

#[derive(Clone, Default)]
struct Stream(Vec<u8>);

impl TextDecoder for Bytes {
    fn stream(&self, _row: usize) -> Box<dyn TextStream> {
        Box::new(Stream::default())
    }
}

impl TextStream for Stream {
    fn push(&mut self, id: u32) -> String {
        assert_ne!(id, END, "an end token is no text");
        self.0.extend(PIECES[id as usize]);
        let whole = match std::str::from_utf8(&self.0) {
            Ok(text) => text.len(),
            // Half a character may still become whole.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.0.len(),
        };
        let rest = self.0.split_off(whole);
        let text = String::from_utf8_lossy(&self.0).into_owned();
        self.0 = rest;
        text
    }

    fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.0)).into_owned()
    }

    fn fork(&self) -> Box<dyn TextStream> {
        Box::new(self.clone())
    }
}

/// All of an answer's text at once.
fn decode(ids: &[u32]) -> String {
    let bytes: Vec<u8> = ids
        .iter()
        .flat_map(|&id| PIECES[id as usize])
        .copied()
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Results, and the text that came with the steps of each.
fn run(options: &Generation) -> (Vec<Generated>, Vec<String>) {
    let model = TableModel::decoder(PIECES.len());
    let all = prompts(40, PIECES.len() as u32);
    let end = EndTokens::new([END]).with_text(&Bytes);
    let copies = options.num_return_sequences;
    let mut shown = vec![String::new(); all.len() * copies];
    let on_token = |step: Step<'_>| {
        shown[step.row * copies + step.sequence].push_str(step.text);
        ControlFlow::Continue(())
    };
    let results = generate(&model, &slices(&all), &end, options, on_token).unwrap();
    (results, shown)
}

fn strategies() -> [Generation; 3] {
    [
        Generation::greedy(),
        Generation::sample().with_num_return_sequences(2),
        Generation::beam(3).with_num_return_sequences(2),
    ]
    .map(|options| options.with_max_new_tokens(25))
}

#[test]
fn shown_pieces_add_up_to_the_text() {
    for options in strategies() {
        let (results, shown) = run(&options);
        for (result, shown) in results.iter().zip(&shown) {
            assert_eq!(result.text.as_deref(), Some(shown.as_str()));
            assert_eq!(*shown, decode(result.content()));
        }
    }
}

#[test]
fn stop_strings_end_an_answer_across_token_borders() {
    let stops = ["###", "fever.", "no", "é"];
    for options in strategies() {
        let (results, shown) = run(&options.with_stop_strings(stops));
        let mut stopped = 0;
        for (result, shown) in results.iter().zip(&shown) {
            let text = result.text.as_deref().unwrap();
            assert_eq!(text, shown, "nothing of a stop string is shown");
            let whole = decode(result.content());
            let first = stops.iter().filter_map(|stop| whole.find(stop)).min();
            assert_eq!(
                result.stop == StopReason::StopString,
                first.is_some(),
                "{whole:?}"
            );
            match first {
                Some(at) => {
                    assert_eq!(text, &whole[..at]);
                    let before = decode(&result.ids[..result.ids.len() - 1]);
                    assert!(
                        !stops.iter().any(|stop| before.contains(stop)),
                        "it ends at once"
                    );
                    stopped += 1;
                }
                None => assert_eq!(text, whole),
            }
        }
        assert!(stopped > 10, "{stopped} answers met a stop string");
    }
}
