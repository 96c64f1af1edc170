//! An auth file with one entry changed and everything else as it was: unknown fields, order, spelling of values.

use super::auth_file::json_error;
use super::{CredentialsError, LoginKey};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::ser::PrettyFormatter;
use serde_json::value::RawValue;
use std::fmt;
use std::path::Path;

const AUTHS: &str = "auths";

/// The members of an object in their order, each value as it is written.
#[derive(Default)]
struct Members(Vec<(String, Member)>);

enum Member {
    Raw(Box<RawValue>),
    Entries(Members),
    Entry(Entry),
}

/// What an entry of `auths` says from now on.
#[derive(Serialize)]
pub(super) struct Entry {
    /// The base-64 form of `USER:PASSWORD`, or nothing where a helper keeps them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth: Option<String>,
}

/// The content of a file after its entry for `key` has changed, and whether there was one before. `None` takes it out.
///
/// Other keys that stand for exactly the same go: each program would choose among them in its own way.
pub(super) fn with_entry(
    path: &Path,
    json: &[u8],
    key: &LoginKey,
    entry: Option<Entry>,
) -> Result<(Vec<u8>, bool), CredentialsError> {
    let problem = |error: serde_json::Error| json_error(path, &error);
    let json = if json.trim_ascii().is_empty() {
        b"{}"
    } else {
        json
    };
    let mut file: Members = serde_json::from_slice(json).map_err(problem)?;
    let position = file.0.iter().position(|(name, _)| name == AUTHS);
    let mut auths = match position.map(|at| &file.0[at].1) {
        Some(Member::Raw(raw)) => {
            serde_json::from_str::<Option<Members>>(raw.get()).map_err(problem)?
        }
        _ => None,
    }
    .unwrap_or_default();

    let first = auths.0.iter().position(|(name, _)| key.is(name));
    auths.0.retain(|(name, _)| !key.is(name));
    if let Some(entry) = entry {
        // Those that went were behind the first.
        let at = first.unwrap_or(auths.0.len());
        auths.0.insert(at, (key.written(), Member::Entry(entry)));
    }
    let auths = (AUTHS.to_owned(), Member::Entries(auths));
    match position {
        Some(at) => file.0[at] = auths,
        None => file.0.push(auths),
    }

    // Docker and podman indent with tabs, too.
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    file.serialize(&mut serializer).map_err(problem)?;
    text.push(b'\n');
    Ok((text, first.is_some()))
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    members.push((name, Member::Raw(value)));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, member) in &self.0 {
            match member {
                Member::Raw(raw) => map.serialize_entry(name, raw)?,
                Member::Entries(entries) => map.serialize_entry(name, entries)?,
                Member::Entry(entry) => map.serialize_entry(name, entry)?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(json: &str, key: &str, auth: Option<&str>) -> (String, bool) {
        let entry = auth.map(|auth| Entry {
            auth: Some(auth.to_owned()),
        });
        let key = key.parse().unwrap();
        let (text, was_there) = with_entry(Path::new("f"), json.as_bytes(), &key, entry).unwrap();
        (String::from_utf8(text).unwrap(), was_there)
    }

    #[test]
    fn everything_else_stays_as_it_was() {
        let before = "{\n\t\"zeta\": 1e400,\n\t\"auths\": {\n\t\t\"b.example\": {\"auth\": \"b\", \"email\": \"\"},\n\t\t\
            \"h.example\": {\n\t\t\t\"auth\": \"old\",\n\t\t\t\"identitytoken\": \"i\"\n\t\t},\n\t\t\"a.example\": {}\n\t},\n\t\
            \"HttpHeaders\": {\n\t\t\"X\": \"\\u00e4\"\n\t},\n\t\"alpha\": 12345678901234567890123\n}\n";
        let after = before.replace(
            "{\n\t\t\t\"auth\": \"old\",\n\t\t\t\"identitytoken\": \"i\"\n\t\t}",
            "{\n\t\t\t\"auth\": \"new\"\n\t\t}",
        );
        assert_eq!(edit(before, "h.example", Some("new")), (after, true));
    }

    #[test]
    fn a_new_file_is_as_docker_writes_it() {
        let written = "{\n\t\"auths\": {\n\t\t\"h.example/team\": {\n\t\t\t\"auth\": \"new\"\n\t\t}\n\t}\n}\n";
        for before in ["", "\n", "{}", r#"{"auths": null}"#, r#"{"auths": {}}"#] {
            let (after, was_there) = edit(before, "h.example/team", Some("new"));
            assert_eq!((after.as_str(), was_there), (written, false));
            assert_eq!(edit(&after, "h.example", None), (written.to_owned(), false));
            let (empty, was_there) = edit(&after, "h.example/team", None);
            assert!(was_there);
            assert_eq!(empty, "{\n\t\"auths\": {}\n}\n");
        }
    }

    #[test]
    fn other_spellings_of_the_same_registry_go() {
        let before = r#"{"auths": {"docker.io": {}, "x.example": 1, "https://index.docker.io/v1/": {}, "docker.io/me": 2}}"#;
        let (after, _) = edit(before, "docker.io", Some("new"));
        assert_eq!(
            after,
            "{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"new\"\n\t\t},\n\t\t\
             \"x.example\": 1,\n\t\t\"docker.io/me\": 2\n\t}\n}\n"
        );
        let (after, _) = edit(before, "docker.io", None);
        assert_eq!(
            after,
            "{\n\t\"auths\": {\n\t\t\"x.example\": 1,\n\t\t\"docker.io/me\": 2\n\t}\n}\n"
        );
    }

    #[test]
    fn what_is_no_auth_file_is_not_written_over() {
        for json in ["[]", "{\"auths\": \"s3cret\"}", "{", "{\"auths\": {}} x"] {
            let key = "h.example".parse().unwrap();
            let error = with_entry(Path::new("f"), json.as_bytes(), &key, None).unwrap_err();
            assert!(
                error.to_string().starts_with("`f` is not a Docker"),
                "{error}"
            );
            assert!(!format!("{error:?}").contains("s3cret"));
        }
    }
}
