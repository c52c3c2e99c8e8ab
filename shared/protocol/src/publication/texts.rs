//! Serde for a list of ids as a list of texts.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;

pub(super) fn serialize<T: Display, S: Serializer>(ids: &[T], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(ids.iter().map(ToString::to_string))
}

pub(super) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error>
where
    T::Err: Display,
{
    let ids: Vec<String> = Vec::deserialize(from)?;
    let parsed: Result<_, _> = ids.iter().map(|id| id.parse()).collect();
    parsed.map_err(D::Error::custom)
}
