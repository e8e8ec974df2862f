//! The published OpenAPI files as a validator of requests and answers.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// One OpenAPI document, ready to validate.
pub(crate) struct Spec {
    paths: Vec<PathItem>,
}

struct PathItem {
    /// The path as written, `/sandboxes/{sandboxID}`.
    template: String,
    operations: BTreeMap<String, Operation>,
}

struct Operation {
    query: Vec<Parameter>,
    /// The kinds of body that are taken, with the schema of the JSON one.
    bodies: BTreeMap<String, Option<Schema>>,
    body_required: bool,
    answers: BTreeMap<String, Option<Schema>>,
    /// The header that a request must carry a key in, if any is asked for.
    key_header: Option<String>,
}

struct Parameter {
    name: String,
    required: bool,
    kind: Value,
    schema: Schema,
}

/// A schema that is made ready when it is first needed: there are hundreds,
/// and a test needs five.
struct Schema {
    components: Arc<Value>,
    schema: Value,
    ready: OnceLock<Validator>,
}

impl Schema {
    fn validator(&self) -> &Validator {
        self.ready.get_or_init(|| {
            // The document's other schemas stand beside it to be referred to.
            let whole = json!({ "components": *self.components, "allOf": [self.schema] });
            jsonschema::draft202012::new(&whole).expect("the specification's schemas are sound")
        })
    }
}

/// A request as the validator sees it.
pub(crate) struct CheckedRequest<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a [(String, String)],
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) body: &'a [u8],
}

impl Spec {
    /// Reads a document, with others laid over it. `key_header` is what its
    /// security comes down to.
    pub(crate) fn parse(texts: &[&str], key_header: &str) -> Self {
        let mut document = Value::Null;
        for text in texts {
            let part = serde_saphyr::from_str(text).expect("the specification is YAML");
            lay_over(&mut document, part);
        }
        let document = three_one(document);
        // A request may hold nothing that the specification does not know; an
        // answer may, since servers grow.
        let closed = close(document.clone(), false);
        let schemas =
            |document: &Value| Arc::new(json!({ "schemas": document["components"]["schemas"] }));
        let (open, closed_schemas) = (schemas(&document), schemas(&closed));
        let mut paths = Vec::new();
        for (template, item) in object(&document["paths"]) {
            let shared = array(&item["parameters"]);
            let mut operations = BTreeMap::new();
            for method in ["get", "post", "put", "delete", "patch"] {
                let operation = &item[method];
                if operation.is_null() {
                    continue;
                }
                let parameters = shared.iter().chain(array(&operation["parameters"]));
                let query = parameters
                    .map(|parameter| resolve(&document, parameter))
                    .filter(|parameter| parameter["in"] == "query")
                    .map(|parameter| Parameter {
                        name: text_of(&parameter["name"]),
                        required: parameter["required"] == true,
                        kind: resolve(&document, &parameter["schema"])["type"].clone(),
                        schema: schema(&open, &parameter["schema"]),
                    })
                    .collect();
                let body = resolve(&document, &operation["requestBody"]);
                let closed_body =
                    resolve(&closed, &closed["paths"][template][method]["requestBody"]);
                let bodies = object(&closed_body["content"])
                    .map(|(kind, content)| {
                        let json = kind == "application/json";
                        (kind.clone(), json.then(|| schema(&closed_schemas, &content["schema"])))
                    })
                    .collect();
                let answers = object(&operation["responses"])
                    .map(|(status, answer)| {
                        let content = &resolve(&document, answer)["content"]["application/json"];
                        let found = &content["schema"];
                        (status.clone(), (!found.is_null()).then(|| schema(&open, found)))
                    })
                    .collect();
                let secured = !array(&operation["security"]).is_empty();
                operations.insert(
                    method.to_uppercase(),
                    Operation {
                        query,
                        bodies,
                        body_required: body["required"] == true,
                        answers,
                        key_header: secured.then(|| key_header.to_owned()),
                    },
                );
            }
            paths.push(PathItem { template: template.clone(), operations });
        }
        // A literal path beats one with a place for a name in it.
        paths.sort_by_key(|path| path.template.matches('{').count());
        Self { paths }
    }

    /// The path of the specification that fits, `None` if none does.
    pub(crate) fn route(&self, method: &str, path: &str) -> Option<&str> {
        let item = self
            .paths
            .iter()
            .find(|item| fits(&item.template, path) && item.operations.contains_key(method))?;
        Some(&item.template)
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Operation> {
        let item = self
            .paths
            .iter()
            .find(|item| fits(&item.template, path) && item.operations.contains_key(method))?;
        item.operations.get(method)
    }

    /// Violations in a request.
    pub(crate) fn validate(&self, request: &CheckedRequest<'_>) -> Vec<String> {
        let Some(operation) = self.operation(request.method, request.path) else {
            return vec!["the specification does not know it".to_owned()];
        };
        let mut wrong = Vec::new();
        if let Some(header) = &operation.key_header
            && !request.headers.contains_key(header)
        {
            wrong.push(format!("no {header}"));
        }
        for parameter in &operation.query {
            let found = request.query.iter().find(|(name, _)| *name == parameter.name);
            match found {
                None if parameter.required => wrong.push(format!("no query {}", parameter.name)),
                None => {}
                Some((name, value)) => {
                    let value = typed(&parameter.kind, value);
                    let errors = parameter.schema.validator().iter_errors(&value);
                    wrong.extend(errors.map(|error| format!("query {name}: {error}")));
                }
            }
        }
        for (name, _) in request.query {
            if !operation.query.iter().any(|parameter| parameter.name == *name) {
                wrong.push(format!("unknown query {name}"));
            }
        }
        let kind = request.headers.get("content-type").map(String::as_str).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        match operation.bodies.get(kind) {
            _ if request.body.is_empty() && !operation.body_required => {}
            None if request.body.is_empty() => wrong.push("no body".to_owned()),
            None => wrong.push(format!("a body of type {kind:?}")),
            Some(None) => {}
            Some(Some(schema)) => match serde_json::from_slice::<Value>(request.body) {
                Err(error) => wrong.push(format!("the body is no JSON: {error}")),
                Ok(body) => {
                    let errors = schema.validator().iter_errors(&body);
                    wrong.extend(
                        errors.map(|error| format!("body{}: {error}", error.instance_path())),
                    );
                }
            },
        }
        wrong
    }

    /// Violations in an answer of the fake itself: a fake that lies
    /// would make the tests worthless.
    pub(crate) fn validate_answer(
        &self,
        method: &str,
        path: &str,
        status: u16,
        body: &[u8],
    ) -> Vec<String> {
        let Some(operation) = self.operation(method, path) else {
            return Vec::new();
        };
        let Some(answer) = operation.answers.get(&status.to_string()) else {
            // Refusals that the specification does not list are documented
            // elsewhere; a success must be listed.
            return match status {
                200..=299 => vec![format!("the specification knows no answer {status}")],
                _ => Vec::new(),
            };
        };
        let Some(schema) = answer else {
            return Vec::new();
        };
        match serde_json::from_slice::<Value>(body) {
            Err(error) => vec![format!("the answer is no JSON: {error}")],
            Ok(body) => schema
                .validator()
                .iter_errors(&body)
                .map(|error| format!("answer{}: {error}", error.instance_path()))
                .collect(),
        }
    }
}

/// Lays one value over another, object by object.
fn lay_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (name, value) in above {
                lay_over(below.entry(name).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template.zip(path).all(|(wanted, found)| wanted.starts_with('{') || wanted == found)
}

/// A query value as the type that its schema says.
fn typed(kind: &Value, value: &str) -> Value {
    match kind.as_str() {
        Some("integer" | "number") => serde_json::from_str(value).unwrap_or_else(|_| value.into()),
        Some("boolean") => value.parse::<bool>().map_or_else(|_| value.into(), Value::from),
        Some("array") => value.split(',').map(Value::from).collect(),
        _ => value.into(),
    }
}

fn schema(components: &Arc<Value>, schema: &Value) -> Schema {
    Schema { components: Arc::clone(components), schema: schema.clone(), ready: OnceLock::new() }
}

fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => document.pointer(pointer).unwrap_or(&Value::Null),
        None => value,
    }
}

/// OpenAPI 3.0 says `nullable`, JSON Schema says a list of types.
fn three_one(value: Value) -> Value {
    match value {
        Value::Object(mut map) => {
            if map.get("nullable") == Some(&Value::Bool(true))
                && let Some(kind) = map.get("type").cloned()
            {
                map.insert("type".to_owned(), json!([kind, "null"]));
            }
            // Both are limits in 3.0 and something else in JSON Schema.
            for limit in ["exclusiveMinimum", "exclusiveMaximum"] {
                if map.get(limit).is_some_and(Value::is_boolean) {
                    map.remove(limit);
                }
            }
            map.into_iter()
                .map(|(name, value)| (name, three_one(value)))
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.into_iter().map(three_one).collect(),
        other => other,
    }
}

/// Allows in an object nothing but its properties, unless it is put together
/// from several.
fn close(value: Value, within_all_of: bool) -> Value {
    match value {
        Value::Object(mut map) => {
            let is_object = map.get("properties").is_some_and(Value::is_object);
            let open = within_all_of
                || map.contains_key("allOf")
                || map.contains_key("additionalProperties");
            if is_object && !open {
                map.insert("additionalProperties".to_owned(), false.into());
            }
            map.into_iter()
                .map(|(name, value)| {
                    let inside = name == "allOf" || (within_all_of && value.is_object());
                    (name, close(value, inside))
                })
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.into_iter().map(|item| close(item, within_all_of)).collect(),
        other => other,
    }
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validate(method: &str, path: &str, body: &str) -> Vec<String> {
        let spec = Spec::parse(
            &[
                include_str!("../../e2b-spec/openapi.yml"),
                include_str!("../../e2b-spec/second-generation.yml"),
            ],
            "x-api-key",
        );
        let headers = BTreeMap::from([
            ("x-api-key".to_owned(), "k".to_owned()),
            ("content-type".to_owned(), "application/json".to_owned()),
        ]);
        let body = body.as_bytes();
        spec.validate(&CheckedRequest { method, path, query: &[], headers: &headers, body })
    }

    #[test]
    fn bad_requests_are_rejected() {
        let good = r#"{"templateID":"base","timeout":300,"secure":true,"metadata":{"a":"b"}}"#;
        assert_eq!(validate("POST", "/sandboxes", good), Vec::<String>::new());
        for bad in [
            "{}",
            "",
            "{",
            r#"{"templateID":"base","timeout":"300"}"#,
            r#"{"templateID":"base","templateld":"x"}"#,
            r#"{"templateID":"base","metadata":{"a":1}}"#,
            r#"{"templateID":"base","network":{"allowPublicTrafic":false}}"#,
        ] {
            assert!(!validate("POST", "/sandboxes", bad).is_empty(), "{bad}");
        }
        assert!(!validate("POST", "/v2/sandboxes", good).is_empty(), "it is always secure");
        let second = r#"{"templateID":"base","network":{"dnsServers":["1.1.1.1"]}}"#;
        assert_eq!(validate("POST", "/v2/sandboxes", second), Vec::<String>::new());
        assert!(!validate("POST", "/v3/templates", r#"{"name":"a","cpuCount":0}"#).is_empty());
        let step = r#"{"steps":[{"args":["x"]}]}"#;
        assert!(!validate("POST", "/v2/templates/t/builds/b", step).is_empty());
    }
}
