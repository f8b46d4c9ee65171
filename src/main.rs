//! The program `secateur`. Untrusted.

fn main() -> std::process::ExitCode {
    secateur::cli::run()
}
