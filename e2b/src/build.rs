//! A whole build: asked for, files uploaded, started, watched to its end.

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

/// How long a build may take before it is no longer waited for. The server
/// itself ends one after an hour.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(75 * 60);
/// The wait between two looks at a build, as the SDK has it.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How many looks in a row may fail before the build is given up: one cut
/// connection must not lose the sight of an hour's work.
const MAX_FAILED_POLLS: u32 = 10;
/// The wait after a failed look; grows with each.
const FAILED_POLL_WAIT: Duration = Duration::from_millis(500);
/// How many lines of the failing step are kept for the end.
const KEPT_LINES: usize = 200;

/// What is built.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// Under which name.
    pub name: TemplateName,
    /// With which further tags.
    pub tags: Vec<Tag>,
    /// How large its sandboxes are.
    pub size: Size,
    /// What it is made of.
    pub template: Template,
    /// How long it is waited for.
    pub patience: Duration,
}

/// What happens during a build, as it happens.
#[derive(Debug)]
pub enum BuildEvent<'a> {
    /// The files of a COPY step are read.
    Packed {
        /// The step.
        copy: &'a Copy,
        /// How many files it brings.
        files: usize,
        /// The length of its archive.
        bytes: usize,
    },
    /// The server knows of the build.
    Requested(&'a RequestedBuild),
    /// An archive is on its way.
    Uploading {
        /// The step that it belongs to.
        copy: &'a Copy,
        /// Its length.
        bytes: usize,
    },
    /// An archive was there already.
    AlreadyThere(&'a Copy),
    /// The build runs.
    Started,
    /// A line of its log.
    Log(&'a BuildLog),
    /// One look at it failed; the next may not.
    PollFailed(&'a Error),
}

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The files of a COPY step cannot be sent. Nothing was.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The API refused, or does not answer.
    #[error(transparent)]
    Api(#[from] Error),
    /// The build failed.
    #[error("{}", .0.failure.message)]
    Failed(Box<FailedBuild>),
    /// It took too long. It may go on without being watched.
    #[error("build {build} is not done after {after:?}; it goes on without being watched")]
    Patience {
        /// The build's id.
        build: String,
        /// How long was waited.
        after: Duration,
    },
}

/// A build that failed, with what is known about it.
#[derive(Debug)]
pub struct FailedBuild {
    /// The server's account.
    pub failure: BuildFailure,
    /// The step that failed, in words.
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
    // All files are read first: what cannot be sent must not leave a build
    // behind that waits for ever.
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

/// What a build would send, as JSON for people to read; nothing is sent.
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

/// The digests and archives of all COPY steps, in their order.
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
    let deadline = Instant::now() + request.patience;
    let mut kept: VecDeque<BuildLog> = VecDeque::new();
    let mut offset = 0;
    let mut failed = 0;
    loop {
        if Instant::now() >= deadline {
            let after = request.patience;
            return Err(BuildError::Patience { build: build.build.clone(), after });
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
        // The end may be told before the last lines: read on until there are
        // none left.
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
