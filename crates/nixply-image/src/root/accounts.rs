//! Users and groups: numbers and names that fit together, and the three files that say so.

use super::below::{Below, UserBelow};
use super::error::RootSpecError;
use super::owner::absolute;
use super::spec::{GroupSpec, RootSpec, UserSpec};
use crate::BaseTree;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The greatest ID: the one above means "leave it" to chown(2).
pub(super) const MAX_ID: u64 = 4_294_967_294;

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
    /// Whether the home is made.
    pub(crate) creates_home: bool,
    /// Whether what comes to be in the home belongs to the user.
    pub(crate) owns_home: bool,
    shell: String,
    description: String,
    /// The field of `/etc/passwd`: `x`, where the password stands in `/etc/shadow`.
    password_field: String,
    /// The password in `/etc/shadow`, where we write one.
    password: Option<String>,
}

impl Account {
    /// The line of `/etc/passwd`, without its end.
    pub(super) fn passwd_line(&self) -> String {
        format!(
            "{}:{}:{}:{}:{}:{}:{}",
            self.name,
            self.password_field,
            self.uid,
            self.gid,
            self.description,
            self.home,
            self.shell
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    gid: u64,
    members: BTreeSet<String>,
}

/// All users and groups of an image; `root` is always among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// Our own, in the order of their numbers.
    users: Vec<Account>,
    /// Our own, and those of the base that get members.
    groups: BTreeMap<String, Group>,
    below: Below,
    /// Whether the base's `/etc/shadow` stays.
    keeps_shadow: bool,
}

impl Accounts {
    /// Those of a specification, added to those of a base. `lists_shadow` says that the specification lists an `/etc/shadow`,
    /// which replaces the base's.
    pub(crate) fn new(
        spec: &RootSpec,
        lists_shadow: bool,
        base: Option<&BaseTree>,
    ) -> Result<Self, RootSpecError> {
        let below = match base.map(|tree| &tree.accounts) {
            None => Below::default(),
            Some(Some(texts)) => Below::new(texts),
            Some(None) if spec.users.is_none() && spec.groups.is_none() => Below::default(),
            Some(None) => return Err(RootSpecError::UnknownInBase),
        };
        let mut users = spec.users.clone().unwrap_or_default();
        if below.user("root").is_none() {
            users.entry("root".to_owned()).or_insert_with(root);
        }
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
            keeps_shadow: below.has_shadow() && !lists_shadow,
            below,
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
            accounts.below.check_user(name, user.uid)?;
            let gid = accounts.primary_group(name, user)?;
            let account = accounts.account(name, user, gid, default_shell, base)?;
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

    /// Our own users, in the order of their numbers.
    pub(crate) fn users(&self) -> &[Account] {
        &self.users
    }

    /// The numbers of a user and of the primary group, also of users of the base.
    pub(crate) fn user_ids(&self, name: &str) -> Option<(u64, u64)> {
        let ours = self.users.iter().find(|account| account.name == name);
        let below = || self.below.user(name).map(|user| (user.uid, user.gid));
        ours.map(|user| (user.uid, user.gid)).or_else(below)
    }

    /// The number of a group, also of one of the base.
    pub(crate) fn gid(&self, group: &str) -> Option<u64> {
        let below = || self.below.group(group).map(|group| group.gid);
        let ours = self.groups.get(group).map(|group| group.gid);
        ours.or_else(below)
    }

    /// Whether the base's `/etc/shadow` stays.
    pub(super) fn keeps_shadow(&self) -> bool {
        self.keeps_shadow
    }

    /// Whether the base has an `/etc/nsswitch.conf`.
    pub(super) fn has_nsswitch(&self) -> bool {
        self.below.has_nsswitch()
    }

    /// The number of a user's primary group, which is made where nobody defines it.
    fn primary_group(&mut self, name: &str, user: &UserSpec) -> Result<u64, RootSpecError> {
        let by_gid = |gid: u64| {
            let mut ours = self.groups.iter();
            let ours = ours.find(|(_, group)| group.gid == gid);
            let below = || self.below.group_with(gid).map(|group| group.name.clone());
            ours.map(|(name, _)| name.clone()).or_else(below)
        };
        // A number alone means the group that has it.
        let group = match (&user.group, user.gid) {
            (Some(group), _) => group.clone(),
            (None, Some(gid)) => by_gid(gid).unwrap_or_else(|| name.to_owned()),
            (None, None) => match self.below.user(name) {
                Some(below) => return Ok(below.gid),
                None => name.to_owned(),
            },
        };
        if let Some(expected) = self.gid(&group) {
            return match user.gid {
                Some(found) if found != expected => Err(RootSpecError::GroupId {
                    user: name.to_owned(),
                    group,
                    expected,
                    found,
                }),
                _ => Ok(expected),
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
                let gid = self.gid(group).ok_or_else(|| RootSpecError::Unknown {
                    wanted_by: format!("user `{name}`"),
                    what: "group",
                    name: group.clone(),
                })?;
                let members = BTreeSet::new();
                let group = self.groups.entry(group.clone());
                let group = group.or_insert(Group { gid, members });
                group.members.insert(name.clone());
            }
        }
        for (name, group) in spec.groups.iter().flatten() {
            let is_known =
                |user: &String| users.contains_key(user) || self.below.user(user).is_some();
            if let Some(unknown) = group.members.iter().find(|user| !is_known(user)) {
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
            self.below.check_group(name, group.gid)?;
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
        let mut text = self.below.passwd(&self.users);
        for user in &self.users {
            if self.below.user(&user.name).is_none() {
                let _ = writeln!(text, "{}", user.passwd_line());
            }
        }
        text
    }

    /// `/etc/group` (group(5)).
    pub(super) fn group(&self) -> String {
        let members = |name: &str| Some(self.groups.get(name)?.members.clone());
        let mut text = self.below.group_lines(&members);
        let mut groups: Vec<(&String, &Group)> = (self.groups.iter())
            .filter(|(name, _)| self.below.group(name).is_none())
            .collect();
        groups.sort_by_key(|(_, group)| group.gid);
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
            if let Some(password) = &user.password {
                let _ = writeln!(text, "{}:{password}:1::::::", user.name);
            }
        }
        text
    }

    /// A user with everything decided. What is not said of a user of the base stays as it is.
    fn account(
        &self,
        name: &str,
        user: &UserSpec,
        gid: u64,
        default_shell: &str,
        base: Option<&BaseTree>,
    ) -> Result<Account, RootSpecError> {
        let below = self.below.user(name);
        if self.keeps_shadow && user.password.is_some() {
            return Err(RootSpecError::PasswordOverBase {
                user: name.to_owned(),
            });
        }
        let home = home(name, user, below)?;
        // A home that stands already is whose it is.
        let stands = base.and_then(|tree| tree.unusual_directory_at(home.trim_start_matches('/')));
        let is_taken_over = below.is_some_and(|below| below.home == home);
        let creates_home = user.create_home.unwrap_or_else(|| {
            !NO_HOMES.contains(&home.as_str()) && !is_taken_over && stands.is_none()
        });
        let is_owner = user.create_home.is_none() && stands.is_some_and(|at| at.uid == user.uid);
        let or_below = |given: Option<&String>, field: fn(&UserBelow) -> &String, default: &str| {
            let below = || below.map(field).cloned();
            given
                .cloned()
                .or_else(below)
                .unwrap_or_else(|| default.to_owned())
        };
        let description = Some(&user.description).filter(|text| !text.is_empty());
        let account = Account {
            name: name.to_owned(),
            uid: user.uid,
            gid,
            creates_home,
            owns_home: creates_home || is_owner,
            home,
            shell: or_below(user.shell.as_ref(), |below| &below.shell, default_shell),
            description: or_below(description, |below| &below.description, ""),
            password_field: match below {
                Some(below) if user.password.is_none() => below.password.clone(),
                None if self.keeps_shadow => "!".to_owned(),
                _ => "x".to_owned(),
            },
            password: match (&user.password, below) {
                (None, None) => Some("!".to_owned()),
                (given, _) => given.clone(),
            },
        };
        for (field, text) in [
            ("home", &account.home[..]),
            ("shell", &account.shell),
            ("description", &account.description),
            ("password", user.password.as_deref().unwrap_or_default()),
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
}

/// The home that is given, else that in the base, else the usual one.
fn home(name: &str, user: &UserSpec, below: Option<&UserBelow>) -> Result<String, RootSpecError> {
    match (&user.home, below) {
        (Some(home), _) => {
            absolute(&format!("home of user `{name}`"), home)?;
            Ok(match home.trim_end_matches('/') {
                "" => "/".to_owned(),
                home => home.to_owned(),
            })
        }
        (None, Some(below)) => Ok(below.home.clone()),
        (None, None) if user.uid == 0 => Ok("/root".to_owned()),
        (None, None) => Ok(format!("/home/{name}")),
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
