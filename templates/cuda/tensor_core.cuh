/* tensor_core.cuh - one warp's multiply-add of matrices on tensor cores, and the loads that feed it.
 *
 * Where elements lie in registers is fixed by PTX (mma.m16n8k16, ldmatrix). With lane = 4 * g + t:
 *
 *     a[0..3], 16 x 16 by rows        (g, 2t..2t+1), (g + 8, 2t..), (g, 2t + 8..), (g + 8, 2t + 8..)
 *     b[0..1], 16 x 8 by columns      (2t..2t+1, g), (2t + 8..2t + 9, g)
 *     d[0..3], 16 x 8, float          (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
 *
 * A register of a and b holds two elements, that of the lower index in its lower half. Of float32 (mma.m16n8k8) it holds
 * one: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4) and (t, g), (t + 4, g); 16 bytes of a row are 4 of its elements where
 * they are 8 otherwise, so that the same loads serve. Without a GPU to assemble for, it is written with shuffles.
 */
#ifndef CASTOFF_CUDA_TENSOR_CORE_CUH
#define CASTOFF_CUDA_TENSOR_CORE_CUH

#include "cuda/product.cuh"

/* Element types that tensor cores multiply. */
template <class Element>
struct castoff_on_tensor_cores {
    static constexpr bool value = false;
};
template <>
struct castoff_on_tensor_cores<castoff_half> {
    static constexpr bool value = true;
};
template <>
struct castoff_on_tensor_cores<castoff_brain> {
    static constexpr bool value = true;
};

static __device__ __forceinline__ uint16_t castoff_narrowed(castoff_half, float x) { return castoff_f32_to_f16(x); }
static __device__ __forceinline__ uint16_t castoff_narrowed(castoff_brain, float x) { return castoff_f32_to_bf16(x); }

/* Two values as a register of a or b. */
template <class Element>
static __device__ __forceinline__ uint32_t castoff_pair(float low, float high) {
    return (uint32_t)castoff_narrowed(Element{}, low) | (uint32_t)castoff_narrowed(Element{}, high) << 16;
}

#if defined(CASTOFF_EMULATION)

template <class Element>
static __device__ uint32_t castoff_add_pairs(uint32_t a, uint32_t b) {
    const auto half = [](uint32_t pair, int which) { return Element::widen((uint16_t)(pair >> 16 * which)); };
    return castoff_pair<Element>(half(a, 0) + half(b, 0), half(a, 1) + half(b, 1));
}

template <class Element>
static __device__ void castoff_multiply_tiles(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    constexpr bool IS_TF32 = __is_same(Element, castoff_tf32);
    const int lane = (int)threadIdx.x % 32, t = lane % 4;
    const auto half = [](uint32_t pair, int which) {
        if constexpr (IS_TF32)
            return __uint_as_float(pair);
        else
            return Element::widen((uint16_t)(pair >> 16 * which));
    };
    struct Left {
        uint32_t registers[4];
    };
    struct Right {
        uint32_t registers[2];
    };
    Left rows[4]; /* of the lanes that have elements of this one's rows, then of its columns */
    Right columns[8];
    for (int other = 0; other < 4; ++other)
        rows[other] = __shfl_sync(0xffffffffu, Left{{a[0], a[1], a[2], a[3]}}, (lane & ~3) | other);
    for (int other = 0; other < 8; ++other) columns[other] = __shfl_sync(0xffffffffu, Right{{b[0], b[1]}}, 8 * t + other);
    for (int k = 0; k < (IS_TF32 ? 8 : 16); ++k) {
        const int other = IS_TF32 ? k % 4 : k % 8 / 2, upper = IS_TF32 ? k / 4 : k / 8, which = k % 2;
        const uint32_t *const row = rows[other].registers + 2 * upper;
        const float left = half(columns[other].registers[upper], which);
        const float right = half(columns[4 + other].registers[upper], which);
        d[0] = fmaf(half(row[0], which), left, d[0]);
        d[1] = fmaf(half(row[0], which), right, d[1]);
        d[2] = fmaf(half(row[1], which), left, d[2]);
        d[3] = fmaf(half(row[1], which), right, d[3]);
    }
}

/* Float32 as tensor cores are to read it; other types are left as they are. */
template <class Element>
static __device__ void castoff_round_tiles(uint32_t (&tiles)[4]) {
    if constexpr (__is_same(Element, castoff_tf32))
        for (uint32_t &tile : tiles) tile = (tile + 0x1000u) & ~0x1fffu;
}

static __device__ void castoff_load_tiles(uint32_t (&tiles)[4], const uint16_t *row) {
    const int lane = (int)threadIdx.x % 32;
    for (int i = 0; i < 4; ++i) {
        const uintptr_t from = __shfl_sync(0xffffffffu, (uintptr_t)row, 8 * i + lane / 4);
        memcpy(&tiles[i], (const uint16_t *)from + 2 * (lane % 4), 4);
    }
}

static __device__ void castoff_load_tiles_transposed(uint32_t (&tiles)[4], const uint16_t *row) {
    const int lane = (int)threadIdx.x % 32;
    for (int i = 0; i < 4; ++i) {
        const uintptr_t first = __shfl_sync(0xffffffffu, (uintptr_t)row, 8 * i + 2 * (lane % 4));
        const uintptr_t second = __shfl_sync(0xffffffffu, (uintptr_t)row, 8 * i + 2 * (lane % 4) + 1);
        tiles[i] = ((const uint16_t *)first)[lane / 4] | (uint32_t)((const uint16_t *)second)[lane / 4] << 16;
    }
}

#else

/* The sums of two pairs. (bfloat16 is added by a multiply-add: sm_80 has no other.) */
template <class Element>
static __device__ __forceinline__ uint32_t castoff_add_pairs(uint32_t a, uint32_t b) {
    uint32_t sum;
    if constexpr (sizeof(Element) && __is_same(Element, castoff_half))
        asm("add.rn.f16x2 %0, %1, %2;" : "=r"(sum) : "r"(a), "r"(b));
    else
        asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(0x3f803f80u), "r"(b));
    return sum;
}

/* d += a b. */
template <class Element>
static __device__ __forceinline__ void castoff_multiply_tiles(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (sizeof(Element) && __is_same(Element, castoff_half))
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else if constexpr (sizeof(Element) && __is_same(Element, castoff_tf32))
        asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Float32 as tensor cores are to read it, to the nearest of 10 bits of fraction; other types are left as they are. */
template <class Element>
static __device__ __forceinline__ void castoff_round_tiles(uint32_t (&tiles)[4]) {
    if constexpr (sizeof(Element) && __is_same(Element, castoff_tf32)) {
#pragma unroll
        for (int i = 0; i < 4; ++i) asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(tiles[i]) : "f"(__uint_as_float(tiles[i])));
    }
}

/* Four 8 x 8 matrices from shared memory: lane 8 * i + r points to row r of matrix i, 16 bytes. In tiles[i], lane
 * 4 * g + t gets elements (g, 2t..2t+1) of matrix i. */
static __device__ __forceinline__ void castoff_load_tiles(uint32_t (&tiles)[4], const uint16_t *row) {
    const uint32_t address = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(tiles[0]), "=r"(tiles[1]), "=r"(tiles[2]), "=r"(tiles[3]) : "r"(address) : "memory");
}

/* The same, each matrix transposed: elements (2t, g) and (2t + 1, g). */
static __device__ __forceinline__ void castoff_load_tiles_transposed(uint32_t (&tiles)[4], const uint16_t *row) {
    const uint32_t address = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(tiles[0]), "=r"(tiles[1]), "=r"(tiles[2]), "=r"(tiles[3]) : "r"(address) : "memory");
}

#endif

#endif
