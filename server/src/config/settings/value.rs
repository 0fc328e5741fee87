//! One setting: parses its value into [`Settings`], and formats it.

use super::Settings;
use crate::store::RedisConfig;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use toml::Value;

/// A row of the table.
#[derive(Debug)]
pub struct Setting {
    /// Key with its section, as `limits.connections`.
    pub key: &'static str,
    /// Description, without a full stop.
    pub about: &'static str,
    pub field: Field,
}

/// A setting's field, type and bounds.
pub enum Field {
    Address(fn(&mut Settings) -> &mut SocketAddr),
    Path(fn(&mut Settings) -> &mut Option<PathBuf>),
    Text(fn(&mut Settings) -> &mut Option<String>),
    /// The address of a Redis, without a password, because settings are displayed.
    Redis(fn(&mut Settings) -> &mut Option<String>),
    List(fn(&mut Settings) -> &mut Vec<String>),
    Switch(fn(&mut Settings) -> &mut bool),
    /// One of these words.
    Choice(&'static [&'static str], fn(&mut Settings) -> &mut &'static str),
    Number(RangeInclusive<usize>, fn(&mut Settings) -> &mut usize),
    /// Seconds within this range, with an optional fraction.
    Time(RangeInclusive<f64>, fn(&mut Settings) -> &mut Duration),
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}

impl Field {
    /// Name of the type, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Field::Address(_) => "address and port",
            Field::Path(_) => "path",
            Field::Text(_) => "text",
            Field::Redis(_) => "address of a Redis",
            Field::List(_) => "list of texts",
            Field::Switch(_) => "true or false",
            Field::Choice(..) => "one of some words",
            Field::Number(..) => "number",
            Field::Time(..) => "seconds",
        }
    }
}

/// A raw value: from the file, or text from the environment or the command line.
#[derive(Clone, Debug)]
pub(super) enum Given {
    Toml(Value),
    Text(String),
}

impl Given {
    fn shown(&self) -> String {
        match self {
            Given::Toml(value) => value.to_string(),
            Given::Text(text) => format!("`{text}`"),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Given::Toml(value) => value.as_str(),
            Given::Text(text) => Some(text),
        }
    }

    fn number(&self) -> Option<usize> {
        match self {
            Given::Toml(value) => usize::try_from(value.as_integer()?).ok(),
            // Displayed as TOML.
            Given::Text(text) => text.replace('_', "").parse().ok(),
        }
    }

    fn seconds(&self) -> Option<f64> {
        match self {
            Given::Toml(value) => value.as_float().or_else(|| Some(value.as_integer()? as f64)),
            Given::Text(text) => text.parse().ok(),
        }
    }

    fn switch(&self) -> Option<bool> {
        match self {
            Given::Toml(value) => value.as_bool(),
            Given::Text(text) => text.parse().ok(),
        }
    }

    /// A list; in text its elements are separated by commas.
    fn list(&self) -> Option<Vec<String>> {
        match self {
            Given::Toml(value) => {
                let texts = value.as_array()?.iter().map(|value| value.as_str().map(str::to_owned));
                texts.collect()
            }
            Given::Text(text) => {
                let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                Some(texts.map(str::to_owned).collect())
            }
        }
    }
}

impl Setting {
    /// Sets the field. On the command line each occurrence of a list adds to the previous ones; see [`super::Sources`].
    ///
    /// # Errors
    /// What the value has to be.
    pub(super) fn set(&self, settings: &mut Settings, given: &Given) -> Result<(), String> {
        let not = |what: &str| format!("{} is not {what}", given.shown());
        let text = || given.text().filter(|text| !text.is_empty());
        match &self.field {
            Field::Address(field) => {
                let address = text().and_then(|text| text.parse().ok());
                let address =
                    address.ok_or_else(|| not("an address and port, as 127.0.0.1:8080"))?;
                *field(settings) = address;
            }
            Field::Path(field) => {
                *field(settings) = Some(text().ok_or_else(|| not("a path"))?.into());
            }
            Field::Text(field) => {
                *field(settings) = Some(text().ok_or_else(|| not("a text"))?.to_owned());
            }
            Field::Redis(field) => {
                // An invalid value may contain a password, so it is not displayed.
                let address = text().ok_or("not the address of a Redis, as redis://HOST:6379")?;
                let config = RedisConfig::new(address);
                config.check().map_err(|why| format!("not the address of a Redis: {why}"))?;
                if config.has_password() {
                    return Err("it contains a password, but settings are displayed: put the password into a file, and set store.redis_password_file to that file".to_owned());
                }
                *field(settings) = Some(address.to_owned());
            }
            Field::List(field) => {
                *field(settings) = given.list().ok_or_else(|| not("a list of texts"))?;
            }
            Field::Switch(field) => {
                *field(settings) = given.switch().ok_or_else(|| not("true or false"))?;
            }
            Field::Choice(words, field) => {
                let word = words.iter().find(|word| given.text() == Some(**word));
                *field(settings) = word.ok_or_else(|| not(&words.join(" or ")))?;
            }
            Field::Number(range, field) => {
                let number = given.number().filter(|number| range.contains(number));
                *field(settings) = number.ok_or_else(|| {
                    not(&format!("a whole number from {} to {}", range.start(), range.end()))
                })?;
            }
            Field::Time(range, field) => {
                let seconds = given.seconds().filter(|seconds| range.contains(seconds));
                let seconds = seconds.ok_or_else(|| {
                    not(&format!("a number of seconds from {} to {}", range.start(), range.end()))
                })?;
                *field(settings) = Duration::from_secs_f64(seconds);
            }
        }
        Ok(())
    }

    /// The current value as TOML; `None` if it is not set.
    pub fn value(&self, settings: &Settings) -> Option<Value> {
        let settings = &mut settings.clone();
        let integer = |number: usize| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        Some(match &self.field {
            Field::Address(field) => Value::String(field(settings).to_string()),
            Field::Path(field) => {
                Value::String(field(settings).as_ref()?.to_string_lossy().into_owned())
            }
            Field::Text(field) | Field::Redis(field) => Value::String(field(settings).clone()?),
            Field::List(field) => {
                Value::Array(field(settings).iter().cloned().map(Value::String).collect())
            }
            Field::Switch(field) => Value::Boolean(*field(settings)),
            Field::Choice(_, field) => Value::String((*field(settings)).to_owned()),
            Field::Number(_, field) => integer(*field(settings)),
            Field::Time(_, field) => {
                let time = *field(settings);
                match usize::try_from(time.as_secs()) {
                    Ok(seconds) if time.subsec_nanos() == 0 => integer(seconds),
                    _ => Value::Float(time.as_secs_f64()),
                }
            }
        })
    }
}
