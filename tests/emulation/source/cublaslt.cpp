// libcublasLt.so.13 as far as castoff calls it: column-major products, batched, with a bias for each row of the result.
//
// Numbers and layouts of the interface are those of NVIDIA's cublasLt.h. What it does not know it answers with
// CUBLAS_STATUS_INVALID_VALUE, and says on stderr.
#include <atomic>
#include <initializer_list>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime_api.h"

enum { SUCCESS = 0, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_64F = 1, R_16F = 2, R_16BF = 14 };
enum { COMPUTE_32F = 68, COMPUTE_64F = 70, COMPUTE_TF32 = 77 };

struct Layout {
    int type;
    uint64_t rows, columns;
    int64_t stride;
    int32_t batch_count = 1;
    int64_t batch_stride = 0;
};
struct Description {
    int compute_type, scale_type;
    int32_t transposes[2] = {0, 0};
    int32_t epilogue = 1;
    const void* bias = nullptr;
};
struct Preference {
    uint64_t workspace_bytes = 0;
    uint32_t alignments[4] = {256, 256, 256, 256};
};
struct Algorithm {
    uint64_t data[8];
};
struct Heuristic {
    Algorithm algorithm;
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
};
static const uint64_t CHOSEN = 0xca570ffu;
static const size_t WORKSPACE = 4096;
static std::atomic<int> choices;

static int unknown(const char* what, int value)
{
    fprintf(stderr, "CUDA emulation: cuBLASLt: %s %d is not emulated\n", what, value);
    return INVALID_VALUE;
}

static double load(const void* memory, int type, int64_t at)
{
    switch (type) {
        case R_64F: return static_cast<const double*>(memory)[at];
        case R_16F: return __half2float(static_cast<const __half*>(memory)[at]);
        case R_16BF: return __bfloat162float(static_cast<const __nv_bfloat16*>(memory)[at]);
        default: return static_cast<const float*>(memory)[at];
    }
}

static void store(void* memory, int type, int64_t at, double value)
{
    switch (type) {
        case R_64F: static_cast<double*>(memory)[at] = value; break;
        case R_16F: static_cast<__half*>(memory)[at] = __float2half(static_cast<float>(value)); break;
        case R_16BF: static_cast<__nv_bfloat16*>(memory)[at] = __float2bfloat16(static_cast<float>(value)); break;
        default: static_cast<float*>(memory)[at] = static_cast<float>(value);
    }
}

// A float32 as tensor cores read it: to the nearest of 10 bits of fraction, ties away from 0.
static double rounded(double value)
{
    float single = static_cast<float>(value);
    uint32_t bits;
    memcpy(&bits, &single, 4);
    bits = (bits + 0x1000u) & ~0x1fffu;
    memcpy(&single, &bits, 4);
    return single;
}

struct Product {
    Description description;
    Layout a_layout, b_layout, d_layout;
    const void *a, *b;
    void* d;
};

static cudaError_t run(void* data)
{
    const Product& p = *static_cast<Product*>(data);
    const Layout &a = p.a_layout, &b = p.b_layout, &d = p.d_layout;
    const bool ta = p.description.transposes[0], tb = p.description.transposes[1];
    const uint64_t depth = ta ? a.rows : a.columns;
    const bool is_tf32 = p.description.compute_type == COMPUTE_TF32;
    for (int64_t entry = 0; entry < d.batch_count; entry++) {
        for (uint64_t column = 0; column < d.columns; column++) {
            for (uint64_t row = 0; row < d.rows; row++) {
                double sum = 0;
                for (uint64_t k = 0; k < depth; k++) {
                    const int64_t at_a = ta ? int64_t(row) * a.stride + int64_t(k) : int64_t(k) * a.stride + int64_t(row);
                    const int64_t at_b = tb ? int64_t(k) * b.stride + int64_t(column) : int64_t(column) * b.stride + int64_t(k);
                    const double left = load(p.a, a.type, entry * a.batch_stride + at_a);
                    const double right = load(p.b, b.type, entry * b.batch_stride + at_b);
                    sum += is_tf32 ? rounded(left) * rounded(right) : left * right;
                }
                if (p.description.bias) sum += load(p.description.bias, d.type, int64_t(row));
                store(p.d, d.type, entry * d.batch_stride + int64_t(column) * d.stride + int64_t(row), sum);
            }
        }
    }
    return cudaSuccess;
}

static bool is_type(int type) { return type == R_32F || type == R_64F || type == R_16F || type == R_16BF; }

// What the real library refuses too.
static int check(const Description& description, const Layout& a, const Layout& b, const Layout& d)
{
    const bool ta = description.transposes[0], tb = description.transposes[1];
    const uint64_t rows = ta ? a.columns : a.rows, depth = ta ? a.rows : a.columns;
    const uint64_t columns = tb ? b.rows : b.columns, other = tb ? b.columns : b.rows;
    if (rows != d.rows || columns != d.columns || depth != other) return INVALID_VALUE;
    if (a.batch_count != d.batch_count || b.batch_count != d.batch_count) return INVALID_VALUE;
    if (a.type != b.type || (d.type != a.type && d.type != R_32F)) return NOT_SUPPORTED;
    if ((a.type == R_64F) != (description.compute_type == COMPUTE_64F)) return NOT_SUPPORTED;
    if (description.compute_type == COMPUTE_TF32 && a.type != R_32F) return NOT_SUPPORTED;
    return SUCCESS;
}

extern "C" {

int cublasLtCreate(void** handle)
{
    *handle = malloc(1);
    return *handle ? SUCCESS : EXECUTION_FAILED;
}

const char* cublasLtGetStatusString(int status)
{
    switch (status) {
        case INVALID_VALUE: return "an unsupported value or parameter was passed to the function";
        case NOT_SUPPORTED: return "the functionality requested is not supported";
        default: return status ? "the operation failed" : "success";
    }
}

int cublasLtMatrixLayoutCreate(Layout** layout, int type, uint64_t rows, uint64_t columns, int64_t stride)
{
    if (!is_type(type)) return unknown("type", type);
    if (stride < int64_t(rows) || rows == 0 || columns == 0) return INVALID_VALUE;
    *layout = new Layout{type, rows, columns, stride};
    return SUCCESS;
}
int cublasLtMatrixLayoutSetAttribute(Layout* layout, int attribute, const void* value, size_t size_bytes)
{
    if (attribute == 5 && size_bytes == 4) memcpy(&layout->batch_count, value, 4);
    else if (attribute == 6 && size_bytes == 8) memcpy(&layout->batch_stride, value, 8);
    else return unknown("attribute of a layout", attribute);
    return SUCCESS;
}
int cublasLtMatrixLayoutDestroy(Layout* layout)
{
    delete layout;
    return SUCCESS;
}

int cublasLtMatmulDescCreate(Description** description, int compute_type, int scale_type)
{
    if (compute_type != COMPUTE_32F && compute_type != COMPUTE_64F && compute_type != COMPUTE_TF32) return unknown("compute type", compute_type);
    if (scale_type != (compute_type == COMPUTE_64F ? R_64F : R_32F)) return INVALID_VALUE;
    *description = new Description{compute_type, scale_type};
    return SUCCESS;
}
int cublasLtMatmulDescSetAttribute(Description* description, int attribute, const void* value, size_t size_bytes)
{
    if ((attribute == 3 || attribute == 4) && size_bytes == 4) memcpy(&description->transposes[attribute - 3], value, 4);
    else if (attribute == 7 && size_bytes == 4) memcpy(&description->epilogue, value, 4);
    else if (attribute == 8 && size_bytes == 8) memcpy(&description->bias, value, 8);
    else return unknown("attribute of a product", attribute);
    return description->epilogue == 1 || description->epilogue == 4 ? SUCCESS : unknown("epilogue", description->epilogue);
}
int cublasLtMatmulDescDestroy(Description* description)
{
    delete description;
    return SUCCESS;
}

int cublasLtMatmulPreferenceCreate(Preference** preference)
{
    *preference = new Preference;
    return SUCCESS;
}
int cublasLtMatmulPreferenceSetAttribute(Preference* preference, int attribute, const void* value, size_t size_bytes)
{
    if (attribute == 1 && size_bytes == 8) memcpy(&preference->workspace_bytes, value, 8);
    else if (attribute >= 5 && attribute <= 8 && size_bytes == 4) memcpy(&preference->alignments[attribute - 5], value, 4);
    else return unknown("attribute of a preference", attribute);
    return SUCCESS;
}
int cublasLtMatmulPreferenceDestroy(Preference* preference)
{
    delete preference;
    return SUCCESS;
}

// How often it was asked for an algorithm.
int castoff_emulation_choices()
{
    return choices;
}

int cublasLtMatmulAlgoGetHeuristic(void*, const Description* description, const Layout* a, const Layout* b,
                                   const Layout*, const Layout* d, const Preference* preference, int wanted,
                                   Heuristic* found, int* count)
{
    *count = 0;
    choices++;
    if (int status = check(*description, *a, *b, *d)) return status;
    if (wanted < 1 || preference->workspace_bytes < WORKSPACE) return NOT_SUPPORTED;
    found[0] = {};
    found[0].algorithm.data[0] = CHOSEN;
    memcpy(&found[0].algorithm.data[1], preference->alignments, sizeof preference->alignments);
    found[0].workspace_bytes = WORKSPACE;
    *count = 1;
    return SUCCESS;
}

int cublasLtMatmul(void*, const Description* description, const void* alpha, const void* a, const Layout* a_layout,
                   const void* b, const Layout* b_layout, const void* beta, const void* c, const Layout*, void* d,
                   const Layout* d_layout, const Algorithm* algorithm, void* workspace, size_t workspace_bytes,
                   cudaStream_t stream)
{
    if (int status = check(*description, *a_layout, *b_layout, *d_layout)) return status;
    if (algorithm->data[0] != CHOSEN || !workspace || workspace_bytes < WORKSPACE || c != d) return INVALID_VALUE;
    // What was chosen relies on the alignments it was asked for, on that of results for the bias.
    uint32_t alignments[4];
    memcpy(alignments, &algorithm->data[1], sizeof alignments);
    const void* const read[] = {a, b, c, d, description->epilogue == 4 ? description->bias : d};
    for (int i = 0; i < 5; i++) {
        if (reinterpret_cast<uintptr_t>(read[i]) % alignments[i < 4 ? i : 3]) {
            fprintf(stderr, "CUDA emulation: cuBLASLt: operand %d is less aligned than was said\n", i);
            return EXECUTION_FAILED;
        }
    }
    const bool is_double = description->scale_type == R_64F;
    const double one = is_double ? *static_cast<const double*>(alpha) : *static_cast<const float*>(alpha);
    const double none = is_double ? *static_cast<const double*>(beta) : *static_cast<const float*>(beta);
    if (one != 1 || none != 0) return unknown("scale", int(one));
    for (const void* pointer : {a, b, static_cast<const void*>(d), static_cast<const void*>(workspace)})
        if (emulation_check_pointer(pointer)) return EXECUTION_FAILED;
    Description used = *description;
    if (used.epilogue != 4) used.bias = nullptr;
    const EmulatedWork work = {run, [](void* data) { delete static_cast<Product*>(data); },
                               new Product{used, *a_layout, *b_layout, *d_layout, a, b, d}};
    return emulation_submit(stream, &work) ? EXECUTION_FAILED : SUCCESS;
}

}  // extern "C"
