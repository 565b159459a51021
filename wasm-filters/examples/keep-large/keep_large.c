// Keeps records whose body has at least so many bytes, in C without any library. The contract is in
// wasm-filters/host/README.md, the layout of a batch in wasm-filters/host/src/batch.rs.

#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))

// What the host reads without running anything.
__asm__(".section .custom_section.millrace.filter,\"\",@\n"
        ".ascii \"{\\\"abi\\\":1,\\\"sdk\\\":\\\"c\\\",\\\"name\\\":\\\"keep-large\\\",\"\n"
        ".ascii \"\\\"version\\\":\\\"1.0.0\\\",\\\"kinds\\\":[\\\"filter\\\"],\"\n"
        ".ascii \"\\\"params\\\":{\\\"required\\\":[\\\"bytes\\\"],\"\n"
        ".ascii \"\\\"properties\\\":{\\\"bytes\\\":{\\\"type\\\":\\\"integer\\\"}}}}\"\n");

EXPORT(mr_abi_v1) void mr_abi_v1(void) {}

// Memory for the host: pieces of 2^n bytes, kept for the next one of that size.

extern uint8_t __heap_base;
static uint32_t heap_end;
static void *spare[32];

static int size_class(uint32_t len) { return len <= 16 ? 4 : 32 - __builtin_clz(len - 1); }

EXPORT(mr_alloc) void *mr_alloc(uint32_t len, uint32_t align) {
  if (len > 1u << 30 || align > 16) return 0;
  int class = size_class(len);
  void *piece = spare[class];
  if (piece) {
    spare[class] = *(void **)piece;
    return piece;
  }
  if (!heap_end) heap_end = ((uint32_t)&__heap_base + 15) & ~15u;
  uint32_t begin = heap_end, pages = __builtin_wasm_memory_size(0);
  uint64_t end = (uint64_t)begin + (1u << class);
  uint64_t wanted = (end + 0xffff) >> 16;
  if (wanted > pages && __builtin_wasm_memory_grow(0, wanted - pages) == (uint32_t)-1) return 0;
  heap_end = end;
  return (void *)begin;
}

EXPORT(mr_free) void mr_free(void *piece, uint32_t len, uint32_t align) {
  *(void **)piece = spare[size_class(len)];
  spare[size_class(len)] = piece;
}

// The one parameter. The host has seen to it that it is there and a whole number.

static int64_t least;

EXPORT(mr_init) int32_t mr_init(const char *params, uint32_t len) {
  uint32_t at = 0;
  while (at < len && params[at] != ':') at++;
  if (at + 1 < len && params[at + 1] == '-') return -1;
  for (at++; at < len && params[at] >= '0' && params[at] <= '9'; at++) {
    if (least > INT32_MAX) return -1;
    least = least * 10 + (params[at] - '0');
  }
  return 0;
}

EXPORT(mr_filter) int32_t mr_filter(const uint8_t *batch, uint32_t len, uint8_t *verdicts) {
  const uint32_t *header = (const uint32_t *)batch;
  uint32_t count = header[2], descriptions = header[3], stride = header[4];
  int32_t kept = 0;
  for (uint32_t record = 0; record < count; record++) {
    const uint32_t *description = (const uint32_t *)(batch + descriptions + record * stride);
    verdicts[record] = description[7] >= least;
    kept += verdicts[record];
  }
  return kept;
}
