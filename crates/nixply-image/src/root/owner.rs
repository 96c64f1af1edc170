//! Owners by name or number, and paths as people write them.

use super::accounts::{Accounts, MAX_ID};
use super::error::RootSpecError;
use super::spec::OwnerSpec;

impl OwnerSpec {
    /// The numbers; `wanted_by` names what has this owner, for errors. What is not given stays `None`.
    pub(crate) fn ids(
        &self,
        wanted_by: &str,
        accounts: &Accounts,
    ) -> Result<(Option<u64>, Option<u64>), RootSpecError> {
        let both = |number, name| RootSpecError::Both {
            wanted_by: wanted_by.to_owned(),
            number,
            name,
        };
        let unknown = |what, name: &String| RootSpecError::Unknown {
            wanted_by: wanted_by.to_owned(),
            what,
            name: name.clone(),
        };
        if let Some(id) = [self.uid, self.gid]
            .into_iter()
            .flatten()
            .find(|id| *id > MAX_ID)
        {
            return Err(RootSpecError::OwnerId {
                wanted_by: wanted_by.to_owned(),
                id,
            });
        }
        let (uid, primary) = match (self.uid, &self.user) {
            (Some(_), Some(_)) => return Err(both("uid", "user")),
            (uid, None) => (uid, None),
            (None, Some(name)) => {
                let ids = accounts.user_ids(name);
                let (uid, gid) = ids.ok_or_else(|| unknown("user", name))?;
                (Some(uid), Some(gid))
            }
        };
        let gid = match (self.gid, &self.group) {
            (Some(_), Some(_)) => return Err(both("gid", "group")),
            (None, None) => primary,
            (gid, None) => gid,
            (None, Some(name)) => Some(accounts.gid(name).ok_or_else(|| unknown("group", name))?),
        };
        Ok((uid, gid))
    }
}

/// Checks that a path is absolute and goes nowhere else; a slash at its end is allowed.
pub(super) fn absolute(wanted_by: &str, path: &str) -> Result<(), RootSpecError> {
    let inner = path
        .strip_prefix('/')
        .map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let valid = inner.is_some_and(|inner| {
        inner.is_empty() || !inner.split('/').any(|part| matches!(part, "" | "." | ".."))
    });
    if valid {
        return Ok(());
    }
    Err(RootSpecError::Path {
        wanted_by: wanted_by.to_owned(),
        path: path.to_owned(),
    })
}
