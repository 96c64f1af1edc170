//! The comparison as people read it, in 80 columns.

use super::title::{short_title, title};
use super::{Diff, measure, packing};
use crate::columns::{COLUMNS, fit, shorten, wrap};
use crate::text;
use nixply_image::{Change, ChangeKind, Identity, LayerComparison, LayerFate, LayerHolds};
use std::cmp::Reverse;
use std::fmt::Write as _;

/// How many causes, rebuilt packages and layers are shown without `--all`: together they fill one screen.
const MAX_CAUSES: usize = 15;
const MAX_REBUILT: usize = 8;
const MAX_LAYERS: usize = 10;

pub(super) fn describe(diff: &Diff<'_>) -> String {
    let mut text = summary(diff);
    if !diff.differ() {
        return text;
    }
    causes(diff, &mut text);
    rebuilt(diff, &mut text);
    layers(diff, &mut text);
    notes(diff, &mut text);
    text
}

fn summary(diff: &Diff<'_>) -> String {
    let comparison = diff.comparison;
    let mut text = String::new();
    for (label, image, known) in [
        ("old", &diff.args.old, diff.old),
        ("new", &diff.args.new, diff.new),
    ] {
        let contents = &known.contents;
        let _ = writeln!(
            text,
            "{label}      {image}: {}, {} {}",
            text::count(contents.layers.len(), "layer"),
            text::size(contents.size_bytes()),
            measure(contents.measure),
        );
    }
    if !diff.differ() {
        text.push_str("\nThe images do not differ.\n");
        return text;
    }
    let count = |fate| {
        comparison
            .layers
            .iter()
            .filter(|layer| layer.fate == fate)
            .count()
    };
    let fates = [
        (count(LayerFate::Kept), "kept"),
        (count(LayerFate::Recompressed), "recompressed"),
        (count(LayerFate::Remade), "made otherwise"),
        (count(LayerFate::Changed), "changed"),
        (count(LayerFate::New), "new"),
        (comparison.gone.len(), "gone"),
    ];
    let fates: Vec<String> = fates
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
    let unit = measure(diff.new.contents.measure);
    let moved = |traffic: nixply_image::Traffic| {
        let layers = text::count(traffic.layers, "layer");
        format!("{layers}, {} {unit}", text::size(traffic.size_bytes))
    };
    let _ = writeln!(text, "layers   {}", fates.join(", "));
    let _ = writeln!(text, "push     {}", moved(comparison.push));
    let _ = writeln!(text, "pull     {}", moved(comparison.pull));
    if comparison.chain_pull != comparison.pull {
        let _ = writeln!(
            text,
            "chain    {} where all from layer {} on is fetched",
            moved(comparison.chain_pull),
            comparison.chain_start + 1
        );
    }
    if comparison.carried_paths > 0 {
        let bytes = comparison.carried_nar_bytes;
        let bytes = bytes.map(|bytes| format!(", {} of NAR", text::size(bytes)));
        let _ = writeln!(
            text,
            "carried  {} in layers that move{}",
            text::count(comparison.carried_paths, "unchanged store path"),
            bytes.unwrap_or_default()
        );
    }
    let fields: Vec<String> = comparison
        .config
        .iter()
        .map(|change| text::printable(&change.field))
        .collect();
    if !fields.is_empty() {
        let fields = fit(&fields, COLUMNS - 18);
        let _ = writeln!(text, "config   another {fields}");
    }
    text
}

/// What is behind the layers that move: a line each, the one that touches most bytes first.
fn causes(diff: &Diff<'_>, text: &mut String) {
    let comparison = diff.comparison;
    // What went with a layer that went touches nothing: a line for all of it.
    let (gone, causes): (Vec<&Change>, Vec<&Change>) = comparison
        .changes
        .iter()
        .filter(|change| change.is_cause())
        .partition(|change| change.kind == ChangeKind::Removed && change.touched_layers == 0);
    if let Some(first) = causes.first() {
        let sentence = format!(
            "{} touches {}, {}.",
            title(first),
            text::count(first.touched_layers, "layer"),
            text::size(first.touched_bytes),
        );
        let heading = if diff.comparison.references_known {
            "behind it"
        } else {
            "changed"
        };
        let shown = limit(diff, causes.len(), MAX_CAUSES);
        let rows: Vec<Vec<String>> = causes[..shown]
            .iter()
            .map(|change| {
                vec![
                    short_title(change, COLUMNS - 30),
                    change.touched_layers.to_string(),
                    text::size(change.touched_bytes),
                    text::size(change.alone_bytes),
                ]
            })
            .collect();
        let table = text::table(&[heading, "layers", "touched", "alone"], &[1, 2, 3], &rows);
        let _ = write!(text, "\n{}\n{table}", wrap(&sentence, COLUMNS));
        and_more(causes.len() - shown, text);
    }
    if !gone.is_empty() {
        let label = "removed, in no layer that moves: ";
        let names: Vec<String> = gone
            .iter()
            .map(|change| version_title(&change.name, change.old_version.as_deref()))
            .collect();
        let names = if diff.args.all {
            names.join(", ")
        } else {
            fit(&names, COLUMNS - label.len())
        };
        let _ = write!(text, "\n{}", wrap(&format!("{label}{names}"), COLUMNS));
    }
}

fn rebuilt(diff: &Diff<'_>, text: &mut String) {
    let comparison = diff.comparison;
    let rebuilt: Vec<&Change> = comparison
        .changes
        .iter()
        .filter(|change| !change.is_cause())
        .collect();
    if rebuilt.is_empty() {
        return;
    }
    let bytes = rebuilt
        .iter()
        .map(|change| change.nar_size_bytes)
        .fold(0, u64::saturating_add);
    let sized = (bytes > 0).then(|| format!(", {} of NAR", text::size(bytes)));
    let _ = writeln!(
        text,
        "\nrebuilt without a new version, because of these: {}{}",
        text::count(rebuilt.len(), "package"),
        sized.unwrap_or_default(),
    );
    let shown = limit(diff, rebuilt.len(), MAX_REBUILT);
    for change in &rebuilt[..shown] {
        let because: Vec<String> = change
            .because_of
            .iter()
            .map(|idx| comparison.changes[*idx].name.clone())
            .collect();
        let name = version_title(&change.name, change.new_version.as_deref());
        let name = shorten(&name, COLUMNS / 2);
        let width = COLUMNS.saturating_sub(name.chars().count() + 6);
        let because = shorten(&fit(&because, width), width);
        let _ = writeln!(text, "  {name} <- {because}");
    }
    and_more(rebuilt.len() - shown, text);
}

fn layers(diff: &Diff<'_>, text: &mut String) {
    let mut moving: Vec<(usize, &LayerComparison)> = diff
        .comparison
        .layers
        .iter()
        .enumerate()
        .filter(|(_, layer)| layer.fate != LayerFate::Kept)
        .collect();
    if moving.is_empty() {
        return;
    }
    moving.sort_by_key(|(idx, layer)| (Reverse(layer.size_bytes), *idx));
    text.push_str("\nlayers that move, the largest first\n");
    let shown = limit(diff, moving.len(), MAX_LAYERS);
    let rows: Vec<Vec<String>> = moving[..shown]
        .iter()
        .map(|(idx, layer)| {
            vec![
                (idx + 1).to_string(),
                layer
                    .old_idx
                    .map_or("-".to_owned(), |idx| (idx + 1).to_string()),
                text::size(layer.size_bytes),
                what_moves(diff, *idx, layer, COLUMNS - 26),
            ]
        })
        .collect();
    text.push_str(&text::table(
        &["layer", "old", "size", "what is other in it"],
        &[0, 1, 2],
        &rows,
    ));
    and_more(moving.len() - shown, text);
}

fn what_moves(diff: &Diff<'_>, idx: usize, layer: &LayerComparison, width: usize) -> String {
    let outline = &diff.new.contents.layers[idx];
    let changes: Vec<&Change> = layer
        .changes
        .iter()
        .map(|idx| &diff.comparison.changes[*idx])
        .collect();
    match (layer.fate, &outline.holds) {
        _ if !changes.is_empty() => titles(&changes, width),
        (LayerFate::Recompressed, _) => "the same files, compressed otherwise".to_owned(),
        (LayerFate::Remade, _) => "the same store paths in other bytes".to_owned(),
        (_, LayerHolds::RootFiles(_)) => "root files".to_owned(),
        (_, LayerHolds::Unknown(_)) => "does not say what it holds".to_owned(),
        (_, LayerHolds::StorePaths(paths)) => {
            format!("{}, grouped otherwise", text::count(paths.len(), "path"))
        }
    }
}

/// The first changes, and how many there are more.
fn titles(changes: &[&Change], width: usize) -> String {
    let titles: Vec<String> = changes.iter().map(|change| title(change)).collect();
    let text = fit(&titles, width);
    if text.chars().count() <= width {
        return text;
    }
    let Some((first, others)) = changes.split_first() else {
        return text;
    };
    let tail = match others.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!(
        "{}{tail}",
        short_title(first, width.saturating_sub(tail.len()))
    )
}

fn notes(diff: &Diff<'_>, text: &mut String) {
    let mut notes = Vec::new();
    notes.extend(packing::note(diff).map(|note| format!("note: {note}")));
    if let Some(why) = diff.references.why_unknown()
        && diff
            .comparison
            .changes
            .iter()
            .any(|change| change.kind == ChangeKind::Rebuilt)
    {
        notes.push(format!(
            "References are not known ({why}): --closure CLOSURE of NEW tells what was only built again because of another package."
        ));
    }
    if diff.comparison.identity == Identity::StorePaths {
        notes.push(
            "One of the images has no layer keys, so layers with the same store paths count as the same.".to_owned(),
        );
    }
    if !diff.comparison.paths_known {
        notes.push(
            "Not every layer says which store paths it holds; --read-layers reads those that do not.".to_owned(),
        );
    }
    for note in notes {
        text.push('\n');
        text.push_str(&wrap(&note, COLUMNS));
    }
}

fn version_title(name: &str, version: Option<&str>) -> String {
    match version {
        Some(version) => format!("{name} {version}"),
        None => name.to_owned(),
    }
}

fn limit(diff: &Diff<'_>, len: usize, most: usize) -> usize {
    // One line more costs no more than the line that says that there is one.
    if diff.args.all || len <= most + 1 {
        len
    } else {
        most
    }
}

fn and_more(n: usize, text: &mut String) {
    if n > 0 {
        let _ = writeln!(text, "and {n} more; --all names them");
    }
}
