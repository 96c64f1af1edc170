//! JSON as it is needed here: strings are slices of the input, what is not needed is passed over.
//!
//! `serde_json` refuses more than 128 levels of nesting as long as its `IgnoredAny` is not used, which knows no limit;
//! values are passed over with [`Kind`] instead.

use super::ReadError;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Reads a whole text as one value.
pub(super) fn parse<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, ReadError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(&mut json).map_err(|e| error(&e))?;
    json.end().map_err(|e| error(&e))?;
    Ok(value)
}

/// What went wrong, with its place.
pub(super) fn error(error: &serde_json::Error) -> ReadError {
    let (line, column) = (error.line(), error.column());
    if error.is_eof() {
        return ReadError::TruncatedJson { line, column };
    }
    let text = error.to_string();
    let message = text
        .strip_suffix(&format!(" at line {line} column {column}"))
        .unwrap_or(&text);
    if message == "recursion limit exceeded" {
        return ReadError::TooDeep { line, column };
    }
    ReadError::Json {
        line,
        column,
        message: message.to_owned(),
    }
}

/// What a value is. Read as this, a value is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}

/// The part of a visitor that has no use for a value that is neither array nor object, or nor string.
macro_rules! visit_scalars_as {
    ($made_of:expr) => {
        visit_scalars_as!($made_of, but_strings);
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok($made_of(Kind::String))
        }
    };
    ($made_of:expr, but_strings) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($made_of(Kind::Null))
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($made_of(Kind::Boolean))
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($made_of(Kind::Number))
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($made_of(Kind::Number))
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($made_of(Kind::Number))
        }
    };
}
pub(super) use visit_scalars_as;

/// Passes over the rest of an array.
pub(super) fn pass_over_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<Kind>()?.is_some() {}
    Ok(())
}

/// Passes over the rest of an object.
pub(super) fn pass_over_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<Kind, Kind>()?.is_some() {}
    Ok(())
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindVisitor;
        impl<'de> Visitor<'de> for KindVisitor {
            type Value = Kind;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            visit_scalars_as!(|kind| kind);
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Kind, A::Error> {
                pass_over_seq(seq)?;
                Ok(Kind::Array)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Kind, A::Error> {
                pass_over_map(map)?;
                Ok(Kind::Object)
            }
        }
        deserializer.deserialize_any(KindVisitor)
    }
}

/// The name of a field, or a path that stands as one.
#[derive(Debug)]
pub(super) struct Key<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// A string, or what stands in its place.
#[derive(Debug)]
pub(super) struct Text<'de>(pub(super) Result<Cow<'de, str>, Kind>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            visit_scalars_as!(|kind| Text(Err(kind)), but_strings);
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Ok(Cow::Borrowed(text))))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Ok(Cow::Owned(text.to_owned()))))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Text<'de>, A::Error> {
                pass_over_seq(seq)?;
                Ok(Text(Err(Kind::Array)))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text<'de>, A::Error> {
                pass_over_map(map)?;
                Ok(Text(Err(Kind::Object)))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

/// A value of a field that is needed.
#[derive(Debug)]
pub(super) enum Value<'de> {
    Boolean(bool),
    Unsigned(u64),
    Text(Cow<'de, str>),
    Array(Vec<Value<'de>>),
    Object(Vec<(Key<'de>, Value<'de>)>),
    /// Null, or a number that is negative, too great or not whole.
    Other(Kind),
}

impl<'de> Value<'de> {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Boolean(_) => Kind::Boolean,
            Self::Unsigned(_) => Kind::Number,
            Self::Text(_) => Kind::String,
            Self::Array(_) => Kind::Array,
            Self::Object(_) => Kind::Object,
            Self::Other(kind) => *kind,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn into_text(self) -> Result<Cow<'de, str>, Kind> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.kind()),
        }
    }

    /// A field of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Value<'de>> {
        match self {
            Self::Object(fields) => fields
                .iter()
                .find(|(key, _)| key.0 == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Value<'de>, E> {
                Ok(Value::Other(Kind::Null))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
                Ok(Value::Boolean(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
                Ok(Value::Unsigned(value))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Value<'de>, E> {
                Ok(Value::Other(Kind::Number))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
                Ok(Value::Other(Kind::Number))
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
                Ok(Value::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
                Ok(Value::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Value::Array(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Value::Object(fields))
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}
