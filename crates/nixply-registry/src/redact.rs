//! Keeps secrets out of what people see.

use reqwest::Url;
use std::fmt;

/// What stands where a secret stood.
const REDACTED: &str = "<redacted>";

/// Texts that must appear in no message: registries do quote what they were sent.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Keeps these texts out of messages. An empty text is no secret.
    pub(crate) fn new(texts: impl IntoIterator<Item = String>) -> Self {
        let mut texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        // The longest first, so that no secret survives as the rest of one that contains it.
        texts.sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
        Self(texts)
    }

    /// The text without the secrets.
    pub(crate) fn clean(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret, REDACTED)
        })
    }
}

impl FromIterator<Secrets> for Secrets {
    fn from_iter<T: IntoIterator<Item = Self>>(all: T) -> Self {
        Self::new(all.into_iter().flat_map(|secrets| secrets.0))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// A URL as people may see it: without user, password, query and fragment.
///
/// Queries of upload locations and of storage services carry signatures that are as good as a password.
pub(crate) fn clean_url(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // These fail for URLs that cannot have a user, which then have none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_user_query_and_fragment() {
        for (text, clean) in [
            (
                "https://u:p@h.example:5000/v2/a?_state=s#f",
                "https://h.example:5000/v2/a",
            ),
            ("http://h/x?digest=d", "http://h/x"),
        ] {
            assert_eq!(clean_url(&text.parse().unwrap()), clean);
        }
    }

    #[test]
    fn secrets_that_contain_each_other_all_go() {
        let secrets = Secrets::new(["abc".to_owned(), String::new(), "abcdef".to_owned()]);
        assert_eq!(secrets.clean("x abcdef y abc"), "x <redacted> y <redacted>");
    }
}
