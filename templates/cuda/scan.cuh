/* scan.cuh - running sums, products, extremes and log-sums along one axis of [outer, size, inner] arrays, as common/scan.h.
 *
 * A scan says what is combined:
 *
 *     State                       what is known of a stretch of elements
 *     none()                      of no element
 *     of(at, k)                   of the element at `at`, number k of its row
 *     combine(earlier, later)     of two stretches, one after the other
 *     keep(state, at)             writes what a row has up to here
 *
 * Where neighbouring rows lie side by side a thread has a row of its own. Else a warp or a block takes a row, tile by tile; long
 * rows of which there are few are split into parts, whose totals are combined in their order before the parts are scanned.
 * States are combined in an order that depends on sizes alone: results do not change from run to run.
 */
#ifndef CASTOFF_CUDA_SCAN_CUH
#define CASTOFF_CUDA_SCAN_CUH

#include "common/scan.h"
#include "cuda/lanes.cuh"
#include "cuda/product.cuh"
#include "cuda/wide.cuh"

#define CASTOFF_SCAN_THREADS 256
#define CASTOFF_SCAN_ITEMS 4 /* neighbouring elements of a thread */

/* ---- what elements accumulate in ---- */

template <class Element>
struct castoff_accumulated { /* integers wrap */
    typedef uint64_t Wide;
    static __device__ __forceinline__ Wide load(typename Element::Stored x) { return (Wide)x; }
    static __device__ __forceinline__ typename Element::Stored store(Wide x) { return (typename Element::Stored)x; }
};
template <class Element, class Of>
struct castoff_accumulated_float {
    typedef double Wide;
    static __device__ __forceinline__ Wide load(Of x) { return (Wide)Element::widen(x); }
};
template <>
struct castoff_accumulated<castoff_plain<double>> : castoff_accumulated_float<castoff_plain<double>, double> {
    static __device__ __forceinline__ double store(Wide x) { return x; }
};
template <>
struct castoff_accumulated<castoff_plain<float>> : castoff_accumulated_float<castoff_plain<float>, float> {
    static __device__ __forceinline__ float store(Wide x) { return (float)x; }
};
template <>
struct castoff_accumulated<castoff_half> : castoff_accumulated_float<castoff_half, castoff_f16> {
    static __device__ __forceinline__ castoff_f16 store(Wide x) { return castoff_scan_to_f16(x); }
};
template <>
struct castoff_accumulated<castoff_brain> : castoff_accumulated_float<castoff_brain, castoff_bf16> {
    static __device__ __forceinline__ castoff_bf16 store(Wide x) { return castoff_scan_to_bf16(x); }
};
template <>
struct castoff_accumulated<castoff_plain<castoff_c64>> {
    typedef castoff_c128 Wide;
    static __device__ __forceinline__ Wide load(castoff_c64 x) { return castoff_scan_widen(x); }
    static __device__ __forceinline__ castoff_c64 store(Wide x) { return castoff_scan_narrow(x); }
};
template <>
struct castoff_accumulated<castoff_plain<castoff_c128>> {
    typedef castoff_c128 Wide;
    static __device__ __forceinline__ Wide load(castoff_c128 x) { return x; }
    static __device__ __forceinline__ castoff_c128 store(Wide x) { return x; }
};

/* ---- the scans ---- */

struct castoff_running_sum {
    template <class T>
    static __device__ __forceinline__ T none() { return T{}; }
    template <class T>
    static __device__ __forceinline__ T combine(T a, T b) { return a + b; }
    static __device__ __forceinline__ castoff_c128 combine(castoff_c128 a, castoff_c128 b) { return castoff_scan_add_c128(a, b); }
};
struct castoff_running_product {
    template <class T>
    static __device__ __forceinline__ T none() { return T{1}; }
    template <class T>
    static __device__ __forceinline__ T combine(T a, T b) { return a * b; }
    static __device__ __forceinline__ castoff_c128 combine(castoff_c128 a, castoff_c128 b) { return castoff_scan_mul_c128(a, b); }
};
struct castoff_running_log_sum {
    template <class T>
    static __device__ __forceinline__ T none() { return T{-INFINITY}; }
    static __device__ __forceinline__ double combine(double a, double b) { return castoff_scan_log_add(a, b); }
    static __device__ __forceinline__ castoff_c128 combine(castoff_c128 a, castoff_c128 b) { return castoff_scan_log_add_c128(a, b); }
};

template <class Operation, class Element>
struct castoff_running {
    typedef typename castoff_accumulated<Element>::Wide State;

    typename Element::Stored *out;
    const typename Element::Stored *x;

    static __device__ __forceinline__ State none() { return Operation::template none<State>(); }
    static __device__ __forceinline__ State combine(State a, State b) { return Operation::combine(a, b); }
    __device__ __forceinline__ State of(int64_t at, int64_t) const { return castoff_accumulated<Element>::load(x[at]); }
    __device__ __forceinline__ void keep(State state, int64_t at) const { out[at] = castoff_accumulated<Element>::store(state); }
};

/* A NaN, once met, stays; of equal elements the last one counts. A position below zero stands for nothing found. */
template <bool IS_MAX, class Element>
struct castoff_running_extreme {
    struct State {
        typename Element::Stored value;
        int64_t position;
    };

    typename Element::Stored *values;
    int64_t *positions;
    const typename Element::Stored *x;

    static __device__ __forceinline__ State none() { return {{}, -1}; }
    static __device__ __forceinline__ State combine(State earlier, State later) {
        if (later.position < 0) return earlier;
        const typename Element::Value held = Element::widen(earlier.value), here = Element::widen(later.value);
        const bool is_better = IS_MAX ? here >= held : here <= held;
        return earlier.position < 0 || here != here || (held == held && is_better) ? later : earlier;
    }
    __device__ __forceinline__ State of(int64_t at, int64_t k) const { return {x[at], k}; }
    __device__ __forceinline__ void keep(State state, int64_t at) const {
        values[at] = state.value;
        positions[at] = state.position;
    }
};

/* ---- a row to a thread ---- */

template <class Scan>
static __global__ void __launch_bounds__(CASTOFF_SCAN_THREADS)
castoff_scan_across(const Scan scan, const int64_t size, const int64_t inner, const int64_t rows) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t row = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; row < rows; row += step) {
        int64_t at = row / inner * size * inner + row % inner;
        typename Scan::State total = Scan::none();
        for (int64_t k = 0; k < size; ++k, at += inner) {
            total = Scan::combine(total, scan.of(at, k));
            scan.keep(total, at);
        }
    }
}

/* ---- a row to a warp or a block ---- */

/* What lanes before this one have, together; `total`: what all have. */
template <int LANES, class Scan>
static __device__ __forceinline__ typename Scan::State castoff_before_lane(typename Scan::State own, typename Scan::State &total) {
    typedef typename Scan::State State;
    const int lane = (int)threadIdx.x % 32;
    for (int step = 1; step < 32; step *= 2) {
        const State lower = castoff_from_lane(own, lane >= step ? lane - step : lane);
        if (lane >= step) own = Scan::combine(lower, own);
    }
    State before = castoff_from_lane(own, lane > 0 ? lane - 1 : 0);
    if (lane == 0) before = Scan::none();
    total = castoff_from_lane(own, 31);
    if constexpr (LANES > 32) {
        __shared__ State totals[LANES / 32];
        const int warp = (int)threadIdx.x / 32;
        if (lane == 31) totals[warp] = own;
        __syncthreads();
        State earlier = Scan::none();
        total = Scan::none();
        for (int other = 0; other < LANES / 32; ++other) {
            if (other == warp) earlier = total;
            total = Scan::combine(total, totals[other]);
        }
        __syncthreads(); /* before the next tile writes there */
        before = Scan::combine(earlier, before);
    }
    return before;
}

/* What is scanned, and how its rows are split: the first `longer` parts have one element more than `shortest`. Nothing is divided
 * by a number of 64 bits on the device: that is a call, around which registers would be kept in memory. */
struct castoff_scan_rows {
    int64_t size, outer;
    unsigned inner;
    int64_t shortest, longer;

    __device__ __forceinline__ int64_t part_begin(int64_t part) const { return part * shortest + (part < longer ? part : longer); }
};

/* Part blockIdx.y of gridDim.y of each row; blocks next to each other have rows that lie side by side. `totals` [rows][parts]:
 * not NULL, what each part has is written there and nothing else; `before`, of the same shape: what is before each part; NULL,
 * nothing. */
template <int LANES, class Scan>
static __global__ void __launch_bounds__(CASTOFF_SCAN_THREADS)
castoff_scan_along(const Scan scan, const castoff_scan_rows shape, typename Scan::State *__restrict__ totals,
                   const typename Scan::State *__restrict__ before) {
    constexpr int ITEMS = CASTOFF_SCAN_ITEMS;
    typedef typename Scan::State State;
    const int lane = (int)threadIdx.x % LANES;
    constexpr int ROWS = CASTOFF_SCAN_THREADS / LANES;
    const int64_t parts = gridDim.y, part = blockIdx.y, inner = shape.inner;
    const int64_t step = gridDim.x / shape.inner * ROWS;
    const int64_t first = shape.part_begin(part), last = shape.part_begin(part + 1);
    for (int64_t i = blockIdx.x / shape.inner * ROWS + threadIdx.x / LANES; i < shape.outer; i += step) {
        const int64_t row = i * inner + blockIdx.x % shape.inner, start = i * shape.size * inner + blockIdx.x % shape.inner;
        State carried = before ? before[row * parts + part] : Scan::none();
        for (int64_t tile = first; tile < last; tile += LANES * ITEMS) {
            State states[ITEMS], own = Scan::none(), total;
#pragma unroll
            for (int i = 0; i < ITEMS; ++i) {
                const int64_t k = tile + lane * ITEMS + i;
                if (k < last) own = Scan::combine(own, scan.of(start + k * inner, k));
                states[i] = own;
            }
            const State earlier = Scan::combine(carried, castoff_before_lane<LANES, Scan>(own, total));
            if (!totals) {
#pragma unroll
                for (int i = 0; i < ITEMS; ++i) {
                    const int64_t k = tile + lane * ITEMS + i;
                    if (k < last) scan.keep(Scan::combine(earlier, states[i]), start + k * inner);
                }
            }
            carried = Scan::combine(carried, total);
        }
        if (totals && lane == 0) totals[row * parts + part] = carried;
    }
}

/* What parts have becomes what is before them: a block to a row. */
template <class Scan>
static __global__ void __launch_bounds__(CASTOFF_SCAN_THREADS)
castoff_scan_parts(typename Scan::State *__restrict__ totals, const int64_t parts, const int64_t rows) {
    constexpr int LANES = CASTOFF_SCAN_THREADS;
    for (int64_t row = castoff_first_row<LANES>(); row < rows; row += castoff_row_step<LANES>()) {
        typename Scan::State carried = Scan::none(), total;
        for (int64_t first = 0; first < parts; first += LANES) {
            const int64_t part = first + threadIdx.x;
            const typename Scan::State own = part < parts ? totals[row * parts + part] : Scan::none();
            const typename Scan::State before = castoff_before_lane<LANES, Scan>(own, total);
            if (part < parts) totals[row * parts + part] = Scan::combine(carried, before);
            carried = Scan::combine(carried, total);
        }
    }
}

template <int LANES, class Scan>
static int castoff_launch_scan(castoff_frame *frame, const Scan &scan, int64_t outer, int64_t size, int64_t inner, int64_t parts,
                               typename Scan::State *totals, const typename Scan::State *before) {
    const castoff_scan_rows shape = {size, outer, (unsigned)inner, size / parts, size % parts};
    const int64_t blocks = (outer * LANES + CASTOFF_SCAN_THREADS - 1) / CASTOFF_SCAN_THREADS;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)((blocks < CASTOFF_MOST_BLOCKS ? blocks : CASTOFF_MOST_BLOCKS) * inner), (unsigned)parts);
    config.blockDim = dim3(CASTOFF_SCAN_THREADS);
    config.stream = castoff_stream(frame);
    return castoff_cuda_status(
        frame, cudaLaunchKernelEx(&config, castoff_scan_along<LANES, Scan>, scan, shape, totals, before),
        "launch of a scan");
}

template <class Scan>
static int castoff_run_scan(castoff_frame *frame, const Scan &scan, int64_t outer, int64_t size, int64_t inner) {
    const int64_t rows = outer * inner;
    if (rows <= 0 || size <= 0) return CASTOFF_OK;
    if (inner >= 32)
        return castoff_launch_rows(frame, castoff_scan_across<Scan>, rows, CASTOFF_SCAN_THREADS, CASTOFF_SCAN_THREADS, 0, scan,
                                   size, inner, rows);
    if (size <= 32 * CASTOFF_SCAN_ITEMS * 4) return castoff_launch_scan<32>(frame, scan, outer, size, inner, 1, nullptr, nullptr);
    const int64_t parts = rows < 2 * CASTOFF_MULTIPROCESSORS ? castoff_part_count(size) : 1;
    if (parts == 1)
        return castoff_launch_scan<CASTOFF_SCAN_THREADS>(frame, scan, outer, size, inner, 1, nullptr, nullptr);
    typename Scan::State *totals;
    CASTOFF_TRY(castoff_device_scratch(frame, &totals, rows * parts));
    CASTOFF_TRY(castoff_launch_scan<CASTOFF_SCAN_THREADS>(frame, scan, outer, size, inner, parts, totals, nullptr));
    CASTOFF_TRY(castoff_launch_rows(frame, castoff_scan_parts<Scan>, rows, 1, CASTOFF_SCAN_THREADS, 0, totals, parts, rows));
    return castoff_launch_scan<CASTOFF_SCAN_THREADS>(frame, scan, outer, size, inner, parts, nullptr, totals);
}

template <class Element>
static int castoff_device_scan_sum(castoff_frame *frame, typename Element::Stored *out, const typename Element::Stored *x,
                                   int64_t outer, int64_t size, int64_t inner) {
    return castoff_run_scan(frame, castoff_running<castoff_running_sum, Element>{out, x}, outer, size, inner);
}

template <class Element>
static int castoff_device_scan_prod(castoff_frame *frame, typename Element::Stored *out, const typename Element::Stored *x,
                                    int64_t outer, int64_t size, int64_t inner) {
    return castoff_run_scan(frame, castoff_running<castoff_running_product, Element>{out, x}, outer, size, inner);
}

template <class Element>
static int castoff_device_scan_logsumexp(castoff_frame *frame, typename Element::Stored *out, const typename Element::Stored *x,
                                         int64_t outer, int64_t size, int64_t inner) {
    return castoff_run_scan(frame, castoff_running<castoff_running_log_sum, Element>{out, x}, outer, size, inner);
}

template <class Element>
static int castoff_device_scan_max(castoff_frame *frame, typename Element::Stored *values, int64_t *positions,
                                   const typename Element::Stored *x, int64_t outer, int64_t size, int64_t inner) {
    return castoff_run_scan(frame, castoff_running_extreme<true, Element>{values, positions, x}, outer, size, inner);
}

template <class Element>
static int castoff_device_scan_min(castoff_frame *frame, typename Element::Stored *values, int64_t *positions,
                                   const typename Element::Stored *x, int64_t outer, int64_t size, int64_t inner) {
    return castoff_run_scan(frame, castoff_running_extreme<false, Element>{values, positions, x}, outer, size, inner);
}

#endif
