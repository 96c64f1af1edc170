//! Messages in words of Nix, where Nix runs nixply.
//!
//! The libraries name what a user can say as it stands in an image specification: `"on_collision": "first"`. Who reads a
//! builder's log has never seen that file; they write `onCollision = "first"`. So what stands between backquotes is said in
//! Nix' words there, in every message that the builder writes, if it is a setting, a field or an option that is known.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process is a builder.
static IS_BUILDER: AtomicBool = AtomicBool::new(false);

/// Fields and options whose names differ, and the arguments of Nix.
const WORDS: [(&str, &str); 16] = [
    ("--catalog", "catalog"),
    ("--max-layers", "maxLayers"),
    ("--platform", "platform"),
    ("base", "fromImage"),
    ("ca_certificates", "caCertificates"),
    ("create_home", "createHome"),
    ("docker://REF", "nixply.lib.pullImage { … }"),
    ("inherit_config", "inheritConfig"),
    ("layer_format", "layerFormat"),
    ("layer_tars", "layerTars"),
    ("layering_pipeline", "layeringPipeline"),
    ("max_layers", "maxLayers"),
    ("nix_database", "nixDatabase"),
    ("on_collision", "onCollision"),
    ("os_release", "osRelease"),
    ("store_paths", "contents"),
];

/// From now on, all messages are for users of Nix.
pub(crate) fn speak() {
    IS_BUILDER.store(true, Ordering::Relaxed);
}

/// A message as the user of this process knows its words.
pub(crate) fn spoken(message: &str) -> Cow<'_, str> {
    if IS_BUILDER.load(Ordering::Relaxed) {
        Cow::Owned(in_nix(message))
    } else {
        Cow::Borrowed(message)
    }
}

fn in_nix(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for (idx, part) in message.split('`').enumerate() {
        if idx > 0 {
            text.push('`');
        }
        let is_quoted = idx % 2 == 1;
        // Not in "missing field `x`", which is about the builder's own attributes.
        let before_field = text.strip_suffix("field `");
        let is_field = before_field.is_some_and(|text| text.is_empty() || text.ends_with(": "));
        if !is_quoted {
            text.push_str(part);
        } else if let Some(setting) = setting(part) {
            text.push_str(&setting);
        } else if is_field {
            text.truncate(text.len() - "field `".len());
            text.push_str("argument `");
            text.push_str(&dotted(part));
        } else if part.contains(['_', '-', '/']) {
            text.push_str(&dotted(part));
        } else {
            text.push_str(part);
        }
    }
    text
}

/// `"a": {"b": VALUE}` as `a.b = VALUE`.
fn setting(json: &str) -> Option<String> {
    let (name, value) = json.strip_prefix('"')?.split_once("\":")?;
    let name = match word(name) {
        Some(word) => word.to_owned(),
        None if is_identifier(name) => name.to_owned(),
        None => format!("\"{name}\""),
    };
    let value = value.trim_start();
    let inner = value.strip_prefix('{').and_then(|v| v.strip_suffix('}'));
    Some(match inner.and_then(setting) {
        Some(inner) => format!("{name}.{inner}"),
        None => format!("{name} = {value}"),
    })
}

/// `a.b.c` with its first name in Nix' words; the others are the user's.
fn dotted(path: &str) -> String {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let first = word(first).unwrap_or(first);
    rest.map_or_else(|| first.to_owned(), |rest| format!("{first}.{rest}"))
}

fn word(name: &str) -> Option<&'static str> {
    let found = WORDS.iter().find(|(word, _)| *word == name);
    found.map(|(_, word)| *word)
}

/// Whether Nix takes a name without quotes.
fn is_identifier(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '\'');
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_what_a_user_of_nix_writes() {
        for (message, expected) in [
            (
                "let the first win with `\"on_collision\": \"first\"`",
                "let the first win with `onCollision = \"first\"`",
            ),
            (
                "define it: `\"root\": {\"users\": {\"my_app\": …}}`",
                "define it: `root.users.my_app = …`",
            ),
            (
                "say: `\"root\": {\"links\": {\"/etc/…\": \"/nix/store/x\"}}`",
                "say: `root.links.\"/etc/…\" = \"/nix/store/x\"`",
            ),
            (
                "give one of them `\"create_home\": false`",
                "give one of them `createHome = false`",
            ),
            (
                "ask for one with `nix_database`, or raise `--max-layers`",
                "ask for one with `nixDatabase`, or raise `maxLayers`",
            ),
            (
                "error: field `created`: `yesterday` is no time",
                "error: argument `created`: `yesterday` is no time",
            ),
            (
                "field `base`: `base` is a `docker://REF`",
                "argument `fromImage`: `base` is a `nixply.lib.pullImage { … }`",
            ),
            (
                "root: `os_release.id`: expected",
                "root: `osRelease.id`: expected",
            ),
            ("cause: missing field `base`", "cause: missing field `base`"),
            (
                "`nix-store -r /nix/store/x` and `a_b` and `{\"a\": 1}` and one `",
                "`nix-store -r /nix/store/x` and `a_b` and `{\"a\": 1}` and one `",
            ),
        ] {
            assert_eq!(in_nix(message), expected);
        }
    }
}
