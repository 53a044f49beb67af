//! Loads a LLaMA or T5 directory, reads every weight, and prints one JSON line: seconds until it is loaded, seconds
//! until every weight was read, and the peak of the process's memory. `scripts/bench_load.py` compares it with
//! `transformers`.
//!
//! `cargo run --release -p clinical-bench --bin load -- DIR [PRECISION] [LAYOUT|FILE]`: `LAYOUT` is `automatic` (the
//! default), `input-major` or `output-major` (as `transformers` has it); `FILE` is a burnpack file, which is written if
//! it is not there.
#![allow(clippy::print_stdout)] // a command-line program

use std::path::Path;
use std::time::Instant;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use clinical_llama::{Llama, LlamaConfig};
use clinical_t5::{T5, T5Config};
use clinical_weights::{
    CheckpointDir, FromCheckpoint, LinearLayout, LoadOptions, Precision, load_burnpack, load_from,
    save_burnpack,
};

type Failure = Box<dyn std::error::Error>;

/// Values that are read at once: few, so that reading takes no memory to speak of.
const CHUNK: usize = 1 << 20;

enum Model {
    Llama(Llama),
    T5(T5),
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (dir, precision, last) = match arguments.as_slice() {
        [dir] => (dir, Precision::F32, "automatic"),
        [dir, precision] => (dir, precision.parse()?, "automatic"),
        [dir, precision, last] => (dir, precision.parse()?, last.as_str()),
        _ => return Err("give a directory, a precision, and a layout or a burnpack file".into()),
    };
    let (layout, burnpack) = match last {
        "automatic" => (LinearLayout::Automatic, None),
        "input-major" => (LinearLayout::InputMajor, None),
        "output-major" => (LinearLayout::OutputMajor, None),
        file => (LinearLayout::Automatic, Some(file)),
    };
    let options = LoadOptions::new()
        .with_precision(precision)
        .with_linear_layout(layout);
    let start = Instant::now();
    let dir = CheckpointDir::open(dir)?;
    let config = dir.config()?;
    let mut model = if config["model_type"] == "t5" {
        Model::T5(T5Config::from_value(config)?.init(&options.device)?)
    } else {
        Model::Llama(LlamaConfig::from_value(config)?.init(&options.device)?)
    };
    let file = burnpack.map(Path::new);
    match &mut model {
        Model::T5(model) => fill(model, &dir, &options, file)?,
        Model::Llama(model) => fill(model, &dir, &options, file)?,
    }
    let loaded = start.elapsed().as_secs_f64();
    let mut sum = Sum {
        views: match layout {
            // A burnpack file has every parameter in the module's own shape.
            _ if burnpack.is_some() => false,
            LinearLayout::Automatic => precision == Precision::F32,
            layout => layout == LinearLayout::OutputMajor,
        },
        containers: Vec::new(),
        sum: 0.0,
    };
    match &model {
        Model::T5(model) => model.visit(&mut sum),
        Model::Llama(model) => model.visit(&mut sum),
    }
    let read = start.elapsed().as_secs_f64();
    // The sum is printed, so that no read can be left out.
    let line = serde_json::json!({
        "load_s": loaded, "read_s": read, "peak_bytes": clinical_kernels::peak_rss_bytes(), "sum": sum.sum,
    });
    println!("{line}");
    Ok(())
}

/// From the directory; or from the burnpack file, which is written first if it is not there.
fn fill<M: FromCheckpoint>(
    model: &mut M,
    dir: &CheckpointDir,
    options: &LoadOptions,
    burnpack: Option<&Path>,
) -> Result<(), Failure> {
    match burnpack {
        Some(file) if file.exists() => load_burnpack(model, file)?,
        _ => {
            let keys = model.key_map();
            load_from(model, &keys, &dir.weights()?, options)?;
            if let Some(file) = burnpack {
                save_burnpack(model, file)?;
            }
        }
    }
    Ok(())
}

/// Reads every value, in the order in which it lies in memory.
struct Sum {
    /// Whether the matrices of `Linear` are views of their transposes.
    views: bool,
    containers: Vec<String>,
    sum: f64,
}

impl ModuleVisitor for Sum {
    fn enter_module(&mut self, _name: &str, container: &str) {
        self.containers.push(container.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let in_linear = self
            .containers
            .last()
            .is_some_and(|name| name == "Struct:Linear");
        let tensor = match self.views && in_linear && D == 2 {
            true => tensor.swap_dims(0, 1),
            false => tensor,
        };
        let dims = tensor.dims();
        let row: usize = dims[1..].iter().product();
        let step = (CHUNK / row.max(1)).max(1);
        for start in (0..dims[0]).step_by(step) {
            let part = tensor.clone().narrow(0, start, step.min(dims[0] - start));
            let part = part.cast(burn::tensor::DType::F32).sum();
            self.sum += f64::from(part.into_scalar::<f32>());
        }
    }
}
