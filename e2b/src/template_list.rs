//! The templates of the account, as it lists them.

use std::time::SystemTime;

use reqwest::Method;
use serde::Deserialize;

use crate::error::Error;
use crate::generation::has_no_such_path;
use crate::http::{E2b, NO_BODY};
use crate::retry::Operation;
use crate::sandboxes::timestamp;

/// A template of the account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TemplateInfo {
    /// Its id.
    #[serde(rename = "templateID")]
    pub id: String,
    /// Its names, as `team/name`.
    #[serde(default)]
    pub names: Vec<String>,
    /// The number of processors of its sandboxes.
    #[serde(rename = "cpuCount")]
    pub cpus: u32,
    /// Their memory in MiB.
    #[serde(rename = "memoryMB")]
    pub memory_mb: u32,
    /// The state of its last build: `building`, `waiting`, `ready`, `error`.
    #[serde(rename = "buildStatus")]
    pub build_status: String,
    /// The time of its last change.
    #[serde(rename = "updatedAt", deserialize_with = "timestamp")]
    pub updated_at: SystemTime,
}

impl E2b {
    /// Lists the templates of the account, page after page.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn templates(&self) -> Result<Vec<TemplateInfo>, Error> {
        let operation = "list the templates".to_owned();
        match self.all_pages(operation.clone(), &["v2", "templates"], &[]).await {
            // A server of the first generation has one page.
            Err(error) if has_no_such_path(&error, "template") => {
                let kind = Operation::Read;
                let path = ["templates"];
                let answer =
                    self.api(kind, operation.clone(), Method::GET, &path, &[], NO_BODY).await?;
                answer.json(&operation)
            }
            listed => listed,
        }
    }
}
