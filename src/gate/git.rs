//! A file as a git revision has it: `git show REV:./NAME`, started without a shell. Untrusted. `spec/gate.md#baseline`.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use secateur_checker::reader::escaped::Escaped;

/// The bytes of `path` in revision `rev` of the repository that it lies in.
///
/// # Errors
/// Why there are none, in words.
pub fn file_at(rev: &str, path: &Path, cap: usize) -> Result<Vec<u8>, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/~^@{}".contains(c);
    if rev.is_empty() || rev.starts_with('-') || !rev.chars().all(plain) {
        return Err(format!("{} is no name of a revision", Escaped(rev)));
    }
    let name = path.file_name().ok_or_else(|| "it has no name".to_owned())?;
    let name = name.to_str().ok_or_else(|| "its name is not UTF-8".to_owned())?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut child = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["--no-pager", "show", "--no-textconv", "--no-ext-diff"])
        .arg(format!("{rev}:./{name}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("git does not start: {e}"))?;
    let mut bytes = Vec::new();
    let out = child.stdout.take().ok_or_else(|| "git has no output".to_owned())?;
    let read = out.take(cap as u64 + 1).read_to_end(&mut bytes);
    if bytes.len() > cap {
        let _ = child.kill();
    }
    let ended = child.wait_with_output().map_err(|e| format!("git: {e}"))?;
    read.map_err(|e| format!("git: {e}"))?;
    if bytes.len() > cap {
        return Err(format!("longer than the {cap} bytes that are read of such a file"));
    }
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        return Err(format!("git show says {}", Escaped(said.lines().next().unwrap_or("nothing"))));
    }
    Ok(bytes)
}
