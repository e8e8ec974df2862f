//! The published protobuf files as a judge of envd's calls.

use prost_reflect::{DescriptorPool, DynamicMessage};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

const FILESYSTEM: &str = include_str!("../spec/envd/filesystem/filesystem.proto");
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

    /// What is wrong with the JSON of a call; unknown fields are.
    pub(crate) fn judge(&self, method: &str, json: &[u8]) -> Vec<String> {
        self.judge_message(method, json, false)
    }

    /// What is wrong with the JSON of the fake's own answer.
    pub(crate) fn judge_answer(&self, method: &str, json: &[u8]) -> Vec<String> {
        self.judge_message(method, json, true)
    }

    fn judge_message(&self, method: &str, json: &[u8], answer: bool) -> Vec<String> {
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
    fn a_judge_that_accepts_all_would_be_worth_nothing() {
        let proto = Proto::new();
        assert!(proto.judge("ListDir", br#"{"path":"/a","depth":1}"#).is_empty());
        for bad in [r#"{"path":1}"#, r#"{"pth":"/a"}"#, "{", r#"{"depth":-1}"#] {
            assert!(!proto.judge("ListDir", bad.as_bytes()).is_empty(), "{bad}");
        }
        assert!(!proto.judge("Nope", b"{}").is_empty());
    }
}
