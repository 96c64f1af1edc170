//! The plan of one real closure under every packer, written out. A difference here is a changed plan for the same input:
//! users' layers change, so the packer's version has to count up.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, where a panic is a failed test"
)]

use nixply_pack::{Budget, Catalog, PackOptions, PackedLayer, Packer, Packing, pack};
use nixply_store::{Closure, StorePath};
use nixply_testkit::closures::{TestPath, closure};
use nixply_testkit::recorded::{Project, Sets, closure_lines, fleet, recorded_closures};
use siphasher::sip::SipHasher24;
use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::path::Path;

/// nginx and what it refers to, of nixos-19.09: base name, NAR size, line numbers of the references.
const CLOSURE: &str = include_str!("golden/closure.txt");

fn paths() -> Vec<TestPath> {
    closure_lines(CLOSURE)
}

fn root(paths: &[TestPath], at: usize) -> StorePath {
    StorePath::new(&paths[at].base_name).unwrap()
}

/// A catalog of some sets of that closure; the bash for people and what only it needs are in none.
fn catalog() -> Catalog {
    let paths = paths();
    let set = |name: &str, roots: &[usize]| {
        let roots = roots.iter().map(|&at| root(&paths, at)).collect();
        (name.to_owned(), roots)
    };
    let sets = Sets::from([
        set("certificates", &[2]),
        set("gd", &[10]),
        set("nginx", &[28]),
        set("tools", &[4, 12]),
        set("xslt", &[0, 12]),
    ]);
    Catalog::new(&closure(&paths), &sets, 3).unwrap()
}

fn packed(closure: &Closure, packer: Packer, max_layers: usize, catalog: &Catalog) -> Packing {
    let budget = Budget {
        max_layers,
        reserved_layers: 1,
    };
    let options = PackOptions {
        catalog: (packer == Packer::Fleet).then_some(catalog),
        ..PackOptions::new(packer, budget)
    };
    pack(closure, &options).unwrap()
}

fn check(name: &str, found: &str) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    // To take a changed plan over, with a new version of its packer.
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, found).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(
        found == expected,
        "{} changed; expected:\n{expected}\nfound:\n{found}",
        golden.display()
    );
}

/// One line per layer, bottom first: its size and its paths.
fn plan(packer: Packer, max_layers: usize) -> String {
    let closure = closure(&paths());
    let packing = packed(&closure, packer, max_layers, &catalog());
    let mut text = format!(
        "{} version {}\n",
        packing.packer.name, packing.packer.version
    );
    for layer in packing.layers {
        let infos = || layer.paths.iter().map(|path| closure.info(*path));
        let size: u64 = infos().map(|info| info.nar_size_bytes).sum();
        write!(text, "{size:>10}").unwrap();
        for info in infos() {
            write!(text, " {}", info.path).unwrap();
        }
        text.push('\n');
    }
    text
}

#[test]
fn plans_of_a_real_closure_do_not_change() {
    for packer in Packer::ALL {
        let max_layers = if packer == Packer::PerPath { 100 } else { 9 };
        check(&format!("{packer}.txt"), &plan(packer, max_layers));
    }
}

/// A hash of the base names in their layers: short, and another one as soon as a path moves.
fn digest(closure: &Closure, layers: &[PackedLayer]) -> u64 {
    let mut hasher = SipHasher24::new();
    for layer in layers {
        hasher.write(&(layer.paths.len() as u64).to_le_bytes());
        for path in &layer.paths {
            hasher.write(closure.info(*path).path.base_name().as_bytes());
        }
    }
    hasher.finish()
}

/// Every hundredth path and what it needs, over three recorded closures, and the images of a fleet at one pin.
#[test]
fn plans_of_many_closures_do_not_change() {
    let mut text = String::new();
    let mut lines = |name: &str, closure: &Closure, packers: &[Packer], catalog: &Catalog| {
        for &packer in packers {
            write!(text, "{name} {packer}").unwrap();
            for max_layers in [26, 51, 101] {
                let layers = packed(closure, packer, max_layers, catalog).layers;
                write!(text, " {max_layers}:{:016x}", digest(closure, &layers)).unwrap();
            }
            text.push('\n');
        }
    };
    let alone = [
        Packer::Solo,
        Packer::AutoLayer,
        Packer::Popularity,
        Packer::Nix2container,
        Packer::Size,
    ];
    for (name, paths) in recorded_closures() {
        let whole = closure(&paths);
        lines(&name, &whole, &alone, &catalog());
        for at in (50..paths.len()).step_by(100) {
            let part = whole
                .restrict(&[root(&paths, at), root(&paths, at - 50)])
                .unwrap();
            lines(&format!("{name}/{at}"), &part, &alone, &catalog());
        }
    }
    let (collections, projects): (_, Vec<Project>) = fleet("draw-7");
    let collection = closure(&collections[0].paths);
    let catalog = Catalog::new(&collection, &collections[0].sets(), 4).unwrap();
    for (number, project) in projects.iter().enumerate() {
        let image = closure(&collections[0].image(project));
        let name = format!("project{number:02}");
        lines(&name, &image, &[Packer::Solo, Packer::Fleet], &catalog);
    }
    check("digests.txt", &text);
}

#[test]
fn a_catalog_reads_back_and_does_not_change() {
    let text = catalog().to_json().unwrap();
    check("catalog.json", &text);
    assert_eq!(Catalog::from_json(text.as_bytes()).unwrap(), catalog());
    assert!(Catalog::is_catalog(text.as_bytes()));
}
