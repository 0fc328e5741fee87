//! `faasm-relay token`: creates a token.

use anyhow::{Context, Result, ensure};
use faasm_bridge::wire::is_valid_name;
use faasm_relay::auth::{Claims, Right, Signer};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Prints a token for a relay that requires tokens
///
/// Keep it as secret as the key: everyone who has the token can act as the user until it expires.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: faasm-relay token --key secret.txt --user ada --for 8h \
    --rights invoke,state:read")]
pub(crate) struct Opts {
    /// File with the secret (HS256), or with a PEM private key: Ed25519, P-256 or RSA
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The user
    #[arg(long, value_name = "NAME")]
    user: String,
    /// Rights, separated by commas: invoke, state:read, state:write, upload, metrics [default: the first three]
    #[arg(long, value_name = "RIGHTS", value_delimiter = ',', value_parser = right)]
    rights: Option<Vec<Right>>,
    /// Restrict to this function, or to a pattern with * (repeatable)
    #[arg(long = "function", value_name = "NAME")]
    functions: Vec<String>,
    /// Validity: a number of s, m, h or d
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = time)]
    lasting: Duration,
    /// Audience that the relay requires
    #[arg(long, value_name = "TEXT")]
    audience: Option<String>,
    /// Issuer that the relay requires
    #[arg(long, value_name = "TEXT")]
    issuer: Option<String>,
    /// Name of the key in the relay's key set
    #[arg(long, value_name = "TEXT")]
    kid: Option<String>,
}

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode> {
        ensure!(is_valid_name(&self.user), "--user {}: this cannot name a user", self.user);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?;
        let claims = Claims {
            user: self.user,
            functions: (!self.functions.is_empty()).then_some(self.functions),
            rights: self.rights,
            expiry: (now + self.lasting).as_secs(),
            not_before: None,
            audience: self.audience,
            issuer: self.issuer,
        };
        let signer = Signer::load(&self.key, self.kid).context("reading the key")?;
        let token = signer.sign(&claims).map_err(anyhow::Error::msg).context("signing")?;
        let mut out = std::io::stdout();
        writeln!(out, "{token}").and_then(|()| out.flush())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn right(name: &str) -> Result<Right, String> {
    Right::of_name(name.trim())
        .ok_or_else(|| format!("the rights are {}", Right::ALL.map(Right::name).join(", ")))
}

/// Parses a validity of at most a year.
fn time(text: &str) -> Result<Duration, String> {
    const LONGEST: u64 = 366 * 24 * 60 * 60;
    let wrong = || "give it as a number of s, m, h or d, up to 366d".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let time = number.checked_mul(seconds).filter(|time| (1..=LONGEST).contains(time));
    time.map(Duration::from_secs).ok_or_else(wrong)
}
