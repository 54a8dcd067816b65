//! The launcher of a cell. Its control socket is its standard input, which a supervisor made.

fn main() -> std::process::ExitCode {
    cell::launch::main()
}
