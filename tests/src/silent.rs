//! A file system that does not answer, as one from a server that is gone: FUSE without anybody behind it. Whoever asks
//! it for anything waits in the kernel until this value goes.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::Node;

/// Mounted over a folder of a node.
pub struct Silent {
    node: Arc<Node>,
    folder: PathBuf,
    device: Option<File>,
}

impl Silent {
    /// Mounts it in the node's namespace.
    #[track_caller]
    pub fn over(node: &Arc<Node>, folder: &Path) -> Self {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").expect("the kernel has FUSE");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = CString::new(options).expect("no zero in it");
        node.net
            .run(|| mount("silent", folder, "fuse", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str()))
            .unwrap_or_else(|error| panic!("can't mount FUSE: {error}"));
        Self { node: Arc::clone(node), folder: folder.to_owned(), device: Some(device) }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Who waits gets an error; then the folder is what it was.
        self.device.take();
        let gone = self.node.net.run(|| unmount(self.folder.as_path(), UnmountFlags::DETACH));
        if let (Err(error), false) = (gone, std::thread::panicking()) {
            panic!("can't unmount {}: {error}", self.folder.display());
        }
    }
}
