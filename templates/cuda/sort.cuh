/* sort.cuh - sorting along the middle axis of [outer, length, inner] arrays, and what follows from it, as common/sort.h.
 *
 * All rows are sorted at once, by radix: the bits of a row's number stand above those of its elements, which are turned into
 * numbers without a sign in the same order (-0 is 0, every NaN the largest). Where both do not fit 64 bits, elements are sorted
 * first and rows then. Equal elements keep their order, and top k, k-th value and median take the first of them, where the CPU's
 * take one that their algorithm finds. A few of the largest are found without sorting.
 */
#ifndef CASTOFF_CUDA_SORT_CUH
#define CASTOFF_CUDA_SORT_CUH

#include "cuda/lanes.cuh"
#include "cuda/product.cuh"
#include "cuda/scatter.cuh"

#define CASTOFF_TOPK_WORK 16384 /* elements looked at for a row, at most, where it is not sorted */

/* ---- order as bits ---- */

template <class Element>
struct castoff_order {
    typedef typename Element::Stored Stored;
    static constexpr int BITS = 8 * (int)sizeof(Stored);
    static constexpr uint64_t MASK = ~(uint64_t)0 >> (64 - BITS), SIGN = (uint64_t)1 << (BITS - 1);

    static __device__ __forceinline__ uint64_t ascending(Stored x) {
        if constexpr ((typename Element::Value)0.5 != 0) {
            const typename Element::Value value = Element::widen(x);
            uint64_t bits = 0;
            memcpy(&bits, &x, sizeof x);
            if (value != value) return MASK;
            if (value == 0) bits = 0;
            return (bits & SIGN ? ~bits : bits | SIGN) & MASK;
        } else {
            constexpr bool is_signed = (Stored)-1 < (Stored)0;
            return ((uint64_t)x & MASK) ^ (is_signed ? SIGN : 0);
        }
    }
    static __device__ __forceinline__ uint64_t key(Stored x, bool is_descending) {
        return is_descending ? ~ascending(x) & MASK : ascending(x);
    }
};

/* Rows of [outer, length, inner]: element k of a row. */
struct castoff_rows {
    int64_t count, length, inner;
    __device__ __forceinline__ int64_t at(int64_t row, int64_t k, int64_t size) const {
        return (row / inner * size + k) * inner + row % inner;
    }
    __device__ __forceinline__ int64_t at(int64_t row, int64_t k) const { return at(row, k, length); }
};

/* ---- sorting ---- */

template <class Element>
static __global__ void __launch_bounds__(256)
castoff_sort_keys(const typename Element::Stored *__restrict__ x, const castoff_rows rows, const bool is_descending,
                  uint64_t *__restrict__ keys, int64_t *__restrict__ positions, const int64_t count) {
    typedef castoff_order<Element> Order;
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        const int64_t row = i / rows.length;
        uint64_t key = Order::key(x[rows.at(row, i % rows.length)], is_descending);
        if constexpr (Order::BITS <= 32) key |= (uint64_t)row << Order::BITS;
        keys[i] = key;
        positions[i] = i;
    }
}

static __global__ void __launch_bounds__(256)
castoff_sort_rows(const int64_t *__restrict__ positions, const int64_t length, uint64_t *__restrict__ keys, const int64_t count) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step)
        keys[i] = (uint64_t)(positions[i] / length);
}

static inline int castoff_bits_of(int64_t count) {
    int bits = 0;
    while (bits < 64 && count > 0 && (uint64_t)(count - 1) >> bits) ++bits;
    return bits;
}

/* `order` [rows, length]: numbers of elements, those of a row from row * length on. */
template <class Element>
static int castoff_order_rows(castoff_frame *frame, const typename Element::Stored *x, const castoff_rows &rows,
                              bool is_descending, const int64_t **order) {
    const int64_t count = rows.count * rows.length;
    const int bits = castoff_order<Element>::BITS, row_bits = castoff_bits_of(rows.count);
    castoff_updates sorted;
    CASTOFF_TRY(castoff_updates_of(frame, &sorted, count));
    CASTOFF_TRY(castoff_launch_rows(frame, castoff_sort_keys<Element>, count, 256, 256, 0, x, rows, is_descending, sorted.keys,
                                    sorted.positions, count));
    CASTOFF_TRY(castoff_sort_updates(frame, sorted, count, bits <= 32 ? bits + row_bits : bits));
    *order = sorted.sorted_positions;
    if (bits <= 32 || row_bits == 0) return CASTOFF_OK;
    CASTOFF_TRY(castoff_launch_rows(frame, castoff_sort_rows, count, 256, 256, 0, (const int64_t *)sorted.sorted_positions,
                                    rows.length, sorted.keys, count));
    const castoff_updates again = {sorted.keys, sorted.sorted_keys, sorted.sorted_positions, sorted.positions};
    CASTOFF_TRY(castoff_sort_updates(frame, again, count, row_bits));
    *order = again.sorted_positions;
    return CASTOFF_OK;
}

/* The first `kept` of each row, in order. */
template <class Element>
static __global__ void __launch_bounds__(256)
castoff_sort_take(const typename Element::Stored *__restrict__ x, const castoff_rows rows, const int64_t *__restrict__ order,
                  const int64_t kept, typename Element::Stored *__restrict__ values, int64_t *__restrict__ positions,
                  const int64_t count) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        const int64_t row = i / kept, place = i % kept, position = order[row * rows.length + place] % rows.length;
        const int64_t to = rows.at(row, place, kept);
        values[to] = x[rows.at(row, position)];
        positions[to] = position;
    }
}

enum castoff_rank { CASTOFF_RANK_GIVEN, CASTOFF_RANK_MEDIAN, CASTOFF_RANK_MEDIAN_OF_NUMBERS };

/* One element of each row: that of the rank, or the lower median, which a NaN is unless those are ignored. Where rows lie is
 * divided out once: a division of 64 bits is a call, around which registers would be kept in memory. */
template <class Element>
static __global__ void __launch_bounds__(256)
castoff_sort_pick(const typename Element::Stored *__restrict__ x, const castoff_rows rows, const int64_t *__restrict__ order,
                  const castoff_rank kind, const int64_t rank, typename Element::Stored *__restrict__ values,
                  int64_t *__restrict__ positions) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x, outer_step = step / rows.inner, inner_step = step % rows.inner;
    int64_t row = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, outer = row / rows.inner, inner = row % rows.inner;
    for (; row < rows.count; row += step) {
        const int64_t before = row * rows.length, *const own = order + before;
        const typename Element::Stored *const first_element = x + outer * rows.length * rows.inner + inner;
        outer += outer_step;
        inner += inner_step;
        if (inner >= rows.inner) {
            inner -= rows.inner;
            outer += 1;
        }
        int64_t numbers = 0, high = kind == CASTOFF_RANK_GIVEN ? 0 : rows.length; /* NaN comes last */
        while (numbers < high) {
            const int64_t middle = numbers + (high - numbers) / 2;
            const typename Element::Value value = Element::widen(first_element[(own[middle] - before) * rows.inner]);
            if (value == value)
                numbers = middle + 1;
            else
                high = middle;
        }
        int64_t place = rank;
        if (kind == CASTOFF_RANK_MEDIAN) place = numbers < rows.length ? numbers : (rows.length - 1) / 2;
        if (kind == CASTOFF_RANK_MEDIAN_OF_NUMBERS) place = numbers > 0 ? (numbers - 1) / 2 : 0;
        const int64_t position = own[place] - before;
        values[row] = first_element[position * rows.inner];
        positions[row] = position;
    }
}

template <class Element>
static int castoff_sort_pick_rows(castoff_frame *frame, typename Element::Stored *values, int64_t *positions,
                                  const typename Element::Stored *x, const castoff_rows &rows, castoff_rank kind, int64_t rank) {
    if (rows.count <= 0 || rows.length <= 0) return CASTOFF_OK;
    const int64_t *order;
    CASTOFF_TRY(castoff_order_rows<Element>(frame, x, rows, false, &order));
    return castoff_launch_rows(frame, castoff_sort_pick<Element>, rows.count, 256, 256, 0, x, rows, order, kind, rank, values,
                               positions);
}

/* The most frequent element of each row, of several the smallest: the last of the longest run in order, whose end is where the
 * next element is another one. Every NaN is a run of its own. */
template <class Element>
static __global__ void __launch_bounds__(256)
castoff_sort_mode(const typename Element::Stored *__restrict__ x, const castoff_rows rows, const int64_t *__restrict__ order,
                  typename Element::Stored *__restrict__ values, int64_t *__restrict__ positions) {
    typedef typename Element::Value Value;
    struct Run {
        int64_t length, last;
    };
    for (int64_t row = castoff_first_row<256>(); row < rows.count; row += castoff_row_step<256>()) {
        const int64_t before = row * rows.length, *const own = order + before;
        const typename Element::Stored *const first_element = x + rows.at(row, 0);
        const auto stored = [=](int64_t k) { return first_element[(own[k] - before) * rows.inner]; };
        const auto element = [=](int64_t k) -> Value { return Element::widen(stored(k)); };
        Run best = {0, 0};
        for (int64_t k = threadIdx.x; k < rows.length; k += 256) {
            const Value value = element(k);
            if (k + 1 < rows.length && element(k + 1) == value) continue;
            if (best.length > k || (best.length > 0 && !(element(k - best.length) == value))) continue; /* not a longer one */
            int64_t first = 0, high = k;
            while (first < high) {
                const int64_t middle = first + (high - first) / 2;
                if (value != value || element(middle) != value)
                    first = middle + 1;
                else
                    high = middle;
            }
            best = {k - first + 1, k};
        }
        best = castoff_over_lanes<256>(best, [](Run a, Run b) {
            return b.length > a.length || (b.length == a.length && b.last < a.last) ? b : a;
        });
        if (threadIdx.x == 0) {
            values[row] = stored(best.last);
            positions[row] = own[best.last] - before;
        }
    }
}

/* ---- rows in lexicographic order ---- */

/* One column of the rows, as they stand; `sorted` NULL: as they are given. */
template <class Element>
static __global__ void __launch_bounds__(256)
castoff_sort_column(const typename Element::Stored *__restrict__ x, const int64_t columns, const int64_t column,
                    const int64_t *__restrict__ sorted, uint64_t *__restrict__ keys, int64_t *__restrict__ positions,
                    const int64_t count) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        const int64_t row = sorted ? sorted[i] : i;
        keys[i] = castoff_order<Element>::ascending(x[row * columns + column]);
        positions[i] = row;
    }
}

/* ---- a few of each row ---- */

/* A warp to a row finds one after the other: the next is the first in order of those behind the one before. */
template <class Element>
static __global__ void __launch_bounds__(256)
castoff_take_first(const typename Element::Stored *__restrict__ x, const castoff_rows rows, const bool is_descending,
                   const int64_t kept, typename Element::Stored *__restrict__ values, int64_t *__restrict__ positions) {
    struct Found {
        uint64_t key;
        int64_t position; /* below zero: nothing */
    };
    const int lane = (int)threadIdx.x % 32;
    for (int64_t row = castoff_first_row<32>(); row < rows.count; row += castoff_row_step<32>()) {
        Found before = {0, -1};
        for (int64_t place = 0; place < kept; ++place) {
            Found best = {0, -1};
            for (int64_t k = lane; k < rows.length; k += 32) {
                const uint64_t key = castoff_order<Element>::key(x[rows.at(row, k)], is_descending);
                const bool is_behind = key > before.key || (key == before.key && k > before.position);
                if (is_behind && (best.position < 0 || key < best.key)) best = {key, k};
            }
            best = castoff_over_lanes<32>(best, [](Found a, Found b) {
                const bool is_first = b.position < 0 || (a.position >= 0 && (a.key < b.key || (a.key == b.key && a.position < b.position)));
                return is_first ? a : b;
            });
            if (lane == 0) {
                const int64_t to = rows.at(row, place, kept);
                values[to] = x[rows.at(row, best.position)];
                positions[to] = best.position;
            }
            before = best;
        }
    }
}

/* ---- the functions of common/sort.h; their scratch is not used ---- */

template <class Element>
static int castoff_device_topk(castoff_frame *frame, typename Element::Stored *values, int64_t *positions,
                               const typename Element::Stored *x, int64_t outer, int64_t length, int64_t inner, int64_t kept,
                               int64_t largest, int64_t, void *) {
    const castoff_rows rows = {outer * inner, length, inner};
    const int64_t count = rows.count * kept;
    if (count <= 0) return CASTOFF_OK;
    if (length * kept <= CASTOFF_TOPK_WORK)
        return castoff_launch_rows(frame, castoff_take_first<Element>, rows.count, 8, 256, 0, x, rows, largest != 0, kept, values,
                                   positions);
    const int64_t *order;
    CASTOFF_TRY(castoff_order_rows<Element>(frame, x, rows, largest != 0, &order));
    return castoff_launch_rows(frame, castoff_sort_take<Element>, count, 256, 256, 0, x, rows, order, kept, values, positions, count);
}

template <class Element>
static int castoff_device_sort(castoff_frame *frame, typename Element::Stored *values, int64_t *positions,
                               const typename Element::Stored *x, int64_t outer, int64_t length, int64_t inner, int64_t descending,
                               int64_t, void *scratch) {
    return castoff_device_topk<Element>(frame, values, positions, x, outer, length, inner, length, descending, 1, scratch);
}

template <class Element>
static int castoff_device_kthvalue(castoff_frame *frame, typename Element::Stored *values, int64_t *positions,
                                   const typename Element::Stored *x, int64_t outer, int64_t length, int64_t inner, int64_t k, void *) {
    return castoff_sort_pick_rows<Element>(frame, values, positions, x, {outer * inner, length, inner}, CASTOFF_RANK_GIVEN, k - 1);
}

template <class Element>
static int castoff_device_median(castoff_frame *frame, typename Element::Stored *values, int64_t *positions,
                                 const typename Element::Stored *x, int64_t outer, int64_t length, int64_t inner, int64_t ignores_nan,
                                 void *) {
    return castoff_sort_pick_rows<Element>(frame, values, positions, x, {outer * inner, length, inner},
                                           ignores_nan ? CASTOFF_RANK_MEDIAN_OF_NUMBERS : CASTOFF_RANK_MEDIAN, 0);
}

template <class Element>
static int castoff_device_mode(castoff_frame *frame, typename Element::Stored *values, int64_t *positions,
                               const typename Element::Stored *x, int64_t outer, int64_t length, int64_t inner, void *) {
    const castoff_rows rows = {outer * inner, length, inner};
    if (rows.count <= 0 || length <= 0) return CASTOFF_OK;
    const int64_t *order;
    CASTOFF_TRY(castoff_order_rows<Element>(frame, x, rows, false, &order));
    return castoff_launch_rows(frame, castoff_sort_mode<Element>, rows.count, 1, 256, 0, x, rows, order, values, positions);
}

/* As common/rows.h: by the last column first, since sorting is stable. */
template <class Element>
static int castoff_device_sort_rows(castoff_frame *frame, int64_t *order, const typename Element::Stored *x, int64_t count,
                                    int64_t columns, void *) {
    if (count <= 0) return CASTOFF_OK;
    castoff_updates updates;
    CASTOFF_TRY(castoff_updates_of(frame, &updates, count));
    for (int64_t column = columns - 1; column >= 0; --column) {
        const int64_t *const sorted = column == columns - 1 ? NULL : updates.sorted_positions;
        CASTOFF_TRY(castoff_launch_rows(frame, castoff_sort_column<Element>, count, 256, 256, 0, x, columns, column, sorted,
                                        updates.keys, updates.positions, count));
        CASTOFF_TRY(castoff_sort_updates(frame, updates, count, castoff_order<Element>::BITS));
    }
    return castoff_copy(frame, order, updates.sorted_positions, count * (int64_t)sizeof *order);
}

#endif
