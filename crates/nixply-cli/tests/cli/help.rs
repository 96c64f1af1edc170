//! The help of every command; a changed option shows as a changed snapshot.

use crate::support::Sandbox;

#[test]
fn every_command_explains_itself() {
    let sandbox = Sandbox::new();
    let mut text = sandbox.show(&["--help"]);
    for command in [
        "plan", "push", "export", "load", "inspect", "explain", "diff", "verify", "catalog",
        "cache", "build",
    ] {
        text.push('\n');
        text.push_str(&sandbox.show(&[command, "--help"]));
    }
    text.push('\n');
    text.push_str(&sandbox.show(&["index", "create", "--help"]));
    insta::assert_snapshot!(text);
}
