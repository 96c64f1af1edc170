//! Every error of the libraries as a message, causes, one hint, and an exit code.
//!
//! The form is `error: what failed`, one `cause:` line for each layer below, and after a blank line one `hint:`.

use nixply_layer::WriteLayerError;
use nixply_oci::LayerError;
use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Shown below `nixply --help`.
pub(crate) const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 wrong command line; \
    3 the input is not what it claims to be; 4 registry or network; 5 verification failed; \
    130 and 143 ended by SIGINT and SIGTERM.";

/// The exit codes that `nixply --help` documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    Failed = 1,
    Usage = 2,
    Input = 3,
    Network = 4,
    Verification = 5,
    /// 128 and the signal's number, as shells count.
    Interrupted = 130,
    Terminated = 143,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> ExitCode {
        ExitCode::from(status as u8)
    }
}

/// What a command ends with when it fails.
#[derive(Debug)]
pub(crate) struct CliError {
    status: ExitStatus,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    broken_pipe: bool,
    silent: bool,
}

impl CliError {
    /// An error that has no library error below it.
    pub(crate) fn new(status: ExitStatus, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            broken_pipe: false,
            silent: false,
        }
    }

    /// An exit code that was asked for: what it stands for is in the output already.
    pub(crate) fn silent(status: ExitStatus) -> Self {
        Self {
            silent: true,
            ..Self::new(status, "")
        }
    }

    /// The error of a library: its own text is the message, its sources are the causes.
    pub(crate) fn from_error(status: ExitStatus, error: &(dyn Error + 'static)) -> Self {
        Self::new(status, error.to_string()).caused_by(error.source())
    }

    /// A message of our own above the error of a library.
    pub(crate) fn context(
        status: ExitStatus,
        message: impl Into<String>,
        error: &(dyn Error + 'static),
    ) -> Self {
        Self::new(status, message).caused_by(Some(error))
    }

    fn caused_by(mut self, mut source: Option<&(dyn Error + 'static)>) -> Self {
        while let Some(error) = source {
            let text = error.to_string();
            if let Some(making) = making(error) {
                self.hint = making.hint();
            }
            // An error that only passes its source on would say everything twice.
            if self.causes.last().unwrap_or(&self.message) != &text {
                self.causes.push(text);
            }
            source = error.source();
        }
        self
    }

    /// Another cause in place of those that there are: one that says more.
    pub(crate) fn because(mut self, cause: &str) -> Self {
        self.causes = vec![cause.to_owned()];
        self
    }

    /// One thing to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// One thing to do about it, where the library knows one.
    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    pub(crate) fn status(&self) -> ExitStatus {
        self.status
    }

    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.broken_pipe
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn causes(&self) -> &[String] {
        &self.causes
    }

    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The text of something that does not end the command.
    pub(crate) fn as_note(&self) -> String {
        self.render().replacen("error: ", "note: ", 1)
    }

    /// The whole text, with a final newline; nothing where there is nothing to say.
    pub(crate) fn render(&self) -> String {
        if self.silent {
            return String::new();
        }
        let mut text = format!("error: {}\n", self.message);
        for cause in &self.causes {
            let _ = writeln!(
                text,
                "  cause: {}",
                cause.trim_end().replace('\n', "\n    ")
            );
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "\nhint: {hint}");
        }
        text
    }
}

/// The error of a layer's maker, which a sink passes on without knowing its type.
fn making<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a WriteLayerError> {
    match error.downcast_ref::<LayerError>() {
        Some(LayerError::Make(inner)) => inner.downcast_ref(),
        _ => error.downcast_ref(),
    }
}

/// Writing a result to standard output failed.
pub(crate) fn output(error: &std::io::Error) -> CliError {
    let message = "cannot write to standard output";
    CliError {
        broken_pipe: error.kind() == std::io::ErrorKind::BrokenPipe,
        ..CliError::context(ExitStatus::Failed, message, error)
    }
}

/// True where the reader at the other end of a pipe went away.
pub(crate) fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(current) = error {
        let io = current.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
            return true;
        }
        error = current.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_stand_below_and_the_hint_last() {
        let error = Outer(std::io::Error::other("inner\nsecond line"));
        let text = CliError::from_error(ExitStatus::Failed, &error)
            .hint("do this")
            .render();
        assert_eq!(
            text,
            "error: outer\n  cause: inner\n    second line\n\nhint: do this\n"
        );
    }

    #[test]
    fn only_a_reader_of_standard_output_may_go_away() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(output(&broken).is_broken_pipe());
        let upload = CliError::from_error(ExitStatus::Network, &Outer(broken));
        assert!(
            !upload.is_broken_pipe(),
            "a registry that hangs up is a failure"
        );
    }
}
