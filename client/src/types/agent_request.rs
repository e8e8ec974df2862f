//! Requests of the agent that only a client can answer.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::types::form::Form;
use crate::types::raw_json::RawJson;

/// The agent asks a person something and waits for the answer: a form of an MCP
/// server, or a dialog of its own. It comes to a client that was built with
/// [`ClientBuilder::questions`](crate::ClientBuilder::questions).
///
/// Answer with [`Client::answer`](crate::Client::answer). Without an answer the
/// server tells the agent in the end that there is none.
#[derive(Debug, Clone)]
pub struct AgentRequest {
    /// Names it in the answer.
    pub id: String,
    /// Its kind, such as `elicitation`.
    pub subtype: String,
    /// The request as the agent made it.
    pub request: RawJson,
}

impl AgentRequest {
    /// The form that an MCP server wants filled in, or the page that it wants
    /// opened; `None` for a request of another kind.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::AgentAnswer;
    ///
    /// # fn example(request: claude_relay_client::AgentRequest) -> AgentAnswer {
    /// match request.form() {
    ///     Some(form) if form.url.is_some() => AgentAnswer::opened(),
    ///     Some(_) => AgentAnswer::decline(),
    ///     None => AgentAnswer::dismiss(),
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn form(&self) -> Option<Form> {
        if self.subtype != "elicitation" {
            return None;
        }
        Form::read(self.request.get())
    }
}

/// The answer to an [`AgentRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAnswer {
    /// A JSON object, in the form that the agent expects for the request.
    Response(RawJson),
    /// The reason why there is no answer.
    Error(String),
}

impl AgentAnswer {
    /// A form that is filled in with these values.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::AgentAnswer;
    ///
    /// let answer = AgentAnswer::accept([("name".to_owned(), "Ada".into())]);
    /// # let _ = answer;
    /// ```
    #[must_use]
    pub fn accept(values: impl IntoIterator<Item = (String, Value)>) -> Self {
        let content: Map<String, Value> = values.into_iter().collect();
        let mut response = Map::new();
        response.insert("action".into(), "accept".into());
        response.insert("content".into(), content.into());
        Self::Response(RawJson::from_value(&response.into()))
    }

    /// A page that a person has opened: see [`Form::url`](crate::Form::url).
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::AgentAnswer;
    ///
    /// assert_ne!(AgentAnswer::opened(), AgentAnswer::accept([]));
    /// ```
    #[must_use]
    pub fn opened() -> Self {
        Self::Response(RawJson::from_value(&serde_json::json!({ "action": "accept" })))
    }

    /// A form that a person does not want to fill in.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::AgentAnswer;
    ///
    /// assert!(matches!(AgentAnswer::decline(), AgentAnswer::Response(_)));
    /// ```
    #[must_use]
    pub fn decline() -> Self {
        Self::Response(RawJson::from_value(&serde_json::json!({ "action": "decline" })))
    }

    /// A form that a person closes without an answer.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::AgentAnswer;
    ///
    /// assert_ne!(AgentAnswer::cancel(), AgentAnswer::decline());
    /// ```
    #[must_use]
    pub fn cancel() -> Self {
        Self::Response(RawJson::from_value(&serde_json::json!({ "action": "cancel" })))
    }

    /// A dialog of the agent that a person closes without a choice: a request
    /// that is no [form](AgentRequest::form).
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::AgentAnswer;
    ///
    /// assert!(matches!(AgentAnswer::dismiss(), AgentAnswer::Response(_)));
    /// ```
    #[must_use]
    pub fn dismiss() -> Self {
        Self::Response(RawJson::from_value(&serde_json::json!({ "behavior": "cancelled" })))
    }

    /// The frame that says so.
    pub(crate) fn frame(&self, request_id: &str) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Frame<'a> {
            r#type: &'static str,
            request_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            response: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a str>,
        }

        let mut frame = Frame { r#type: "agent_response", request_id, response: None, error: None };
        match self {
            Self::Response(response) => frame.response = Some(response.parse()?),
            Self::Error(error) => frame.error = Some(error),
        }
        serde_json::to_string(&frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(request: &str) -> AgentRequest {
        AgentRequest {
            id: "r".into(),
            subtype: "elicitation".into(),
            request: RawJson::new(request.to_owned()).unwrap(),
        }
    }

    #[test]
    fn a_page_to_open_has_no_fields_and_other_requests_are_no_forms() {
        let form = request(r#"{"message":"m","mode":"url","url":"https://a/"}"#).form().unwrap();
        assert_eq!((form.url.as_deref(), form.fields.len()), (Some("https://a/"), 0));
        let dialog = AgentRequest { subtype: "request_user_dialog".into(), ..request("{}") };
        assert_eq!(dialog.form(), None);
    }

    #[test]
    fn answers_are_written_as_the_server_reads_them() {
        let accepted = AgentAnswer::accept([("name".to_owned(), "Ada".into())]);
        for (answer, frame) in [
            (
                accepted,
                r#"{"type":"agent_response","requestId":"r","response":{"action":"accept","content":{"name":"Ada"}}}"#,
            ),
            (
                AgentAnswer::decline(),
                r#"{"type":"agent_response","requestId":"r","response":{"action":"decline"}}"#,
            ),
            (
                AgentAnswer::cancel(),
                r#"{"type":"agent_response","requestId":"r","response":{"action":"cancel"}}"#,
            ),
            (
                AgentAnswer::dismiss(),
                r#"{"type":"agent_response","requestId":"r","response":{"behavior":"cancelled"}}"#,
            ),
            (
                AgentAnswer::Error("no".into()),
                r#"{"type":"agent_response","requestId":"r","error":"no"}"#,
            ),
        ] {
            let written = answer.frame("r").unwrap();
            assert_eq!(written, frame);
            claude_relay_protocol::ClientMessage::parse(&written).unwrap();
        }
    }
}
