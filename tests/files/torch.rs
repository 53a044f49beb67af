//! `torch.save`, in both of its formats.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::state::State;

/// How tensors are pickled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `_rebuild_tensor_v2`.
    Plain,
    /// `_rebuild_from_type_v2` around it: a tensor with attributes, as a model under FSDP is saved.
    Fsdp,
    /// A persistent id of six items: the format before PyTorch 1.6.
    Legacy,
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn int(out: &mut Vec<u8>, value: usize) {
    out.push(b'J');
    out.extend((value as i32).to_le_bytes());
}

fn tuple(out: &mut Vec<u8>, values: &[usize]) {
    out.push(b'(');
    values.iter().for_each(|value| int(out, *value));
    out.push(b't');
}

/// The pickle of an `OrderedDict` of tensors.
pub fn pickle(state: &State, style: Style) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (name, shape, storage) in &state.tensors {
        text(&mut out, name);
        if style == Style::Fsdp {
            out.extend(b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n(");
        } else {
            out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n(");
        }
        out.push(b'(');
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, &storage.to_string());
        text(&mut out, "cpu");
        int(&mut out, state.storages[*storage].len());
        if style == Style::Legacy {
            out.push(b'N');
        }
        out.extend(b"tQK\0");
        tuple(&mut out, shape);
        let mut strides = vec![1; shape.len()];
        for at in (0..shape.len().saturating_sub(1)).rev() {
            strides[at] = strides[at + 1] * shape[at + 1];
        }
        tuple(&mut out, &strides);
        out.extend(b"\x89ccollections\nOrderedDict\n)Rt");
        if style == Style::Fsdp {
            out.push(b'}');
            text(&mut out, "_is_sharded");
            out.extend(b"\x89st");
        }
        out.push(b'R');
    }
    out.extend(b"u.");
    out
}

/// A zip archive as `torch.save` writes it: everything stored under the stem of the file's name.
pub fn zip(state: &State, stem: &str, style: Style) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut add = |name: &str, content: &[u8]| {
        zip.start_file(format!("{stem}/{name}"), stored).unwrap();
        zip.write_all(content).unwrap();
    };
    add("data.pkl", &pickle(state, style));
    for storage in 0..state.storages.len() {
        add(&format!("data/{storage}"), &state.bytes(storage));
    }
    add("version", b"3\n");
    zip.finish().unwrap().into_inner()
}

/// The format before 1.6: magic number, version, system, state dict, keys, then each storage with its count.
pub fn legacy(state: &State) -> Vec<u8> {
    let mut out =
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}("
            .to_vec();
    text(&mut out, "protocol_version");
    out.extend(b"M\xe9\x03");
    text(&mut out, "little_endian");
    out.push(0x88);
    text(&mut out, "type_sizes");
    out.extend(b"}(");
    for (name, size) in [("short", 2), ("int", 4), ("long", 4)] {
        text(&mut out, name);
        out.extend([b'K', size]);
    }
    out.extend(b"uu.");
    out.extend(pickle(state, Style::Legacy));
    let mut keys: Vec<String> = (0..state.storages.len())
        .map(|key| key.to_string())
        .collect();
    keys.sort();
    out.extend(b"\x80\x02](");
    keys.iter().for_each(|key| text(&mut out, key));
    out.extend(b"e.");
    for key in keys {
        let bytes = state.bytes(key.parse().unwrap());
        out.extend((bytes.len() as u64 / 4).to_le_bytes());
        out.extend(bytes);
    }
    out
}
