//! Figures that can be counted by hand.

use crate::support::{Grouped, fleet, pin};
use nixply_reuse::planners::{Planner, planner};
use nixply_reuse::{
    Figures, Fleet, Images, Moved, NoClock, Pin, Project, ReuseError, Run, Settings, Watch, replay,
};

const fn moved(bytes: u64, bound_bytes: u64) -> Moved {
    Moved { bytes, bound_bytes }
}

fn run_one(fleet: &Fleet, planner: Box<dyn Planner>, settings: &Settings) -> Run {
    let mut runs = replay(fleet, vec![planner], settings, &mut NoClock).unwrap();
    assert_eq!(runs.len(), 1);
    runs.remove(0)
}

/// Two images, `a` over `libc` and `b` over `libc` and `extra`; at the second pin `a` was rebuilt.
fn two_pins() -> Vec<Pin> {
    let first = pin(
        "2020-01-01",
        &[
            ("libc", 1000, &[]),
            ("extra", 500, &[]),
            ("a-1", 30, &["libc"]),
            ("b-1", 7, &["libc", "extra"]),
        ],
        &[("a", &["a-1"]), ("b", &["b-1"])],
    );
    let second = pin(
        "2020-01-08",
        &[
            ("libc", 1000, &[]),
            ("extra", 500, &[]),
            ("a-2", 31, &["libc"]),
            ("b-1", 7, &["libc", "extra"]),
        ],
        &[("a", &["a-2"]), ("b", &["b-1"])],
    );
    vec![first, second]
}

fn no_deploys() -> Settings {
    Settings {
        deploys: 0,
        leaves_nar_size_bytes: Vec::new(),
        ..Settings::default()
    }
}

#[test]
fn one_layer_an_image() {
    let run = run_one(
        &fleet(two_pins()),
        Box::new(Grouped::new(|_| 0)),
        &no_deploys(),
    );
    // `libc` is pushed with both images, and again with the rebuilt one.
    assert_eq!(run.first_push, moved(1030 + 1507, 1030 + 507));
    assert_eq!(run.total.push, moved(1031, 31));
    assert_eq!(run.total.pull, moved(1031, 31));
    assert_eq!(run.total.chain, moved(1031, 31));
    // `b` onto `a` and `a` onto `b`, at both pins.
    assert_eq!(
        run.total.cross,
        moved(1507 + 1030 + 1507 + 1031, 507 + 30 + 507 + 31)
    );
    assert_eq!(run.total.deploy, Moved::default());
    assert_eq!((run.most_layers, run.layers, run.layered_plans), (1, 4, 4));
    assert_eq!(run.pins[0].push, run.first_push);
    assert_eq!(run.pins[1].push, run.total.push);
    let rows: Vec<_> = run
        .moved_layers
        .iter()
        .map(|row| (row.name.as_deref(), row.paths, row.pins.clone()))
        .collect();
    assert_eq!(
        rows,
        [(Some("libc"), 2, vec![Moved::default(), moved(1031, 31)])]
    );
}

#[test]
fn what_stands_above_a_changed_layer_is_pulled_again_by_chains() {
    let own_below = |name: &str| u64::from(name.starts_with("lib") || name == "extra");
    let run = run_one(
        &fleet(two_pins()),
        Box::new(Grouped::new(own_below)),
        &no_deploys(),
    );
    assert_eq!(run.total.pull, moved(31, 31));
    assert_eq!(run.total.chain, moved(1031, 31));
    let own_above = |name: &str| u64::from(!(name.starts_with("lib") || name == "extra"));
    let run = run_one(
        &fleet(two_pins()),
        Box::new(Grouped::new(own_above)),
        &no_deploys(),
    );
    assert_eq!(run.total.chain, moved(31, 31));
}

#[test]
fn a_deploy_renews_the_root_alone() {
    let run = run_one(
        &fleet(two_pins()),
        Box::new(Grouped::new(|_| 0)),
        &Settings {
            deploys: 3,
            leaves_nar_size_bytes: Vec::new(),
            ..Settings::default()
        },
    );
    // Three deploys of each image at each pin: everything travels, the root is all that had to.
    assert_eq!(
        run.total.deploy,
        moved(3 * (1030 + 1507 + 1031 + 1507), 3 * (30 + 7 + 31 + 7))
    );
    assert_eq!(run.total.deploy_chain, run.total.deploy);
    // The registry's growth at a pin is that of first versions.
    assert_eq!(run.total.push, moved(1031, 31));
    assert_eq!(run.plans, 16);
}

#[test]
fn an_image_of_several_roots_has_no_deploys() {
    let pins = vec![pin(
        "now",
        &[("a", 1, &[]), ("b", 2, &[])],
        &[("both", &["a", "b"])],
    )];
    let run = run_one(
        &fleet(pins),
        Box::new(Grouped::new(|_| 0)),
        &Settings::default(),
    );
    let only_push = Figures {
        push: moved(3, 3),
        ..Figures::default()
    };
    assert_eq!(run.total, only_push, "the only pin's push is all there is");
    assert_eq!(run.first_push, moved(3, 3));
    // It still gets leaves: each comes with everything, as one layer.
    let again: Vec<_> = run
        .insertions
        .iter()
        .map(|one| (one.images, one.again_bytes))
        .collect();
    assert_eq!(again, [(1, 3), (1, 3), (1, 3)]);
}

#[test]
fn a_leaf_moves_what_it_shares_a_layer_with() {
    let settings = Settings {
        deploys: 1,
        leaves_nar_size_bytes: vec![5],
        ..Settings::default()
    };
    let with_extra = |name: &str| match name {
        "leaf" | "extra" => 1,
        "libc" => 2,
        _ => 3,
    };
    let run = run_one(
        &fleet(two_pins()),
        Box::new(Grouped::new(with_extra)),
        &settings,
    );
    let insertion = run.insertions[0];
    // `b` has `extra`, which travels again; the leaf and the new root do not count.
    assert_eq!((insertion.images, insertion.again_bytes), (2, 500));
    assert_eq!(insertion.again_bytes_an_image(), Some(250));
}

#[test]
fn a_project_has_an_application_and_an_environment_of_its_own() {
    let project = Project {
        name: "shop".to_owned(),
        sets: vec!["b".to_owned(), "a".to_owned()],
        app_nar_size_bytes: 2_000,
    };
    let composed = Fleet {
        pins: two_pins(),
        images: Images::Projects(vec![project]),
    };
    let own_apart = |name: &str| u64::from(name.starts_with("shop-"));
    let run = run_one(
        &composed,
        Box::new(Grouped::new(own_apart)),
        &Settings {
            deploys: 2,
            leaves_nar_size_bytes: Vec::new(),
            ..Settings::default()
        },
    );
    let own = 2_000 + 30_000;
    assert_eq!(run.first_push, moved(1537 + own, 1537 + own));
    // Both are new in every version.
    assert_eq!(run.total.pull, moved(1538 + own, 31 + own));
    assert_eq!(run.total.deploy, moved(4 * own, 4 * own));
}

#[test]
fn a_set_that_a_pin_lacks_is_named() {
    let project = Project {
        name: "shop".to_owned(),
        sets: vec!["c".to_owned()],
        app_nar_size_bytes: 1,
    };
    let composed = Fleet {
        pins: two_pins(),
        images: Images::Projects(vec![project]),
    };
    let error = replay(&composed, Vec::new(), &Settings::default(), &mut NoClock).unwrap_err();
    assert_eq!(
        error.to_string(),
        "project `shop` names the package set `c`, which pin `2020-01-01` does not have"
    );
}

#[test]
fn known_sizes_stand_in_for_nar_sizes() {
    let pins = two_pins();
    let libc = pins[0]
        .closure
        .paths()
        .iter()
        .find(|info| info.path.name() == "libc");
    let mut settings = no_deploys();
    settings.path_bytes.insert(libc.unwrap().path.clone(), 400);
    let run = run_one(&fleet(pins), Box::new(Grouped::new(|_| 0)), &settings);
    assert_eq!(run.total.pull, moved(431, 31));

    // A renewed root weighs what the root weighs.
    let pins = two_pins();
    let root = pins[1]
        .closure
        .paths()
        .iter()
        .find(|info| info.path.name() == "a-2");
    settings.path_bytes.insert(root.unwrap().path.clone(), 11);
    settings.deploys = 1;
    let run = run_one(&fleet(pins), Box::new(Grouped::new(|_| 0)), &settings);
    assert_eq!(run.total.deploy.bound_bytes, 30 + 7 + 11 + 7);
}

#[test]
fn a_prior_plan_is_that_of_the_last_deploy_and_leaves_leave_no_trace() {
    let settings = Settings {
        deploys: 0,
        ..Settings::default()
    };
    let alone = run_one(
        &fleet(two_pins()),
        planner("solo+prior", 2, None).unwrap(),
        &settings,
    );
    let without = Settings {
        leaves_nar_size_bytes: Vec::new(),
        ..settings
    };
    let again = run_one(
        &fleet(two_pins()),
        planner("solo+prior", 2, None).unwrap(),
        &without,
    );
    assert_eq!(alone.total, again.total);
}

#[test]
fn a_catalog_of_images_holds_no_root_of_theirs() {
    let settings = Settings {
        names_own_paths: false,
        ..Settings::default()
    };
    let fleet_planner = planner("fleet", 100, Some(4)).unwrap();
    let run = run_one(&fleet(two_pins()), fleet_planner, &settings);
    assert_eq!(run.total.deploy.extra_bytes(), 0, "roots stand alone");
}

#[test]
fn a_plan_that_cannot_be_made_names_image_and_pin() {
    let error = replay(
        &fleet(two_pins()),
        vec![planner("size", 0, None).unwrap()],
        &Settings::default(),
        &mut NoClock,
    )
    .unwrap_err();
    assert!(
        matches!(&error, ReuseError::Plan { image, pin, .. } if image == "a" && pin == "2020-01-01")
    );
    assert!(planner("sise", 1, None).is_none());
}

/// Each look takes a nanosecond more.
struct Ticking(u64, Vec<String>);

impl Watch for Ticking {
    fn now_nanos(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    fn pin_begins(&mut self, pin: &str) {
        self.1.push(pin.to_owned());
    }
}

#[test]
fn plans_and_catalogs_are_timed_apart() {
    let mut watch = Ticking(0, Vec::new());
    let planners: Vec<Box<dyn Planner>> = vec![Box::new(Grouped::new(|_| 0))];
    let runs = replay(&fleet(two_pins()), planners, &no_deploys(), &mut watch).unwrap();
    assert_eq!(
        (runs[0].plans, runs[0].plan_nanos, runs[0].catalog_nanos),
        (4, 4, 2)
    );
    assert_eq!(watch.1, ["2020-01-01", "2020-01-08"]);
}
