//! What is shown and how: the daemon's options, its configuration file, a container's overrides.
//!
//! The file has `key = value` lines; a `[container PATTERN]` line starts overrides for containers
//! whose id matches (`*` stands for anything; without one, an id or the start of one). Later
//! sections win. Containers of the shared `proc/` tree, whose id nobody told us, get the defaults.

use std::str::FromStr;

use crate::view::cpuinfo::{Numbering, Topology};

/// A file, or a group of files, that can be switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the file of that name")]
pub enum File {
    Cpuinfo,
    Diskstats,
    Loadavg,
    Meminfo,
    Partitions,
    Pressure,
    Slabinfo,
    Stat,
    Swaps,
    SysCpu,
    Uptime,
}

impl File {
    /// All of them, in the order of their names.
    pub const ALL: [File; 11] = [
        File::Cpuinfo,
        File::Diskstats,
        File::Loadavg,
        File::Meminfo,
        File::Partitions,
        File::Pressure,
        File::Slabinfo,
        File::Stat,
        File::Swaps,
        File::SysCpu,
        File::Uptime,
    ];

    /// Its name in the configuration file.
    pub fn name(self) -> &'static str {
        match self {
            File::Cpuinfo => "cpuinfo",
            File::Diskstats => "diskstats",
            File::Loadavg => "loadavg",
            File::Meminfo => "meminfo",
            File::Partitions => "partitions",
            File::Pressure => "pressure",
            File::Slabinfo => "slabinfo",
            File::Stat => "stat",
            File::Swaps => "swaps",
            File::SysCpu => "sys-cpu",
            File::Uptime => "uptime",
        }
    }
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The container's own values.
    #[default]
    On,
    /// The file is not there, so nothing is mounted over the host's.
    Off,
    /// The file is there and shows the host's values.
    Passthrough,
}

/// What the kernel may keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cache {
    /// Nothing.
    Off,
    /// Files that change with limits, not with usage.
    #[default]
    On,
    /// meminfo too. A reader that takes it in small pieces may get some from one moment and some
    /// from another.
    All,
}

/// Everything that decides how one container's files look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    modes: [Mode; File::ALL.len()],
    /// How `cpuinfo` and `topology/` place the CPUs.
    pub topology: Topology,
    /// By what numbers the CPUs go.
    pub numbering: Numbering,
    /// Whether a CPU quota bounds the number of CPUs.
    pub quota: bool,
    /// Whether swap is shown (`--disable-swap` clears it).
    pub swap: bool,
    /// Whether zswap is shown (`--disable-zswap` clears it).
    pub zswap: bool,
    /// Leave out what we do not know instead of showing the host's.
    pub strict: bool,
    /// What of a container's own files the kernel may keep for up to 100 ms.
    pub cache: Cache,
}

impl Default for Settings {
    fn default() -> Settings {
        let mut settings = Settings {
            modes: [Mode::On; File::ALL.len()],
            topology: Topology::Flat,
            numbering: Numbering::Virtual,
            quota: true,
            swap: true,
            zswap: true,
            strict: false,
            cache: Cache::On,
        };
        // Counting every container's threads is paid for only where somebody asked for it.
        settings.set_mode(File::Loadavg, Mode::Passthrough);
        settings
    }
}

impl Settings {
    /// What becomes of `file`.
    pub fn mode(&self, file: File) -> Mode {
        self.modes[file as usize]
    }

    /// Changes it.
    pub fn set_mode(&mut self, file: File, mode: Mode) {
        self.modes[file as usize] = mode;
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        if let Some(file) = File::ALL.into_iter().find(|file| file.name() == key) {
            self.set_mode(file, value.parse()?);
            return Ok(());
        }
        match key {
            "topology" => self.topology = value.parse()?,
            "numbering" => self.numbering = value.parse()?,
            "quota" => self.quota = switch(value)?,
            "swap" => self.swap = switch(value)?,
            "zswap" => self.zswap = switch(value)?,
            "strict" => self.strict = switch(value)?,
            "cache" => self.cache = value.parse()?,
            _ => {
                let files: Vec<_> = File::ALL.iter().map(|file| file.name()).collect();
                return Err(format!(
                    "unknown key \"{key}\"; known are {}, topology, numbering, quota, swap, zswap, \
                     strict, cache",
                    files.join(", ")
                ));
            }
        }
        Ok(())
    }
}

/// The defaults and what single containers have otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// For every container without an override.
    pub defaults: Settings,
    overrides: Vec<Override>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Override {
    pattern: String,
    changes: Vec<(String, String)>,
}

impl Config {
    /// The same for every container.
    pub fn new(defaults: Settings) -> Config {
        Config { defaults, overrides: Vec::new() }
    }

    /// Reads the text of a configuration file on top of `defaults`. The error names the line.
    pub fn parse(text: &str, defaults: Settings) -> Result<Config, String> {
        let mut config = Config::new(defaults);
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                config.line(line).map_err(|cause| format!("line {}: {cause}", index + 1))?;
            }
        }
        Ok(config)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(section) = line.strip_prefix('[') {
            let pattern = section
                .strip_suffix(']')
                .and_then(|section| section.trim().strip_prefix("container "))
                .map(str::trim)
                .filter(|pattern| !pattern.is_empty())
                .ok_or_else(|| format!("bad section \"{line}\"; write [container ID]"))?;
            self.overrides.push(Override { pattern: pattern.into(), changes: Vec::new() });
            return Ok(());
        }
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| format!("\"{line}\" has no \"=\"; write KEY = VALUE"))?;
        let (key, value) = (key.trim(), value.trim());
        match self.overrides.last_mut() {
            None => self.defaults.set(key, value),
            Some(section) => {
                Settings::default().set(key, value)?;
                section.changes.push((key.into(), value.into()));
                Ok(())
            }
        }
    }

    /// What holds for the container `id`.
    pub fn of(&self, id: &str) -> Settings {
        let mut settings = self.defaults.clone();
        for section in self.overrides.iter().filter(|section| matches(&section.pattern, id)) {
            for (key, value) in &section.changes {
                let set = settings.set(key, value);
                debug_assert!(set.is_ok(), "checked when the file was read");
            }
        }
        settings
    }
}

fn matches(pattern: &str, id: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| id.strip_prefix(first)) else { return false };
    if !pattern.contains('*') {
        return true;
    }
    let mut rest = rest;
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty() || pattern.ends_with('*')
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "on" | "yes" | "true" => Ok(true),
        "off" | "no" | "false" => Ok(false),
        _ => Err(format!("bad value \"{value}\"; write on or off")),
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(value: &str) -> Result<Mode, String> {
        match value {
            "on" => Ok(Mode::On),
            "off" => Ok(Mode::Off),
            "passthrough" => Ok(Mode::Passthrough),
            _ => Err(format!("bad value \"{value}\"; write on, off or passthrough")),
        }
    }
}

impl FromStr for Topology {
    type Err = String;

    fn from_str(value: &str) -> Result<Topology, String> {
        match value {
            "flat" => Ok(Topology::Flat),
            "one-socket" => Ok(Topology::OneSocket),
            "smt" => Ok(Topology::Smt),
            "host" => Ok(Topology::Host),
            _ => Err(format!("bad value \"{value}\"; write flat, one-socket, smt or host")),
        }
    }
}

impl FromStr for Cache {
    type Err = String;

    fn from_str(value: &str) -> Result<Cache, String> {
        match value {
            "off" => Ok(Cache::Off),
            "on" => Ok(Cache::On),
            "all" => Ok(Cache::All),
            _ => Err(format!("bad value \"{value}\"; write off, on or all")),
        }
    }
}

impl FromStr for Numbering {
    type Err = String;

    fn from_str(value: &str) -> Result<Numbering, String> {
        match value {
            "virtual" => Ok(Numbering::Virtual),
            "physical" => Ok(Numbering::Physical),
            _ => Err(format!("bad value \"{value}\"; write virtual or physical")),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn overrides_by_id() {
        let config = Config::parse(
            "# comment\nslabinfo = off\n\n[container web*]\ncpuinfo = passthrough # why\n\
             [container web1]\ntopology = one-socket\n",
            Settings::default(),
        )
        .unwrap();
        assert_eq!(config.defaults.mode(File::Slabinfo), Mode::Off);
        assert_eq!(config.of("db").mode(File::Cpuinfo), Mode::On);
        assert_eq!(config.of("web2").mode(File::Cpuinfo), Mode::Passthrough);
        assert_eq!(config.of("web2").topology, Topology::Flat);
        assert_eq!(config.of("web1").topology, Topology::OneSocket);
    }

    #[test]
    fn patterns() {
        assert!(matches("*", "x") && matches("a*c", "abc") && matches("ab", "abc"));
        assert!(!matches("a*d", "abc") && !matches("b", "abc") && !matches("*b", "abc"));
    }

    #[test]
    fn errors_name_the_line_and_the_way_out() {
        let error = |text| Config::parse(text, Settings::default()).unwrap_err();
        expect![[r#"line 2: bad value "maybe"; write on, off or passthrough"#]]
            .assert_eq(&error("\nstat = maybe\n"));
        expect![[r#"line 1: bad section "[web]"; write [container ID]"#]]
            .assert_eq(&error("[web]\n"));
        expect![[r#"line 1: "stat on" has no "="; write KEY = VALUE"#]]
            .assert_eq(&error("stat on\n"));
        expect![[r#"line 2: bad value "round"; write flat, one-socket, smt or host"#]]
            .assert_eq(&error("[container a]\ntopology = round\n"));
        expect![[r#"line 1: bad value "some"; write off, on or all"#]]
            .assert_eq(&error("cache = some\n"));
        expect![[r#"line 1: unknown key "color"; known are cpuinfo, diskstats, loadavg, meminfo, partitions, pressure, slabinfo, stat, swaps, sys-cpu, uptime, topology, numbering, quota, swap, zswap, strict, cache"#]]
            .assert_eq(&error("color = blue\n"));
    }
}
