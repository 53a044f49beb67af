//! Threads and memory of this process.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Error;

/// What [`set_threads`] was given; 0 stands for all cores.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Sets the number of threads that CPU backends use. Call it once, before the first model runs.
///
/// # Errors
///
/// [`Error::ThreadsAlreadyStarted`] when the pool exists already.
pub fn set_threads(count: usize) -> Result<(), Error> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .build_global()
        .map_err(|_| Error::ThreadsAlreadyStarted)?;
    THREADS.store(count, Ordering::Relaxed);
    Ok(())
}

/// The threads that this process may use in all, whatever pool the caller is in.
pub(crate) fn pool_threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

/// The number of threads that CPU backends use.
#[must_use]
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Asks the C library to keep freed memory instead of giving each large buffer back to the system, and the system to
/// lay what it keeps on huge pages, up to half of the machine's memory.
///
/// Burn's CPU backend allocates every result anew; on glibc each large one is mapped and unmapped, and its page faults
/// cost up to a third of the time of a matrix product (`docs/performance.md`). This is a setting of the whole process,
/// so a program chooses it, not a library; call it first. The process gets addresses for that half, and memory only as
/// it uses them.
///
/// It does nothing where addresses count as memory (`ulimit -v` or `-d`, strict overcommitment), and outside Linux with
/// glibc.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if addresses_count() {
        return;
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only changes tuning values of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, GIB as libc::c_int);
        // -1: nothing at the end of the heap is ever given back.
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
        huge_heap();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GIB: usize = 1 << 30;

/// Grows the heap and gives it advice on pages that are not there yet: later the allocator would not know which are.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn huge_heap() {
    // The allocator maps what is larger, outside its heap.
    const PIECE: usize = GIB - (1 << 20);
    let mut pieces = Vec::with_capacity(heap_pieces());
    while pieces.len() < pieces.capacity() {
        // SAFETY: any size may be asked for.
        let piece = unsafe { libc::malloc(PIECE) };
        if piece.is_null() {
            break;
        }
        pieces.push(piece);
    }
    for piece in pieces.into_iter().rev() {
        prefer_huge_pages(piece.cast(), PIECE);
        // SAFETY: it comes from `malloc`, and nobody else knows it.
        unsafe { libc::free(piece) };
    }
}

/// Whether this process may not have addresses without end, or they are counted as if they were memory.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn addresses_count() -> bool {
    let strict = std::fs::read_to_string("/proc/sys/vm/overcommit_memory");
    let limited = |resource| {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `limit` has room for the answer.
        let known = unsafe { libc::getrlimit(resource, &mut limit) } == 0;
        !known || limit.rlim_cur != libc::RLIM_INFINITY
    };
    strict.is_ok_and(|mode| mode.trim() == "2")
        || limited(libc::RLIMIT_AS)
        || limited(libc::RLIMIT_DATA)
}

/// Half of the machine's memory in GiB.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn heap_pieces() -> usize {
    // SAFETY: these have no preconditions.
    let (pages, size) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    let [pages, size] = [pages, size].map(|number| usize::try_from(number).unwrap_or(0));
    (pages.saturating_mul(size) / 2 / GIB).max(1)
}

/// Memory from which it pays to ask for huge pages.
const HUGE: usize = 2 << 20;

/// Asks the system for huge pages where these bytes are going to be written for the first time: with small ones,
/// looking up addresses keeps one core from reading memory as fast as it could, most of all in a virtual machine.
///
/// The advice reaches to the borders of huge pages, so the neighbours in memory are meant too; what it says changes no
/// contents. It does nothing for less than [`HUGE`] bytes, outside Linux, and where the system is set not to.
pub(crate) fn prefer_huge_pages(start: *const u8, bytes: usize) {
    if bytes < HUGE {
        return;
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let first = start as usize / HUGE * HUGE;
        let end = (start as usize + bytes).next_multiple_of(HUGE);
        // SAFETY: this advice never changes what memory holds. Parts that are not mapped are left out by the system.
        unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = start;
}

/// `len` times `zero`, on huge pages where the system gives them.
pub(crate) fn on_huge_pages<T: Clone>(len: usize, zero: T) -> Vec<T> {
    let mut values: Vec<T> = Vec::with_capacity(len);
    prefer_huge_pages(values.as_ptr().cast(), len * size_of::<T>());
    values.resize(len, zero);
    values
}

/// The largest resident size of this process so far, in bytes; `None` where the system does not tell.
#[must_use]
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn peak_is_known_on_linux() {
        assert!(super::peak_rss_bytes().unwrap() > 1 << 20);
    }

    /// This test runs itself under each limit: a limit cannot be taken back.
    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn freed_memory_is_not_kept_where_addresses_are_limited() {
        const INSIDE: &str = "CLINICAL_KERNELS_TEST_LIMIT";
        let addresses = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
            let kib = line.unwrap().trim().strip_suffix("kB").unwrap();
            kib.trim().parse::<u64>().unwrap() << 10
        };
        if std::env::var_os(INSIDE).is_some() {
            let before = addresses();
            super::keep_freed_memory();
            drop(std::hint::black_box(vec![1u8; 1 << 20]));
            assert!(addresses() < before + (32 << 20));
            return;
        }
        for limit in ["ulimit -v 2000000", "ulimit -d 2000000"] {
            let mut shell = std::process::Command::new("sh");
            shell
                .arg("-c")
                .arg(format!("{limit} && exec \"$0\" \"$@\""));
            shell.arg(std::env::current_exe().unwrap());
            shell.arg("freed_memory_is_not_kept_where_addresses_are_limited");
            let output = shell.env(INSIDE, "1").output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{limit}: {said}");
            assert!(said.contains("1 passed"), "{said}");
        }
    }
}
