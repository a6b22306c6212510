//! `plimsoll-sim`: see `plimsoll-sim run --help`.

fn main() -> std::process::ExitCode {
    plimsoll_sim::cli::main()
}
