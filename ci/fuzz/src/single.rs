//! One module, looked at closely: what it shows, and the smallest that shows the same.

use crate::differential::{self, Tools, Verdict};
use crate::run::THREAD_STACK_BYTES;
use crate::{corpus, mutate, reduce as reducer};
use anyhow::{Context as _, Result, bail};
use std::path::Path;

/// Checks a module in every way, under every scenario it is for; whether nothing was found.
///
/// # Errors
/// It cannot be read.
pub fn reproduce(tools: &Tools, path: &Path) -> Result<bool> {
    let input = corpus::read(path)?;
    on_large_stack(move || {
        let mut quiet = true;
        for scenario in &input.scenarios {
            let verdict = differential::check(tools, &input.wasm, *scenario);
            quiet &= !matches!(verdict, Verdict::Finding(_));
            println!("{scenario:?}: {verdict:?}");
        }
        let outcome = mutate::check(tools, &input.wasm, true);
        println!("as a damaged module: {outcome:?}");
        Ok(quiet && outcome.is_ok_and(|outcome| outcome.unexplained.is_empty()))
    })
}

/// Makes the module of a finding smaller; writes it beside, as text.
///
/// # Errors
/// It cannot be read, or shows nothing.
pub fn reduce(tools: &Tools, path: &Path) -> Result<()> {
    let input = corpus::read(path)?;
    let scenarios = &input.scenarios;
    on_large_stack(move || {
        let shown = |wasm: &[u8]| {
            let verdicts =
                scenarios.iter().map(|scenario| differential::check(tools, wasm, *scenario));
            let found = verdicts.into_iter().find_map(|verdict| match verdict {
                Verdict::Finding(finding) => Some(finding.class()),
                _ => None,
            });
            found.or_else(|| match mutate::check(tools, wasm, true) {
                Err(finding) => Some(finding.class()),
                Ok(outcome) => outcome.unexplained.first().map(|finding| finding.class()),
            })
        };
        let Some(class) = shown(&input.wasm) else { bail!("{} shows nothing", path.display()) };
        let reduced = reducer::reduce(&input.wasm, |wasm| shown(wasm).as_ref() == Some(&class));
        let beside = path.with_extension("reduced.wat");
        std::fs::write(&beside, wasmprinter::print_bytes(&reduced)?)
            .with_context(|| format!("writing {}", beside.display()))?;
        println!("{class}");
        println!("{} bytes of {}: {}", reduced.len(), input.wasm.len(), beside.display());
        Ok(())
    })
}

/// Guests need more stack than the main thread has.
fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(THREAD_STACK_BYTES);
        match thread.spawn_scoped(scope, work)?.join() {
            Ok(result) => result,
            Err(_) => bail!("the fuzzer itself panicked"),
        }
    })
}
