//! `plimsoll-sim` as a user calls it, and files to call it with.

use std::process::Command;

/// The command, not yet run.
pub(crate) fn sim(command: &str, arguments: &[&str]) -> Command {
    let mut all = Command::new(env!("CARGO_BIN_EXE_plimsoll-sim"));
    all.arg(command).args(arguments);
    all
}

/// What it wrote.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A folder with one trace in it.
pub(crate) fn trace(name: &str, content: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}
