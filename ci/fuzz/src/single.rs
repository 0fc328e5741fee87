//! Examines one input: shows its finding, and reduces it.

use crate::decoders::Decoder;
use crate::differential::{self, CaseResult, Tools};
use crate::run::THREAD_STACK_BYTES;
use crate::{corpus, mutate, reduce as reducer};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::Path;

/// Checks a module with every target, under every scenario it is for, and other inputs with their decoder; returns
/// whether there was no finding.
///
/// # Errors
/// It cannot be read.
pub fn reproduce(tools: &Tools, path: &Path) -> Result<bool> {
    if let Some(decoder) = Decoder::of(path) {
        let checked = decoder.check(&read(path)?);
        println!("{}: {checked:?}", decoder.name);
        return Ok(checked.is_ok());
    }
    let input = corpus::read(path)?;
    on_large_stack(move || {
        let mut quiet = true;
        for scenario in &input.scenarios {
            let result = differential::check(tools, &input.wasm, *scenario);
            quiet &= !matches!(result, CaseResult::Finding(_));
            println!("{scenario:?}: {result:?}");
        }
        let outcome = mutate::check(tools, &input.wasm, true);
        println!("as a damaged module: {outcome:?}");
        Ok(quiet && outcome.is_ok_and(|outcome| outcome.unexplained.is_empty()))
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Reduces the input of a finding; writes the result beside it, a module as text.
///
/// # Errors
/// It cannot be read, or shows nothing.
pub fn reduce(tools: &Tools, path: &Path) -> Result<()> {
    if let Some(decoder) = Decoder::of(path) {
        return reduce_bytes(decoder, path);
    }
    let input = corpus::read(path)?;
    let scenarios = &input.scenarios;
    on_large_stack(move || {
        let shown = |wasm: &[u8]| {
            let verdicts =
                scenarios.iter().map(|scenario| differential::check(tools, wasm, *scenario));
            let found = verdicts.into_iter().find_map(|result| match result {
                CaseResult::Finding(finding) => Some(finding.class()),
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
        fs::write(&beside, wasmprinter::print_bytes(&reduced)?)
            .with_context(|| format!("writing {}", beside.display()))?;
        println!("{class}");
        println!("{} bytes of {}: {}", reduced.len(), input.wasm.len(), beside.display());
        Ok(())
    })
}

/// Removes ever smaller pieces, as long as the decoder shows the same finding.
fn reduce_bytes(decoder: &Decoder, path: &Path) -> Result<()> {
    let mut bytes = read(path)?;
    let before = bytes.len();
    let shown = |bytes: &[u8]| decoder.check(bytes).err().map(|finding| finding.class());
    let Some(class) = shown(&bytes) else { bail!("{} shows nothing", path.display()) };
    let mut piece = bytes.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes.len().min(at + piece);
            let less = [&bytes[..at], &bytes[end..]].concat();
            if shown(&less).as_ref() == Some(&class) {
                bytes = less;
            } else {
                at = end;
            }
        }
        piece /= 2;
    }
    let beside = path.with_extension(format!("reduced.{}", decoder.name));
    fs::write(&beside, &bytes).with_context(|| format!("writing {}", beside.display()))?;
    println!("{class}");
    println!("{} bytes of {before}: {}", bytes.len(), beside.display());
    Ok(())
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
