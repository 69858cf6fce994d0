/* Linked with state.c: mutated strided inputs, memory of data-dependent outputs, a caller's allocator that refuses. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "castoff.h"

#define REQUIRE(condition)                                                            \
  do {                                                                                \
    if (!(condition)) {                                                               \
      fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #condition, api->last_error()); \
      exit(1);                                                                        \
    }                                                                                 \
  } while (0)

static const castoff_api *api;

static void *refuse(void *user, int32_t output, size_t size_bytes, int32_t rank, const int64_t *shape) {
  (void)output, (void)size_bytes, (void)rank, (void)shape;
  ++*(int *)user;
  return NULL;
}

int main(void) {
  castoff_instance *instance = NULL;
  api = castoff_get_api(CASTOFF_ABI_VERSION);
  REQUIRE(api && api->create(NULL, &instance) == CASTOFF_OK);

  int64_t values[] = {-4, 0, 1, 0, 2, 0, 3, 0}, shape[] = {4}, strides[] = {2}, k = 1, found_shape[] = {-1};
  DLTensor data = {.data = values, .device = {1, 0}, .ndim = 1, .dtype = {0, 64, 1}, .shape = shape, .strides = strides};
  DLTensor number = {.data = &k, .device = {1, 0}, .dtype = {0, 64, 1}};
  DLTensor counter = {0}, found = {.shape = found_shape}, half = {0};
  DLTensor *inputs[] = {&data, &number}, *outputs[] = {&counter, &found, &half};
  castoff_call call = {.n_inputs = 2, .n_outputs = 3, .inputs = inputs, .outputs = outputs};

  for (int64_t size = 1; size <= 3; size++) {
    REQUIRE(api->run(instance, &call) == CASTOFF_OK);
    REQUIRE(*(int64_t *)counter.data == 41 + size && *(int64_t *)half.data == 2 && found_shape[0] == 3);
    REQUIRE(((int64_t *)found.data)[2] == 3 + size && values[6] == 3 + size && values[7] == 0);
    api->release(counter.data);
    api->release(found.data);
    api->release(half.data);
    counter.data = found.data = half.data = NULL;
  }

  k = 13;
  REQUIRE(api->run(instance, &call) == CASTOFF_RUNTIME_ERROR);
  REQUIRE(strcmp(api->last_error(), "assertion failed: k != 13") == 0);
  REQUIRE(counter.data == NULL && found.data == NULL && values[6] == 6);
  k = -1;
  REQUIRE(api->run(instance, &call) == CASTOFF_INPUT_MISMATCH);
  k = 0;
  int refused = 0;
  call.allocate = refuse;
  call.user = &refused;
  REQUIRE(api->run(instance, &call) == CASTOFF_OUT_OF_MEMORY && refused == 1);

  int64_t count = 0;
  const DLTensor buffer = {.data = &count, .device = {1, 0}, .dtype = {0, 64, 1}};
  REQUIRE(api->read_buffer(instance, "counter", &buffer) == CASTOFF_OK && count == 44);
  REQUIRE(api->reset_buffers(instance) == CASTOFF_OK);
  REQUIRE(api->read_buffer(instance, "counter", &buffer) == CASTOFF_OK && count == 41);
  api->destroy(instance);
  return 0;
}
