//! The exact bytes of JSON that is hashed: keys in byte order, no white space, no number that is not an integer.
//!
//! The digest of a config or a manifest is the digest of these bytes, so they must not depend on the order in which a
//! struct lists its fields, nor on features that another crate of the build turns on in `serde_json`.

use serde::Serialize;
use serde_json::Value;

/// Why a value has no canonical JSON.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalJsonError {
    /// The value cannot be written as JSON at all, for example a map whose keys are not strings.
    #[error("this value cannot be written as JSON")]
    Serialize(#[source] serde_json::Error),
    /// A floating-point number: its text is not the same in every JSON writer.
    #[error("the number {0} is not an integer")]
    Float(serde_json::Number),
}

/// Writes a value as JSON without white space, object keys sorted by their bytes, non-ASCII text as UTF-8.
pub fn canonical_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalJsonError> {
    let value = serde_json::to_value(value).map_err(CanonicalJsonError::Serialize)?;
    let mut out = Vec::new();
    write_value(&value, &mut out)?;
    Ok(out)
}

fn write_value(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonicalJsonError> {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push(b'{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_scalar(key, out)?;
                out.push(b':');
                write_value(&map[key], out)?;
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_value(item, out)?;
            }
            out.push(b']');
        }
        Value::Number(number) if number.is_f64() => {
            return Err(CanonicalJsonError::Float(number.clone()));
        }
        scalar => write_scalar(scalar, out)?,
    }
    Ok(())
}

fn write_scalar<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CanonicalJsonError> {
    serde_json::to_writer(out, value).map_err(CanonicalJsonError::Serialize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_at_every_depth_and_text_stays_utf8() {
        let bytes =
            canonical_json(&json!({"b": [{"z": 1, "a": null}], "B": "ü/\"\n", "a": true})).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"{"B":"ü/\"\n","a":true,"b":[{"a":null,"z":1}]}"#
        );
    }

    #[test]
    fn floats_are_refused() {
        let error = canonical_json(&json!({"a": 0.5})).unwrap_err();
        assert_eq!(error.to_string(), "the number 0.5 is not an integer");
    }
}
