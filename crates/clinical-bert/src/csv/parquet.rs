//! Vectors as Parquet: `id` (string), `vector` (list of floats), not compressed.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use ::parquet::data_type::{ByteArray, ByteArrayType, FloatType};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use super::csv_error;
use crate::Error;

/// The three-level list of the format's specification. No value is ever missing.
const SCHEMA: &str = "message vectors {
    required binary id (STRING);
    required group vector (LIST) { repeated group list { required float element; } }
}";

/// Rows of a row group: what a reader takes at a time, and what is held here.
const GROUP: usize = 4096;

/// Writes the CSV file of vectors as Parquet. `output` appears when it is complete.
pub(super) fn convert(csv: &Path, output: &Path) -> Result<(), Error> {
    let error = |cause| Error::Parquet {
        path: output.to_owned(),
        cause,
    };
    let io = |cause: std::io::Error| error(cause.into());
    let mut unfinished = output.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let file = File::create(&unfinished).map_err(io)?;
    let schema = Arc::new(parse_message_type(SCHEMA).map_err(error)?);
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(file, schema, properties).map_err(error)?;

    let mut rows = ::csv::Reader::from_path(csv).map_err(csv_error(csv))?;
    let mut group = Group::default();
    for row in rows.records() {
        group.add(&row.map_err(csv_error(csv))?).map_err(error)?;
        if group.ids.len() == GROUP {
            std::mem::take(&mut group)
                .write(&mut writer)
                .map_err(error)?;
        }
    }
    if !group.ids.is_empty() {
        group.write(&mut writer).map_err(error)?;
    }
    let file = writer.into_inner().map_err(error)?;
    file.sync_all().map_err(io)?;
    fs::rename(&unfinished, output).map_err(io)
}

/// The columns of one row group.
#[derive(Default)]
struct Group {
    ids: Vec<ByteArray>,
    values: Vec<f32>,
    /// 0 where a vector starts, 1 behind.
    repetitions: Vec<i16>,
}

impl Group {
    fn add(&mut self, row: &::csv::StringRecord) -> Result<(), ParquetError> {
        let mut fields = row.iter();
        self.ids.push(fields.next().unwrap_or_default().into());
        for (at, field) in fields.enumerate() {
            let value = field.parse();
            self.values
                .push(value.map_err(|error| ParquetError::External(Box::new(error)))?);
            self.repetitions.push(i16::from(at > 0));
        }
        Ok(())
    }

    fn write<W: Write + Send>(
        self,
        writer: &mut SerializedFileWriter<W>,
    ) -> Result<(), ParquetError> {
        let mut group = writer.next_row_group()?;
        if let Some(mut ids) = group.next_column()? {
            ids.typed::<ByteArrayType>()
                .write_batch(&self.ids, None, None)?;
            ids.close()?;
        }
        if let Some(mut values) = group.next_column()? {
            let present = vec![1; self.values.len()];
            values.typed::<FloatType>().write_batch(
                &self.values,
                Some(&present),
                Some(&self.repetitions),
            )?;
            values.close()?;
        }
        group.close()?;
        Ok(())
    }
}
