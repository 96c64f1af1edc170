//! What is wrong with a `root`.

/// Why the field `root` of an image specification, or a name in `perms`, makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootSpecError {
    /// A name would not be understood by the tools that read `/etc/passwd` and `/etc/group`.
    #[error(
        "{what} `{name}`: expected letters, digits, `_`, `-` and `.`, a letter or `_` first, at most 32 bytes"
    )]
    Name {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A field would break its line.
    #[error("user `{user}`: `{field}` holds a colon, a line break or another control character")]
    Field {
        /// The user.
        user: String,
        /// The field.
        field: &'static str,
    },
    /// A number does not fit, or means "none" (-1).
    #[error("{what} `{name}`: {id} is no user or group ID: expected at most 4294967294")]
    Id {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// The number.
        id: u64,
    },
    /// A number of an owner does not fit, or means "none" (-1).
    #[error("{wanted_by}: {id} is no user or group ID: expected at most 4294967294")]
    OwnerId {
        /// What has the owner.
        wanted_by: String,
        /// The number.
        id: u64,
    },
    /// Two have one number.
    #[error("{what}s `{first}` and `{second}` both have the ID {id}")]
    DuplicateId {
        /// `user` or `group`.
        what: &'static str,
        /// The one.
        first: String,
        /// The other.
        second: String,
        /// The number.
        id: u64,
    },
    /// `root` is 0 to the kernel.
    #[error("{what} `root`: its ID is 0, not {id}")]
    NotRoot {
        /// `user` or `group`.
        what: &'static str,
        /// The number.
        id: u64,
    },
    /// The base image has a user or group of this name, with another number.
    #[error("{what} `{name}` has the ID {base_id} in the base image, not {id}")]
    OtherIdInBase {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// The number that was asked for.
        id: u64,
        /// The number in the base.
        base_id: u64,
    },
    /// The number is that of a user or group of the base image.
    #[error(
        "{what} `{name}` cannot have the ID {id}, which is that of `{owner}` in the base image"
    )]
    TakenInBase {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// The number.
        id: u64,
        /// Who has it in the base.
        owner: String,
    },
    /// Users or groups are to be added to a base image's, which nobody has read.
    #[error(
        "nobody knows which users and groups the base image has, and those of this image would replace them"
    )]
    UnknownInBase,
    /// A password is given, and the base image has a file of them.
    #[error(
        "user `{user}`: no password can be given, since the `/etc/shadow` of the base image stays as it is"
    )]
    PasswordOverBase {
        /// The user.
        user: String,
    },
    /// A group has one number, and a user says another.
    #[error("user `{user}`: group `{group}` has the ID {expected}, not {found}")]
    GroupId {
        /// The user.
        user: String,
        /// The group.
        group: String,
        /// Its number.
        expected: u64,
        /// What the user says.
        found: u64,
    },
    /// Nobody defines this user or group.
    #[error("{wanted_by}: there is no {what} `{name}`")]
    Unknown {
        /// What names it: `user `vscode``, `file `/etc/x``.
        wanted_by: String,
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Something has a number and a name for one thing.
    #[error("{wanted_by}: give either `{number}` or `{name}`")]
    Both {
        /// What has both.
        wanted_by: String,
        /// The field for the number.
        number: &'static str,
        /// The field for the name.
        name: &'static str,
    },
    /// A path is not absolute, or has parts that lead elsewhere.
    #[error("{wanted_by}: `{path}` is no absolute path without `.`, `..` and empty parts")]
    Path {
        /// What names it.
        wanted_by: String,
        /// The path.
        path: String,
    },
    /// Two users would own one home directory.
    #[error("users `{first}` and `{second}` have the same home directory `{home}`")]
    SharedHome {
        /// The one.
        first: String,
        /// The other.
        second: String,
        /// The directory.
        home: String,
    },
    /// One path is named in two ways.
    #[error("`{path}` stands twice in `root`: as {first} and as {second}")]
    Twice {
        /// The path.
        path: String,
        /// The one.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A file has no contents, or two.
    #[error("file `{path}`: expected either `text` or `source`")]
    Contents {
        /// The path.
        path: String,
    },
    /// A field of `/etc/os-release` would not be read.
    #[error(
        "`os_release.{key}`: expected a name of capital letters, digits and `_`, and a value in one line"
    )]
    OsRelease {
        /// The name.
        key: String,
    },
}

impl RootSpecError {
    /// One thing to do about it, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { what, name, .. } => Some(format!(
                "define it: `\"root\": {{\"{what}s\": {{\"{name}\": …}}}}`"
            )),
            Self::DuplicateId {
                what: "group",
                first,
                ..
            } => Some(format!(
                "a user without `group` brings a group of its own name; `\"group\": \"{first}\"` puts it into that one"
            )),
            Self::OtherIdInBase { base_id, .. } => Some(format!(
                "give {base_id}, to mean the one of the base image, or another name"
            )),
            Self::TakenInBase {
                what: "group",
                owner,
                ..
            } => Some(format!(
                "a user without `group` brings a group of its own name; `\"group\": \"{owner}\"` puts it into that one"
            )),
            Self::TakenInBase { owner, .. } => Some(format!(
                "give the user another `uid`, or the name `{owner}`, to mean the one of the base image"
            )),
            Self::UnknownInBase => Some(
                "lock the base image again with this version of `nixply base lock`; or give the files as a whole in `files`, and no users and groups".to_owned(),
            ),
            Self::PasswordOverBase { .. } => {
                Some("give the whole file in `files`, as `/etc/shadow`".to_owned())
            }
            Self::SharedHome { .. } => Some("give one of them `\"create_home\": false`".to_owned()),
            _ => None,
        }
    }
}
