//! A complete build of a template: request, upload of the files, start, and
//! waiting for the end.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::context::{Context, ContextError, Packed};
use crate::error::Error;
use crate::http::E2b;
use crate::template::{Action, Copy, CopyFrom, Template};
use crate::template_name::{Tag, TemplateName};
use crate::templates::{
    BuildFailure, BuildLog, BuildStart, BuildState, BuildStatus, RequestedBuild, Size,
};

/// Default time limit of a build. The server itself cancels a build after an
/// hour.
pub const DEFAULT_BUILD_TIMEOUT: Duration = Duration::from_secs(75 * 60);
/// Interval between two polls of a build, as in the SDK.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Number of failed polls in a row that ends the wait: one lost connection must
/// not lose track of an hour's work.
const MAX_FAILED_POLLS: u32 = 10;
/// Delay after a failed poll; grows with each.
const FAILED_POLL_WAIT: Duration = Duration::from_millis(500);
/// Number of log lines of the failing step that are kept.
const KEPT_LINES: usize = 200;

/// A build to be made.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The name of the template.
    pub name: TemplateName,
    /// Further tags.
    pub tags: Vec<Tag>,
    /// The size of its sandboxes.
    pub size: Size,
    /// The definition of the template.
    pub template: Template,
    /// The time limit of the wait for the build.
    pub timeout: Duration,
}

/// Progress of a build.
#[derive(Debug)]
pub enum BuildEvent<'a> {
    /// The files of a COPY step have been read.
    Packed {
        /// The step.
        copy: &'a Copy,
        /// The number of its files.
        files: usize,
        /// The length of its archive.
        bytes: usize,
    },
    /// The server has accepted the build.
    Requested(&'a RequestedBuild),
    /// The upload of an archive begins.
    Uploading {
        /// The step of the archive.
        copy: &'a Copy,
        /// Its length.
        bytes: usize,
    },
    /// The server has the archive already.
    AlreadyThere(&'a Copy),
    /// The build has started.
    Started,
    /// A line of the build's log.
    Log(&'a BuildLog),
    /// One poll failed; the next may succeed.
    PollFailed(&'a Error),
}

/// Reason for a failed build.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The files of a COPY step cannot be sent. Nothing was uploaded.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The API refused the request, or does not answer.
    #[error(transparent)]
    Api(#[from] Error),
    /// The build failed.
    #[error("{}", .0.failure.message)]
    Failed(Box<FailedBuild>),
    /// The build took too long. It may continue without being watched.
    #[error("build {build} is not done after {after:?}; it goes on without being watched")]
    TimedOut {
        /// The build's id.
        build: String,
        /// The time limit.
        after: Duration,
    },
}

/// A failed build, with everything known about it.
#[derive(Debug)]
pub struct FailedBuild {
    /// The server's report.
    pub failure: BuildFailure,
    /// A description of the step that failed.
    pub step: Option<String>,
    /// The last lines of that step.
    pub output: Vec<BuildLog>,
}

/// Builds a template and returns when it is ready.
///
/// # Errors
/// See [`BuildError`].
pub async fn build(
    e2b: &E2b,
    request: &BuildRequest,
    mut tell: impl FnMut(BuildEvent<'_>),
) -> Result<RequestedBuild, BuildError> {
    // All files are read first: a file that cannot be sent must not leave
    // behind a build that waits forever.
    let packed = pack(&request.template)?;
    for (copy, packed) in &packed {
        tell(BuildEvent::Packed { copy, files: packed.files, bytes: packed.archive.len() });
    }

    let build = e2b.request_build(&request.name, &request.tags, request.size).await?;
    tell(BuildEvent::Requested(&build));

    for (copy, packed) in &packed {
        let place = e2b.upload_place(&build.template, &packed.hash).await?;
        if place.present {
            tell(BuildEvent::AlreadyThere(copy));
        } else {
            tell(BuildEvent::Uploading { copy, bytes: packed.archive.len() });
            e2b.upload(&place, packed.archive.clone()).await?;
        }
    }

    let hashes: Vec<String> = packed.into_iter().map(|(_, packed)| packed.hash).collect();
    e2b.start_build(&build, &BuildStart::of(&request.template, &hashes)).await?;
    tell(BuildEvent::Started);
    watch(e2b, request, &build, &mut tell).await?;
    Ok(build)
}

/// Returns the JSON that a build would send, for people to read. Sends nothing.
///
/// # Errors
/// [`ContextError`] if files cannot be read.
pub fn definition(request: &BuildRequest) -> Result<serde_json::Value, ContextError> {
    let packed = pack(&request.template)?;
    let files = packed.iter().map(|(copy, packed)| {
        serde_json::json!({
            "source": copy.source,
            "dest": copy.dest,
            "hash": packed.hash,
            "files": packed.files,
            "archiveBytes": packed.archive.len(),
        })
    });
    let files: Vec<_> = files.collect();
    let hashes: Vec<String> = packed.into_iter().map(|(_, packed)| packed.hash).collect();
    Ok(serde_json::json!({
        "name": request.name.as_str(),
        "tags": request.tags.iter().map(Tag::as_str).collect::<Vec<_>>(),
        "cpuCount": request.size.cpus,
        "memoryMB": request.size.memory_mb,
        "files": files,
        "build": BuildStart::of(&request.template, &hashes),
    }))
}

/// Returns the digests and archives of all COPY steps, in order.
pub(crate) fn pack(template: &Template) -> Result<Vec<(&Copy, Packed)>, ContextError> {
    let copies = template.steps.iter().filter_map(|step| match &step.action {
        Action::Copy(copy) => Some(copy),
        _ => None,
    });
    copies
        .map(|copy| {
            let packed = match &copy.from {
                CopyFrom::Context(root) => Context::open(root)?.collect(&copy.source)?,
                CopyFrom::Files(files) => files.clone(),
            };
            Ok((copy, packed.pack(&copy.source, &copy.dest)?))
        })
        .collect()
}

async fn watch(
    e2b: &E2b,
    request: &BuildRequest,
    build: &RequestedBuild,
    tell: &mut impl FnMut(BuildEvent<'_>),
) -> Result<(), BuildError> {
    let deadline = Instant::now() + request.timeout;
    let mut kept: VecDeque<BuildLog> = VecDeque::new();
    let mut offset = 0;
    let mut failed = 0;
    loop {
        if Instant::now() >= deadline {
            let after = request.timeout;
            return Err(BuildError::TimedOut { build: build.build.clone(), after });
        }
        let status = match e2b.build_status(build, offset).await {
            Ok(status) => status,
            Err(error) if failed < MAX_FAILED_POLLS && error.is_transient() => {
                failed += 1;
                tell(BuildEvent::PollFailed(&error));
                tokio::time::sleep(FAILED_POLL_WAIT * failed).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        failed = 0;
        let BuildStatus { status, logs, reason } = status;
        offset += logs.len();
        let drained = logs.is_empty();
        for log in logs {
            tell(BuildEvent::Log(&log));
            kept.push_back(log);
            if kept.len() > KEPT_LINES {
                kept.pop_front();
            }
        }
        // The server may report the end before the last lines: read on until no
        // lines are left.
        match status {
            BuildState::Ready if drained => return Ok(()),
            BuildState::Error if drained => {
                return Err(BuildError::Failed(Box::new(failure(request, reason, kept))));
            }
            BuildState::Ready | BuildState::Error => {}
            BuildState::Waiting | BuildState::Building | BuildState::Other => {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }
}

fn failure(
    request: &BuildRequest,
    reason: Option<BuildFailure>,
    kept: VecDeque<BuildLog>,
) -> FailedBuild {
    let failure = reason.unwrap_or_else(|| BuildFailure {
        message: "the build failed and the server does not say why".to_owned(),
        step: None,
        logs: Vec::new(),
    });
    let of_step = |log: &BuildLog| failure.step.is_none() || log.step == failure.step;
    let mut output: Vec<BuildLog> = kept.into_iter().filter(of_step).collect();
    if output.is_empty() {
        output.clone_from(&failure.logs);
    }
    let step = failure.step.as_deref().map(|step| {
        let index = step.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        match index.and_then(|index| request.template.steps.get(index)) {
            Some(found) => {
                format!("step {step} of {}: {}", request.template.steps.len(), found.summary())
            }
            None => match step {
                "base" => "the base image".to_owned(),
                "finalize" => "the start command or its ready check".to_owned(),
                step => format!("step {step}"),
            },
        }
    });
    FailedBuild { failure, step, output }
}
