/* rnn.h - recurrent layers over time, one direction each.
 *
 * Layouts are row-major: projected inputs x [T, B, G*H] with all biases but gru's recurrent one, h [B, P], c [B, H],
 * recurrent weight w [P, G*H] (transposed, so that the inner loop runs along gates), outputs y [T, B, P].
 * Gates stand one after the other: i f g o for lstm, r z n for gru. `scratch` holds B * (G*H + H) elements.
 */
#ifndef CASTOFF_COMMON_RNN_H
#define CASTOFF_COMMON_RNN_H

#include <stdint.h>
#include <string.h>

#include "math_f32.h"
#include "math_f64.h"

#define CASTOFF_RNN_FUNCTION static inline __attribute__((unused)) void

/* out[B, n] = start[B, n] (or the row `start` for every b where `start_step` is 0) + h[B, p] w[p, n]. */
#define CASTOFF_RNN_PRODUCT(suffix, T)                                                                              \
    CASTOFF_RNN_FUNCTION castoff_rnn_product_##suffix(T *restrict out, const T *start, int64_t start_step,         \
                                                      const T *restrict h, const T *restrict w, int64_t batch,     \
                                                      int64_t p, int64_t n) {                                      \
        for (int64_t b = 0; b < batch; b++) {                                                                      \
            T *restrict row = out + b * n;                                                                         \
            const T *restrict state = h + b * p;                                                                   \
            if (start)                                                                                             \
                memcpy(row, start + b * start_step, (size_t)n * sizeof(T));                                        \
            else                                                                                                   \
                memset(row, 0, (size_t)n * sizeof(T));                                                             \
            int64_t k = 0;                                                                                         \
            for (; k + 4 <= p; k += 4) {                                                                           \
                const T *restrict w0 = w + k * n, *restrict w1 = w0 + n, *restrict w2 = w1 + n,                    \
                        *restrict w3 = w2 + n;                                                                     \
                const T s0 = state[k], s1 = state[k + 1], s2 = state[k + 2], s3 = state[k + 3];                    \
                for (int64_t j = 0; j < n; j++)                                                                    \
                    row[j] += (s0 * w0[j] + s1 * w1[j]) + (s2 * w2[j] + s3 * w3[j]);                               \
            }                                                                                                      \
            for (; k < p; k++) {                                                                                   \
                const T *restrict w0 = w + k * n;                                                                  \
                const T s0 = state[k];                                                                             \
                for (int64_t j = 0; j < n; j++)                                                                    \
                    row[j] += s0 * w0[j];                                                                          \
            }                                                                                                      \
        }                                                                                                          \
    }

/* One step of the cell state; `h` gets the unprojected hidden state. */
#define CASTOFF_RNN_LSTM_STEP(suffix, T)                                                                            \
    CASTOFF_RNN_FUNCTION castoff_rnn_lstm_step_##suffix(T *restrict h, T *restrict c, const T *restrict gates,         \
                                                    int64_t batch, int64_t hidden) {                               \
        for (int64_t b = 0; b < batch; b++) {                                                                      \
            const T *restrict i = gates + b * 4 * hidden, *restrict f = i + hidden, *restrict g = f + hidden,      \
                    *restrict o = g + hidden;                                                                      \
            T *restrict hb = h + b * hidden, *restrict cb = c + b * hidden;                                        \
            for (int64_t j = 0; j < hidden; j++) {                                                                 \
                cb[j] = castoff_sigmoid_##suffix(f[j]) * cb[j]                                                     \
                        + castoff_sigmoid_##suffix(i[j]) * castoff_tanh_##suffix(g[j]);                            \
                hb[j] = castoff_sigmoid_##suffix(o[j]) * castoff_tanh_##suffix(cb[j]);                             \
            }                                                                                                      \
        }                                                                                                          \
    }

#define CASTOFF_RNN_LSTM(suffix, T)                                                                                 \
    CASTOFF_RNN_FUNCTION castoff_rnn_lstm_run_##suffix(                                                                \
        T *y, T *h_last, T *c, const T *x, const T *h0, const T *w, const T *c0, const T *projection,              \
        int64_t time, int64_t batch, int64_t hidden, int64_t out, int64_t reverse, void *scratch) {                \
        T *gates = (T *)scratch, *state = gates + batch * 4 * hidden;                                              \
        const T *h = h0;                                                                                           \
        memcpy(c, c0, (size_t)(batch * hidden) * sizeof(T));                                                       \
        for (int64_t step = 0; step < time; step++) {                                                              \
            const int64_t t = reverse ? time - 1 - step : step;                                                    \
            T *next = y + t * batch * out;                                                                         \
            castoff_rnn_product_##suffix(gates, x + t * batch * 4 * hidden, 4 * hidden, h, w, batch, out,          \
                                         4 * hidden);                                                              \
            castoff_rnn_lstm_step_##suffix(projection ? state : next, c, gates, batch, hidden);                        \
            if (projection)                                                                                        \
                castoff_rnn_product_##suffix(next, 0, 0, state, projection, batch, hidden, out);                   \
            h = next;                                                                                              \
        }                                                                                                          \
        memcpy(h_last, h, (size_t)(batch * out) * sizeof(T));                                                      \
    }                                                                                                              \
    CASTOFF_RNN_FUNCTION castoff_rnn_lstm_##suffix(                                                                    \
        T *y, T *h_last, T *c_last, const T *x, const T *h0, const T *w, const T *c0, int64_t time, int64_t batch, \
        int64_t hidden, int64_t out, int64_t reverse, void *scratch) {                                             \
        castoff_rnn_lstm_run_##suffix(y, h_last, c_last, x, h0, w, c0, 0, time, batch, hidden, out, reverse, scratch); \
    }                                                                                                              \
    CASTOFF_RNN_FUNCTION castoff_rnn_lstm_projected_##suffix(                                                          \
        T *y, T *h_last, T *c_last, const T *x, const T *h0, const T *w, const T *c0, const T *projection,         \
        int64_t time, int64_t batch, int64_t hidden, int64_t out, int64_t reverse, void *scratch) {                \
        castoff_rnn_lstm_run_##suffix(y, h_last, c_last, x, h0, w, c0, projection, time, batch, hidden, out, reverse,  \
                                  scratch);                                                                        \
    }

#define CASTOFF_RNN_GRU(suffix, T)                                                                                  \
    CASTOFF_RNN_FUNCTION castoff_rnn_gru_##suffix(                                                                     \
        T *y, T *h_last, const T *x, const T *h0, const T *w, const T *bias, int64_t time, int64_t batch,          \
        int64_t hidden, int64_t out, int64_t reverse, void *scratch) {                                             \
        T *gates = (T *)scratch;                                                                                   \
        const T *h = h0;                                                                                           \
        (void)out; /* equals hidden: only an lstm has a projection */                                              \
        for (int64_t step = 0; step < time; step++) {                                                              \
            const int64_t t = reverse ? time - 1 - step : step;                                                    \
            T *next = y + t * batch * hidden;                                                                      \
            castoff_rnn_product_##suffix(gates, bias, 0, h, w, batch, hidden, 3 * hidden);                         \
            for (int64_t b = 0; b < batch; b++) {                                                                  \
                const T *restrict xr = x + (t * batch + b) * 3 * hidden, *restrict xz = xr + hidden,               \
                        *restrict xn = xz + hidden;                                                                \
                const T *restrict hr = gates + b * 3 * hidden, *restrict hz = hr + hidden,                         \
                        *restrict hn = hz + hidden;                                                                \
                const T *restrict hb = h + b * hidden;                                                             \
                T *restrict out_row = next + b * hidden;                                                           \
                for (int64_t j = 0; j < hidden; j++) {                                                             \
                    const T reset = castoff_sigmoid_##suffix(xr[j] + hr[j]);                                       \
                    const T update = castoff_sigmoid_##suffix(xz[j] + hz[j]);                                      \
                    const T fresh = castoff_tanh_##suffix(xn[j] + reset * hn[j]);                                  \
                    out_row[j] = (hb[j] - fresh) * update + fresh;                                                 \
                }                                                                                                  \
            }                                                                                                      \
            h = next;                                                                                              \
        }                                                                                                          \
        memcpy(h_last, h, (size_t)(batch * hidden) * sizeof(T));                                                   \
    }

/* A NaN passes the rectifier, as in PyTorch. */
#define CASTOFF_RNN_RECTIFY(x) ((x) < 0 ? 0 : (x))

#define CASTOFF_RNN_PLAIN(name, suffix, T, ACTIVATION)                                                              \
    CASTOFF_RNN_FUNCTION castoff_rnn_##name##_##suffix(T *y, T *h_last, const T *x, const T *h0, const T *w,           \
                                                   int64_t time, int64_t batch, int64_t hidden, int64_t out,       \
                                                   int64_t reverse, void *scratch) {                               \
        T *gates = (T *)scratch;                                                                                   \
        const T *h = h0;                                                                                           \
        (void)out; /* equals hidden: only an lstm has a projection */                                              \
        for (int64_t step = 0; step < time; step++) {                                                              \
            const int64_t t = reverse ? time - 1 - step : step;                                                    \
            T *next = y + t * batch * hidden;                                                                      \
            castoff_rnn_product_##suffix(gates, x + t * batch * hidden, hidden, h, w, batch, hidden, hidden);      \
            for (int64_t j = 0; j < batch * hidden; j++)                                                           \
                next[j] = ACTIVATION(gates[j]);                                                                    \
            h = next;                                                                                              \
        }                                                                                                          \
        memcpy(h_last, h, (size_t)(batch * hidden) * sizeof(T));                                                   \
    }

#define CASTOFF_RNN(suffix, T)                                                                                      \
    CASTOFF_RNN_PRODUCT(suffix, T)                                                                                 \
    CASTOFF_RNN_LSTM_STEP(suffix, T)                                                                               \
    CASTOFF_RNN_LSTM(suffix, T)                                                                                    \
    CASTOFF_RNN_GRU(suffix, T)                                                                                     \
    CASTOFF_RNN_PLAIN(tanh, suffix, T, castoff_tanh_##suffix)                                              \
    CASTOFF_RNN_PLAIN(relu, suffix, T, CASTOFF_RNN_RECTIFY)

CASTOFF_RNN(f32, float)
CASTOFF_RNN(f64, double)

#endif
