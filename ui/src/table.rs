//! Rows for eyes. Columns are as wide as their widest cell; nothing is coloured or cut.

use crate::escape;

/// A header and rows of as many cells.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

const GAP: &str = "   ";

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new<S: Into<String>>(headings: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![headings.into_iter().map(Into::into).collect()] }
    }

    /// A table of bare rows.
    #[must_use]
    pub fn headless() -> Self {
        Self::default()
    }

    /// Adds a row; its text may be untrusted.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows
            .push(cells.into_iter().map(|cell| escape::line(cell.as_ref()).into_owned()).collect());
    }

    /// The text, one line a row.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max()
            })
            .map(Option::unwrap_or_default)
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                if !line.is_empty() {
                    line.push_str(GAP);
                }
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn columns_line_up_and_cells_are_escaped() {
        let mut table = Table::new(["CONTAINER ID", "NAMES"]);
        table.row(["abc", "web\x07"]);
        table.row(["abcdefabcdef", "a"]);
        expect![[r#"
            CONTAINER ID   NAMES
            abc            web\u{7}
            abcdefabcdef   a
        "#]]
        .assert_eq(&table.render());
    }
}
