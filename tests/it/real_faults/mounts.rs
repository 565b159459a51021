use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// How a file system is made.
pub(crate) struct Cut {
    block: u32,
    options: &'static str,
}

impl Cut {
    pub(crate) fn ext4(block: u32, options: &'static str) -> Self {
        Self { block, options }
    }
}

/// A file system of its own, gone with this value.
pub(crate) struct Mounted {
    dir: TempDir,
    /// The image, and how it is mounted; `None` for a tmpfs.
    image: Option<(PathBuf, String)>,
    /// Whether the image lies on a tmpfs of its own.
    thin: bool,
}

impl Mounted {
    /// ext4 on a loop device.
    pub(crate) fn on_loop(kind: &Cut, mib: u64) -> Result<Self, String> {
        let dir = TempDir::new().map_err(|error| error.to_string())?;
        Self::ext4(dir, false, kind, mib)
    }

    /// ext4 of `mib` on a device that has only `real_mib`.
    pub(crate) fn on_thin_disk(mib: u64, real_mib: u64) -> Result<Self, String> {
        let dir = TempDir::new().map_err(|error| error.to_string())?;
        let below = dir.path().join("below");
        std::fs::create_dir(&below).map_err(|error| error.to_string())?;
        let size = format!("size={real_mib}m");
        run("mount", &["-t", "tmpfs", "-o", &size, "none", &text(&below)])?;
        Self::ext4(dir, true, &Cut::ext4(4096, ""), mib)
    }

    pub(crate) fn tmpfs(mib: u64) -> Result<Self, String> {
        let dir = TempDir::new().map_err(|error| error.to_string())?;
        let mounted = Self { dir, image: None, thin: false };
        std::fs::create_dir(mounted.path()).map_err(|error| error.to_string())?;
        let size = format!("size={mib}m");
        run("mount", &["-t", "tmpfs", "-o", &size, "none", &text(&mounted.path())])?;
        Ok(mounted)
    }

    fn ext4(dir: TempDir, thin: bool, kind: &Cut, mib: u64) -> Result<Self, String> {
        let home = if thin { dir.path().join("below") } else { dir.path().to_owned() };
        let image = home.join("image");
        let made = || -> std::io::Result<()> {
            std::fs::File::create(&image)?.set_len(mib << 20)?;
            std::fs::create_dir(dir.path().join("mnt"))
        };
        made().map_err(|error| error.to_string())?;
        let block = kind.block.to_string();
        run("mkfs.ext4", &["-q", "-F", "-b", &block, "-m", "0", &text(&image)])?;
        let options = match kind.options {
            "" => "loop".to_owned(),
            more => format!("loop,{more}"),
        };
        let mounted = Self { dir, image: Some((image, options)), thin };
        mounted.mount()?;
        Ok(mounted)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    fn mount(&self) -> Result<(), String> {
        let Some((image, options)) = &self.image else {
            return Err("a tmpfs forgets everything".into());
        };
        run("mount", &["-o", options, &text(image), &text(&self.path())])
    }

    /// A switch for the power of this file system, ready to be pressed.
    pub(crate) fn power_switch(&self) -> Result<PowerSwitch, String> {
        // FS_IOC_SHUTDOWN with FSOP_GOING_FLAGS_NOLOGFLUSH. No crate of ours may call it, because an
        // ioctl is unsafe.
        let script = "import fcntl, os, struct, sys\n\
                      at = os.open(sys.argv[1], os.O_RDONLY)\n\
                      print('ready', flush=True)\n\
                      sys.stdin.readline()\n\
                      fcntl.ioctl(at, 0x8004587D, struct.pack('I', 2))\n";
        let child = Command::new("python3")
            .args(["-c", script, &text(&self.path())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| format!("python3: {error}"))?;
        let mut line = String::new();
        let out = child.stdout.as_mut().ok_or("python3 has no output")?;
        BufReader::new(out).read_line(&mut line).map_err(|error| error.to_string())?;
        Ok(PowerSwitch(child))
    }

    pub(crate) fn mount_again(&mut self) -> Result<(), String> {
        run("umount", &[&text(&self.path())])?;
        self.mount()
    }

    /// Gives the device of [`Mounted::on_thin_disk`] as much as it claims to have.
    pub(crate) fn widen(&self) -> Result<(), String> {
        let below = self.dir.path().join("below");
        run("mount", &["-o", "remount,size=256m", &text(&below)])
    }
}

/// A helper that waits to cut the power.
pub(crate) struct PowerSwitch(Child);

impl PowerSwitch {
    /// What was not synced is gone: the file system stops without writing anything more.
    pub(crate) fn press(mut self) -> Result<(), String> {
        // Its input ends, which is what it waits for.
        drop(self.0.stdin.take());
        let ended = self.0.wait().map_err(|error| error.to_string())?;
        if ended.success() { Ok(()) } else { Err(format!("the power stays on: {ended}")) }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = run("umount", &[&text(&self.path())]);
        if self.thin {
            let _ = run("umount", &[&text(&self.dir.path().join("below"))]);
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let ran = Command::new(program).args(arguments).output();
    let ran = ran.map_err(|error| format!("{program}: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr).trim()))
}
