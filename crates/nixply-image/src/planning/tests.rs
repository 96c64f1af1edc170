use super::*;
use crate::linking::tests::{A, B, closure};

/// Options that ask for nothing.
pub(crate) fn options() -> PlanOptions {
    PlanOptions {
        packer: Packer::PerPath,
        base: None,
        max_layers: 100,
        volatile: Vec::new(),
        catalog: None,
        prior: Vec::new(),
        pipeline: None,
        compression: Compression::None,
        layer_format: LayerFormatRecord::Nixply,
        platform: Platform::linux("amd64"),
        config: RuntimeConfig::default(),
        root_files: Vec::new(),
        contents: Vec::new(),
        on_collision: OnCollision::Error,
        store: StoreRoot::default(),
        permissions: BTreeMap::new(),
        layer_tars: Vec::new(),
        nix_database: None,
        name: None,
        tag: None,
        created: None,
        annotations: BTreeMap::new(),
        tool: None,
    }
}

fn link(path: &str, target: &str) -> RootFileSpec {
    RootFileSpec::symlink(path.to_owned(), target.to_owned())
}

#[test]
fn an_image_of_which_a_pipeline_leaves_nothing_is_refused() {
    let without = |paths: &[&str]| {
        let steps = serde_json::json!([["remove_paths", paths]]);
        let options = PlanOptions {
            packer: Packer::Pipeline,
            pipeline: Some(Pipeline::from_json(steps).unwrap()),
            ..options()
        };
        plan_image(Some(&closure(&[A, B])), options)
    };
    assert_eq!(without(&[A]).unwrap().layers.len(), 1);
    let error = without(&[A, B]).unwrap_err();
    assert!(matches!(error, PlanningError::Empty), "{error}");
}

#[test]
fn nothing_is_put_over_a_base_that_does_not_tell_its_directories() {
    let files = vec![
        link("bin", "usr/bin"),
        RootFileSpec::directory("usr/bin".to_owned(), "0755", 0, 0),
    ];
    let below = PlanOptions {
        root_files: files,
        ..options()
    };
    let below = plan_image(None, below).unwrap();
    let over = |is_old: bool, root_files: Vec<RootFileSpec>| {
        let none = Compression::None;
        let nixply = LayerFormatRecord::Nixply;
        let mut base = BaseImage::of_plan(below.clone(), none, &nixply, None).unwrap();
        if is_old && let Some(tree) = &mut base.tree {
            tree.usual_directories = None;
        }
        let options = PlanOptions {
            base: Some(base),
            root_files,
            ..options()
        };
        plan_image(Some(&closure(&[A])), options).map_err(|error| error.to_string())
    };
    let file = link("opt/x", "/x");
    assert_eq!(over(false, vec![file.clone()]).unwrap().layers.len(), 3);
    let problem = "nobody knows which directories the base image has, and files of the image could replace one";
    assert_eq!(over(true, vec![file]).unwrap_err(), problem);
    let hides = over(true, vec![link("usr/bin", "/opt")]).unwrap_err();
    assert_eq!(hides, problem);
    // Store paths replace nothing.
    assert_eq!(over(true, Vec::new()).unwrap().layers.len(), 2);
}
