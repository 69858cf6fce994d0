/* sort.h - sorting along one axis, and what follows from it: top k, k-th value, median, mode.
 *
 * Arrays are contiguous [outer, length, inner]; the axis is the middle one. Results are values of the array's own type and
 * int64 positions. NaN counts as larger than every number (so it comes last ascending, first descending). Where
 * sorting need not be stable the order of equal values is that of introsort.h, which also decides which of them top k,
 * k-th value and mode take.
 *
 * castoff_<op>_<suffix> for f16 bf16 f32 f64 i8 i16 i32 i64 u8 u16 u32 u64 b8. `scratch` holds
 * castoff_sort_scratch_bytes(length) bytes, aligned to 8, and is one thread's own.
 */
#ifndef CASTOFF_COMMON_SORT_H
#define CASTOFF_COMMON_SORT_H

#include "introsort.h"
#include "types.h"

#define CASTOFF_SORT_RUN 12

/* Orders: a NaN comes last, first, or compares with nothing. */
enum { CASTOFF_SORT_ASCENDING, CASTOFF_SORT_DESCENDING, CASTOFF_SORT_NUMBERS };

CASTOFF_INLINE int64_t castoff_sort_scratch_bytes(int64_t length) { return length * 2 * 16; }

/* T is stored, K compared, LOAD turns the one into the other. */
#define CASTOFF_SORT_TYPE(suffix, T, K, LOAD)                                                                       \
    typedef struct { K key; int64_t index; } castoff_sort_pair_##suffix;                                            \
    CASTOFF_INLINE int castoff_sort_before_##suffix(K a, K b, int order) {                                          \
        int nan_goes = order == CASTOFF_SORT_NUMBERS ? 0 : order ? (a != a) & (b == b) : (b != b) & (a == a);       \
        return (order == CASTOFF_SORT_DESCENDING ? a > b : a < b) | nan_goes;                                       \
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
    /* The (key, index) pairs of one row, in the first half of the scratch. */                                      \
    CASTOFF_INLINE castoff_sort_pair_##suffix *castoff_row_pairs_##suffix(                                          \
        const T *row, int64_t length, int64_t stride, void *scratch) {                                              \
        castoff_sort_pair_##suffix *pairs = scratch;                                                                \
        for (int64_t i = 0; i < length; i++) {                                                                      \
            pairs[i].key = LOAD(row[i * stride]);                                                                   \
            pairs[i].index = i;                                                                                     \
        }                                                                                                           \
        return pairs;                                                                                               \
    }                                                                                                               \
    /* The same in order, somewhere in the scratch. */                                                              \
    CASTOFF_LARGE castoff_sort_pair_##suffix *castoff_sort_row_##suffix(                                            \
        const T *row, int64_t length, int64_t stride, int descending, void *scratch) {                              \
        castoff_sort_pair_##suffix *pairs = castoff_row_pairs_##suffix(row, length, stride, scratch);               \
        return castoff_sort_pairs_##suffix(pairs, pairs + length, length, descending);                              \
    }                                                                                                               \
    CASTOFF_INTROSORT(suffix)                                                                                       \
    CASTOFF_LARGE void castoff_sort_##suffix(                                                                       \
        T *values, int64_t *indices, const T *x, int64_t outer, int64_t length, int64_t inner, int64_t descending,  \
        int64_t stable, void *scratch) {                                                                            \
        for (int64_t o = 0; o < outer; o++)                                                                         \
            for (int64_t i = 0; i < inner; i++) {                                                                   \
                int64_t base = o * length * inner + i;                                                              \
                castoff_sort_pair_##suffix *pairs = castoff_row_pairs_##suffix(x + base, length, inner, scratch);   \
                if (stable)                                                                                         \
                    pairs = castoff_sort_pairs_##suffix(pairs, pairs + length, length, (int)descending);            \
                else                                                                                                \
                    castoff_introsort_##suffix(pairs, length, (int)descending);                                     \
                for (int64_t k = 0; k < length; k++) {                                                              \
                    values[base + k * inner] = x[base + pairs[k].index * inner];                                    \
                    indices[base + k * inner] = pairs[k].index;                                                     \
                }                                                                                                   \
            }                                                                                                       \
    }                                                                                                               \
    /* values, indices: [outer, k, inner], in order if `sorted`. */                                                 \
    CASTOFF_LARGE void castoff_topk_##suffix(                                                                       \
        T *values, int64_t *indices, const T *x, int64_t outer, int64_t length, int64_t inner, int64_t k,           \
        int64_t largest, int64_t sorted, void *scratch) {                                                           \
        for (int64_t o = 0; o < outer && k > 0; o++)                                                                \
            for (int64_t i = 0; i < inner; i++) {                                                                   \
                const T *row = x + o * length * inner + i;                                                          \
                int64_t base = o * k * inner + i;                                                                   \
                castoff_sort_pair_##suffix *pairs = castoff_row_pairs_##suffix(row, length, inner, scratch);        \
                if (k <= length / 64)                                                                               \
                    castoff_partial_sort_##suffix(pairs, k, length, (int)largest);                                  \
                else {                                                                                              \
                    castoff_nth_element_##suffix(pairs, k - 1, length, (int)largest);                               \
                    if (sorted) castoff_introsort_##suffix(pairs, k - 1, (int)largest);                             \
                }                                                                                                   \
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
                castoff_sort_pair_##suffix *pairs = castoff_row_pairs_##suffix(row, length, inner, scratch);        \
                castoff_quick_select_##suffix(pairs, k - 1, length, CASTOFF_SORT_ASCENDING);                        \
                values[o * inner + i] = row[pairs[k - 1].index * inner];                                            \
                indices[o * inner + i] = pairs[k - 1].index;                                                        \
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
    /* The most frequent value, the smallest of those; the position that comes last in order. */                        \
    CASTOFF_LARGE void castoff_mode_##suffix(                                                                       \
        T *values, int64_t *indices, const T *x, int64_t outer, int64_t length, int64_t inner, void *scratch) {     \
        for (int64_t o = 0; o < outer; o++)                                                                         \
            for (int64_t i = 0; i < inner; i++) {                                                                   \
                const T *row = x + o * length * inner + i;                                                          \
                castoff_sort_pair_##suffix *pairs = castoff_row_pairs_##suffix(row, length, inner, scratch);        \
                castoff_introsort_##suffix(pairs, length, CASTOFF_SORT_NUMBERS);                                    \
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
