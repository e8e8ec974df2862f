//! Body of a multipart form with files.

/// Encodes files as parts of one form field, each under its full path. Returns
/// the boundary and the body. The boundary is one that occurs in no file: it
/// needs no random number, and the same files give the same bytes.
pub(crate) fn multipart(field: &str, files: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let occurs = |boundary: &String| {
        let finder = memchr::memmem::Finder::new(boundary.as_bytes());
        files.iter().any(|(_, content)| finder.find(content).is_some())
    };
    let mut boundary = "claude-relay-boundary".to_owned();
    let mut number: u64 = 0;
    while occurs(&boundary) {
        boundary = format!("claude-relay-boundary-{number}");
        number += 1;
    }
    let content: usize = files.iter().map(|(path, content)| path.len() + content.len()).sum();
    let mut body = Vec::with_capacity(content + (files.len() + 1) * 160);
    for (path, content) in files {
        let path = quoted(path);
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{path}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (boundary, body)
}

/// Quotes a path, escaped like in every browser.
fn quoted(path: &str) -> String {
    path.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_occurs_in_no_file() {
        let nasty = b"--claude-relay-boundary\r\n claude-relay-boundary-0 x";
        let (boundary, body) = multipart("file", &[("a", nasty), ("b", b"")]);
        assert_eq!(boundary, "claude-relay-boundary-1");
        assert!(body.ends_with(b"--claude-relay-boundary-1--\r\n"));
    }

    #[test]
    fn a_path_cannot_end_its_quotes() {
        let (_, body) = multipart("file", &[("a\"\r\nX: y", b"1")]);
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("filename=\"a%22%0D%0AX: y\""), "{body}");
    }
}
