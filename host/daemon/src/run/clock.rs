//! The loop's clock: the time since it began, with the time in which the machine slept, and an alarm of the kernel's own.
//! It wakes the loop once for each alarm; a runtime's timers wake it two or three times, which is most of what a refresh
//! without news costs.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Ticks from the moment in which it was made.
#[derive(Debug)]
pub enum Clock {
    /// The kernel's.
    Kernel(Alarm),
    /// The runtime's, which tests can stop.
    #[cfg(test)]
    Runtime(tokio::time::Instant),
}

/// A timer of the kernel.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<OwnedFd>,
    /// What the kernel's clock showed at the beginning.
    began: Duration,
}

impl Clock {
    /// To be called inside a runtime.
    ///
    /// # Errors
    /// If the system has no timer to give.
    #[allow(unsafe_code, reason = "epoll remembers a descriptor by its number")]
    pub fn start() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        // SAFETY: the number must stay this timer's as long as it is registered. The `OwnedFd` is the only owner, has one
        // number for its life, and goes into the `AsyncFd`, which gives out no more than borrows of it and unregisters
        // the number before it closes it.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        Ok(Self::Kernel(Alarm { timer, began: since_boot() }))
    }

    /// Time since it was made.
    pub fn now(&self) -> Duration {
        match self {
            Self::Kernel(alarm) => alarm.now(),
            #[cfg(test)]
            Self::Runtime(began) => began.elapsed(),
        }
    }

    /// Waits until it shows `at`. There is one alarm: who waits for another time forgets the earlier one.
    pub async fn reaches(&mut self, at: Duration) {
        match self {
            Self::Kernel(alarm) => {
                while alarm.now() < at {
                    // If the kernel takes no alarm, the runtime does.
                    if alarm.ring(at).await.is_err() {
                        tokio::time::sleep(at.saturating_sub(alarm.now())).await;
                    }
                }
            }
            #[cfg(test)]
            Self::Runtime(began) => tokio::time::sleep_until(*began + at).await,
        }
    }
}

impl Alarm {
    fn now(&self) -> Duration {
        since_boot().saturating_sub(self.began)
    }

    async fn ring(&self, at: Duration) -> io::Result<()> {
        let when = Timespec::try_from(self.began.saturating_add(at)).map_err(io::Error::other)?;
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: when };
        // An earlier alarm is forgotten, whether it rang or not.
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        let rung = |timer: &OwnedFd| rustix::io::read(timer, &mut [0; 8][..]).map_err(io::Error::from);
        self.timer.async_io(Interest::READABLE, rung).await.map(drop)
    }
}

fn since_boot() -> Duration {
    // The kernel's clocks never show a time before their beginning.
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for an alarm, and for it no longer.
    async fn forgotten(clock: &mut Clock, at: Duration) {
        tokio::select! {
            biased;
            () = clock.reaches(at) => panic!("it rang early"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn the_newest_alarm_counts() {
        let mut clock = Clock::start().unwrap();
        let (soon, late) = (Duration::from_millis(20), Duration::from_secs(3600));
        forgotten(&mut clock, late).await;
        clock.reaches(soon).await;
        assert!(clock.now() >= soon);
        clock.reaches(soon).await; // long past
        // One that rings while nobody waits for it does not ring for the next.
        let unheard = clock.now() + soon;
        forgotten(&mut clock, unheard).await;
        std::thread::sleep(2 * soon);
        let next = clock.now() + soon;
        clock.reaches(next).await;
        assert!(clock.now() >= next);
    }
}
