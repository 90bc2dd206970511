//! What the process takes, by the names that the client libraries of Prometheus give it.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use procfs::{
    ProcResult, WithCurrentSystemInfo as _,
    process::{LimitValue, Process},
};

use super::at_scrape;

const START: &str = "process_start_time_seconds";
const CPU: &str = "process_cpu_seconds_total";
const MEMORY: &str = "process_resident_memory_bytes";
const OPEN_FILES: &str = "process_open_fds";
const MOST_FILES: &str = "process_max_fds";

/// Shows it, each time that somebody looks: a few files of /proc, which are read without a disk.
pub(super) fn begin() {
    describe_gauge!(START, "when the process has begun, in seconds since the Unix epoch");
    describe_counter!(CPU, "processor time of the process, in whole seconds");
    describe_gauge!(MEMORY, "memory of the process that is not swapped out, and not given back");
    describe_gauge!(OPEN_FILES, "open files and sockets of the process");
    describe_gauge!(MOST_FILES, "open files and sockets of the process at most");
    // Once: the kernel's word changes with the clock, and a change is taken for another start.
    let started = started().ok();
    at_scrape(move || {
        // What the kernel does not say is not shown.
        if let Some(started) = started {
            gauge!(START).set(started);
        }
        let _unknown = measure();
        true
    });
}

fn started() -> ProcResult<f64> {
    let ticks = Process::myself()?.stat()?.starttime as f64;
    Ok(procfs::boot_time_secs()? as f64 + ticks / procfs::ticks_per_second() as f64)
}

fn measure() -> ProcResult<()> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    counter!(CPU).absolute((stat.utime + stat.stime) / procfs::ticks_per_second());
    gauge!(MEMORY).set(stat.rss_bytes().get() as f64);
    gauge!(OPEN_FILES).set(process.fd_count()? as f64);
    if let LimitValue::Value(most) = process.limits()?.max_open_files.soft_limit {
        gauge!(MOST_FILES).set(most as f64);
    }
    Ok(())
}
