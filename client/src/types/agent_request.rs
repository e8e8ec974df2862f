//! Requests of the agent that only a client can answer.

use claude_relay_protocol::json::{elements, entries, fields, string};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::types::raw_json::{RawJson, text_of};

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
    ///     Some(form) if form.fields.is_empty() => AgentAnswer::accept([]),
    ///     _ => AgentAnswer::decline(),
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn form(&self) -> Option<Form> {
        if self.subtype != "elicitation" {
            return None;
        }
        let names = ["mcp_server_name", "message", "url", "requested_schema"];
        let [server, message, url, schema] = fields(self.request.get(), names).ok()?;
        let text = |value| text_of(value).map(|text| text.into_owned());
        Some(Form {
            server: text(server).unwrap_or_default(),
            message: text(message).unwrap_or_default(),
            url: text(url),
            fields: schema.map(form_fields).unwrap_or_default(),
        })
    }
}

/// A form of an MCP server.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// The server's name.
    pub server: String,
    /// The server's words.
    pub message: String,
    /// A page to open instead of fields to fill in.
    pub url: Option<String>,
    /// The fields, in the server's order.
    pub fields: Vec<FormField>,
}

/// A field of a [`Form`].
#[derive(Debug, Clone, PartialEq)]
pub struct FormField {
    /// Its name in the answer.
    pub name: String,
    /// Its title, or its name.
    pub title: String,
    /// More about it.
    pub description: Option<String>,
    /// The values that it takes.
    pub kind: FieldKind,
    /// It must be filled in.
    pub required: bool,
}

/// The values that a [`FormField`] takes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldKind {
    /// Any text.
    Text,
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// Yes or no.
    Boolean,
    /// One of these.
    Choice(Vec<String>),
    /// Another schema, as JSON.
    Other(String),
}

impl FormField {
    /// Reads the value that a person typed. `None` if the field does not take
    /// it.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{FieldKind, FormField};
    ///
    /// let field = FormField {
    ///     name: "n".into(),
    ///     title: "How many".into(),
    ///     description: None,
    ///     kind: FieldKind::Integer,
    ///     required: true,
    /// };
    /// assert_eq!(field.read("3"), Some(3.into()));
    /// assert_eq!(field.read("three"), None);
    /// ```
    #[must_use]
    pub fn read(&self, typed: &str) -> Option<Value> {
        match &self.kind {
            FieldKind::Text => Some(typed.into()),
            FieldKind::Number => serde_json::from_str::<Value>(typed).ok().filter(Value::is_number),
            FieldKind::Integer => typed.parse::<i64>().ok().map(Value::from),
            FieldKind::Boolean => match typed.to_lowercase().as_str() {
                "y" | "yes" | "true" => Some(true.into()),
                "n" | "no" | "false" => Some(false.into()),
                _ => None,
            },
            FieldKind::Choice(choices) => {
                let numbered = typed
                    .parse::<usize>()
                    .ok()
                    .and_then(|number| choices.get(number.checked_sub(1)?));
                let named = choices.iter().find(|choice| choice.eq_ignore_ascii_case(typed));
                named.or(numbered).map(|choice| choice.as_str().into())
            }
            FieldKind::Other(_) => serde_json::from_str(typed).ok(),
        }
    }
}

fn form_fields(schema: &RawValue) -> Vec<FormField> {
    let Ok([Some(properties), required]) = fields(schema.get(), ["properties", "required"]) else {
        return Vec::new();
    };
    let required: Vec<_> = texts(required);
    let properties = entries(properties.get()).unwrap_or_default();
    let field = |(name, schema): (std::borrow::Cow<'_, str>, &RawValue)| {
        let [title, description] =
            fields(schema.get(), ["title", "description"]).unwrap_or_default();
        let text = |value| text_of(value).map(|text| text.into_owned());
        FormField {
            title: text(title).unwrap_or_else(|| name.to_string()),
            description: text(description),
            kind: kind(schema),
            required: required.contains(&name.to_string()),
            name: name.into_owned(),
        }
    };
    properties.into_iter().map(field).collect()
}

fn kind(schema: &RawValue) -> FieldKind {
    let [kind, choices] = fields(schema.get(), ["type", "enum"]).unwrap_or_default();
    let choices = texts(choices);
    match text_of(kind).as_deref() {
        Some("string") if !choices.is_empty() => FieldKind::Choice(choices),
        Some("string") => FieldKind::Text,
        Some("number") => FieldKind::Number,
        Some("integer") => FieldKind::Integer,
        Some("boolean") => FieldKind::Boolean,
        _ => FieldKind::Other(schema.get().to_owned()),
    }
}

fn texts(list: Option<&RawValue>) -> Vec<String> {
    let list = list.and_then(|list| elements(list).ok()).unwrap_or_default();
    list.into_iter().filter_map(string).map(|text| text.into_owned()).collect()
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
    fn a_form_is_read_from_its_schema() {
        let form = request(
            r#"{"mcp_server_name":"s","message":"m","requested_schema":{"type":"object","required":["name"],"properties":{"name":{"type":"string","title":"Your name"},"n":{"type":"integer"},"x":{"type":"number"},"ok":{"type":"boolean","description":"really?"},"c":{"type":"string","enum":["A","b"]},"l":{"type":"array"}}}}"#,
        )
        .form()
        .unwrap();
        let kinds: Vec<_> = form.fields.iter().map(|field| field.kind.clone()).collect();
        assert_eq!(
            kinds,
            [
                FieldKind::Text,
                FieldKind::Integer,
                FieldKind::Number,
                FieldKind::Boolean,
                FieldKind::Choice(vec!["A".into(), "b".into()]),
                FieldKind::Other(r#"{"type":"array"}"#.into()),
            ]
        );
        let [name, n, x, ok, c, l] = &form.fields[..] else { panic!("{form:?}") };
        assert!(name.required && !n.required);
        assert_eq!((&*name.title, &*n.title), ("Your name", "n"));
        assert_eq!(ok.description.as_deref(), Some("really?"));
        for (field, typed, value) in [
            (name, "Ada", Some("Ada".into())),
            (n, "-3", Some((-3).into())),
            (n, "3.5", None),
            (x, "3.5", Some(3.5.into())),
            (x, "x", None),
            (ok, "Yes", Some(true.into())),
            (ok, "perhaps", None),
            (c, "2", Some("b".into())),
            (c, "a", Some("A".into())),
            (c, "3", None),
            (l, "[1]", Some(serde_json::json!([1]))),
        ] {
            assert_eq!(field.read(typed), value, "{typed}");
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
