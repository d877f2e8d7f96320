//! Rows in columns: Parquet, a group of rows at a time.

use std::io::{self, Write};
use std::sync::Arc;

use mmn_schema::api::ResultRecord;
use mmn_schema::vp::VantagePoint;
use mmn_translate::results::rows::{Cell, Column, Rows, Type};
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type as Schema;

use super::{Form, Unwritten};
use crate::failure::Failure;

/// How many rows a group has: what is held in memory.
const GROUP: usize = 16 << 10;

/// A file of rows.
pub(super) struct Parquet {
    rows: Rows,
    held: Vec<Values>,
    count: usize,
    writer: SerializedFileWriter<Box<dyn Write + Send>>,
}

impl Parquet {
    pub(super) fn new(rows: Rows, to: Box<dyn Write + Send>) -> Result<Self, Failure> {
        let fields = rows.columns().iter().map(|column| field(column).map(Arc::new));
        let fields = fields.collect::<Result<_, _>>().map_err(failed)?;
        let schema = Schema::group_type_builder("results").with_fields(fields).build().map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(format!("mmn version {}", env!("CARGO_PKG_VERSION")))
            .build();
        let writer = SerializedFileWriter::new(to, Arc::new(schema), Arc::new(properties)).map_err(failed)?;
        let held = rows.columns().iter().map(|column| Values::of(column.kind)).collect();
        Ok(Self { rows, held, count: 0, writer })
    }

    fn group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for values in &mut self.held {
            values.write(&mut group)?;
        }
        group.close()?;
        self.count = 0;
        Ok(())
    }
}

impl Form for Parquet {
    fn write(&mut self, point: Option<&VantagePoint>, record: &ResultRecord) -> Result<(), Unwritten> {
        for row in self.rows.of(point, record)? {
            for (values, cell) in self.held.iter_mut().zip(row) {
                values.push(cell);
            }
            self.count += 1;
            if self.count == GROUP {
                self.group().map_err(failed)?;
            }
        }
        Ok(())
    }
    fn end(mut self: Box<Self>) -> Result<(), Failure> {
        if self.count > 0 {
            self.group().map_err(failed)?;
        }
        self.writer.finish().map_err(failed)?;
        self.writer.inner_mut().flush()?;
        Ok(())
    }
}

fn field(column: &Column) -> Result<Schema, ParquetError> {
    let (physical, logical) = match column.kind {
        Type::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Type::Integer => (Physical::INT64, None),
        Type::Real => (Physical::DOUBLE, None),
        Type::Flag => (Physical::BOOLEAN, None),
        Type::Instant => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::NANOS))),
    };
    Schema::primitive_type_builder(&column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()
}

/// The cells of a column that wait for their group.
enum Values {
    Text(Held<ByteArray>),
    Integer(Held<i64>),
    Real(Held<f64>),
    Flag(Held<bool>),
}

/// The values that there are, and for each row whether it has one.
struct Held<T> {
    values: Vec<T>,
    there: Vec<i16>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { values: Vec::new(), there: Vec::new() }
    }
}

impl<T> Held<T> {
    fn push(&mut self, value: Option<T>) {
        self.there.push(i16::from(value.is_some()));
        self.values.extend(value);
    }
}

impl Values {
    fn of(kind: Type) -> Self {
        match kind {
            Type::Text => Self::Text(Held::default()),
            Type::Integer | Type::Instant => Self::Integer(Held::default()),
            Type::Real => Self::Real(Held::default()),
            Type::Flag => Self::Flag(Held::default()),
        }
    }

    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Self::Text(held), Cell::Text(text)) => held.push(Some(text.into_bytes().into())),
            (Self::Integer(held), Cell::Integer(number)) => held.push(Some(number)),
            (Self::Integer(held), Cell::Instant(instant)) => held.push(Some(instant.unix_ns())),
            (Self::Real(held), Cell::Real(number)) => held.push(Some(number)),
            (Self::Flag(held), Cell::Flag(flag)) => held.push(Some(flag)),
            (Self::Text(held), _) => held.push(None),
            (Self::Integer(held), _) => held.push(None),
            (Self::Real(held), _) => held.push(None),
            (Self::Flag(held), _) => held.push(None),
        }
    }

    fn write<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        match self {
            Self::Text(held) => write::<ByteArrayType, _>(held, group),
            Self::Integer(held) => write::<Int64Type, _>(held, group),
            Self::Real(held) => write::<DoubleType, _>(held, group),
            Self::Flag(held) => write::<BoolType, _>(held, group),
        }
    }
}

fn write<D: DataType, W: Write + Send>(
    held: &mut Held<D::T>,
    group: &mut SerializedRowGroupWriter<'_, W>,
) -> Result<(), ParquetError> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<D>().write_batch(&held.values, Some(&held.there), None)?;
        column.close()?;
    }
    held.values.clear();
    held.there.clear();
    Ok(())
}

/// What the destination says is told as it says it: that its reader has gone is no failure of ours.
fn failed(error: ParquetError) -> Failure {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => (*error).into(),
            Err(other) => Failure::new(other),
        },
        other => Failure::new(other),
    }
}
