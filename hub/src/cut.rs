//! Texts that are shortened.

/// Returns a text of at most about `limit` bytes, which says if it was cut.
pub(crate) fn cut(mut text: String, limit: usize) -> String {
    if text.len() <= limit {
        return text;
    }
    let whole = text.len();
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(&format!("… (cut by the hub: {whole} bytes)"));
    text
}
