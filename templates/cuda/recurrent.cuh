/* recurrent.cuh - recurrent layers over time, one direction each, as common/rnn.h.
 *
 * A step of time is one launch (two with a projection). A block makes 32 neighbouring units of a few rows of the batch: its
 * warps share the depth of the products of all gates, neighbouring lanes read neighbouring weights, and what the warps found is
 * added in their order. The states of a step are read by the next from where the outputs lie.
 *
 * A cell says what becomes of the products of its gates: finish(sums, row, unit).
 */
#ifndef CASTOFF_CUDA_RECURRENT_CUH
#define CASTOFF_CUDA_RECURRENT_CUH

#include "common/math_f32.h"
#include "common/math_f64.h"
#include "cuda/product.cuh"

#define CASTOFF_RECURRENT_WARPS 16
#define CASTOFF_RECURRENT_ROWS 8 /* of the batch, that a block reads weights for once: 128 registers hold their sums */

CASTOFF_INLINE float castoff_gate(float x) { return castoff_sigmoid_f32(x); }
CASTOFF_INLINE double castoff_gate(double x) { return castoff_sigmoid_f64(x); }
CASTOFF_INLINE float castoff_squash(float x) { return castoff_tanh_f32(x); }
CASTOFF_INLINE double castoff_squash(double x) { return castoff_tanh_f64(x); }

/* ---- cells; x, out and states at one step of time ---- */

template <class T>
struct castoff_lstm_cell {
    static constexpr int GATES = 4;
    T *out, *c;
    const T *x, *c_before;
    int64_t hidden;
    __device__ __forceinline__ void finish(const T *sums, int64_t row, int64_t unit) const {
        const T *const own = x + row * 4 * hidden + unit;
        const int64_t at = row * hidden + unit;
        const T enter = castoff_gate(own[0] + sums[0]), forget = castoff_gate(own[hidden] + sums[1]);
        const T cell = castoff_squash(own[2 * hidden] + sums[2]), leave = castoff_gate(own[3 * hidden] + sums[3]);
        const T state = forget * c_before[at] + enter * cell;
        c[at] = state;
        out[at] = leave * castoff_squash(state);
    }
};

template <class T>
struct castoff_gru_cell {
    static constexpr int GATES = 3;
    T *out;
    const T *x, *h_before, *bias;
    int64_t hidden;
    __device__ __forceinline__ void finish(const T *sums, int64_t row, int64_t unit) const {
        const T *const own = x + row * 3 * hidden + unit;
        const int64_t at = row * hidden + unit;
        const T reset = castoff_gate(own[0] + (sums[0] + bias[unit]));
        const T update = castoff_gate(own[hidden] + (sums[1] + bias[hidden + unit]));
        const T fresh = castoff_squash(own[2 * hidden] + reset * (sums[2] + bias[2 * hidden + unit]));
        out[at] = (h_before[at] - fresh) * update + fresh;
    }
};

/* A NaN passes the rectifier, as in PyTorch. */
template <class T, bool IS_RELU>
struct castoff_plain_cell {
    static constexpr int GATES = 1;
    T *out;
    const T *x;
    int64_t hidden;
    __device__ __forceinline__ void finish(const T *sums, int64_t row, int64_t unit) const {
        const int64_t at = row * hidden + unit;
        const T sum = x[at] + sums[0];
        if constexpr (IS_RELU)
            out[at] = sum < 0 ? 0 : sum;
        else
            out[at] = castoff_squash(sum);
    }
};

/* The product alone. */
template <class T>
struct castoff_projection_cell {
    static constexpr int GATES = 1;
    T *out;
    int64_t hidden;
    __device__ __forceinline__ void finish(const T *sums, int64_t row, int64_t unit) const { out[row * hidden + unit] = sums[0]; }
};

/* ---- a step ---- */

/* h [batch, depth] times w [depth, GATES * hidden]. */
template <class T>
struct castoff_recurrent_product {
    const T *h, *w;
    int64_t batch, depth, hidden;
};

template <int ROWS, class T, class Cell>
static __global__ void __launch_bounds__(32 * CASTOFF_RECURRENT_WARPS, ROWS > 1 ? 1 : 2)
castoff_recurrent_step(const castoff_recurrent_product<T> p, const Cell cell) {
    constexpr int GATES = Cell::GATES, WARPS = CASTOFF_RECURRENT_WARPS;
    __shared__ T found[WARPS][GATES][32];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int64_t unit = (int64_t)blockIdx.x * 32 + lane, width = GATES * p.hidden;
    for (int64_t row0 = (int64_t)blockIdx.y * ROWS; row0 < p.batch; row0 += (int64_t)gridDim.y * ROWS) {
        const int rows = p.batch - row0 < ROWS ? (int)(p.batch - row0) : ROWS;
        T sums[ROWS][GATES] = {};
        if (unit < p.hidden) {
#pragma unroll 2
            for (int64_t k = warp; k < p.depth; k += WARPS) {
                T weights[GATES];
#pragma unroll
                for (int gate = 0; gate < GATES; ++gate) weights[gate] = p.w[k * width + gate * p.hidden + unit];
#pragma unroll
                for (int row = 0; row < ROWS; ++row) {
                    if (row >= rows) break;
                    const T state = p.h[(row0 + row) * p.depth + k];
#pragma unroll
                    for (int gate = 0; gate < GATES; ++gate)
                        sums[row][gate] = castoff_multiply_add(state, weights[gate], sums[row][gate]);
                }
            }
        }
#pragma unroll
        for (int row = 0; row < ROWS; ++row) {
            if (row >= rows) break;
            __syncthreads(); /* what was found for the row before has been read */
#pragma unroll
            for (int gate = 0; gate < GATES; ++gate) found[warp][gate][lane] = sums[row][gate];
            __syncthreads();
            if (warp != row || unit >= p.hidden) continue;
            T total[GATES] = {};
            for (int other = 0; other < WARPS; ++other)
#pragma unroll
                for (int gate = 0; gate < GATES; ++gate) total[gate] += found[other][gate][lane];
            cell.finish(total, row0 + row, unit);
        }
    }
}

template <class T, class Cell>
static int castoff_run_step(castoff_frame *frame, const castoff_recurrent_product<T> &p, const Cell &cell) {
    if (p.batch <= 0 || p.hidden <= 0) return CASTOFF_OK;
    constexpr int ROWS = CASTOFF_RECURRENT_ROWS;
    static_assert(ROWS <= CASTOFF_RECURRENT_WARPS, "a warp to a row");
    const bool is_one = p.batch == 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)((p.hidden + 31) / 32), castoff_grid_side((p.batch + ROWS - 1) / ROWS, CASTOFF_GRID_SIDE));
    config.blockDim = dim3(32 * CASTOFF_RECURRENT_WARPS);
    config.stream = castoff_stream(frame);
    const auto kernel = is_one ? castoff_recurrent_step<1, T, Cell> : castoff_recurrent_step<ROWS, T, Cell>;
    return castoff_cuda_status(frame, cudaLaunchKernelEx(&config, kernel, p, cell), "launch of a recurrent layer");
}

/* ---- layers ---- */

/* step(h, t) runs time t, and has its state where y has that time. */
template <class T, class Step>
static int castoff_over_time(castoff_frame *frame, T *y, T *h_last, const T *h0, int64_t time, int64_t state_count,
                             int64_t reverse, const Step &step) {
    const T *h = h0;
    for (int64_t number = 0; number < time; ++number) {
        const int64_t t = reverse ? time - 1 - number : number;
        CASTOFF_TRY(step(h, t, number == 0));
        h = y + t * state_count;
    }
    return castoff_copy(frame, h_last, h, state_count * (int64_t)sizeof(T));
}

template <class T>
static int castoff_run_lstm(castoff_frame *frame, T *y, T *h_last, T *c_last, const T *x, const T *h0, const T *w, const T *c0,
                            const T *projection, int64_t time, int64_t batch, int64_t hidden, int64_t out, int64_t reverse,
                            T *unprojected) {
    if (time <= 0) CASTOFF_TRY(castoff_copy(frame, c_last, c0, batch * hidden * (int64_t)sizeof(T)));
    return castoff_over_time(frame, y, h_last, h0, time, batch * out, reverse, [=](const T *h, int64_t t, bool is_first) {
        T *const next = y + t * batch * out;
        const castoff_lstm_cell<T> cell = {projection ? unprojected : next, c_last, x + t * batch * 4 * hidden,
                                           is_first ? c0 : c_last, hidden};
        CASTOFF_TRY(castoff_run_step(frame, castoff_recurrent_product<T>{h, w, batch, out, hidden}, cell));
        if (!projection) return (int)CASTOFF_OK;
        return castoff_run_step(frame, castoff_recurrent_product<T>{unprojected, projection, batch, hidden, out},
                                castoff_projection_cell<T>{next, out});
    });
}

template <class Element, class T = typename Element::Value>
static int castoff_device_rnn_lstm(castoff_frame *frame, T *y, T *h_last, T *c_last, const T *x, const T *h0, const T *w,
                                   const T *c0, int64_t time, int64_t batch, int64_t hidden, int64_t out, int64_t reverse, void *,
                                   castoff_pool *) {
    return castoff_run_lstm<T>(frame, y, h_last, c_last, x, h0, w, c0, NULL, time, batch, hidden, out, reverse, NULL);
}

template <class Element, class T = typename Element::Value>
static int castoff_device_rnn_lstm_projected(castoff_frame *frame, T *y, T *h_last, T *c_last, const T *x, const T *h0,
                                             const T *w, const T *c0, const T *projection, int64_t time, int64_t batch,
                                             int64_t hidden, int64_t out, int64_t reverse, void *, void *state, castoff_pool *) {
    return castoff_run_lstm<T>(frame, y, h_last, c_last, x, h0, w, c0, projection, time, batch, hidden, out, reverse, (T *)state);
}

template <class Element, class T = typename Element::Value>
static int castoff_device_rnn_gru(castoff_frame *frame, T *y, T *h_last, const T *x, const T *h0, const T *w, const T *bias,
                                  int64_t time, int64_t batch, int64_t hidden, int64_t, int64_t reverse, void *,
                                  castoff_pool *) {
    return castoff_over_time(frame, y, h_last, h0, time, batch * hidden, reverse, [=](const T *h, int64_t t, bool) {
        const castoff_gru_cell<T> cell = {y + t * batch * hidden, x + t * batch * 3 * hidden, h, bias, hidden};
        return castoff_run_step(frame, castoff_recurrent_product<T>{h, w, batch, hidden, hidden}, cell);
    });
}

template <bool IS_RELU, class T>
static int castoff_run_plain(castoff_frame *frame, T *y, T *h_last, const T *x, const T *h0, const T *w, int64_t time,
                             int64_t batch, int64_t hidden, int64_t reverse) {
    return castoff_over_time(frame, y, h_last, h0, time, batch * hidden, reverse, [=](const T *h, int64_t t, bool) {
        const castoff_plain_cell<T, IS_RELU> cell = {y + t * batch * hidden, x + t * batch * hidden, hidden};
        return castoff_run_step(frame, castoff_recurrent_product<T>{h, w, batch, hidden, hidden}, cell);
    });
}

template <class Element, class T = typename Element::Value>
static int castoff_device_rnn_tanh(castoff_frame *frame, T *y, T *h_last, const T *x, const T *h0, const T *w, int64_t time,
                                   int64_t batch, int64_t hidden, int64_t, int64_t reverse, void *,
                                   castoff_pool *) {
    return castoff_run_plain<false>(frame, y, h_last, x, h0, w, time, batch, hidden, reverse);
}

template <class Element, class T = typename Element::Value>
static int castoff_device_rnn_relu(castoff_frame *frame, T *y, T *h_last, const T *x, const T *h0, const T *w, int64_t time,
                                   int64_t batch, int64_t hidden, int64_t, int64_t reverse, void *,
                                   castoff_pool *) {
    return castoff_run_plain<true>(frame, y, h_last, x, h0, w, time, batch, hidden, reverse);
}

#endif
