/* castoff_cpu.c: which CPU levels run here. The compiler's own __builtin_cpu_supports is not asked: it differs between
 * compilers, and some of its versions forget what the kernel has to save. */
#define _GNU_SOURCE
#include "castoff_cpu.h"

#include <string.h>

#include "castoff_program.h"

#if defined(__x86_64__)
#include <cpuid.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static uint64_t enabled_register_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

/* Tiles are off until a process asks the kernel for them. */
static int tiles_permitted(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
  enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
  return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
  return 0;
#endif
}

typedef struct {
  uint32_t bit;
  uint64_t feature;
} feature_bit;

static uint64_t features_of(uint32_t word, const feature_bit *bits, size_t count) {
  uint64_t features = 0;
  for (size_t i = 0; i < count; i++)
    if (word >> bits[i].bit & 1) features |= bits[i].feature;
  return features;
}

#define FEATURES_OF(word, bits) features_of(word, bits, sizeof(bits) / sizeof(bits[0]))

uint64_t castoff_cpu_features(void) {
  static const feature_bit leaf1_ecx[] = {
      {0, CASTOFF_FEATURE_SSE3},    {9, CASTOFF_FEATURE_SSSE3},   {19, CASTOFF_FEATURE_SSE4_1},
      {20, CASTOFF_FEATURE_SSE4_2}, {23, CASTOFF_FEATURE_POPCNT}, {22, CASTOFF_FEATURE_MOVBE},
      {28, CASTOFF_FEATURE_AVX},    {12, CASTOFF_FEATURE_FMA},    {29, CASTOFF_FEATURE_F16C}};
  static const feature_bit leaf7_ebx[] = {
      {3, CASTOFF_FEATURE_BMI1},      {5, CASTOFF_FEATURE_AVX2},      {8, CASTOFF_FEATURE_BMI2},
      {16, CASTOFF_FEATURE_AVX512F},  {17, CASTOFF_FEATURE_AVX512DQ}, {21, CASTOFF_FEATURE_AVX512IFMA},
      {28, CASTOFF_FEATURE_AVX512CD}, {30, CASTOFF_FEATURE_AVX512BW}, {31, CASTOFF_FEATURE_AVX512VL}};
  static const feature_bit leaf7_ecx[] = {
      {1, CASTOFF_FEATURE_AVX512VBMI},  {6, CASTOFF_FEATURE_AVX512VBMI2},   {8, CASTOFF_FEATURE_GFNI},
      {11, CASTOFF_FEATURE_AVX512VNNI}, {12, CASTOFF_FEATURE_AVX512BITALG}, {14, CASTOFF_FEATURE_AVX512VPOPCNTDQ}};
  static const feature_bit leaf7_edx[] = {{22, CASTOFF_FEATURE_AMX_BF16},
                                          {23, CASTOFF_FEATURE_AVX512FP16},
                                          {24, CASTOFF_FEATURE_AMX_TILE},
                                          {25, CASTOFF_FEATURE_AMX_INT8}};
  static const feature_bit leaf7_1_eax[] = {{4, CASTOFF_FEATURE_AVXVNNI}, {5, CASTOFF_FEATURE_AVX512BF16}};
  static const feature_bit extended_ecx[] = {
      {5, CASTOFF_FEATURE_LZCNT}, {11, CASTOFF_FEATURE_XOP}, {16, CASTOFF_FEATURE_FMA4}, {21, CASTOFF_FEATURE_TBM}};
  const uint64_t sse = CASTOFF_FEATURE_SSE3 | CASTOFF_FEATURE_SSSE3 | CASTOFF_FEATURE_SSE4_1 | CASTOFF_FEATURE_SSE4_2 |
                       CASTOFF_FEATURE_POPCNT | CASTOFF_FEATURE_BMI1 | CASTOFF_FEATURE_BMI2 | CASTOFF_FEATURE_LZCNT |
                       CASTOFF_FEATURE_MOVBE | CASTOFF_FEATURE_GFNI | CASTOFF_FEATURE_TBM;
  const uint64_t avx = CASTOFF_FEATURE_AVX | CASTOFF_FEATURE_AVX2 | CASTOFF_FEATURE_FMA | CASTOFF_FEATURE_F16C |
                       CASTOFF_FEATURE_AVXVNNI | CASTOFF_FEATURE_FMA4 | CASTOFF_FEATURE_XOP;
  const uint64_t tiles = CASTOFF_FEATURE_AMX_TILE | CASTOFF_FEATURE_AMX_BF16 | CASTOFF_FEATURE_AMX_INT8;

  uint32_t a, b, c, d;
  uint64_t features = 0;
  uint64_t usable = sse;
  if (__get_cpuid(1, &a, &b, &c, &d)) {
    features |= FEATURES_OF(c, leaf1_ecx);
    const uint32_t os_saves_registers = c >> 27 & 1;
    const uint64_t state = os_saves_registers ? enabled_register_state() : 0;
    if ((state & 0x6) == 0x6) usable |= avx;
    if ((state & 0xe6) == 0xe6) usable |= ~(sse | avx | tiles);
    if ((state & 0x60000) == 0x60000) usable |= tiles;
  }
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    features |= FEATURES_OF(b, leaf7_ebx) | FEATURES_OF(c, leaf7_ecx) | FEATURES_OF(d, leaf7_edx);
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) features |= FEATURES_OF(a, leaf7_1_eax);
  }
  if (__get_cpuid(0x80000001, &a, &b, &c, &d)) features |= FEATURES_OF(c, extended_ecx);
  features &= usable;
  if (features & tiles && !tiles_permitted()) features &= ~tiles;
  return features;
}

#else

uint64_t castoff_cpu_features(void) { return 0; }

#endif

static const char *const level_names[CASTOFF_LEVEL_COUNT] = {
#if defined(__x86_64__)
    "x86-64",
#else
    "generic",
#endif
    "x86-64-v3", "x86-64-v4", "x86-64-bf16", "x86-64-amx", "native"};

const char *castoff_level_name(int level) { return level_names[level]; }

int castoff_level_of_name(const char *name) {
  for (int level = 0; level < CASTOFF_LEVEL_COUNT; level++)
    if (strcmp(name, level_names[level]) == 0) return level;
  return -1;
}

int castoff_level_fits(int level, uint64_t features, uint64_t native_features) {
  const uint64_t needed[CASTOFF_LEVEL_COUNT] = {0, CASTOFF_FEATURES_V3, CASTOFF_FEATURES_V4, CASTOFF_FEATURES_BF16,
                                                CASTOFF_FEATURES_AMX, native_features};
#if !defined(__x86_64__)
  if (level != CASTOFF_LEVEL_BASELINE && level != CASTOFF_LEVEL_NATIVE) return 0;
#endif
  return (features & needed[level]) == needed[level];
}
