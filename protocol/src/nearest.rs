//! The known name that somebody may have meant.

/// Longest name that is compared, in characters.
const MAX_CHARS: usize = 64;

/// Returns the name of `known` that `name` was probably meant to be: the same
/// but for case and separators, or with one or two typing errors.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = folded(name);
    if name.is_empty() || name.len() > MAX_CHARS {
        return None;
    }
    // A short name has many neighbours.
    let limit = match name.len() {
        0..=2 => 0,
        3..=6 => 1,
        _ => 2,
    };
    known
        .into_iter()
        .map(|known| (distance(&name, &folded(known)), known))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

fn folded(name: &str) -> Vec<char> {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-' | '.' | ' '));
    letters.take(MAX_CHARS + 1).flat_map(char::to_lowercase).collect()
}

/// Returns the number of characters to add, drop, replace or swap with their
/// neighbour that make `a` out of `b`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, left) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in b.iter().enumerate() {
            let above = &rows[i];
            let replaced = above[j] + usize::from(left != right);
            let mut best = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *left == b[j - 1] && a[i - 1] == *right {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_and_spellings_are_found_and_other_names_are_not() {
        let known = ["model", "maxTurns", "allowedTools", "cwd", "env", "systemPrompt"];
        for (name, found) in [
            ("modle", Some("model")),
            ("Model", Some("model")),
            ("modell", Some("model")),
            ("max_turns", Some("maxTurns")),
            ("ALLOWED-TOOLS", Some("allowedTools")),
            ("allowdTool", Some("allowedTools")),
            ("systemPromt", Some("systemPrompt")),
            ("en", None),
            ("debug", None),
            ("e2bApiKey", None),
            ("template", None),
            ("", None),
            ("___", None),
        ] {
            assert_eq!(nearest(name, known), found, "{name}");
        }
        assert_eq!(nearest(&"m".repeat(100_000), known), None);
    }
}
