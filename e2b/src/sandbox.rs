//! A sandbox: the options for its creation, and a handle of it.

use std::collections::BTreeMap;
use std::time::Duration;

use claude_relay_protocol::Secret;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::generation::Generation;
use crate::http::{Answer, E2b};
pub use crate::network::{ALL_TRAFFIC, Egress, Injection};
use crate::sandbox_id::SandboxId;
use crate::settings::{ENVD_PORT, is_domain};

/// Default lifetime of a sandbox.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// Options for the creation of a sandbox.
#[derive(Clone, Debug)]
pub struct NewSandbox {
    /// The template: its full name (`team/name:tag`) or its id.
    pub template: String,
    /// The lifetime from the creation on, rounded up to seconds. Default:
    /// [`DEFAULT_TIMEOUT`]; the account's plan sets the maximum.
    pub timeout: Duration,
    /// Metadata by which a list can find it.
    pub metadata: BTreeMap<String, String>,
    /// Variables for processes that E2B starts later. A server that was started
    /// during the build of the template does not see them.
    pub variables: BTreeMap<String, String>,
    /// Allows connections to the internet. Default: yes.
    pub internet: bool,
    /// Allows connections to its ports without the traffic token. Default: no.
    pub public_traffic: bool,
    /// Detailed rules for outgoing connections. Default: none.
    pub egress: Egress,
    /// Pauses the sandbox instead of killing it when its time runs out.
    /// Default: no.
    pub auto_pause: bool,
    /// Resumes it automatically when a request for it arrives. Needs
    /// `auto_pause`. Default: no.
    pub auto_resume: bool,
    /// With `auto_pause`: keeps its files alone, without its memory, so that
    /// it boots when it is resumed. Default: no.
    pub auto_pause_without_memory: bool,
    /// Workload tokens by name, for the values of [`Egress::rules`]. Default:
    /// none.
    pub identities: BTreeMap<String, Identity>,
    /// Volumes by the path at which they are mounted. Default: none.
    pub volumes: BTreeMap<String, String>,
}

/// A workload token that the platform makes for a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The receiver that it is for.
    pub audience: String,
    /// Its type.
    #[serde(rename = "tokenType")]
    pub token_type: String,
}

impl NewSandbox {
    /// Returns the default options with this template.
    #[must_use]
    pub fn new(template: impl Into<String>) -> Self {
        Self {
            template: template.into(),
            timeout: DEFAULT_TIMEOUT,
            metadata: BTreeMap::new(),
            variables: BTreeMap::new(),
            internet: true,
            public_traffic: false,
            egress: Egress::default(),
            auto_pause: false,
            auto_resume: false,
            auto_pause_without_memory: false,
            identities: BTreeMap::new(),
            volumes: BTreeMap::new(),
        }
    }

    /// Returns the body of the request. It always contains `timeout`, because
    /// the two generations of the API have different defaults, and for the
    /// first one `secure`, which is not a choice in the second, and the access
    /// to the internet. Other options are left out at their default.
    pub(crate) fn body(&self, generation: Generation) -> impl Serialize {
        #[derive(Serialize)]
        struct Iam<'a> {
            tokens: &'a BTreeMap<String, Identity>,
        }
        #[derive(Serialize)]
        struct Mount<'a> {
            name: &'a str,
            path: &'a str,
        }
        #[derive(Serialize)]
        struct Network<'a> {
            #[serde(rename = "allowPublicTraffic", skip_serializing_if = "Option::is_none")]
            allow_public_traffic: Option<bool>,
            #[serde(flatten)]
            egress: &'a Egress,
        }
        #[derive(Serialize)]
        struct AutoResume {
            enabled: bool,
        }
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "templateID")]
            template: &'a str,
            timeout: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            secure: Option<bool>,
            #[serde(skip_serializing_if = "Option::is_none")]
            allow_internet_access: Option<bool>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            metadata: &'a BTreeMap<String, String>,
            #[serde(rename = "envVars", skip_serializing_if = "BTreeMap::is_empty")]
            variables: &'a BTreeMap<String, String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            network: Option<Network<'a>>,
            #[serde(rename = "autoPause", skip_serializing_if = "std::ops::Not::not")]
            auto_pause: bool,
            #[serde(rename = "autoPauseMemory", skip_serializing_if = "Option::is_none")]
            auto_pause_memory: Option<bool>,
            #[serde(rename = "autoResume", skip_serializing_if = "Option::is_none")]
            auto_resume: Option<AutoResume>,
            #[serde(skip_serializing_if = "Option::is_none")]
            iam: Option<Iam<'a>>,
            #[serde(rename = "volumeMounts", skip_serializing_if = "Vec::is_empty")]
            volumes: Vec<Mount<'a>>,
        }
        let restricted = !self.public_traffic;
        Body {
            template: &self.template,
            timeout: whole_seconds(self.timeout),
            secure: (generation == Generation::First).then_some(true),
            allow_internet_access: (generation == Generation::First || !self.internet)
                .then_some(self.internet),
            metadata: &self.metadata,
            variables: &self.variables,
            network: (restricted || self.egress != Egress::default()).then_some(Network {
                allow_public_traffic: restricted.then_some(false),
                egress: &self.egress,
            }),
            auto_pause: self.auto_pause,
            auto_pause_memory: self.auto_pause_without_memory.then_some(false),
            auto_resume: self.auto_resume.then_some(AutoResume { enabled: true }),
            iam: (!self.identities.is_empty()).then_some(Iam { tokens: &self.identities }),
            volumes: self.volumes.iter().map(|(path, name)| Mount { name, path }).collect(),
        }
    }
}

/// Handle of a running sandbox, with everything that requests to it need.
#[derive(Clone, Debug)]
pub struct Sandbox {
    pub(crate) e2b: E2b,
    id: SandboxId,
    domain: String,
    envd_version: String,
    pub(crate) envd_token: Option<Secret>,
    traffic_token: Option<Secret>,
}

/// Answer of the API to create and connect.
#[derive(Debug, Deserialize)]
pub(crate) struct Created {
    #[serde(rename = "sandboxID")]
    id: SandboxId,
    #[serde(rename = "envdVersion")]
    envd_version: String,
    #[serde(rename = "envdAccessToken")]
    envd_token: Option<Secret>,
    #[serde(rename = "trafficAccessToken")]
    traffic_token: Option<Secret>,
    domain: Option<String>,
}

impl Sandbox {
    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// Returns the client that created it.
    #[must_use]
    pub fn e2b(&self) -> &E2b {
        &self.e2b
    }

    /// Returns the version of envd in it.
    #[must_use]
    pub fn envd_version(&self) -> &str {
        &self.envd_version
    }

    /// Returns the host name of one of its ports, like the SDK's `getHost`:
    /// `3000-<id>.<domain>`.
    #[must_use]
    pub fn host(&self, port: u16) -> String {
        match self.e2b.settings().debug {
            true => format!("localhost:{port}"),
            false => format!("{port}-{}.{}", self.id, self.domain),
        }
    }

    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    pub(crate) fn token_for(&self, port: u16) -> Option<&Secret> {
        // envd has its own token and needs no other.
        (port != ENVD_PORT).then_some(self.traffic_token.as_ref()).flatten()
    }
}

impl E2b {
    /// Builds the handle from an answer to create and connect.
    pub(crate) fn sandbox(&self, answer: &Answer, operation: &str) -> Result<Sandbox, Error> {
        self.sandbox_of(answer.json(operation)?, operation)
    }

    /// Builds the handle from a part of an answer.
    pub(crate) fn sandbox_of(&self, created: Created, operation: &str) -> Result<Sandbox, Error> {
        let domain = created.domain.filter(|domain| !domain.is_empty());
        let domain = domain.unwrap_or_else(|| self.settings().domain.clone());
        if !is_domain(&domain) {
            return Err(Error::Malformed {
                operation: operation.to_owned(),
                source: format!("{domain:?} is not a domain name").into(),
            });
        }
        Ok(Sandbox {
            e2b: self.clone(),
            id: created.id,
            domain,
            envd_version: created.envd_version,
            envd_token: created.envd_token,
            traffic_token: created.traffic_token,
        })
    }

    /// Returns the only sandbox of debug mode.
    pub(crate) fn debug_sandbox(&self) -> Sandbox {
        Sandbox {
            e2b: self.clone(),
            id: SandboxId::of_debug_mode(),
            domain: self.settings().domain.clone(),
            envd_version: "99.99.99".to_owned(),
            envd_token: None,
            traffic_token: None,
        }
    }
}

/// Returns a duration in seconds as the API takes it, rounded up.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_second_counts_as_a_whole_one() {
        assert_eq!(whole_seconds(Duration::from_millis(90_500)), 91);
        assert_eq!(whole_seconds(Duration::from_secs(90)), 90);
    }

    #[test]
    fn traffic_is_restricted_unless_asked_otherwise() {
        let mut new = NewSandbox::new("base");
        let body = serde_json::to_value(new.body(Generation::First)).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"templateID": "base", "timeout": 300, "secure": true,
                "allow_internet_access": true, "network": {"allowPublicTraffic": false}})
        );
        new.public_traffic = true;
        let body = serde_json::to_value(new.body(Generation::Second)).unwrap();
        assert!(body.get("network").is_none());
        assert!(body.get("secure").is_none(), "it is not a choice");
    }
}
