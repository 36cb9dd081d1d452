//! Processor time: of a running process, and of the programs that were started and waited for.
//!
//! A process's own time is read from its clock, to the nanosecond and with the threads that have ended; that of its
//! children from /proc, to a hundredth of a second.
#![allow(unsafe_code, reason = "rustix has neither clocks of other processes nor getrusage; each call has its proof")]

use std::fs;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Ticks of /proc/PID/stat in a second: USER_HZ, the same number on every architecture that this is built for.
const TICKS: f64 = 100.0;
/// Fields of /proc/PID/stat after the name, from 0: `cutime` and `cstime`.
const CHILDREN: [usize; 2] = [13, 14];

/// What a process has used, user and system, children that it has waited for included.
pub fn of_process(pid: u32) -> Duration {
    let own = clock(pid).unwrap_or_else(|error| panic!("can't read the processor time of process {pid}: {error}"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process with a clock is there");
    own + children(&stat).unwrap_or_else(|| panic!("/proc/{pid}/stat is not as expected: {stat}"))
}

/// What the programs have used that this process has started and waited for, whatever they were.
pub fn of_children() -> Duration {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` is valid for writes of a whole `rusage` during the call.
    let status = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    assert!(status == 0, "getrusage failed: {}", std::io::Error::last_os_error());
    // SAFETY: the call succeeded, so the kernel has written all of it.
    let usage = unsafe { usage.assume_init() };
    let time = |value: libc::timeval| Duration::new(value.tv_sec as u64, value.tv_usec as u32 * 1_000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn clock(pid: u32) -> std::io::Result<Duration> {
    let mut clock: libc::clockid_t = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `clock` is valid for the write of a clock's number during the call.
    let error = unsafe { libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) };
    if error != 0 {
        return Err(std::io::Error::from_raw_os_error(error));
    }
    // SAFETY: `time` is valid for the write of a timespec during the call; a clock that is gone is an error.
    let status = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if status != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// The name of the program stands in parentheses and may hold anything, these included.
fn children(stat: &str) -> Option<Duration> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = CHILDREN.iter().map(|at| fields.get(*at)?.parse::<u32>().ok()).sum::<Option<u32>>()?;
    Some(Duration::from_secs_f64(f64::from(ticks) / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_name_of_a_program_does_not_mislead() {
        let stat = "7 (a) 1 2 (b) S 1 7 7 0 -1 4194304 100 0 0 0 5 6 30 20 20 0 1 0 9 9 9";
        assert_eq!(children(stat), Some(Duration::from_millis(500)));
        assert_eq!(children("7 (a) S 1"), None);
    }

    #[test]
    fn work_is_counted() {
        let before = (of_process(std::process::id()), of_children());
        let mut sum = 0_u64;
        while of_process(std::process::id()) < before.0 + Duration::from_millis(20) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(Command::new("sh").args(["-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done"]).status().is_ok());
        assert!(of_children() > before.1);
    }
}
