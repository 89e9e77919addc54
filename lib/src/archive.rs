//! One tar.gz that is seekable: an ordinary gzip tar for every stock tool, and an index at its end for random access, parallel
//! reading and digests (eStargz). Everything that is read is distrusted: bounds are checked before anything is allocated, and
//! the headers inside must say what the index says.
//!
//! Layout: one gzip member per file content (per MiB of larger ones), one for the headers in between, one for the index, and
//! 51 bytes that tell where the index begins. What eStargz has no word for stands in objects under the key `eco`, which other
//! readers skip. The format is that of the stargz-snapshotter project, `docs/estargz.md`.

mod acl;
mod extract;
mod footer;
mod foreign;
#[cfg(any(test, fuzzing))]
pub mod fuzz_entry;
mod header;
mod index;
#[cfg(test)]
mod laws;
pub mod member;
mod read;
mod sample;
mod sparse;
mod toc;
mod verify;
mod write;

pub use extract::{Content, Donor, Extracted, OwnerChange, Sharing, Taken, extract};
pub use foreign::{Foreign, file_stem};
pub use index::{Base, Chunk, Entry, FORMAT, Head, Index, Partial};
pub use read::{Archive, find_base, lacks};
pub use sample::Sampled;
pub use write::{Ask, How, Options, Outcome, Previous, Source, Written, write};

/// Content is cut into pieces of this size, each compressed and digested on its own: 1 MiB.
pub const CHUNK: usize = 1 << 20;

/// A piece of nothing but zeros, as holes give them.
static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// The name of the index inside the archive, as eStargz wants it.
const INDEX_NAME: &str = "stargz.index.json";

/// Compression level when nothing else is asked for. Of a service's tree it leaves 3.5 % more than level 4 and takes two thirds of the
/// time; gzip's own default leaves 3 % less than level 4 and takes four times as long.
pub const LEVEL: i32 = 1;

/// Runs `work` on every processor until one of them fails; the first failure is returned.
pub(crate) fn on_all_cores<E: Send>(work: impl Fn() -> Result<(), E> + Sync) -> Result<(), E> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        let running: Vec<_> = (1..threads).map(|_| scope.spawn(&work)).collect();
        let mut result = work();
        for thread in running {
            // A worker that panics takes the program with it: half a result must not pass for a whole one.
            let other = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result = result.and(other);
        }
        result
    })
}
