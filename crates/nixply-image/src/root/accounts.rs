//! Users and groups: numbers and names that fit together, and the three files that say so.

use super::error::RootSpecError;
use super::owner::absolute;
use super::spec::{GroupSpec, RootSpec, UserSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The greatest ID: the one above means "leave it" to chown(2).
const MAX_ID: u64 = 4_294_967_294;

/// Home directories that stand for having none (`useradd`, Debian's policy, `NixOS`).
const NO_HOMES: [&str; 4] = ["/", "/var/empty", "/nonexistent", "/dev/null"];

/// What useradd(8) takes.
const MAX_NAME_BYTES: usize = 32;

/// A user with everything decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) home: String,
    pub(crate) creates_home: bool,
    shell: String,
    description: String,
    password: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    gid: u64,
    members: BTreeSet<String>,
}

/// All users and groups of an image; `root` is always among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// In the order of their numbers.
    users: Vec<Account>,
    groups: BTreeMap<String, Group>,
}

impl Accounts {
    pub(crate) fn new(spec: &RootSpec) -> Result<Self, RootSpecError> {
        let mut users = spec.users.clone().unwrap_or_default();
        users.entry("root".to_owned()).or_insert_with(root);
        let mut groups = BTreeMap::new();
        for (name, group) in spec.groups.iter().flatten() {
            check_name("group", name)?;
            check_id("group", name, group.gid)?;
            groups.insert(name.clone(), own(group));
        }
        let default_shell = spec.shell.as_deref().unwrap_or("/bin/sh");
        let mut accounts = Self {
            users: Vec::with_capacity(users.len()),
            groups,
        };
        accounts.check_group_ids()?;
        // Own groups first, so that others can name them.
        let mut order: Vec<(&String, &UserSpec)> = users.iter().collect();
        order.sort_by_key(|(_, user)| (user.group.is_some(), user.gid.is_some()));
        for (name, user) in order {
            check_name("user", name)?;
            check_id("user", name, user.uid)?;
            if name == "root" && user.uid != 0 {
                return Err(RootSpecError::NotRoot {
                    what: "user",
                    id: user.uid,
                });
            }
            let gid = accounts.primary_group(name, user)?;
            let account = account(name, user, gid, default_shell)?;
            accounts.users.push(account);
        }
        // A user's own group may be that of another.
        accounts.check_group_ids()?;
        accounts.add_members(&users, spec)?;
        accounts
            .users
            .sort_by(|a, b| (a.uid, &a.name).cmp(&(b.uid, &b.name)));
        accounts.check_users()?;
        Ok(accounts)
    }

    /// The users, in the order of their numbers.
    pub(crate) fn users(&self) -> &[Account] {
        &self.users
    }

    pub(crate) fn user(&self, name: &str) -> Option<&Account> {
        self.users.iter().find(|account| account.name == name)
    }

    pub(crate) fn gid(&self, group: &str) -> Option<u64> {
        self.groups.get(group).map(|group| group.gid)
    }

    /// The number of a user's primary group, which is made where nobody defines it.
    fn primary_group(&mut self, name: &str, user: &UserSpec) -> Result<u64, RootSpecError> {
        let by_gid = |gid: u64| {
            self.groups
                .iter()
                .find(|(_, group)| group.gid == gid)
                .map(|(name, _)| name.clone())
        };
        // A number alone means the group that has it.
        let group = match (&user.group, user.gid) {
            (Some(group), _) => group.clone(),
            (None, Some(gid)) => by_gid(gid).unwrap_or_else(|| name.to_owned()),
            (None, None) => name.to_owned(),
        };
        if let Some(known) = self.groups.get(&group) {
            return match user.gid {
                Some(found) if found != known.gid => Err(RootSpecError::GroupId {
                    user: name.to_owned(),
                    group,
                    expected: known.gid,
                    found,
                }),
                _ => Ok(known.gid),
            };
        }
        if group != name {
            return Err(RootSpecError::Unknown {
                wanted_by: format!("user `{name}`"),
                what: "group",
                name: group,
            });
        }
        let gid = user.gid.unwrap_or(user.uid);
        check_id("group", &group, gid)?;
        self.groups.insert(
            group,
            Group {
                gid,
                members: BTreeSet::new(),
            },
        );
        Ok(gid)
    }

    fn add_members(
        &mut self,
        users: &BTreeMap<String, UserSpec>,
        spec: &RootSpec,
    ) -> Result<(), RootSpecError> {
        for (name, user) in users {
            for group in &user.groups {
                let group = self
                    .groups
                    .get_mut(group)
                    .ok_or_else(|| RootSpecError::Unknown {
                        wanted_by: format!("user `{name}`"),
                        what: "group",
                        name: group.clone(),
                    })?;
                group.members.insert(name.clone());
            }
        }
        for (name, group) in spec.groups.iter().flatten() {
            if let Some(unknown) = group.members.iter().find(|m| !users.contains_key(*m)) {
                return Err(RootSpecError::Unknown {
                    wanted_by: format!("group `{name}`"),
                    what: "user",
                    name: unknown.clone(),
                });
            }
        }
        Ok(())
    }

    fn check_group_ids(&self) -> Result<(), RootSpecError> {
        let mut by_gid: BTreeMap<u64, &str> = BTreeMap::new();
        for (name, group) in &self.groups {
            if name == "root" && group.gid != 0 {
                return Err(RootSpecError::NotRoot {
                    what: "group",
                    id: group.gid,
                });
            }
            if let Some(first) = by_gid.insert(group.gid, name) {
                return Err(RootSpecError::DuplicateId {
                    what: "group",
                    first: first.to_owned(),
                    second: name.clone(),
                    id: group.gid,
                });
            }
        }
        Ok(())
    }

    /// Checks users, who stand in the order of their numbers.
    fn check_users(&self) -> Result<(), RootSpecError> {
        for two in self.users.windows(2) {
            if two[0].uid == two[1].uid {
                return Err(RootSpecError::DuplicateId {
                    what: "user",
                    first: two[0].name.clone(),
                    second: two[1].name.clone(),
                    id: two[0].uid,
                });
            }
        }
        let mut homes: BTreeMap<&str, &str> = BTreeMap::new();
        for account in self.users.iter().filter(|account| account.creates_home) {
            if let Some(first) = homes.insert(&account.home, &account.name) {
                return Err(RootSpecError::SharedHome {
                    first: first.to_owned(),
                    second: account.name.clone(),
                    home: account.home.clone(),
                });
            }
        }
        Ok(())
    }

    /// `/etc/passwd` (passwd(5)).
    pub(super) fn passwd(&self) -> String {
        let mut text = String::new();
        for user in &self.users {
            let _ = writeln!(
                text,
                "{}:x:{}:{}:{}:{}:{}",
                user.name, user.uid, user.gid, user.description, user.home, user.shell
            );
        }
        text
    }

    /// `/etc/group` (group(5)).
    pub(super) fn group(&self) -> String {
        let mut groups: Vec<(&String, &Group)> = self.groups.iter().collect();
        groups.sort_by_key(|(_, group)| group.gid);
        let mut text = String::new();
        for (name, group) in groups {
            let members: Vec<&str> = group.members.iter().map(String::as_str).collect();
            let _ = writeln!(text, "{name}:x:{}:{}", group.gid, members.join(","));
        }
        text
    }

    /// `/etc/shadow` (shadow(5)).
    pub(super) fn shadow(&self) -> String {
        let mut text = String::new();
        for user in &self.users {
            let _ = writeln!(text, "{}:{}:1::::::", user.name, user.password);
        }
        text
    }
}

fn root() -> UserSpec {
    UserSpec {
        uid: 0,
        gid: None,
        group: None,
        groups: Vec::new(),
        home: None,
        create_home: None,
        shell: None,
        description: "root".to_owned(),
        password: None,
    }
}

fn own(group: &GroupSpec) -> Group {
    Group {
        gid: group.gid,
        members: group.members.iter().cloned().collect(),
    }
}

fn account(
    name: &str,
    user: &UserSpec,
    gid: u64,
    default_shell: &str,
) -> Result<Account, RootSpecError> {
    let home = match &user.home {
        Some(home) => {
            absolute(&format!("home of user `{name}`"), home)?;
            match home.trim_end_matches('/') {
                "" => "/".to_owned(),
                home => home.to_owned(),
            }
        }
        None if user.uid == 0 => "/root".to_owned(),
        None => format!("/home/{name}"),
    };
    let account = Account {
        name: name.to_owned(),
        uid: user.uid,
        gid,
        creates_home: user
            .create_home
            .unwrap_or_else(|| !NO_HOMES.contains(&home.as_str())),
        home,
        shell: user
            .shell
            .clone()
            .unwrap_or_else(|| default_shell.to_owned()),
        description: user.description.clone(),
        password: user.password.clone().unwrap_or_else(|| "!".to_owned()),
    };
    for (field, text) in [
        ("home", &account.home),
        ("shell", &account.shell),
        ("description", &account.description),
        ("password", &account.password),
    ] {
        if text.chars().any(|c| c == ':' || c.is_control()) {
            return Err(RootSpecError::Field {
                user: name.to_owned(),
                field,
            });
        }
    }
    Ok(account)
}

fn check_name(what: &'static str, name: &str) -> Result<(), RootSpecError> {
    // A trailing `$` is how machines of a Samba domain are called (useradd(8)).
    let stem = name.strip_suffix('$').unwrap_or(name);
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_next = |byte: u8| is_first(byte) || byte.is_ascii_digit() || b"-.".contains(&byte);
    let valid = name.len() <= MAX_NAME_BYTES
        && stem.bytes().next().is_some_and(is_first)
        && stem.bytes().all(is_next);
    if valid {
        return Ok(());
    }
    Err(RootSpecError::Name {
        what,
        name: name.to_owned(),
    })
}

fn check_id(what: &'static str, name: &str, id: u64) -> Result<(), RootSpecError> {
    if id <= MAX_ID {
        return Ok(());
    }
    Err(RootSpecError::Id {
        what,
        name: name.to_owned(),
        id,
    })
}
