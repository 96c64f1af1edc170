//! Credentials in Docker's `config.json`, which podman and skopeo write too (containers-auth.json(5)).

use crate::Credentials;
use data_encoding::BASE64;
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
    /// Looks a registry's host up in the content of a Docker config.
    ///
    /// An entry of `credHelpers` comes first, then a secret in `auths`, then `credsStore`, which counts only where
    /// `auths` has an empty entry for the host: that is what `docker login` leaves behind when a store keeps the secret.
    /// Keys match with or without scheme and path.
    pub fn from_docker_config(
        json: &[u8],
        host: &str,
    ) -> Result<ConfiguredCredentials, CredentialsError> {
        let config: DockerConfig =
            serde_json::from_slice(json).map_err(|error| CredentialsError::Json {
                line: error.line(),
                column: error.column(),
            })?;
        if let Some((_, name)) = entry_of_host(&config.cred_helpers, host) {
            return Ok(helper(name));
        }
        let Some((key, entry)) = entry_of_host(&config.auths, host) else {
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

/// The entry whose key is the host itself, or else the first whose key names the host.
fn entry_of_host<'a, T>(entries: &'a BTreeMap<String, T>, host: &str) -> Option<(&'a str, &'a T)> {
    let hub = DOCKER_HUB_HOSTS.contains(&host);
    let exact = if hub { DOCKER_HUB_KEY } else { host };
    entries
        .get_key_value(exact)
        .or_else(|| {
            entries.iter().find(|(key, _)| {
                let named = host_of_key(key);
                named == host || hub && DOCKER_HUB_HOSTS.contains(&named)
            })
        })
        .map(|(key, entry)| (key.as_str(), entry))
}

fn host_of_key(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    key.split('/').next().unwrap_or(key)
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
        Credentials::from_docker_config(json.as_bytes(), host).unwrap()
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
    fn keys_match_with_scheme_and_path_and_the_exact_one_wins() {
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
        let json = r#"{"auths":{"a.example/x":{"auth":"dTpwOnE="},"a.example":{"auth":"dTpw"}}}"#;
        assert_eq!(lookup(json, "a.example"), basic("u", "p"));
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
        for (json, expected) in [
            (
                r#"{"auths":{"h":{"auth":"s3cret!"}}}"#,
                "`auth` of `h` is not the base-64 form of `USER:PASSWORD`",
            ),
            (
                r#"{"auths":{"h":{"auth":"czNjcmV0"}}}"#,
                "`auth` of `h` is not the base-64 form of `USER:PASSWORD`",
            ),
            (
                r#"{"auths":["s3cret"]}"#,
                "this is not a Docker config: line 1, column 9",
            ),
        ] {
            let error = Credentials::from_docker_config(json.as_bytes(), "h").unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(!format!("{error:?}").contains("s3cret"));
        }
    }
}
