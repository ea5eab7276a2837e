//! The `spsi` binary.

// Small allocations on many threads are what a server does all day: mimalloc is faster there than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    spsi_partner::cli::run()
}
