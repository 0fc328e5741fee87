//! The JSON documents of a built function. The browser parses them: a parser and its tables would be a tenth of the
//! runtime.

use super::fetch::load_error;
use crate::error::{FaasmError, describe};
use faasm_bridge::manifest::{
    Artefact, Asyncify, AsyncifyArtefact, Engines, Entry, SCHEMA, UnwindBuffer,
};
use faasm_bridge::names::{Functions, Names};
use faasm_bridge::placement::{Policy, Where};
use faasm_bridge::residence::Rules;
use js_sys::{Array, JSON, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// The parts of a [`faasm_bridge::manifest::Manifest`] that a page uses.
pub(super) struct ManifestParts {
    pub(super) name: String,
    pub(super) entry: Entry,
    /// Imports that only a Faasm cluster supports.
    pub(super) cluster_only: Vec<String>,
    pub(super) engines: Engines,
    pub(super) names: Option<Artefact>,
    pub(super) chained: Policy,
    pub(super) state: Rules,
    /// Content hashes of the binaries that the cluster may have, the original's first.
    pub(super) versions: Vec<String>,
}

/// Parses the manifest from `url`.
pub(super) fn manifest(url: &str, text: &str) -> Result<ManifestParts, FaasmError> {
    let value = JSON::parse(text).map_err(|thrown| {
        let problem = format!(
            "it is not JSON ({}); load a manifest written by faasm-asyncify, or an original whose address ends with .wasm",
            describe(&thrown)
        );
        load_error(url, &problem)
    })?;
    let document = Property { value, name: "it" };
    let schema = document.get("schema").value.as_f64();
    if schema != Some(f64::from(SCHEMA)) {
        let found = schema.map_or_else(|| "none".to_owned(), |schema| (schema as u32).to_string());
        let problem = format!(
            "it has manifest schema {found}, this runtime reads {SCHEMA}: build the function with the faasm-asyncify of the same version"
        );
        return Err(load_error(url, &problem));
    }
    describe_function(&document).map_err(|problem| load_error(url, &problem))
}

fn describe_function(document: &Property) -> Result<ManifestParts, String> {
    let entry = document.get("entry");
    let engines = document.get("engines");
    Ok(ManifestParts {
        name: document.get("name").string()?,
        entry: Entry {
            main: entry.get("main").strings()?,
            before_pointer: entry.get("beforePointer").strings()?,
            table: entry.get("table").optional().map(|name| name.string()).transpose()?,
            memory: entry.get("memory").string()?,
            malloc: entry.get("malloc").optional().map(|name| name.string()).transpose()?,
            break_safe: entry.get("breakSafe").value.is_truthy(),
            errno: entry.get("errno").value.as_f64().map(|address| address as u32),
        },
        cluster_only: document.get("imports").get("clusterOnly").strings()?,
        engines: Engines {
            jspi: engines.get("jspi").artefact()?,
            asyncify: engines.get("asyncify").asyncify()?,
        },
        names: document.get("names").optional().map(|names| names.artefact()).transpose()?,
        versions: ["original", "textOutput"]
            .into_iter()
            .filter_map(|version| document.get(version).optional())
            .map(|version| version.get("integrity").string())
            .collect::<Result<_, _>>()?,
        chained: match document.get("where").optional() {
            Some(rules) => policy(&rules.value).ok_or_else(|| rules.wrong())?,
            None => Policy::default(),
        },
        state: match document.get("state").optional() {
            Some(state) => rules(state.value).map_err(|problem| format!("`state`: {problem}"))?,
            None => Rules::default(),
        },
    })
}

/// Parses placement rules, by function name.
pub(crate) fn policy(value: &JsValue) -> Option<Policy> {
    let rule = |entry: JsValue| {
        let entry: Array = entry.unchecked_into();
        Some((entry.get(0).as_string()?, Where::parse(&entry.get(1).as_string()?)?))
    };
    Object::entries(value.dyn_ref::<Object>()?).iter().map(rule).collect()
}

/// Parses residence rules of state values.
pub(crate) fn rules(value: JsValue) -> Result<Rules, String> {
    let state = Property { value, name: "state" };
    let of = |kind| match state.get(kind).optional() {
        Some(keys) => keys.strings(),
        None => Ok(Vec::new()),
    };
    let rules = Rules { pin: of("pin")?, prefetch: of("prefetch")?, local: of("local")? };
    rules.problem().map_or(Ok(rules), Err)
}

/// Parses names of functions.
pub(super) fn names(text: &str) -> Result<Names, String> {
    let document = Property { value: JSON::parse(text).map_err(|e| describe(&e))?, name: "it" };
    let of = |engine| document.get(engine).functions();
    Ok(Names { jspi: of("jspi")?, asyncify: of("asyncify")? })
}

/// A value in a document, with the property's name.
struct Property {
    value: JsValue,
    name: &'static str,
}

impl Property {
    /// A property; undefined if absent, which the caller's conversion reports.
    fn get(&self, name: &'static str) -> Property {
        let value = Reflect::get(&self.value, &name.into()).unwrap_or(JsValue::UNDEFINED);
        Property { value, name }
    }

    fn optional(self) -> Option<Property> {
        (!self.value.is_null_or_undefined()).then_some(self)
    }

    fn wrong(&self) -> String {
        format!("`{}` is missing or invalid", self.name)
    }

    fn string(&self) -> Result<String, String> {
        self.value.as_string().ok_or_else(|| self.wrong())
    }

    fn strings(&self) -> Result<Vec<String>, String> {
        let array = self.value.dyn_ref::<Array>().ok_or_else(|| self.wrong())?;
        array.iter().map(|item| item.as_string().ok_or_else(|| self.wrong())).collect()
    }

    /// The property `bytes`.
    fn bytes(&self) -> Result<f64, String> {
        let bytes = self.get("bytes");
        bytes.value.as_f64().filter(|bytes| *bytes >= 0.0).ok_or_else(|| bytes.wrong())
    }

    fn artefact(&self) -> Result<Artefact, String> {
        Ok(Artefact {
            file: self.get("file").string()?,
            integrity: self.get("integrity").string()?,
            bytes: self.bytes()? as u64,
        })
    }

    fn asyncify(&self) -> Result<Asyncify, String> {
        if let Some(unsupported) = self.get("unsupported").optional() {
            return Ok(Asyncify::Unsupported { unsupported: unsupported.string()? });
        }
        let buffer = match self.get("buffer").optional() {
            Some(buffer) => Some(UnwindBuffer { bytes: buffer.bytes()? as u32 }),
            None => None,
        };
        Ok(Asyncify::Artefact(AsyncifyArtefact { artefact: self.artefact()?, buffer, pass: None }))
    }

    fn functions(&self) -> Result<Functions, String> {
        let object = self.value.dyn_ref::<Object>().ok_or_else(|| self.wrong())?;
        let function = |entry: JsValue| {
            let entry: Array = entry.unchecked_into();
            Some((entry.get(0).as_string()?.parse().ok()?, entry.get(1).as_string()?))
        };
        let functions: Option<Functions> = Object::entries(object).iter().map(function).collect();
        functions.ok_or_else(|| self.wrong())
    }
}
