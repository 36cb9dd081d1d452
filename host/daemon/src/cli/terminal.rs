//! How large the terminal is.

use std::io;
use std::os::fd::AsRawFd;

/// Columns and rows of the terminal behind the standard output; 80 and 24 where it does not say.
#[allow(unsafe_code)]
pub fn size() -> (usize, usize) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    let fd = io::stdout().as_raw_fd();
    // SAFETY: the request writes one `winsize`, which it is given, and keeps no pointer.
    let result = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) };
    match (result, size.ws_col, size.ws_row) {
        (0, 1.., 1..) => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}
