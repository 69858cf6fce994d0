/* rnn.h - recurrent layers over time, one direction each.
 *
 * Layouts are row-major: projected inputs x [T, B, G*H] with all biases but gru's recurrent one, h [B, P], c [B, H],
 * recurrent weight w [P, G*H] (transposed, so that the inner loop runs along gates), outputs y [T, B, P].
 * Gates stand one after the other: i f g o for lstm, r z n for gru. `memory` has room for w, `state` for B * H elements.
 */
#ifndef CASTOFF_COMMON_RNN_H
#define CASTOFF_COMMON_RNN_H

#include <stdint.h>
#include <string.h>

#include "abi/castoff_pool.h"
#include "cpu/simd.h"
#include "math_f32.h"
#include "math_f64.h"

/* Multiply-adds of a step that are worth a thread: a microsecond or two, ten times what it takes to hand them over. */
#define CASTOFF_RNN_ENOUGH (1 << 15)
/* How often a weight is read at least for a copy of it to pay. */
#define CASTOFF_RNN_READS 16
#define CASTOFF_RNN_RECTIFY(x) ((x) < 0 ? 0 : (x))

#define R(name) castoff_rnn_##name##_f32
#define T float
#define V castoff_vf32
#define LANES CASTOFF_VF32_LANES
#define LOAD castoff_load_f32
#define STORE castoff_store_f32
#define SPLAT castoff_splat_f32
#define FMA castoff_fma_f32
#define SIGMOID castoff_sigmoid_f32
#define TANH castoff_tanh_f32
#include "rnn_engine.h"

#define R(name) castoff_rnn_##name##_f64
#define T double
#define V castoff_vf64
#define LANES CASTOFF_VF64_LANES
#define LOAD castoff_load_f64
#define STORE castoff_store_f64
#define SPLAT castoff_splat_f64
#define FMA castoff_fma_f64
#define SIGMOID castoff_sigmoid_f64
#define TANH castoff_tanh_f64
#include "rnn_engine.h"

#endif
