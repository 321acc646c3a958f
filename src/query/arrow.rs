//! Rows as an Arrow IPC stream (Apache Arrow columnar format, "IPC Streaming Format"): a schema, then record batches, then
//! the end mark. Holds one batch at a time. A cell that does not fit its column's type ends the answer with a sentence:
//! nothing is turned into null or text in silence.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Float64Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::error::QueryError;
use super::moment::Moment;
use super::residual::text;
use crate::catalog::ColumnKind;

/// A batch goes out when it has so many rows, those of a usual page …
const BATCH_ROWS: usize = 1000;
/// … or cells of so many bytes.
const BATCH_BYTES: usize = 1024 * 1024;
/// The day from which Date32 counts.
const EPOCH: jiff::civil::Date = jiff::civil::Date::constant(1970, 1, 1);

/// Writes rows of known columns.
pub(super) struct ArrowEncoder {
    schema: SchemaRef,
    names: Vec<String>,
    builders: Vec<Builder>,
    writer: Option<StreamWriter<Vec<u8>>>,
    rows: usize,
    bytes: usize,
    rows_before: u64,
}

impl std::fmt::Debug for ArrowEncoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ArrowEncoder").field("names", &self.names).finish_non_exhaustive()
    }
}

enum Builder {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Double(Float64Builder),
    Moment(TimestampMicrosecondBuilder),
    Day(Date32Builder),
    Bytes(BinaryBuilder),
    Text(StringBuilder),
}

impl ArrowEncoder {
    pub(super) fn new(columns: &[(String, ColumnKind)]) -> Self {
        let fields: Vec<Field> =
            columns.iter().map(|(name, kind)| Field::new(name, data_type(*kind), true)).collect();
        Self {
            schema: Arc::new(Schema::new(fields)),
            names: columns.iter().map(|(name, _)| name.clone()).collect(),
            builders: columns.iter().map(|(_, kind)| Builder::new(*kind)).collect(),
            writer: None,
            rows: 0,
            bytes: 0,
            rows_before: 0,
        }
    }

    /// Takes one row; appends a batch to `out` when one is full.
    ///
    /// # Errors
    /// [`QueryError::NotShowable`], naming the row and the column.
    pub(super) fn row<'row>(
        &mut self,
        cells: impl Iterator<Item = Option<&'row [u8]>>,
        out: &mut Vec<u8>,
    ) -> Result<(), QueryError> {
        for (place, cell) in cells.enumerate() {
            let Some(builder) = self.builders.get_mut(place) else { break };
            let cell = cell.filter(|cell| *cell != b"null");
            self.bytes += cell.map_or(1, <[u8]>::len);
            if builder.push(cell).is_none() {
                let shown =
                    crate::error::clean_foreign_text(&String::from_utf8_lossy(cell.unwrap_or_default()));
                let row = self.rows_before + self.rows as u64 + 1;
                let message = format!(
                    "Row {row} has {shown} in '{}', which is no {}, so it cannot stand in an Arrow column. Ask for \
                     application/json or application/x-ndjson.",
                    self.names[place],
                    self.schema.field(place).data_type()
                );
                return Err(QueryError::NotShowable { message });
            }
        }
        self.rows += 1;
        if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES { self.flush(out) } else { Ok(()) }
    }

    /// Appends what is held and the end mark.
    ///
    /// # Errors
    /// As [`ArrowEncoder::row`].
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        self.flush(out)?;
        let writer = self.writer()?;
        writer.finish().map_err(|error| unwritable(&error))?;
        out.append(writer.get_mut());
        Ok(())
    }

    fn writer(&mut self) -> Result<&mut StreamWriter<Vec<u8>>, QueryError> {
        if self.writer.is_none() {
            let made = StreamWriter::try_new(Vec::new(), &self.schema);
            self.writer = Some(made.map_err(|error| unwritable(&error))?);
        }
        self.writer.as_mut().ok_or_else(|| unwritable(&ArrowError::IpcError("no writer".to_owned())))
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        if self.rows > 0 {
            let columns: Vec<ArrayRef> = self.builders.iter_mut().map(Builder::finish).collect();
            let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns);
            let batch = batch.map_err(|error| unwritable(&error))?;
            self.writer()?.write(&batch).map_err(|error| unwritable(&error))?;
            self.rows_before += std::mem::take(&mut self.rows) as u64;
            self.bytes = 0;
        }
        out.append(self.writer()?.get_mut());
        Ok(())
    }
}

fn unwritable(error: &ArrowError) -> QueryError {
    let message = format!("The rows cannot be written as Arrow ({error}). Ask for application/x-ndjson.");
    QueryError::NotShowable { message }
}

fn data_type(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::Bool => DataType::Boolean,
        ColumnKind::Int32 => DataType::Int32,
        ColumnKind::Int64 => DataType::Int64,
        ColumnKind::Double => DataType::Float64,
        ColumnKind::DateTime => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnKind::Date => DataType::Date32,
        ColumnKind::Binary => DataType::Binary,
        ColumnKind::String
        | ColumnKind::Time
        | ColumnKind::Duration
        | ColumnKind::Guid
        | ColumnKind::Json
        | ColumnKind::Any => DataType::Utf8,
    }
}

impl Builder {
    fn new(kind: ColumnKind) -> Self {
        match data_type(kind) {
            DataType::Boolean => Self::Bool(BooleanBuilder::new()),
            DataType::Int32 => Self::Int32(Int32Builder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Float64 => Self::Double(Float64Builder::new()),
            DataType::Timestamp(..) => Self::Moment(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            DataType::Date32 => Self::Day(Date32Builder::new()),
            DataType::Binary => Self::Bytes(BinaryBuilder::new()),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    /// Takes a cell; `None`: it is no such value.
    fn push(&mut self, cell: Option<&[u8]>) -> Option<()> {
        let raw = || std::str::from_utf8(cell?).ok();
        let plain = || Some(text(cell?));
        match (self, cell) {
            (Self::Bool(builder), None) => builder.append_null(),
            (Self::Int32(builder), None) => builder.append_null(),
            (Self::Int64(builder), None) => builder.append_null(),
            (Self::Double(builder), None) => builder.append_null(),
            (Self::Moment(builder), None) => builder.append_null(),
            (Self::Day(builder), None) => builder.append_null(),
            (Self::Bytes(builder), None) => builder.append_null(),
            (Self::Text(builder), None) => builder.append_null(),
            (Self::Bool(builder), Some(_)) => builder.append_value(raw()?.parse().ok()?),
            (Self::Int32(builder), Some(_)) => builder.append_value(raw()?.parse().ok()?),
            (Self::Int64(builder), Some(_)) => builder.append_value(raw()?.parse().ok()?),
            // OData writes the numbers that JSON does not have as text.
            (Self::Double(builder), Some(_)) => builder.append_value(plain()?.parse().ok()?),
            (Self::Moment(builder), Some(_)) => {
                builder.append_value(Moment::parse(&plain()?)?.as_microsecond())
            }
            (Self::Day(builder), Some(_)) => {
                let day: jiff::civil::Date = plain()?.parse().ok()?;
                builder.append_value(EPOCH.until(day).ok()?.get_days());
            }
            (Self::Bytes(builder), Some(_)) => builder.append_value(STANDARD.decode(&*plain()?).ok()?),
            (Self::Text(builder), Some(_)) => builder.append_value(match plain()? {
                Cow::Borrowed(text) => Cow::Borrowed(text),
                owned => owned,
            }),
        }
        Some(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Double(builder) => Arc::new(builder.finish()),
            Self::Moment(builder) => Arc::new(builder.finish()),
            Self::Day(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
    use arrow_ipc::reader::StreamReader;

    use super::*;

    fn columns() -> Vec<(String, ColumnKind)> {
        [
            ("text", ColumnKind::String),
            ("flag", ColumnKind::Bool),
            ("number", ColumnKind::Int64),
            ("ratio", ColumnKind::Double),
            ("at", ColumnKind::DateTime),
            ("day", ColumnKind::Date),
            ("bytes", ColumnKind::Binary),
            ("json", ColumnKind::Json),
        ]
        .map(|(name, kind)| (name.to_owned(), kind))
        .to_vec()
    }

    #[test]
    fn every_type_comes_back_as_it_was() {
        let mut encoder = ArrowEncoder::new(&columns());
        let mut out = Vec::new();
        let full = [
            r#""O\"Neil é""#,
            "true",
            "-9007199254740993",
            "2.5",
            "\"2026-01-31T08:00:00.123456Z\"",
            "\"1969-12-31\"",
            "\"SGk=\"",
            r#"["a",{"b":1}]"#,
        ];
        encoder.row(full.iter().map(|cell| Some(cell.as_bytes())), &mut out).unwrap();
        encoder.row((0..8).map(|place| (place > 3).then_some(b"null".as_slice())), &mut out).unwrap();
        encoder.finish(&mut out).unwrap();
        let batches: Vec<RecordBatch> =
            StreamReader::try_new(out.as_slice(), None).unwrap().collect::<Result<_, _>>().unwrap();
        let batch = &batches[0];
        assert_eq!((batches.len(), batch.num_rows()), (1, 2));
        assert_eq!(batch.column(0).as_string::<i32>().value(0), "O\"Neil é");
        assert!(batch.column(1).as_boolean().value(0));
        assert_eq!(batch.column(2).as_primitive::<Int64Type>().value(0), -9_007_199_254_740_993);
        assert!((batch.column(3).as_primitive::<Float64Type>().value(0) - 2.5).abs() < f64::EPSILON);
        let at = batch.column(4).as_primitive::<TimestampMicrosecondType>().value(0);
        assert_eq!(jiff::Timestamp::from_microsecond(at).unwrap().to_string(), "2026-01-31T08:00:00.123456Z");
        assert_eq!(batch.column(5).as_primitive::<Date32Type>().value(0), -1);
        assert_eq!(batch.column(6).as_binary::<i32>().value(0), b"Hi");
        assert_eq!(batch.column(7).as_string::<i32>().value(0), r#"["a",{"b":1}]"#);
        assert!((0..8).all(|place| batch.column(place).is_null(1)));
    }

    #[test]
    fn batches_are_bounded_and_an_answer_without_rows_has_its_schema() {
        let mut encoder = ArrowEncoder::new(&columns()[..1]);
        let mut out = Vec::new();
        let cell = format!("\"{}\"", "x".repeat(1000));
        let mut largest = 0;
        for _ in 0..3000 {
            let before = out.len();
            encoder.row(std::iter::once(Some(cell.as_bytes())), &mut out).unwrap();
            largest = largest.max(out.len() - before);
        }
        encoder.finish(&mut out).unwrap();
        assert!(largest > 0 && largest < 2 * BATCH_BYTES, "{largest}");
        let rows: usize =
            StreamReader::try_new(out.as_slice(), None).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(rows, 3000);
        let (mut encoder, mut out) = (ArrowEncoder::new(&columns()), Vec::new());
        encoder.finish(&mut out).unwrap();
        assert_eq!(StreamReader::try_new(out.as_slice(), None).unwrap().schema().fields().len(), 8);
    }

    #[test]
    fn the_first_and_the_last_moment_are_moments() {
        let mut encoder = ArrowEncoder::new(&columns()[4..6]);
        let mut out = Vec::new();
        for (at, day) in [
            ("\"0001-01-01T00:00:00Z\"", "\"0001-01-01\""),
            ("\"9999-12-31T23:59:59.9999999Z\"", "\"9999-12-31\""),
        ] {
            encoder.row([at, day].into_iter().map(|cell| Some(cell.as_bytes())), &mut out).unwrap();
        }
        encoder.finish(&mut out).unwrap();
        let batch = StreamReader::try_new(out.as_slice(), None).unwrap().next().unwrap().unwrap();
        let at = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!((at.value(0), at.value(1)), (-62_135_596_800_000_000, 253_402_300_799_999_999));
        let day = batch.column(1).as_primitive::<Date32Type>();
        assert_eq!((day.value(0), day.value(1)), (-719_162, 2_932_896));
    }

    #[test]
    fn a_cell_of_another_type_is_refused_and_named() {
        let mut encoder = ArrowEncoder::new(&columns()[2..3]);
        encoder.row(std::iter::once(Some(b"1".as_slice())), &mut Vec::new()).unwrap();
        let error = encoder.row(std::iter::once(Some(b"\"one\"".as_slice())), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().starts_with("Row 2 has \"one\" in 'number', which is no Int64"), "{error}");
    }
}
