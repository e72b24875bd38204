// Messages that carry a descriptor: the CMSG macros are not for Swift. No state, and no logic beyond where the descriptor
// lies in a message.
#pragma once

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/// Sends bytes, and a descriptor with the first of them unless it is negative.
static inline ssize_t clinux_send_with_descriptor(int socket, const void *bytes, size_t count, int descriptor) {
  struct iovec vector = {(void *)bytes, count};
  union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control;
  memset(&control, 0, sizeof control);
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  if (descriptor >= 0) {
    message.msg_control = control.space;
    message.msg_controllen = sizeof control.space;
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(part), &descriptor, sizeof(int));
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}
/// Receives bytes, and the descriptor that came with them, or -1. There is room for one; the kernel closes others.
static inline ssize_t clinux_receive_with_descriptor(int socket, void *bytes, size_t count, int *descriptor) {
  struct iovec vector = {bytes, count};
  union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control;
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = CMSG_LEN(sizeof(int))};
  *descriptor = -1;
  ssize_t result = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (result < 0) return result;
  struct cmsghdr *part = CMSG_FIRSTHDR(&message);
  if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS && part->cmsg_len == CMSG_LEN(sizeof(int)))
    memcpy(descriptor, CMSG_DATA(part), sizeof(int));
  return result;
}
/// Guarded by _GNU_SOURCE.
extern int accept4(int socket, struct sockaddr *address, socklen_t *length, int flags);
static inline int clinux_accept(int socket) { return accept4(socket, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK); }
/// openat(2), which is variadic.
static inline int clinux_openat(int folder, const char *name, int flags, unsigned mode) {
  return openat(folder, name, flags | O_CLOEXEC, mode);
}
