//! Requests in the form of the recordings, so that the two can be compared.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Headers that belong to a connection or a machine and to no interface.
const NOT_RECORDED: [&str; 4] = ["host", "content-length", "transfer-encoding", "connection"];

/// Receiver of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The control plane.
    Api,
    /// The storage that takes a template's files.
    Upload,
    /// envd in a living sandbox.
    Envd,
    /// The sandbox proxy: another port of a sandbox, or a sandbox that is gone.
    SandboxProxy,
}

/// A request that the fake got.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its receiver.
    pub channel: Channel,
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its query, decoded.
    pub query: Vec<(String, String)>,
    /// Its headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body as it came.
    pub body: Vec<u8>,
}

impl Recorded {
    /// The request as the recordings have it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let channel = match self.channel {
            Channel::Api => "api",
            Channel::Upload => "upload",
            Channel::Envd => "envd",
            Channel::SandboxProxy => "edge",
        };
        let kind = self.headers.get("content-type").cloned().unwrap_or_default();
        let mut headers: BTreeMap<_, _> = self
            .headers
            .iter()
            .filter(|(name, _)| !NOT_RECORDED.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let body = match kind.split(';').next().unwrap_or_default() {
            _ if self.channel == Channel::Upload => {
                let length = self.headers.get("content-length").and_then(|text| text.parse().ok());
                let exact = length == Some(self.body.len());
                headers.insert("x-fake-length-exact".to_owned(), exact.to_string());
                archive(&self.body)
            }
            "multipart/form-data" => {
                let boundary = "multipart/form-data; boundary=<boundary>".to_owned();
                headers.insert("content-type".to_owned(), boundary);
                multipart(&kind, &self.body)
            }
            "application/connect+json" => {
                let message = self.body.get(5..).unwrap_or_default();
                json!({ "connectFrame": serde_json::from_slice::<Value>(message).unwrap_or_default() })
            }
            "application/json" => serde_json::from_slice(&self.body).unwrap_or_default(),
            _ if self.body.is_empty() => Value::Null,
            _ => String::from_utf8_lossy(&self.body).into(),
        };
        let query: BTreeMap<_, _> = self.query.iter().cloned().collect();
        json!({
            "channel": channel, "method": self.method, "path": self.path,
            "query": query, "headers": headers, "body": body,
        })
    }
}

/// The files of an archive, `None` if it is none.
pub(crate) fn entries(body: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(body));
    let mut found = Vec::new();
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).ok()?;
        found.push((name, content));
    }
    Some(found)
}

fn archive(body: &[u8]) -> Value {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(body));
    let Ok(entries) = archive.entries() else {
        return json!({ "gzip": false });
    };
    let entries: Vec<Value> = entries
        .filter_map(Result::ok)
        .map(|mut entry| {
            let header = entry.header();
            let kind = char::from(header.entry_type().as_byte()).to_string();
            let mut found = json!({
                "name": String::from_utf8_lossy(&entry.path_bytes()),
                "type": kind,
                "mode": format!("{:04o}", header.mode().unwrap_or_default()),
                "size": header.size().unwrap_or_default(),
            });
            if kind == "0" {
                let mut content = Vec::new();
                let _ = entry.read_to_end(&mut content);
                let digest = Sha256::digest(&content);
                let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                found["sha256"] = hex.into();
            }
            found
        })
        .collect();
    json!({ "gzip": body.starts_with(&[0x1f, 0x8b]), "entries": entries })
}

/// The parts of a form: name, path and content of each.
pub(crate) fn parts(kind: &str, body: &[u8]) -> Vec<(String, String, Vec<u8>)> {
    let Some((_, boundary)) = kind.split_once("boundary=") else {
        return Vec::new();
    };
    let delimiter = format!("--{boundary}");
    let mut found = Vec::new();
    let mut places = positions(body, delimiter.as_bytes());
    places.push(body.len());
    for pair in places.windows(2) {
        let part = &body[(pair[0] + delimiter.len()).min(pair[1])..pair[1]];
        let Some(end) = positions(part, b"\r\n\r\n").first().copied() else {
            continue;
        };
        let head = String::from_utf8_lossy(&part[..end]).into_owned();
        let content = part[end + 4..].strip_suffix(b"\r\n").unwrap_or(&part[end + 4..]);
        let field = |name: &str| {
            let start = head.find(&format!("{name}=\""))? + name.len() + 2;
            let length = head[start..].find('"')?;
            Some(head[start..start + length].replace("%22", "\""))
        };
        let name = field(" name").unwrap_or_default();
        found.push((name, field("filename").unwrap_or_default(), content.to_vec()));
    }
    found
}

fn multipart(kind: &str, body: &[u8]) -> Value {
    let parts = parts(kind, body).into_iter().map(|(name, filename, content)| {
        json!({
            "name": name, "filename": filename, "type": "application/octet-stream",
            "text": String::from_utf8_lossy(&content),
        })
    });
    json!({ "multipart": parts.collect::<Vec<_>>() })
}

fn positions(text: &[u8], wanted: &[u8]) -> Vec<usize> {
    (0..text.len().saturating_sub(wanted.len() - 1))
        .filter(|&start| text[start..].starts_with(wanted))
        .collect()
}
