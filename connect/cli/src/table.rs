//! Rows for a terminal.

use crate::plain;

/// Rows under a heading, each column as wide as its widest cell; numbers to the right.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    // Codes, values and names of clients are whatever messages and peers say.
    let shown = |row: &[String; N]| row.each_ref().map(|cell| plain::line(cell).into_owned());
    let rows: Vec<[String; N]> = rows.iter().map(shown).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let mut push = |cells: [&str; N]| {
        let mut line = String::new();
        for (cell, width) in cells.into_iter().zip(widths) {
            let is_number = cell.starts_with(|c: char| c.is_ascii_digit() || c == '-');
            let cell = if is_number { format!("{cell:>width$}") } else { format!("{cell:width$}") };
            line.push_str(&cell);
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    push(heading);
    for row in &rows {
        push(std::array::from_fn(|column| row[column].as_str()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [["orders".to_owned(), "7".to_owned()], ["é".to_owned(), "1,000".to_owned()]];
        let expected = "topic   messages\norders         7\né          1,000\n";
        assert_eq!(table(["topic", "messages"], &rows), expected);
        let expected = "topic       n\na\\u{1b}[2J  7\n";
        assert_eq!(table(["topic", "n"], &[["a\x1b[2J".to_owned(), "7".to_owned()]]), expected);
    }
}
