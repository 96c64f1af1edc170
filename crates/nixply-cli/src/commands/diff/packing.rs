//! Whether both images were packed alike: where not, layers move that would not have to.

use super::Diff;
use nixply_image::{LayerFate, LayerHolds, PackerRecord};

/// True where one packer decided both images under one limit, with a catalog or without; none where an image does not
/// say. Catalogs may differ: a fleet makes one for every pin.
pub(super) fn packed_alike(diff: &Diff<'_>) -> Option<bool> {
    let (old, new) = (packer(diff.old)?, packer(diff.new)?);
    let decided = |packer: &PackerRecord| {
        let PackerRecord {
            name,
            version,
            max_layers,
            catalog,
            pipeline,
            ..
        } = packer;
        let has_catalog = catalog.is_some();
        (name.clone(), *version, *max_layers, has_catalog, *pipeline)
    };
    Some(decided(old) == decided(new))
}

pub(super) fn packer(known: &crate::contents::Known) -> Option<&PackerRecord> {
    known.plan.as_ref().map(|plan| &plan.packer)
}

/// What to know of it, where NEW was planned here and could have been planned otherwise.
pub(super) fn note(diff: &Diff<'_>) -> Option<String> {
    if !diff.new.is_planned_here {
        return None;
    }
    match (packer(diff.old), packer(diff.new)) {
        (Some(old), Some(new)) => (packed_alike(diff) == Some(false)).then(|| {
            let advice = advice(old, new);
            format!(
                "OLD was packed by {}; NEW by {}. Layers may move for that alone{advice}.",
                describe(old),
                describe(new)
            )
        }),
        // An image does not say what packed it.
        _ => (diff.args.plan.deciding().is_none() && regroups(diff)).then(|| {
            "Layers move in which nothing changed but their grouping: if OLD was planned with --catalog, --packer, \
             --max-layers or --prior, give the same here, for NEW."
                .to_owned()
        }),
    }
}

fn describe(packer: &PackerRecord) -> String {
    let catalog = match packer.catalog {
        Some(_) => " with a catalog",
        None => "",
    };
    format!(
        "{} {}{catalog}, at most {}",
        crate::text::printable(&packer.name),
        packer.version,
        crate::text::count(packer.max_layers, "layer"),
    )
}

/// The options that give NEW the packer of OLD; nothing where it is of another version.
fn advice(old: &PackerRecord, new: &PackerRecord) -> String {
    let mut options = Vec::new();
    match (old.catalog, new.catalog) {
        (Some(_), None) => options.push("--catalog CATALOG".to_owned()),
        (None, Some(_)) => options.push("no --catalog".to_owned()),
        _ => {}
    }
    if old.pipeline.is_some() && old.pipeline != new.pipeline {
        options.push("--layering-pipeline FILE with the steps of OLD".to_owned());
    }
    // A catalog and its packer come together.
    if options.is_empty() && old.name != new.name {
        options.push(format!("--packer {}", crate::text::printable(&old.name)));
    }
    if old.max_layers != new.max_layers {
        options.push(format!("--max-layers {}", old.max_layers));
    }
    if options.is_empty() {
        String::new()
    } else {
        format!(": give {}", options.join(", "))
    }
}

/// True where a layer moves whose paths are all unchanged.
fn regroups(diff: &Diff<'_>) -> bool {
    let layers = diff.comparison.layers.iter().zip(&diff.new.contents.layers);
    layers.into_iter().any(|(layer, outline)| {
        matches!(layer.fate, LayerFate::Changed | LayerFate::New)
            && layer.changes.is_empty()
            && matches!(outline.holds, LayerHolds::StorePaths(_))
    })
}
