//! Every case of nixpkgs' `nixos/tests/docker-tools.nix` (020e88b) and of nix2container's `tests/default.nix` (20d3395), and the
//! step here that asserts the same of nixply.

use super::STEPS;

/// Where a case is.
enum Here {
    /// A step's name.
    Step(&'static str),
    /// Nowhere, and why.
    No(&'static str),
}
use Here::{No, Step};

const ARGUMENTS: Here = Step("dockerTools' arguments do in a container what they say");
const ON_ANOTHER: Here = Step("an image of dockerTools' functions stands on another one");
const LIMITS: Here = Step("dockerTools' images keep to their layers, one on another");
const FORMS: Here = Step("dockerTools' functions build and stream one image");
const SCRIPTS: Here = Step("scripts set owners, modes and setuid bits and touch no store layer");
const DATABASE: Here = Step("a Nix in a dockerTools image knows the store and finds it intact");
const DATES: Here = Step("dockerTools' images have a stable date, or the date of now");
const MERGED: Here = Step("merged images are all loaded by docker");
const DEBIAN: Here = Step("an image on Debian leaves its /bin as it is and runs");
const VM: Here = No("runs in a virtual machine: nixpkgs' own function, as it is");

/// nixpkgs' subtests, by their names, shortened; what one of them tries with several functions stands apart.
const NIXPKGS: &[(&str, Here)] = &[
    ("includeStorePath: assumption", FORMS),
    ("includeStorePath = false; breaks example", ARGUMENTS),
    (
        "includeStorePath = false; works with mounted store",
        Step("an image without store paths runs with the store mounted"),
    ),
    ("Ensure Docker images use a stable date by default", DATES),
    (
        "Ensure imageTag attribute matches image (all of them)",
        FORMS,
    ),
    ("Check if the nix store is correctly initialized", DATABASE),
    (
        "Ensure (layered) nix store has correct permissions, not uid 0",
        ARGUMENTS,
    ),
    ("The nix binary symlinks are intact", DATABASE),
    (
        "The nix binary symlinks are intact when the image is layered",
        DATABASE,
    ),
    ("The pullImage tool works", DEBIAN),
    ("runAsRoot and entry point work: runAsRoot", VM),
    (
        "runAsRoot and entry point work: entry point",
        Step("an image of nix2container runs as it says"),
    ),
    ("A pulled image can be used as base image", DEBIAN),
    ("Regression test for issue #34779: runAsRoot", VM),
    ("Ensure Docker images can use an unstable date", DATES),
    (
        "Ensure Layered Docker images can use an unstable date",
        DATES,
    ),
    ("Ensure Layered Docker images work: extraCommands", SCRIPTS),
    (
        "Ensure images built on top of layered Docker images work",
        LIMITS,
    ),
    (
        "Ensure layered images built on top of layered Docker images work",
        ON_ANOTHER,
    ),
    ("Ensure layers are shared between images", ARGUMENTS),
    ("Ensure order of layers is correct", LIMITS),
    (
        "Ensure environment variables are correctly inherited",
        ON_ANOTHER,
    ),
    (
        "Ensure environment variables of layered images are correctly inherited",
        ON_ANOTHER,
    ),
    (
        "Ensure inherited environment variables of layered images are correctly resolved",
        LIMITS,
    ),
    ("Ensure image with only 2 layers can be loaded", LIMITS),
    (
        "Ensure the bulk layer doesn't miss store paths (#78744)",
        ARGUMENTS,
    ),
    (
        "Ensure the bulk layer with a base image respects the number of maxLayers",
        LIMITS,
    ),
    (
        "Ensure correct behavior when no store is needed",
        Step("an image that needs no store path has no store"),
    ),
    (
        "Ensure buildLayeredImage does not change store path contents",
        DATABASE,
    ),
    (
        "Ensure cross compiled image can be loaded and has correct arch",
        ARGUMENTS,
    ),
    (
        "buildLayeredImage doesn't dereference /nix/store symlink layers",
        Step("a store path that is a link stays one in a container"),
    ),
    (
        "buildImage supports registry/ prefix in image name",
        No("nixpkgs' own function, as it is"),
    ),
    (
        "buildLayeredImage supports registry/ prefix in image name",
        FORMS,
    ),
    (
        "buildLayeredImage supports running chown with fakeRootCommands",
        SCRIPTS,
    ),
    (
        "docker load on merged images loads all of the constituent images",
        MERGED,
    ),
    (
        "docker load on merged images loads all of them (missing tags)",
        MERGED,
    ),
    (
        "mergeImages preserves owners of the original images",
        MERGED,
    ),
    ("exportImage produces a valid tarball", VM),
];

const IMAGE: Here = Step("an image of nix2container runs as it says");
const FLEET: Here = Step("a fleet's development container has sudo, tools and a Nix that builds");
const MANIFEST: Here = No("fetches manifests of the public registries, which tests do not reach");

/// nix2container's tests, by their attributes.
const NIX2CONTAINER: &[(&str, Here)] = &[
    ("hello", IMAGE),
    ("basic", IMAGE),
    ("openbar", IMAGE),
    ("bashVersion", IMAGE),
    ("bashLs", IMAGE),
    ("fromImage", DEBIAN),
    ("fromImageManifest", DEBIAN),
    ("layered", IMAGE),
    ("nonReproducible", IMAGE),
    ("nested", IMAGE),
    ("ownership", IMAGE),
    ("nix", DATABASE),
    ("nix-user", FLEET),
    ("nixNested", DATABASE),
    ("nonRegressionIssue12", IMAGE),
    ("nonRegressionIssue45", IMAGE),
    ("copyToRoot", IMAGE),
    ("created", IMAGE),
    ("duplicated", IMAGE),
    ("metadata", IMAGE),
    ("multiArchGetManifest", MANIFEST),
    ("singleArchGetManifest", MANIFEST),
    ("quayioGetManifest", MANIFEST),
];

#[test]
fn every_case_of_the_others_is_here_or_says_why_not() {
    let mut found = 0;
    for (case, here) in NIXPKGS.iter().chain(NIX2CONTAINER) {
        match here {
            Step(step) => {
                let exists = STEPS.iter().any(|(name, ..)| name == step);
                assert!(exists, "{case}: there is no step `{step}`");
                found += 1;
            }
            No(reason) => assert!(!reason.is_empty(), "{case}"),
        }
    }
    assert!(found >= 50, "only {found} cases have a step");
}
