//! Docker's `config.json`, containers' `auth.json`, and `.dockercfg`: what they say of a repository.
//!
//! Sources: Docker's `cli/config/configfile/file.go`, containers-auth.json(5). Both are read by the same rules, since each
//! tool reads the other's file.

use super::{CredentialsError, key};
use crate::Credentials;
use data_encoding::BASE64_NOPAD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The two shapes of files with credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthFileFormat {
    /// `config.json` and `auth.json`: an object with `auths`, `credHelpers` and `credsStore`.
    #[default]
    Json,
    /// `.dockercfg`, of Docker before 1.7: only what stands in `auths` elsewhere.
    Dockercfg,
}

/// What a file was expected to be.
pub(super) const EXPECTED: &str = "a Docker or containers auth file";

#[derive(Deserialize, Default)]
struct Document {
    auths: Option<BTreeMap<String, Option<AuthEntry>>>,
    #[serde(rename = "credsStore")]
    creds_store: Option<String>,
    #[serde(rename = "credHelpers")]
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// A file's content.
pub(super) struct AuthFile {
    path: PathBuf,
    document: Document,
}

impl AuthFile {
    /// Reads a file's content; an empty file says nothing, as `touch` leaves it.
    pub(super) fn parse(
        path: &Path,
        format: AuthFileFormat,
        json: &[u8],
    ) -> Result<Self, CredentialsError> {
        let json = if json.trim_ascii().is_empty() {
            b"{}"
        } else {
            json
        };
        let document = match format {
            AuthFileFormat::Json => serde_json::from_slice(json),
            AuthFileFormat::Dockercfg => serde_json::from_slice(json).map(|auths| Document {
                auths: Some(auths),
                ..Document::default()
            }),
        };
        Ok(Self {
            path: path.to_owned(),
            document: document.map_err(|error| json_error(path, &error))?,
        })
    }

    /// The program that keeps a repository's credentials: that of its host, else that of all hosts.
    pub(super) fn helper(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Option<String>, CredentialsError> {
        let of_host = self.document.cred_helpers.iter().flatten();
        let of_host = of_host.map(|(key, name)| (key.as_str(), name));
        let name = match key::find(of_host, host, repository) {
            Some((_, name)) => Some(name),
            None => self.document.creds_store.as_ref(),
        };
        match name {
            Some(name) if !name.is_empty() => program(&self.path, name).map(Some),
            _ => Ok(None),
        }
    }

    /// The credentials that stand in the file itself.
    pub(super) fn credentials(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Option<Credentials>, CredentialsError> {
        let entries = self.document.auths.iter().flatten();
        // An empty entry is what `docker login` leaves where a helper keeps the secret; it must not hide a shorter key.
        let entries = entries
            .filter_map(|(key, entry)| Some((key.as_str(), entry.as_ref()?)))
            .filter(|(_, entry)| entry.says_something());
        match key::find(entries, host, repository) {
            Some((key, entry)) => entry.credentials(&self.path, key).map(Some),
            None => Ok(None),
        }
    }

    /// True where an entry of a key that `is_meant` holds a secret.
    pub(super) fn has_secret(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        let mut entries = self.document.auths.iter().flatten();
        entries.any(|(key, entry)| {
            is_meant(key) && entry.as_ref().is_some_and(AuthEntry::says_something)
        })
    }
}

impl fmt::Debug for AuthFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("AuthFile");
        shown.field("path", &self.path).finish_non_exhaustive()
    }
}

impl AuthEntry {
    fn says_something(&self) -> bool {
        [
            &self.identitytoken,
            &self.registrytoken,
            &self.auth,
            &self.username,
        ]
        .into_iter()
        .any(|field| non_empty(field.as_ref()).is_some())
    }

    /// Tokens come before passwords: where both stand, the password is what the token was got with.
    fn credentials(&self, path: &Path, key: &str) -> Result<Credentials, CredentialsError> {
        if let Some(token) = non_empty(self.identitytoken.as_ref()) {
            return Ok(Credentials::IdentityToken(token.to_owned()));
        }
        if let Some(token) = non_empty(self.registrytoken.as_ref()) {
            return Ok(Credentials::RegistryToken(token.to_owned()));
        }
        let (username, password) = match non_empty(self.auth.as_ref()) {
            Some(auth) => decode(auth).ok_or_else(|| CredentialsError::Auth {
                path: path.to_owned(),
                key: key.to_owned(),
            })?,
            None => (
                self.username.clone().unwrap_or_default(),
                self.password.clone().unwrap_or_default(),
            ),
        };
        Ok(Credentials::Basic { username, password })
    }
}

fn non_empty(field: Option<&String>) -> Option<&str> {
    field.map(String::as_str).filter(|text| !text.is_empty())
}

/// Reads `auth`. People write it by hand: line breaks, the URL form of base-64 and a missing `=` are taken, too.
fn decode(auth: &str) -> Option<(String, String)> {
    let digits: String = auth
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    let decoded = BASE64_NOPAD.decode(digits.trim_end_matches('=').as_bytes());
    let text = String::from_utf8(decoded.ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    // Docker pads passwords with zero bytes.
    let password = password.trim_matches('\0');
    (!username.is_empty()).then(|| (username.to_owned(), password.to_owned()))
}

/// A helper's program by its name. A name is part of a program's name and nothing else.
fn program(path: &Path, name: &str) -> Result<String, CredentialsError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.chars().all(is_fine) {
        return Ok(format!("docker-credential-{name}"));
    }
    Err(CredentialsError::HelperName {
        path: path.to_owned(),
        name: name.to_owned(),
    })
}

/// serde's own message may quote what it found, which may be a password.
pub(super) fn json_error(path: &Path, error: &serde_json::Error) -> CredentialsError {
    CredentialsError::Json {
        path: path.to_owned(),
        expected: EXPECTED,
        line: error.line(),
        column: error.column(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/home/ann/.docker/config.json";

    fn parse(json: &str) -> Result<AuthFile, CredentialsError> {
        AuthFile::parse(Path::new(PATH), AuthFileFormat::Json, json.as_bytes())
    }

    fn credentials(json: &str, host: &str) -> Option<Credentials> {
        parse(json).unwrap().credentials(host, "team/app").unwrap()
    }

    fn basic(username: &str, password: &str) -> Credentials {
        Credentials::Basic {
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    #[test]
    fn every_form_of_an_entry() {
        // `dTpwOnE=` is `u:p:q`, `dTpwAAA=` is `u:p` and two zero bytes, `dTo=` is `u:`; `dTo_Pz8-` has digits of the
        // URL form and is `u:???>`.
        for (entry, expected) in [
            (r#"{"auth":"dTpwOnE="}"#, Some(basic("u", "p:q"))),
            (r#"{"auth":"dTpwOnE"}"#, Some(basic("u", "p:q"))),
            (r#"{"auth":"dTpw\nOnE=\n"}"#, Some(basic("u", "p:q"))),
            (r#"{"auth":"dTpwAAA=","email":null}"#, Some(basic("u", "p"))),
            (r#"{"auth":"dTo="}"#, Some(basic("u", ""))),
            (r#"{"auth":"dTo_Pz8-"}"#, Some(basic("u", "???>"))),
            (r#"{"username":"u","password":"p"}"#, Some(basic("u", "p"))),
            (
                r#"{"auth":"","username":"u","password":"p"}"#,
                Some(basic("u", "p")),
            ),
            (
                r#"{"auth":"dTpw","username":"v","password":"w"}"#,
                Some(basic("u", "p")),
            ),
            (
                r#"{"auth":"dTpwOnE=","identitytoken":"i"}"#,
                Some(Credentials::IdentityToken("i".to_owned())),
            ),
            (
                r#"{"registrytoken":"r","identitytoken":null}"#,
                Some(Credentials::RegistryToken("r".to_owned())),
            ),
            ("{}", None),
            ("null", None),
            (r#"{"auth":""}"#, None),
        ] {
            let json = format!(r#"{{"auths":{{"h.example":{entry}}},"other":[1]}}"#);
            assert_eq!(credentials(&json, "h.example"), expected, "{entry}");
            assert_eq!(credentials(&json, "g.example"), None);
        }
    }

    #[test]
    fn files_that_say_nothing() {
        for json in [
            "",
            " \n",
            "{}",
            r#"{"auths":null,"credHelpers":null,"credsStore":null}"#,
        ] {
            let file = parse(json).unwrap();
            assert_eq!(file.credentials("h.example", "x").unwrap(), None);
            assert_eq!(file.helper("h.example", "x").unwrap(), None);
        }
    }

    #[test]
    fn an_empty_entry_does_not_hide_that_of_the_host() {
        let json = r#"{"auths":{"h.example/team":{},"h.example":{"auth":"dTpw"}}}"#;
        assert_eq!(credentials(json, "h.example"), Some(basic("u", "p")));
    }

    #[test]
    fn dockercfg_has_no_outer_object() {
        let json = br#"{"https://index.docker.io/v1/":{"auth":"dTpw","email":"u@h.example"}}"#;
        let file = AuthFile::parse(Path::new(PATH), AuthFileFormat::Dockercfg, json).unwrap();
        assert_eq!(
            file.credentials("docker.io", "a/b").unwrap(),
            Some(basic("u", "p"))
        );
        assert_eq!(file.helper("docker.io", "a/b").unwrap(), None);
    }

    #[test]
    fn the_helper_of_the_host_comes_before_that_of_all() {
        let json = r#"{"credHelpers":{"h.example":"pass","n.example":"","https://index.docker.io/v1/":"hub"},
            "credsStore":"secretservice"}"#;
        let file = parse(json).unwrap();
        for (host, expected) in [
            ("h.example", Some("docker-credential-pass")),
            ("docker.io", Some("docker-credential-hub")),
            ("g.example", Some("docker-credential-secretservice")),
            // Docker's way to take one host out.
            ("n.example", None),
        ] {
            assert_eq!(
                file.helper(host, "x").unwrap().as_deref(),
                expected,
                "{host}"
            );
        }
    }

    #[test]
    fn a_helper_is_no_path() {
        for name in ["../../bin/sh", "a/b", "a b", "a\u{1b}[2J", "ä"] {
            let json = serde_json::json!({ "credsStore": name }).to_string();
            let error = parse(&json).unwrap().helper("h.example", "x").unwrap_err();
            assert!(
                matches!(error, CredentialsError::HelperName { .. }),
                "{name}"
            );
            assert!(!error.to_string().contains('\u{1b}'));
        }
    }

    #[test]
    fn errors_name_the_place_and_never_the_content() {
        for (json, place) in [
            (
                r#"{"auths":{"h.example":{"auth":"s3cret"#,
                "line 1, column 37",
            ),
            ("{\n\"auths\": [\"s3cret\"]}", "line 2, column 9"),
            (r#"{"auths":{"h.example":"s3cret"}}"#, "line 1, column 30"),
            (
                r#"{"auths":{"h.example":{"auth":[ "s3cret"]}}}"#,
                "line 1, column 30",
            ),
            (r#""s3cret""#, "line 1, column 8"),
        ] {
            let error = parse(json).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(PATH) && text.contains(place), "{text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
        // `czNjcmV0` is `s3cret`: no colon. `OnAzOw==` is `:p3;`: no user.
        for auth in ["s3cret!", "czNjcmV0", "OnAzOw=="] {
            let json = format!(r#"{{"auths":{{"h.example":{{"auth":"{auth}"}}}}}}"#);
            let file = parse(&json).unwrap();
            let text = file.credentials("h.example", "x").unwrap_err().to_string();
            assert!(
                text.contains("`h.example`") && text.contains(PATH),
                "{text}"
            );
            assert!(!text.contains(auth) && !text.contains("s3cret"), "{text}");
            assert_eq!(file.credentials("g.example", "x").unwrap(), None);
            assert!(!format!("{file:?}").contains(auth));
        }
    }
}
