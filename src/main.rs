//! The `spsi` binary.

// Small allocations on many threads are what a server does all day: mimalloc is faster there than the system's allocator.
// Without huge pages (its feature `no_thp`), which let memory grow by 2 MB at every first touch (benches/README.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    spsi_partner::cli::run()
}
