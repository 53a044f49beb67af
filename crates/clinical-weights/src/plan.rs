//! Which tensor fills which parameter, decided and checked before any value is read or any memory taken.

use std::collections::{BTreeMap, HashMap, HashSet};

use burn::module::Module;
use burn::tensor::DType;
use clinical_kernels::Packing;

use crate::checkpoint::Checkpoint;
use crate::key_map::Mark;
use crate::limits::MAX_SHARING;
use crate::nearest::suggest;
use crate::report::{Alias, Mismatched, Missing, Unexpected};
use crate::slots::{Kind, Slot, slots};
use crate::table::Entry;
use crate::tied::same_values;
use crate::{Dtype, Error, KeyMap, LoadOptions, LoadReport, Precision, prefix};
use clinical_files::shown;

/// What a load will do.
pub(crate) struct Plan<'c> {
    /// Parameter path to what fills it.
    pub(crate) steps: HashMap<String, Step<'c>>,
    pub(crate) report: LoadReport,
    /// Bytes that will be read.
    pub(crate) bytes: u64,
    /// Values of the parameters that must be there, and of those that are.
    pub(crate) values: Share,
}

/// How much of a model a checkpoint has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Share {
    pub(crate) found: u64,
    pub(crate) wanted: u64,
}

impl Share {
    fn add(&mut self, slot: &Slot, found: bool) {
        let extents = slot.shape.iter().map(|extent| *extent as u64);
        let values = extents.fold(1, u64::saturating_mul);
        self.wanted = self.wanted.saturating_add(values);
        if found {
            self.found = self.found.saturating_add(values);
        }
    }

    /// Whether it is less than half of the model.
    pub(crate) fn is_little(self) -> bool {
        self.found < self.wanted.div_ceil(2)
    }
}

/// How one parameter is filled.
pub(crate) struct Step<'c> {
    pub(crate) entry: &'c Entry,
    pub(crate) transposed: bool,
    /// Whether checkpoints hold its matrix as the module does.
    pub(crate) input_major: bool,
    /// The type of a floating point parameter.
    pub(crate) float: Option<DType>,
    /// How it is packed, if it is.
    pub(crate) packing: Option<Packing>,
}

impl Step<'_> {
    /// Whether the values lie as `[inputs, outputs]`: this file holds the transpose of what its format has, or the format
    /// has them so.
    pub(crate) fn is_turned(&self) -> bool {
        self.entry.turned != self.input_major
    }
}

/// Matches the parameters of a module with the tensors of a checkpoint.
///
/// With `strict`, anything missing, mismatched or unexpected is an error.
pub(crate) fn plan<'c, M: Module>(
    module: &M,
    keys: &KeyMap,
    checkpoint: &'c Checkpoint,
    options: &LoadOptions,
) -> Result<Plan<'c>, Error> {
    keys.check()?;
    let slots = slots(module, keys);
    if let Some(slot) = slots.iter().find(|slot| slot.packed) {
        return Err(Error::AlreadyPacked {
            parameter: slot.path.clone(),
        });
    }
    let mut report = empty_report(checkpoint, options.precision);
    report.bytes = needed_bytes(&slots, keys, options)?;

    let (prefix, names) = prefix::find(&slots, keys, checkpoint)?;
    if !prefix.is_empty() {
        let remark = prefix::remark(prefix, checkpoint);
        report.notes.push(remark.clone());
        report.prefix = Some(remark);
    }
    let mut steps = HashMap::with_capacity(slots.len());
    let mut used: HashSet<&str> = HashSet::new();
    let mut missing_values = 0u64;
    let mut read_bytes = 0u64;
    for slot in &slots {
        let found = find(slot, &slots, keys, &names, checkpoint, options.strict)?;
        let Some(Found { entry, alias }) = found else {
            let values: u64 = slot.shape.iter().map(|extent| *extent as u64).product();
            missing_values = missing_values.saturating_add(values);
            if keys.is(Mark::Optional, &slot.path) {
                report.left_initial.push(slot.path.clone());
            } else {
                report.missing.push(Missing {
                    parameter: slot.path.clone(),
                    shape: slot.file_shape(),
                    nearest: None,
                });
            }
            continue;
        };
        check_dtype(slot, entry)?;
        let first_use = used.insert(&entry.info.name);
        if let Some(alias) = alias {
            used.extend(
                alias
                    .duplicates
                    .iter()
                    .filter_map(|name| checkpoint.tensors.get(name))
                    .map(|entry| entry.info.name.as_str()),
            );
            report.aliases.push(alias);
        }
        let expected = slot.file_shape();
        if !same_shape(&expected, &entry.info.shape) {
            report.mismatched.push(Mismatched {
                parameter: slot.path.clone(),
                tensor: entry.info.name.clone(),
                expected,
                found: entry.info.shape.clone(),
            });
            continue;
        }
        if first_use {
            read_bytes = read_bytes.saturating_add(entry.info.bytes);
        }
        let wanted = keys.packing().format(slot, options.precision);
        let packing = wanted.map(|format| kept(format, entry.info.dtype));
        if packing != wanted {
            // It may take more than was reckoned.
            let bytes = |format| packed_bytes(slot, format);
            let [more, less] = [packing, wanted].map(|format| format.map_or(Ok(0), bytes));
            report.bytes = report.bytes.saturating_add(more?.saturating_sub(less?));
        }
        let float = (slot.kind == Kind::Float).then(|| float_type(slot, keys, options));
        if let Some(float) = float {
            let to = match (packing, entry.info.dtype) {
                (Some(format), Dtype::Block(kind)) if kind.fits(format) => kept_name(format),
                (Some(format), _) => format_name(format),
                (None, _) => dtype_name(float),
            };
            note_conversion(&mut report.conversions, entry.info.dtype, to);
        }
        report.values += entry.info.elements();
        report.applied.push(slot.path.clone());
        steps.insert(
            slot.path.clone(),
            Step {
                entry,
                transposed: slot.transposed,
                input_major: slot.input_major,
                float,
                packing,
            },
        );
    }
    if let Some(limit) = options.max_bytes.filter(|limit| report.bytes > *limit) {
        let needed = report.bytes;
        return Err(Error::TooLarge { needed, limit });
    }
    let mut values = Share::default();
    for slot in &slots {
        if !keys.is(Mark::Optional, &slot.path) {
            values.add(slot, steps.contains_key(&slot.path));
        }
    }
    classify_rest(&mut report, &names, checkpoint, &used);
    suggest(&mut report, keys);

    if options.strict && !report.fits() {
        return Err(Error::DoesNotFit(Box::new(report)));
    }
    // Files hold a byte for each value at least, so what is missing cannot have more values than they have bytes.
    let present = checkpoint.file_bytes();
    if read_bytes > present.saturating_mul(MAX_SHARING) || missing_values > present {
        return Err(Error::LargerThanFiles {
            needed: report.bytes,
            present,
        });
    }
    Ok(Plan {
        steps,
        report,
        bytes: read_bytes,
        values,
    })
}

/// What is known of a checkpoint before it is compared with a model.
fn empty_report(checkpoint: &Checkpoint, precision: Precision) -> LoadReport {
    let files = checkpoint.files().iter();
    LoadReport {
        chosen: checkpoint.chosen().to_owned(),
        files: files.map(|file| (file.name.clone(), file.format)).collect(),
        others: checkpoint.others().to_vec(),
        notes: checkpoint.notes().to_vec(),
        precision,
        ..LoadReport::default()
    }
}

/// The bytes of all parameters at the chosen precision, within the caller's limit.
fn needed_bytes(slots: &[Slot], keys: &KeyMap, options: &LoadOptions) -> Result<u64, Error> {
    let dtype = options.precision.dtype().unwrap_or(DType::F32);
    if let Some(slot) = slots.first()
        && !slot.device.supports_dtype(dtype)
    {
        return Err(Error::PrecisionUnsupported {
            precision: options.precision,
        });
    }
    let mut needed = 0u64;
    for slot in slots {
        needed = needed
            .checked_add(slot_bytes(slot, keys, options)?)
            .ok_or_else(|| Error::SizeOverflow {
                what: "the model".to_owned(),
            })?;
    }
    match options.max_bytes {
        Some(limit) if needed > limit => Err(Error::TooLarge { needed, limit }),
        _ => Ok(needed),
    }
}

fn packed_bytes(slot: &Slot, format: Packing) -> Result<u64, Error> {
    let rows = slot.rows_first();
    format
        .bytes(rows[0], rows[1])
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .map(|bytes| bytes as u64)
        .ok_or_else(|| too_many_bytes(slot))
}

fn slot_bytes(slot: &Slot, keys: &KeyMap, options: &LoadOptions) -> Result<u64, Error> {
    if let Some(format) = keys.packing().format(slot, options.precision) {
        return packed_bytes(slot, format);
    }
    let size = match slot.kind {
        Kind::Float => float_type(slot, keys, options).size() as u64,
        Kind::Int => 8,
        Kind::Bool => 1,
    };
    slot.shape
        .iter()
        .try_fold(size, |product, extent| product.checked_mul(*extent as u64))
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .ok_or_else(|| too_many_bytes(slot))
}

fn too_many_bytes(slot: &Slot) -> Error {
    Error::SizeOverflow {
        what: format!("the parameter {}", slot.path),
    }
}

/// The format in which integers of 4 bits stay as the file has them, if they can.
fn kept(format: Packing, dtype: Dtype) -> Packing {
    match (format, dtype) {
        (Packing::Int4Affine, Dtype::Block(kind)) if kind.fits(Packing::Int4Min) => {
            Packing::Int4Min
        }
        _ => format,
    }
}

fn float_type(slot: &Slot, keys: &KeyMap, options: &LoadOptions) -> DType {
    match options.precision.dtype() {
        Some(dtype) if !keys.packing().keeps_f32(&slot.path) => dtype,
        _ => DType::F32,
    }
}

/// Module spelling to tensor.
pub(crate) type Names<'c> = HashMap<String, &'c Entry>;

/// Tensors whose names do not begin with the prefix are none of the model's.
pub(crate) fn names<'c>(
    keys: &KeyMap,
    checkpoint: &'c Checkpoint,
    prefix: &str,
) -> Result<Names<'c>, Error> {
    let mut names: Names<'c> = HashMap::with_capacity(checkpoint.tensors.len());
    for (whole, entry) in &checkpoint.tensors {
        let Some(name) = whole.strip_prefix(prefix) else {
            continue;
        };
        let parameter = keys.module_name(name);
        if keys.is(Mark::Ignored, name) || keys.is(Mark::Ignored, &parameter) {
            continue;
        }
        if let Some(first) = names.get(&parameter) {
            return Err(Error::SameParameter {
                first: shown(&first.info.name),
                second: shown(whole),
                parameter: shown(&parameter),
            });
        }
        names.insert(parameter, entry);
    }
    Ok(names)
}

struct Found<'c> {
    entry: &'c Entry,
    alias: Option<Alias>,
}

/// The tensor for a parameter: the one of its own name, else one that it is tied with.
fn find<'c>(
    slot: &Slot,
    slots: &[Slot],
    keys: &KeyMap,
    names: &Names<'c>,
    checkpoint: &Checkpoint,
    strict: bool,
) -> Result<Option<Found<'c>>, Error> {
    let tied = keys.tied_with(&slot.path);
    if tied.is_empty() {
        let entry = names.get(&slot.path).copied();
        return Ok(entry.map(|entry| Found { entry, alias: None }));
    }
    // The preferred name counts, so that all parameters of a set get the same values.
    let mut present = tied.iter().filter_map(|name| names.get(name).copied());
    let Some(entry) = present.next() else {
        return Ok(None);
    };
    let mut alias = Alias {
        parameter: slot.path.clone(),
        tensor: entry.info.name.clone(),
        duplicates: Vec::new(),
        differ: false,
    };
    // Each set is compared once, at the first of its parameters.
    let is_first = slots
        .iter()
        .find(|other| tied.contains(&other.path))
        .is_some_and(|first| first.path == slot.path);
    for other in present {
        alias.duplicates.push(other.info.name.clone());
        if is_first && !same_values(checkpoint, entry, other)? {
            if strict {
                return Err(Error::TiedDisagree {
                    first: shown(&entry.info.name),
                    second: shown(&other.info.name),
                });
            }
            alias.differ = true;
        }
    }
    let plain = alias.duplicates.is_empty() && keys.module_name(&alias.tensor) == slot.path;
    Ok(Some(Found {
        entry,
        alias: (!plain).then_some(alias),
    }))
}

fn check_dtype(slot: &Slot, entry: &Entry) -> Result<(), Error> {
    let dtype = entry.info.dtype;
    match slot.kind {
        Kind::Float if !dtype.is_float() => Err(entry.wrong_dtype("floating point")),
        Kind::Int if !dtype.is_int() => Err(entry.wrong_dtype("integer")),
        Kind::Bool if !matches!(dtype, Dtype::Bool | Dtype::U8) => Err(entry.wrong_dtype("truth")),
        _ => Ok(()),
    }
}

/// PyTorch writes a single value with or without a dimension.
fn same_shape(expected: &[usize], found: &[usize]) -> bool {
    expected == found || (expected == [1] && found.is_empty())
}

fn note_conversion(
    conversions: &mut BTreeMap<(Dtype, &'static str), usize>,
    from: Dtype,
    to: &'static str,
) {
    if from.name() != to {
        *conversions.entry((from, to)).or_default() += 1;
    }
}

fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "F32",
        DType::F16 => "F16",
        _ => "BF16",
    }
}

fn format_name(format: Packing) -> &'static str {
    match format {
        Packing::Int8 => "INT8",
        Packing::Int8Wide => "INT8 by 16-bit activations",
        Packing::Int8Mixed => "INT8 by activations of 8 and 16 bits",
        Packing::Int4 => "INT4",
        Packing::Int4Min => "INT4 with minima",
        Packing::Int4Affine => "INT4 with zero points",
        Packing::F16 => "F16",
        Packing::BF16 => "BF16",
    }
}

/// For integers that stay as the file has them.
fn kept_name(format: Packing) -> &'static str {
    match format {
        Packing::Int8Wide => "INT8 by 16-bit activations, the same integers",
        Packing::Int8Mixed => "INT8 by activations of 8 and 16 bits, the same integers",
        Packing::Int4 | Packing::Int4Min => "INT4, the same integers",
        _ => "INT8, the same integers",
    }
}

/// Tensors that filled nothing are ignored or unexpected.
fn classify_rest(
    report: &mut LoadReport,
    names: &Names<'_>,
    checkpoint: &Checkpoint,
    used: &HashSet<&str>,
) {
    let known: HashSet<&str> = names
        .values()
        .map(|entry| entry.info.name.as_str())
        .collect();
    for (name, entry) in &checkpoint.tensors {
        if used.contains(name.as_str()) {
            continue;
        }
        if !known.contains(name.as_str()) {
            report.ignored.push(name.clone());
        } else {
            report.unexpected.push(Unexpected {
                tensor: name.clone(),
                shape: entry.info.shape.clone(),
                nearest: None,
            });
        }
    }
}
