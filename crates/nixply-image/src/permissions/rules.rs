//! Rules that are ready to be asked.

use super::error::PermsError;
use crate::root::{Accounts, OwnerSpec};
use crate::root_file::parse_mode;
use nixply_store::{StoreDir, StorePath};
use regex::Regex;
use serde::Deserialize;

/// A rule: entries of store paths whose whole path the expression is found in get this mode and owner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermsRule {
    /// The store path that the rule is for; all of them where absent.
    #[serde(default)]
    pub path: Option<String>,
    /// A regular expression, searched for in the absolute path of an entry in the store.
    pub regex: String,
    /// Octal digits; as it is where absent.
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

/// What rules say of an entry; what they leave open stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
}

/// A rule that is ready to be asked.
struct Rule {
    spec: PermsRule,
    path: Option<StorePath>,
    regex: Regex,
    change: Change,
    has_matched: bool,
}

/// All rules, and which of them matched something.
pub(crate) struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    pub(crate) fn new(
        specs: &[PermsRule],
        accounts: &Accounts,
        store_dir: &StoreDir,
    ) -> Result<Self, PermsError> {
        let rules = specs
            .iter()
            .map(|spec| rule(spec, accounts, store_dir))
            .collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The store paths that rules name, with the expression beside each.
    pub(crate) fn named_paths(&self) -> impl Iterator<Item = (&StorePath, &str)> {
        self.rules
            .iter()
            .filter_map(|rule| Some((rule.path.as_ref()?, rule.spec.regex.as_str())))
    }

    /// Whether any rule may match in a store path.
    pub(crate) fn concern(&self, path: &StorePath) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.path.as_ref().is_none_or(|named| named == path))
    }

    /// What the rules say of an entry of a store path; nothing where none matches. The last rule that gives a mode decides the
    /// mode, and so on.
    pub(crate) fn change(&mut self, store_path: &StorePath, entry: &str) -> Option<Change> {
        let mut change: Option<Change> = None;
        for rule in &mut self.rules {
            let is_for_path = rule.path.as_ref().is_none_or(|path| path == store_path);
            if !is_for_path || !rule.regex.is_match(entry) {
                continue;
            }
            rule.has_matched = true;
            let before = change.unwrap_or_default();
            change = Some(Change {
                mode: rule.change.mode.or(before.mode),
                uid: rule.change.uid.or(before.uid),
                gid: rule.change.gid.or(before.gid),
            });
        }
        change
    }

    /// Fails with the first rule that matched nothing.
    pub(crate) fn check_all_matched(&self) -> Result<(), PermsError> {
        match self.rules.iter().find(|rule| !rule.has_matched) {
            None => Ok(()),
            Some(rule) => Err(PermsError::MatchesNothing {
                regex: rule.spec.regex.clone(),
                path: rule.spec.path.clone(),
            }),
        }
    }
}

fn rule(spec: &PermsRule, accounts: &Accounts, store_dir: &StoreDir) -> Result<Rule, PermsError> {
    let name = || spec.regex.clone();
    let regex = Regex::new(&spec.regex).map_err(|source| PermsError::Regex {
        regex: name(),
        source: Box::new(source),
    })?;
    let path = match &spec.path {
        None => None,
        Some(path) => Some(store_dir.parse(path).map_err(|_| PermsError::NotInImage {
            regex: name(),
            path: path.clone(),
        })?),
    };
    let mode = match &spec.mode {
        None => None,
        Some(mode) => Some(parse_mode(mode).ok_or_else(|| PermsError::Mode {
            regex: name(),
            mode: mode.clone(),
        })?),
    };
    let owner = OwnerSpec {
        uid: spec.uid,
        gid: spec.gid,
        user: spec.user.clone(),
        group: spec.group.clone(),
    };
    let (uid, gid) = owner
        .ids("perms", accounts)
        .map_err(|source| PermsError::Owner {
            regex: name(),
            source,
        })?;
    if mode.is_none() && uid.is_none() && gid.is_none() {
        return Err(PermsError::Nothing { regex: name() });
    }
    Ok(Rule {
        spec: spec.clone(),
        path,
        regex,
        change: Change { mode, uid, gid },
        has_matched: false,
    })
}
