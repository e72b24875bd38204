// The block codecs as Swift sees them, and the processor's CRC-32C instructions. No logic and no state.
#pragma once

#include <lz4.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <zstd.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

/// Whether ccodecs_crc32c() may be called on this processor.
static inline int ccodecs_has_crc32c(void) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
  return (getauxval(AT_HWCAP) >> 7) & 1;  // HWCAP_CRC32
#else
  return 0;
#endif
}

/// The longest of three interleaved streams, in 8-byte words.
#define CCODECS_CRC32C_STREAM_WORDS 128

#if defined(__x86_64__)

typedef long long ccodecs_u64x2 __attribute__((vector_size(16)));

static inline uint64_t ccodecs_load64(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}

/// CRC-32C without inversions of `n` bytes from `seed`. One crc32 instruction takes 8 bytes but answers only after
/// three cycles, so three neighbouring streams are kept going and then joined: multiplying a stream's CRC by
/// x^(64 j + 31) and adding it to the last word of the last stream moves it over the bytes that follow it.
/// `shifts[j]` is x^(64 j + 31) mod P, bit-reflected, for j up to 2 * CCODECS_CRC32C_STREAM_WORDS.
__attribute__((target("sse4.2,pclmul"))) static inline uint32_t ccodecs_crc32c(const uint8_t *p, size_t n,
                                                                               uint32_t seed,
                                                                               const uint32_t *shifts) {
  uint64_t a = seed;
  while (n >= 256) {
    size_t words = (n - 8) / 24;
    if (words > CCODECS_CRC32C_STREAM_WORDS) words = CCODECS_CRC32C_STREAM_WORDS;
    size_t stream = words * 8;
    const uint8_t *end = p + stream;
    uint64_t b = 0, c = 0;
#pragma clang loop unroll_count(8)
    for (; p != end; p += 8) {
      a = __builtin_ia32_crc32di(a, ccodecs_load64(p));
      b = __builtin_ia32_crc32di(b, ccodecs_load64(p + stream));
      c = __builtin_ia32_crc32di(c, ccodecs_load64(p + 2 * stream));
    }
    p += 2 * stream;
    ccodecs_u64x2 first = __builtin_ia32_pclmulqdq128((ccodecs_u64x2){(long long)a, 0},
                                                      (ccodecs_u64x2){shifts[2 * words], 0}, 0);
    ccodecs_u64x2 second =
        __builtin_ia32_pclmulqdq128((ccodecs_u64x2){(long long)b, 0}, (ccodecs_u64x2){shifts[words], 0}, 0);
    a = __builtin_ia32_crc32di(c, ccodecs_load64(p) ^ (uint64_t)(first ^ second)[0]);
    p += 8;
    n -= 3 * stream + 8;
  }
  for (; n >= 8; n -= 8, p += 8) a = __builtin_ia32_crc32di(a, ccodecs_load64(p));
  uint32_t crc = (uint32_t)a;
  if (n & 4) {
    uint32_t v;
    memcpy(&v, p, 4);
    crc = __builtin_ia32_crc32si(crc, v);
    p += 4;
  }
  if (n & 2) {
    uint16_t v;
    memcpy(&v, p, 2);
    crc = __builtin_ia32_crc32hi(crc, v);
    p += 2;
  }
  return n & 1 ? __builtin_ia32_crc32qi(crc, *p) : crc;
}

#elif defined(__aarch64__)

/// CRC-32C without inversions of `n` bytes from `seed`; `shifts` is what x86-64 needs.
__attribute__((target("crc"))) static inline uint32_t ccodecs_crc32c(const uint8_t *p, size_t n, uint32_t seed,
                                                                     const uint32_t *shifts) {
  (void)shifts;
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t v;
    memcpy(&v, p, 8);
    seed = __builtin_arm_crc32cd(seed, v);
  }
  for (; n > 0; n--, p++) seed = __builtin_arm_crc32cb(seed, *p);
  return seed;
}

#else

static inline uint32_t ccodecs_crc32c(const uint8_t *p, size_t n, uint32_t seed, const uint32_t *shifts) {
  (void)p, (void)n, (void)shifts;
  return seed;
}

#endif
