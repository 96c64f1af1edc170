//! What a container of an image runs, as people read it.

use crate::text;
use nixply_oci::RuntimeConfig;

/// A name and its lines; what is not set has none.
pub(super) fn describe(config: &RuntimeConfig) -> Vec<(&'static str, Vec<String>)> {
    let words = |words: &Option<Vec<String>>| {
        let words = words.as_deref().unwrap_or_default();
        let shown: Vec<String> = words.iter().map(|word| word_of(word)).collect();
        (!shown.is_empty())
            .then(|| shown.join(" "))
            .into_iter()
            .collect()
    };
    let one = |value: &Option<String>| {
        let value = value.iter().filter(|value| !value.is_empty());
        value.map(|value| text::printable(value)).collect()
    };
    let printable = |lines: Vec<String>| lines.iter().map(|line| text::printable(line)).collect();
    let labels = config.labels.iter().flatten();
    let labels = labels.map(|(name, value)| format!("{name}={value}"));
    let keys = |keys: Vec<&String>| {
        let keys: Vec<String> = keys.into_iter().map(|key| text::printable(key)).collect();
        (!keys.is_empty())
            .then(|| keys.join(" "))
            .into_iter()
            .collect()
    };
    vec![
        ("entrypoint", words(&config.entrypoint)),
        ("command", words(&config.cmd)),
        ("user", one(&config.user)),
        ("directory", one(&config.working_dir)),
        ("env", printable(config.env.clone().unwrap_or_default())),
        (
            "ports",
            keys(
                config
                    .exposed_ports
                    .iter()
                    .flatten()
                    .map(|(port, _)| port)
                    .collect(),
            ),
        ),
        (
            "volumes",
            keys(
                config
                    .volumes
                    .iter()
                    .flatten()
                    .map(|(volume, _)| volume)
                    .collect(),
            ),
        ),
        ("stop", one(&config.stop_signal)),
        ("labels", printable(labels.collect())),
    ]
}

/// A word of a command, so that its ends are seen.
fn word_of(word: &str) -> String {
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')) {
        format!("{word:?}")
    } else {
        text::printable(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_told() {
        let config: RuntimeConfig = serde_json::from_str(
            r#"{"Entrypoint": ["/bin/sh", "-c", "echo hi"], "User": "", "Env": ["A=1", "B=\u001b"],
                "ExposedPorts": {"80/tcp": {}, "443/tcp": {}}, "Labels": {"b": "2", "a": "1"}}"#,
        )
        .unwrap();
        let told: Vec<_> = describe(&config)
            .into_iter()
            .filter(|(_, lines)| !lines.is_empty())
            .collect();
        assert_eq!(
            told,
            [
                ("entrypoint", vec!["/bin/sh -c \"echo hi\"".to_owned()]),
                ("env", vec!["A=1".to_owned(), text::printable("B=\u{1b}")]),
                ("ports", vec!["443/tcp 80/tcp".to_owned()]),
                ("labels", vec!["a=1".to_owned(), "b=2".to_owned()]),
            ]
        );
    }
}
