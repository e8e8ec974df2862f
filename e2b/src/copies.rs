//! Copies of a sandbox: forks, which run at once, and snapshots, from which
//! sandboxes are created as from a template; and the measurements of one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Refusal};
use crate::http::{E2b, NO_BODY};
use crate::retry::Operation;
use crate::sandbox::{Created, Sandbox, whole_seconds};
use crate::sandbox_id::SandboxId;

/// Most forks of one request.
pub const MAX_FORKS: u32 = 100;

/// A snapshot, from which sandboxes can be created.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Snapshot {
    /// The name to create sandboxes of.
    #[serde(rename = "snapshotID")]
    pub id: String,
    /// All its names.
    pub names: Vec<String>,
}

/// Measurement of a sandbox at one time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// The time.
    #[serde(rename = "timestampUnix", deserialize_with = "unix_time")]
    pub time: SystemTime,
    /// The number of processors.
    pub cpu_count: u32,
    /// Their use in per cent; 100 for one that is busy.
    pub cpu_used_pct: f64,
    /// The memory in use, in bytes.
    pub mem_used: u64,
    /// All its memory, in bytes.
    pub mem_total: u64,
    /// The disk in use, in bytes.
    pub disk_used: u64,
    /// All its disk, in bytes.
    pub disk_total: u64,
}

/// Outcome of one fork.
#[derive(Deserialize)]
struct ForkResult {
    sandbox: Option<Created>,
    error: Option<serde_json::Value>,
}

impl E2b {
    /// Forks a running sandbox with its memory and processes: each copy goes on
    /// from this moment. It is paused for a moment meanwhile. Each copy has its
    /// own outcome; whoever asks for copies has to kill them.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone; an error means that no copy was made.
    pub async fn fork(
        &self,
        id: &SandboxId,
        count: u32,
        timeout: Duration,
    ) -> Result<Vec<Result<Sandbox, Error>>, Error> {
        if !(1..=MAX_FORKS).contains(&count) {
            return Err(Error::Argument(format!("from 1 to {MAX_FORKS} forks, not {count}")));
        }
        let operation = format!("fork sandbox {id}");
        let path = ["sandboxes", id.as_str(), "fork"];
        let body = serde_json::json!({ "count": count, "timeout": whole_seconds(timeout) });
        let answer =
            self.api(Operation::Fork, operation.clone(), Method::POST, &path, &[], Some(&body));
        let results: Vec<ForkResult> = answer.await?.json(&operation)?;
        Ok(results
            .into_iter()
            .map(|result| match (result.sandbox, result.error) {
                (Some(created), _) => self.sandbox_of(created, &operation),
                (None, Some(error)) => {
                    let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok());
                    let status = status.filter(|status| *status >= 300).unwrap_or(500);
                    let body = error.to_string();
                    Err(Error::of_answer(&operation, status, &HeaderMap::new(), body.as_bytes()))
                }
                (None, None) => Err(Error::Failed(Refusal {
                    operation: operation.clone(),
                    status: 201,
                    error_code: None,
                    message: "neither a sandbox nor an error".to_owned(),
                    should_retry: None,
                })),
            })
            .collect())
    }

    /// Takes a snapshot of a sandbox, which goes on. `memory` keeps its
    /// processes too; without it, sandboxes of the snapshot boot from its disk.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn snapshot(
        &self,
        id: &SandboxId,
        name: Option<&str>,
        memory: bool,
    ) -> Result<Snapshot, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            memory: Option<bool>,
        }
        let operation = format!("take a snapshot of sandbox {id}");
        let path = ["sandboxes", id.as_str(), "snapshots"];
        let body = Body { name, memory: (!memory).then_some(false) };
        let answer =
            self.api(Operation::Snapshot, operation.clone(), Method::POST, &path, &[], Some(&body));
        answer.await?.json(&operation)
    }

    /// Returns the measurements of a sandbox, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn metrics(&self, id: &SandboxId) -> Result<Vec<Metric>, Error> {
        let operation = format!("read the metrics of sandbox {id}");
        let path = ["sandboxes", id.as_str(), "metrics"];
        let answer =
            self.api(Operation::Read, operation.clone(), Method::GET, &path, &[], NO_BODY).await?;
        answer.json(&operation)
    }
}

fn unix_time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    Ok(UNIX_EPOCH + Duration::from_secs(u64::deserialize(deserializer)?))
}
