//! The plan of one real closure under every packer, written out. A difference here is a changed plan for the same input:
//! users' layers change, so the packer's version has to count up.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, where a panic is a failed test"
)]

use nixply_pack::{Budget, PackOptions, Packer, pack};
use nixply_testkit::closures::{TestPath, closure};
use std::fmt::Write as _;
use std::path::Path;

/// nginx and what it refers to, of nixos-19.09: base name, NAR size, line numbers of the references.
const CLOSURE: &str = include_str!("golden/closure.txt");

fn paths() -> Vec<TestPath> {
    let path = |line: &str| {
        let mut fields = line.split(' ');
        TestPath {
            base_name: fields.next().unwrap().to_owned(),
            nar_size_bytes: fields.next().unwrap().parse().unwrap(),
            references: fields.map(|field| field.parse().unwrap()).collect(),
        }
    };
    CLOSURE.lines().map(path).collect()
}

/// One line per layer, bottom first: its size and its paths.
fn plan(packer: Packer, max_layers: usize) -> String {
    let closure = closure(&paths());
    let budget = Budget {
        max_layers,
        reserved_layers: 1,
    };
    let packing = pack(&closure, &PackOptions::new(packer, budget)).unwrap();
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
        let golden =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{packer}.txt"));
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        let found = plan(packer, max_layers);
        assert!(
            found == expected,
            "the plan of `{packer}` changed; expected in {}:\n{expected}\nfound:\n{found}",
            golden.display()
        );
    }
}
