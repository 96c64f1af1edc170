//! An image's layers by their reasons, in 80 columns.

use super::Explained;
use crate::columns::{COLUMNS, fit, shorten, wrap};
use crate::text;
use nixply_image::{LayerExplanation, LayerHolds, LayerOutline, LayerWhy, Package, SizeMeasure};
use nixply_store::StorePath;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// How many layers of one reason are shown without `--all`.
const MAX_LAYERS: usize = 6;

pub(super) fn describe(explained: &Explained<'_>) -> String {
    let mut text = head(explained);
    let mut by_why: BTreeMap<LayerWhy, Vec<usize>> = BTreeMap::new();
    for (idx, layer) in explained.layers.iter().enumerate() {
        by_why.entry(layer.why).or_default().push(idx);
    }
    for (why, idxs) in by_why {
        section(explained, why, idxs, &mut text);
    }
    notes(explained, &mut text);
    text
}

fn head(explained: &Explained<'_>) -> String {
    let contents = &explained.known.contents;
    // A layer on top of a base image may hold a path that the base has, too.
    let paths: BTreeSet<&StorePath> = contents.paths().map(|held| &held.path).collect();
    let mut text = format!(
        "image   {}: {}, {}, {} {}\n",
        explained.args.image,
        text::count(contents.layers.len(), "layer"),
        text::count(paths.len(), "store path"),
        text::size(contents.size_bytes()),
        match contents.measure {
            SizeMeasure::NarSize => "of NAR",
            SizeMeasure::StoredSize => "as stored",
        },
    );
    if let Some(plan) = &explained.known.plan {
        let packer = &plan.packer;
        let _ = write!(
            text,
            "packer  {} {}, at most {}",
            text::printable(&packer.name),
            packer.version,
            text::count(packer.max_layers, "layer")
        );
        if let Some(level) = packer.level {
            let _ = write!(text, ", by a catalog of level {level}");
        }
        if let Some(unknown) = packer.unknown_paths.filter(|unknown| *unknown > 0) {
            let paths = text::count(unknown, "path");
            let _ = write!(text, " that does not know {paths}");
        }
        text.push('\n');
    }
    let roots: Vec<String> = explained.roots().into_iter().map(title).collect();
    if !roots.is_empty() {
        let _ = writeln!(text, "roots   {}", fit(&roots, COLUMNS - 8));
    }
    text
}

/// All layers of one reason: a sentence, and a line for each of the largest.
fn section(explained: &Explained<'_>, why: LayerWhy, mut idxs: Vec<usize>, text: &mut String) {
    let outlines = &explained.known.contents.layers;
    let bytes = idxs
        .iter()
        .map(|idx| outlines[*idx].size_bytes)
        .fold(0, u64::saturating_add);
    let sentence = format!(
        "{}, {}: {}",
        text::count(idxs.len(), "layer"),
        text::size(bytes),
        sentence(why)
    );
    let _ = write!(text, "\n{}", wrap(&sentence, COLUMNS));
    idxs.sort_by_key(|idx| (Reverse(outlines[*idx].size_bytes), *idx));
    // One line more costs no more than the line that says that there is one.
    let shown = if explained.args.all || idxs.len() <= MAX_LAYERS + 1 {
        idxs.len()
    } else {
        MAX_LAYERS
    };
    let rows: Vec<Vec<String>> = idxs[..shown]
        .iter()
        .map(|&idx| {
            let outline = &outlines[idx];
            vec![
                (idx + 1).to_string(),
                text::size(outline.size_bytes),
                what(explained, idx, COLUMNS - 20),
            ]
        })
        .collect();
    text.push_str(&text::table(&["layer", "size", "holds"], &[0, 1], &rows));
    if shown < idxs.len() {
        let _ = writeln!(text, "and {} more; --all names them", idxs.len() - shown);
    }
}

fn what(explained: &Explained<'_>, idx: usize, width: usize) -> String {
    let outline = &explained.known.contents.layers[idx];
    let layer = &explained.layers[idx];
    match &outline.holds {
        LayerHolds::RootFiles(files) if files.is_empty() => "root files".to_owned(),
        LayerHolds::RootFiles(files) => {
            let files: Vec<String> = files.iter().map(|file| text::printable(file)).collect();
            fit(&files, width)
        }
        LayerHolds::Unknown(comment) => {
            shorten(&text::printable(comment.as_deref().unwrap_or("")), width)
        }
        LayerHolds::StorePaths(_) => {
            let paths = titles(explained, outline, layer);
            let mut sets = sets(layer);
            // What a layer holds says more than the names of its sets.
            if sets.chars().count() > width / 2 {
                sets = set_count(layer);
            }
            let width = width.saturating_sub(sets.chars().count());
            let held = match (layer.why, paths.split_first()) {
                (LayerWhy::Riders | LayerWhy::Headed, Some((head, others)))
                    if !others.is_empty() =>
                {
                    let named = format!("{head} <- {}", fit_or_count(others, width, head));
                    shorten(&named, width)
                }
                _ => shorten(&fit(&paths, width), width),
            };
            format!("{held}{sets}")
        }
    }
}

/// The paths that stand behind a head in so many columns; their number where not one has room.
fn fit_or_count(others: &[String], width: usize, head: &str) -> String {
    let width = width.saturating_sub(head.chars().count() + 4);
    let named = fit(others, width);
    if named.chars().count() <= width {
        named
    } else {
        text::count(others.len(), "other")
    }
}

/// The packages of a layer: its head, then the others by size.
fn titles(
    explained: &Explained<'_>,
    outline: &LayerOutline,
    layer: &LayerExplanation,
) -> Vec<String> {
    let mut paths: Vec<(bool, Reverse<u64>, &StorePath)> = outline
        .paths()
        .iter()
        .map(|held| {
            let bytes = held.nar_size_bytes.or_else(|| {
                let graph = explained.graph.as_ref()?;
                graph.nar_size_bytes(&held.path)
            });
            let is_head = layer.head.as_ref() == Some(&held.path);
            (!is_head, Reverse(bytes.unwrap_or(0)), &held.path)
        })
        .collect();
    paths.sort();
    let mut seen = BTreeSet::new();
    paths
        .into_iter()
        .map(|(_, _, path)| title(path))
        .filter(|title| seen.insert(title.clone()))
        .collect()
}

/// The package sets of a layer, behind what it holds.
pub(super) fn sets(layer: &LayerExplanation) -> String {
    match layer.sets.as_slice() {
        [] => set_count(layer),
        [only] => format!("  (set {})", text::printable(only)),
        names => format!("  (sets {})", text::printable(&names.join(", "))),
    }
}

fn set_count(layer: &LayerExplanation) -> String {
    match layer.set_count {
        None | Some(0) => String::new(),
        Some(n) => format!("  ({})", text::count(n, "set")),
    }
}

pub(super) fn title(path: &StorePath) -> String {
    Package::of_name(path.name()).to_string()
}

/// What is common to all layers of a reason.
pub(super) fn sentence(why: LayerWhy) -> &'static str {
    match why {
        LayerWhy::Alone => "one path each: it is large, or there was room for it.",
        LayerWhy::Riders => {
            "a path, and small ones that ride on it: it uses them, so they are there whenever it is."
        }
        LayerWhy::Together => {
            "paths that come and go together: the same package sets hold all of them."
        }
        LayerWhy::Headed => "a path and dependencies of it.",
        LayerWhy::Small => {
            "small ones that share a layer: each alone would cost more than it saves."
        }
        LayerWhy::Rest => "the rest: for these no layer of their own was left.",
        LayerWhy::AskedFor => {
            "what the image asks for: any of it may be new in the next version, so it stands apart."
        }
        LayerWhy::Prior => "as in the prior image, because all of their paths are still there.",
        LayerWhy::Roots => "the roots, and what was put with them.",
        LayerWhy::Grouped => "several paths, and nothing recorded says why.",
        LayerWhy::Volatile => "volatile, new in every version of the image, so on top.",
        LayerWhy::RootFiles => "files outside the store.",
        LayerWhy::Unknown => "nothing says what is in it.",
    }
}

fn notes(explained: &Explained<'_>, text: &mut String) {
    let layers = &explained.layers;
    let any = |why| layers.iter().any(|layer| layer.why == why);
    let mut notes = Vec::new();
    if let Some(why) = explained.references.why_unknown()
        && any(LayerWhy::Grouped)
    {
        notes.push(format!(
            "References are not known ({why}): --closure CLOSURE tells which paths depend on which."
        ));
    }
    if any(LayerWhy::Unknown) && !explained.args.read_layers {
        notes.push("--read-layers reads layers that do not say what they hold.".to_owned());
    }
    for note in notes {
        let _ = write!(text, "\n{}", wrap(&note, COLUMNS));
    }
}
