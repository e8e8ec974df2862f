//! The published protobuf files as a validator of envd's calls.

use prost_reflect::{DescriptorPool, DynamicMessage};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

const FILESYSTEM: &str = include_str!("../../e2b-spec/envd/filesystem/filesystem.proto");
const NAME: &str = "filesystem/filesystem.proto";

pub(crate) struct Proto {
    pool: DescriptorPool,
}

struct Embedded;

impl FileResolver for Embedded {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            NAME => File::from_source(name, FILESYSTEM),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

impl Proto {
    pub(crate) fn new() -> Self {
        let mut resolver = ChainFileResolver::new();
        resolver.add(Embedded);
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true).open_file(NAME).expect("the published file compiles");
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
        let service = self.pool.get_service_by_name("filesystem.Filesystem");
        let found =
            service.and_then(|service| service.methods().find(|found| found.name() == method));
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
        let proto = Proto::new();
        assert!(proto.validate("ListDir", br#"{"path":"/a","depth":1}"#).is_empty());
        for bad in [r#"{"path":1}"#, r#"{"pth":"/a"}"#, "{", r#"{"depth":-1}"#] {
            assert!(!proto.validate("ListDir", bad.as_bytes()).is_empty(), "{bad}");
        }
        assert!(!proto.validate("Nope", b"{}").is_empty());
    }
}
