/* search.h - binary search in sorted rows.
 */
#ifndef CASTOFF_COMMON_SEARCH_H
#define CASTOFF_COMMON_SEARCH_H

#include <stdint.h>

/* found[r, j] = number of elements of sequence[r, n] before values[r, j]: those less, or with `right` those not greater.
 * A NaN finds the end. */
#define CASTOFF_SEARCHSORTED(suffix, T)                                                                             \
    static inline __attribute__((unused)) void castoff_searchsorted_##suffix(                                      \
        int64_t *found, const T *sequence, const T *values, int64_t rows, int64_t n, int64_t per_row,              \
        int64_t right) {                                                                                           \
        for (int64_t r = 0; r < rows; r++) {                                                                       \
            const T *row = sequence + r * n;                                                                       \
            for (int64_t j = 0; j < per_row; j++) {                                                                \
                const T value = values[r * per_row + j];                                                           \
                int64_t low = 0, high = n;                                                                         \
                while (low < high) {                                                                               \
                    const int64_t middle = low + (high - low) / 2;                                                 \
                    const int is_before = right ? !(row[middle] > value) : !(row[middle] >= value);                \
                    low = is_before ? middle + 1 : low;                                                            \
                    high = is_before ? high : middle;                                                              \
                }                                                                                                  \
                found[r * per_row + j] = low;                                                                      \
            }                                                                                                      \
        }                                                                                                          \
    }

CASTOFF_SEARCHSORTED(f32, float)
CASTOFF_SEARCHSORTED(f64, double)
CASTOFF_SEARCHSORTED(i64, int64_t)

#endif
