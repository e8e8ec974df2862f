//! One sandbox: what is asked for to make it, and what it can be asked.

use std::collections::BTreeMap;
use std::time::Duration;

use claude_relay_protocol::Secret;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::http::{Answer, E2b};
use crate::sandbox_id::SandboxId;
use crate::settings::{ENVD_PORT, is_domain};

/// How long a sandbox lives unless said otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);
/// All of the internet, for [`Egress::deny`].
pub const ALL_TRAFFIC: &str = "0.0.0.0/0";

/// What is asked for when a sandbox is created.
#[derive(Clone, Debug)]
pub struct NewSandbox {
    /// The template: its name (`team/name:tag` in full) or its id.
    pub template: String,
    /// How long it lives from now on. A part of a second counts as a whole
    /// one. Default: [`DEFAULT_TIMEOUT`]; the plan sets the most.
    pub timeout: Duration,
    /// Marks by which it can be found again in a list.
    pub metadata: BTreeMap<String, String>,
    /// Variables for processes started later through E2B. A server that was
    /// started when the template was built never sees them.
    pub variables: BTreeMap<String, String>,
    /// Whether it may reach the internet. Default: yes.
    pub internet: bool,
    /// Whether its ports may be reached without the traffic token. Default: no.
    pub public_traffic: bool,
    /// What it may reach, in detail. Default: everything.
    pub egress: Egress,
    /// Pause it instead of ending it when its time runs out. Default: no.
    pub auto_pause: bool,
    /// Resume it by itself when a request for it comes in. Needs
    /// `auto_pause`. Default: no.
    pub auto_resume: bool,
}

impl NewSandbox {
    /// A sandbox of this template with everything else at its default.
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
        }
    }

    /// The body of the request: `secure` and `timeout` are always in it,
    /// because without them the two generations of the API do different
    /// things; what is at its default otherwise is left out.
    pub(crate) fn body(&self) -> impl Serialize {
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
            secure: bool,
            allow_internet_access: bool,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            metadata: &'a BTreeMap<String, String>,
            #[serde(rename = "envVars", skip_serializing_if = "BTreeMap::is_empty")]
            variables: &'a BTreeMap<String, String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            network: Option<Network<'a>>,
            #[serde(rename = "autoPause", skip_serializing_if = "std::ops::Not::not")]
            auto_pause: bool,
            #[serde(rename = "autoResume", skip_serializing_if = "Option::is_none")]
            auto_resume: Option<AutoResume>,
        }
        let restricted = !self.public_traffic;
        Body {
            template: &self.template,
            timeout: whole_seconds(self.timeout),
            secure: true,
            allow_internet_access: self.internet,
            metadata: &self.metadata,
            variables: &self.variables,
            network: (restricted || self.egress != Egress::default()).then_some(Network {
                allow_public_traffic: restricted.then_some(false),
                egress: &self.egress,
            }),
            auto_pause: self.auto_pause,
            auto_resume: self.auto_resume.then_some(AutoResume { enabled: true }),
        }
    }
}

/// What a sandbox may reach. What is allowed beats what is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Egress {
    /// Addresses, blocks (`8.8.8.8/32`) and domains (`*.example.com`).
    #[serde(rename = "allowOut", skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Addresses and blocks; domains cannot be denied. [`ALL_TRAFFIC`] is all.
    #[serde(rename = "denyOut", skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// A sandbox that runs, with what is needed to talk to it.
#[derive(Clone, Debug)]
pub struct Sandbox {
    pub(crate) e2b: E2b,
    id: SandboxId,
    domain: String,
    envd_version: String,
    pub(crate) envd_token: Option<Secret>,
    traffic_token: Option<Secret>,
}

/// What the API answers to create and connect.
#[derive(Deserialize)]
struct Created {
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
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// The client that it was made with.
    #[must_use]
    pub fn e2b(&self) -> &E2b {
        &self.e2b
    }

    /// The version of envd inside it.
    #[must_use]
    pub fn envd_version(&self) -> &str {
        &self.envd_version
    }

    /// The host name under which one of its ports is reached, as the SDK's
    /// `getHost` says it: `3000-<id>.<domain>`.
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
        // envd has its own token and asks for no other.
        (port != ENVD_PORT).then_some(self.traffic_token.as_ref()).flatten()
    }
}

impl E2b {
    /// The sandbox of an answer to create and connect.
    pub(crate) fn sandbox(&self, answer: &Answer, operation: &str) -> Result<Sandbox, Error> {
        let created: Created = answer.json(operation)?;
        let domain = created.domain.filter(|domain| !domain.is_empty());
        let domain = domain.unwrap_or_else(|| self.settings().domain.clone());
        if !is_domain(&domain) {
            return Err(Error::Malformed {
                operation: operation.to_owned(),
                problem: format!("{domain:?} is not a domain name"),
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

    /// The one sandbox of debug mode.
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

/// Seconds as the API takes them: a part of one counts as a whole one.
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
        let body = serde_json::to_value(new.body()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"templateID": "base", "timeout": 300, "secure": true,
                "allow_internet_access": true, "network": {"allowPublicTraffic": false}})
        );
        new.public_traffic = true;
        let body = serde_json::to_value(new.body()).unwrap();
        assert!(body.get("network").is_none());
    }
}
