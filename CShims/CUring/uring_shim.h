// liburing as Swift sees it, and the few operations that its macros or anonymous unions hide from Swift.
// No logic and no state.
#pragma once

// First, so that liburing's own _XOPEN_SOURCE comes too late to change glibc's types, which Swift has seen already.
#include <sys/select.h>

#include <liburing.h>
#include <string.h>

/// IORING_OP_URING_CMD with its payload at byte 48 of the entry. `file` is a slot of the ring's file table
/// when `fixed` is not 0.
static inline void curing_prep_command(struct io_uring_sqe *sqe, int file, int fixed, unsigned operation,
                                       const void *payload, unsigned payload_bytes) {
  io_uring_prep_rw(IORING_OP_URING_CMD, sqe, file, 0, 0, 0);
  if (fixed) sqe->flags |= IOSQE_FIXED_FILE;
  sqe->cmd_op = operation;
  memcpy((char *)sqe + 48, payload, payload_bytes);
}

static inline void curing_set_addr(struct io_uring_sqe *sqe, uint64_t value) { sqe->addr = value; }

/// The i-th completion that is ready; i must be below io_uring_cq_ready().
static inline const struct io_uring_cqe *curing_completion(const struct io_uring *ring, unsigned i) {
  unsigned shift = (ring->flags & IORING_SETUP_CQE32) ? 1 : 0;
  return &ring->cq.cqes[((*ring->cq.khead + i) & *ring->cq.kring_mask) << shift];
}
