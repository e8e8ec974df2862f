//! State of the fake: sandboxes with their files, templates with their
//! builds, and the faults that are still to come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use crate::e2b::record::Recorded;

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The request is refused without having had an effect.
    Refuse {
        /// The status.
        status: u16,
        /// The body.
        body: Value,
        /// Further headers.
        headers: Vec<(&'static str, String)>,
    },
    /// The connection is cut before the request has an effect.
    CutBefore,
    /// The request has its effect, but the answer is lost.
    CutAfter,
    /// Nothing ever answers.
    Hang,
    /// The request has its effect after a while.
    Delay(Duration),
    /// The request has its effect, and something that is no JSON comes back.
    Garbage,
}

impl Fault {
    /// A refusal as the API words it.
    #[must_use]
    pub fn refuse(status: u16, message: &str) -> Self {
        Self::Refuse {
            status,
            body: json!({ "code": status, "message": message }),
            headers: vec![],
        }
    }
}

/// The generations of create and connect that a server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generations {
    /// Both, as the cloud.
    #[default]
    Both,
    /// The first alone, as the published server.
    First,
    /// The second alone.
    Second,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) generations: Generations,
    /// The sandboxes of create requests, by their idempotency keys.
    pub(crate) by_key: BTreeMap<String, String>,
    pub(crate) sandboxes: BTreeMap<String, Sandbox>,
    /// The secrets of the account, with their values.
    pub(crate) secrets: Vec<(serde_json::Value, String)>,
    pub(crate) templates: BTreeMap<String, Template>,
    pub(crate) builds: BTreeMap<String, Build>,
    pub(crate) stored: BTreeMap<String, Vec<u8>>,
    pub(crate) requests: Vec<Recorded>,
    pub(crate) violations: Vec<String>,
    pub(crate) faults: VecDeque<(String, Fault)>,
    /// What stands for a port: one address for each sandbox, in the order of their
    /// creation, and from the first again when there are more sandboxes.
    pub(crate) upstreams: BTreeMap<u16, Vec<SocketAddr>>,
    pub(crate) next_sandbox: u64,
    pub(crate) created: u64,
    pub(crate) most_alive: usize,
    pub(crate) forget_requests: bool,
    pub(crate) page_size: Option<usize>,
    pub(crate) log_pages: Option<Vec<usize>>,
    pub(crate) failing_step: Option<(String, String)>,
    pub(crate) insist_on_templates: bool,
    pub(crate) ignores_filters: bool,
    pub(crate) refused_forks: BTreeSet<u64>,
}

pub(crate) struct Sandbox {
    /// Number of sandboxes that were created before it.
    pub(crate) number: usize,
    pub(crate) template: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) paused: bool,
    pub(crate) started: SystemTime,
    pub(crate) end: SystemTime,
    pub(crate) envd_token: String,
    pub(crate) traffic_token: Option<String>,
    pub(crate) network: Value,
    pub(crate) files: Files,
    pub(crate) changes: broadcast::Sender<(String, &'static str)>,
    /// Closed when the sandbox ends or is paused, which cuts its connections.
    pub(crate) runs: watch::Sender<()>,
    /// The server's ends of connections that a pause has cut: what is frozen
    /// does not learn of it.
    pub(crate) frozen: Vec<Box<dyn Send>>,
}

/// The files of a sandbox: paths with contents, and directories.
#[derive(Clone, Default)]
pub(crate) struct Files {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) directories: BTreeSet<String>,
}

#[derive(Default)]
pub(crate) struct Template {
    pub(crate) id: String,
    pub(crate) tags: BTreeMap<String, String>,
    /// The files of the sandbox that it is a snapshot of.
    pub(crate) files: Files,
}

pub(crate) struct Build {
    pub(crate) started: bool,
    pub(crate) polls: usize,
    pub(crate) logs: Vec<Value>,
    pub(crate) pages: Vec<usize>,
    pub(crate) failure: Option<(String, String)>,
}

impl State {
    /// Returns true if a template of this name exists.
    pub(crate) fn knows(&self, template: &str) -> bool {
        let name = template.split(':').next().unwrap_or_default();
        match self.insist_on_templates {
            true => self.templates.contains_key(name),
            false => template != "no-such-template",
        }
    }

    /// A new sandbox; its id and its answer.
    pub(crate) fn create(&mut self, body: &Value) -> Value {
        self.next_sandbox += 1;
        self.created += 1;
        let id = format!("i{:020}", self.next_sandbox);
        let restricted = body["network"]["allowPublicTraffic"] == false;
        let now = SystemTime::now();
        let timeout = Duration::from_secs(body["timeout"].as_u64().unwrap_or(15));
        let metadata = body["metadata"].as_object().cloned().unwrap_or_default();
        let metadata = metadata
            .into_iter()
            .map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned()));
        let kept = body["templateID"].as_str().and_then(|name| self.templates.get(name));
        let mut files = kept.map(|template| template.files.clone()).unwrap_or_default();
        files.make_directory("/home/user");
        let sandbox = Sandbox {
            number: usize::try_from(self.next_sandbox - 1).unwrap_or_default(),
            template: body["templateID"].as_str().unwrap_or_default().to_owned(),
            metadata: metadata.collect(),
            paused: false,
            started: now,
            end: now + timeout,
            envd_token: format!("envd-token-of-{id}"),
            traffic_token: restricted.then(|| format!("traffic-token-of-{id}")),
            network: body["network"].clone(),
            files,
            changes: broadcast::channel(64).0,
            runs: watch::channel(()).0,
            frozen: Vec::new(),
        };
        let answer = sandbox.answer(&id);
        self.sandboxes.insert(id, sandbox);
        self.most_alive = self.most_alive.max(self.sandboxes.len());
        answer
    }

    /// The answer to an earlier request with this key, if its sandbox lives.
    pub(crate) fn created_before(&self, key: &str) -> Option<Value> {
        let id = self.by_key.get(key)?;
        Some(self.sandboxes.get(id)?.answer(id))
    }

    /// A copy of a sandbox, under a name of its own; its answer.
    pub(crate) fn fork(&mut self, id: &str, timeout: Duration) -> Option<Value> {
        let source = self.sandboxes.get(id)?;
        let metadata: serde_json::Map<String, Value> = source
            .metadata
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect();
        let body = json!({
            "templateID": source.template, "timeout": timeout.as_secs(),
            "metadata": metadata, "network": source.network,
        });
        let files = source.files.clone();
        let answer = self.create(&body);
        let copy = answer["sandboxID"].as_str().unwrap_or_default();
        if let Some(copy) = self.sandboxes.get_mut(copy) {
            copy.files = files;
        }
        Some(answer)
    }

    /// The server that stands for this port of a sandbox.
    pub(crate) fn upstream(&self, number: usize, port: u16) -> Option<SocketAddr> {
        let all = self.upstreams.get(&port)?;
        all.get(number.checked_rem(all.len())?).copied()
    }

    /// Takes the next fault for a route.
    pub(crate) fn fault(&mut self, route: &str) -> Option<Fault> {
        let place = self.faults.iter().position(|(wanted, _)| wanted == route)?;
        self.faults.remove(place).map(|(_, fault)| fault)
    }

    /// Ends the sandboxes whose time has run out.
    pub(crate) fn expire(&mut self) {
        let now = SystemTime::now();
        self.sandboxes.retain(|_, sandbox| sandbox.paused || sandbox.end > now);
    }
}

impl Sandbox {
    /// Stops it with all that runs in it; its connections are cut from outside.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
        self.runs = watch::channel(()).0;
    }

    /// Answer of create and connect.
    pub(crate) fn answer(&self, id: &str) -> Value {
        json!({
            "templateID": self.template, "sandboxID": id, "clientID": "fake",
            "envdVersion": "0.6.1", "envdAccessToken": self.envd_token,
            "trafficAccessToken": self.traffic_token, "domain": null,
        })
    }

    /// Answer of info and list.
    pub(crate) fn detail(&self, id: &str) -> Value {
        json!({
            "templateID": self.template, "alias": self.template, "sandboxID": id,
            "clientID": "fake", "startedAt": rfc3339(self.started), "endAt": rfc3339(self.end),
            "cpuCount": 2, "memoryMB": 2048, "diskSizeMB": 8192, "envdVersion": "0.6.1",
            "state": if self.paused { "paused" } else { "running" }, "metadata": self.metadata,
        })
    }
}

impl Files {
    pub(crate) fn make_directory(&mut self, path: &str) -> bool {
        let new = !self.directories.contains(path);
        let mut path = path;
        while !path.is_empty() {
            self.directories.insert(path.to_owned());
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        new
    }

    pub(crate) fn write(&mut self, path: &str, content: Vec<u8>) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.make_directory(parent);
        }
        self.files.insert(path.to_owned(), content);
    }

    pub(crate) fn entry(&self, path: &str) -> Option<Value> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let (kind, size, mode, permissions) = match self.files.get(path) {
            Some(content) => ("FILE_TYPE_FILE", content.len(), 0o644, "-rw-r--r--"),
            None if self.directories.contains(path) => {
                ("FILE_TYPE_DIRECTORY", 4096, 0o755, "drwxr-xr-x")
            }
            None => return None,
        };
        Some(json!({
            "name": name, "path": path, "type": kind, "size": size.to_string(), "mode": mode,
            "permissions": permissions, "owner": "user", "group": "user",
        }))
    }

    pub(crate) fn list(&self, path: &str, depth: usize) -> Vec<Value> {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let all = self.files.keys().chain(&self.directories);
        let mut below: Vec<&String> = all
            .filter(|found| {
                let rest = found.strip_prefix(&prefix);
                rest.is_some_and(|rest| !rest.is_empty() && rest.matches('/').count() < depth)
            })
            .collect();
        below.sort();
        below.into_iter().filter_map(|found| self.entry(found)).collect()
    }

    pub(crate) fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.files.retain(|found, _| found != path && !found.starts_with(&below));
        self.directories.retain(|found| found != path && !found.starts_with(&below));
    }
}

/// A time as the API writes it.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
