//! Tables that are readable both on a terminal and as Markdown.

/// Rows of cells; the first row is the heading.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Table {
        let mut table = Table::default();
        table.row(heading.iter().map(|cell| (*cell).to_owned()));
        table
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }

    fn line(&self, cells: &[String]) -> String {
        let cells = cells.iter().enumerate().map(|(column, cell)| {
            let width = self.width(column);
            // The first column is text, the others are numbers.
            if column == 0 { format!(" {cell:<width$} |") } else { format!(" {cell:>width$} |") }
        });
        format!("|{}\n", cells.collect::<String>())
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, row) in self.rows.iter().enumerate() {
            f.write_str(&self.line(row))?;
            if position == 0 {
                let dashes = (0..row.len()).map(|column| {
                    let dashes = "-".repeat(self.width(column) + 1);
                    if column == 0 { format!("{dashes}-|") } else { format!("{dashes}:|") }
                });
                writeln!(f, "|{}", dashes.collect::<String>())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["", "size"]);
        table.row(["ours".to_owned(), "1".to_owned()]);
        assert_eq!(table.to_string(), "|      | size |\n|------|-----:|\n| ours |    1 |\n");
    }
}
