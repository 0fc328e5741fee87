//! Chains another function by name: `hello_rust`, a separate binary.

fn main() {
    let hello = faasm_host::chain_name("hello_rust", &faasm_host::input()).wait_with_output();
    faasm_host::set_output(&[b"callee said: ", hello.output.as_slice()].concat());
    std::process::exit(hello.returned);
}
