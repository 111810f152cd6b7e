//! Whether others can get at what a file keeps secret.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What to say of a file that holds a `secret` of which every user of the machine can know or say
/// what it is. Links are followed, as they are to read it. A group is somebody's decision.
pub(crate) fn of(path: &Path, secret: &str) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let file = path.display();
    (mode & OTHERS != 0).then(|| {
        format!("{file}: every user of this machine has access to the {secret} (mode {mode:04o}); chmod o= {file}")
    })
}

const OTHERS: u32 = 0o007;
