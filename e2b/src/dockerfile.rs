//! A template as a Dockerfile, for users of Docker without E2B.

use std::fmt::Write;

use crate::quote::quote;
use crate::template::{Action, Base, DEFAULT_USER, Template};

/// Returns a Dockerfile equivalent to a template. `comment` goes to its top,
/// line by line.
///
/// Sources come from the build context by the path in the step. The first
/// instruction creates the user that E2B creates itself.
#[must_use]
pub fn dockerfile(template: &Template, comment: &str) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    for comment in comment.lines() {
        line(format!("# {comment}").trim_end());
    }
    let base = match &template.base {
        Base::Image(image) => image,
        Base::Template(name) => name,
    };
    line(&format!("FROM {base}"));
    line("SHELL [\"/bin/bash\", \"-l\", \"-c\"]");
    line("USER root");
    line(&format!(
        "RUN id -u {DEFAULT_USER} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {DEFAULT_USER}"
    ));
    let (mut user, mut shown) = (DEFAULT_USER.to_owned(), "root".to_owned());
    let mut copies = Vec::new();
    for step in &template.steps {
        // Docker has no RUN as another user, so USER changes before it.
        let wanted = match &step.action {
            Action::Run { user: Some(other), .. } => other.clone(),
            Action::User(name) => {
                user.clone_from(name);
                user.clone()
            }
            _ => user.clone(),
        };
        if wanted != shown {
            line(&format!("USER {wanted}"));
            shown = wanted;
        }
        match &step.action {
            Action::Run { command, .. } => line(&format!("RUN {}", command.replace('\n', " \\\n"))),
            Action::Copy(copy) => {
                let owner = copy.owner.as_deref().unwrap_or(&user);
                let group = if owner.contains(':') { "" } else { &format!(":{owner}") };
                let mode = copy.mode.map(|mode| format!(" --chmod={mode:04o}")).unwrap_or_default();
                line(&format!("COPY --chown={owner}{group}{mode} {} {}", copy.source, copy.dest));
                copies.push(copy.source.clone());
            }
            Action::Env(variables) => {
                for (name, value) in variables {
                    line(&format!("ENV {name}={}", quote(value)));
                }
            }
            Action::Workdir(path) => line(&format!("WORKDIR {path}")),
            Action::User(_) => {}
        }
    }
    if shown != user {
        line(&format!("USER {user}"));
    }
    if let Some(ready) = &template.ready {
        line(&format!("HEALTHCHECK CMD {ready}"));
    }
    if let Some(start) = &template.start {
        // `exec` makes signals reach the program instead of the shell.
        let command = serde_json::Value::from(format!("exec {start}"));
        let _ = writeln!(text, "CMD [\"/bin/bash\", \"-l\", \"-c\", {command}]");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Copy;

    #[test]
    fn does_what_the_template_does() {
        let template = Template::from_image("debian:trixie-slim")
            .run_as("root", "apt-get update")
            .run("true")
            .copy(Copy { mode: Some(0o755), ..Copy::new(".", "server", "/usr/local/bin/") })
            .env([("A", "a b")])
            .workdir("/home/user")
            .start("server --port 3000")
            .ready("curl localhost");
        assert_eq!(
            dockerfile(&template, "one\ntwo"),
            r#"# one
# two
FROM debian:trixie-slim
SHELL ["/bin/bash", "-l", "-c"]
USER root
RUN id -u user >/dev/null 2>&1 || useradd --create-home --shell /bin/bash user
RUN apt-get update
USER user
RUN true
COPY --chown=user:user --chmod=0755 server /usr/local/bin/
ENV A='a b'
WORKDIR /home/user
HEALTHCHECK CMD curl localhost
CMD ["/bin/bash", "-l", "-c", "exec server --port 3000"]
"#
        );
    }
}
