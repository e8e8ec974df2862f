//! Sub-agents as the agent takes them. The CLI needs a description and a prompt
//! for each and drops all of them without a word if one has neither.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::QueryConfig;
use crate::json;

impl QueryConfig {
    /// Returns the sub-agents, each with a description and a prompt: one takes
    /// the place of the other. One that has neither is left out.
    #[must_use]
    pub fn complete_agents(&self) -> Option<String> {
        let agents = self.agents.as_ref()?;
        let entries = json::entries(agents.expose()).unwrap_or_default();
        let complete = entries
            .iter()
            .filter_map(|(name, agent)| Some(format!("{}:{}", quoted(name), completed(agent)?.0)));
        Some(format!("{{{}}}", complete.collect::<Vec<_>>().join(",")))
    }

    /// Returns a notice for each sub-agent that is not as it was given.
    #[must_use]
    pub fn completed_agents(&self) -> Vec<String> {
        let agents = self.agents.as_ref().map(|agents| agents.expose()).unwrap_or("{}");
        let entries = json::entries(agents).unwrap_or_default();
        let notice = |(name, agent): &(Cow<'_, str>, &RawValue)| {
            let notice = match completed(agent) {
                Some((_, notice)) => notice?,
                None => "left out, since it has neither a description nor a prompt",
            };
            Some(format!("agents.{}: {notice}", super::value::shown(name)))
        };
        entries.iter().filter_map(notice).collect()
    }
}

/// Returns the definition with what it lacks, and a notice of that.
fn completed(agent: &RawValue) -> Option<(Cow<'_, str>, Option<&'static str>)> {
    let text = agent.get();
    let given = |value: Option<&RawValue>| {
        value.and_then(json::string).is_some_and(|text| !text.is_empty())
    };
    let [description, prompt] = json::fields(text, ["description", "prompt"]).ok()?;
    let (field, value, notice) = match (given(description), given(prompt)) {
        (true, true) => return Some((text.into(), None)),
        (true, false) => {
            ("prompt", description?, "it has no prompt, so its description is used for one")
        }
        (false, true) => {
            ("description", prompt?, "it has no description, so its prompt is used for one")
        }
        (false, false) => return None,
    };
    // Of duplicate names the last one counts.
    let open = text.trim_end().strip_suffix('}')?;
    Some((format!("{open},{}:{}}}", quoted(field), value.get()).into(), Some(notice)))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(agents: &str) -> QueryConfig {
        let body = format!(r#"{{"agents":{agents}}}"#);
        QueryConfig::parse(body.as_bytes(), &QueryConfig::default()).unwrap().config
    }

    #[test]
    fn what_an_agent_lacks_is_taken_from_what_it_has() {
        let whole = r#"{"a":{"description":"d","prompt":"p","n":1.0}}"#;
        assert_eq!(config(whole).complete_agents().as_deref(), Some(whole));
        assert_eq!(config(whole).completed_agents(), [""; 0]);
        let config = config(
            r#"{"myAgent":{"name":"My Custom Agent","description":"A custom agent"},"b":{"prompt":"p","description":""},"c":{}}"#,
        );
        assert_eq!(
            config.complete_agents().as_deref(),
            Some(
                r#"{"myAgent":{"name":"My Custom Agent","description":"A custom agent","prompt":"A custom agent"},"b":{"prompt":"p","description":"","description":"p"}}"#
            )
        );
        assert_eq!(
            config.completed_agents(),
            [
                "agents.myAgent: it has no prompt, so its description is used for one",
                "agents.b: it has no description, so its prompt is used for one",
                "agents.c: left out, since it has neither a description nor a prompt"
            ]
        );
        assert_eq!(QueryConfig::default().complete_agents(), None);
    }

    #[test]
    fn a_field_for_which_the_agent_would_drop_all_agents_is_named() {
        for (agent, error) in [
            (r#"{"prompt":1}"#, "agents.a.prompt: expected a string"),
            (r#"{"description":[]}"#, "agents.a.description: expected a string"),
            (r#"{"model":5}"#, "agents.a.model: expected a string"),
            (r#"{"tools":"Read"}"#, "agents.a.tools: expected an array of strings"),
            (r#"{"disallowedTools":[1]}"#, "agents.a.disallowedTools[0]: expected a string"),
        ] {
            let body = format!(r#"{{"agents":{{"a":{agent}}}}}"#);
            let parsed = QueryConfig::parse(body.as_bytes(), &QueryConfig::default());
            assert_eq!(parsed.unwrap_err().to_string(), error);
        }
    }
}
