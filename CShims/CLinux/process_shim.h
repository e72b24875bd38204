// What a process that serves devices asks of Linux beyond linux_shim.h: limits, signals to a process that is held
// by a descriptor, a mount table of its own. No logic and no state.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/// Linux 3.15: no huge pages in this process.
#define CLINUX_PR_SET_THP_DISABLE 41
/// Sends this process a signal when its parent ends.
#define CLINUX_PR_SET_PDEATHSIG 1
#define CLINUX_RLIMIT_NOFILE 7
#define CLINUX_RLIMIT_MEMLOCK 8
/// MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT (Linux 4.4)
#define CLINUX_MCL_EVERYTHING_ON_FAULT 7
/// A descriptor that reads the signals of `mask`, a sigset_t whose first 8 bytes are what the kernel knows.
static inline int clinux_signalfd(const void *mask) {
  return (int)syscall(SYS_signalfd4, -1, mask, 8UL, O_CLOEXEC | O_NONBLOCK);
}
/// Closes descriptors first to last (Linux 5.9).
static inline int clinux_close_range(unsigned first, unsigned last) {
  return (int)syscall(SYS_close_range, first, last, 0U);
}
/// Whether a system call, by its number, changes a file or makes it durable: 1 or 0.
static inline int clinux_is_storing_call(int number) {
  switch (number) {
    case SYS_fsync: case SYS_fdatasync: case SYS_sync_file_range: case SYS_syncfs: case SYS_write: case SYS_writev:
    case SYS_pwrite64: case SYS_pwritev: case SYS_pwritev2: case SYS_fallocate: case SYS_ftruncate: case SYS_renameat2:
#ifdef SYS_rename
    case SYS_rename:
#endif
      return 1;
    default: return 0;
  }
}
/// A write lock on the whole file that belongs to the open file, so that a child inherits it (F_OFD_SETLK, Linux 3.15).
static inline int clinux_lock_file(int fd) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl(fd, 37, &lock);
}
/// Whether somebody else has such a lock; -1 when that cannot be told.
static inline int clinux_is_locked(int fd) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl(fd, 36, &lock) != 0 ? -1 : lock.l_type != F_UNLCK;
}
/// A descriptor that reads what happens to the names in a folder: files that were put there or removed.
static inline int clinux_watch_folder(const char *path) {
  int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (fd >= 0 && inotify_add_watch(fd, path, IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_ONLYDIR) < 0) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  return fd;
}
/// In the mount table of another process from now on, in the root folder of that table.
static inline int clinux_enter_mounts(int fd) { return (int)syscall(SYS_setns, fd, 0x00020000 /* CLONE_NEWNS */); }
/// Guarded by _GNU_SOURCE.
extern int unshare(int flags);
static inline int clinux_unshare_mounts(void) { return unshare(0x00020000 /* CLONE_NEWNS */); }
static inline int clinux_pidfd_signal(int pidfd, int signal) {
  return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, 0L, 0UL);
}
static inline int clinux_get_limit(int resource, uint64_t *soft, uint64_t *hard) {
  struct rlimit limit;
  if (getrlimit(resource, &limit) != 0) return -1;
  *soft = limit.rlim_cur;
  *hard = limit.rlim_max;
  return 0;
}
static inline int clinux_set_limit(int resource, uint64_t soft, uint64_t hard) {
  struct rlimit limit = {soft, hard};
  return setrlimit(resource, &limit);
}
/// glibc 2.34; guarded by _GNU_SOURCE.
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);
static inline int clinux_spawn_close_from(posix_spawn_file_actions_t *actions, int from) {
  return posix_spawn_file_actions_addclosefrom_np(actions, from);
}
