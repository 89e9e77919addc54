//! One pass over a line: the stamp and the body are read together, instead of the line twice.

use super::Stamp;
use crate::time::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use std::borrow::Cow;
use std::fmt;

/// The type with which a line begins, where it does so as our own programs write it.
pub(super) fn kind_up_front(line: &str) -> Option<&str> {
    let (kind, _) = line.strip_prefix("{\"type\":\"")?.split_once('"')?;
    (!kind.contains('\\')).then_some(kind)
}

/// Reads a line whose type is known.
///
/// # Errors
/// Whatever is wrong with the line; reading stamp and body apart tells which of them it is.
pub(super) fn read<'de, T: Deserialize<'de>>(line: &'de str) -> Result<(Stamp, T), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(line);
    let mut parts = Parts::default();
    let body = T::deserialize(Whole { json: &mut json, parts: &mut parts })?;
    json.end()?;
    let time = parts.time.ok_or_else(|| serde_json::Error::missing_field("time"))?;
    Ok((Stamp { time, ecosystem: parts.ecosystem, host: parts.host }, body))
}

#[derive(Default)]
struct Parts {
    time: Option<Timestamp>,
    ecosystem: Option<String>,
    host: Option<String>,
}

/// A deserializer that keeps the stamp's fields to itself and shows the body the others.
struct Whole<'a, D> {
    json: D,
    parts: &'a mut Parts,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Whole<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.json.deserialize_map(Whole { json: visitor, parts: self.parts })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Whole<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.json.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.json.visit_map(Whole { json: map, parts: self.parts })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Whole<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        loop {
            let Some(Key(key)) = self.json.next_key()? else { return Ok(None) };
            match &*key {
                "type" => drop(self.json.next_value::<IgnoredAny>()?),
                "time" => self.parts.time = Some(self.json.next_value()?),
                "ecosystem" => self.parts.ecosystem = self.json.next_value()?,
                "host" => self.parts.host = self.json.next_value()?,
                _ => return seed.deserialize(key.into_deserializer()).map(Some),
            }
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.json.next_value_seed(seed)
    }
}

/// A key, borrowed from the line unless it is escaped there.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
