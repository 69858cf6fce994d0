/* castoff_tensor.c: what callers hand over, checked and, where it is strided, made dense. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "castoff_instance.h"

static _Thread_local char error_message[CASTOFF_ERROR_SIZE];

char *castoff_error_message(void) { return error_message; }

castoff_status castoff_refuse(castoff_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error_message, sizeof(error_message), format, arguments);
  va_end(arguments);
  return status;
}

void *castoff_aligned_allocate(size_t size_bytes) {
  void *memory = NULL;
  return posix_memalign(&memory, CASTOFF_ALIGNMENT, size_bytes ? size_bytes : 1) == 0 ? memory : NULL;
}

/* ---- layout ---- */

static size_t element_size(DLDataType dtype) { return (size_t)dtype.bits / 8 * dtype.lanes; }

unsigned char *castoff_tensor_data(const DLTensor *tensor) {
  return tensor->data ? (unsigned char *)tensor->data + tensor->byte_offset : NULL;
}

int castoff_is_empty(const DLTensor *tensor) {
  for (int i = 0; i < tensor->ndim; i++)
    if (tensor->shape[i] == 0) return 1;
  return 0;
}

int castoff_is_contiguous(const DLTensor *tensor) {
  if (!tensor->strides || castoff_is_empty(tensor)) return 1;
  int64_t expected = 1;
  for (int i = tensor->ndim - 1; i >= 0; i--) {
    if (tensor->shape[i] != 1 && tensor->strides[i] != expected) return 0;
    expected *= tensor->shape[i];
  }
  return 1;
}

int castoff_is_aligned(const DLTensor *tensor) {
  size_t size = element_size(tensor->dtype);
  if (tensor->dtype.code == 5 /* complex: two halves */) size /= 2;
  return ((uintptr_t)castoff_tensor_data(tensor) & (size ? size - 1 : 0)) == 0; /* sizes are powers of two */
}

size_t castoff_dense_size(int32_t rank, const int64_t *shape, DLDataType dtype, int *overflow) {
  size_t size = element_size(dtype);
  for (int i = 0; i < rank; i++)
    if (shape[i] == 0) return 0;
  for (int i = 0; i < rank; i++)
    if (shape[i] < 0 || __builtin_mul_overflow(size, (uint64_t)shape[i], &size)) {
      *overflow = 1;
      return 0;
    }
  if (size > (size_t)PTRDIFF_MAX) {
    *overflow = 1;
    return 0;
  }
  return size;
}

void castoff_extent(const DLTensor *tensor, uintptr_t *begin, uintptr_t *end) {
  const int64_t size = (int64_t)element_size(tensor->dtype);
  int64_t lowest = 0, highest = 0, dense = 1;
  *begin = *end = (uintptr_t)castoff_tensor_data(tensor);
  if (castoff_is_empty(tensor)) return;
  for (int i = tensor->ndim - 1; i >= 0; i--) {
    const int64_t reach = (tensor->shape[i] - 1) * (tensor->strides ? tensor->strides[i] : dense);
    *(reach < 0 ? &lowest : &highest) += reach;
    dense *= tensor->shape[i];
  }
  *end = *begin + (uintptr_t)((highest + 1) * size);
  *begin = *begin + (uintptr_t)(lowest * size);
}

/* ---- strided copies ---- */

typedef struct strided_copy {
  const DLTensor *tensor;
  size_t size; /* of an element */
  int to_dense;
} strided_copy;

static void copy_row(const strided_copy *copy, unsigned char *dense, unsigned char *strided, int64_t count,
                     int64_t step) {
  const int64_t size = (int64_t)copy->size;
  if (step == size) {
    memcpy(copy->to_dense ? dense : strided, copy->to_dense ? strided : dense, (size_t)(count * size));
    return;
  }
  for (int64_t i = 0; i < count; i++)
    memcpy(copy->to_dense ? dense + i * size : strided + i * step,
           copy->to_dense ? strided + i * step : dense + i * size, copy->size);
}

static unsigned char *copy_axes(const strided_copy *copy, int axis, unsigned char *dense, unsigned char *strided) {
  const DLTensor *tensor = copy->tensor;
  const int64_t count = tensor->shape[axis];
  const int64_t step = tensor->strides[axis] * (int64_t)copy->size;
  if (axis == tensor->ndim - 1) {
    copy_row(copy, dense, strided, count, step);
    return dense + count * (int64_t)copy->size;
  }
  for (int64_t i = 0; i < count; i++) dense = copy_axes(copy, axis + 1, dense, strided + i * step);
  return dense;
}

static void copy_tensor(unsigned char *dense, const DLTensor *tensor, int to_dense) {
  if (castoff_is_empty(tensor)) return;
  if (tensor->ndim > 0 && tensor->strides && !castoff_is_contiguous(tensor)) {
    const strided_copy copy = {tensor, element_size(tensor->dtype), to_dense};
    copy_axes(&copy, 0, dense, castoff_tensor_data(tensor));
    return;
  }
  int overflow = 0;
  const size_t size = castoff_dense_size(tensor->ndim, tensor->shape, tensor->dtype, &overflow);
  unsigned char *data = castoff_tensor_data(tensor);
  memcpy(to_dense ? dense : data, to_dense ? data : dense, size);
}

void castoff_gather(unsigned char *dense, const DLTensor *tensor) { copy_tensor(dense, tensor, 1); }

void castoff_scatter(const DLTensor *tensor, const unsigned char *dense) {
  copy_tensor((unsigned char *)(uintptr_t)dense, tensor, 0);
}

/* ---- sentences ---- */

int castoff_same_dtype(DLDataType a, DLDataType b) {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

static void format_dtype(char *text, size_t size, DLDataType dtype) {
  static const struct {
    uint8_t code, bits;
    const char *name;
  } names[] = {{6, 8, "bool"},          {4, 16, "bfloat16"},         {7, 8, "float8_e3m4"},
               {8, 8, "float8_e4m3"},   {9, 8, "float8_e4m3b11fnuz"}, {10, 8, "float8_e4m3fn"},
               {11, 8, "float8_e4m3fnuz"}, {12, 8, "float8_e5m2"},   {13, 8, "float8_e5m2fnuz"},
               {14, 8, "float8_e8m0fnu"}};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
    if (names[i].code == dtype.code && names[i].bits == dtype.bits) {
      snprintf(text, size, "%s", names[i].name);
      return;
    }
  const char *kind = dtype.code == 0   ? "int"
                     : dtype.code == 1 ? "uint"
                     : dtype.code == 2 ? "float"
                     : dtype.code == 5 ? "complex"
                                       : "dtype of DLPack code ";
  if (kind[0] == 'd')
    snprintf(text, size, "%s%d with %d bits", kind, dtype.code, dtype.bits);
  else
    snprintf(text, size, "%s%d", kind, dtype.bits);
}

/* Appends to text of `size` bytes; what does not fit is left out. */
static void append(char *text, size_t size, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

static void append(char *text, size_t size, const char *format, ...) {
  const size_t length = strlen(text);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text + length, size - length, format, arguments);
  va_end(arguments);
}

void castoff_format_tensor(char *text, size_t size, DLDataType dtype, int32_t rank, const int64_t *shape) {
  format_dtype(text, size, dtype);
  append(text, size, "[");
  for (int i = 0; i < rank; i++) append(text, size, i ? ", %lld" : "%lld", (long long)shape[i]);
  append(text, size, "]");
}

static void format_spec(char *text, size_t size, const castoff_tensor_spec *spec) {
  format_dtype(text, size, spec->dtype);
  append(text, size, "[");
  for (int i = 0; i < spec->rank; i++) {
    const castoff_dim *dim = &spec->dims[i];
    if (i) append(text, size, ", ");
    if (dim->size >= 0)
      append(text, size, "%lld", (long long)dim->size);
    else
      append(text, size, "%s", dim->text ? dim->text : "?");
  }
  append(text, size, "]");
}

/* ---- inputs against their specs ---- */

static castoff_status mismatch(const castoff_tensor_spec *spec, const DLTensor *tensor, const char *because) {
  char expected[256], got[256];
  format_spec(expected, sizeof(expected), spec);
  castoff_format_tensor(got, sizeof(got), tensor->dtype, tensor->ndim, tensor->shape);
  return castoff_refuse(CASTOFF_INPUT_MISMATCH, "%s: expected %s%s, got %s", spec->path, expected, because, got);
}

static castoff_status check_size(const castoff_program *program, DLTensor *const *inputs, int input, int axis,
                                 int64_t *symbols) {
  const castoff_tensor_spec *spec = &program->inputs[input];
  const castoff_dim *dim = &spec->dims[axis];
  const int64_t size = inputs[input]->shape[axis];
  char because[256] = "";
  if (dim->size >= 0) return size == dim->size ? CASTOFF_OK : mismatch(spec, inputs[input], because);
  if (size < dim->min || size > dim->max) {
    if (dim->max == INT64_MAX)
      snprintf(because, sizeof(because), " with %.80s >= %lld", dim->text, (long long)dim->min);
    else
      snprintf(because, sizeof(because), " with %lld <= %.80s <= %lld", (long long)dim->min, dim->text,
               (long long)dim->max);
    return mismatch(spec, inputs[input], because);
  }
  if (dim->symbol < 0) return CASTOFF_OK;
  if (symbols[dim->symbol] == INT64_MIN) symbols[dim->symbol] = size;
  if (symbols[dim->symbol] == size) return CASTOFF_OK;
  for (int i = 0; i <= input; i++)
    for (int k = 0; k < program->inputs[i].rank; k++)
      if (program->inputs[i].dims[k].size < 0 && program->inputs[i].dims[k].symbol == dim->symbol) {
        snprintf(because, sizeof(because), " with %.80s = %lld (from %.100s.shape[%d])", dim->text,
                 (long long)symbols[dim->symbol], program->inputs[i].path, k);
        return mismatch(spec, inputs[input], because);
      }
  return mismatch(spec, inputs[input], because);
}

static castoff_status check_input(const castoff_instance *instance, DLTensor *const *inputs, int input,
                                  int64_t *symbols) {
  const castoff_program *program = instance->program;
  const castoff_tensor_spec *spec = &program->inputs[input];
  const DLTensor *tensor = inputs[input];
  if (!tensor) return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "%s: expected a tensor, got NULL", spec->path);
  if (tensor->ndim < 0 || (tensor->ndim > 0 && !tensor->shape))
    return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "%s: the tensor has no shape", spec->path);
  if (spec->flags & CASTOFF_SCALAR && tensor->device.device_type == CASTOFF_DEVICE_CUDA)
    return castoff_refuse(CASTOFF_INPUT_MISMATCH, "%s: expected a number in host memory, got one on cuda:%d", spec->path,
                          (int)tensor->device.device_id);
  if (!(spec->flags & CASTOFF_SCALAR)) {
    const castoff_status status = castoff_device_accepts(instance->device, "", spec->path, tensor);
    if (status != CASTOFF_OK) return status;
  }
  for (int axis = 0; axis < tensor->ndim; axis++)
    if (tensor->shape[axis] < 0)
      return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "%s: the tensor has a negative size", spec->path);
  if (!castoff_same_dtype(tensor->dtype, spec->dtype) || tensor->ndim != spec->rank) return mismatch(spec, tensor, "");
  if (!tensor->data && !castoff_is_empty(tensor))
    return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "%s: the tensor has no data", spec->path);
  for (int axis = 0; axis < spec->rank; axis++) {
    const castoff_status status = check_size(program, inputs, input, axis, symbols);
    if (status != CASTOFF_OK) return status;
  }
  return CASTOFF_OK;
}

castoff_status castoff_resolve(const castoff_instance *instance, DLTensor *const *inputs, castoff_input_view *views,
                               int64_t *symbols) {
  const castoff_program *program = instance->program;
  for (int i = 0; i < program->n_symbols; i++) symbols[i] = INT64_MIN;
  for (int i = 0; i < program->n_inputs; i++) {
    const castoff_status status = check_input(instance, inputs, i, symbols);
    if (status != CASTOFF_OK) return status;
    views[i].data = castoff_tensor_data(inputs[i]);
    views[i].shape = inputs[i]->shape;
  }
  if (!program->resolve) return CASTOFF_OK;
  error_message[0] = '\0';
  return (castoff_status)program->resolve(views, symbols, error_message, sizeof(error_message));
}

castoff_status castoff_check_tensor(const castoff_device *device, const char *what, const char *name,
                                    const DLTensor *tensor, DLDataType dtype, int32_t rank, const int64_t *sizes) {
  if (!tensor || tensor->ndim < 0 || (tensor->ndim > 0 && !tensor->shape))
    return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "%s%s: expected a tensor with a shape", what, name);
  int same = castoff_same_dtype(tensor->dtype, dtype) && tensor->ndim == rank;
  for (int i = 0; same && i < rank; i++) same = tensor->shape[i] == sizes[i];
  if (!same) {
    char expected[256], got[256];
    castoff_format_tensor(expected, sizeof(expected), dtype, rank, sizes);
    castoff_format_tensor(got, sizeof(got), tensor->dtype, tensor->ndim, tensor->shape);
    return castoff_refuse(CASTOFF_INPUT_MISMATCH, "%s%s: expected %s, got %s", what, name, expected, got);
  }
  const castoff_status status = castoff_device_accepts(device, what, name, tensor);
  if (status != CASTOFF_OK) return status;
  if (!tensor->data && !castoff_is_empty(tensor))
    return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "%s%s: the tensor has no data", what, name);
  return CASTOFF_OK;
}
