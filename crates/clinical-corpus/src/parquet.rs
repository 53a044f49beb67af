//! Rows as Parquet, not compressed.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::{ConvertedType, Repetition, Type as Physical};
use ::parquet::column::writer::ColumnWriter;
use ::parquet::data_type::ByteArray;
use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::types::Type;
use clinical_files::csv::{CsvOptions, Records};

use crate::{Columns, Error, Kind, Row, Value};

/// Rows of a row group: what a reader takes at a time, and what is held here.
const GROUP: usize = 4096;

/// Writes the rows of the unfinished CSV file as Parquet. Every column may have missing values.
pub(crate) fn convert(
    columns: &Columns,
    rows: &mut File,
    file: &mut File,
    output: &Path,
) -> crate::Result<()> {
    let failed = |cause| Error::Parquet {
        path: output.to_owned(),
        cause,
    };
    let schema = schema(columns).map_err(failed)?;
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer =
        SerializedFileWriter::new(file, Arc::new(schema), properties).map_err(failed)?;
    let mut records = Records::new(BufReader::new(rows), &CsvOptions::new())?;
    let mut group = Vec::new();
    while let Some(row) = columns.read(&mut records)? {
        group.push(row);
        if group.len() == GROUP {
            write_group(columns, &group, &mut writer).map_err(failed)?;
            group.clear();
        }
    }
    if !group.is_empty() {
        write_group(columns, &group, &mut writer).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(())
}

fn schema(columns: &Columns) -> Result<Type> {
    let fields = columns
        .iter()
        .map(|(name, kind)| Ok(Arc::new(field(name, kind)?)));
    Type::group_type_builder("rows")
        .with_fields(fields.collect::<Result<_>>()?)
        .build()
}

fn field(name: &str, kind: Kind) -> Result<Type> {
    let plain = |physical| Type::primitive_type_builder(name, physical);
    let builder = match kind {
        Kind::Integer => plain(Physical::INT64),
        Kind::Float => plain(Physical::FLOAT),
        Kind::Double => plain(Physical::DOUBLE),
        Kind::Flag => plain(Physical::BOOLEAN),
        Kind::Text => plain(Physical::BYTE_ARRAY).with_converted_type(ConvertedType::UTF8),
        Kind::Vector(_) => return list(name),
    };
    builder.with_repetition(Repetition::OPTIONAL).build()
}

/// The three-level list of the format's specification.
fn list(name: &str) -> Result<Type> {
    let element = Type::primitive_type_builder("element", Physical::FLOAT)
        .with_repetition(Repetition::REQUIRED)
        .build()?;
    let list = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![Arc::new(element)])
        .build()?;
    Type::group_type_builder(name)
        .with_repetition(Repetition::OPTIONAL)
        .with_converted_type(ConvertedType::LIST)
        .with_fields(vec![Arc::new(list)])
        .build()
}

fn write_group<W: Write + Send>(
    columns: &Columns,
    rows: &[Row],
    writer: &mut SerializedFileWriter<W>,
) -> Result<()> {
    let mut group = writer.next_row_group()?;
    for (index, _) in columns.iter().enumerate() {
        let Some(mut column) = group.next_column()? else {
            return Err(ParquetError::General("a column is missing".to_owned()));
        };
        let values = rows.iter().map(|row| &row[index]);
        match column.untyped() {
            ColumnWriter::Int64ColumnWriter(column) => {
                let (values, levels) = present(values, |value| match value {
                    Value::Integer(value) => Some(*value),
                    _ => None,
                });
                column.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::FloatColumnWriter(column)
                if column.get_descriptor().max_rep_level() > 0 =>
            {
                let (values, levels, repetitions) = elements(values);
                column.write_batch(&values, Some(&levels), Some(&repetitions))?;
            }
            ColumnWriter::FloatColumnWriter(column) => {
                let (values, levels) = present(values, |value| match value {
                    Value::Float(value) => Some(*value),
                    _ => None,
                });
                column.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::DoubleColumnWriter(column) => {
                let (values, levels) = present(values, |value| match value {
                    Value::Double(value) => Some(*value),
                    _ => None,
                });
                column.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::BoolColumnWriter(column) => {
                let (values, levels) = present(values, |value| match value {
                    Value::Flag(value) => Some(*value),
                    _ => None,
                });
                column.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::ByteArrayColumnWriter(column) => {
                let (values, levels) = present(values, |value| match value {
                    Value::Text(text) => Some(ByteArray::from(text.as_str())),
                    _ => None,
                });
                column.write_batch(&values, Some(&levels), None)?;
            }
            _ => {
                return Err(ParquetError::General(
                    "no such column was asked for".to_owned(),
                ));
            }
        }
        column.close()?;
    }
    group.close()?;
    Ok(())
}

/// The values that are there, and 1 for each of them, 0 for each that is missing.
fn present<'v, T>(
    values: impl Iterator<Item = &'v Value>,
    of: impl Fn(&Value) -> Option<T>,
) -> (Vec<T>, Vec<i16>) {
    let (mut found, mut levels) = (Vec::new(), Vec::new());
    for value in values {
        let value = of(value);
        levels.push(i16::from(value.is_some()));
        found.extend(value);
    }
    (found, levels)
}

/// The values of vectors; 2 for each of them and 0 for a missing vector; 0 where a vector begins and 1 after.
fn elements<'v>(vectors: impl Iterator<Item = &'v Value>) -> (Vec<f32>, Vec<i16>, Vec<i16>) {
    let (mut found, mut levels, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    for vector in vectors {
        let Value::Vector(values) = vector else {
            levels.push(0);
            repetitions.push(0);
            continue;
        };
        for (at, value) in values.iter().enumerate() {
            found.push(*value);
            levels.push(2);
            repetitions.push(i16::from(at > 0));
        }
    }
    (found, levels, repetitions)
}
