//! What a stock tool may do besides talking to netfilter: nothing. Words of a policy reach `iptables-restore` and
//! `ipset restore`, and those would look up a host or user name for it, open a file, or start the program that
//! `--modprobe` names, as root. So between fork and exec the child gives up whatever leads there: sockets other than netlink
//! and raw ones (nscd, sssd, systemd's resolver, DNS and mDNS are all reached by others), new processes, `bpf`, and, where
//! the kernel has Landlock, reading the files that names are looked up in. docs/adr/0030-tools-are-confined.md says why.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use libc::{c_int, c_long, c_ulong, sock_filter, sock_fprog};

/// In `/etc`: where the C library looks up names of hosts, users, groups and networks, or finds out who else would know.
const NAMES: [&str; 11] = [
    "gai.conf",
    "group",
    "gshadow",
    "host.conf",
    "hosts",
    "hosts.equiv",
    "networks",
    "nscd.conf",
    "nsswitch.conf",
    "passwd",
    "shadow",
];

const LANDLOCK_CREATE_RULESET: c_long = 444;
const LANDLOCK_ADD_RULE: c_long = 445;
const LANDLOCK_RESTRICT_SELF: c_long = 446;
const LANDLOCK_RULE_PATH_BENEATH: c_int = 1;
const LANDLOCK_ACCESS_FS_READ_FILE: u64 = 1 << 2;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xc000_00f3;

/// System calls that a tool has no use for.
const REFUSED: &[c_long] = &[
    libc::SYS_clone,
    libc::SYS_clone3,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];
/// The same, also where a tool is a script, which can't work without new processes.
const ALWAYS_REFUSED: &[c_long] = &[libc::SYS_bpf, libc::SYS_io_uring_setup, libc::SYS_ptrace];

/// Confines the child that `command` will start; `program` is its file.
pub fn confine(command: &mut Command, program: &Path) {
    let script = is_script(program);
    let filter = Filter::shared(script);
    let files = files();
    let apply = move || restrict(&filter.0, files);
    // SAFETY: `restrict` runs in the child of a process with many threads. It makes system calls and nothing else: no
    // memory is allocated and no lock is taken.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(apply)
    };
}

/// Lets the child that `command` will start keep `descriptor`.
pub fn hand_over(command: &mut Command, descriptor: BorrowedFd<'_>) {
    let descriptor = descriptor.as_raw_fd();
    let keep = move || {
        // SAFETY: a system call with numbers; the descriptor is the child's own copy.
        #[allow(unsafe_code)]
        let done = unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: as in `confine`.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(keep)
    };
}

/// A wrapper around the tool, as tests and some distributions have.
fn is_script(program: &Path) -> bool {
    let mut beginning = [0; 2];
    File::open(program).and_then(|mut file| file.read_exact(&mut beginning)).is_ok() && &beginning == b"#!"
}

#[allow(unsafe_code)]
fn restrict(filter: &[sock_filter], files: Option<RawFd>) -> io::Result<()> {
    let done = |result: c_long| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    let none: c_ulong = 0;
    let length = u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: each call gets numbers, or a pointer to what lives in this function or as long as the process.
    unsafe {
        done(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as c_ulong, none, none, none).into())?;
        if let Some(ruleset) = files {
            done(libc::syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0 as c_int))?;
        }
        done(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER as c_ulong, &raw const program).into())
    }
}

/// A program for the kernel's filter of system calls.
struct Filter(Vec<sock_filter>);

impl Filter {
    fn shared(script: bool) -> &'static Self {
        static FILTERS: OnceLock<[Filter; 2]> = OnceLock::new();
        &FILTERS.get_or_init(|| [Self::new(false), Self::new(true)])[usize::from(script)]
    }

    fn new(script: bool) -> Self {
        const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
        const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        const BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
        const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
        const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
        let plain = |code, k| sock_filter { code, jt: 0, jf: 0, k };
        let unless = |code, k| sock_filter { code, jt: 0, jf: 1, k };
        let refuse = |error: c_int| plain(RETURN, libc::SECCOMP_RET_ERRNO | error.unsigned_abs());
        let allow = plain(RETURN, libc::SECCOMP_RET_ALLOW);
        let number = |call: c_long| u32::try_from(call).unwrap_or(u32::MAX);
        // struct seccomp_data: the call's number, the architecture, the instruction pointer, the arguments (low half first).
        let argument = |index: u32| 16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 };
        let mut code = vec![
            plain(LOAD, 4),
            sock_filter { code: EQUAL, jt: 1, jf: 0, k: ARCHITECTURE },
            refuse(libc::EPERM),
            plain(LOAD, 0),
            // The other numbering of x86-64 (x32).
            unless(BITS, if cfg!(target_arch = "x86_64") { 0x4000_0000 } else { 0 }),
            refuse(libc::EPERM),
        ];
        let refused = if script { &[][..] } else { REFUSED };
        for call in refused.iter().chain(ALWAYS_REFUSED) {
            // The C library takes the older call where this one is not there.
            let error = if *call == libc::SYS_clone3 { libc::ENOSYS } else { libc::EPERM };
            code.extend([unless(EQUAL, number(*call)), refuse(error)]);
        }
        code.extend([
            sock_filter { code: EQUAL, jt: 1, jf: 0, k: number(libc::SYS_socket) },
            allow,
            plain(LOAD, argument(0)),
            unless(EQUAL, number(libc::AF_NETLINK.into())),
            allow,
            sock_filter { code: EQUAL, jt: 2, jf: 0, k: number(libc::AF_INET.into()) },
            sock_filter { code: EQUAL, jt: 1, jf: 0, k: number(libc::AF_INET6.into()) },
            refuse(libc::EACCES),
            plain(LOAD, argument(1)),
            plain(AND, 0xf),
            unless(EQUAL, number(libc::SOCK_RAW.into())),
            allow,
            refuse(libc::EACCES),
        ]);
        Self(code)
    }
}

/// A Landlock ruleset that lets every file be read but those in which names are looked up; none where the kernel has no
/// Landlock.
fn files() -> Option<RawFd> {
    static FILES: OnceLock<Option<OwnedFd>> = OnceLock::new();
    FILES.get_or_init(|| ruleset().ok()).as_ref().map(AsRawFd::as_raw_fd)
}

fn ruleset() -> io::Result<OwnedFd> {
    let handled = LANDLOCK_ACCESS_FS_READ_FILE;
    // SAFETY: the kernel reads eight bytes of `handled`, which are there, and returns a new descriptor or -1.
    #[allow(unsafe_code)]
    let ruleset = unsafe {
        let made = libc::syscall(LANDLOCK_CREATE_RULESET, &raw const handled, size_of::<u64>(), 0 as c_int);
        match RawFd::try_from(made) {
            Ok(descriptor) if descriptor >= 0 => OwnedFd::from_raw_fd(descriptor),
            _ => return Err(io::Error::last_os_error()),
        }
    };
    let below = |folder: &str| -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let outside = below("/")?.into_iter().filter(|path| path != Path::new("/etc"));
    let known =
        |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| NAMES.contains(&name));
    let inside = below("/etc").unwrap_or_default().into_iter().filter(|path| !known(path));
    for path in outside.chain(inside) {
        allow(&ruleset, &path)?;
    }
    Ok(ruleset)
}

/// As the kernel lays it out.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

#[allow(unsafe_code)]
fn allow(ruleset: &OwnedFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `path` and `rule` live through the calls, and the descriptor is closed once.
    unsafe {
        let opened = libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
        if opened < 0 {
            // Gone since it was listed, or not for us: then it is not read either.
            return Ok(());
        }
        let opened = OwnedFd::from_raw_fd(opened);
        let rule = PathBeneath { allowed: LANDLOCK_ACCESS_FS_READ_FILE, parent: opened.as_raw_fd() };
        let added = libc::syscall(
            LANDLOCK_ADD_RULE,
            ruleset.as_raw_fd(),
            LANDLOCK_RULE_PATH_BENEATH,
            &raw const rule,
            0 as c_int,
        );
        if added == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a program that is confined, and makes a system call in its place. The error is the call's.
    #[allow(unsafe_code)]
    fn confined(call: impl Fn() -> c_int + Send + Sync + 'static) -> io::Result<()> {
        let mut command = Command::new("true");
        confine(&mut command, &std::env::current_exe().unwrap());
        // SAFETY: the calls of these tests allocate nothing.
        unsafe { command.pre_exec(move || if call() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }) };
        command.status().map(drop)
    }

    #[allow(unsafe_code)]
    fn socket(domain: c_int, kind: c_int) -> impl Fn() -> c_int + Send + Sync {
        // SAFETY: numbers in, a number out.
        move || unsafe { libc::socket(domain, kind, 0) }
    }

    #[test]
    fn a_confined_program_opens_the_sockets_of_netfilter_and_no_others() {
        use libc::{AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM};
        assert!(confined(socket(AF_NETLINK, SOCK_RAW)).is_ok());
        // An ordinary user may not open it either, and is told so by another number.
        let raw = confined(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC));
        assert!(raw.is_ok() || raw.unwrap_err().raw_os_error() != Some(libc::EACCES));
        for (domain, kind) in [
            (AF_UNIX, SOCK_STREAM),
            (AF_UNIX, SOCK_DGRAM),
            (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC),
            (AF_INET, SOCK_STREAM),
            (AF_INET6, SOCK_DGRAM),
            (libc::AF_VSOCK, SOCK_STREAM),
        ] {
            let error = confined(socket(domain, kind)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{domain} {kind}");
        }
    }

    #[test]
    #[allow(unsafe_code)]
    fn a_confined_program_starts_no_process() {
        // SAFETY: it must not come back twice; where it does, the new process ends at once.
        let fork = || unsafe {
            match libc::fork() {
                0 => libc::_exit(0),
                result => result,
            }
        };
        assert_eq!(confined(fork).unwrap_err().raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    #[allow(unsafe_code)]
    fn where_the_kernel_has_landlock_no_names_are_looked_up_in_files() {
        if files().is_none() {
            eprintln!("this kernel has no Landlock: files of names can be read");
            return;
        }
        // SAFETY: the text ends with a zero.
        let open = |path: &'static std::ffi::CStr| move || unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) };
        assert_eq!(confined(open(c"/etc/hosts")).unwrap_err().raw_os_error(), Some(libc::EACCES));
        assert_eq!(confined(open(c"/etc/passwd")).unwrap_err().raw_os_error(), Some(libc::EACCES));
        assert!(confined(open(c"/proc/self/status")).is_ok());
    }
}
