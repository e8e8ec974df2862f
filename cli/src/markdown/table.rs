//! Tables: rows between bars, laid out in columns.

use unicode_width::UnicodeWidthStr as _;

use super::inline::{Parsed, Span, Style, parse};
use super::wrap::paint;

/// The most rows that are laid out together. Those behind them are a table of
/// their own.
const MAX_ROWS: usize = 500;

/// Rows that have come so far.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<Vec<Span>>>,
    has_head: bool,
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= MAX_ROWS
    }

    /// Adds a line that begins with a bar.
    pub(super) fn add(&mut self, line: &str) {
        let cells = cells(line);
        let is_rule = cells.iter().all(|cell| {
            !cell.is_empty()
                && cell.trim_matches(':').chars().all(|c| c == '-')
                && cell.contains('-')
        });
        if is_rule && self.rows.len() == 1 {
            self.has_head = true;
            return;
        }
        let is_head = self.rows.is_empty();
        let style = Style { bold: is_head, ..Style::default() };
        self.rows.push(
            cells
                .iter()
                .map(|cell| {
                    let Parsed { spans, .. } = parse(cell, style);
                    spans
                })
                .collect(),
        );
    }

    /// Writes the rows so far, and begins anew.
    pub(super) fn finish(&mut self, out: &mut String) {
        let Self { rows, has_head } = std::mem::take(self);
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cell = |row: &Vec<Vec<Span>>| row.get(column).map_or(0, |cell| width(cell));
            rows.iter().map(cell).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in rows.iter().enumerate() {
            for (column, most) in widths.iter().enumerate() {
                if column > 0 {
                    out.push_str(" │ ");
                }
                let spans = row.get(column).map_or(&[][..], Vec::as_slice);
                for Span { style, text } in spans {
                    paint(text, *style, out);
                }
                if column + 1 < columns {
                    out.push_str(&" ".repeat(most - self::width(spans)));
                }
            }
            out.push('\n');
            if number == 0 && has_head {
                let rule: Vec<String> = widths.iter().map(|most| "─".repeat(*most)).collect();
                out.push_str(&rule.join("─┼─"));
                out.push('\n');
            }
        }
    }
}

fn width(spans: &[Span]) -> usize {
    spans.iter().map(|span| span.text.width()).sum()
}

/// The cells of a row. A bar behind a backslash or in code is text.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim();
    let line = line.strip_prefix('|').unwrap_or(line);
    let mut cells = vec![String::new()];
    let mut in_code = false;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        let cell = cells.last_mut();
        match (c, cell) {
            ('\\', Some(cell)) if characters.peek() == Some(&'|') => {
                cell.extend(characters.next());
            }
            ('|', _) if !in_code => cells.push(String::new()),
            (c, Some(cell)) => {
                in_code ^= c == '`';
                cell.push(c);
            }
            (_, None) => {}
        }
    }
    if cells.len() > 1 && cells.last().is_some_and(|cell| cell.trim().is_empty()) {
        cells.pop();
    }
    cells.into_iter().map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(lines: &[&str]) -> String {
        let mut table = Table::default();
        for line in lines {
            table.add(line);
        }
        let mut out = String::new();
        table.finish(&mut out);
        assert!(table.is_empty());
        out.replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[36m", "")
    }

    #[test]
    fn cells_stand_below_each_other() {
        assert_eq!(
            laid_out(&["| a | name |", "|---|:---:|", "| 漢字 | `x|y` |", r"| b \| c | |"]),
            "a     │ name\n──────┼─────\n漢字  │ x|y\nb | c │ \n"
        );
        assert_eq!(laid_out(&["| one", "| two | three |"]), "one │ \ntwo │ three\n");
    }
}
