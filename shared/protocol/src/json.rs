//! JSON as the wire accepts it: UTF-8, one value, no duplicate keys, at most 8 levels.

use std::fmt;

use model::limits;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The text is not JSON as the wire accepts it (RFC 8259, and RFC 7493 2.3 on duplicate names).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON as this protocol takes it")]
pub struct JsonError;

/// Reads one JSON value.
///
/// # Errors
/// [`JsonError`] for anything that is not UTF-8 or not JSON, is followed by more, has more than
/// [`limits::JSON_DEPTH_MAX`] levels, a duplicate key in an object, or a lone surrogate.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).or(Err(JsonError))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { levels_left: limits::JSON_DEPTH_MAX }
        .deserialize(&mut deserializer)
        .or(Err(JsonError))?;
    deserializer.end().or(Err(JsonError))?;
    Ok(value)
}

/// Writes a value whose serialisation cannot fail. A text of about `bytes` is not copied while it
/// grows.
pub(crate) fn write(value: &impl Serialize, bytes: usize) -> String {
    let mut text = Vec::with_capacity(bytes);
    let written = serde_json::to_writer(&mut text, value).map(|()| text);
    written.ok().and_then(|text| String::from_utf8(text).ok()).unwrap_or_default()
}

#[derive(Clone, Copy)]
struct Strict {
    levels_left: usize,
}

impl Strict {
    fn inner<E: Error>(self) -> Result<Self, E> {
        let levels_left =
            self.levels_left.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { levels_left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom("a key twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_taken() {
        for text in ["{}", "[1,-2,3.5,\"\\ud83d\\ude00\",null,true]", "[[[[[[[[]]]]]]]]", " 1 "] {
            let strict = parse(text.as_bytes()).unwrap();
            assert_eq!(strict, serde_json::from_str::<Value>(text).unwrap());
        }
    }

    #[test]
    fn what_is_not_json_here_is_refused() {
        let cases: [&[u8]; 14] = [
            b"",
            b"{",
            b"{} {}",
            b"{}x",
            b"NaN",
            b"'a'",
            b"{\"a\":1,\"a\":1}",
            b"[{\"a\":{\"b\":1,\"b\":2}}]",
            b"[[[[[[[[[]]]]]]]]]",
            b"\"\\ud800\"",
            b"\"\\udc00\\ud800\"",
            b"\"\xff\"",
            b"\xef\xbb\xbf{}",
            b"\"\n\"",
        ];
        for case in cases {
            assert_eq!(parse(case), Err(JsonError), "{}", String::from_utf8_lossy(case));
        }
    }
}
