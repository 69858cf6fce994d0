/* selection.h - positions of elements that satisfy a condition.
 */
#ifndef CASTOFF_COMMON_SELECTION_H
#define CASTOFF_COMMON_SELECTION_H

#include "types.h"

/* Writes the indices of the true elements of `mask` [sizes], in row-major order, as `count` rows of `rank` numbers.
 * Rows that are left are filled with `fill`; true elements that no row is left for are not written. */
static inline __attribute__((unused)) void castoff_nonzero(int64_t *rows, const castoff_b8 *mask, int64_t rank,
                                                           const int64_t *sizes, int64_t count, int64_t fill) {
    int64_t total = 1, row = 0;
    for (int64_t axis = 0; axis < rank; axis++)
        total *= sizes[axis];
    for (int64_t position = 0; position < total && row < count; position++) {
        if (!mask[position])
            continue;
        int64_t rest = position;
        for (int64_t axis = rank - 1; axis >= 0; axis--) {
            rows[row * rank + axis] = rest % sizes[axis];
            rest /= sizes[axis];
        }
        row++;
    }
    for (int64_t i = row * rank; i < count * rank; i++)
        rows[i] = fill;
}

#endif
