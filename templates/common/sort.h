/* sort.h - sorting along one axis, and what follows from it: top k, k-th value, median, mode.
 *
 * Arrays are contiguous [outer, length, inner]; the axis is the middle one. Results are values of the array's own type and
 * int64 positions. NaN counts as larger than every number (so it comes last ascending, first descending). Sorting is
 * stable in both directions; where values tie, top k and k-th value take the ones that come first in the array.
 *
 * castoff_<op>_<suffix> for f16 bf16 f32 f64 i8 i16 i32 i64 u8 u16 u32 u64 b8. `scratch` holds
 * castoff_sort_scratch_bytes(length) bytes, aligned to 8, and is one thread's own.
 */
#ifndef CASTOFF_COMMON_SORT_H
#define CASTOFF_COMMON_SORT_H

#include "types.h"

#define CASTOFF_SORT_RUN 12

CASTOFF_INLINE int64_t castoff_sort_scratch_bytes(int64_t length) { return length * 2 * 16; }

/* T is stored, K compared, LOAD turns the one into the other. */
#define CASTOFF_SORT_TYPE(suffix, T, K, LOAD)                                                                       \
    typedef struct { K key; int64_t index; } castoff_sort_pair_##suffix;                                            \
    CASTOFF_INLINE int castoff_sort_before_##suffix(K a, K b, int descending) {                                     \
        return descending ? (a > b) | ((a != a) & (b == b)) : (a < b) | ((b != b) & (a == a));                      \
    }                                                                                                               \
    /* Insertion sort of short runs, then merges from one half of the scratch to the other and back. */             \
    CASTOFF_LARGE castoff_sort_pair_##suffix *castoff_sort_pairs_##suffix(                                          \
        castoff_sort_pair_##suffix *pairs, castoff_sort_pair_##suffix *other, int64_t length, int descending) {     \
        for (int64_t start = 0; start < length; start += CASTOFF_SORT_RUN) {                                        \
            int64_t stop = length - start < CASTOFF_SORT_RUN ? length : start + CASTOFF_SORT_RUN;                   \
            for (int64_t i = start + 1; i < stop; i++) {                                                            \
                castoff_sort_pair_##suffix moved = pairs[i];                                                        \
                int64_t j = i;                                                                                      \
                for (; j > start && castoff_sort_before_##suffix(moved.key, pairs[j - 1].key, descending); j--)     \
                    pairs[j] = pairs[j - 1];                                                                        \
                pairs[j] = moved;                                                                                   \
            }                                                                                                       \
        }                                                                                                           \
        for (int64_t width = CASTOFF_SORT_RUN; width < length; width *= 2) {                                        \
            for (int64_t start = 0; start < length; start += 2 * width) {                                           \
                int64_t middle = length - start < width ? length : start + width;                                   \
                int64_t stop = length - middle < width ? length : middle + width;                                   \
                int64_t left = start, right = middle;                                                               \
                for (int64_t k = start; k < stop; k++) {                                                            \
                    int takes_right = left >= middle ||                                                             \
                        (right < stop && castoff_sort_before_##suffix(pairs[right].key, pairs[left].key, descending)); \
                    other[k] = takes_right ? pairs[right++] : pairs[left++];                                        \
                }                                                                                                   \
            }                                                                                                       \
            castoff_sort_pair_##suffix *swapped = pairs;                                                            \
            pairs = other;                                                                                          \
            other = swapped;                                                                                        \
        }                                                                                                           \
        return pairs;                                                                                               \
    }                                                                                                               \
    /* The sorted (key, index) pairs of one row, somewhere in the scratch. */                                       \
    CASTOFF_LARGE castoff_sort_pair_##suffix *castoff_sort_row_##suffix(                                            \
        const T *row, int64_t length, int64_t stride, int descending, void *scratch) {                              \
        castoff_sort_pair_##suffix *pairs = scratch;                                                                \
        for (int64_t i = 0; i < length; i++) {                                                                      \
            pairs[i].key = LOAD(row[i * stride]);                                                                   \
            pairs[i].index = i;                                                                                     \
        }                                                                                                           \
        return castoff_sort_pairs_##suffix(pairs, pairs + length, length, descending);                              \
    }                                                                                                               \
    CASTOFF_LARGE void castoff_sort_##suffix(                                                                       \
        T *values, int64_t *indices, const T *x, int64_t outer, int64_t length, int64_t inner, int64_t descending,  \
        void *scratch) {                                                                                            \
        for (int64_t o = 0; o < outer; o++)                                                                         \
            for (int64_t i = 0; i < inner; i++) {                                                                   \
                int64_t base = o * length * inner + i;                                                              \
                castoff_sort_pair_##suffix *pairs =                                                                 \
                    castoff_sort_row_##suffix(x + base, length, inner, (int)descending, scratch);                   \
                for (int64_t k = 0; k < length; k++) {                                                              \
                    values[base + k * inner] = x[base + pairs[k].index * inner];                                    \
                    indices[base + k * inner] = pairs[k].index;                                                     \
                }                                                                                                   \
            }                                                                                                       \
    }                                                                                                               \
    /* Is pair a kept rather than pair b: by key, then by position. */                                              \
    CASTOFF_INLINE int castoff_sort_kept_##suffix(                                                                  \
        castoff_sort_pair_##suffix a, castoff_sort_pair_##suffix b, int descending) {                               \
        if (castoff_sort_before_##suffix(a.key, b.key, descending)) return 1;                                       \
        return !castoff_sort_before_##suffix(b.key, a.key, descending) && a.index < b.index;                        \
    }                                                                                                               \
    /* The first k of the sorted row; for small k by a heap whose root is the pair to go next. */                   \
    CASTOFF_LARGE castoff_sort_pair_##suffix *castoff_select_row_##suffix(                                          \
        const T *row, int64_t length, int64_t stride, int64_t k, int descending, void *scratch) {                   \
        if (k > length / 8) return castoff_sort_row_##suffix(row, length, stride, descending, scratch);             \
        castoff_sort_pair_##suffix *heap = scratch;                                                                 \
        int64_t size = 0;                                                                                           \
        for (int64_t i = 0; i < length && k > 0; i++) {                                                             \
            castoff_sort_pair_##suffix next;                                                                        \
            next.key = LOAD(row[i * stride]);                                                                       \
            next.index = i;                                                                                         \
            int64_t hole;                                                                                           \
            if (size < k) {                                                                                         \
                for (hole = size++; hole > 0; hole = (hole - 1) / 2) {                                              \
                    if (!castoff_sort_kept_##suffix(heap[(hole - 1) / 2], next, descending)) break;                 \
                    heap[hole] = heap[(hole - 1) / 2];                                                              \
                }                                                                                                   \
                heap[hole] = next;                                                                                  \
                continue;                                                                                           \
            }                                                                                                       \
            if (!castoff_sort_before_##suffix(next.key, heap[0].key, descending)) continue;                         \
            for (hole = 0; 2 * hole + 1 < k;) {                                                                     \
                int64_t child = 2 * hole + 1;                                                                       \
                child += child + 1 < k && castoff_sort_kept_##suffix(heap[child], heap[child + 1], descending);     \
                if (!castoff_sort_kept_##suffix(next, heap[child], descending)) break;                              \
                heap[hole] = heap[child];                                                                           \
                hole = child;                                                                                       \
            }                                                                                                       \
            heap[hole] = next;                                                                                      \
        }                                                                                                           \
        for (int64_t last = size - 1; last > 0; last--) { /* heap sort */                                           \
            castoff_sort_pair_##suffix next = heap[last];                                                           \
            heap[last] = heap[0];                                                                                   \
            int64_t hole = 0;                                                                                       \
            while (2 * hole + 1 < last) {                                                                           \
                int64_t child = 2 * hole + 1;                                                                       \
                child += child + 1 < last && castoff_sort_kept_##suffix(heap[child], heap[child + 1], descending);  \
                if (!castoff_sort_kept_##suffix(next, heap[child], descending)) break;                              \
                heap[hole] = heap[child];                                                                           \
                hole = child;                                                                                       \
            }                                                                                                       \
            heap[hole] = next;                                                                                      \
        }                                                                                                           \
        return heap;                                                                                                \
    }                                                                                                               \
    /* values, indices: [outer, k, inner], in order. */                                                             \
    CASTOFF_LARGE void castoff_topk_##suffix(                                                                       \
        T *values, int64_t *indices, const T *x, int64_t outer, int64_t length, int64_t inner, int64_t k,           \
        int64_t largest, void *scratch) {                                                                           \
        for (int64_t o = 0; o < outer; o++)                                                                         \
            for (int64_t i = 0; i < inner; i++) {                                                                   \
                const T *row = x + o * length * inner + i;                                                          \
                int64_t base = o * k * inner + i;                                                                   \
                castoff_sort_pair_##suffix *pairs =                                                                 \
                    castoff_select_row_##suffix(row, length, inner, k, (int)largest, scratch);                      \
                for (int64_t j = 0; j < k; j++) {                                                                   \
                    values[base + j * inner] = row[pairs[j].index * inner];                                         \
                    indices[base + j * inner] = pairs[j].index;                                                     \
                }                                                                                                   \
            }                                                                                                       \
    }                                                                                                               \
    /* The k-th smallest (k from 1); values, indices: [outer, inner]. */                                            \
    CASTOFF_LARGE void castoff_kthvalue_##suffix(                                                                   \
        T *values, int64_t *indices, const T *x, int64_t outer, int64_t length, int64_t inner, int64_t k,           \
        void *scratch) {                                                                                            \
        for (int64_t o = 0; o < outer; o++)                                                                         \
            for (int64_t i = 0; i < inner; i++) {                                                                   \
                const T *row = x + o * length * inner + i;                                                          \
                int64_t index = castoff_select_row_##suffix(row, length, inner, k, 0, scratch)[k - 1].index;        \
                values[o * inner + i] = row[index * inner];                                                         \
                indices[o * inner + i] = index;                                                                     \
            }                                                                                                       \
    }                                                                                                               \
    /* The lower median. A NaN makes it NaN (the first one's position) unless `ignores_nan`. */                     \
    CASTOFF_LARGE void castoff_median_##suffix(                                                                     \
        T *values, int64_t *indices, const T *x, int64_t outer, int64_t length, int64_t inner, int64_t ignores_nan, \
        void *scratch) {                                                                                            \
        for (int64_t o = 0; o < outer; o++)                                                                         \
            for (int64_t i = 0; i < inner; i++) {                                                                   \
                const T *row = x + o * length * inner + i;                                                          \
                castoff_sort_pair_##suffix *pairs = castoff_sort_row_##suffix(row, length, inner, 0, scratch);      \
                int64_t numbers = length;                                                                           \
                while (numbers > 0 && pairs[numbers - 1].key != pairs[numbers - 1].key) numbers--;                  \
                int64_t at = ignores_nan ? (numbers > 0 ? (numbers - 1) / 2 : 0)                                    \
                                         : (numbers < length ? numbers : (length - 1) / 2);                         \
                values[o * inner + i] = row[pairs[at].index * inner];                                               \
                indices[o * inner + i] = pairs[at].index;                                                           \
            }                                                                                                       \
    }                                                                                                               \
    /* The most frequent value, the smallest of those; the position of its last occurrence. */                      \
    CASTOFF_LARGE void castoff_mode_##suffix(                                                                       \
        T *values, int64_t *indices, const T *x, int64_t outer, int64_t length, int64_t inner, void *scratch) {     \
        for (int64_t o = 0; o < outer; o++)                                                                         \
            for (int64_t i = 0; i < inner; i++) {                                                                   \
                const T *row = x + o * length * inner + i;                                                          \
                castoff_sort_pair_##suffix *pairs = castoff_sort_row_##suffix(row, length, inner, 0, scratch);      \
                int64_t best = 0, most = 0, count = 0;                                                              \
                for (int64_t k = 0; k < length; k++) {                                                              \
                    count++;                                                                                        \
                    if (k + 1 < length && pairs[k].key == pairs[k + 1].key) continue;                               \
                    if (count > most) {                                                                             \
                        most = count;                                                                               \
                        best = pairs[k].index;                                                                      \
                    }                                                                                               \
                    count = 0;                                                                                      \
                }                                                                                                   \
                values[o * inner + i] = row[best * inner];                                                          \
                indices[o * inner + i] = best;                                                                      \
            }                                                                                                       \
    }

#define CASTOFF_SORT_SAME(x) (x)
CASTOFF_SORT_TYPE(f16, castoff_f16, float, castoff_f16_to_f32)
CASTOFF_SORT_TYPE(bf16, castoff_bf16, float, castoff_bf16_to_f32)
CASTOFF_SORT_TYPE(f32, float, float, CASTOFF_SORT_SAME)
CASTOFF_SORT_TYPE(f64, double, double, CASTOFF_SORT_SAME)
CASTOFF_SORT_TYPE(i8, int8_t, int8_t, CASTOFF_SORT_SAME)
CASTOFF_SORT_TYPE(i16, int16_t, int16_t, CASTOFF_SORT_SAME)
CASTOFF_SORT_TYPE(i32, int32_t, int32_t, CASTOFF_SORT_SAME)
CASTOFF_SORT_TYPE(i64, int64_t, int64_t, CASTOFF_SORT_SAME)
CASTOFF_SORT_TYPE(u8, uint8_t, uint8_t, CASTOFF_SORT_SAME)
CASTOFF_SORT_TYPE(u16, uint16_t, uint16_t, CASTOFF_SORT_SAME)
CASTOFF_SORT_TYPE(u32, uint32_t, uint32_t, CASTOFF_SORT_SAME)
CASTOFF_SORT_TYPE(u64, uint64_t, uint64_t, CASTOFF_SORT_SAME)
CASTOFF_SORT_TYPE(b8, castoff_b8, uint8_t, CASTOFF_SORT_SAME)
#undef CASTOFF_SORT_SAME
#undef CASTOFF_SORT_TYPE

#endif
