//! The files of an agent's workspace, by the `/files` of its relay.

use claude_relay_client::FileError;
use claude_relay_listen::answer::{Answer, Refusal, json_answer};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Routes, not_allowed};

/// Maximum size of a file, as of the relay.
const MAX_FILE_BYTES: usize = 64 << 20;

/// Maximum number of files that are read or written at once. They are in
/// memory meanwhile.
const MAX_TRANSFERS: usize = 4;

/// Time for a file to arrive.
const BODY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

pub(super) fn transfers() -> Semaphore {
    Semaphore::new(MAX_TRANSFERS)
}

/// The agent and the file that a path is about:
/// `/api/agents/{agentId}/files/{path}`.
pub(super) fn target(path: &str) -> Option<(String, String)> {
    let (agent, rest) = path.strip_prefix("/api/agents/")?.split_once('/')?;
    let file = match rest.strip_prefix("files")? {
        "" => "",
        rest => rest.strip_prefix('/')?,
    };
    let decode = |text: &str| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
    Some((decode(agent)?, decode(file)?))
}

impl Routes {
    pub(super) async fn answer_file(
        &self,
        agent: &str,
        path: &str,
        head: &Parts,
        body: Incoming,
    ) -> Result<Answer, Refusal> {
        let unavailable =
            || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the hub is shutting down");
        // An agent that does not start takes no permit from those of others.
        let client = self.hub.client_of(agent).await;
        let client = client.map_err(|error| Refusal::new(error.status(), error.to_string()))?;
        let _permit = self.transfers.acquire().await.map_err(|_| unavailable())?;
        let workspace = client.workspace();
        match head.method {
            Method::GET | Method::HEAD if path.is_empty() || path.ends_with('/') => {
                let entries = workspace.list(path.trim_end_matches('/')).await.map_err(refusal)?;
                let entries: Vec<_> = entries
                    .iter()
                    .map(|entry| json!({ "name": entry.name, "type": kind(entry.kind), "size": entry.size }))
                    .collect();
                Ok(json_answer(StatusCode::OK, &json!({ "entries": entries })))
            }
            Method::GET | Method::HEAD => {
                let content = workspace.read(path).await.map_err(refusal)?;
                let mut answer = Response::new(Full::from(content));
                let headers = answer.headers_mut();
                // Never shown by a browser as a page of this origin.
                headers.insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/octet-stream"),
                );
                headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
                Ok(answer)
            }
            Method::PUT => {
                let limited = Limited::new(body, MAX_FILE_BYTES).collect();
                let content = match timeout(BODY_TIMEOUT, limited).await {
                    Ok(Ok(content)) => content.to_bytes(),
                    Ok(Err(_)) => {
                        let error = "the body is over 64 MiB, or ended early";
                        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error));
                    }
                    Err(_) => {
                        let error = "the body did not arrive in time";
                        return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, error));
                    }
                };
                workspace.write(path, content).await.map_err(refusal)?;
                Ok(json_answer(StatusCode::OK, &json!({})))
            }
            Method::DELETE => {
                workspace.remove(path).await.map_err(refusal)?;
                Ok(json_answer(StatusCode::OK, &json!({})))
            }
            _ => Err(not_allowed("GET, HEAD, PUT, DELETE")),
        }
    }
}

fn kind(kind: claude_relay_client::FileType) -> &'static str {
    use claude_relay_client::FileType;
    match kind {
        FileType::Directory => "directory",
        FileType::File => "file",
        _ => "other",
    }
}

fn refusal(error: FileError) -> Refusal {
    let status = match &error {
        FileError::NotFound { .. } => StatusCode::NOT_FOUND,
        FileError::Exists { .. } => StatusCode::CONFLICT,
        FileError::Refused { status, .. } => {
            StatusCode::from_u16(*status).unwrap_or(StatusCode::FORBIDDEN)
        }
        _ => StatusCode::BAD_GATEWAY,
    };
    Refusal::new(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_an_agent_and_a_file() {
        let of = |path| target(path).map(|(agent, file)| format!("{agent}:{file}"));
        assert_eq!(of("/api/agents/a/files/b/c%20d").as_deref(), Some("a:b/c d"));
        assert_eq!(of("/api/agents/a/files").as_deref(), Some("a:"));
        assert_eq!(of("/api/agents/a/filesystem"), None);
        assert_eq!(of("/api/agents/a/log"), None);
    }
}
