/* attention_problem.cuh - what attention computes: softmax(scale * Q K^T + mask) V. */
#ifndef CASTOFF_CUDA_ATTENTION_PROBLEM_CUH
#define CASTOFF_CUDA_ATTENTION_PROBLEM_CUH

#include "cuda/product.cuh"

enum castoff_mask_kind { CASTOFF_MASK_NONE, CASTOFF_MASK_ADD, CASTOFF_MASK_KEEP };

template <class Element>
struct castoff_attention {
    typedef typename Element::Stored Stored;

    int64_t batch, heads, kv_heads, queries, keys, size, value_size;
    const Stored *q, *k, *v; /* strides in elements; columns lie side by side */
    int64_t q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row;
    int mask_kind; /* ADD: float, added to the scores; KEEP: bytes, 0 takes the key out */
    const void *mask;
    int64_t mask_batch, mask_head, mask_row, mask_column;
    int is_causal; /* query i sees keys j <= i */
    float scale;
};

/* A score of which `score` is known so far, after the mask, whose values are multiplied by `unit`; -inf takes the key out. */
template <class Element>
static __device__ __forceinline__ float castoff_masked_score(const castoff_attention<Element> &p, float score, float unit,
                                                             int64_t image, int64_t head, int64_t query, int64_t key) {
    if (key >= p.keys || query >= p.queries || (p.is_causal && key > query)) return -__builtin_inff();
    const int64_t at = image * p.mask_batch + head * p.mask_head + query * p.mask_row + key * p.mask_column;
    if (p.mask_kind == CASTOFF_MASK_KEEP) return ((const uint8_t *)p.mask)[at] ? score : -__builtin_inff();
    if (p.mask_kind == CASTOFF_MASK_ADD) return fmaf(((const float *)p.mask)[at], unit, score);
    return score;
}

/* The mean of values: 0 where every key was taken out. */
static __device__ __forceinline__ float castoff_attention_result(float sum, float total) {
    return total > 0.0f ? sum / total : total == 0.0f ? 0.0f : total;
}

#endif
