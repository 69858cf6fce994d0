/* random.h - a counter-based generator: Philox 4x32-10 (Salmon et al., SC 2011).
 *
 * Element i of stream s under seed k is a pure function of (k, s, i), so results do not depend on threads or order:
 * the key is the seed, the counter is (i, s), 64 bits each. The numbers are not PyTorch's.
 */
#ifndef CASTOFF_COMMON_RANDOM_H
#define CASTOFF_COMMON_RANDOM_H

#include "types.h"

CASTOFF_INLINE void castoff_philox(uint64_t seed, uint64_t stream, uint64_t index, uint32_t word[4]) {
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
}

CASTOFF_INLINE uint64_t castoff_random_u64(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t word[4];
    castoff_philox(seed, stream, index, word);
    return (uint64_t)word[1] << 32 | word[0];
}
/* Uniform on [0, 1): 24 and 53 random bits. */
CASTOFF_INLINE float castoff_uniform_f32(uint64_t seed, uint64_t stream, uint64_t index) {
    return (float)(castoff_random_u64(seed, stream, index) >> 40) * 0x1p-24f;
}
CASTOFF_INLINE double castoff_uniform_f64(uint64_t seed, uint64_t stream, uint64_t index) {
    return (double)(castoff_random_u64(seed, stream, index) >> 11) * 0x1p-53;
}
/* Standard normal by Box and Muller, from the four words of one counter. */
CASTOFF_INLINE double castoff_normal_f64(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t word[4];
    castoff_philox(seed, stream, index, word);
    double radius = ((double)(((uint64_t)word[1] << 32 | word[0]) >> 11) + 1.0) * 0x1p-53; /* (0, 1] */
    double turn = (double)(((uint64_t)word[3] << 32 | word[2]) >> 11) * 0x1p-53;
    return __builtin_sqrt(-2.0 * __builtin_log(radius)) * __builtin_cos(6.28318530717958647693 * turn);
}
CASTOFF_INLINE float castoff_normal_f32(uint64_t seed, uint64_t stream, uint64_t index) {
    return (float)castoff_normal_f64(seed, stream, index);
}
/* Uniform on [low, high) for low < high; the bias is below 2^-64 * (high - low). */
CASTOFF_INLINE int64_t castoff_randint_i64(uint64_t seed, uint64_t stream, uint64_t index, int64_t low, int64_t high) {
    uint64_t range = (uint64_t)high - (uint64_t)low, bits = castoff_random_u64(seed, stream, index);
    uint64_t high_low = (bits >> 32) * (range & 0xffffffffu), low_high = (bits & 0xffffffffu) * (range >> 32);
    uint64_t carry = ((bits & 0xffffffffu) * (range & 0xffffffffu)) >> 32;
    uint64_t middle = (high_low & 0xffffffffu) + (low_high & 0xffffffffu) + carry;
    uint64_t offset = (bits >> 32) * (range >> 32) + (high_low >> 32) + (low_high >> 32) + (middle >> 32);
    return (int64_t)((uint64_t)low + offset);
}

#endif
