//! Measures the memory bound: while a checkpoint is loaded, a process takes at most the size of the model, its
//! largest tensor and 64 MiB.
//!
//! ```text
//! cargo run --release -p clinical-bench --bin peak_memory
//! ```
//!
//! Writes a synthetic model of about one gigabyte into a temporary folder, in each format, and loads each in a process
//! of its own that then reads every value. Exits with 1 if a bound is exceeded. Needs 5 GB of disk and 2 GB of memory,
//! and a system that tells a process its peak (Linux).

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use burn::module::{Initializer, Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use clinical_weights::{FromCheckpoint, KeyMap, LinearLayout, LoadOptions, load};
use zip::write::SimpleFileOptions;

const VOCABULARY: usize = 32_000;
const WIDTH: usize = 1024;
const LAYERS: usize = 28;

#[derive(Module, Debug)]
struct Embedding {
    weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct Linear {
    weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct Layer {
    up: Linear,
    down: Linear,
}

#[derive(Module, Debug)]
struct Synthetic {
    embed: Embedding,
    layers: Vec<Layer>,
}

impl Synthetic {
    fn new(device: &Device) -> Self {
        let matrix = |rows: usize, columns: usize| Initializer::Zeros.init([rows, columns], device);
        Self {
            embed: Embedding {
                weight: matrix(VOCABULARY, WIDTH),
            },
            layers: (0..LAYERS)
                .map(|_| Layer {
                    up: Linear {
                        weight: matrix(WIDTH, 4 * WIDTH),
                    },
                    down: Linear {
                        weight: matrix(4 * WIDTH, WIDTH),
                    },
                })
                .collect(),
        }
    }
}

impl FromCheckpoint for Synthetic {
    fn key_map(&self) -> KeyMap {
        KeyMap::new()
    }
}

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [dir, layout] => measure(Path::new(dir), layout),
        _ => all(),
    }
}

/// The child: loads, reads every value, and prints seconds and peaks.
fn measure(dir: &Path, layout: &str) -> Result<(), Failure> {
    let layout = match layout {
        "InputMajor" => LinearLayout::InputMajor,
        _ => LinearLayout::OutputMajor,
    };
    let mut model = Synthetic::new(&clinical_kernels::cpu());
    let start = Instant::now();
    let report = load(
        &mut model,
        dir,
        &LoadOptions::new().with_linear_layout(layout),
    )?;
    let (loaded, peak) = (start.elapsed(), peak()?);
    let mut sum = Sum(layout, 0.0);
    model.visit(&mut sum);
    println!(
        "{} {} {peak} {} {}",
        loaded.as_secs_f64(),
        start.elapsed().as_secs_f64(),
        self::peak()?,
        report.bytes
    );
    // The sum is used, so that no read can be left out.
    if sum.1.is_nan() {
        Err("not a number".into())
    } else {
        Ok(())
    }
}

fn peak() -> Result<u64, Failure> {
    clinical_kernels::peak_rss_bytes().ok_or_else(|| "this system does not tell the peak".into())
}

/// Reads every value in the order in which it lies in memory.
struct Sum(LinearLayout, f32);

impl ModuleVisitor for Sum {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let is_embedding = tensor.dims()[0] == VOCABULARY;
        let tensor = match self.0 {
            LinearLayout::OutputMajor if !is_embedding => tensor.swap_dims(0, 1),
            _ => tensor,
        };
        self.1 += tensor.sum().into_scalar::<f32>();
    }
}

/// The parent: writes the files and runs the children.
fn all() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let largest = (VOCABULARY * WIDTH * 4) as u64;
    println!(
        "| files | layout | load s | load and read s | peak loading MB | peak reading MB | promised MB |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut broken = false;
    for (name, bytes, sharded) in [
        ("safetensors f32", 4, false),
        ("safetensors f32, sharded", 4, true),
        ("safetensors bf16", 2, false),
        ("PyTorch f32", 4, false),
        ("PyTorch bf16", 2, false),
    ] {
        let dir = folder.path().join(name);
        std::fs::create_dir(&dir)?;
        if name.starts_with("PyTorch") {
            write_torch(&dir.join("pytorch_model.bin"), bytes)?;
        } else {
            write_safetensors(&dir, bytes, if sharded { 4 } else { 1 })?;
        }
        for layout in ["InputMajor", "OutputMajor"] {
            let output = std::process::Command::new(std::env::current_exe()?)
                .args([dir.as_os_str(), layout.as_ref()])
                .output()?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
            }
            let line = String::from_utf8(output.stdout)?;
            let numbers: Vec<f64> = line
                .split_whitespace()
                .map(str::parse)
                .collect::<Result<_, _>>()?;
            let [loaded, read, peak, peak_read, model] = numbers[..] else {
                return Err("unexpected output".into());
            };
            let promised = model + largest as f64 + f64::from(64u32 << 20);
            broken |= peak > promised;
            let mb = |bytes: f64| (bytes / 1e6).round();
            println!(
                "| {name} | {layout} | {loaded:.2} | {read:.2} | {} | {} | {} |",
                mb(peak),
                mb(peak_read),
                mb(promised)
            );
        }
        std::fs::remove_dir_all(&dir)?;
    }
    if broken {
        Err("a promise is broken".into())
    } else {
        Ok(())
    }
}

/// All tensors with their shapes in a checkpoint.
fn shapes() -> BTreeMap<String, [usize; 2]> {
    let mut shapes = BTreeMap::from([("embed.weight".to_owned(), [VOCABULARY, WIDTH])]);
    for layer in 0..LAYERS {
        shapes.insert(format!("layers.{layer}.up.weight"), [4 * WIDTH, WIDTH]);
        shapes.insert(format!("layers.{layer}.down.weight"), [WIDTH, 4 * WIDTH]);
    }
    shapes
}

/// Small values that are no zeros, so that no file is sparse.
fn write_values(out: &mut impl Write, count: usize, bytes: usize) -> std::io::Result<()> {
    let block: Vec<u8> = (0..1024u32)
        .flat_map(|i| ((i as f32 - 511.5) / 65536.0).to_le_bytes()[4 - bytes..].to_vec())
        .collect();
    (0..count / 1024).try_for_each(|_| out.write_all(&block))
}

fn write_safetensors(dir: &Path, bytes: usize, shards: usize) -> Result<(), Failure> {
    let all: Vec<_> = shapes().into_iter().collect();
    let mut places = BTreeMap::new();
    for (number, part) in all.chunks(all.len().div_ceil(shards)).enumerate() {
        let name = match shards {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{:05}-of-{shards:05}.safetensors", number + 1),
        };
        let mut end = 0;
        let mut header = serde_json::Map::new();
        for (tensor, [rows, columns]) in part {
            let start = end;
            end += rows * columns * bytes;
            let dtype = if bytes == 4 { "F32" } else { "BF16" };
            header.insert(tensor.clone(), serde_json::json!({"dtype": dtype, "shape": [rows, columns], "data_offsets": [start, end]}));
            places.insert(tensor.clone(), name.clone());
        }
        let mut header = serde_json::to_vec(&header)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut out = BufWriter::new(File::create(dir.join(&name))?);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for (_, [rows, columns]) in part {
            write_values(&mut out, rows * columns, bytes)?;
        }
        out.flush()?;
    }
    if shards > 1 {
        let index = serde_json::json!({"weight_map": places});
        std::fs::write(dir.join("model.safetensors.index.json"), index.to_string())?;
    }
    Ok(())
}

/// What `torch.save` writes for a state dict.
fn write_torch(path: &Path, bytes: usize) -> Result<(), Failure> {
    let storage = if bytes == 4 {
        "FloatStorage"
    } else {
        "BFloat16Storage"
    };
    let text = |text: &str| {
        [
            &b"X"[..],
            &(text.len() as u32).to_le_bytes(),
            text.as_bytes(),
        ]
        .concat()
    };
    let int = |value: usize| [&b"J"[..], &(value as i32).to_le_bytes()].concat();
    let mut pickle = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (number, (name, [rows, columns])) in shapes().into_iter().enumerate() {
        let parts = [
            text(&name),
            b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
            text("storage"),
            format!("ctorch\n{storage}\n").into_bytes(),
            text(&number.to_string()),
            text("cpu"),
            int(rows * columns),
            b"tQK\0".to_vec(),
            int(rows),
            int(columns),
            b"\x86".to_vec(),
            int(columns),
            b"K\x01\x86\x89ccollections\nOrderedDict\n)RtR".to_vec(),
        ];
        pickle.extend(parts.concat());
    }
    pickle.extend(b"u.");
    let mut zip = zip::ZipWriter::new(BufWriter::new(File::create(path)?));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("archive/data.pkl", stored)?;
    zip.write_all(&pickle)?;
    zip.start_file("archive/byteorder", stored)?;
    zip.write_all(b"little")?;
    for (number, [rows, columns]) in shapes().into_values().enumerate() {
        zip.start_file(format!("archive/data/{number}"), stored)?;
        write_values(&mut zip, rows * columns, bytes)?;
    }
    zip.start_file("archive/version", stored)?;
    zip.write_all(b"3\n")?;
    zip.finish()?.flush()?;
    Ok(())
}
