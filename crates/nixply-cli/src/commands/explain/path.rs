//! One store path: where it is and why, and why it is in the image at all.

use super::Explained;
use super::image::{sentence, sets, title};
use crate::columns::{COLUMNS, fit, wrap};
use crate::text;
use nixply_image::{LayerWhy, VolatileReasonRecord};
use nixply_store::StorePath;
use std::fmt::Write as _;

/// How many chains are shown without `--all`.
pub(super) const MAX_CHAINS: usize = 3;

pub(super) fn describe(explained: &Explained<'_>, path: &StorePath) -> String {
    let contents = &explained.known.contents;
    let size = explained.nar_size_bytes(path);
    let mut text = format!("{}\n", contents.store_dir.display(path));
    let size = size.map_or(String::new(), |bytes| {
        format!(", {} of NAR", text::size(bytes))
    });
    text.push_str(&labelled("package", &format!("{}{size}", title(path))));
    for (idx, outline) in contents.layers.iter().enumerate() {
        if outline.paths().iter().any(|held| held.path == *path) {
            place(explained, idx, path, &mut text);
        }
    }
    if let Some(reason) = volatile(explained, path) {
        let _ = writeln!(text, "volatile {}", volatile_sentence(reason));
    }
    use_of(explained, path, &mut text);
    text
}

fn place(explained: &Explained<'_>, idx: usize, path: &StorePath, text: &mut String) {
    let layer = &explained.layers[idx];
    let outline = &explained.known.contents.layers[idx];
    let mut why = match layer.why {
        LayerWhy::Alone => "alone: it is large, or there was room for it.".to_owned(),
        why => sentence(why).to_owned(),
    };
    let ride = layer.riders.iter().find(|(rider, _)| rider == path);
    if let Some((_, host)) = ride {
        let host = title(host);
        why = match layer.why {
            LayerWhy::Riders => {
                format!("it rides on {host}, which uses it, so it is there whenever that is.")
            }
            _ => format!("it rides on {host}, which uses it; {why}"),
        };
    } else if layer.head.as_ref() == Some(path) && outline.paths().len() > 1 {
        why = match layer.why {
            LayerWhy::Riders => {
                "others ride on it: it uses them, so they are there whenever it is.".to_owned()
            }
            LayerWhy::Headed => "the others in it are dependencies of this one.".to_owned(),
            _ => why,
        };
    } else if let (LayerWhy::Headed, Some(head)) = (layer.why, &layer.head) {
        why = format!("everything in it is a dependency of {}.", title(head));
    }
    let sentence = format!(
        "layer {} of {}, {}{}{}: {why}",
        idx + 1,
        explained.layers.len(),
        text::size(outline.size_bytes),
        match outline.paths().len() {
            1 => String::new(),
            n => format!(" with {}", text::count(n - 1, "other path")),
        },
        sets(layer).replace("  (", ", ").trim_end_matches(')'),
    );
    let _ = write!(text, "{}", labelled("where", &sentence));
    let riders: Vec<String> = layer
        .riders
        .iter()
        .filter(|(_, host)| host == path)
        .map(|(rider, _)| title(rider))
        .collect();
    if !riders.is_empty() {
        let _ = writeln!(text, "riders   {}", fit(&riders, COLUMNS - 9));
    }
}

pub(super) fn volatile(
    explained: &Explained<'_>,
    path: &StorePath,
) -> Option<VolatileReasonRecord> {
    let absolute = explained.known.contents.store_dir.display(path);
    let plan = explained.known.plan.as_ref()?;
    let found = plan
        .volatile
        .iter()
        .find(|volatile| volatile.path == absolute)?;
    Some(found.reason)
}

fn volatile_sentence(reason: VolatileReasonRecord) -> &'static str {
    match reason {
        VolatileReasonRecord::Given => "somebody said so with --volatile",
        VolatileReasonRecord::UsesVolatile => "it uses a volatile path, so its hash follows",
        VolatileReasonRecord::Root => "it is the root that is the image's own",
        VolatileReasonRecord::HoldsMost => {
            "only volatile paths use it, and it needs most of the image"
        }
        VolatileReasonRecord::InNoSet => "only volatile paths use it, and no package set holds it",
        VolatileReasonRecord::SmallRoot => "it is a small root among several",
        _ => "the plan says so, in words of another version",
    }
}

/// Why the path is in the image at all.
fn use_of(explained: &Explained<'_>, path: &StorePath, text: &mut String) {
    let Some(graph) = &explained.graph else {
        let why = explained.references.why_unknown().unwrap_or_default();
        let sentence = format!(
            "chains of references cannot be shown ({why}); give the closure with --closure."
        );
        let _ = write!(text, "{}", labelled("why", &sentence));
        return;
    };
    let Some(users) = graph.users(path) else {
        let _ = write!(
            text,
            "{}",
            labelled("why", "the closure does not have this path.")
        );
        return;
    };
    let n_roots = graph.roots().count();
    let sentence = if graph.is_root(path) {
        format!(
            "it is a root; it refers to {}.",
            text::count(users.references, "path")
        )
    } else {
        let among = match n_roots {
            1 => String::new(),
            _ => format!(", {} of {n_roots} roots among them", users.roots),
        };
        format!(
            "{} of the image {} it, {} directly{among}; it refers to {}.",
            text::count(users.all, "path"),
            if users.all == 1 { "needs" } else { "need" },
            users.direct,
            text::count(users.references, "path"),
        )
    };
    let _ = write!(text, "{}", labelled("why", &sentence));
    if graph.is_root(path) {
        return;
    }
    let most = if explained.args.all {
        usize::MAX
    } else {
        MAX_CHAINS
    };
    let chains = graph.chains(path, most);
    for chain in &chains {
        text.push('\n');
        for (depth, link) in chain.iter().enumerate() {
            let arrow = if depth == 0 { "" } else { "-> " };
            let indent = 2 + 2 * depth.min(20);
            let root = if depth == 0 { " (root)" } else { "" };
            let _ = writeln!(text, "{:indent$}{arrow}{}{root}", "", title(link));
        }
    }
    if chains.len() < users.direct {
        let _ = writeln!(
            text,
            "\nand by {}; --all shows a chain for each",
            text::count(users.direct - chains.len(), "other direct user"),
        );
    }
}

/// A sentence behind a label, its lines below each other.
fn labelled(label: &str, sentence: &str) -> String {
    let mut text = String::new();
    for (n, line) in wrap(sentence, COLUMNS - 9).lines().enumerate() {
        let label = if n == 0 { label } else { "" };
        let _ = writeln!(text, "{label:<9}{line}");
    }
    text
}
