//! The users and groups of a base image, which an image's own are added to: every line of the base stays where it is, and but for
//! users and groups that both have, what it is.

use super::accounts::Account;
use super::error::RootSpecError;
use crate::BaseAccounts;
use std::collections::{BTreeMap, BTreeSet};

/// The users and groups of a base image; none without a base.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Below {
    texts: BaseAccounts,
    users: Vec<UserBelow>,
    groups: Vec<GroupBelow>,
}

/// A line of a base's `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UserBelow {
    pub(super) name: String,
    pub(super) password: String,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) description: String,
    pub(super) home: String,
    pub(super) shell: String,
}

/// A line of a base's `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupBelow {
    pub(super) name: String,
    pub(super) gid: u64,
    members: BTreeSet<String>,
}

impl Below {
    pub(super) fn new(texts: &BaseAccounts) -> Self {
        Self {
            users: texts
                .passwd
                .lines()
                .filter_map(UserBelow::of_line)
                .collect(),
            groups: texts
                .group
                .lines()
                .filter_map(GroupBelow::of_line)
                .collect(),
            texts: texts.clone(),
        }
    }

    /// Whether the base has an `/etc/shadow`.
    pub(super) fn has_shadow(&self) -> bool {
        self.texts.has_shadow
    }

    /// Whether the base has an `/etc/nsswitch.conf`.
    pub(super) fn has_nsswitch(&self) -> bool {
        self.texts.has_nsswitch
    }

    pub(super) fn user(&self, name: &str) -> Option<&UserBelow> {
        self.users.iter().find(|user| user.name == name)
    }

    pub(super) fn group(&self, name: &str) -> Option<&GroupBelow> {
        self.groups.iter().find(|group| group.name == name)
    }

    pub(super) fn group_with(&self, gid: u64) -> Option<&GroupBelow> {
        self.groups.iter().find(|group| group.gid == gid)
    }

    /// Checks that a user of this name and number can stand beside those of the base, or is one of them.
    pub(super) fn check_user(&self, name: &str, uid: u64) -> Result<(), RootSpecError> {
        let known = self.users.iter().map(|user| (&user.name[..], user.uid));
        check("user", name, uid, known)
    }

    /// The same for a group.
    pub(super) fn check_group(&self, name: &str, gid: u64) -> Result<(), RootSpecError> {
        let known = self.groups.iter().map(|group| (&group.name[..], group.gid));
        check("group", name, gid, known)
    }

    /// The lines of `/etc/passwd`; those of users that are ours, too, as we have them.
    pub(super) fn passwd(&self, ours: &[Account]) -> String {
        let mut left: BTreeMap<&str, &Account> = ours.iter().map(|a| (&a.name[..], a)).collect();
        with_lines(&self.texts.passwd, |line| {
            let user = UserBelow::of_line(line)?;
            left.remove(&user.name[..]).map(Account::passwd_line)
        })
    }

    /// The lines of `/etc/group`, with members that come to its groups.
    pub(super) fn group_lines(&self, members: &dyn Fn(&str) -> Option<BTreeSet<String>>) -> String {
        let mut done = BTreeSet::new();
        with_lines(&self.texts.group, |line| {
            let group = GroupBelow::of_line(line)?;
            let wanted = members(&group.name)?;
            let new: Vec<&str> = wanted
                .difference(&group.members)
                .map(String::as_str)
                .collect();
            if new.is_empty() || !done.insert(group.name) {
                return None;
            }
            let comma = if line.ends_with(':') { "" } else { "," };
            Some(format!("{line}{comma}{}", new.join(",")))
        })
    }
}

impl UserBelow {
    fn of_line(line: &str) -> Option<Self> {
        let fields = fields(line)?;
        let [name, password, uid, gid, description, home, shell] = fields[..] else {
            return None;
        };
        Some(Self {
            name: name.to_owned(),
            password: password.to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            description: description.to_owned(),
            home: home.to_owned(),
            shell: shell.to_owned(),
        })
    }
}

impl GroupBelow {
    fn of_line(line: &str) -> Option<Self> {
        let fields = fields(line)?;
        let [name, _, gid, members] = fields[..] else {
            return None;
        };
        let members = members.split(',').filter(|name| !name.is_empty());
        Some(Self {
            name: name.to_owned(),
            gid: gid.parse().ok()?,
            members: members.map(str::to_owned).collect(),
        })
    }
}

/// The fields of a line; none of a comment (`#`, as glibc has it), and of what NIS adds (`+`) and takes away (`-`).
fn fields(line: &str) -> Option<Vec<&str>> {
    let line = line.trim_start();
    let is_other = line.starts_with(['#', '+', '-']);
    (!is_other).then(|| line.split(':').collect())
}

/// A text with some of its lines replaced; its last line is ended.
fn with_lines(text: &str, mut replacement: impl FnMut(&str) -> Option<String>) -> String {
    let mut all = String::with_capacity(text.len());
    for whole in text.split_inclusive('\n') {
        let line = whole.strip_suffix('\n').unwrap_or(whole);
        match replacement(line) {
            Some(line) => all.push_str(&line),
            None => all.push_str(line),
        }
        all.push('\n');
    }
    all
}

fn check<'a>(
    what: &'static str,
    name: &str,
    id: u64,
    mut known: impl Iterator<Item = (&'a str, u64)> + Clone,
) -> Result<(), RootSpecError> {
    let mut others = known.clone();
    match known.find(|(known, _)| *known == name) {
        Some((_, found)) if found == id => return Ok(()),
        Some((_, base_id)) => {
            return Err(RootSpecError::OtherIdInBase {
                what,
                name: name.to_owned(),
                id,
                base_id,
            });
        }
        None => {}
    }
    match others.find(|(_, known)| *known == id) {
        None => Ok(()),
        Some((owner, _)) => Err(RootSpecError::TakenInBase {
            what,
            name: name.to_owned(),
            id,
            owner: owner.to_owned(),
        }),
    }
}
