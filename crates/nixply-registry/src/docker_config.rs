//! Credentials in Docker's `config.json`, which podman and skopeo write too (containers-auth.json(5)).

use crate::Credentials;
use data_encoding::BASE64;
use nixply_oci::ImageReference;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// The key of Docker Hub in `auths`, a fixed URL for historical reasons.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The names that Docker Hub's registry goes by.
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// What a Docker config says about a host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfiguredCredentials {
    /// Nothing: go on anonymously.
    Absent,
    /// These credentials.
    Found(Credentials),
    /// The credentials are kept by another program, which this crate does not run.
    Helper {
        /// The program's name, `docker-credential-…`.
        program: String,
    },
}

/// Why a Docker config could not be read. No message quotes the file, which is full of secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The file is not JSON of the expected shape.
    #[error("this is not a Docker config: line {line}, column {column}")]
    Json {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// `auth` of an entry is not base-64 of `USER:PASSWORD`.
    #[error("`auth` of `{key}` is not the base-64 form of `USER:PASSWORD`")]
    Auth {
        /// The key of the entry in `auths`.
        key: String,
    },
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DockerConfig {
    auths: BTreeMap<String, AuthEntry>,
    #[serde(rename = "credsStore")]
    creds_store: String,
    #[serde(rename = "credHelpers")]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AuthEntry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl Credentials {
    /// Looks a repository up in the content of a Docker config.
    ///
    /// An entry of `credHelpers` comes first, then a secret in `auths`, then `credsStore`, which counts only where
    /// `auths` has an empty entry for the host: that is what `docker login` leaves behind when a store keeps the secret.
    /// A key names a host, or a host and the beginning of a repository's path in whole parts; of the keys that match,
    /// the one with the longest path counts (containers-auth.json(5), "FORMAT"). A key that is a URL names the host.
    pub fn from_docker_config(
        json: &[u8],
        reference: &ImageReference,
    ) -> Result<ConfiguredCredentials, CredentialsError> {
        let config: DockerConfig =
            serde_json::from_slice(json).map_err(|error| CredentialsError::Json {
                line: error.line(),
                column: error.column(),
            })?;
        if let Some((_, name)) = entry_of(&config.cred_helpers, reference) {
            return Ok(helper(name));
        }
        let Some((key, entry)) = entry_of(&config.auths, reference) else {
            return Ok(ConfiguredCredentials::Absent);
        };
        if let Some(credentials) = entry.credentials(key)? {
            return Ok(ConfiguredCredentials::Found(credentials));
        }
        if config.creds_store.is_empty() {
            Ok(ConfiguredCredentials::Absent)
        } else {
            Ok(helper(&config.creds_store))
        }
    }
}

fn helper(name: &str) -> ConfiguredCredentials {
    ConfiguredCredentials::Helper {
        program: format!("docker-credential-{name}"),
    }
}

/// The entry whose key says most about the repository. Of two that say the same, the one written as `docker login`
/// writes it.
fn entry_of<'a, T>(
    entries: &'a BTreeMap<String, T>,
    reference: &ImageReference,
) -> Option<(&'a str, &'a T)> {
    let host = reference.host();
    let hub = DOCKER_HUB_HOSTS.contains(&host);
    let usual = if hub { DOCKER_HUB_KEY } else { host };
    let path_of = |key: &'a str| {
        let (named, path) = host_and_path(key);
        let is_host = named == host || hub && DOCKER_HUB_HOSTS.contains(&named);
        (is_host && is_within(reference.repository(), path)).then_some(path)
    };
    entries
        .iter()
        .filter_map(|(key, entry)| Some((path_of(key)?, key.as_str(), entry)))
        // Of equals the last would be taken; so that the first is, as in any list, they are seen from the end.
        .rev()
        .max_by_key(|(path, key, _)| (path.len(), *key == usual))
        .map(|(_, key, entry)| (key, entry))
}

/// The host and the path that a key stands for. The path of a URL is that of the registry's API, which says nothing.
fn host_and_path(key: &str) -> (&str, &str) {
    let url = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    let (host, path) = match url.unwrap_or(key).split_once('/') {
        Some((host, path)) => (host, path.trim_end_matches('/')),
        None => (url.unwrap_or(key), ""),
    };
    (host, if url.is_some() { "" } else { path })
}

/// True where a repository is `path` or below it; everything is below the empty path.
fn is_within(repository: &str, path: &str) -> bool {
    path.is_empty()
        || repository
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl AuthEntry {
    fn credentials(&self, key: &str) -> Result<Option<Credentials>, CredentialsError> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::IdentityToken(self.identitytoken.clone())));
        }
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credentials::RegistryToken(self.registrytoken.clone())));
        }
        if !self.auth.is_empty() {
            let error = || CredentialsError::Auth {
                key: key.to_owned(),
            };
            let decoded = BASE64
                .decode(self.auth.trim().as_bytes())
                .map_err(|_| error())?;
            let text = String::from_utf8(decoded).map_err(|_| error())?;
            let (username, password) = text.split_once(':').ok_or_else(error)?;
            return Ok(Some(Credentials::Basic {
                username: username.to_owned(),
                // Docker pads passwords with zero bytes.
                password: password.trim_matches('\0').to_owned(),
            }));
        }
        Ok((!self.username.is_empty()).then(|| Credentials::Basic {
            username: self.username.clone(),
            password: self.password.clone(),
        }))
    }
}

impl fmt::Debug for AuthEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthEntry").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(json: &str, host: &str) -> ConfiguredCredentials {
        lookup_in(json, &format!("{host}/team/app"))
    }

    fn lookup_in(json: &str, repository: &str) -> ConfiguredCredentials {
        let reference = repository.parse().unwrap();
        Credentials::from_docker_config(json.as_bytes(), &reference).unwrap()
    }

    fn basic(username: &str, password: &str) -> ConfiguredCredentials {
        ConfiguredCredentials::Found(Credentials::Basic {
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }

    #[test]
    fn every_form_of_an_entry() {
        // `dTpwOnE=` is `u:p:q`, `dTpwAAA=` is `u:p` and two zero bytes.
        for (entry, expected) in [
            (r#"{"auth":"dTpwOnE="}"#, basic("u", "p:q")),
            (r#"{"auth":"dTpwAAA="}"#, basic("u", "p")),
            (r#"{"username":"u","password":"p"}"#, basic("u", "p")),
            (
                r#"{"auth":"dTpwOnE=","identitytoken":"i"}"#,
                ConfiguredCredentials::Found(Credentials::IdentityToken("i".to_owned())),
            ),
            (
                r#"{"registrytoken":"r"}"#,
                ConfiguredCredentials::Found(Credentials::RegistryToken("r".to_owned())),
            ),
            ("{}", ConfiguredCredentials::Absent),
        ] {
            let json = format!(r#"{{"auths":{{"h.example":{entry}}},"other":[1]}}"#);
            assert_eq!(lookup(&json, "h.example"), expected, "{entry}");
            assert_eq!(lookup(&json, "g.example"), ConfiguredCredentials::Absent);
        }
    }

    #[test]
    fn keys_match_with_scheme_and_path_and_the_plain_one_wins() {
        for key in [
            "h.example:5000",
            "https://h.example:5000",
            "http://h.example:5000/v1/",
            "h.example:5000/team",
        ] {
            let json = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpwOnE="}}}}}}"#);
            assert_eq!(lookup(&json, "h.example:5000"), basic("u", "p:q"), "{key}");
            assert_eq!(lookup(&json, "h.example"), ConfiguredCredentials::Absent);
        }
        let json =
            r#"{"auths":{"https://a.example":{"auth":"dTpwOnE="},"a.example":{"auth":"dTpw"}}}"#;
        assert_eq!(lookup(json, "a.example"), basic("u", "p"));
    }

    #[test]
    fn of_keys_with_a_path_the_longest_around_the_repository_counts() {
        let user = |name: &str| format!(r#"{{"username":"{name}","password":"p"}}"#);
        let json = format!(
            r#"{{"auths":{{"q.example/org1":{},"q.example/org2":{},"q.example/org2/app/":{},"p.example/org":{},"p.example":{}}}}}"#,
            user("org1"),
            user("org2"),
            user("app"),
            user("org"),
            user("host")
        );
        for (repository, expected) in [
            ("q.example/org1/x", basic("org1", "p")),
            ("q.example/org2/x", basic("org2", "p")),
            ("q.example/org2", basic("org2", "p")),
            ("q.example/org2/app", basic("app", "p")),
            ("q.example/org2/app/y", basic("app", "p")),
            ("q.example/org2/apple", basic("org2", "p")),
            ("q.example/org3/x", ConfiguredCredentials::Absent),
            ("q.example/org11/x", ConfiguredCredentials::Absent),
            ("p.example/org/x", basic("org", "p")),
            ("p.example/other", basic("host", "p")),
        ] {
            assert_eq!(lookup_in(&json, repository), expected, "{repository}");
        }
    }

    #[test]
    fn docker_hub_has_a_key_of_its_own() {
        let json = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}}"#;
        for host in DOCKER_HUB_HOSTS {
            assert_eq!(lookup(json, host), basic("u", "p"));
        }
        assert_eq!(
            lookup(json, "index.docker.io.example"),
            ConfiguredCredentials::Absent
        );
    }

    #[test]
    fn helpers_are_named_only_where_they_hold_the_host() {
        let helper = |name: &str| ConfiguredCredentials::Helper {
            program: format!("docker-credential-{name}"),
        };
        let json = r#"{"auths":{"h.example":{},"k.example":{"auth":"dTpw"}},
            "credsStore":"desktop","credHelpers":{"g.example":"gcloud"}}"#;
        assert_eq!(lookup(json, "g.example"), helper("gcloud"));
        assert_eq!(lookup(json, "h.example"), helper("desktop"));
        assert_eq!(lookup(json, "k.example"), basic("u", "p"));
        assert_eq!(lookup(json, "x.example"), ConfiguredCredentials::Absent);
    }

    #[test]
    fn errors_quote_nothing() {
        let reference = "h.example/app".parse().unwrap();
        for (json, expected) in [
            (
                r#"{"auths":{"h.example":{"auth":"s3cret!"}}}"#,
                "`auth` of `h.example` is not the base-64 form of `USER:PASSWORD`",
            ),
            (
                r#"{"auths":{"h.example":{"auth":"czNjcmV0"}}}"#,
                "`auth` of `h.example` is not the base-64 form of `USER:PASSWORD`",
            ),
            (
                r#"{"auths":["s3cret"]}"#,
                "this is not a Docker config: line 1, column 9",
            ),
        ] {
            let error = Credentials::from_docker_config(json.as_bytes(), &reference).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(!format!("{error:?}").contains("s3cret"));
        }
    }
}
