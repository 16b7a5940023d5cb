//! What is known of a container from what commands reported: kept where the power is not cut.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// See the module.
#[derive(Debug)]
pub(crate) struct Known {
    dice: u64,
    /// What was reported to be recorded.
    pub(crate) recorded: BTreeSet<String>,
    /// What a command was about to add or remove when nobody reported any more.
    pub(crate) pending: Option<String>,
}

impl Known {
    pub(crate) fn new(seed: u64) -> Self {
        Self { dice: seed, recorded: BTreeSet::new(), pending: None }
    }

    pub(crate) fn read(control: &Path) -> Result<Self> {
        let value: Value = serde_json::from_slice(&fs::read(control.join("known"))?)?;
        let names = value["recorded"].as_array().into_iter().flatten();
        Ok(Self {
            dice: value["dice"].as_u64().context("a number")?,
            recorded: names.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            pending: value["pending"].as_str().map(str::to_owned),
        })
    }

    pub(crate) fn write(&self, control: &Path) -> Result<()> {
        let Self { dice, recorded, pending } = self;
        let text = json!({ "dice": dice, "recorded": recorded, "pending": pending }).to_string();
        let next = control.join("known.next");
        fs::write(&next, text)?;
        fs::rename(&next, control.join("known")).context("keep what is known")
    }

    /// xorshift64 (Marsaglia 2003): enough for a choice.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }
}
