/* introsort.h - partial orders in the way of C++'s standard library: which of equal elements come first, and where, is
 * decided by the algorithm, and programs that were written with PyTorch see its choice.
 *
 * Musser, "Introspective sorting and selection algorithms" (1997), as libstdc++ has it: quicksort by the median of three,
 * insertion sort for what is short, a heap where quicksort goes too deep; and the quickselect of Numerical Recipes.
 *
 * CASTOFF_INTROSORT(suffix) works on castoff_sort_pair_<suffix> and castoff_sort_before_<suffix>(key, key, order). Scans
 * end at the ends of the array, so that keys without an order (NaN) cannot lead them out of it.
 */
#ifndef CASTOFF_COMMON_INTROSORT_H
#define CASTOFF_COMMON_INTROSORT_H

#include "types.h"

#define CASTOFF_INTROSORT_RUN 16

/* Twice the depth at which halving would end. */
CASTOFF_INLINE int castoff_introsort_depth(int64_t length) {
    int depth = 0;
    for (; length > 1; length /= 2) depth += 2;
    return depth;
}

#define CASTOFF_INTROSORT(suffix)                                                                                   \
    CASTOFF_INLINE void castoff_swap_pairs_##suffix(castoff_sort_pair_##suffix *a, castoff_sort_pair_##suffix *b) { \
        castoff_sort_pair_##suffix kept = *a;                                                                       \
        *a = *b;                                                                                                    \
        *b = kept;                                                                                                  \
    }                                                                                                               \
    CASTOFF_LARGE void castoff_insertion_sort_##suffix(castoff_sort_pair_##suffix *pairs, int64_t length, int order) { \
        for (int64_t i = 1; i < length; i++) {                                                                      \
            castoff_sort_pair_##suffix moved = pairs[i];                                                            \
            int is_first = castoff_sort_before_##suffix(moved.key, pairs[0].key, order);                            \
            int64_t j = i;                                                                                          \
            for (; j > 0 && (is_first || castoff_sort_before_##suffix(moved.key, pairs[j - 1].key, order)); j--)    \
                pairs[j] = pairs[j - 1];                                                                            \
            pairs[j] = moved;                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    /* Fill the hole of a heap: the larger child moves up all the way, then `moved` rises from there. */            \
    CASTOFF_LARGE void castoff_sift_##suffix(                                                                       \
        castoff_sort_pair_##suffix *heap, int64_t hole, int64_t length, castoff_sort_pair_##suffix moved, int order) { \
        const int64_t top = hole;                                                                                   \
        for (int64_t child = 2 * hole + 2; child <= length; child = 2 * hole + 2) {                                 \
            child -= child == length || castoff_sort_before_##suffix(heap[child].key, heap[child - 1].key, order);  \
            heap[hole] = heap[child];                                                                               \
            hole = child;                                                                                           \
        }                                                                                                           \
        for (; hole > top && castoff_sort_before_##suffix(heap[(hole - 1) / 2].key, moved.key, order);              \
             hole = (hole - 1) / 2)                                                                                 \
            heap[hole] = heap[(hole - 1) / 2];                                                                      \
        heap[hole] = moved;                                                                                         \
    }                                                                                                               \
    /* The first `kept` in order become a heap at the front. */                                                     \
    CASTOFF_LARGE void castoff_heap_select_##suffix(                                                                \
        castoff_sort_pair_##suffix *pairs, int64_t kept, int64_t length, int order) {                               \
        for (int64_t parent = kept / 2 - 1; parent >= 0; parent--)                                                  \
            castoff_sift_##suffix(pairs, parent, kept, pairs[parent], order);                                       \
        for (int64_t i = kept; i < length; i++)                                                                     \
            if (castoff_sort_before_##suffix(pairs[i].key, pairs[0].key, order)) {                                  \
                castoff_sort_pair_##suffix moved = pairs[i];                                                        \
                pairs[i] = pairs[0];                                                                                \
                castoff_sift_##suffix(pairs, 0, kept, moved, order);                                                \
            }                                                                                                       \
    }                                                                                                               \
    CASTOFF_LARGE void castoff_sort_heap_##suffix(castoff_sort_pair_##suffix *heap, int64_t length, int order) {    \
        for (int64_t last = length - 1; last > 0; last--) {                                                         \
            castoff_sort_pair_##suffix moved = heap[last];                                                          \
            heap[last] = heap[0];                                                                                   \
            castoff_sift_##suffix(heap, 0, last, moved, order);                                                     \
        }                                                                                                           \
    }                                                                                                               \
    /* The first `kept` in order, in order. */                                                                      \
    CASTOFF_LARGE void castoff_partial_sort_##suffix(                                                               \
        castoff_sort_pair_##suffix *pairs, int64_t kept, int64_t length, int order) {                               \
        castoff_heap_select_##suffix(pairs, kept, length, order);                                                   \
        castoff_sort_heap_##suffix(pairs, kept, order);                                                             \
    }                                                                                                               \
    /* Split by the median of the second, the middle and the last, which goes to the front: where the right part begins. */ \
    CASTOFF_LARGE int64_t castoff_split_##suffix(castoff_sort_pair_##suffix *pairs, int64_t length, int order) {    \
        int64_t low = 1, middle = length / 2, high = length - 1;                                                    \
        if (!castoff_sort_before_##suffix(pairs[1].key, pairs[middle].key, order)) {                                \
            low = middle;                                                                                           \
            middle = 1;                                                                                             \
        }                                                                                                           \
        if (castoff_sort_before_##suffix(pairs[middle].key, pairs[high].key, order))                                \
            high = middle;                                                                                          \
        else if (!castoff_sort_before_##suffix(pairs[low].key, pairs[high].key, order))                             \
            high = low;                                                                                             \
        castoff_swap_pairs_##suffix(&pairs[0], &pairs[high]);                                                       \
        int64_t left = 1, right = length;                                                                           \
        for (;;) {                                                                                                  \
            while (left < length && castoff_sort_before_##suffix(pairs[left].key, pairs[0].key, order)) left++;     \
            right--;                                                                                                \
            while (right > 0 && castoff_sort_before_##suffix(pairs[0].key, pairs[right].key, order)) right--;       \
            if (left >= right) return left;                                                                         \
            castoff_swap_pairs_##suffix(&pairs[left], &pairs[right]);                                               \
            left++;                                                                                                 \
        }                                                                                                           \
    }                                                                                                               \
    /* Move the element that belongs at `nth` there, smaller ones before it. */                                     \
    CASTOFF_LARGE void castoff_nth_element_##suffix(                                                                \
        castoff_sort_pair_##suffix *pairs, int64_t nth, int64_t length, int order) {                                \
        for (int depth = castoff_introsort_depth(length); length > 3; depth--) {                                    \
            if (depth == 0) {                                                                                       \
                castoff_heap_select_##suffix(pairs, nth + 1, length, order);                                        \
                castoff_swap_pairs_##suffix(&pairs[0], &pairs[nth]);                                                \
                return;                                                                                             \
            }                                                                                                       \
            int64_t cut = castoff_split_##suffix(pairs, length, order);                                             \
            if (cut <= nth) {                                                                                       \
                pairs += cut;                                                                                       \
                nth -= cut;                                                                                         \
                length -= cut;                                                                                      \
            } else                                                                                                  \
                length = cut;                                                                                       \
        }                                                                                                           \
        castoff_insertion_sort_##suffix(pairs, length, order);                                                      \
    }                                                                                                               \
    CASTOFF_LARGE void castoff_sort_roughly_##suffix(                                                               \
        castoff_sort_pair_##suffix *pairs, int64_t length, int depth, int order) {                                  \
        for (; length > CASTOFF_INTROSORT_RUN; depth--) {                                                           \
            if (depth == 0) {                                                                                       \
                castoff_partial_sort_##suffix(pairs, length, length, order);                                        \
                return;                                                                                             \
            }                                                                                                       \
            int64_t cut = castoff_split_##suffix(pairs, length, order);                                             \
            castoff_sort_roughly_##suffix(pairs + cut, length - cut, depth - 1, order);                             \
            length = cut;                                                                                           \
        }                                                                                                           \
    }                                                                                                               \
    /* All in order; equal ones keep no order. */                                                                   \
    CASTOFF_LARGE void castoff_introsort_##suffix(castoff_sort_pair_##suffix *pairs, int64_t length, int order) {   \
        castoff_sort_roughly_##suffix(pairs, length, castoff_introsort_depth(length), order);                       \
        int64_t run = length < CASTOFF_INTROSORT_RUN ? length : CASTOFF_INTROSORT_RUN;                              \
        castoff_insertion_sort_##suffix(pairs, run, order);                                                         \
        for (int64_t i = run; i < length; i++) {                                                                    \
            castoff_sort_pair_##suffix moved = pairs[i];                                                            \
            int64_t j = i;                                                                                          \
            for (; j > 0 && castoff_sort_before_##suffix(moved.key, pairs[j - 1].key, order); j--)                  \
                pairs[j] = pairs[j - 1];                                                                            \
            pairs[j] = moved;                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    /* Move the element that belongs at `nth` there: the other way to do it, with other ones of equal elements. */  \
    CASTOFF_LARGE void castoff_quick_select_##suffix(                                                               \
        castoff_sort_pair_##suffix *pairs, int64_t nth, int64_t length, int order) {                                \
        int64_t low = 0, high = length - 1;                                                                         \
        while (high > low + 1) {                                                                                    \
            castoff_swap_pairs_##suffix(&pairs[low + (high - low) / 2], &pairs[low + 1]);                           \
            if (castoff_sort_before_##suffix(pairs[high].key, pairs[low + 1].key, order))                           \
                castoff_swap_pairs_##suffix(&pairs[low + 1], &pairs[high]);                                         \
            if (castoff_sort_before_##suffix(pairs[high].key, pairs[low].key, order))                               \
                castoff_swap_pairs_##suffix(&pairs[low], &pairs[high]);                                             \
            if (castoff_sort_before_##suffix(pairs[low].key, pairs[low + 1].key, order))                            \
                castoff_swap_pairs_##suffix(&pairs[low + 1], &pairs[low]);                                          \
            const castoff_sort_pair_##suffix pivot = pairs[low];                                                    \
            int64_t left = low + 1, right = high;                                                                   \
            for (;;) {                                                                                              \
                do left++; while (castoff_sort_before_##suffix(pairs[left].key, pivot.key, order));                 \
                do right--; while (castoff_sort_before_##suffix(pivot.key, pairs[right].key, order));               \
                if (right < left) break;                                                                            \
                castoff_swap_pairs_##suffix(&pairs[left], &pairs[right]);                                           \
            }                                                                                                       \
            castoff_swap_pairs_##suffix(&pairs[low], &pairs[right]);                                                \
            if (right <= nth) low = left;                                                                           \
            if (right >= nth) high = right - 1;                                                                     \
        }                                                                                                           \
        if (high == low + 1 && castoff_sort_before_##suffix(pairs[high].key, pairs[low].key, order))                \
            castoff_swap_pairs_##suffix(&pairs[low], &pairs[high]);                                                 \
    }

#endif
