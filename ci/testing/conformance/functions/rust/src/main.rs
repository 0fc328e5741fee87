//! Rust features that programs rely on. The input names the part to run; most parts suspend in the middle.

use faasm_host::{State, chain_name, chain_ptr, input, set_output};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Display;
use std::io::{Read as _, Seek as _, Write as _};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, io, thread};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Suspends the function for a moment.
fn wait() {
    thread::sleep(Duration::from_millis(1));
}

fn collections() -> String {
    let mut ages = HashMap::new();
    for (name, age) in [("Ada", 36), ("Alan", 41), ("Grace", 85), ("Ada", 37)] {
        ages.insert(name, age);
    }
    wait();
    let mut queue: VecDeque<_> = (1..=10).collect();
    queue.rotate_left(3);
    let order: BTreeMap<_, _> = ages.iter().map(|(name, age)| (age, name)).collect();
    format!("{} {order:?} {queue:?}", ages.len())
}

trait Step {
    fn apply(&self, value: u64) -> u64;
}
struct Add(u64);
struct Waiting<T>(T);
impl Step for Add {
    fn apply(&self, value: u64) -> u64 {
        value.wrapping_add(self.0)
    }
}
impl<T: Step> Step for Waiting<T> {
    fn apply(&self, value: u64) -> u64 {
        let before = self.0.apply(value);
        wait();
        before.rotate_left(7) ^ self.0.apply(value)
    }
}

fn dispatch() -> String {
    let steps: Vec<Box<dyn Step>> = vec![
        Box::new(Add(5)),
        Box::new(Waiting(Add(u64::MAX - 1))),
        Box::new(Waiting(Waiting(Add(9)))),
    ];
    let value = steps.iter().fold(1_u64 << 40, |value, step| step.apply(value));
    format!("{value:#x}")
}

fn arithmetic() -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in b"the same everywhere" {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        if *byte == b' ' {
            wait();
        }
    }
    let wide = u128::from(hash) * u128::from(hash);
    let rounded = (2.0_f64.sqrt() * 1e6).round();
    format!("{hash:016x} {wide:x} {} {rounded} {:?}", i64::MIN.wrapping_abs(), 7_u32.checked_sub(8))
}

fn formatting() -> String {
    let items: Vec<Box<dyn Display>> =
        vec![Box::new(1.5), Box::new("text"), Box::new('ß'), Box::new(-3)];
    items.iter().map(|item| format!("[{item:>6}]")).collect()
}

fn files() -> io::Result<String> {
    fs::create_dir_all("/notes/deep/er")?;
    fs::write("/notes/deep/er/a.txt", "alpha")?;
    let mut file = fs::OpenOptions::new().read(true).append(true).open("/notes/deep/er/a.txt")?;
    file.write_all(b" and beta")?;
    wait();
    file.seek(io::SeekFrom::Start(6))?;
    let mut rest = String::new();
    file.read_to_string(&mut rest)?;
    fs::rename("/notes/deep/er/a.txt", "/notes/b.txt")?;
    let mut names: Vec<_> = fs::read_dir("/notes")?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    names.sort();
    let size = fs::metadata("/notes/b.txt")?.len();
    let missing = fs::read("/notes/none").map_err(|error| error.kind());
    fs::remove_file("/notes/b.txt")?;
    fs::remove_dir_all("/notes")?;
    Ok(format!("{rest} {names:?} {size} {missing:?} {}", fs::exists("/notes")?))
}

fn environment() -> String {
    let args: Vec<_> = env::args().collect();
    let missing = env::var("MISSING").is_err();
    format!("{args:?} {:?} {missing}", env::var("GREETING"))
}

fn clocks() -> String {
    let began = Instant::now();
    thread::sleep(Duration::from_millis(30));
    // Browsers round timers to milliseconds.
    let slept = began.elapsed() >= Duration::from_millis(28);
    let now =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    format!("{slept} {}", now > 1_700_000_000)
}

/// Starts at zero in an instance of its own.
extern "C" fn callee() -> i32 {
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    set_output(format!("depth {depth} with {:?}", String::from_utf8_lossy(&input())).as_bytes());
    7
}

fn chaining() -> String {
    DEPTH.set(5);
    let calls: Vec<_> =
        ["a", "b", "c"].iter().map(|input| chain_ptr(callee, input.as_bytes())).collect();
    let named = chain_name("rust_std", b"formatting");
    let mut text = String::new();
    for call in calls.into_iter().chain([named]) {
        let finished = call.wait_with_output();
        text += &format!("{} {}; ", finished.returned, String::from_utf8_lossy(&finished.output));
    }
    text + &DEPTH.get().to_string()
}

fn state() -> String {
    let state = State::new("numbers");
    let numbers: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    state.write(&numbers);
    state.push();
    state.write_at(numbers.len(), 400, &[0xff; 4]);
    state.push_partial();
    state.pull(numbers.len());
    let sum: u64 = state
        .read()
        .chunks_exact(4)
        .map(|four| u64::from(u32::from_le_bytes([four[0], four[1], four[2], four[3]])))
        .sum();
    format!("{} {sum}", state.size())
}

fn recurse(depth: u64, values: &[u64; 8]) -> u64 {
    if depth == 0 {
        wait();
        return values.iter().sum();
    }
    let next = values.map(|value| value.wrapping_mul(3) ^ depth);
    recurse(depth - 1, &next).wrapping_add(next[(depth % 8) as usize])
}

fn main() {
    let all = String::from_utf8_lossy(&input()).into_owned();
    let part = all.split(' ').next().unwrap_or_default();
    let text = match part {
        "collections" => collections(),
        "dispatch" => dispatch(),
        "arithmetic" => arithmetic(),
        "formatting" => formatting(),
        "files" => files().unwrap_or_else(|error| format!("failed: {error}")),
        "environment" => environment(),
        "clocks" => clocks(),
        "chaining" => chaining(),
        "state" => state(),
        "recursion" => recurse(300, &[1, 2, 3, 4, 5, 6, 7, 8]).to_string(),
        "print" => {
            println!("to one");
            eprintln!("to the other");
            String::new()
        }
        "panic" => panic!("on purpose"),
        "index" => [1, 2, 3][all.len()].to_string(),
        "exit" => {
            set_output(b"set before the exit");
            std::process::exit(-4)
        }
        _ => std::process::exit(99),
    };
    set_output(text.as_bytes());
    std::process::exit(text.len() as i32);
}
