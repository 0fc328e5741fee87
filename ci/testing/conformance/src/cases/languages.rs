//! Programs from C++, Rust and other toolchains with their libraries; and how each starts and ends.

use crate::case::{Case, case};
use crate::outcome::Code;

/// Every part of `cpp/cxx.cpp` returns the length of its name, and ends with the destructor of a global.
fn cxx(part: &'static str, output: &'static str) -> Case {
    let word = part.split(' ').next().unwrap_or(part);
    case(&format!("cpp/{}", word.replace('_', "-")), "cxx", part)
        .returns(word.len() as i32)
        .output(output)
        .stdout("global destroyed\n")
}

/// Every part of `rust/src/main.rs` returns the length of its output.
fn rust(part: &'static str, output: &'static str) -> Case {
    case(&format!("rust/{part}"), "rust_std", part).returns(output.len() as i32).output(output)
}

/// One program in link variants: constructors run once, and not again when the host calls `malloc`.
fn start(name: &str, function: &'static str, malloc: bool) -> Case {
    let output = match malloc {
        true => "1 constructed, value 8; 1 from callee: 1 constructed, value 7",
        false => "1 constructed, value 8; 1",
    };
    case(&format!("start/{name}"), function, "")
        .returns(1)
        .output(output)
        .stdout("destroyed with 8\n")
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        start("nothing-exported", "start_plain", false),
        start("malloc-exported", "start_malloc", true),
        start("constructors-exported", "start_ctors", false),
        start("both-exported", "start_both", true),
        // Its linker has wrapped `malloc`, which only the code shows.
        start("malloc-exported-without-names", "start_malloc_stripped", true)
            .limit(&["original"], Code::CannotLoad),
        start("both-exported-without-names", "start_both_stripped", true),
        cxx("containers", "the=3 brown=1 dog=1 end=1 fox=1 jumps=1 lazy=1 over=1 quick=1 "),
        cxx("strings", "454 0,1,4,9,16, 100"),
        cxx("virtuals", "square shape square 65"),
        // The sum of 1 to 400.
        cxx("recursion", "80200 400"),
        cxx("big_frames", "0 bytes wrong"),
        cxx("pointers", "24 6"),
        cxx("locals", "7"),
        // Constructors ran once here, and once in the instance of the function that was started by pointer.
        cxx("statics", "here 3 there 1: 1 2 first of the registry 1"),
        cxx("floats", "7.48547086055 0.271705031395"),
        cxx("streams", "printed")
            .stdout("first line\nnumber 42 ff\nalpha without endglobal destroyed\n")
            .stderr_like("to the other stream\n"),
        cxx("cin with  more\nwords", "[cin][with][more][words]"),
        case("start/exit-in-a-constructor", "ctor_exit", "")
            .returns(9)
            .output("from the constructor"),
        case("start/plain-wasi-program", "wasi", "first\nsecond")
            .args(&["x"])
            .env(&[("HOME", "/home/ada")])
            .returns(2)
            .output("")
            .stdout("1: first\n2: second\nfunction.wasm: 4999950000, home /home/ada\n")
            .stderr_like("1 arguments\n"),
        case("start/emscripten", "emscripten", "some input")
            .needs("emcc")
            .args(&["one"])
            .returns(23)
            .stdout("1 arguments, read 'some input', sorted 0 to 999, time passes, sleeps well\n"),
        rust(
            "collections",
            "3 {37: \"Ada\", 41: \"Alan\", 85: \"Grace\"} [4, 5, 6, 7, 8, 9, 10, \
1, 2, 3]",
        ),
        rust("dispatch", "0x204081000063018c"),
        rust(
            "arithmetic",
            "908b6031adaf8848 519d18197d7d61d6976ee21ceafc9440 \
-9223372036854775808 1414214 None",
        ),
        rust("formatting", "[   1.5][  text][     ß][    -3]"),
        rust("files", "and beta [\"b.txt\", \"deep\"] 14 Err(NotFound) false"),
        rust("environment", "[\"function.wasm\", \"one\", \"two three\"] Ok(\"hi\") true")
            .args(&["one", "two three"])
            .env(&[("GREETING", "hi")]),
        rust("clocks", "true true"),
        rust(
            "chaining",
            "7 depth 0 with \"a\"; 7 depth 0 with \"b\"; 7 depth 0 with \"c\"; 33 \
[   1.5][  text][     ß][    -3]; 5",
        ),
        // The sum of 0 to 99 999, with number 100 replaced by 2^32 - 1.
        rust("state", "400000 9294917195"),
        rust("recursion", "3102077566561397498"),
        rust("print", "").stdout("to one\n").stderr_like("to the other\n"),
        rust("panic", "").fails(Code::Trap).stderr_like("*on purpose*"),
        rust("index", "").fails(Code::Trap).stderr_like("*the len is 3 but the index is 5*"),
        rust("exit", "").returns(-4).output("set before the exit"),
    ]
}
