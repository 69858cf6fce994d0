// nvcuda::wmma. Every lane keeps the whole fragment; the first lane that goes on does the work for the warp.
//
// A loop over frag.x[i] that treats all elements alike does what it does with a GPU. Lanes whose fragments differ
// rely on which element lies in which lane, which CUDA does not say: that stops the program.
#pragma once

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "emulation/warp.h"

namespace emulation {
// d[m][n] = a[m][k] b[k][n] + c[m][n], summed in double (integers in 32 bits).
EMULATION_HIDDEN void multiply(float* d, const float* a, const float* b, const float* c, int m, int n, int k);
EMULATION_HIDDEN void multiply(double* d, const double* a, const double* b, const double* c, int m, int n, int k);
EMULATION_HIDDEN void multiply(int* d, const int* a, const int* b, const int* c, int m, int n, int k);

// Calls `work` in the first of the lanes that meet, with what each lane brought.
template <typename T, typename Work> void once_for_warp(const char* operation, T* own, Work work)
{
    const Meeting* meeting = meet_warp(0xffffffffu, operation, &own, sizeof own);
    if (meeting->present != 0xffffffffu) stop("%s: only the lanes 0x%08x are there", operation, meeting->present);
    if (meeting->readers == 32) {
        T* lanes[32];
        for (unsigned i = 0; i < 32; i++) memcpy(&lanes[i], meeting->values[i], sizeof lanes[i]);
        work(lanes);
    }
    leave_warp(meeting);
}
template <typename T> void expect_same(const char* operation, const char* what, const T& first, const T& other)
{
    if (memcmp(&first, &other, sizeof(T)) != 0) stop("%s: lanes of one warp have different %s", operation, what);
}
}  // namespace emulation

namespace nvcuda::wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32 {};
}

template <typename Use, int m, int n, int k, typename T, typename Layout = void> class fragment {
  public:
    using element_type = std::conditional_t<std::is_same_v<T, precision::tf32>, float, T>;
    static constexpr int rows = std::is_same_v<Use, matrix_b> ? k : m;
    static constexpr int columns = std::is_same_v<Use, matrix_a> ? k : n;
    static constexpr int num_elements = rows * columns, num_storage_elements = num_elements;
    element_type x[num_elements];  // row by row
    fragment() { memset(static_cast<void*>(x), 0xff, sizeof x); }
};

template <typename Use, int m, int n, int k, typename T, typename Layout, typename Value>
void fill_fragment(fragment<Use, m, n, k, T, Layout>& f, const Value& value)
{
    for (auto& x : f.x) x = static_cast<std::remove_reference_t<decltype(x)>>(value);
}

template <typename Fragment, typename Element>
void emulated_load(Fragment& f, const Element* p, unsigned ldm, bool is_row_major)
{
    struct Call {
        Fragment* f;
        const Element* p;
        unsigned ldm;
    } own{&f, p, ldm};
    emulation::once_for_warp("load_matrix_sync", &own, [&](Call** lanes) {
        for (int row = 0; row < Fragment::rows; row++) {
            for (int column = 0; column < Fragment::columns; column++) {
                f.x[row * Fragment::columns + column] = is_row_major ? p[row * ldm + column] : p[column * ldm + row];
            }
        }
        for (int i = 0; i < 32; i++) {
            emulation::expect_same("load_matrix_sync", "addresses", p, lanes[i]->p);
            if (lanes[i]->f != &f) *lanes[i]->f = f;
        }
    });
}

template <typename Use, int m, int n, int k, typename T, typename Layout, typename Element>
void load_matrix_sync(fragment<Use, m, n, k, T, Layout>& f, const Element* p, unsigned ldm)
{
    emulated_load(f, p, ldm, std::is_same_v<Layout, row_major>);
}
template <int m, int n, int k, typename T>
void load_matrix_sync(fragment<accumulator, m, n, k, T>& f, const T* p, unsigned ldm, layout_t layout)
{
    emulated_load(f, p, ldm, layout == mem_row_major);
}

template <int m, int n, int k, typename T>
void store_matrix_sync(T* p, const fragment<accumulator, m, n, k, T>& f, unsigned ldm, layout_t layout)
{
    using Fragment = const fragment<accumulator, m, n, k, T>;
    struct Call {
        Fragment* f;
        T* p;
    } own{&f, p};
    emulation::once_for_warp("store_matrix_sync", &own, [&](Call** lanes) {
        for (int i = 0; i < 32; i++) {
            emulation::expect_same("store_matrix_sync", "addresses", p, lanes[i]->p);
            emulation::expect_same("store_matrix_sync", "fragments", f.x, lanes[i]->f->x);
        }
        for (int row = 0; row < m; row++) {
            for (int column = 0; column < n; column++) {
                p[layout == mem_row_major ? row * ldm + column : column * ldm + row] = f.x[row * n + column];
            }
        }
    });
}

static inline float __float_to_tf32(float x)  // to nearest, ties away from zero
{
    unsigned bits = __float_as_uint(x);
    return (bits & 0x7f800000u) == 0x7f800000u ? x : __uint_as_float((bits + 0x1000u) & ~0x1fffu);
}

template <typename D, typename A, typename B, typename C>
void emulated_mma(D& d, const A& a, const B& b, const C& c)
{
    using Sum = std::conditional_t<std::is_integral_v<typename D::element_type>, int,
                                   std::conditional_t<std::is_same_v<typename D::element_type, double>, double, float>>;
    struct Call {
        D* d;
        const A* a;
        const B* b;
        const C* c;
    } own{&d, &a, &b, &c};
    constexpr int m = D::rows, n = D::columns, k = A::columns;
    emulation::once_for_warp("mma_sync", &own, [&](Call** lanes) {
        Sum wide_a[m * k], wide_b[k * n], wide_c[m * n], wide_d[m * n];
        for (int i = 0; i < 32; i++) {
            emulation::expect_same("mma_sync", "fragments", a.x, lanes[i]->a->x);
            emulation::expect_same("mma_sync", "fragments", b.x, lanes[i]->b->x);
            emulation::expect_same("mma_sync", "accumulators", c.x, lanes[i]->c->x);
        }
        for (int i = 0; i < m * k; i++) wide_a[i] = static_cast<Sum>(a.x[i]);
        for (int i = 0; i < k * n; i++) wide_b[i] = static_cast<Sum>(b.x[i]);
        for (int i = 0; i < m * n; i++) wide_c[i] = static_cast<Sum>(c.x[i]);
        if constexpr (std::is_same_v<typename A::element_type, float>) {  // tensor cores see 19 bits of tf32
            for (Sum& x : wide_a) x = __uint_as_float(__float_as_uint(x) & ~0x1fffu);
            for (Sum& x : wide_b) x = __uint_as_float(__float_as_uint(x) & ~0x1fffu);
        }
        emulation::multiply(wide_d, wide_a, wide_b, wide_c, m, n, k);
        for (int i = 0; i < m * n; i++) d.x[i] = static_cast<typename D::element_type>(wide_d[i]);
        for (int i = 0; i < 32; i++) {
            if (lanes[i]->d != &d) *lanes[i]->d = d;
        }
    });
}
template <int m, int n, int k, typename T, typename Ta, typename La, typename Tb, typename Lb, typename Tc>
void mma_sync(fragment<accumulator, m, n, k, T>& d, const fragment<matrix_a, m, n, k, Ta, La>& a,
              const fragment<matrix_b, m, n, k, Tb, Lb>& b, const fragment<accumulator, m, n, k, Tc>& c, bool = false)
{
    emulated_mma(d, a, b, c);
}

}  // namespace nvcuda::wmma
