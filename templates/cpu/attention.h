/* attention.h - softmax(scale * Q K^T + mask) V without the matrix of scores, by blocks of keys.
 *
 * For each T of f32, bf16, f16 (inputs of that storage, everything computed and put out in float):
 *
 *     castoff_attention_T_args
 *         batch, heads, kv_heads     heads of the queries; query head h reads key head h / (heads / kv_heads)
 *         queries, keys, size, value_size    rows of q, rows of k and v, columns of q and k, columns of v and out
 *         q, q_batch, q_head, q_row  and the same for k and v; strides in elements, any; columns contiguous
 *         wide                       bf16 only: k and v are float, rounded as they are read
 *         tail_keys                  how many of the keys, the last ones, lie elsewhere: at k_tail and v_tail, with strides of
 *                                    their own
 *         mask_kind                  CASTOFF_MASK_NONE; _ADD: float, added to the scores; _KEEP: bytes, 0 takes the key out
 *         mask, mask_batch, mask_head, mask_row, mask_col    strides in elements of the mask; 0 repeats
 *         causal                     query i sees keys j <= i + causal_offset
 *         causal_offset              0 for torch's is_causal
 *         scale                      usually 1 / sqrt(size)
 *         out, out_batch, out_head, out_row      strides in floats, columns contiguous; unused with an epilogue
 *         epilogue, epilogue_context as in gemm.h: row = query, col = column of the value, batch = image * heads + head;
 *                                    up to 64 x value_size at once, one row at least
 *     void castoff_attention_T_run(const castoff_attention_T_args *, castoff_pool *, void *scratch)
 *     int64_t castoff_attention_T_scratch(const castoff_attention_T_args *, int threads)      reads no pointer
 *
 * A query whose keys are all masked out (-inf, or none) gets zeros, as in torch. Results are the same bits for any number
 * of threads, on one CPU level.
 *
 * Scores are kept transposed, S^T[key, query]: keys and values are then left operands, read where they lie, the queries
 * are the packed panels, and softmax runs down the columns, one query per vector lane, in powers of two. The query heads that share a key
 * head are columns side by side. A few columns (decoding) go row by row instead.
 */
#ifndef CASTOFF_CPU_ATTENTION_H
#define CASTOFF_CPU_ATTENTION_H

#include "gemm.h"

typedef enum { CASTOFF_MASK_NONE, CASTOFF_MASK_ADD, CASTOFF_MASK_KEEP } castoff_mask_kind;

/* Columns (queries) and keys of one block; up to FEW columns are taken row by row, by blocks of keys small enough that
 * widened copies of them stay in the first cache. */
#define CASTOFF_ATTENTION_COLUMNS 64
#define CASTOFF_ATTENTION_KEYS 128
#define CASTOFF_ATTENTION_FEW 8
#define CASTOFF_ATTENTION_FEW_KEYS 32
/* What a unit may say of the columns of its attention, for the form that none needs to be left out. */
#ifndef CASTOFF_ATTENTION_LEAST_COLUMNS
#define CASTOFF_ATTENTION_LEAST_COLUMNS 0
#endif
#ifndef CASTOFF_ATTENTION_MOST_COLUMNS
#define CASTOFF_ATTENTION_MOST_COLUMNS INT64_MAX
#endif
#define CASTOFF_ATTENTION_ARE_FEW(columns)                         \
    (CASTOFF_ATTENTION_LEAST_COLUMNS <= CASTOFF_ATTENTION_FEW &&   \
     (CASTOFF_ATTENTION_MOST_COLUMNS <= CASTOFF_ATTENTION_FEW || (columns) <= CASTOFF_ATTENTION_FEW))
#define CASTOFF_LOG2_E 0x1.715476p0f

#define A(name) castoff_attention_f32_##name
#define S float
#define WIDEN(x) (x)
#define LOAD castoff_load_f32
#define SAME 1
#include "attention_engine.h"

#define A(name) castoff_attention_bf16_##name
#define S uint16_t
#define WIDEN castoff_widen_bf16
#define LOAD castoff_load_bf16
#define ROUND castoff_rounded_bf16_vf32
#define SAME 0
#include "attention_engine.h"

#define A(name) castoff_attention_f16_##name
#define S uint16_t
#define WIDEN castoff_widen_f16
#define LOAD castoff_load_f16
#define SAME 0
#include "attention_engine.h"

#endif
