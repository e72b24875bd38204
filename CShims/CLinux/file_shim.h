// Calls on files that Swift's Glibc module lacks: guarded by _GNU_SOURCE, or variadic. No logic and no state.
#pragma once

#include "linux_shim.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

/// Locks of an open file description (Linux 3.15): gone with its last descriptor, so also with a killed process.
/// `type` is F_RDLCK, F_WRLCK or F_UNLCK. Does not wait: EAGAIN when somebody else has the range.
static inline int clinux_lock_range(int fd, short type, int64_t start, int64_t length) {
  struct flock lock = {.l_type = type, .l_whence = 0, .l_start = start, .l_len = length, .l_pid = 0};
  return fcntl(fd, 37 /* F_OFD_SETLK */, &lock);
}
/// The first lock of another opening that is in the way of a write lock on this range: 1 and where it is, 0 for none.
static inline int clinux_find_lock(int fd, int64_t start, int64_t length, int64_t *found, int64_t *count) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = 0, .l_start = start, .l_len = length, .l_pid = 0};
  if (fcntl(fd, 36 /* F_OFD_GETLK */, &lock) != 0) return -1;
  *found = lock.l_start;
  *count = lock.l_len;
  return lock.l_type == F_UNLCK ? 0 : 1;
}
/// Gives the space of a range back; it reads as zeroes then. The size stays.
static inline int clinux_punch_hole(int fd, int64_t offset, int64_t length) {
  return (int)syscall(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}
/// Where data begins (SEEK_DATA, 3), or where it ends (SEEK_HOLE, 4), at or after an offset.
static inline int64_t clinux_seek_data(int fd, int64_t offset) { return lseek(fd, offset, 3); }
static inline int64_t clinux_seek_hole(int fd, int64_t offset) { return lseek(fd, offset, 4); }
/// A file in memory without a name.
static inline int clinux_memfd(const char *name) { return (int)syscall(SYS_memfd_create, name, 1U /* MFD_CLOEXEC */); }
/// Asks the file system to change the blocks of a new file in place.
static inline int clinux_set_nocow(int fd) {
  int flags = 0;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) return -1;
  flags |= FS_NOCOW_FL;
  return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}
/// Makes `to` share the blocks of `from`, where the file system can.
static inline int clinux_clone_file(int to, int from) { return ioctl(to, FICLONE, from); }
/// When a file was made (statx, Linux 4.11): 0 and seconds, nanoseconds; 1 where the file system does not know.
static inline int clinux_birth_time(int fd, int64_t *seconds, uint32_t *nanoseconds) {
  struct statx value;
  if (syscall(SYS_statx, fd, "", 0x1000 /* AT_EMPTY_PATH */, STATX_BTIME, &value) != 0) return -1;
  *seconds = value.stx_btime.tv_sec;
  *nanoseconds = value.stx_btime.tv_nsec;
  return value.stx_mask & STATX_BTIME ? 0 : 1;
}
/// What the file system calls an open file (name_to_handle_at, Linux 2.6.39): how many bytes, -1 on failure. `count`: 128.
static inline int clinux_file_handle(int fd, uint8_t *bytes, uint32_t count, int32_t *type) {
  struct { uint32_t count; int32_t type; uint8_t bytes[128]; } handle = {.count = 128};
  int mount = 0;
  if (count < 128 || syscall(SYS_name_to_handle_at, fd, "", &handle, &mount, 0x1000 /* AT_EMPTY_PATH */) != 0) return -1;
  for (uint32_t i = 0; i < handle.count && i < 128; i++) bytes[i] = handle.bytes[i];
  *type = handle.type;
  return (int)handle.count;
}
/// Opens a file that a file system has, by what it calls it; `mount` is any file on it. Needs CAP_DAC_READ_SEARCH.
/// ESTALE when it is gone. Nothing can be read or written with what is opened.
static inline int clinux_open_handle(int mount, int32_t type, const uint8_t *bytes, uint32_t count) {
  struct { uint32_t count; int32_t type; uint8_t bytes[128]; } handle = {.count = count, .type = type};
  for (uint32_t i = 0; i < count && i < 128; i++) handle.bytes[i] = bytes[i];
  return (int)syscall(SYS_open_by_handle_at, mount, &handle, 010000000 /* O_PATH */ | O_CLOEXEC);
}
/// The magic number of a file system; 0 on failure.
static inline uint64_t clinux_file_system_type(int fd) {
  struct statfs value;
  return fstatfs(fd, &value) == 0 ? (uint64_t)value.f_type : 0;
}
/// Guarded by _DEFAULT_SOURCE.
static inline ssize_t clinux_pwritev(int fd, const struct iovec *vectors, int count, int64_t offset) {
  return syscall(SYS_pwritev, fd, vectors, (unsigned long)count, (long)offset, 0L);
}
