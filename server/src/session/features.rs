//! Optional features of the protocol, which a client enables in its URL.

/// An optional feature of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// `agent_state` and `undelivered`.
    AgentState,
    /// `input`.
    Input,
    /// `agent_request` for dialogs with the user.
    Questions,
    /// `agent_request` for hooks.
    Hooks,
    /// `agent_request` for tools that the client runs.
    HostTools,
}

/// The features of one client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features(u8);

impl Features {
    /// Parses the list in a URL; unknown names are ignored.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        list.split(',').fold(Self::default(), |features, name| match name.trim() {
            "agent_state" => features.with(Feature::AgentState),
            "input" => features.with(Feature::Input),
            "questions" => features.with(Feature::Questions),
            "hooks" => features.with(Feature::Hooks),
            "host_tools" => features.with(Feature::HostTools),
            _ => features,
        })
    }

    /// Returns these features and one more.
    #[must_use]
    pub fn with(self, feature: Feature) -> Self {
        Self(self.0 | 1 << feature as u8)
    }

    /// Returns these features and `others`.
    #[must_use]
    pub fn union(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Returns true if `feature` is included.
    #[must_use]
    pub fn has(self, feature: Feature) -> bool {
        self.0 & (1 << feature as u8) != 0
    }
}
