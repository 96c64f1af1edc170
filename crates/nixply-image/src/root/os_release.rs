//! `/etc/os-release` (os-release(5)).

use super::error::RootSpecError;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One assignment a line, `ID` first: VS Code's server reads the first line that looks like it, and `VARIANT_ID` does.
pub(super) fn os_release(fields: &BTreeMap<String, String>) -> Result<String, RootSpecError> {
    let mut text = String::new();
    let id = fields.get_key_value("ID");
    let others = fields.iter().filter(|(key, _)| *key != "ID");
    for (key, value) in id.into_iter().chain(others) {
        let is_name = key.bytes().next().is_some_and(|b| b.is_ascii_uppercase())
            && key
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        if !is_name || value.chars().any(char::is_control) {
            return Err(RootSpecError::OsRelease { key: key.clone() });
        }
        let _ = writeln!(text, "{key}={}", quoted(value));
    }
    Ok(text)
}

/// As a shell reads it: in quotes unless it is a plain word.
fn quoted(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !value.is_empty() && value.bytes().all(is_plain) {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in value.chars() {
        if matches!(character, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}
