//! The published protobuf files as a validator of envd's calls.

use prost_reflect::{DescriptorPool, DynamicMessage};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

/// The files by the names that they have for each other.
const FILES: [(&str, &str); 2] = [
    (
        "filesystem/filesystem.proto",
        include_str!("../../e2b-spec/envd/filesystem/filesystem.proto"),
    ),
    ("process/process.proto", include_str!("../../e2b-spec/envd/process/process.proto")),
];

pub(crate) struct Proto {
    pool: DescriptorPool,
}

struct Embedded;

impl FileResolver for Embedded {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match FILES.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

impl Proto {
    pub(crate) fn new() -> Self {
        let mut resolver = ChainFileResolver::new();
        resolver.add(Embedded);
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true);
        for (name, _) in FILES {
            compiler.open_file(name).expect("the published file compiles");
        }
        Self { pool: compiler.descriptor_pool() }
    }

    /// Violations in the JSON of a call, unknown fields among them.
    pub(crate) fn validate(&self, method: &str, json: &[u8]) -> Vec<String> {
        self.validate_message(method, json, false)
    }

    /// Violations in the JSON of the fake's own answer.
    pub(crate) fn validate_answer(&self, method: &str, json: &[u8]) -> Vec<String> {
        self.validate_message(method, json, true)
    }

    fn validate_message(&self, method: &str, json: &[u8], answer: bool) -> Vec<String> {
        let found = method.split_once('/').and_then(|(service, method)| {
            let service = self.pool.get_service_by_name(service)?;
            service.methods().find(|found| found.name() == method)
        });
        let Some(found) = found else {
            return vec![format!("envd has no call {method}")];
        };
        let message = if answer { found.output() } else { found.input() };
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        match DynamicMessage::deserialize(message, &mut deserializer) {
            Ok(_) => Vec::new(),
            Err(error) => vec![error.to_string()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_requests_are_rejected() {
        const LIST: &str = "filesystem.Filesystem/ListDir";
        let proto = Proto::new();
        assert!(proto.validate(LIST, br#"{"path":"/a","depth":1}"#).is_empty());
        for bad in [r#"{"path":1}"#, r#"{"pth":"/a"}"#, "{", r#"{"depth":-1}"#] {
            assert!(!proto.validate(LIST, bad.as_bytes()).is_empty(), "{bad}");
        }
        assert!(!proto.validate("Nope", b"{}").is_empty());
    }
}
