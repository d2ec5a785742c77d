//! SQL functions over a row's values, for comparing generations: a hash, the sum of hashes, and the values as JSON. Their
//! results are compared within one process only.

use std::hash::{DefaultHasher, Hasher};

use rusqlite::{
    Connection,
    functions::{Aggregate, Context, FunctionFlags},
    types::ValueRef,
};
use serde_json::Value;

/// Any number of arguments.
const ANY: i32 = -1;

pub(in crate::tables) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("ROW_HASH", ANY, flags, |row| Ok(hash(row).cast_signed()))?;
    connection.create_scalar_function("ROW_JSON", ANY, flags, |row| Ok(json(row)))?;
    connection.create_aggregate_function("ROW_DIGEST", ANY, flags, Sum)
}

/// A hash of the values of a row.
fn hash(row: &Context<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for index in 0..row.len() {
        match row.get_raw(index) {
            ValueRef::Null => hasher.write_u8(0),
            ValueRef::Integer(value) => {
                hasher.write_u8(1);
                hasher.write_i64(value);
            }
            ValueRef::Real(value) => {
                hasher.write_u8(2);
                hasher.write_u64(value.to_bits());
            }
            ValueRef::Text(value) => write_bytes(&mut hasher, 3, value),
            ValueRef::Blob(value) => write_bytes(&mut hasher, 4, value),
        }
    }
    hasher.finish()
}

fn write_bytes(hasher: &mut DefaultHasher, kind: u8, bytes: &[u8]) {
    hasher.write_u8(kind);
    hasher.write_usize(bytes.len());
    hasher.write(bytes);
}

/// The values of a row as a JSON array; bytes in hexadecimal.
fn json(row: &Context<'_>) -> String {
    let value = |value: ValueRef<'_>| match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => value.into(),
        ValueRef::Real(value) => value.into(),
        ValueRef::Text(value) => String::from_utf8_lossy(value).into(),
        ValueRef::Blob(value) => value.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
    };
    Value::Array((0..row.len()).map(|index| value(row.get_raw(index))).collect()).to_string()
}

/// The sum of hashes: rows that are there twice count twice, and their order does not matter.
struct Sum;

impl Aggregate<u64, String> for Sum {
    fn init(&self, _row: &mut Context<'_>) -> rusqlite::Result<u64> {
        Ok(0)
    }

    fn step(&self, row: &mut Context<'_>, sum: &mut u64) -> rusqlite::Result<()> {
        *sum = sum.wrapping_add(hash(row));
        Ok(())
    }

    fn finalize(&self, _row: &mut Context<'_>, sum: Option<u64>) -> rusqlite::Result<String> {
        Ok(sum.unwrap_or(0).to_string())
    }
}
