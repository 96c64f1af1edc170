//! The layer format in specifications and plans.

use nixply_layer::{DockerToolsHeader, LayerFormat};
use serde::{Deserialize, Serialize};

/// How layers of store paths are written: `nixply`, `dockertools`, or an object that names the header fields where they
/// are not dockerTools' defaults: `{"name":"dockertools","mtime_secs":1,"uid":1000,"gid":100,"uname":"joe","gname":"users"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub enum LayerFormatRecord {
    /// nixply's own format (`docs/format.md`).
    #[default]
    Nixply,
    /// The bytes that nixpkgs' `dockerTools.streamLayeredImage` makes with these header fields.
    Dockertools(DockerToolsHeader),
}

impl LayerFormatRecord {
    /// dockerTools' format as its users have it who choose nothing.
    #[must_use]
    pub fn dockertools() -> Self {
        Self::Dockertools(DockerToolsHeader::default())
    }

    /// Its name, without the header fields.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Nixply => "nixply",
            Self::Dockertools(_) => "dockertools",
        }
    }

    pub(crate) fn is_nixply(&self) -> bool {
        *self == Self::Nixply
    }

    /// The format as a layer takes it.
    #[must_use]
    pub fn to_layer_format(&self) -> LayerFormat {
        match self {
            Self::Nixply => LayerFormat::Nixply,
            Self::Dockertools(header) => LayerFormat::DockerTools(header.clone()),
        }
    }
}

/// The JSON: a word where a word says all.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Word(Word),
    Header(Header),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Nixply,
    Dockertools,
}

/// Fields that are absent are dockerTools' defaults.
#[derive(Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
enum Header {
    Dockertools {
        #[serde(default = "default_mtime_secs")]
        mtime_secs: u64,
        #[serde(default)]
        uid: u64,
        #[serde(default)]
        gid: u64,
        #[serde(default = "default_owner_name")]
        uname: String,
        #[serde(default = "default_owner_name")]
        gname: String,
    },
}

fn default_mtime_secs() -> u64 {
    DockerToolsHeader::default().mtime_secs
}

fn default_owner_name() -> String {
    DockerToolsHeader::default().uname
}

impl From<Form> for LayerFormatRecord {
    fn from(form: Form) -> Self {
        match form {
            Form::Word(Word::Nixply) => Self::Nixply,
            Form::Word(Word::Dockertools) => Self::dockertools(),
            Form::Header(Header::Dockertools {
                mtime_secs,
                uid,
                gid,
                uname,
                gname,
            }) => Self::Dockertools(DockerToolsHeader {
                mtime_secs,
                uid,
                gid,
                uname,
                gname,
            }),
        }
    }
}

impl From<LayerFormatRecord> for Form {
    fn from(record: LayerFormatRecord) -> Self {
        match record {
            LayerFormatRecord::Nixply => Self::Word(Word::Nixply),
            LayerFormatRecord::Dockertools(header) if header == DockerToolsHeader::default() => {
                Self::Word(Word::Dockertools)
            }
            LayerFormatRecord::Dockertools(header) => Self::Header(Header::Dockertools {
                mtime_secs: header.mtime_secs,
                uid: header.uid,
                gid: header.gid,
                uname: header.uname,
                gname: header.gname,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<LayerFormatRecord, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn a_word_stays_a_word_and_a_header_names_its_fields() {
        for value in [
            json!("nixply"),
            json!("dockertools"),
            json!({"name": "dockertools", "mtime_secs": 5, "uid": 1000, "gid": 100, "uname": "joe", "gname": "users"}),
        ] {
            let record = read(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(record).unwrap(), value);
        }
    }

    #[test]
    fn absent_fields_are_the_defaults_and_misspelt_ones_are_errors() {
        let default = read(json!({"name": "dockertools", "uid": 0})).unwrap();
        assert_eq!(default, LayerFormatRecord::dockertools());
        for wrong in [
            json!("dockerTools"),
            json!({"name": "nixply"}),
            json!({"name": "dockertools", "uidd": 0}),
            json!({"name": "dockertools", "uid": -1}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
