/* rows.h - lexicographic order of the rows of a matrix.
 */
#ifndef CASTOFF_COMMON_ROWS_H
#define CASTOFF_COMMON_ROWS_H

#include <stdint.h>
#include <string.h>

/* order[rows] = positions of the rows of x [rows, columns] in lexicographic order, stable; a NaN is larger than every
 * number. A merge sort from the bottom up; `scratch` holds `rows` positions. */
#define CASTOFF_SORT_ROWS(suffix, T)                                                                                \
    static inline __attribute__((unused)) int castoff_row_before_##suffix(const T *a, const T *b, int64_t n) {     \
        for (int64_t j = 0; j < n; j++) {                                                                          \
            if (a[j] < b[j] || (a[j] == a[j] && b[j] != b[j]))                                                     \
                return 1;                                                                                          \
            if (b[j] < a[j] || (b[j] == b[j] && a[j] != a[j]))                                                     \
                return 0;                                                                                          \
        }                                                                                                          \
        return 0;                                                                                                  \
    }                                                                                                              \
    static inline __attribute__((unused)) void castoff_sort_rows_##suffix(                                         \
        int64_t *order, const T *x, int64_t rows, int64_t columns, void *scratch) {                                \
        int64_t *from = order, *to = (int64_t *)scratch;                                                           \
        for (int64_t i = 0; i < rows; i++)                                                                         \
            from[i] = i;                                                                                           \
        for (int64_t width = 1; width < rows; width *= 2) {                                                        \
            for (int64_t start = 0; start < rows; start += 2 * width) {                                            \
                const int64_t middle = start + width < rows ? start + width : rows;                                \
                const int64_t end = middle + width < rows ? middle + width : rows;                                 \
                int64_t left = start, right = middle;                                                              \
                for (int64_t i = start; i < end; i++) {                                                            \
                    const int takes_right =                                                                        \
                        left == middle                                                                             \
                        || (right < end                                                                            \
                            && castoff_row_before_##suffix(x + from[right] * columns, x + from[left] * columns,    \
                                                           columns));                                              \
                    to[i] = takes_right ? from[right++] : from[left++];                                            \
                }                                                                                                  \
            }                                                                                                      \
            int64_t *const other = from;                                                                           \
            from = to;                                                                                             \
            to = other;                                                                                            \
        }                                                                                                          \
        if (from != order)                                                                                         \
            memcpy(order, from, (size_t)rows * sizeof *order);                                                     \
    }

CASTOFF_SORT_ROWS(f32, float)
CASTOFF_SORT_ROWS(f64, double)
CASTOFF_SORT_ROWS(i64, int64_t)

#endif
