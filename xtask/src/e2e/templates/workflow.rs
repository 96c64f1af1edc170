//! Workflows of GitHub Actions and pipelines of GitLab, as far as the templates use them: their scripts are run here as they
//! are written.

use crate::command::command;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use yaml_rust2::{Yaml, YamlLoader};

/// The one document of a YAML file.
pub(super) fn read(file: &Path) -> Result<Yaml> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut documents = YamlLoader::load_from_str(&text)
        .with_context(|| format!("{} is not YAML", file.display()))?;
    ensure!(
        documents.len() == 1,
        "{} has {} documents",
        file.display(),
        documents.len()
    );
    documents.pop().context("no document")
}

/// A script with the variables that stand beside it.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) text: String,
    pub(super) env: BTreeMap<String, String>,
}

impl Script {
    /// Runs it as runners do: the first command that fails ends it. `hosts` are names of registries and what stands for them.
    pub(super) fn command(&self, hosts: &[(&str, &str)], dir: &Path) -> Command {
        let text = hosts.iter().fold(self.text.clone(), |text, (name, host)| {
            text.replace(name, host)
        });
        let mut bash = command("bash", ["--noprofile", "--norc", "-e", "-c", &text]);
        bash.envs(&self.env).current_dir(dir);
        bash
    }
}

/// The scripts of a job of GitHub's, with the values of their variables. `values` has those of all expressions that may occur.
pub(super) fn github_scripts(job: &Yaml, values: &BTreeMap<String, String>) -> Result<Vec<Script>> {
    let of_job = variables(&job["env"], values)?;
    let steps = job["steps"].as_vec().context("a job without steps")?;
    let scripts = steps.iter().filter(|step| step["run"].as_str().is_some());
    scripts
        .map(|step| {
            let text = step["run"].as_str().unwrap_or_default();
            ensure!(
                !text.contains("${{"),
                "an expression in a script can hold anything, even commands: {text}"
            );
            let mut env = of_job.clone();
            env.extend(variables(&step["env"], values)?);
            Ok(Script {
                text: text.to_owned(),
                env,
            })
        })
        .collect()
}

fn variables(env: &Yaml, values: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let Some(env) = env.as_hash() else {
        return Ok(BTreeMap::new());
    };
    env.iter()
        .map(|(name, value)| {
            let (name, value) = name.as_str().zip(value.as_str()).context("no text")?;
            let expression = value
                .strip_prefix("${{ ")
                .and_then(|rest| rest.strip_suffix(" }}"));
            let value = match expression {
                None => value,
                Some(expression) => values
                    .get(expression)
                    .with_context(|| format!("nobody says what `{expression}` is"))?,
            };
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// What a script has written into the file that `GITHUB_OUTPUT` names; each has to be an output of the job, too.
pub(super) fn github_outputs(
    job: &Yaml,
    step: &str,
    file: &Path,
) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(file)?;
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once('=').context("an output without a name")?;
            let declared = job["outputs"][name].as_str().unwrap_or_default();
            ensure!(
                declared == format!("${{{{ steps.{step}.outputs.{name} }}}}"),
                "the job hands `{declared}` on as {name}"
            );
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// The script of a job of GitLab's: that before all jobs, and its own, in one shell.
pub(super) fn gitlab_script(pipeline: &Yaml, job: &str) -> Result<Script> {
    let lines = |list: &Yaml| -> Result<Vec<String>> {
        let list = list.as_vec().context("a job without a script")?;
        let text = |line: &Yaml| line.as_str().map(str::to_owned).context("no text");
        list.iter().map(text).collect()
    };
    let mut all = lines(&pipeline["default"]["before_script"])?;
    all.extend(lines(&pipeline[job]["script"])?);
    Ok(Script {
        text: all.join("\n"),
        env: BTreeMap::new(),
    })
}

/// Every `uses:` of a workflow names a commit of its action, and its version in a comment.
pub(super) fn check_pins(workflow: &str) -> Result<()> {
    let uses = workflow.lines().filter_map(|line| {
        line.trim_start()
            .trim_start_matches("- ")
            .strip_prefix("uses: ")
    });
    for action in uses {
        let pinned = action
            .split_once('@')
            .and_then(|(_, rest)| rest.split_once(" # v"));
        let is_commit = |text: &str| {
            text.len() == 40
                && text
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        match pinned {
            Some((commit, version)) if is_commit(commit) && version.contains('.') => {}
            _ => bail!("`uses: {action}` is not `NAME@COMMIT # vVERSION`"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> Yaml {
        YamlLoader::load_from_str(text).unwrap().remove(0)
    }

    #[test]
    fn actions_without_a_commit_are_refused() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        check_pins(&format!("  - uses: a/b@{commit} # v1.2.3\n    run: x\n")).unwrap();
        for action in ["a/b@v1", "a/b@main # v1.2.3", &format!("a/b@{commit}")] {
            let error = check_pins(&format!("  - uses: {action}")).unwrap_err();
            assert!(error.to_string().contains(action), "{error}");
        }
    }

    #[test]
    fn scripts_have_the_values_of_their_expressions() {
        let job = job("
env: { A: job, B: \"${{ matrix.b }}\" }
steps:
  - uses: x
  - run: echo
    env: { A: step }
");
        let values = BTreeMap::from([("matrix.b".to_owned(), "1".to_owned())]);
        let scripts = github_scripts(&job, &values).unwrap();
        assert_eq!(scripts.len(), 1);
        assert_eq!(scripts[0].text, "echo");
        assert_eq!(
            (&*scripts[0].env["A"], &*scripts[0].env["B"]),
            ("step", "1")
        );
        assert!(github_scripts(&job, &BTreeMap::new()).is_err());
    }

    #[test]
    fn an_expression_inside_a_script_is_refused() {
        let job = job("steps: [ { run: \"echo ${{ github.head_ref }}\" } ]");
        assert!(github_scripts(&job, &BTreeMap::new()).is_err());
    }

    #[test]
    fn an_output_that_the_job_does_not_hand_on_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("output");
        std::fs::write(&file, "a=1\n").unwrap();
        let outputs = |text: &str| github_outputs(&job(text), "push", &file);
        let good = outputs("outputs: { a: \"${{ steps.push.outputs.a }}\" }").unwrap();
        assert_eq!(good["a"], "1");
        assert!(outputs("outputs: { a: \"${{ steps.push.outputs.b }}\" }").is_err());
        assert!(outputs("outputs: {}").is_err());
    }
}
