//! Exceptions of C++ (`cpp/exceptions.cpp`), with each encoding that compilers write: that of the standard, that of the draft by
//! the same compiler, and that of the draft by Emscripten with its own library.

use crate::case::{Case, case};
use crate::outcome::Code;

/// Name, function, and the program that builds it.
const BUILDS: [(&str, &str, &str); 3] = [
    ("standard", "exceptions_cpp", "llc, of rustup's component llvm-tools"),
    ("draft", "exceptions_cpp_draft", "llc, of rustup's component llvm-tools"),
    ("emscripten", "exceptions_emscripten", "em++"),
];

/// Parts of the program and what they write, by the rules of C++.
const PARTS: [(&str, &str); 9] = [
    ("caught", "~inner caught 7 after ~outer "),
    ("frames", "~even ~odd ~even ~odd 40 "),
    ("slow", "~second ~first slow "),
    (
        "types",
        "int 3 char c text text derived thing 2 5 derived pointed 7 logic range string string anything nothing ",
    ),
    ("rethrow", "any ~local then 11 ~handler for 2 "),
    ("held", "0 derived held 1 derived held 2 derived held derived held "),
    ("many", "120000000 "),
    ("constructor", "~second ~first 9 "),
    // That of a call that failed.
    ("chained", "1 "),
];

pub(super) fn cases() -> Vec<Case> {
    let of_build = |(build, function, needs)| {
        let part = move |part: &'static str| {
            // All of its functions can wait below a handler.
            case(&format!("exceptions/{build}-{part}"), function, part)
                .needs(needs)
                .limit(&["asyncify"], Code::BadOptions)
        };
        let caught = PARTS.map(|(name, output)| part(name).output(output));
        let uncaught = part("uncaught").fails(Code::Trap).stdout("destroyed\n");
        let terminated = match build {
            // The `abort` of its library ends the program by an exit.
            "emscripten" => part("noexcept").returns(1),
            _ => part("noexcept").fails(Code::Trap),
        };
        caught.into_iter().chain([uncaught, terminated])
    };
    BUILDS.into_iter().flat_map(of_build).collect()
}
