//! C++ exceptions (`cpp/exceptions.cpp`) in each encoding that compilers emit: the standard encoding, the draft
//! encoding from the same compiler, and the draft encoding from Emscripten with its own library.

use crate::case::{Case, case};
use crate::outcome::Code;

/// Name, function, and the program that builds it.
const BUILDS: [(&str, &str, &str); 3] = [
    ("standard", "exceptions_cpp", "llc, of rustup's component llvm-tools"),
    ("draft", "exceptions_cpp_draft", "llc, of rustup's component llvm-tools"),
    ("emscripten", "exceptions_emscripten", "em++"),
];

/// Parts of the program and their required output according to C++.
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
    // The output of a failed call.
    ("chained", "1 "),
];

pub(super) fn cases() -> Vec<Case> {
    let of_build = |(build, function, needs)| {
        let part = move |part: &'static str| {
            // All of its functions may suspend below a handler.
            case(&format!("exceptions/{build}-{part}"), function, part)
                .needs(needs)
                .limit(&["asyncify"], Code::BadOptions)
        };
        let caught = PARTS.map(|(name, output)| part(name).output(output));
        let uncaught = part("uncaught").fails(Code::Trap).stdout("destroyed\n");
        let terminated = match build {
            // Its library implements `abort` as an exit.
            "emscripten" => part("noexcept").returns(1),
            _ => part("noexcept").fails(Code::Trap),
        };
        caught.into_iter().chain([uncaught, terminated])
    };
    BUILDS.into_iter().flat_map(of_build).collect()
}
