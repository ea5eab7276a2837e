//! The `spsi` binary.

// mimalloc is faster than the system's allocator for many small allocations on several threads. Its feature `no_thp` turns
// huge pages off, with which memory grows by 2 MB at every first touch (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    spsi_partner::cli::run()
}
