//! The journal's log after truncation, after damage, and when it is too long.

use super::*;
use std::io::{Read as _, Write as _};

const BOOT: Option<[u8; BOOT_BYTES]> = Some([b'a'; BOOT_BYTES]);
const SESSION: SessionKey = SessionKey([9; 32]);

impl Pending {
    fn bytes(&self) -> Vec<u8> {
        let parts = self.parts.iter().flat_map(|(before, reply)| [&before[..], &reply[..]]);
        parts.chain([&self.rest[..]]).collect::<Vec<_>>().concat()
    }
}

fn write(log: &mut Log, image: &mut Image, record: Record, reply: &[u8]) {
    let mut pending = Pending::at(log.end());
    pending.push(record, reply.to_vec().into()).unwrap();
    log.append(&pending).unwrap();
    pending.apply(image);
}

fn begin() -> Record {
    Record::Begin { session: SESSION, user: "ada".into() }
}

fn finish(request: u64) -> Record {
    Record::Finish { session: SESSION, request: RequestId(request) }
}

fn replies(log: &Log, image: &Image) -> Vec<(u64, Option<Vec<u8>>)> {
    let begun = image.begun(SESSION).unwrap();
    begun.map(|(id, extent)| (id.0, extent.map(|extent| log.reply(extent).unwrap()))).collect()
}

#[test]
fn a_checksum_of_two_parts_is_that_of_both_together() {
    let bytes: Vec<u8> = (1..40).collect();
    for length in 0..bytes.len() {
        let whole = hash(&bytes[..length]);
        for at in 0..=length {
            let (first, second) = bytes[..length].split_at(at);
            assert_eq!(hash_of([first, second]), whole, "{at} of {length}");
        }
    }
}

#[test]
fn long_replies_and_short_ones_are_where_their_records_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let long = vec![7; SHARED_BYTES];
    let expected = vec![(1, Some(long.clone())), (2, Some(b"short".to_vec())), (3, Some(long))];
    {
        let (mut log, mut image) = Log::open(&path, BOOT).unwrap();
        let mut pending = Pending::at(log.end());
        pending.push(begin(), Frame::default()).unwrap();
        for (request, reply) in &expected {
            let mut envelope = Bytes::from(reply.clone().unwrap());
            let payload = envelope.split_off(3);
            pending.push(finish(*request), Frame { envelope, payload }).unwrap();
        }
        log.append(&pending).unwrap();
        pending.apply(&mut image);
        assert_eq!(replies(&log, &image), expected);
    }
    let (log, image) = Log::open(&path, BOOT).unwrap();
    assert_eq!(replies(&log, &image), expected);
}

#[test]
fn wherever_the_file_is_cut_off_the_whole_records_before_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut ends = Vec::new();
    {
        let (mut log, mut image) = Log::open(&path, BOOT).unwrap();
        write(&mut log, &mut image, begin(), b"");
        for request in 1..5 {
            ends.push(log.end());
            let accept = Record::Accept { session: SESSION, request: RequestId(request) };
            write(&mut log, &mut image, accept, b"");
        }
        ends.push(log.end());
    }
    let mut bytes = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
    for length in ends[0] as usize..=bytes.len() {
        File::create(&path).unwrap().write_all(&bytes[..length]).unwrap();
        let (log, image) = Log::open(&path, BOOT).unwrap();
        let whole = ends.iter().filter(|end| **end <= length as u64).count() - 1;
        assert_eq!(replies(&log, &image).len(), whole, "{length}");
        assert_eq!(log.end(), ends[whole]);
    }
    let middle = ends[1] as usize + PREFIX_BYTES + 3;
    bytes[middle] ^= 1;
    File::create(&path).unwrap().write_all(&bytes).unwrap();
    let (_, image) = Log::open(&path, BOOT).unwrap();
    assert!(image.begun(SESSION).is_none(), "damaged in the middle");
}

#[test]
fn a_log_of_another_boot_is_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    for (boot, is_there) in
        [(BOOT, false), (BOOT, true), (Some([b'b'; BOOT_BYTES]), false), (None, false)]
    {
        let (mut log, mut image) = Log::open(&path, boot).unwrap();
        assert_eq!(image.begun(SESSION).is_some(), is_there, "{boot:?}");
        write(&mut log, &mut image, begin(), b"");
    }
    assert!(boot().is_some() || !cfg!(target_os = "linux"));
}

#[test]
fn a_long_log_with_little_content_is_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (mut log, mut image) = Log::open(&path, BOOT).unwrap();
    write(&mut log, &mut image, begin(), b"");
    write(&mut log, &mut image, finish(1), b"kept");
    let long = vec![7; 100_000];
    let requests = COMPACT_BYTES / long.len() as u64 + 10;
    for request in 2..requests {
        write(&mut log, &mut image, finish(request), &long);
        let forget = Record::Forget { session: SESSION, requests: 2..request + 1 };
        write(&mut log, &mut image, forget, b"");
    }
    let accept = Record::Accept { session: SESSION, request: RequestId(requests) };
    write(&mut log, &mut image, accept, b"");
    log.compact(&mut image);
    assert!(log.end() < 1000, "{}", log.end());
    let expected = vec![(1, Some(b"kept".to_vec())), (requests, None)];
    assert_eq!(replies(&log, &image), expected);
    write(&mut log, &mut image, finish(requests), b"later");
    drop(log);
    let (log, image) = Log::open(&path, BOOT).unwrap();
    assert_eq!(replies(&log, &image)[1], (requests, Some(b"later".to_vec())));
    assert_eq!(image.acked(SESSION), vec![2..requests]);
}

/// SplitMix64: deterministic damage.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}

/// Records by numeric fields, so that damage turns them into other records: ranges that end before they start, sessions
/// that were never created, replies to unknown requests.
fn any_record(rng: &mut Rng) -> Record {
    const NUMBERS: [u64; 6] = [0, 1, 2, 3, u64::MAX - 1, u64::MAX];
    let session = SessionKey([rng.below(3) as u8; 32]);
    let request = RequestId(NUMBERS[rng.below(NUMBERS.len())]);
    match rng.below(6) {
        0 | 1 => Record::Begin { session, user: "ada".into() },
        2 => Record::Accept { session, request },
        3 => Record::Finish { session, request },
        4 => Record::Forget { session, requests: request.0..NUMBERS[rng.below(NUMBERS.len())] },
        _ => Record::End { session },
    }
}

fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let (at, length) = (rng.below(bytes.len()), 1 + rng.below(12));
    let end = bytes.len().min(at + length);
    match rng.below(6) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.splice(at..end, [0xff; 8]).for_each(drop),
        3 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again).for_each(drop);
        }
        4 => bytes.extend((0..length).map(|_| rng.below(256) as u8)),
        _ if at < end => bytes[at] ^= 1 << rng.below(8),
        _ => {}
    }
}

/// The result is a prefix of the records or nothing: never anything else, and never a panic.
#[test]
fn a_damaged_log_is_truncated_or_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (mut cut, mut refused) = (0, 0);
    for seed in 0..600 {
        let mut rng = Rng(seed);
        let mut pending = Pending::at(HEADER_BYTES);
        let mut prefixes = vec![Vec::new()];
        let mut image = Image::default();
        for _ in 0..rng.below(20) {
            let reply = vec![7; rng.below(40)];
            pending.push(any_record(&mut rng), reply.into()).unwrap();
            let (record, extent) = pending.records.last().cloned().unwrap();
            image.apply(record, extent);
            prefixes.push(image.records());
        }
        let mut bytes = [&MAGIC[..], &BOOT.unwrap()[..], &pending.bytes()[..]].concat();
        for _ in 0..=rng.below(3) {
            damage(&mut bytes, &mut rng);
        }
        std::fs::write(&path, &bytes).unwrap();
        let (mut log, mut image) = Log::open(&path, BOOT).unwrap();
        let read = image.records();
        assert!(log.end() <= bytes.len() as u64 || log.end() == HEADER_BYTES, "{seed}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), log.end(), "{seed}");
        // No damage is as long as a record, so no record can be missing in the middle.
        assert!(prefixes.contains(&read), "{seed}: {read:?}");
        cut += usize::from(!read.is_empty());
        refused += usize::from(read.is_empty());
        // The log can be continued.
        write(&mut log, &mut image, begin(), b"");
        assert!(Log::open(&path, BOOT).unwrap().1.begun(SESSION).is_some(), "{seed}");
    }
    assert!(cut > 50 && refused > 50, "{cut} cut, {refused} refused");
}

/// Complete records in a meaningless order, as a faulty relay could have left them.
#[test]
fn records_in_any_order_are_accepted() {
    for seed in 0..2000 {
        let mut rng = Rng(seed);
        let mut image = Image::default();
        for _ in 0..40 {
            let extent = Extent { offset: 0, length: rng.below(100) };
            image.apply(any_record(&mut rng), extent);
        }
        let mut same = Image::default();
        for (record, extent) in image.records() {
            same.apply(record, extent.unwrap_or_default());
        }
        assert_eq!(same.records(), image.records(), "{seed}");
        for session in image.left_over() {
            image.apply(Record::End { session }, Extent::default());
        }
        assert_eq!(image.bytes(), 0, "{seed}");
    }
}
