//! What a push writes to.

use crate::error::{CliError, ExitStatus};
use nixply_image::Plan;
use nixply_oci::ImageReference;

/// The tags in order: the reference's own, then those of `--tag`; else the plan's, else `latest`. With `by_digest`
/// the repository alone.
pub(super) fn targets(
    reference: &ImageReference,
    tags: &[String],
    by_digest: bool,
    plan: &Plan,
) -> Result<Vec<ImageReference>, CliError> {
    if by_digest {
        return match reference.tag() {
            None => Ok(vec![reference.clone()]),
            Some(tag) => Err(CliError::new(
                ExitStatus::Usage,
                format!("`{reference}` names the tag `{tag}`, and --by-digest moves no tag"),
            )
            .hint("leave the tag out, or --by-digest")),
        };
    }
    tagged(reference, tags, plan.tag.as_deref().unwrap_or("latest"))
}

/// The tags in order: the reference's own, then the others; else `default`.
pub(crate) fn tagged(
    reference: &ImageReference,
    tags: &[String],
    default: &str,
) -> Result<Vec<ImageReference>, CliError> {
    let mut all: Vec<&str> = reference.tag().into_iter().collect();
    all.extend(tags.iter().map(String::as_str));
    if all.is_empty() {
        all.push(default);
    }
    let mut targets: Vec<ImageReference> = Vec::with_capacity(all.len());
    for tag in all {
        let target = reference
            .with_tag(tag)
            .map_err(|error| CliError::from_error(ExitStatus::Usage, &error))?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}
