//! `claude-relay-e2b build`.

use std::io::Write;

use claude_relay_e2b::build::{
    BuildError, BuildEvent, BuildRequest, FailedBuild, build, definition,
};
use claude_relay_e2b::dockerfile::dockerfile;
use claude_relay_e2b::http::E2b;
use claude_relay_e2b::relay::{PORT, ServerFrom};
use claude_relay_e2b::settings::Options;
use claude_relay_e2b::templates::{Level, RequestedBuild, Size};

use super::Failure;
use super::args::Build;
use super::contents::relay_template;
use super::report::Report;

pub(crate) async fn run(arguments: &Build) -> Result<(), Failure> {
    let mut report = Report::stderr();
    let relay = relay_template(&arguments.contents, &mut report).await?;
    let mut template = relay.definition();
    if arguments.no_cache {
        template = template.without_cache();
    }
    if arguments.print_dockerfile {
        let text = dockerfile(&template, &dockerfile_comment(&relay.server));
        return Ok(std::io::stdout().write_all(text.as_bytes())?);
    }
    let request = BuildRequest {
        name: arguments.name.clone(),
        tags: arguments.tags.clone(),
        size: Size { cpus: arguments.cpus, memory_mb: arguments.memory_mb },
        template,
        timeout: arguments.timeout,
    };
    if arguments.dry_run {
        let definition = definition(&request).map_err(|error| Failure::Usage(error.to_string()))?;
        return Ok(writeln!(std::io::stdout(), "{definition:#}")?);
    }

    let settings =
        Options::default().resolve().map_err(|error| Failure::Usage(error.to_string()))?;
    let e2b = E2b::new(settings).map_err(|error| Failure::Failed(error.to_string()))?;
    report.start_clock();
    let mut watched = Watched {
        report,
        verbose: arguments.verbose,
        build: None,
        step: None,
        steps: request.template.steps().len(),
    };
    let done = tokio::select! {
        done = build(&e2b, &request, |event| watched.tell(&event)) => done,
        _ = tokio::signal::ctrl_c() => {
            let text = match &watched.build {
                Some(build) => format!("interrupted; build {build} goes on without being watched"),
                None => "interrupted before the build began".to_owned(),
            };
            return Err(Failure::Interrupted(text));
        }
    };
    match done {
        Ok(build) => ready(&request, &build, &watched.report),
        Err(BuildError::Failed(failed)) => {
            tell_failure(&mut watched.report, &failed)?;
            Err(Failure::Failed(format!("no template: {}", failed.failure.message)))
        }
        Err(error @ BuildError::Context(_)) => Err(Failure::Usage(error.to_string())),
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}

fn ready(request: &BuildRequest, build: &RequestedBuild, report: &Report) -> Result<(), Failure> {
    let text = format!(
        "{} is ready after {}: template {}, build {}",
        request.name,
        report.elapsed(),
        build.template,
        build.build
    );
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// Progress output of a running build.
struct Watched {
    report: Report,
    verbose: bool,
    build: Option<String>,
    step: Option<String>,
    steps: usize,
}

impl Watched {
    fn tell(&mut self, event: &BuildEvent<'_>) {
        // A closed stderr is no reason to lose track of the build.
        let _ = self.try_tell(event);
    }

    fn try_tell(&mut self, event: &BuildEvent<'_>) -> std::io::Result<()> {
        match event {
            BuildEvent::Packed { copy, files, bytes } => {
                self.report.line(&format!("{}: {files} files, {bytes} bytes packed", copy.source))
            }
            BuildEvent::Requested(build) => {
                self.build = Some(build.build.clone());
                self.report.line(&format!("template {}, build {}", build.template, build.build))
            }
            BuildEvent::Uploading { copy, bytes } => {
                self.report.line(&format!("{}: uploading {bytes} bytes", copy.source))
            }
            BuildEvent::AlreadyThere(copy) => {
                self.report.line(&format!("{}: the server has this archive already", copy.source))
            }
            BuildEvent::Started => self.report.line("the build runs"),
            BuildEvent::PollFailed(error) => self.report.line(&format!("looking again: {error}")),
            BuildEvent::Log(log) => {
                if log.step.is_some() && log.step != self.step {
                    self.step.clone_from(&log.step);
                    let step = log.step.as_deref().unwrap_or_default();
                    match step.parse::<usize>() {
                        Ok(number) => {
                            self.report.heading(&format!("step {number} of {}", self.steps))?
                        }
                        Err(_) => self.report.heading(step)?,
                    }
                }
                match log.level != Level::Debug || self.verbose {
                    true => self.report.line(&log.message),
                    false => Ok(()),
                }
            }
        }
    }
}

fn tell_failure(report: &mut Report, failed: &FailedBuild) -> std::io::Result<()> {
    report.heading(&format!("failed: {}", failed.step.as_deref().unwrap_or("E2B itself")))?;
    for log in &failed.output {
        report.line(&format!("  {}", log.message))?;
    }
    report.line(&failed.failure.message)
}

fn dockerfile_comment(server: &ServerFrom) -> String {
    let context = match server {
        ServerFrom::Sources(_) => "Build it in the directory above a clone named claude-relay:\n  \
             docker build -t claude-relay -f Dockerfile ."
            .to_owned(),
        ServerFrom::Binary(path) => format!(
            "Build it where the server lies as claude-relay-server, such as\n  \
             docker build -t claude-relay -f Dockerfile {}",
            path.parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .map_or(".".to_owned(), |parent| parent.display().to_string())
        ),
    };
    format!(
        "claude-relay with the Claude Code CLI, as the E2B template has it.\n{context}\n\
         The server asks for no token and lets its agent do everything, so publish\n\
         its port to this machine alone:\n  \
         docker run --rm -p 127.0.0.1:{PORT}:{PORT} -e ANTHROPIC_API_KEY claude-relay"
    )
}
