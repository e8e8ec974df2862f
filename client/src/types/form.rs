//! Forms of MCP servers, which a person fills in.

use std::borrow::Cow;

use claude_relay_protocol::json::{elements, entries, fields, string};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::types::raw_json::text_of;

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
    /// The value that it has at first.
    pub default: Option<Value>,
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
    Choice(Vec<FormChoice>),
    /// Any number of these.
    Choices(Vec<FormChoice>),
    /// Another schema, as JSON.
    Other(String),
}

/// A value to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormChoice {
    /// The value in the answer.
    pub value: String,
    /// The value in words.
    pub title: String,
}

impl Form {
    pub(crate) fn read(request: &str) -> Option<Self> {
        let names = ["mcp_server_name", "message", "url", "requested_schema", "property_order"];
        let [server, message, url, schema, order] = fields(request, names).ok()?;
        let order = texts(order);
        let mut form = Self {
            server: owned(server).unwrap_or_default(),
            message: owned(message).unwrap_or_default(),
            url: owned(url),
            fields: schema.map(form_fields).unwrap_or_default(),
        };
        let place = |field: &FormField| order.iter().position(|name| *name == field.name);
        form.fields.sort_by_key(|field| place(field).unwrap_or(usize::MAX));
        Some(form)
    }
}

impl FormField {
    /// Reads the value that a person typed: for a choice its number or its
    /// words, for several choices these between commas. `None` if the field does
    /// not take it.
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
    ///     default: None,
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
            FieldKind::Choice(choices) => choice(choices, typed).map(Value::from),
            FieldKind::Choices(choices) => {
                let parts = typed.split(',').map(str::trim).filter(|part| !part.is_empty());
                let mut values: Vec<&str> = Vec::new();
                for part in parts {
                    let value = choice(choices, part)?;
                    if !values.contains(&value) {
                        values.push(value);
                    }
                }
                Some(values.into())
            }
            FieldKind::Other(_) => serde_json::from_str(typed).ok(),
        }
    }
}

/// The value of the choice that a number or its words name.
fn choice<'a>(choices: &'a [FormChoice], typed: &str) -> Option<&'a str> {
    let number = typed.parse::<usize>().ok();
    let numbered = number.and_then(|number| choices.get(number.checked_sub(1)?));
    let named = choices.iter().find(|choice| {
        choice.title.eq_ignore_ascii_case(typed) || choice.value.eq_ignore_ascii_case(typed)
    });
    named.or(numbered).map(|choice| choice.value.as_str())
}

fn form_fields(schema: &RawValue) -> Vec<FormField> {
    let Ok([Some(properties), required]) = fields(schema.get(), ["properties", "required"]) else {
        return Vec::new();
    };
    let required = texts(required);
    let properties = entries(properties.get()).unwrap_or_default();
    let field = |(name, schema): (Cow<'_, str>, &RawValue)| {
        let [title, description, default] =
            fields(schema.get(), ["title", "description", "default"]).unwrap_or_default();
        FormField {
            title: owned(title).unwrap_or_else(|| name.to_string()),
            description: owned(description),
            kind: kind(schema),
            default: default.and_then(|value| serde_json::from_str(value.get()).ok()),
            required: required.contains(&name.to_string()),
            name: name.into_owned(),
        }
    };
    properties.into_iter().map(field).collect()
}

fn kind(schema: &RawValue) -> FieldKind {
    let [kind, items] = fields(schema.get(), ["type", "items"]).unwrap_or_default();
    let kind = text_of(kind);
    match (kind.as_deref(), choices(schema)) {
        (Some("string") | None, Some(choices)) => FieldKind::Choice(choices),
        (Some("string"), None) => FieldKind::Text,
        (Some("number"), _) => FieldKind::Number,
        (Some("integer"), _) => FieldKind::Integer,
        (Some("boolean"), _) => FieldKind::Boolean,
        (Some("array"), _) => match items.and_then(choices) {
            Some(choices) => FieldKind::Choices(choices),
            None => FieldKind::Other(schema.get().to_owned()),
        },
        _ => FieldKind::Other(schema.get().to_owned()),
    }
}

/// The values that a schema lists: each with its title, or names beside them.
fn choices(schema: &RawValue) -> Option<Vec<FormChoice>> {
    let names = ["enum", "enumNames", "oneOf", "anyOf"];
    let [values, titles, one_of, any_of] = fields(schema.get(), names).ok()?;
    if let Some(titled) = one_of.or(any_of) {
        let choice = |choice: &RawValue| {
            let [value, title] = fields(choice.get(), ["const", "title"]).ok()?;
            let value = owned(value)?;
            Some(FormChoice { title: owned(title).unwrap_or_else(|| value.clone()), value })
        };
        return elements(titled).ok()?.into_iter().map(choice).collect();
    }
    let titles = texts(titles);
    let choice = |(at, value): (usize, &RawValue)| {
        let value = string(value)?.into_owned();
        Some(FormChoice { title: titles.get(at).unwrap_or(&value).clone(), value })
    };
    elements(values?).ok()?.into_iter().enumerate().map(choice).collect()
}

fn owned(value: Option<&RawValue>) -> Option<String> {
    text_of(value).map(Cow::into_owned)
}

fn texts(list: Option<&RawValue>) -> Vec<String> {
    let list = list.and_then(|list| elements(list).ok()).unwrap_or_default();
    list.into_iter().filter_map(string).map(Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(properties: &str) -> Form {
        let request = format!(
            r#"{{"mcp_server_name":"s","message":"m","property_order":["b","a"],"requested_schema":{{"type":"object","required":["a"],"properties":{properties}}}}}"#
        );
        Form::read(&request).unwrap()
    }

    fn choice(value: &str, title: &str) -> FormChoice {
        FormChoice { value: value.into(), title: title.into() }
    }

    #[test]
    fn fields_stand_in_the_servers_order_with_what_is_said_of_them() {
        let form = form(
            r#"{"c":{"type":"integer"},"a":{"type":"string","title":"Your name","default":"Ada"},"b":{"type":"boolean","description":"really?"}}"#,
        );
        let names: Vec<_> = form.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["b", "a", "c"]);
        let [b, a, c] = &form.fields[..] else { panic!("{form:?}") };
        assert_eq!((b.required, a.required, c.required), (false, true, false));
        assert_eq!(
            (&*a.title, a.default.as_ref(), &*c.title),
            ("Your name", Some(&"Ada".into()), "c")
        );
        assert_eq!(b.description.as_deref(), Some("really?"));
    }

    #[test]
    fn each_kind_of_field_takes_its_values_alone() {
        let list = r#"["A","b"]"#;
        let titled = r#"[{"const":"a","title":"First"},{"const":"b"}]"#;
        for (schema, kind, typed) in [
            (r#"{"type":"string"}"#.to_owned(), FieldKind::Text, vec![("Ada", Some("Ada".into()))]),
            (
                r#"{"type":"integer"}"#.to_owned(),
                FieldKind::Integer,
                vec![("-3", Some((-3).into())), ("3.5", None)],
            ),
            (
                r#"{"type":"number"}"#.to_owned(),
                FieldKind::Number,
                vec![("3.5", Some(3.5.into())), ("x", None)],
            ),
            (
                r#"{"type":"boolean"}"#.to_owned(),
                FieldKind::Boolean,
                vec![("Yes", Some(true.into())), ("perhaps", None)],
            ),
            (
                format!(r#"{{"type":"string","enum":{list},"enumNames":["One"]}}"#),
                FieldKind::Choice(vec![choice("A", "One"), choice("b", "b")]),
                vec![("2", Some("b".into())), ("one", Some("A".into())), ("3", None), ("0", None)],
            ),
            (
                format!(r#"{{"type":"string","oneOf":{titled}}}"#),
                FieldKind::Choice(vec![choice("a", "First"), choice("b", "b")]),
                vec![("first", Some("a".into())), ("a", Some("a".into()))],
            ),
            (
                format!(r#"{{"type":"array","items":{{"anyOf":{titled}}}}}"#),
                FieldKind::Choices(vec![choice("a", "First"), choice("b", "b")]),
                vec![
                    ("2, first,2", Some(serde_json::json!(["b", "a"]))),
                    ("", Some(serde_json::json!([]))),
                    ("1,7", None),
                ],
            ),
            (
                r#"{"type":"array"}"#.to_owned(),
                FieldKind::Other(r#"{"type":"array"}"#.into()),
                vec![("[1]", Some(serde_json::json!([1]))), ("[", None)],
            ),
        ] {
            let form = form(&format!(r#"{{"a":{schema}}}"#));
            assert_eq!(form.fields[0].kind, kind, "{schema}");
            for (typed, value) in typed {
                assert_eq!(form.fields[0].read(typed), value, "{schema} {typed}");
            }
        }
    }
}
