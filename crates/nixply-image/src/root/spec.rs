//! The field `root` of an image specification.

use serde::Deserialize;
use std::collections::BTreeMap;

/// What stands outside the store, by what it is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootSpec {
    /// Users by name. `root` is added where it is not given. An empty list makes `root` the only one; none at all, no files.
    #[serde(default)]
    pub users: Option<BTreeMap<String, UserSpec>>,
    /// Groups by name, beside those that users bring along.
    #[serde(default)]
    pub groups: Option<BTreeMap<String, GroupSpec>>,
    /// Files by absolute path.
    #[serde(default)]
    pub files: BTreeMap<String, FileSpec>,
    /// Directories by absolute path.
    #[serde(default)]
    pub directories: BTreeMap<String, DirectorySpec>,
    /// Symbolic links: absolute path to target.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// `/tmp` and `/var/tmp`, mode 1777; true where nothing is said.
    #[serde(default)]
    pub tmp: Option<bool>,
    /// A bundle of CA certificates, linked to where programs look for one.
    #[serde(default)]
    pub ca_certificates: Option<String>,
    /// A shell, linked to `/bin/sh`; also the shell of users who have none of their own.
    #[serde(default)]
    pub shell: Option<String>,
    /// An `env`, linked to `/usr/bin/env`.
    #[serde(default)]
    pub env: Option<String>,
    /// `/etc/nsswitch.conf`; true where nothing is said and users are given.
    #[serde(default)]
    pub nsswitch: Option<bool>,
    /// `/etc/os-release`; `ID` comes first.
    #[serde(default)]
    pub os_release: Option<BTreeMap<String, String>>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSpec {
    /// The user's number.
    pub uid: u64,
    /// The number of the primary group; that of `group`, else the user's own number, where absent.
    #[serde(default)]
    pub gid: Option<u64>,
    /// The name of the primary group; the user's own name where absent.
    #[serde(default)]
    pub group: Option<String>,
    /// Further groups, by name.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The home directory; `/root` for uid 0, else `/home/NAME`, where absent.
    #[serde(default)]
    pub home: Option<String>,
    /// Whether the home directory is made; not where it is a usual word for none (`/var/empty`, `/nonexistent`) or `/`.
    #[serde(default)]
    pub create_home: Option<bool>,
    /// The login shell; the `shell` of the root, else `/bin/sh`, where absent.
    #[serde(default)]
    pub shell: Option<String>,
    /// The full name.
    #[serde(default)]
    pub description: String,
    /// The hash of the password as `/etc/shadow` has it; `!`, which nothing matches, where absent.
    #[serde(default)]
    pub password: Option<String>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// The group's number.
    pub gid: u64,
    /// Its members, by name, beside the users who name it.
    #[serde(default)]
    pub members: Vec<String>,
}

/// Who something belongs to: each part by number or by name. A group that is not given is the primary group of a user who is
/// named, else 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct OwnerSpec {
    /// The owner by number.
    #[serde(default)]
    pub uid: Option<u64>,
    /// The group by number.
    #[serde(default)]
    pub gid: Option<u64>,
    /// The owner by name.
    #[serde(default)]
    pub user: Option<String>,
    /// The group by name.
    #[serde(default)]
    pub group: Option<String>,
}

/// A file; exactly one of `text` and `source`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// What it holds.
    #[serde(default)]
    pub text: Option<String>,
    /// A file whose bytes it holds, such as one in the store.
    #[serde(default)]
    pub source: Option<String>,
    /// Octal digits; 0644 where absent.
    #[serde(default)]
    pub mode: Option<String>,
    /// The owner by number.
    #[serde(default)]
    pub uid: Option<u64>,
    /// The group by number.
    #[serde(default)]
    pub gid: Option<u64>,
    /// The owner by name.
    #[serde(default)]
    pub user: Option<String>,
    /// The group by name.
    #[serde(default)]
    pub group: Option<String>,
    /// Capabilities in the form of setcap(8).
    #[serde(default)]
    pub capabilities: Option<String>,
}

/// A directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectorySpec {
    /// Octal digits; 0755 where absent.
    #[serde(default)]
    pub mode: Option<String>,
    /// The owner by number.
    #[serde(default)]
    pub uid: Option<u64>,
    /// The group by number.
    #[serde(default)]
    pub gid: Option<u64>,
    /// The owner by name.
    #[serde(default)]
    pub user: Option<String>,
    /// The group by name.
    #[serde(default)]
    pub group: Option<String>,
}

impl FileSpec {
    pub(super) fn owner(&self) -> OwnerSpec {
        OwnerSpec {
            uid: self.uid,
            gid: self.gid,
            user: self.user.clone(),
            group: self.group.clone(),
        }
    }
}

impl DirectorySpec {
    pub(super) fn owner(&self) -> OwnerSpec {
        OwnerSpec {
            uid: self.uid,
            gid: self.gid,
            user: self.user.clone(),
            group: self.group.clone(),
        }
    }
}
