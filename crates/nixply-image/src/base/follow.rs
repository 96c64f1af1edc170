//! Following a path through symbolic links, by their texts alone.

use super::error::LinkProblem;
use nixply_layer::NAME_LIMIT_BYTES;

/// How many links are followed on the way to a file: what Linux follows (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Followed {
    /// The path without links, from the root.
    pub(super) place: String,
    /// The first link on the way, where there was one.
    pub(super) first_link: Option<String>,
}

/// A path that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeadsNowhere {
    /// The first link on the way.
    pub(super) link: String,
    pub(super) problem: LinkProblem,
}

/// Follows the links in a path from the root; the last part only where `last_too`. Nothing leads out of the root. Links
/// that lead to ever longer paths are not followed further than a path can be long.
pub(super) fn follow<'l>(
    path: &str,
    last_too: bool,
    link: &dyn Fn(&str) -> Option<&'l str>,
) -> Result<Followed, LeadsNowhere> {
    // The parts that are still to go, the next one last.
    let mut ahead: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut links = 0;
    let mut place: Vec<String> = Vec::new();
    let mut first_link = None;
    while let Some(part) = ahead.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                place.pop();
                continue;
            }
            _ => place.push(part),
        }
        let here = place.join("/");
        if let Some(link) = first_link
            .as_ref()
            .filter(|_| here.len() > NAME_LIMIT_BYTES)
        {
            return Err(LeadsNowhere {
                link: String::clone(link),
                problem: LinkProblem::TooLong,
            });
        }
        if ahead.is_empty() && !last_too {
            break;
        }
        let Some(target) = link(&here) else { continue };
        let first = first_link.get_or_insert(here);
        links += 1;
        if links > MAX_LINKS {
            return Err(LeadsNowhere {
                link: first.clone(),
                problem: LinkProblem::Loop,
            });
        }
        if target.starts_with('/') {
            place.clear();
        } else {
            place.pop();
        }
        ahead.extend(target.split('/').rev().map(str::to_owned));
    }
    Ok(Followed {
        place: place.join("/"),
        first_link,
    })
}

/// What a link says that is asked for at one path and stands at another one, so that it leads to what it led to; none where
/// it does as it is. `lead` follows a path to its end, and tells nothing of one that leads back to itself.
pub(super) fn target_elsewhere(
    asked: &str,
    place: &str,
    target: &str,
    lead: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    if place == asked || target.starts_with('/') {
        return None;
    }
    let (parent, _) = place.rsplit_once('/').unwrap_or(("", place));
    let wanted = absolute(asked, target);
    let found = lead(&format!("{parent}/{target}"));
    (found.is_none() || found != lead(&wanted)).then_some(wanted)
}

/// A link's target as a path from the root. The directories that the link is asked for in are no links, so it is known
/// without a look.
pub(super) fn absolute(link: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    let (parent, _) = link.rsplit_once('/').unwrap_or(("", link));
    let mut parts: Vec<&str> = Vec::new();
    for part in parent.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
