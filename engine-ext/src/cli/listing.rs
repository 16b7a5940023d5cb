//! What every command that lists something does with `--format`.

use anyhow::{Context, Result};
use serde_json::Value;
use ui::table::Table;
use ui::template::Template;

/// A field of the values and its heading.
pub(super) type Column = (&'static str, &'static str);

/// A table of `columns`, one JSON document, or a template for each value; `further` columns are
/// there for a template that names them.
pub(super) fn render(
    format: Option<&str>,
    columns: &[Column],
    further: &[Column],
    values: &[Value],
) -> Result<String> {
    match format {
        None | Some("table") => Ok(table(columns, values)),
        Some("json") => Ok(format!("{:#}\n", Value::Array(values.to_vec()))),
        Some(format) => match format.strip_prefix("table ") {
            Some(template) => {
                let template = Template::parse(template)?;
                let find = |field| column(columns, further, field);
                let columns = template.fields().map(find).collect::<Result<Vec<_>>>()?;
                Ok(table(&columns, values))
            }
            None => {
                let template = Template::parse(format)?;
                let lines = values.iter().map(|value| {
                    template.render(value).map(|line| ui::escape::line(&line).into_owned() + "\n")
                });
                Ok(lines.collect::<Result<String, _>>()?)
            }
        },
    }
}

fn column(columns: &[Column], further: &[Column], field: &str) -> Result<Column> {
    let known = columns.iter().chain(further).find(|(name, _)| *name == field).copied();
    known.with_context(|| {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        format!("there is no column {field:?}; there are {}", names.join(", "))
    })
}

fn table(columns: &[Column], values: &[Value]) -> String {
    let mut table = Table::new(columns.iter().map(|(_, heading)| *heading));
    for value in values {
        let cell = |(field, _): &Column| match &value[*field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        table.row(columns.iter().map(cell));
    }
    table.render()
}
