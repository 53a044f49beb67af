//! Flax files: MessagePack of maps of arrays.

use super::state::State;

/// `flax_model.msgpack` of a state dict under PyTorch's names. A matrix called `weight` is written as a `kernel` of the
/// other shape with the same values in order (its transpose would have them in another), a table as an `embedding`, a
/// norm as a `scale`.
pub fn msgpack(state: &State) -> Vec<u8> {
    let mut out = vec![0xde];
    out.extend((state.tensors.len() as u16).to_be_bytes());
    for (name, shape, storage) in &state.tensors {
        let module = name.strip_suffix(".weight").unwrap();
        let mut shape = shape.clone();
        let leaf = match shape.len() {
            1 => "scale",
            _ if module.ends_with("embed_tokens") => "embedding",
            _ => {
                shape.reverse();
                "kernel"
            }
        };
        text(&mut out, module);
        out.push(0x81);
        text(&mut out, leaf);
        let array = array(&shape, &state.bytes(*storage));
        out.push(0xc9);
        out.extend((array.len() as u32).to_be_bytes());
        out.push(1);
        out.extend(array);
    }
    out
}

fn array(shape: &[usize], values: &[u8]) -> Vec<u8> {
    let mut out = vec![0x93, 0x90 | shape.len() as u8];
    for extent in shape {
        out.push(0xce);
        out.extend((*extent as u32).to_be_bytes());
    }
    text(&mut out, "float32");
    out.push(0xc6);
    out.extend((values.len() as u32).to_be_bytes());
    out.extend(values);
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend([0xd9, text.len() as u8]);
    out.extend(text.as_bytes());
}
