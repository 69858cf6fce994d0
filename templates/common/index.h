/* index.h - positions read from tensors, checked before they are used.
 *
 * A position outside [0, size) sets *fault and becomes 0, so that the loop goes on without reading elsewhere; the
 * program fails when the kernel is done.
 */
#ifndef CASTOFF_COMMON_INDEX_H
#define CASTOFF_COMMON_INDEX_H

#include "types.h"

/* Threads race for it, all with the same value. */
#if defined(__CUDACC__)
#define CASTOFF_NOTE_FAULT(fault) (*(volatile int *)(fault) = 1)
#else
#define CASTOFF_NOTE_FAULT(fault) __atomic_store_n(fault, 1, __ATOMIC_RELAXED)
#endif

CASTOFF_INLINE int64_t castoff_check_index(int64_t index, int64_t size, int *fault) {
    if ((uint64_t)index >= (uint64_t)size) {
        CASTOFF_NOTE_FAULT(fault);
        index = 0;
    }
    return index;
}

/* Negative positions count from the end. */
CASTOFF_INLINE int64_t castoff_wrap_index(int64_t index, int64_t size, int *fault) {
    return castoff_check_index(index < 0 ? index + size : index, size, fault);
}

#endif
