/* grouped.h - products of groups of rows, each group with a matrix of its own.
 */
#ifndef CASTOFF_COMMON_GROUPED_H
#define CASTOFF_COMMON_GROUPED_H

#include <stdint.h>
#include <string.h>

/* out[t, n] = sum over k of rows[t, k] * matrices[g, k, n] for the group g of row t: groups are consecutive, group g
 * stops before row ends[g]. Rows behind the last group give zeros. The inner loop runs along n. */
#define CASTOFF_GROUPED_PRODUCT(suffix, T)                                                                          \
    static inline __attribute__((unused)) void castoff_grouped_product_##suffix(                                   \
        T *restrict out, const T *restrict rows, const T *restrict matrices, const int64_t *ends, int64_t count,   \
        int64_t inner, int64_t width, int64_t groups) {                                                            \
        int64_t group = 0;                                                                                         \
        memset(out, 0, (size_t)(count * width) * sizeof(T));                                                       \
        for (int64_t t = 0; t < count; t++) {                                                                      \
            while (group < groups && ends[group] <= t)                                                             \
                group++;                                                                                           \
            if (group == groups)                                                                                   \
                break;                                                                                             \
            T *restrict row = out + t * width;                                                                     \
            const T *restrict matrix = matrices + group * inner * width;                                           \
            for (int64_t k = 0; k < inner; k++) {                                                                  \
                const T factor = rows[t * inner + k];                                                              \
                for (int64_t n = 0; n < width; n++)                                                                \
                    row[n] += factor * matrix[k * width + n];                                                      \
            }                                                                                                      \
        }                                                                                                          \
    }

CASTOFF_GROUPED_PRODUCT(f32, float)
CASTOFF_GROUPED_PRODUCT(f64, double)

#endif
