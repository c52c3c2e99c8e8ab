//! Reads parts of replies. A part of another shape is `None`, never a panic.

use redis::Value;

pub(crate) fn array(value: Value) -> Option<Vec<Value>> {
    if let Value::Array(items) = value { Some(items) } else { None }
}

pub(crate) fn bytes(value: &Value) -> Option<&[u8]> {
    if let Value::SimpleString(text) = value {
        return Some(text.as_bytes());
    }
    if let Value::BulkString(bytes) = value { Some(bytes) } else { None }
}

pub(crate) fn text(value: &Value) -> Option<&str> {
    std::str::from_utf8(bytes(value)?).ok()
}

pub(crate) fn unsigned(value: &Value) -> Option<u64> {
    if let Value::Int(number) = value { u64::try_from(*number).ok() } else { None }
}
