/* Linked with affine.c: many threads on one instance while its constants change, then every kind of refusal. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "castoff.h"

enum { THREADS = 16, CALLS = 200, ROWS = 256 };

#define REQUIRE(condition)                                                        \
  do {                                                                            \
    if (!(condition)) {                                                           \
      fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #condition, api->last_error()); \
      exit(1);                                                                    \
    }                                                                             \
  } while (0)

static const castoff_api *api;
static castoff_instance *instance;

static DLTensor matrix(float *data, int64_t *shape, int64_t *strides) {
  return (DLTensor){.data = data, .device = {1, 0}, .ndim = 2, .dtype = {2, 32, 1}, .shape = shape, .strides = strides};
}

static castoff_status call(DLTensor *x, DLTensor *y, DLTensor *result) {
  DLTensor *inputs[] = {x, y};
  const castoff_call arguments = {.n_inputs = 2, .n_outputs = 1, .inputs = inputs, .outputs = &result};
  return api->run(instance, &arguments);
}

static void *caller(void *unused) {
  (void)unused;
  float *x = calloc(ROWS * 4, sizeof(float));
  for (int i = 0; i < CALLS; i++) {
    int64_t shape[] = {ROWS, 4}, result_shape[] = {0, 0};
    DLTensor xs = matrix(x, shape, NULL), result = matrix(NULL, result_shape, NULL);
    REQUIRE(call(&xs, &xs, &result) == CASTOFF_OK);
    const float *values = result.data;
    REQUIRE(result_shape[0] == ROWS && result_shape[1] == 4);
    for (int k = 0; k < ROWS * 4; k++) REQUIRE(values[k] == values[0]);
    api->release(result.data);
  }
  free(x);
  return NULL;
}

static void replace(float value) {
  float values[] = {value, value, value, value};
  int64_t shape[] = {4};
  const DLTensor tensor = {.data = values, .device = {1, 0}, .ndim = 1, .dtype = {2, 32, 1}, .shape = shape};
  const DLTensor *tensors[] = {&tensor};
  const char *names[] = {"layer.weight"};
  REQUIRE(api->replace_constants(instance, 1, names, tensors) == CASTOFF_OK);
}

static void run_threads(void) {
  pthread_t threads[THREADS];
  replace(0);
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_create(&threads[i], NULL, caller, NULL) == 0);
  for (int i = 0; i < 200; i++) replace((float)i);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

static void use_strides(void) {
  float x[16], y[8], result[16];
  for (int i = 0; i < 16; i++) x[i] = (float)i;
  memset(y, 0, sizeof(y));
  memset(result, 0, sizeof(result));
  replace(1);
  int64_t shape[] = {2, 4}, every_second[] = {8, 2}, columns[] = {1, 2}, backwards[] = {-4, 1};
  DLTensor xs = matrix(x, shape, every_second), ys = matrix(y, shape, columns);
  DLTensor results = matrix(result + 4, shape, backwards);
  REQUIRE(call(&xs, &ys, &results) == CASTOFF_OK);
  for (int row = 0; row < 2; row++)
    for (int i = 0; i < 4; i++) REQUIRE(result[4 - 4 * row + i] == 2 * x[8 * row + 2 * i] + 1);
  DLTensor in_place = matrix(x, shape, NULL), shifted = matrix(x + 2, shape, NULL);
  REQUIRE(call(&in_place, &shifted, &shifted) == CASTOFF_OK);
  for (int i = 0; i < 8; i++) REQUIRE(x[i + 2] == 2.0f * (float)i + (float)(i + 2) + 1);
}

static void refuse(void) {
  float x[8] = {0};
  int64_t shape[] = {2, 4}, other[] = {1, 4}, wide[] = {2, 5}, negative[] = {-1, 4}, none[] = {0, 4};
  int64_t result_shape[] = {0, 0};
  DLTensor good = matrix(x, shape, NULL), result = matrix(NULL, result_shape, NULL);
  DLTensor bad[] = {matrix(x, other, NULL), matrix(x, wide, NULL), matrix(x, negative, NULL), matrix(x, none, NULL),
                    matrix(x, NULL, NULL),  matrix(NULL, shape, NULL), matrix(x, shape, NULL), matrix(x, shape, NULL)};
  bad[6].dtype.bits = 64;
  bad[7].device.device_type = 2;
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    REQUIRE(call(&good, &bad[i], &result) != CASTOFF_OK);
    REQUIRE(api->last_error()[0] != '\0' && result.data == NULL);
  }
  DLTensor wrong_result = matrix(x, wide, NULL);
  REQUIRE(call(&good, NULL, &result) == CASTOFF_INVALID_ARGUMENT);
  REQUIRE(call(&good, &good, NULL) == CASTOFF_INVALID_ARGUMENT);
  REQUIRE(call(&good, &good, &wrong_result) == CASTOFF_INPUT_MISMATCH);
  REQUIRE(api->run(instance, NULL) == CASTOFF_INVALID_ARGUMENT);
  REQUIRE(api->read_constant(instance, "none", &good) == CASTOFF_INVALID_ARGUMENT);
  REQUIRE(api->read_buffer(instance, NULL, &good) == CASTOFF_INVALID_ARGUMENT);
  REQUIRE(api->input(2) == NULL && api->constant(-1) == NULL);
  REQUIRE(castoff_get_api(CASTOFF_ABI_VERSION + 1) == NULL && castoff_get_api(0) == NULL);
}

/* A host that keeps the weights outside the file says where they are. */
static void give_constants(void) {
  static _Alignas(64) const float weight[16] = {5, 6, 7, 8};
  const void *constants[] = {weight, weight};
  castoff_options given = {.size_bytes = sizeof(given), .threads = 1, .constants = constants};
  castoff_instance *other = NULL;
  REQUIRE(api->create(&given, &other) == CASTOFF_OK);
  float values[4];
  int64_t four = 4;
  const DLTensor read = {values, {1, 0}, 1, {2, 32, 1}, &four, NULL, 0};
  REQUIRE(api->read_constant(other, "layer.weight", &read) == CASTOFF_OK && values[3] == 8);
  api->destroy(other);
  constants[1] = weight + 1;
  REQUIRE(api->create(&given, &other) == CASTOFF_INVALID_ARGUMENT && other == NULL);
  constants[1] = NULL;
  REQUIRE(api->create(&given, &other) == CASTOFF_INVALID_ARGUMENT && other == NULL);
}

int main(void) {
  api = castoff_get_api(CASTOFF_ABI_VERSION);
  const castoff_options options = {.size_bytes = sizeof(options), .threads = 4};
  REQUIRE(api && api->create(&options, &instance) == CASTOFF_OK);
  REQUIRE(api->threads(instance) == 4);
  run_threads();
  use_strides();
  refuse();
  give_constants();
  api->destroy(instance);
  return 0;
}
