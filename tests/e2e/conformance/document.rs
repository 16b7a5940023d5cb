//! The rows as a table of `docs/specification.md`, which may say nothing else.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use tests::World;

use super::groups;

const BEGIN: &str = "| number | MUST | peers of Debian 12 that do otherwise | story |\n";

/// The table as it has to be.
fn table() -> Result<String> {
    let mut rows: Vec<_> = groups()
        .into_iter()
        .flat_map(|(story, rows)| rows.into_iter().map(move |row| (story, row)))
        .collect();
    let place = |number: &str| -> (usize, u32) {
        let documents = ["bundle", "config", "runtime", "linux", "runtime-linux", "features"];
        let (document, count) = number.split_once('/').unwrap_or((number, ""));
        let document = documents.iter().position(|known| *known == document);
        (document.unwrap_or(documents.len()), count.parse().unwrap_or(u32::MAX))
    };
    rows.sort_by_key(|(_, row)| place(row.number));
    for pair in rows.windows(2) {
        ensure!(pair[0].1.number != pair[1].1.number, "{} is there twice", pair[0].1.number);
    }
    let mut text = format!("{BEGIN}| --- | --- | --- | --- |\n");
    for (story, row) in rows {
        let mut otherwise = row.otherwise.clone();
        // The same is said once.
        let both = otherwise.len() == 2 && otherwise[0].1 == otherwise[1].1;
        let peers = match both {
            true => format!("both: {}", otherwise.remove(0).1),
            false => {
                let list: Vec<_> =
                    otherwise.iter().map(|(peer, why)| format!("{peer}: {why}")).collect();
                list.join("; ")
            }
        };
        writeln!(text, "| {} | {} | {peers} | `{story}` |", row.number, row.sentence)?;
    }
    Ok(text)
}

pub(super) fn lists_every_row(world: &World) -> Result<()> {
    let text = include_str!("../../../docs/specification.md");
    let wanted = table()?;
    if !text.contains(&wanted) {
        let path = world.path("table.md");
        std::fs::write(&path, &wanted)?;
        anyhow::bail!("docs/specification.md has not this table:\n{wanted}");
    }
    Ok(())
}
