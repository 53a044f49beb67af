//! The inputs of CLIP.

use clinical_tasks::clip::AroundRule;
use clinical_tasks::{Portion, RowOptions};
use clinical_tokenizer::Tokenizer;

use crate::Result;
use crate::data::{Examples, TaskData};
use crate::error::about;

/// The published inputs of CLIP: each sentence with what stands around it, within a budget of tokens.
pub(super) fn clip_inputs(
    data: &TaskData,
    portion: Portion,
    chosen: &[usize],
    budget: usize,
    tokenizer: &Tokenizer,
) -> Result<Vec<String>> {
    let Examples::Clip(notes) = &data.examples else {
        return Ok(Vec::new());
    };
    let options: RowOptions = data.options();
    let mut encoded: Option<(u64, Vec<(usize, usize)>)> = None;
    let mut inputs = Vec::with_capacity(chosen.len());
    for &index in chosen {
        let (note, at) = notes.get(portion, index);
        let known = encoded.take().filter(|(id, _)| *id == note.id);
        let (id, tokens) = match known {
            Some(known) => known,
            None => {
                let tokens = about(tokenizer.encode(&note.text, true), || note.id.to_string())?;
                (note.id, tokens.offsets().to_vec())
            }
        };
        inputs.push(note.input(at, &tokens, budget, AroundRule::Fixed, &options)?);
        encoded = Some((id, tokens));
    }
    Ok(inputs)
}
