// What Swift's Glibc module cannot import: variadic functions, function-like macros and a few
// constants that glibc guards behind _GNU_SOURCE. No logic and no state.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

/// Linux 5.18: like MADV_DONTNEED, also for locked pages. Older headers do not have it.
#define CLINUX_MADV_DONTNEED_LOCKED 24
/// Linux 5.6: tasks so marked do not wait for the I/O that they themselves have to serve.
#define CLINUX_PR_SET_IO_FLUSHER 57
#define CLINUX_MCL_CURRENT_FUTURE_ONFAULT (1 | 2 | 4)

static inline int clinux_open(const char *path, int flags, unsigned mode) { return open(path, flags, mode); }
static inline int clinux_prctl(int option, unsigned long arg) { return prctl(option, arg, 0UL, 0UL, 0UL); }
static inline int clinux_ioctl_u64(int fd, unsigned long request, uint64_t *value) { return ioctl(fd, request, value); }
static inline unsigned clinux_major(uint64_t dev) { return gnu_dev_major(dev); }
static inline unsigned clinux_minor(uint64_t dev) { return gnu_dev_minor(dev); }
static inline ssize_t clinux_pread_nowait(int fd, void *buffer, size_t count, int64_t offset) {
  struct iovec v = {buffer, count};
  return syscall(SYS_preadv2, fd, &v, 1UL, (long)offset, 0L, 0x08 /* RWF_NOWAIT */);
}
/// Pages of a range that the page cache has (cachestat, 6.5), or -1.
static inline int64_t clinux_cached_pages(int fd, uint64_t offset, uint64_t count) {
  struct { uint64_t offset, count; } range = {offset, count};
  struct { uint64_t cached, dirty, writeback, evicted, recently_evicted; } found;
  return syscall(451 /* SYS_cachestat */, fd, &range, &found, 0L) < 0 ? -1 : (int64_t)found.cached;
}
/// Guarded by _GNU_SOURCE, which cannot be defined here: it would make this module's view of glibc's types
/// differ from that of Swift's own Glibc module.
extern const char *strerrorname_np(int error);
extern int pipe2(int ends[2], int flags);
static inline const char *clinux_errno_name(int error) { return strerrorname_np(error); }
static inline int clinux_pipe_cloexec(int *ends) { return pipe2(ends, O_CLOEXEC); }
static inline int clinux_pidfd_open(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
static inline int clinux_gettid(void) { return (int)syscall(SYS_gettid); }
/// BLKGETSIZE64, a function-like macro.
static inline int clinux_block_size64(int fd, uint64_t *bytes) { return ioctl(fd, BLKGETSIZE64, bytes); }
/// fork(2), which Swift's overlay forbids: safe only while the process has one thread.
static inline int clinux_fork(void) { return fork(); }
/// Pins the calling thread to `bytes` bytes of CPU mask.
static inline int clinux_set_affinity(const void *mask, size_t bytes) {
  return (int)syscall(SYS_sched_setaffinity, 0, bytes, mask) < 0 ? -1 : 0;
}
/// A counter that poll(2) can wait for.
static inline int clinux_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
/// Tells the CPU that this thread waits for another one.
static inline void clinux_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  __asm__ volatile("yield");
#endif
}
/// Names the calling thread: the first 15 bytes count.
static inline void clinux_set_thread_name(const char *name) { prctl(PR_SET_NAME, name, 0UL, 0UL, 0UL); }
