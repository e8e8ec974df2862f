//! Violations of the published files by a request or an answer.

use std::sync::LazyLock;

use crate::e2b::network;
use crate::e2b::proto::Proto;
use crate::e2b::record::{Channel, Recorded};
use crate::e2b::reply::{Reply, ReplyBody};
use crate::e2b::spec::{CheckedRequest, Spec};

/// The published files, read once for all fakes of a process: they never
/// change, and reading them takes longer than most tests.
pub(crate) struct Validators {
    api: Spec,
    envd: Spec,
    proto: Proto,
}

pub(crate) static VALIDATORS: LazyLock<Validators> = LazyLock::new(|| Validators {
    api: Spec::parse(
        &[
            include_str!("../../e2b-spec/openapi.yml"),
            include_str!("../../e2b-spec/second-generation.yml"),
        ],
        "x-api-key",
    ),
    envd: Spec::parse(&[include_str!("../../e2b-spec/envd/envd.yaml")], "x-access-token"),
    proto: Proto::new(),
});

impl Validators {
    /// Name of a request's route in the tests. The two generations of a call
    /// have one name.
    pub(crate) fn route(&self, request: &Recorded) -> String {
        let path = match request.channel {
            Channel::Upload => "upload",
            Channel::Api => {
                let path = self.api.route(&request.method, &request.path);
                match path.unwrap_or(&request.path) {
                    path if request.method == "POST" && path.starts_with("/v2/sandboxes") => {
                        &path["/v2".len()..]
                    }
                    path => path,
                }
            }
            Channel::Envd | Channel::SandboxProxy => &request.path,
        };
        format!("{} {path}", request.method)
    }

    /// Violations in a request.
    pub(crate) fn validate(&self, request: &Recorded) -> Vec<String> {
        let checked = CheckedRequest {
            method: &request.method,
            path: &request.path,
            query: &request.query,
            headers: &request.headers,
            body: &request.body,
        };
        match request.channel {
            Channel::SandboxProxy => Vec::new(),
            Channel::Upload => ["x-api-key", "x-access-token", "transfer-encoding"]
                .into_iter()
                .filter(|name| request.headers.contains_key(*name))
                .map(|name| format!("{name} was sent to the storage"))
                .collect(),
            Channel::Api => {
                let mut wrong = self.api.validate(&checked);
                wrong.extend(network::violations(&request.body));
                wrong
            }
            Channel::Envd => match proto_method(&request.path) {
                Some(method) => {
                    let stream = request.headers.get("content-type").map(String::as_str)
                        == Some("application/connect+json");
                    let json = if stream { request.body.get(5..) } else { Some(&request.body[..]) };
                    self.proto.validate(method, json.unwrap_or_default())
                }
                None => self.envd.validate(&checked),
            },
        }
    }

    /// Violations in an answer of the fake's own.
    pub(crate) fn validate_answer(&self, request: &Recorded, reply: &Reply) -> Vec<String> {
        let ReplyBody::Whole(body) = &reply.body else {
            return Vec::new();
        };
        match request.channel {
            Channel::Api => {
                self.api.validate_answer(&request.method, &request.path, reply.status, body)
            }
            Channel::Envd => match proto_method(&request.path) {
                Some(method) if reply.status == 200 => self.proto.validate_answer(method, body),
                _ => Vec::new(),
            },
            Channel::Upload | Channel::SandboxProxy => Vec::new(),
        }
    }
}

/// Returns the call, as `package.Service/Method`, that a path names.
fn proto_method(path: &str) -> Option<&str> {
    let method = path.strip_prefix('/')?;
    method.split_once('/').filter(|(service, _)| service.contains('.')).map(|_| method)
}
