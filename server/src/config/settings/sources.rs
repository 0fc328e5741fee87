//! Reads settings from a file, the environment and flags, and collects all mistakes.

use super::value::{Given, Setting};
use super::{Settings, TABLE};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use toml::{Table, Value};

/// Prefix of environment variables for settings: `limits.connections` is `FAASM_RELAY_LIMITS_CONNECTIONS`.
const PREFIX: &str = "FAASM_RELAY_";

/// Variables with this prefix that are not settings: the file's name, and the program's name for this project's tests.
const NO_SETTINGS: [&str; 2] = [Sources::FILE_VARIABLE, "FAASM_RELAY_BIN"];

/// Longest configuration file, bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Sources of settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// The variables of [`std::env::vars_os`]; those without the prefix are ignored.
    pub variables: Vec<(OsString, OsString)>,
    pub flags: Vec<Flag>,
}

/// A setting on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag as typed, for messages.
    pub shown: String,
    pub key: String,
    /// Several values for a list.
    pub values: Vec<String>,
}

/// All mistakes.
#[derive(Clone, Debug, Default)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "the configuration cannot be used: {only}"),
            all => {
                write!(f, "the configuration has {} mistakes:", all.len())?;
                all.iter().try_for_each(|mistake| write!(f, "\n  - {mistake}"))
            }
        }
    }
}

impl std::error::Error for Mistakes {}

/// The result of reading the sources.
#[derive(Clone, Debug)]
pub struct Read {
    pub settings: Settings,
    pub mistakes: Mistakes,
    /// Origins of settings that differ from the defaults.
    origins: BTreeMap<&'static str, String>,
}

impl Sources {
    /// Names the configuration file unless a flag does.
    pub const FILE_VARIABLE: &str = "FAASM_RELAY_CONFIG";

    /// Reads all sources.
    pub fn read(self) -> Read {
        let (settings, mistakes) = (Settings::default(), Mistakes::default());
        let mut read = Read { settings, mistakes, origins: BTreeMap::new() };
        let named = self.variables.iter().find(|(name, _)| name == Self::FILE_VARIABLE);
        if let Some(path) = self.file.or_else(|| named.map(|(_, path)| path.into())) {
            read.file(path);
        }
        for (name, value) in self.variables {
            read.variable(name, value);
        }
        for Flag { shown, key, mut values } in self.flags {
            // One text may contain commas; several are joined.
            let given = match values.pop() {
                Some(only) if values.is_empty() => Given::Text(only),
                last => {
                    values.extend(last);
                    Given::Toml(Value::Array(values.into_iter().map(Value::String).collect()))
                }
            };
            read.set(&key, &given, &shown);
        }
        read
    }
}

impl Read {
    fn file(&mut self, path: PathBuf) {
        let shown = path.display().to_string();
        let table = match table(&path) {
            Ok(table) => table,
            Err(problem) => return self.mistakes.0.push(format!("{shown}: {problem}")),
        };
        for (key, value) in table {
            match value {
                // A section: no setting has a table as its value.
                Value::Table(section) => {
                    for (name, value) in section {
                        self.set(&format!("{key}.{name}"), &Given::Toml(value), &shown);
                    }
                }
                value => self.set(&key, &Given::Toml(value), &shown),
            }
        }
    }

    fn variable(&mut self, name: OsString, value: OsString) {
        let name = name.to_string_lossy().into_owned();
        if !name.starts_with(PREFIX) || NO_SETTINGS.contains(&name.as_str()) {
            return;
        }
        let Some(setting) = TABLE.iter().find(|setting| setting.variable() == name) else {
            return self.mistakes.0.push(format!(
                "{name}: no setting has this variable; the variable of `limits.connections`, for example, is {PREFIX}LIMITS_CONNECTIONS"
            ));
        };
        match value.into_string() {
            Ok(text) => self.set(setting.key, &Given::Text(text), &name),
            Err(_) => self.mistakes.0.push(format!("{name}: its value is not text")),
        }
    }

    fn set(&mut self, key: &str, given: &Given, origin: &str) {
        let Some(setting) = TABLE.iter().find(|setting| setting.key == key) else {
            return self.mistakes.0.push(format!("{origin}: {}", unknown(key)));
        };
        match setting.set(&mut self.settings, given) {
            Ok(()) => drop(self.origins.insert(setting.key, origin.to_owned())),
            Err(problem) => self.mistakes.0.push(format!("{origin}: {key}: {problem}")),
        }
    }

    /// The settings as a configuration file, with the origin of each. Settings contain no secrets, only names of files
    /// with secrets.
    pub fn shown(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for setting in TABLE {
            let (of, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
            if of != section {
                text.push_str(&format!("\n[{of}]\n"));
                section = of;
            }
            let line = match setting.value(&self.settings) {
                Some(value) => format!("{name} = {value}"),
                None => format!("# {name} is not set"),
            };
            let origin = self.origins.get(setting.key).map(|origin| format!(" # {origin}"));
            text.push_str(&line);
            text.push_str(&origin.unwrap_or_default());
            text.push('\n');
        }
        text
    }
}

impl Setting {
    /// The environment variable of this setting.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.key.replace('.', "_").to_ascii_uppercase())
    }
}

fn table(path: &std::path::Path) -> Result<Table, String> {
    let bytes = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(format!("{bytes} bytes; a configuration has at most {MAX_FILE_BYTES}"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    // The message shows the position on several lines.
    text.parse().map_err(|error: toml::de::Error| format!("not TOML: {}", error.to_string().trim()))
}

/// The message for an unknown setting.
fn unknown(key: &str) -> String {
    let section = key.rsplit_once('.').map_or("", |(section, _)| section);
    let beside = TABLE.iter().filter_map(|setting| {
        let (of, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        (of == section).then_some(name)
    });
    let beside: Vec<&str> = beside.collect();
    match (section, beside.as_slice()) {
        (_, []) => format!("there is no setting `{key}`, and no section `{section}`"),
        ("", names) => format!("there is no setting `{key}`; there are {}", names.join(", ")),
        (_, names) => {
            format!("there is no setting `{key}`; [{section}] has {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(key: &str, values: &[&str]) -> Flag {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Flag { shown: format!("--set {key}"), key: key.into(), values }
    }

    fn variables(all: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        all.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn later_sources_win() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.toml");
        let text = "listen = \"127.0.0.1:1\"\n[limits]\nsessions = 1\nconnections = 1\nbody_time = 1\nbody_pause = 0.5\n";
        std::fs::write(&path, text).unwrap();
        let variables = variables(&[
            ("FAASM_RELAY_LIMITS_SESSIONS", "2"),
            ("FAASM_RELAY_LIMITS_BODY_TIME", "2.5"),
            ("FAASM_RELAY_ALLOW_HOSTS", "a, b:1"),
            ("FAASM_RELAY_BIN", "x"),
            ("PATH", "x"),
        ]);
        let flags = vec![
            flag("limits.sessions", &["3"]),
            flag("allow_origins", &["https://a.test", "https://b.test"]),
        ];
        let read = Sources { file: Some(path), variables, flags }.read();
        assert!(read.mistakes.0.is_empty(), "{}", read.mistakes);
        let Settings { listen, limits, allow_hosts, allow_origins, .. } = &read.settings;
        assert_eq!(listen.port(), 1);
        assert_eq!((limits.sessions, limits.connections), (3, 1));
        assert_eq!(limits.body_time.as_secs_f64(), 2.5);
        assert_eq!(limits.body_pause.as_secs_f64(), 0.5);
        assert_eq!(allow_hosts, &["a", "b:1"]);
        assert_eq!(allow_origins, &["https://a.test", "https://b.test"]);

        // The displayed configuration parses to the same settings.
        let again = folder.path().join("again.toml");
        std::fs::write(&again, read.shown()).unwrap();
        let again = Sources { file: Some(again), ..Sources::default() }.read();
        assert!(again.mistakes.0.is_empty(), "{}", again.mistakes);
        assert_eq!(again.settings.limits, read.settings.limits);
        assert_eq!(again.settings.allow_origins, read.settings.allow_origins);
    }

    #[test]
    fn every_mistake_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.toml");
        let text = "listen = 1\nlisten_to = 2\n[limits]\nsessions = 0\nframe_bites = 1\nconnections = \"many\"\n[limit]\nx = 1\n";
        std::fs::write(&path, text).unwrap();
        let variables =
            variables(&[("FAASM_RELAY_LIMITS_SESION", "2"), ("FAASM_RELAY_INSECURE", "yes")]);
        let flags = vec![flag("guests.call_time", &["-1"]), flag("data", &[""])];
        let read = Sources { file: Some(path), variables, flags }.read();
        let told = read.mistakes.to_string();
        for expected in [
            "listen: 1 is not an address and port",
            "`listen_to`; there are listen,",
            "limits.sessions: 0 is not a whole number from 1",
            "`limits.frame_bites`; [limits] has connections",
            "limits.connections: \"many\" is not",
            "no section `limit`",
            "FAASM_RELAY_LIMITS_SESION: no setting",
            "FAASM_RELAY_INSECURE: insecure: `yes` is not true or false",
            "--set guests.call_time: guests.call_time: `-1` is not a number of seconds",
            "--set data: data: `` is not a path",
        ] {
            assert!(told.contains(expected), "{expected} in {told}");
        }
        assert_eq!(read.mistakes.0.len(), 10, "{told}");
    }

    #[test]
    fn keys_and_variables_are_there_once() {
        for (index, setting) in TABLE.iter().enumerate() {
            let others = &TABLE[index + 1..];
            assert!(
                others.iter().all(|other| other.variable() != setting.variable()),
                "{setting:?}"
            );
            assert!(!NO_SETTINGS.contains(&setting.variable().as_str()));
            assert!(!setting.about.ends_with('.'), "{setting:?}");
        }
    }

    #[test]
    fn the_manual_has_every_setting_with_its_default() {
        let manual = include_str!("../../../../docs/operating.md");
        for setting in TABLE {
            let default = setting.value(&Settings::default());
            let default = default.map_or_else(|| "–".to_owned(), |value| format!("`{value}`"));
            let row = format!("| `{}` | {} | {default} |", setting.key, setting.about);
            assert!(manual.contains(&row), "docs/operating.md has no row\n{row}");
        }
    }
}
