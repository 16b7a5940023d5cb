//! Everything that is wrong with a command line, told at once.

use anyhow::Result;
use ui::report::Many;

/// What is wrong, found so far.
#[derive(Debug, Default)]
pub struct Findings(Vec<anyhow::Error>);

impl Findings {
    /// The value, or its default with the error kept for later.
    pub fn take<T: Default>(&mut self, result: Result<T>) -> T {
        result.unwrap_or_else(|error| {
            self.0.push(error);
            T::default()
        })
    }

    /// Keeps an error for later.
    pub fn note(&mut self, result: Result<()>) {
        self.take(result);
    }

    /// Reads what was given, if it was.
    pub fn maybe<T>(
        &mut self,
        text: Option<&str>,
        read: impl FnOnce(&str) -> Result<T>,
    ) -> Option<T> {
        self.take(text.map(read).transpose())
    }

    /// Reads each of several.
    pub fn each<T>(&mut self, texts: &[String], read: impl Fn(&str) -> Result<T>) -> Vec<T> {
        texts.iter().filter_map(|text| self.take(read(text).map(Some))).collect()
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it as one error.
    pub fn check(self) -> Result<()> {
        Many::check(self.0)
    }
}
