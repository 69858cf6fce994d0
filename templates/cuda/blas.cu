/* blas.cu - matrix products through cuBLASLt.
 *
 * What is declared here of the library is its C interface, the same in versions 12 and 13: its headers are not needed to
 * build, nor the library itself. Matrices are column by column there: a product of rows is computed transposed,
 * C^T = B^T A^T, so that the first operand of the library is `b`.
 */
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/blas.h"

/* ---- the library ---- */

typedef struct castoff_blas_opaque *castoff_blas_object; /* handles and descriptors alike */

struct castoff_blas_algorithm {
  uint64_t data[8];
};

struct castoff_blas_heuristic {
  castoff_blas_algorithm algorithm;
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};

enum { LAYOUT_BATCH_COUNT = 5, LAYOUT_BATCH_STRIDE = 6 };
enum { DESCRIPTION_TRANSPOSE_A = 3, DESCRIPTION_TRANSPOSE_B = 4, DESCRIPTION_EPILOGUE = 7, DESCRIPTION_BIAS = 8 };
enum { PREFERENCE_WORKSPACE = 1, PREFERENCE_ALIGNMENT_A = 5 /* of b, c and d: 6, 7, 8 */ };
enum { EPILOGUE_NONE = 1, EPILOGUE_BIAS = 4 };
enum { COMPUTE_F32 = 68, COMPUTE_F64 = 70, COMPUTE_TF32 = 77 };
enum { ALLOCATION_FAILED = 3, NOT_SUPPORTED = 15 };

static struct {
  int (*create)(castoff_blas_object *handle);
  const char *(*status_string)(int status);
  int (*matmul)(castoff_blas_object handle, castoff_blas_object description, const void *alpha, const void *a,
                castoff_blas_object a_layout, const void *b, castoff_blas_object b_layout, const void *beta,
                const void *c, castoff_blas_object c_layout, void *d, castoff_blas_object d_layout,
                const castoff_blas_algorithm *algorithm, void *workspace, size_t workspace_bytes, cudaStream_t stream);
  int (*choose)(castoff_blas_object handle, castoff_blas_object description, castoff_blas_object a_layout,
                castoff_blas_object b_layout, castoff_blas_object c_layout, castoff_blas_object d_layout,
                castoff_blas_object preference, int wanted, castoff_blas_heuristic *found, int *count);
  int (*create_layout)(castoff_blas_object *layout, int type, uint64_t rows, uint64_t columns, int64_t stride);
  int (*set_layout)(castoff_blas_object layout, int attribute, const void *value, size_t size_bytes);
  int (*destroy_layout)(castoff_blas_object layout);
  int (*create_description)(castoff_blas_object *description, int compute_type, int scale_type);
  int (*set_description)(castoff_blas_object description, int attribute, const void *value, size_t size_bytes);
  int (*destroy_description)(castoff_blas_object description);
  int (*create_preference)(castoff_blas_object *preference);
  int (*set_preference)(castoff_blas_object preference, int attribute, const void *value, size_t size_bytes);
  int (*destroy_preference)(castoff_blas_object preference);
} blas;

static const struct {
  const char *name;
  void **function;
} symbols[] = {
    {"cublasLtCreate", (void **)&blas.create},
    {"cublasLtGetStatusString", (void **)&blas.status_string},
    {"cublasLtMatmul", (void **)&blas.matmul},
    {"cublasLtMatmulAlgoGetHeuristic", (void **)&blas.choose},
    {"cublasLtMatrixLayoutCreate", (void **)&blas.create_layout},
    {"cublasLtMatrixLayoutSetAttribute", (void **)&blas.set_layout},
    {"cublasLtMatrixLayoutDestroy", (void **)&blas.destroy_layout},
    {"cublasLtMatmulDescCreate", (void **)&blas.create_description},
    {"cublasLtMatmulDescSetAttribute", (void **)&blas.set_description},
    {"cublasLtMatmulDescDestroy", (void **)&blas.destroy_description},
    {"cublasLtMatmulPreferenceCreate", (void **)&blas.create_preference},
    {"cublasLtMatmulPreferenceSetAttribute", (void **)&blas.set_preference},
    {"cublasLtMatmulPreferenceDestroy", (void **)&blas.destroy_preference},
};

static pthread_once_t opened = PTHREAD_ONCE_INIT;
static char why_not[512];

/* By its name, as the system's search and what the host has loaded already give it; then in the toolkit: the one that
 * $CUDA_HOME says, and where it is installed by itself. */
static void *open_library(void) {
  static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
  const char *const homes[] = {getenv("CUDA_HOME"), "/usr/local/cuda"};
  for (const char *name : names)
    if (void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  for (const char *home : homes)
    for (const char *name : names) {
      if (!home || !home[0]) break;
      char path[1024];
      snprintf(path, sizeof(path), "%s/lib64/%s", home, name);
      if (void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL)) return library;
    }
  return NULL;
}

static void open_once(void) {
  void *library = open_library();
  if (!library) {
    snprintf(why_not, sizeof(why_not),
             "this program needs cuBLASLt (libcublasLt.so.13 or .12), which is not here: install the CUDA toolkit, or "
             "`pip install nvidia-cublas`");
    return;
  }
  for (const auto &symbol : symbols) {
    *symbol.function = dlsym(library, symbol.name);
    if (!*symbol.function) {
      snprintf(why_not, sizeof(why_not), "the cuBLASLt that was found has no %s", symbol.name);
      return;
    }
  }
}

extern "C" int castoff_blas_open(char *error, size_t error_size) {
  pthread_once(&opened, open_once);
  if (!why_not[0]) return 0;
  snprintf(error, error_size, "%s", why_not);
  return 1;
}

/* ---- handles, one a device, made at the first product there ---- */

#define MOST_DEVICES 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static castoff_blas_object handles[MOST_DEVICES];

static int refuse(castoff_frame *frame, const char *what, int status) {
  return castoff_fail(frame, CASTOFF_DEVICE_ERROR, "cuBLASLt: %s: %s", what, blas.status_string(status));
}

static int find_handle(castoff_frame *frame, int device, castoff_blas_object *handle) {
  int status = 0;
  pthread_mutex_lock(&lock);
  if (!handles[device]) status = blas.create(&handles[device]);
  *handle = handles[device];
  pthread_mutex_unlock(&lock);
  return status ? refuse(frame, "its start", status) : CASTOFF_OK;
}

/* ---- how operands lie ---- */

/* A matrix as the library sees it: `across` elements side by side, `along` times, `stride` apart. */
struct castoff_blas_matrix {
  int is_transposed;
  int64_t across, along, stride;
};

/* op(matrix) is [inner, outer] in the library's order: `outer` apart by outer_stride, `inner` by inner_stride. */
static castoff_blas_matrix matrix_of(int64_t inner, int64_t inner_stride, int64_t outer, int64_t outer_stride) {
  if (inner_stride == 1 || inner <= 1) return {0, inner, outer, outer > 1 ? outer_stride : inner};
  return {1, outer, inner, inner_stride};
}

static castoff_blas_matrix first_matrix(const castoff_blas_product *p) {
  return matrix_of(p->columns, p->b_column, p->depth, p->b_row);
}
static castoff_blas_matrix second_matrix(const castoff_blas_product *p) {
  return matrix_of(p->depth, p->a_column, p->rows, p->a_row);
}

static int fits(castoff_blas_matrix matrix, int64_t side_by_side) {
  return side_by_side && matrix.stride >= matrix.across && matrix.stride <= INT32_MAX && matrix.across <= INT32_MAX &&
         matrix.along <= INT32_MAX;
}

extern "C" int castoff_blas_takes(const castoff_blas_product *p) {
  if (p->depth < 1 || p->batch > INT32_MAX || p->c_row < p->columns) return 0;
  return fits(first_matrix(p), p->b_column == 1 || p->columns <= 1 || p->b_row == 1 || p->depth <= 1) &&
         fits(second_matrix(p), p->a_column == 1 || p->depth <= 1 || p->a_row == 1 || p->rows <= 1);
}

/* ---- the choice of an algorithm ---- */

static_assert(__has_unique_object_representations(castoff_blas_product), "gaps between its fields hold anything");

/* Everything a choice depends on. Compared byte by byte, so cleared first. */
struct castoff_blas_key {
  castoff_blas_product product; /* pointers left out */
  int device;
  uint32_t alignments[4];
};

struct castoff_blas_choice {
  castoff_blas_choice *next;
  castoff_blas_key key;
  castoff_blas_algorithm algorithm;
  size_t workspace_bytes;
};

/* Only ever added to, under the lock. */
static castoff_blas_choice *choices;

static uint32_t alignment_of(uintptr_t address) {
  uint32_t alignment = 256;
  while (address % alignment) alignment /= 2;
  return alignment;
}

static castoff_blas_key key_of(const castoff_blas_product *p, int device) {
  castoff_blas_key key;
  memset(&key, 0, sizeof(key));
  memcpy(&key.product, p, sizeof(key.product));
  key.product.a = key.product.b = NULL;
  key.product.c = NULL;
  key.product.bias = p->bias ? &lock : NULL; /* whether there is one */
  key.device = device;
  const uintptr_t out = (uintptr_t)p->c, pointers[] = {(uintptr_t)p->b, (uintptr_t)p->a, out, out | (uintptr_t)p->bias};
  for (int i = 0; i < 4; i++) key.alignments[i] = alignment_of(pointers[i]); /* the bias is read as results are written */
  return key;
}

/* Descriptors of one product; released with it. */
struct castoff_blas_call {
  castoff_blas_object description = NULL, a = NULL, b = NULL, c = NULL, preference = NULL;
  ~castoff_blas_call() {
    if (preference) blas.destroy_preference(preference);
    for (castoff_blas_object layout : {a, b, c})
      if (layout) blas.destroy_layout(layout);
    if (description) blas.destroy_description(description);
  }
};

static int make_layout(castoff_blas_object *layout, int type, castoff_blas_matrix matrix, int64_t batch, int64_t stride) {
  const int32_t count = (int32_t)batch;
  int status = blas.create_layout(layout, type, (uint64_t)matrix.across, (uint64_t)matrix.along, matrix.stride);
  if (!status) status = blas.set_layout(*layout, LAYOUT_BATCH_COUNT, &count, sizeof(count));
  if (!status) status = blas.set_layout(*layout, LAYOUT_BATCH_STRIDE, &stride, sizeof(stride));
  return status;
}

static int describe(castoff_blas_call *call, const castoff_blas_product *p) {
  const castoff_blas_matrix first = first_matrix(p), second = second_matrix(p);
  const int32_t transposes[] = {first.is_transposed, second.is_transposed};
  const int32_t epilogue = p->bias ? EPILOGUE_BIAS : EPILOGUE_NONE;
  const int is_double = p->type == CASTOFF_BLAS_F64;
  const int compute = is_double ? COMPUTE_F64 : p->is_tf32 ? COMPUTE_TF32 : COMPUTE_F32;
  int status = blas.create_description(&call->description, compute,
                                       is_double ? CASTOFF_BLAS_F64 : CASTOFF_BLAS_F32);
  if (!status) status = blas.set_description(call->description, DESCRIPTION_TRANSPOSE_A, &transposes[0], sizeof(int32_t));
  if (!status) status = blas.set_description(call->description, DESCRIPTION_TRANSPOSE_B, &transposes[1], sizeof(int32_t));
  if (!status) status = blas.set_description(call->description, DESCRIPTION_EPILOGUE, &epilogue, sizeof(epilogue));
  if (!status && p->bias) status = blas.set_description(call->description, DESCRIPTION_BIAS, &p->bias, sizeof(p->bias));
  if (!status) status = make_layout(&call->a, p->type, first, p->batch, p->b_batch);
  if (!status) status = make_layout(&call->b, p->type, second, p->batch, p->a_batch);
  const castoff_blas_matrix out = {0, p->columns, p->rows, p->c_row};
  if (!status) status = make_layout(&call->c, p->out_type, out, p->batch, p->c_batch);
  return status;
}

/* What NVIDIA recommends for Hopper, which is enough for those before it. */
#define WORKSPACE_BYTES ((uint64_t)32 << 20)

static int choose(castoff_blas_object handle, castoff_blas_call *call, const castoff_blas_key *key,
                  castoff_blas_choice *choice) {
  const uint64_t workspace_bytes = WORKSPACE_BYTES;
  castoff_blas_heuristic found = {};
  int count = 0;
  int status = blas.create_preference(&call->preference);
  if (!status)
    status = blas.set_preference(call->preference, PREFERENCE_WORKSPACE, &workspace_bytes, sizeof(workspace_bytes));
  for (int i = 0; i < 4 && !status; i++)
    status = blas.set_preference(call->preference, PREFERENCE_ALIGNMENT_A + i, &key->alignments[i], sizeof(uint32_t));
  if (!status)
    status = blas.choose(handle, call->description, call->a, call->b, call->c, call->c, call->preference, 1, &found, &count);
  if (!status && count < 1) status = NOT_SUPPORTED;
  if (status) return status;
  choice->algorithm = found.algorithm;
  choice->workspace_bytes = found.workspace_bytes;
  return 0;
}

static int find_choice(castoff_blas_object handle, castoff_blas_call *call, const castoff_blas_product *p, int device,
                       const castoff_blas_choice **found) {
  const castoff_blas_key key = key_of(p, device);
  int status = 0;
  pthread_mutex_lock(&lock);
  castoff_blas_choice *choice = choices;
  while (choice && memcmp(&choice->key, &key, sizeof(key)) != 0) choice = choice->next;
  if (!choice) {
    choice = (castoff_blas_choice *)calloc(1, sizeof(*choice));
    status = choice ? choose(handle, call, &key, choice) : ALLOCATION_FAILED;
    if (!status) {
      memcpy(&choice->key, &key, sizeof(key));
      choice->next = choices;
      choices = choice;
    } else {
      free(choice);
    }
  }
  pthread_mutex_unlock(&lock);
  *found = choice;
  return status;
}

extern "C" int castoff_blas_run(castoff_frame *frame, const castoff_blas_product *p) {
  if (p->batch <= 0 || p->rows <= 0 || p->columns <= 0) return CASTOFF_OK;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess || device >= MOST_DEVICES)
    return castoff_fail(frame, CASTOFF_DEVICE_ERROR, "cuBLASLt: there is no current device");
  castoff_blas_object handle;
  int status = find_handle(frame, device, &handle);
  if (status != CASTOFF_OK) return status;
  castoff_blas_call call;
  status = describe(&call, p);
  if (status) return refuse(frame, "a matrix product cannot be described", status);
  const castoff_blas_choice *choice;
  status = find_choice(handle, &call, p, device, &choice);
  if (status == NOT_SUPPORTED) return CASTOFF_BLAS_NOT_TAKEN;
  if (status) return refuse(frame, "a matrix product cannot be planned", status);
  void *workspace = NULL;
  if (choice->workspace_bytes > 0) {
    workspace = castoff_frame_scratch(frame, choice->workspace_bytes);
    if (!workspace) return CASTOFF_OUT_OF_MEMORY;
  }
  const int is_double = p->type == CASTOFF_BLAS_F64;
  const float one = 1.0f, zero = 0.0f;
  const double wide_one = 1.0, wide_zero = 0.0;
  const void *alpha = is_double ? (const void *)&wide_one : &one, *beta = is_double ? (const void *)&wide_zero : &zero;
  status = blas.matmul(handle, call.description, alpha, p->b, call.a, p->a, call.b, beta, p->c, call.c, p->c, call.c,
                       &choice->algorithm, workspace, choice->workspace_bytes, (cudaStream_t)frame->stream);
  return status ? refuse(frame, "a matrix product failed", status) : CASTOFF_OK;
}
