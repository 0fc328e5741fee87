//! Settings, manifests, names, the messages of `POST /`, and what a cluster's planner answers.

use super::{file, told};
use faasm_bridge::manifest::Manifest;
use faasm_bridge::names::{Names, name_frames};
use faasm_relay::settings::{Flag, Read, Sources, TABLE};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Reads settings as a file, and line by line as flags. Valid settings, displayed, are a configuration with the same
/// meaning.
pub(super) fn settings(bytes: &[u8]) -> Result<bool, String> {
    let path = file("relay.toml", bytes)?;
    let read = Sources { file: Some(path), ..Sources::default() }.read();
    sound(&read)?;
    let text = String::from_utf8_lossy(bytes);
    let flags = text.lines().filter_map(|line| line.split_once('='));
    let flags = flags.map(|(key, value)| Flag {
        shown: "--set".to_owned(),
        key: key.trim().to_owned(),
        values: value.split('|').map(|value| value.trim().to_owned()).collect(),
    });
    sound(&Sources { flags: flags.collect(), ..Sources::default() }.read())?;
    Ok(read.mistakes.0.is_empty())
}

fn sound(read: &Read) -> Result<(), String> {
    let together = read.settings.mistakes(false);
    read.mistakes.0.iter().chain(&together).try_for_each(|mistake| told(mistake))?;
    let path = file("shown.toml", read.shown().as_bytes())?;
    let again = Sources { file: Some(path), ..Sources::default() }.read();
    if !again.mistakes.0.is_empty() {
        return Err(format!(
            "the displayed settings are not a valid configuration: {}",
            again.mistakes
        ));
    }
    for setting in TABLE {
        let (was, is) = (setting.value(&read.settings), setting.value(&again.settings));
        if was != is {
            return Err(format!("{} was {was:?}, and as shown is {is:?}", setting.key));
        }
    }
    Ok(())
}

/// A manifest or names.
pub(super) fn documents(json: &[u8]) -> Result<bool, String> {
    let manifest = twice::<Manifest>(json)?;
    let names = twice::<Names>(json)?;
    if let Some(names) = &names {
        let stack = String::from_utf8_lossy(json);
        name_frames(&stack, "faasm_runtime", &names.jspi);
        name_frames("@x://y:wasm-function[12]\nwasm-function[", "r", &names.jspi);
    }
    Ok(manifest.is_some() || names.is_some())
}

fn twice<T>(json: &[u8]) -> Result<Option<T>, String>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let Ok(document) = serde_json::from_slice::<T>(json) else { return Ok(None) };
    let again = serde_json::to_vec(&document)
        .map_err(|error| format!("decoded, but not encoded: {error}"))?;
    match serde_json::from_slice::<T>(&again) {
        Ok(same) if same == document => Ok(Some(document)),
        other => Err(format!("decodes differently after encoding: {document:?} and {other:?}")),
    }
}

pub(super) fn call_message(json: &[u8]) -> Result<bool, String> {
    match faasm_relay::check_message(json) {
        Ok(()) => Ok(true),
        Err(problem) => told(&problem).map(|()| false),
    }
}

pub(super) fn planner_answer(json: &[u8]) -> Result<bool, String> {
    Ok(faasm_relay::check_planner_answer(json))
}
