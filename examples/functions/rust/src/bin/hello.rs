//! The smallest useful function: reads its input, prints a line, and writes its output.

use std::io::Write as _;

fn main() {
    let name = faasm_host::input();
    let who: &[u8] = if name.is_empty() { b"world" } else { &name };

    // The name may contain any bytes, not only UTF-8.
    let greeting = [b"Hello, ", who, b"!"].concat();
    let printed = std::io::stdout().write_all(&[greeting.as_slice(), b"\n"].concat());
    faasm_host::set_output(&greeting);
    if printed.is_err() {
        std::process::exit(1);
    }
}
