/* grouped.h - products of groups of rows, each group with a matrix of its own, and of groups of what is summed.
 */
#ifndef CASTOFF_COMMON_GROUPED_H
#define CASTOFF_COMMON_GROUPED_H

#include <stdint.h>

#include "common/types.h"

#define CASTOFF_GROUPED_WIDTH 256 /* sums of a row that are under way at once */

/* out[n] = sum over k from begin to end of row[k] * matrix[k, n]. Sums are of type SUM; the inner loop runs along n. */
#define CASTOFF_GROUPED_ROW(suffix, T, SUM, WIDEN, NARROW)                                                         \
    static inline __attribute__((unused)) void castoff_grouped_row_##suffix(T *restrict out, const T *restrict row,\
                                                                            const T *restrict matrix, int64_t begin,\
                                                                            int64_t end, int64_t width) {          \
        for (int64_t first = 0; first < width; first += CASTOFF_GROUPED_WIDTH) {                                   \
            const int64_t rest = width - first;                                                                    \
            const int64_t many = rest < CASTOFF_GROUPED_WIDTH ? rest : CASTOFF_GROUPED_WIDTH;                      \
            SUM sums[CASTOFF_GROUPED_WIDTH] = {0};                                                                 \
            for (int64_t k = begin; k < end; k++) {                                                                \
                const SUM factor = WIDEN(row[k]);                                                                  \
                for (int64_t n = 0; n < many; n++)                                                                 \
                    sums[n] += factor * WIDEN(matrix[k * width + first + n]);                                      \
            }                                                                                                      \
            for (int64_t n = 0; n < many; n++)                                                                     \
                out[first + n] = NARROW(sums[n]);                                                                  \
        }                                                                                                          \
    }

/* out[t, n] = sum over k of rows[t, k] * matrices[g, k, n] for the group g of row t: groups are consecutive, group g
 * stops before row ends[g]. Rows behind the last group give zeros. */
#define CASTOFF_GROUPED_PRODUCT(suffix, T)                                                                         \
    static inline __attribute__((unused)) void castoff_grouped_product_##suffix(                                   \
        T *restrict out, const T *restrict rows, const T *restrict matrices, const int64_t *ends, int64_t count,   \
        int64_t inner, int64_t width, int64_t groups) {                                                            \
        int64_t group = 0;                                                                                         \
        for (int64_t t = 0; t < count; t++) {                                                                      \
            while (group < groups && ends[group] <= t)                                                             \
                group++;                                                                                           \
            castoff_grouped_row_##suffix(out + t * width, rows + t * inner, matrices + group * inner * width, 0,   \
                                         group < groups ? inner : 0, width);                                       \
        }                                                                                                          \
    }

/* out[g, t, n] = sum over the k of group g of rows[t, k] * matrix[k, n]: groups are consecutive, group g stops before
 * k = ends[g]. */
#define CASTOFF_GROUPED_DEPTHS(suffix, T)                                                                          \
    static inline __attribute__((unused)) void castoff_grouped_depths_##suffix(                                    \
        T *restrict out, const T *restrict rows, const T *restrict matrix, const int64_t *ends, int64_t count,     \
        int64_t inner, int64_t width, int64_t groups) {                                                            \
        int64_t begin = 0;                                                                                         \
        for (int64_t group = 0; group < groups; group++) {                                                         \
            const int64_t end = ends[group] < inner ? ends[group] : inner;                                         \
            for (int64_t t = 0; t < count; t++)                                                                    \
                castoff_grouped_row_##suffix(out + (group * count + t) * width, rows + t * inner, matrix, begin, end,\
                                             width);                                                               \
            if (begin < end)                                                                                       \
                begin = end;                                                                                       \
        }                                                                                                          \
    }

#define CASTOFF_GROUPED(suffix, T, SUM, WIDEN, NARROW)                                                             \
    CASTOFF_GROUPED_ROW(suffix, T, SUM, WIDEN, NARROW)                                                             \
    CASTOFF_GROUPED_PRODUCT(suffix, T)                                                                             \
    CASTOFF_GROUPED_DEPTHS(suffix, T)

#define CASTOFF_GROUPED_SAME(x) (x)
CASTOFF_GROUPED(f32, float, float, CASTOFF_GROUPED_SAME, CASTOFF_GROUPED_SAME)
CASTOFF_GROUPED(f64, double, double, CASTOFF_GROUPED_SAME, CASTOFF_GROUPED_SAME)
CASTOFF_GROUPED(f16, castoff_f16, float, castoff_f16_to_f32, castoff_f32_to_f16)
CASTOFF_GROUPED(bf16, castoff_bf16, float, castoff_bf16_to_f32, castoff_f32_to_bf16)

#endif
