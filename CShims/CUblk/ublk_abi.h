// The ublk kernel interface as of Linux 7.3: structures and encoded commands. The distribution's
// <linux/ublk_cmd.h> is as old as its kernel headers, so the interface stands here in our own words.
// No logic and no state.
#pragma once

#include <stdint.h>

// Control commands (32-byte payload, 128-byte SQEs); the number of the release is the first with it.
#define UBLK_CMD_GET_QUEUE_AFFINITY 0x80207501u  // 6.0
#define UBLK_CMD_GET_DEV_INFO 0x80207502u        // 6.0
#define UBLK_CMD_ADD_DEV 0xc0207504u             // 6.0
#define UBLK_CMD_DEL_DEV 0xc0207505u             // 6.0
#define UBLK_CMD_START_DEV 0xc0207506u           // 6.0
#define UBLK_CMD_STOP_DEV 0xc0207507u            // 6.0
#define UBLK_CMD_SET_PARAMS 0xc0207508u          // 6.0
#define UBLK_CMD_GET_PARAMS 0x80207509u          // 6.0
#define UBLK_CMD_GET_FEATURES 0x80207513u        // 6.5
#define UBLK_CMD_UPDATE_SIZE 0xc0207515u         // 6.16
#define UBLK_CMD_TRY_STOP_DEV 0xc0207517u        // 7.0

// Per-tag commands (16-byte payload, ordinary SQEs).
#define UBLK_IO_FETCH_REQ 0xc0107520u
#define UBLK_IO_COMMIT_AND_FETCH_REQ 0xc0107521u

/// Byte offset of a request's data in /dev/ublkcN for user copy (6.5).
#define UBLK_USER_COPY_BASE 0x80000000ull
#define UBLK_USER_COPY_QUEUE_SHIFT 41
#define UBLK_USER_COPY_TAG_SHIFT 25

/// The distance of two queues' descriptor arrays is computed with this depth, whatever the real one is.
#define UBLK_MAX_DEPTH 4096

struct ublk_ctrl_cmd {
  uint32_t dev_id;
  uint16_t queue_id;
  uint16_t len;
  uint64_t addr;
  uint64_t data;
  uint16_t dev_path_len;
  uint16_t pad;
  uint32_t reserved;
};

struct ublk_dev_info {
  uint16_t nr_hw_queues;
  uint16_t queue_depth;
  uint16_t state;
  uint16_t io_desc_size;
  uint32_t max_io_buf_bytes;
  uint32_t dev_id;
  int32_t server_pid;
  uint32_t pad;
  uint64_t flags;
  uint64_t server_flags;
  uint32_t owner_uid;
  uint32_t owner_gid;
  uint64_t reserved[2];
};

struct ublk_io_desc {
  uint32_t op_flags;
  uint32_t nr_sectors;
  uint64_t start_sector;
  uint64_t addr;
};

struct ublk_io_cmd {
  uint16_t q_id;
  uint16_t tag;
  int32_t result;
  uint64_t addr;
};

struct ublk_param_basic {
  uint32_t attrs;
  uint8_t logical_bs_shift;
  uint8_t physical_bs_shift;
  uint8_t io_opt_shift;
  uint8_t io_min_shift;
  uint32_t max_sectors;
  uint32_t chunk_sectors;
  uint64_t dev_sectors;
  uint64_t virt_boundary_mask;
};

struct ublk_param_discard {
  uint32_t alignment;
  uint32_t granularity;
  uint32_t max_discard_sectors;
  uint32_t max_write_zeroes_sectors;
  uint16_t max_discard_segments;
  uint16_t reserved;
};

struct ublk_param_devt {
  uint32_t char_major;
  uint32_t char_minor;
  uint32_t disk_major;
  uint32_t disk_minor;
};

struct ublk_param_dma {
  uint32_t alignment;
  uint32_t pad;
};

struct ublk_param_segment {
  uint64_t boundary_mask;
  uint32_t max_segment_size;
  uint16_t max_segments;
  uint16_t pad;
};

struct ublk_params {
  uint32_t len;
  uint32_t types;
  struct ublk_param_basic basic;
  struct ublk_param_discard discard;
  struct ublk_param_devt devt;
  uint8_t zoned[32];
  struct ublk_param_dma dma;
  uint8_t pad[4];
  struct ublk_param_segment seg;
  uint8_t integrity[16];
};

_Static_assert(sizeof(struct ublk_ctrl_cmd) == 32, "control payload");
_Static_assert(sizeof(struct ublk_dev_info) == 64, "device information");
_Static_assert(sizeof(struct ublk_io_desc) == 24, "request descriptor");
_Static_assert(sizeof(struct ublk_io_cmd) == 16, "per-tag payload");
_Static_assert(sizeof(struct ublk_params) == 152, "parameters");
