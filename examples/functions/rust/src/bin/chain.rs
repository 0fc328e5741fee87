//! Fan-out: chains three functions of this binary in parallel, one of which chains another, and
//! combines their outputs and return values.

use faasm_host::{Finished, chain_ptr, input, set_output};

fn main() {
    let text = input();

    // Chain all three before awaiting the first.
    let words = chain_ptr(count_words, &text);
    let letters = chain_ptr(count_letters, &text);
    let backwards = chain_ptr(shout_backwards, &text);
    let words = words.wait_with_output();
    let letters = letters.wait_with_output();
    let backwards = backwards.wait_with_output();

    let mut output = Vec::new();
    for (what, call) in [("words", &words), ("letters", &letters), ("backwards", &backwards)] {
        output.extend_from_slice(format!("{what}: ").as_bytes());
        output.extend_from_slice(&call.output);
        output.extend_from_slice(format!(" (returned {})\n", call.returned).as_bytes());
    }
    set_output(&output);

    // One bit for each call whose result differs from this instance's own.
    let (n_words, n_letters) = (number_of_words(&text), number_of_letters(&text));
    let mut wrong = 0;
    if !is(&words, n_words, n_words.to_string().as_bytes()) {
        wrong |= 1;
    }
    if !is(&letters, n_letters, n_letters.to_string().as_bytes()) {
        wrong |= 2;
    }
    if !is(&backwards, number_of_lower(&text), &reverse(&text.to_ascii_uppercase())) {
        wrong |= 4;
    }
    std::process::exit(wrong);
}

extern "C" fn count_words() -> i32 {
    let words = number_of_words(&input());
    set_output(words.to_string().as_bytes());
    words
}

extern "C" fn count_letters() -> i32 {
    let letters = number_of_letters(&input());
    set_output(letters.to_string().as_bytes());
    letters
}

/// Returns how many letters it changed.
extern "C" fn shout() -> i32 {
    let text = input();
    set_output(&text.to_ascii_uppercase());
    number_of_lower(&text)
}

/// Chains `shout` for the first half of its work, and returns that call's return value.
extern "C" fn shout_backwards() -> i32 {
    let shouted = chain_ptr(shout, &input()).wait_with_output();
    set_output(&reverse(&shouted.output));
    shouted.returned
}

fn is(call: &Finished, returned: i32, output: &[u8]) -> bool {
    call.returned == returned && call.output == output
}

// ASCII only, so that all languages and locales give the same counts.
fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn number_of_words(text: &[u8]) -> i32 {
    text.split(is_space).filter(|word| !word.is_empty()).count() as i32
}

fn number_of_letters(text: &[u8]) -> i32 {
    text.iter().filter(|byte| byte.is_ascii_alphabetic()).count() as i32
}

fn number_of_lower(text: &[u8]) -> i32 {
    text.iter().filter(|byte| byte.is_ascii_lowercase()).count() as i32
}

/// Reverses characters, not bytes: the bytes of one UTF-8 character keep their order.
fn reverse(text: &[u8]) -> Vec<u8> {
    let mut reversed = Vec::with_capacity(text.len());
    let mut end = text.len();
    while end > 0 {
        let mut start = end - 1;
        while start > 0 && text[start] & 0xc0 == 0x80 {
            start -= 1;
        }
        reversed.extend_from_slice(&text[start..end]);
        end = start;
    }
    reversed
}
