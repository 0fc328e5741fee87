//! Warns when the cluster has another version of a function than the page.

use crate::function::Loaded;
use crate::global::{console_warn, spawn};
use crate::shared::Shared;
use faasm_bridge::wire::{Reply, Request};
use std::rc::Rc;

/// Compares in the background; a request that fails is ignored.
pub(crate) fn compare(loaded: &Rc<Loaded>, shared: &Shared) {
    let [version, ..] = loaded.versions.as_slice() else { return };
    let (name, version) = (loaded.name.clone(), version.clone());
    let integrities = loaded.versions.clone();
    let request = Request::Compare { function: name.clone(), integrities };
    let Ok(asked) = shared.connection.request(request, &[]) else { return };
    spawn(async move {
        if let Ok((Reply::Bytes, other)) = asked.answer().await {
            let other = String::from_utf8_lossy(&other);
            console_warn(&format!(
                "the cluster has another version of `{name}` than this page ({other}, not {version}), so results may differ: build the page's from the cluster's, or upload it"
            ));
        }
    });
}
