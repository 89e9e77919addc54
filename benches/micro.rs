//! The inner loops, each by itself. Beside other programs the whole is measured by `benches/peers`.
//!
//! ```sh
//! cargo bench --bench micro            # all
//! cargo bench --bench micro -- pack    # some
//! ```

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use eco::archive::member::{Packer, Unpacker};
use eco::archive::{Archive, CHUNK, Index};
use eco::scope::{Patterns, Site, walk};
use eco::tree::Digest;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn main() {
    divan::main();
    // It takes nothing along that a run which was interrupted has left behind, either.
    let _ = fs::remove_dir_all(scratch());
}

// Blocks

const LEVELS: [i32; 5] = [1, 2, 3, 4, 6];

#[divan::bench(args = LEVELS)]
fn pack_logs(bencher: Bencher, level: i32) {
    pack(bencher, level, &logs());
}

#[divan::bench(args = LEVELS)]
fn pack_vectors(bencher: Bencher, level: i32) {
    pack(bencher, level, &vectors());
}

fn pack(bencher: Bencher, level: i32, block: &[u8]) {
    let (mut packer, mut packed) = (Packer::new(level), Vec::new());
    bencher.counter(BytesCount::new(block.len())).bench_local(|| {
        packed.clear();
        packer.pack(black_box(block), &mut packed);
        packed.len()
    });
}

#[divan::bench(args = LEVELS)]
fn unpack_logs(bencher: Bencher, level: i32) {
    let (block, mut packed, mut out, mut unpacker) = (logs(), Vec::new(), Vec::new(), Unpacker::new());
    Packer::new(level).pack(&block, &mut packed);
    bencher
        .counter(BytesCount::new(block.len()))
        .bench_local(|| unpacker.unpack(black_box(&packed), block.len(), &mut out).expect("what was packed can be unpacked"));
}

#[divan::bench]
fn sha256(bencher: Bencher) {
    let block = logs();
    bencher.counter(BytesCount::new(block.len())).bench_local(|| eco::digest::of(black_box(&block)));
}

// Trees

const WALKED: usize = 10_000;
const LISTED: usize = 100_000;

#[divan::bench]
fn walk_files(bencher: Bencher) {
    let tree = tree("walked", WALKED, |path, number| fs::write(path, number.to_string()));
    let nothing = Patterns::new::<&str>(&[]).expect("no pattern, no mistake in one");
    let site = Site::plain(&tree).expect("it was made just now");
    bencher.counter(ItemsCount::new(WALKED)).bench_local(|| walk(&site, &["data".into()], &nothing).expect("the tree can be walked"));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn read_index(bencher: Bencher) {
    let tree = tree("listed", LISTED, |path, number| fs::write(path, number.to_string()));
    let archive = tree.with_extension("tar.gz");
    snap(&tree, &archive);
    bencher.counter(ItemsCount::new(LISTED)).bench_local(|| index(&archive));
}

/// Links have no content: what is left is the walk, the headers and the index.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn snapshot_of_links(bencher: Bencher) {
    let tree = tree("links", LISTED, |path, number| symlink(number.to_string(), path));
    let archive = tree.with_extension("tar.gz");
    bencher.counter(ItemsCount::new(LISTED)).bench_local(|| snap(&tree, &archive));
}

fn index(archive: &Path) -> (Index, Digest) {
    let archive = Archive::open(archive).expect("it can be read").expect("it has an index");
    archive.index().expect("the index can be read")
}

fn snap(root: &Path, archive: &Path) {
    let _ = fs::remove_file(archive); // the first time there is none
    let mut snap = Command::new(env!("CARGO_BIN_EXE_eco-snap"));
    let status = snap.arg("--root").arg(root).args(["data", "--quiet", "--output"]).arg(archive).stdout(Stdio::null()).status();
    assert!(status.expect("eco-snap runs").success());
}

/// A folder with that many entries below `data`, 500 to a folder.
fn tree(name: &str, count: usize, make: impl Fn(&Path, usize) -> std::io::Result<()>) -> PathBuf {
    let root = scratch().join(name);
    let _ = fs::remove_dir_all(&root);
    for number in 0..count {
        let folder = root.join(format!("data/{:03}", number / 500));
        if number % 500 == 0 {
            fs::create_dir_all(&folder).expect("the scratch folder can be written");
        }
        make(&folder.join(format!("{number:06}")), number).expect("the scratch folder can be written");
    }
    root
}

fn scratch() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("micro")
}

// Content, as benches/corpus.py makes it

/// The words of an event log; drawn afresh, since a compressor would find what is repeated.
fn logs() -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "account",
        "balance",
        "campaign",
        "catalog",
        "checkout",
        "complaint",
        "customer",
        "delivery",
        "discount",
        "exchange",
        "feedback",
        "forecast",
        "inventory",
        "invoice",
        "loyalty",
        "merchant",
    ];
    let (mut random, mut text) = (Random(0x9e37_79b9_7f4a_7c15), String::with_capacity(CHUNK + 512));
    while text.len() < CHUNK {
        let (second, took) = (random.next() % 86_400, random.next() % 100_000);
        let module = WORDS[(random.next() % 16) as usize];
        let time = format_args!("2026-01-09T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60).to_string();
        let request = random.next();
        let begin = write!(text, r#"{{"time":"{time}","module":"{module}","request":"{request:016x}","took_ms":{took},"message":""#);
        begin.expect("a string takes everything");
        for _ in 0..3 + random.next() % 12 {
            text.push_str(WORDS[(random.next() % 16) as usize]);
            text.push(' ');
        }
        text.push_str("\"}\n");
    }
    text.truncate(CHUNK);
    text.into_bytes()
}

/// Numbers around zero as an embedding holds them: exponents that repeat, and noise.
fn vectors() -> Vec<u8> {
    let mut random = Random(0xd1b5_4a32_d192_ed03);
    let mut number = || (0..12).map(|_| random.next() as f32 / u64::MAX as f32).sum::<f32>() - 6.0;
    (0..CHUNK / 4).flat_map(|_| number().to_le_bytes()).collect()
}

/// xorshift: the same numbers every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
