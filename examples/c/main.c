/* Classifies handwritten digits with an artefact of castoff, through castoff.h alone.
 *
 *     classify DIGITS.so < images      float32 images of 8 x 8, one after another
 *
 * Prints the digit and the ten logits of each. Exit status: 0, 1 for a bad artefact or call, 2 for bad use.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "castoff.h"

enum { IMAGE_FLOATS = 8 * 8, DIGITS = 10, BATCH = 64 };

typedef const castoff_api *(*get_api_function)(uint32_t abi_version);

static const castoff_api *open_artefact(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return NULL;
  }
  get_api_function get_api;
  *(void **)&get_api = dlsym(library, "castoff_get_api");
  const castoff_api *api = get_api ? get_api(CASTOFF_ABI_VERSION) : NULL;
  if (!api) fprintf(stderr, "%s is no castoff artefact of ABI %d\n", path, CASTOFF_ABI_MAJOR);
  return api;
}

static DLTensor float_tensor(float *data, int32_t rank, int64_t *shape) {
  DLTensor tensor = {0};
  tensor.data = data;
  tensor.device.device_type = 1;
  tensor.ndim = rank;
  tensor.dtype.code = 2;
  tensor.dtype.bits = 32;
  tensor.dtype.lanes = 1;
  tensor.shape = shape;
  return tensor;
}

static int classify(const castoff_api *api, castoff_instance *instance, float *images, int64_t count) {
  float logits[BATCH * DIGITS];
  int64_t image_shape[4] = {count, 1, 8, 8};
  int64_t logit_shape[2] = {count, DIGITS};
  DLTensor input = float_tensor(images, 4, image_shape);
  DLTensor output = float_tensor(logits, 2, logit_shape);
  DLTensor *inputs[1] = {&input};
  DLTensor *outputs[1] = {&output};

  castoff_call call = {0};
  call.n_inputs = 1;
  call.n_outputs = 1;
  call.inputs = inputs;
  call.outputs = outputs;
  if (api->run(instance, &call) != CASTOFF_OK) {
    fprintf(stderr, "%s\n", api->last_error());
    return 0;
  }
  for (int64_t i = 0; i < count; i++) {
    const float *row = logits + i * DIGITS;
    int best = 0;
    for (int digit = 1; digit < DIGITS; digit++)
      if (row[digit] > row[best]) best = digit;
    printf("%d", best);
    for (int digit = 0; digit < DIGITS; digit++) printf(" %.6g", (double)row[digit]);
    printf("\n");
  }
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s DIGITS.so < images\n", argv[0]);
    return 2;
  }
  const castoff_api *api = open_artefact(argv[1]);
  if (!api) return 1;
  castoff_instance *instance = NULL;
  if (api->create(NULL, &instance) != CASTOFF_OK) {
    fprintf(stderr, "%s\n", api->last_error());
    return 1;
  }
  static float images[BATCH * IMAGE_FLOATS];
  size_t count;
  int is_good = 1;
  while (is_good && (count = fread(images, IMAGE_FLOATS * sizeof(float), BATCH, stdin)) > 0)
    is_good = classify(api, instance, images, (int64_t)count);
  api->destroy(instance);
  return is_good ? 0 : 1;
}
