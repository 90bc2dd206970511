//! A file system of a few megabytes, which can really be full.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::Scratch;

/// A tmpfs of its own, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    // Dropped after the unmount.
    _scratch: Scratch,
}

impl SmallDisk {
    /// Mounts one.
    ///
    /// # Errors
    /// When nothing can be mounted here, which takes root.
    pub fn mount(name: &str, kilobytes: usize) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        // A server may run as another user.
        fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o711))?;
        let path = scratch.path().join("disk");
        fs::create_dir(&path)?;
        let size = format!("size={kilobytes}k,mode=0777");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        let mount = mount.context("there is no program `mount`")?;
        ensure!(
            mount.status.success(),
            "this test needs a file system of its own, and none can be mounted: {}",
            String::from_utf8_lossy(&mount.stderr)
        );
        Ok(Self { path, _scratch: scratch })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all the space that is left.
    ///
    /// # Errors
    /// When the file system says something else than that it is full.
    pub fn fill(&self) -> Result<()> {
        let mut filler = File::options().create(true).append(true).open(self.filler())?;
        // Large pieces first, then the last bytes.
        for piece in [1 << 16, 1 << 12, 1] {
            loop {
                match filler.write(&vec![0; piece]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => bail!(error),
                }
            }
        }
        Ok(())
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// When nothing was filled.
    pub fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process of the test may have files open there.
        let _gone_already = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}
