//! What is wrong with a request, or with an answer, by the published files.

use std::sync::LazyLock;

use crate::proto::Proto;
use crate::record::{Channel, Recorded};
use crate::reply::{Reply, ReplyBody};
use crate::spec::{Judged, Spec};

/// The published files, read once for all fakes of a process: they never
/// change, and reading them takes longer than most tests.
pub(crate) struct Judges {
    api: Spec,
    envd: Spec,
    proto: Proto,
}

pub(crate) static JUDGES: LazyLock<Judges> = LazyLock::new(|| Judges {
    api: Spec::parse(include_str!("../spec/openapi.yml"), "x-api-key"),
    envd: Spec::parse(include_str!("../spec/envd/envd.yaml"), "x-access-token"),
    proto: Proto::new(),
});

impl Judges {
    /// What a test calls the route of a request.
    pub(crate) fn route(&self, request: &Recorded) -> String {
        let path = match request.channel {
            Channel::Upload => "upload",
            Channel::Api => self.api.route(&request.method, &request.path).unwrap_or(&request.path),
            Channel::Envd | Channel::Edge => &request.path,
        };
        format!("{} {path}", request.method)
    }

    /// What is wrong with a request.
    pub(crate) fn judge(&self, request: &Recorded) -> Vec<String> {
        let judged = Judged {
            method: &request.method,
            path: &request.path,
            query: &request.query,
            headers: &request.headers,
            body: &request.body,
        };
        match request.channel {
            Channel::Edge => Vec::new(),
            Channel::Upload => ["x-api-key", "x-access-token", "transfer-encoding"]
                .into_iter()
                .filter(|name| request.headers.contains_key(*name))
                .map(|name| format!("{name} was sent to the storage"))
                .collect(),
            Channel::Api => self.api.judge(&judged),
            Channel::Envd => match request.path.strip_prefix("/filesystem.Filesystem/") {
                Some(method) => {
                    let stream = request.headers.get("content-type").map(String::as_str)
                        == Some("application/connect+json");
                    let json = if stream { request.body.get(5..) } else { Some(&request.body[..]) };
                    self.proto.judge(method, json.unwrap_or_default())
                }
                None => self.envd.judge(&judged),
            },
        }
    }

    /// What is wrong with an answer of the fake's own.
    pub(crate) fn judge_reply(&self, request: &Recorded, reply: &Reply) -> Vec<String> {
        let ReplyBody::Whole(body) = &reply.body else {
            return Vec::new();
        };
        match request.channel {
            Channel::Api => {
                self.api.judge_answer(&request.method, &request.path, reply.status, body)
            }
            Channel::Envd => match request.path.strip_prefix("/filesystem.Filesystem/") {
                Some(method) if reply.status == 200 => self.proto.judge_answer(method, body),
                _ => Vec::new(),
            },
            Channel::Upload | Channel::Edge => Vec::new(),
        }
    }
}
